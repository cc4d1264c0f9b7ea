"""Site: a place where inference may run."""

from typing import Annotated, Any, ClassVar

from pydantic import Field

from sekisho.api.meta import CONDITIONS, ApiModel, Condition, Jurisdiction, LabelSelector, ShortText, StatusModel
from sekisho.api.v1alpha1.classificationpolicy import Tier

Money = Annotated[str, Field(max_length=24, pattern=r"^[0-9]{1,12}(\.[0-9]{1,6})?$")]


class Price(ApiModel):
    """What the site costs; cheaper sites win among those that may and can."""

    gpu_hour: Money | None = Field(default=None, description="Price of one GPU for one hour.")
    cpu_hour: Money | None = Field(default=None, description="Price of one CPU core for one hour.")
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$", max_length=3)] = Field(
        default="USD", description="ISO 4217 code."
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
        description="Nodes of this cluster that form the site. Choose labels below *.node-restriction.kubernetes.io/, which a "
        "node cannot give itself.",
    )
    price: Price | None = Field(default=None, description="Cost; left out, the site counts as free.")

    validations: ClassVar[list[dict[str, str]]] = [
        {
            "rule": "self.tier == 'ManagedApi' || has(self.nodes)",
            "message": "nodes is required: a site of tier Closed or OwnCloud is a pool of nodes of this cluster",
        },
        {
            "rule": "!has(self.nodes) || size(self.nodes.matchLabels) + size(self.nodes.matchExpressions) > 0",
            "message": "nodes must name at least one label; an empty selector would claim every node",
        },
    ]


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
    "validations": [],
    "columns": [
        ("Tier", "string", ".spec.tier", ""),
        ("Jurisdiction", "string", ".spec.jurisdiction", ""),
        ("Nodes", "integer", ".status.nodes", "Nodes that match"),
        ("Ready", "string", '.status.conditions[?(@.type=="Ready")].status', ""),
        ("Age", "date", ".metadata.creationTimestamp", ""),
    ],
}
