"""Model: what is served, and who answers for it."""

from typing import Annotated, Any

from pydantic import Field

from sekisho.api.meta import (
    CONDITIONS,
    ApiModel,
    ClassRef,
    Condition,
    Digest,
    ModelFormat,
    Quantity,
    ShortText,
    StatusModel,
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
    conditions: tuple[Condition, ...] = Field(
        default=(), max_length=32, json_schema_extra=CONDITIONS, description="State."
    )


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
        ("Ready", "string", '.status.conditions[?(@.type=="Ready")].status', ""),
        ("Age", "date", ".metadata.creationTimestamp", ""),
    ],
}
