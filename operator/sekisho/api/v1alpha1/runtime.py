"""Runtime: the profile of an inference engine."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from sekisho.api.meta import (
    ATOMIC_LIST,
    CONDITIONS,
    SET_LIST,
    ApiModel,
    Condition,
    ModelFormat,
    Quantity,
    StatusModel,
    keyed_list,
    require_name,
)
from sekisho.api.names import AGENT_PORT

ImageRef = Annotated[
    str, Field(min_length=1, max_length=512, pattern=r"^[a-z0-9][a-zA-Z0-9._/:-]*(@sha256:[0-9a-f]{64})?$")
]
Path = Annotated[str, Field(max_length=256, pattern=r"^/[A-Za-z0-9._/-]*$")]
EnvName = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Accelerator = Literal["nvidia"]
Loader = Literal["files", "sealed"]


class EnvVar(ApiModel):
    """One environment variable; never a place for secrets."""

    name: EnvName = Field(description="Name.")
    value: Annotated[str, Field(max_length=1024)] = Field(default="", description="Value.")


class Probes(ApiModel):
    """How the engine tells that it lives and is ready."""

    health_path: Path = Field(default="/health", description="Path that answers 200 once the engine can serve.")
    startup_seconds: int = Field(default=600, ge=1, le=86400, description="Longest time a start may take, in seconds.")


class Metrics(ApiModel):
    """Where the engine's metrics are, and whose names they use."""

    path: Path = Field(default="/metrics", description="Path of the Prometheus metrics.")
    dialect: Literal["vllm", "llamacpp", "none"] = Field(default="none", description="Whose metric names these are.")


class RuntimeMemory(ApiModel):
    """What the engine needs beside the weights."""

    overhead: Quantity = Field(default="1Gi", description="Memory on top of the weights.")
    shared: Quantity | None = Field(default=None, description="Size of /dev/shm; left out, the platform's default.")


class RuntimeResources(ApiModel):
    """What a pod asks for when the service does not say."""

    cpu: Quantity = Field(default="1", description="CPU cores requested.")
    memory: Quantity | None = Field(
        default=None, description="Memory requested. Left out: size of the weights plus memory.overhead."
    )


class RuntimeSpec(ApiModel):
    """An engine: its image, how it is started, what it serves."""

    formats: tuple[ModelFormat, ...] = Field(
        min_length=1,
        max_length=16,
        json_schema_extra=keyed_list("name", max_items=16),
        description="Formats it serves.",
    )
    image: ImageRef = Field(description="Image of the engine; name it by digest.")
    command: tuple[Annotated[str, Field(max_length=1024)], ...] = Field(
        default=(), max_length=16, description="Entry point; left out, the image's own.", json_schema_extra=ATOMIC_LIST
    )
    args: tuple[Annotated[str, Field(max_length=1024)], ...] = Field(
        default=(), max_length=64, json_schema_extra=ATOMIC_LIST,
        description="Arguments. {{model}} is the name under which the model is served, {{path}} the folder of its "
        "weights, {{port}} the port.",
    )  # fmt: skip
    env: tuple[EnvVar, ...] = Field(
        default=(),
        max_length=32,
        json_schema_extra=keyed_list("name", max_items=32),
        description="Environment; no secrets.",
    )
    loader: Loader = Field(
        default="files",
        description="How the engine takes sealed weights. files: the agent unseals them into memory, and the engine "
        "reads files. sealed: the engine decrypts safetensors by itself, with keys that the agent hands over; its "
        "image holds sekisho's load format for vLLM, and it is started with --load-format=sekisho. Plain weights are "
        "files to both.",
    )
    port: int = Field(default=8080, ge=1024, le=65535, description="Port of the OpenAI-compatible API.")
    accelerators: tuple[Accelerator, ...] = Field(
        default=(),
        max_length=4,
        description="Accelerators it needs; empty runs on CPUs.",
        json_schema_extra=SET_LIST,
    )
    probes: Probes = Field(default_factory=Probes, description="Health.")
    metrics: Metrics = Field(default_factory=Metrics, description="Metrics.")
    memory: RuntimeMemory = Field(default_factory=RuntimeMemory, description="Memory beside the weights.")
    resources: RuntimeResources = Field(default_factory=RuntimeResources, description="Defaults for pods.")
    auto_select: bool = Field(
        default=True, description="May be chosen for a service that names no runtime; the first by name wins."
    )

    validations: ClassVar[list[dict[str, str]]] = [
        {"rule": "self.port != 8181", "message": "port 8181 belongs to the agent in the pod", "fieldPath": ".port"},
        {
            "rule": "!has(self.loader) || self.loader != 'sealed' || self.formats.all(f, f.name == 'safetensors')",
            "message": "an engine with loader sealed decrypts safetensors and no other format",
            "fieldPath": ".loader",
        },
    ]

    @model_validator(mode="after")
    def _check_port(self) -> "RuntimeSpec":
        if self.port == AGENT_PORT:
            raise ValueError(f"port {AGENT_PORT} belongs to the agent in the pod")
        return self

    @model_validator(mode="after")
    def _check_loader(self) -> "RuntimeSpec":
        if self.loader == "sealed" and any(item.name != "safetensors" for item in self.formats):
            raise ValueError("an engine with loader sealed decrypts safetensors and no other format")
        return self


class RuntimeStatus(StatusModel):
    """What the operator made of the runtime."""

    observed_generation: int = Field(
        default=-1, ge=-1, description="Generation last read.", json_schema_extra={"format": "int64"}
    )
    formats: Annotated[str, Field(max_length=600)] | None = Field(
        default=None, description="Formats as people read them: gguf, safetensors."
    )
    conditions: tuple[Condition, ...] = Field(
        default=(), max_length=32, json_schema_extra=CONDITIONS, description="State."
    )


KIND: dict[str, Any] = {
    "kind": "Runtime",
    "plural": "runtimes",
    "scope": "Cluster",
    "shortNames": [],
    "spec": RuntimeSpec,
    "status": RuntimeStatus,
    "description": "The profile of an inference engine: image, arguments, formats, port, probes, metrics, resources.",
    "validations": [require_name(most=63)],
    "columns": [
        ("Formats", "string", ".status.formats", "Formats it serves"),
        ("Image", "string", ".spec.image", ""),
        ("Age", "date", ".metadata.creationTimestamp", ""),
    ],
}
