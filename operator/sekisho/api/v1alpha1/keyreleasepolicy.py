"""KeyReleasePolicy: the owner's side of a key's release: which model, whose pods, where, for whom, on what evidence."""

from typing import Annotated, Any, ClassVar

from pydantic import Field, model_validator

from sekisho.api.meta import (
    ATOMIC_LIST,
    CONDITIONS,
    SET_LIST,
    ApiModel,
    ClassRef,
    Condition,
    Digest,
    Expiry,
    KmsName,
    Name,
    ShortText,
    StatusModel,
    UserRef,
    keyed_list,
    require_name,
)

_NO_BOUND = "name the digest of a sealed manifest, a minVersion, or both: without them an old version would do"


class ReleasedModel(ApiModel):
    """The sealed model whose key this is about."""

    name: ShortText = Field(description="The owner's name for the model, as it was sealed (`sekisho inspect`).")
    digest: Digest | None = Field(
        default=None, description="Digest of the one sealed manifest that counts. Left out: any from minVersion on."
    )
    min_version: Annotated[int, Field(ge=1, le=2**53 - 1)] | None = Field(
        default=None, json_schema_extra={"format": "int64"}, description="Lowest version of the model that counts."
    )

    validations: ClassVar[list[dict[str, str]]] = [
        {"rule": "has(self.digest) || has(self.minVersion)", "message": _NO_BOUND}
    ]

    @model_validator(mode="after")
    def _check_bound(self) -> "ReleasedModel":
        if self.digest is None and self.min_version is None:
            raise ValueError(_NO_BOUND)
        return self


class ReleasedKey(ApiModel):
    """The key that wraps the model's data key."""

    kms: KmsName = Field(description="Key service: openbao, pkcs11, aws, gcp, azure.")
    key_id: Annotated[str, Field(min_length=1, max_length=2048)] = Field(description="The key there: transit/legal.")
    min_version: Annotated[int, Field(ge=1, le=2**31 - 1)] = Field(
        default=1, description="Lowest version of the key that still opens anything."
    )


class Workload(ApiModel):
    """Pods that may open the key."""

    namespace: Name = Field(description="Namespace of the service.")
    service: Name = Field(description="Name of the InferenceService.")
    images: tuple[Digest, ...] = Field(
        min_length=1, max_length=64, json_schema_extra=SET_LIST,
        description="Digests of images; every container of the pod, the agent's too, must run one of them.",
    )  # fmt: skip


class ClassBound(ApiModel):
    """Classes that are low enough."""

    at_most: ClassRef = Field(
        description="The highest class: level, and every compartment that may be there. A service of a higher level, "
        "or with another compartment, is refused."
    )


class EvidenceDemand(ApiModel):
    """Which evidence is wanted, and how fresh."""

    policy: Name = Field(description="Name of an EvidencePolicy.")
    max_age_seconds: int = Field(
        default=300, ge=1, le=3600, description="How long before the release its challenge may have been made."
    )


class KeyReleasePolicySpec(ApiModel):
    """What the model's owner grants. The tenant grants the other side by a DataGrant; neither alone releases."""

    model: ReleasedModel = Field(description="The sealed model.")
    key: ReleasedKey = Field(description="The key that wraps its data key.")
    workloads: tuple[Workload, ...] = Field(
        min_length=1, max_length=64, json_schema_extra=keyed_list("namespace", "service", max_items=64),
        description="Whose pods may open it, running what.",
    )  # fmt: skip
    classes: ClassBound = Field(description="Classes of services that may use the model.")
    sites: tuple[Name, ...] = Field(
        min_length=1, max_length=32, description="Sites where it may be opened.", json_schema_extra=SET_LIST
    )
    users: tuple[UserRef, ...] = Field(
        min_length=1, max_length=64, json_schema_extra=SET_LIST,
        description="For whom: group:NAME, user:NAME or serviceaccount:NAMESPACE:NAME. The service's spec.users must "
        "not name anybody else.",
    )  # fmt: skip
    evidence: EvidenceDemand = Field(description="Evidence of hardware and code.")
    lease_seconds: int = Field(
        default=900, ge=30, le=86400,
        description="How long a pod may keep the key before it proves itself anew; revocation takes at most as long.",
    )  # fmt: skip
    expires_at: Expiry | None = Field(default=None, description="When the grant ends, UTC in whole seconds.")
    suspended: bool = Field(default=False, description="Grants nothing while true.")

    @model_validator(mode="after")
    def _check_workloads(self) -> "KeyReleasePolicySpec":
        if len({(item.namespace, item.service) for item in self.workloads}) < len(self.workloads):
            raise ValueError("pairs of namespace and service of workloads must differ")
        return self


class KeyReleasePolicyStatus(StatusModel):
    """What the operator sees of the grant."""

    observed_generation: int = Field(
        default=-1, ge=-1, description="Generation last read.", json_schema_extra={"format": "int64"}
    )
    services: tuple[Annotated[str, Field(max_length=128)], ...] = Field(
        default=(), max_length=64, json_schema_extra=ATOMIC_LIST,
        description="Services, as namespace/name, that it lets open the key together with a DataGrant of theirs.",
    )  # fmt: skip
    summary: Annotated[str, Field(max_length=256)] | None = Field(
        default=None, description="Those services as people read them."
    )
    conditions: tuple[Condition, ...] = Field(
        default=(), max_length=32, json_schema_extra=CONDITIONS, description="Accepted and Ready."
    )


KIND: dict[str, Any] = {
    "kind": "KeyReleasePolicy",
    "plural": "keyreleasepolicies",
    "scope": "Namespaced",
    "shortNames": ["keyrelease"],
    "spec": KeyReleasePolicySpec,
    "status": KeyReleasePolicyStatus,
    "description": "The owner's side of a key's release: whose pods may open the key of a sealed model, where, for "
    "whom, and on what evidence. A DataGrant is the tenant's side; neither alone releases anything.",
    "validations": [require_name(most=63)],
    "columns": [
        ("Model", "string", ".spec.model.name", "Sealed model"),
        ("Key", "string", ".spec.key.keyId", "Key that wraps its data key"),
        ("Services", "string", ".status.summary", "Services that may open it"),
        ("Expires", "string", ".spec.expiresAt", "When the grant ends"),
        ("Ready", "string", '.status.conditions[?(@.type=="Ready")].status', ""),
        ("Reason", "string", '.status.conditions[?(@.type=="Ready")].reason', "Why it is, or is not, in force"),
        ("Age", "date", ".metadata.creationTimestamp", ""),
    ],
}
