"""Site: a place where inference may run."""

from typing import Annotated, Any, ClassVar

from pydantic import Field, model_validator

from sekisho.api.meta import (
    CONDITIONS,
    ApiModel,
    Condition,
    Currency,
    Jurisdiction,
    LabelSelector,
    Money,
    ShortText,
    StatusModel,
    keyed_list,
    require_name,
)
from sekisho.api.v1alpha1.classificationpolicy import Tier

ModelName = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^(\*|[A-Za-z0-9][A-Za-z0-9._:/-]*\*?)$")]


class Price(ApiModel):
    """What the site costs; cheaper sites win among those that may and can."""

    gpu_hour: Money | None = Field(default=None, description="Price of one GPU for one hour.")
    cpu_hour: Money | None = Field(default=None, description="Price of one CPU core for one hour.")
    currency: Currency = Field(default="USD", description="ISO 4217 code.")


class TokenPrice(ApiModel):
    """What tokens cost."""

    input_per_million_tokens: Money = Field(description="Price of a million tokens of prompts; 0: free.")
    output_per_million_tokens: Money = Field(description="Price of a million tokens of answers; 0: free.")
    currency: Currency = Field(default="USD", description="ISO 4217 code.")


class SiteModel(ApiModel):
    """What the site says of models that it answers for."""

    name: ModelName = Field(
        description="The model as namespace/name of its InferenceService; * at the end stands for anything. Of several "
        "that fit the longest counts."
    )
    price: TokenPrice | None = Field(
        default=None, description="What its tokens cost, for budgets of AccessPolicies; left out: no price is known."
    )


class SiteSpec(ApiModel):
    """Where the site is, who runs it, and which nodes it has."""

    tier: Tier = Field(
        description="Closed: own closed network. OwnCloud: own cluster in a cloud. ManagedApi: a provider's API."
    )
    jurisdiction: Jurisdiction = Field(description="Whose law applies: an ISO 3166 code, or EU.")
    operated_by: ShortText = Field(description="Who operates the site.")
    nodes: LabelSelector | None = Field(
        default=None,
        description="Nodes of this cluster that form the site. Choose labels below *.node-restriction.kubernetes.io/, "
        "which a node cannot give itself.",
    )
    price: Price | None = Field(default=None, description="Cost; left out, the site counts as free.")
    models: tuple[SiteModel, ...] = Field(
        default=(),
        max_length=256,
        json_schema_extra=keyed_list("name", max_items=256),
        description="Models, with what their tokens cost.",
    )

    validations: ClassVar[list[dict[str, str]]] = [
        {
            "rule": "self.tier == 'ManagedApi' || has(self.nodes)",
            "message": "nodes is required: a site of tier Closed or OwnCloud is a pool of nodes of this cluster",
        },
        {
            "rule": "!has(self.nodes) || (has(self.nodes.matchLabels) && size(self.nodes.matchLabels) > 0) || "
            "(has(self.nodes.matchExpressions) && size(self.nodes.matchExpressions) > 0)",
            "message": "nodes must name at least one label; an empty selector would claim every node",
            "fieldPath": ".nodes",
        },
    ]

    @model_validator(mode="after")
    def _check_nodes(self) -> "SiteSpec":
        if self.tier != "ManagedApi" and self.nodes is None:
            raise ValueError(f"nodes is required: a site of tier {self.tier} is a pool of nodes of this cluster")
        if len({model.name for model in self.models}) < len(self.models):
            raise ValueError("names of models must differ")
        if self.nodes is not None and not (self.nodes.match_labels or self.nodes.match_expressions):
            raise ValueError("nodes must name at least one label; an empty selector would claim every node")
        return self


class SiteStatus(StatusModel):
    """What the operator sees of the site."""

    observed_generation: int = Field(
        default=-1, ge=-1, description="Generation last read.", json_schema_extra={"format": "int64"}
    )
    nodes: int = Field(default=0, ge=0, description="Nodes that match.")
    ready_nodes: int = Field(default=0, ge=0, description="Nodes that match and are ready and schedulable.")
    conditions: tuple[Condition, ...] = Field(
        default=(), max_length=32, json_schema_extra=CONDITIONS, description="State."
    )


KIND: dict[str, Any] = {
    "kind": "Site",
    "plural": "sites",
    "scope": "Cluster",
    "shortNames": [],
    "spec": SiteSpec,
    "status": SiteStatus,
    "description": "A place where inference may run: a pool of nodes with a tier, a jurisdiction and an operator.",
    "validations": [require_name(most=63)],
    "columns": [
        ("Tier", "string", ".spec.tier", ""),
        ("Jurisdiction", "string", ".spec.jurisdiction", ""),
        ("Nodes", "integer", ".status.nodes", "Nodes that match"),
        ("Ready", "string", '.status.conditions[?(@.type=="Ready")].status', ""),
        ("Age", "date", ".metadata.creationTimestamp", ""),
    ],
}
