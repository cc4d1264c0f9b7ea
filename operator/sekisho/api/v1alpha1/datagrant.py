"""DataGrant: the tenant's side of a key's release: which models and which code may see the data, and for whom."""

from typing import Annotated, Any

from pydantic import Field, model_validator

from sekisho.api.meta import (
    ATOMIC_LIST,
    CONDITIONS,
    SET_LIST,
    ApiModel,
    Condition,
    Digest,
    Expiry,
    Name,
    ShortText,
    StatusModel,
    UserRef,
    keyed_list,
    require_name,
)
from sekisho.api.v1alpha1.keyreleasepolicy import ClassBound, EvidenceDemand


class GrantedModel(ApiModel):
    """A model that may see the data."""

    owner: Name = Field(description="Namespace of the owner's KeyReleasePolicy.")
    name: ShortText = Field(description="The owner's name for the model, as it was sealed.")


class DataGrantSpec(ApiModel):
    """What the tenant grants for services of this namespace. The model's owner grants the other side."""

    services: tuple[Name, ...] = Field(
        min_length=1, max_length=64, json_schema_extra=SET_LIST,
        description="InferenceServices of this namespace that may see the data.",
    )  # fmt: skip
    models: tuple[GrantedModel, ...] = Field(
        min_length=1, max_length=64, json_schema_extra=keyed_list("owner", "name", max_items=64),
        description="Models that may see it, by their owners.",
    )  # fmt: skip
    images: tuple[Digest, ...] = Field(
        min_length=1, max_length=64, json_schema_extra=SET_LIST,
        description="Digests of images that may see it; every container of the pod, the agent's too, must run one of "
        "them.",
    )  # fmt: skip
    classes: ClassBound = Field(description="Classes of the data.")
    sites: tuple[Name, ...] | None = Field(
        default=None, min_length=1, max_length=32, json_schema_extra=SET_LIST,
        description="Sites where the data may be processed; left out: wherever owner and class allow.",
    )  # fmt: skip
    users: tuple[UserRef, ...] = Field(
        min_length=1, max_length=64, json_schema_extra=SET_LIST,
        description="Whose requests may be answered: group:NAME, user:NAME or serviceaccount:NAMESPACE:NAME. The "
        "service's spec.users must not name anybody else.",
    )  # fmt: skip
    evidence: EvidenceDemand | None = Field(
        default=None, description="Evidence that the tenant wants beside what the owner wants."
    )
    lease_seconds: int | None = Field(
        default=None,
        ge=30,
        le=86400,
        description="Longest lease of the key; the shorter of this and the owner's counts.",
    )
    expires_at: Expiry | None = Field(default=None, description="When the grant ends, UTC in whole seconds.")
    suspended: bool = Field(default=False, description="Grants nothing while true.")

    @model_validator(mode="after")
    def _check_models(self) -> "DataGrantSpec":
        if len({(item.owner, item.name) for item in self.models}) < len(self.models):
            raise ValueError("pairs of owner and name of models must differ")
        return self


class DataGrantStatus(StatusModel):
    """What the operator sees of the grant."""

    observed_generation: int = Field(
        default=-1, ge=-1, description="Generation last read.", json_schema_extra={"format": "int64"}
    )
    policies: tuple[Annotated[str, Field(max_length=128)], ...] = Field(
        default=(), max_length=64, json_schema_extra=ATOMIC_LIST,
        description="KeyReleasePolicies, as namespace/name, that grant the owner's side.",
    )  # fmt: skip
    summary: Annotated[str, Field(max_length=256)] | None = Field(
        default=None, description="Those policies as people read them."
    )
    conditions: tuple[Condition, ...] = Field(
        default=(), max_length=32, json_schema_extra=CONDITIONS, description="Accepted and Ready."
    )


KIND: dict[str, Any] = {
    "kind": "DataGrant",
    "plural": "datagrants",
    "scope": "Namespaced",
    "shortNames": [],
    "spec": DataGrantSpec,
    "status": DataGrantStatus,
    "description": "The tenant's side of a key's release: which models and which code may see the data of services of "
    "this namespace, and for whom. A KeyReleasePolicy is the owner's side; neither alone releases anything.",
    "validations": [require_name(most=63)],
    "columns": [
        ("Policies", "string", ".status.summary", "KeyReleasePolicies of owners that match"),
        ("Expires", "string", ".spec.expiresAt", "When the grant ends"),
        ("Ready", "string", '.status.conditions[?(@.type=="Ready")].status', ""),
        ("Reason", "string", '.status.conditions[?(@.type=="Ready")].reason', "Why it is, or is not, in force"),
        ("Age", "date", ".metadata.creationTimestamp", ""),
    ],
}
