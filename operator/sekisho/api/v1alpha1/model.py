"""Model: what is served, and who answers for it."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from sekisho.api.meta import (
    ATOMIC_LIST,
    CONDITIONS,
    SET_LIST,
    ApiModel,
    ClassRef,
    Condition,
    Digest,
    ModelFormat,
    Name,
    Quantity,
    ShortText,
    StatusModel,
    Timestamp,
    keyed_list,
    require_name,
)

StorageUri = Annotated[
    str,
    Field(
        min_length=7,
        max_length=1024,
        # No user or password before the host, no query that could carry a signature, no segment that climbs: the depot
        # holds the credentials, and a spec is read by many.
        pattern=r"^(oci|https|s3|pvc)://[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?(:[0-9]{1,5})?"
        r"(/([A-Za-z0-9_~%+=,@:-][A-Za-z0-9._~%+=,@:-]*)?)*$",
    ),
]
STORAGE_URI_HELP = (
    "Where the weights are: oci://registry/repository@sha256:…, https://host/path, s3://bucket/prefix, or "
    "pvc://claim/path. Credentials never stand here; the depot holds them."
)


class ModelMemory(ApiModel):
    """Memory the model needs to serve, as its owner measured it."""

    gpu: Quantity | None = Field(default=None, description="GPU memory for weights, cache and activations.")
    system: Quantity | None = Field(default=None, description="Memory of the pod.")


Word = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$")]
Instant = Annotated[str, Field(max_length=20, pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$")]


class Evaluation(ApiModel):
    """What an evaluation came to."""

    name: ShortText = Field(description="Name of the evaluation.")
    score: Annotated[str, Field(min_length=1, max_length=64)] = Field(description="Its figure, as text.")
    at: Instant = Field(description="When it was made, UTC in whole seconds.")


class Capabilities(ApiModel):
    """What the owner declares of a model, for people; rules ask the signed manifest, never this."""

    declared: tuple[ShortText, ...] = Field(
        default=(), max_length=64, description="What the model may be used for.", json_schema_extra=SET_LIST
    )
    risk: Word | None = Field(default=None, description="How the owner judges its risk, in one word.")
    evaluations: tuple[Evaluation, ...] = Field(
        default=(), max_length=64, json_schema_extra=keyed_list("name", max_items=64),
        description="Evaluations with their figures. What weights.evaluated of a policy asks for must be signed into "
        "the sealed manifest instead.",
    )  # fmt: skip


class Approval(ApiModel):
    """The signed consent of a role to one sealed manifest; it does not hold for any other version."""

    role: Name = Field(description="Name of a signer of the ClassificationPolicy.")
    by: ShortText = Field(description="Who approved on behalf of the role.")
    at: Instant = Field(description="When, UTC in whole seconds.")
    signature: Annotated[str, Field(min_length=16, max_length=16384, pattern=r"^[A-Za-z0-9+/]+={0,2}$")] = Field(
        description="Signature over the digest of the manifest, role, by and at, in base64; see `sekisho approve`."
    )


class ModelSpec(ApiModel):
    """A model, its origin and its owner."""

    owner: ShortText = Field(description="Who answers for the model.")
    format: ModelFormat = Field(description="Format of the weights.")
    storage_uri: StorageUri = Field(description=STORAGE_URI_HELP)
    digest: Digest | None = Field(
        default=None,
        description="Expected digest: of the manifest (oci), of the file (one file), or of the list of files as "
        "sha256sum prints it, sorted by path. A fetch that differs is refused.",
    )
    size: Quantity | None = Field(default=None, description="Size of the weights; a fetch that exceeds it is refused.")
    classification: ClassRef | None = Field(
        default=None, description="Class of the model; a floor for every service that serves it."
    )
    licence: ShortText | None = Field(
        default=None, description="Licence of the weights, an SPDX expression where one fits."
    )
    memory: ModelMemory | None = Field(default=None, description="Memory needs; left out, estimated from size.")
    capabilities: Capabilities | None = Field(default=None, description="What the owner declares of the model.")
    approvals: tuple[Approval, ...] = Field(
        default=(), max_length=16, json_schema_extra=keyed_list("role", max_items=16),
        description="Consent of roles that a class may ask for by weights.approvedBy.",
    )  # fmt: skip

    @model_validator(mode="after")
    def _check_keys(self) -> "ModelSpec":
        evaluations = self.capabilities.evaluations if self.capabilities else ()
        if len({item.name for item in evaluations}) < len(evaluations):
            raise ValueError("names of evaluations must differ")
        if len({item.role for item in self.approvals}) < len(self.approvals):
            raise ValueError("roles of approvals must differ")
        return self


class Refusal(StatusModel):
    """Why the weights were refused."""

    reason: Annotated[str, Field(min_length=1, max_length=64)] = Field(description="The rule that refused.")
    message: Annotated[str, Field(max_length=1024)] = Field(
        default="", description="Which facts disagreed; the next step."
    )


class ScanFacts(StatusModel):
    """What the scan before sealing came to, as the signed manifest has it."""

    result: Literal["Clean", "Findings"] = Field(description="Clean, or Findings.")
    scanner: ShortText = Field(description="Name and version of what scanned.")
    at: Instant = Field(description="When it scanned.")
    findings: tuple[ShortText, ...] = Field(
        default=(), max_length=8, description="The first findings.", json_schema_extra=ATOMIC_LIST
    )


class EvaluationFacts(StatusModel):
    """An evaluation that the signed manifest has."""

    name: ShortText = Field(description="Name of the evaluation.")
    score: Annotated[str, Field(min_length=1, max_length=64)] = Field(description="Its figure.")
    at: Instant = Field(description="When it was made.")


class Inspection(StatusModel):
    """What the depot found at storageUri. Facts of the manifest are there only once its signatures were verified."""

    uri: Annotated[str, Field(min_length=1, max_length=1024)] = Field(description="The storageUri that was inspected.")
    policy_digest: Digest = Field(description="Digest of the policy's signers that signatures were checked against.")
    inspected_at: Timestamp = Field(
        description="When this came to light; later looks that find the same do not renew it."
    )
    sealed: bool = Field(default=False, strict=True, description="Whether there is a sealed model.")
    artifact_digest: Digest | None = Field(
        default=None, description="Digest of the artifact that was inspected; this one is fetched."
    )
    manifest_digest: Digest | None = Field(default=None, description="Digest of the signed manifest.")
    model: ShortText | None = Field(default=None, description="The owner's name for the model.")
    version: int | None = Field(
        default=None,
        strict=True,
        ge=1,
        le=2**53 - 1,
        description="Version of the model.",
        json_schema_extra={"format": "int64"},
    )
    class_: Annotated[str, Field(min_length=1, max_length=1024)] | None = Field(
        default=None,
        alias="class",
        description="Class that the model was sealed for; a floor of the Model's class. It stays while the source "
        "cannot be read.",
    )
    kms: Annotated[str, Field(min_length=1, max_length=64)] | None = Field(
        default=None, description="Key service that wrapped the data key."
    )
    key_id: Annotated[str, Field(min_length=1, max_length=2048)] | None = Field(
        default=None, description="Key-encryption key there."
    )
    key_version: Annotated[str, Field(min_length=1, max_length=2048)] | None = Field(
        default=None, description="Its version when the data key was wrapped."
    )
    size_bytes: int | None = Field(
        default=None, strict=True, ge=0, le=2**53 - 1, description="Size of the unsealed weights.",
        json_schema_extra={"format": "int64"},
    )  # fmt: skip
    signed_by: tuple[Name, ...] = Field(
        default=(), max_length=16, description="Signers of the policy that have signed.", json_schema_extra=SET_LIST
    )
    scan: ScanFacts | None = Field(default=None, description="The scan before sealing.")
    evaluations: tuple[EvaluationFacts, ...] = Field(
        default=(), max_length=64, description="Evaluations.", json_schema_extra=ATOMIC_LIST
    )
    refusal: Refusal | None = Field(default=None, description="Why the depot refuses what it found.")


class KeyFacts(StatusModel):
    """What the key service says of the key-encryption key of a sealed model."""

    kms: Annotated[str, Field(min_length=1, max_length=64)] = Field(description="Key service.")
    key_id: Annotated[str, Field(min_length=1, max_length=2048)] = Field(description="Key there.")
    state: Literal["Enabled", "Disabled", "PendingDeletion", "Unknown"] = Field(
        description="Whether it opens anything now; Unknown where the key service did not say."
    )
    version: int | None = Field(
        default=None, strict=True, ge=0, le=2**53 - 1, description="Newest version, which wraps.",
        json_schema_extra={"format": "int64"},
    )  # fmt: skip
    min_version: int | None = Field(
        default=None, strict=True, ge=0, le=2**53 - 1, description="Oldest version that still unwraps.",
        json_schema_extra={"format": "int64"},
    )  # fmt: skip
    message: Annotated[str, Field(max_length=512)] = Field(default="", description="Why it is not Enabled.")
    checked_at: Timestamp = Field(description="When it was asked; an answer that says the same renews it rarely.")


class ModelStatus(StatusModel):
    """What the operator made of the model."""

    observed_generation: int = Field(
        default=-1, ge=-1, description="Generation last read.", json_schema_extra={"format": "int64"}
    )
    class_: ClassRef | None = Field(
        default=None, alias="class", description="Class of the model with every floor joined."
    )
    display_class: Annotated[str, Field(max_length=1100)] | None = Field(
        default=None, description="The class as people read it: level+compartment."
    )
    inspection: Inspection | None = Field(
        default=None, description="What the depot found at storageUri; the depot alone writes it."
    )
    accepted_version: int | None = Field(
        default=None, ge=1, le=2**53 - 1, json_schema_extra={"format": "int64"},
        description="Highest version whose signatures held; a lower one is refused.",
    )  # fmt: skip
    key: KeyFacts | None = Field(
        default=None, description="State of its key at the key service; the release of keys alone writes it."
    )
    conditions: tuple[Condition, ...] = Field(
        default=(), max_length=32, json_schema_extra=CONDITIONS,
        description="Accepted, Sealed, Signed, Scanned, Evaluated, Approved, KeyUsable and Ready.",
    )  # fmt: skip


KIND: dict[str, Any] = {
    "kind": "Model",
    "plural": "models",
    "scope": "Namespaced",
    "shortNames": [],
    "spec": ModelSpec,
    "status": ModelStatus,
    "description": "A model: where its weights are, what class they have, and who answers for them.",
    "validations": [require_name(most=63)],
    "columns": [
        ("Class", "string", ".status.displayClass", ""),
        ("Format", "string", ".spec.format.name", ""),
        ("Owner", "string", ".spec.owner", ""),
        ("Sealed", "string", '.status.conditions[?(@.type=="Sealed")].status', "Whether the weights are sealed"),
        ("Version", "integer", ".status.inspection.version", "Version of the sealed model"),
        ("Ready", "string", '.status.conditions[?(@.type=="Ready")].status', ""),
        ("Age", "date", ".metadata.creationTimestamp", ""),
    ],
}
