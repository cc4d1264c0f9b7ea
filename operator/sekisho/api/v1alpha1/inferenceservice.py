"""InferenceService: what people apply to have a model served where its class allows it."""

from ipaddress import ip_network
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import Field, model_validator

from sekisho.api.meta import (
    ATOMIC_LIST,
    CONDITIONS,
    MAX_COMPARTMENTS,
    SET_LIST,
    ApiModel,
    ClassRef,
    Condition,
    Digest,
    LabelKey,
    LabelValue,
    ModelFormat,
    Name,
    Quantity,
    StatusModel,
    Text,
    Timestamp,
    UserRef,
    keyed_list,
    require_name,
)  # fmt: skip
from sekisho.api.v1alpha1.model import STORAGE_URI_HELP, StorageUri

ResourceName = Annotated[
    str, Field(min_length=1, max_length=128, pattern=r"^([a-z0-9][-a-z0-9.]*/)?[A-Za-z0-9][-A-Za-z0-9_.]*$")
]
Port = Annotated[int, Field(ge=1, le=65535)]
Count = Annotated[int, Field(ge=0, le=10000)]
IdleSeconds = Annotated[int, Field(ge=10, le=604800)]
IDLE_SECONDS: Final = 600


class ModelRef(ApiModel):
    """Point at a Model of the same namespace."""

    name: Name = Field(description="Name of the Model.")


class ResourceRequirements(ApiModel):
    """Requests and limits, as in Kubernetes and KServe."""

    requests: dict[ResourceName, Quantity] = Field(
        default_factory=dict, max_length=16, description="Requested amounts."
    )
    limits: dict[ResourceName, Quantity] = Field(default_factory=dict, max_length=16, description="Upper limits.")


class PredictorModel(ApiModel):
    """The model to serve: a reference, or format and place as in KServe."""

    model_ref: ModelRef | None = Field(default=None, description="A Model of the same namespace.")
    model_format: ModelFormat | None = Field(default=None, description="Format of the weights at storageUri.")
    storage_uri: StorageUri | None = Field(default=None, description=STORAGE_URI_HELP)
    runtime: Name | None = Field(
        default=None, description="Name of a Runtime; left out, the first by name that serves the format."
    )
    resources: ResourceRequirements = Field(
        default_factory=ResourceRequirements, description="Requests and limits of the engine; left out, estimated."
    )

    validations: ClassVar[list[dict[str, str]]] = [
        {
            "rule": "has(self.modelRef) ? (!has(self.storageUri) && !has(self.modelFormat)) : "
            "(has(self.storageUri) && has(self.modelFormat))",
            "message": "give either modelRef, or both modelFormat and storageUri",
        }
    ]

    @model_validator(mode="after")
    def _check_source(self) -> "PredictorModel":
        inline = self.storage_uri is not None and self.model_format is not None
        partly = self.storage_uri is not None or self.model_format is not None
        if (self.model_ref is not None and partly) or (self.model_ref is None and not inline):
            raise ValueError("give either modelRef, or both modelFormat and storageUri")
        return self


class Resources(ApiModel):
    """What one replica needs, in short form."""

    gpus: Annotated[int, Field(ge=0, le=16)] | None = Field(default=None, description="Whole GPUs.")
    gpu_memory: Quantity | None = Field(default=None, description="GPU memory over all GPUs of the replica.")
    cpu: Quantity | None = Field(default=None, description="CPU cores.")
    memory: Quantity | None = Field(default=None, description="Memory.")


class Toleration(ApiModel):
    """Tolerate a taint, as in Kubernetes."""

    key: Annotated[str, Field(max_length=316)] | None = Field(
        default=None, description="Key of the taint; left out, all."
    )
    operator: Literal["Exists", "Equal"] = Field(default="Equal", description="How the value is compared.")
    value: Annotated[str, Field(max_length=63)] | None = Field(default=None, description="Value for Equal.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        default=None, description="Effect that is tolerated; left out, all."
    )
    toleration_seconds: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="How long NoExecute is tolerated.", json_schema_extra={"format": "int64"}
    )

    validations: ClassVar[list[dict[str, str]]] = [
        {
            "rule": "has(self.key) || self.operator == 'Exists'",
            "message": "without a key, operator must be Exists",
            "fieldPath": ".operator",
        },
        {
            "rule": "!has(self.value) || self.operator == 'Equal'",
            "message": "operator Exists takes no value",
            "fieldPath": ".value",
        },
        {
            "rule": "!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
            "message": "tolerationSeconds needs effect NoExecute",
            "fieldPath": ".tolerationSeconds",
        },
    ]

    @model_validator(mode="after")
    def _check_toleration(self) -> "Toleration":
        if self.key is None and self.operator != "Exists":
            raise ValueError("without a key, operator must be Exists")
        if self.value is not None and self.operator != "Equal":
            raise ValueError("operator Exists takes no value")
        if self.toleration_seconds is not None and self.effect != "NoExecute":
            raise ValueError("tolerationSeconds needs effect NoExecute")
        return self


class Predictor(ApiModel):
    """How the model is served."""

    min_replicas: Count = Field(
        default=1,
        description="Replicas that always run. 0: none while nobody asks; a request that may be answered wakes one.",
    )
    max_replicas: Count | None = Field(
        default=None,
        description="Most replicas; left out, as many as minReplicas, or 1 where that is 0. 0: no request wakes any.",
    )
    idle_seconds: IdleSeconds = Field(
        default=IDLE_SECONDS,
        description="Where minReplicas is 0: how long after the last request a replica goes on running. More than it "
        "takes to start.",
    )
    model: PredictorModel = Field(description="The model.")
    resources: Resources = Field(
        default_factory=Resources,
        description="Needs of one replica; wins over model.resources where both name an amount. Left out, estimated.",
    )
    node_selector: dict[LabelKey, LabelValue] = Field(
        default_factory=dict, max_length=16, description="Labels a node must have, beside what the class demands."
    )
    tolerations: tuple[Toleration, ...] = Field(
        default=(), max_length=16, description="Taints that are tolerated.", json_schema_extra=ATOMIC_LIST
    )
    runtime_class_name: Name | None = Field(
        default=None, description="RuntimeClass of the pods, for example kata-qemu-snp."
    )

    validations: ClassVar[list[dict[str, str]]] = [
        {
            "rule": "!has(self.maxReplicas) || self.maxReplicas >= self.minReplicas",
            "message": "maxReplicas must not be smaller than minReplicas",
            "fieldPath": ".maxReplicas",
        }
    ]

    @model_validator(mode="after")
    def _check_replicas(self) -> "Predictor":
        if self.max_replicas is not None and self.max_replicas < self.min_replicas:
            raise ValueError(
                f"maxReplicas must not be smaller than minReplicas: {self.max_replicas} < {self.min_replicas}"
            )
        return self


class PlacementWish(ApiModel):
    """Narrow where the service may run; it never widens what the class allows."""

    sites: tuple[Name, ...] = Field(
        default=(), max_length=32, description="Only these sites; empty means all.", json_schema_extra=SET_LIST
    )


class EgressRule(ApiModel):
    """A destination the pods may reach where the class allows declared egress."""

    cidr: Annotated[str, Field(max_length=43, pattern=r"^[0-9a-fA-F.:]+/[0-9]{1,3}$")] = Field(
        description="Address range."
    )
    ports: tuple[Port, ...] = Field(min_length=1, max_length=16, description="TCP ports.", json_schema_extra=SET_LIST)

    validations: ClassVar[list[dict[str, str]]] = [
        {
            "rule": "isCIDR(self.cidr) && cidr(self.cidr).masked() == cidr(self.cidr)",
            "message": "cidr must be an address range without host bits, such as 10.1.0.0/16",
            "fieldPath": ".cidr",
        }
    ]

    @model_validator(mode="after")
    def _check_cidr(self) -> "EgressRule":
        try:
            ip_network(self.cidr)
        except ValueError:
            raise ValueError("cidr must be an address range without host bits, such as 10.1.0.0/16") from None
        return self


class InferenceServiceSpec(ApiModel):
    """A model, its class, and how it is to be served."""

    classification: ClassRef | None = Field(
        default=None,
        description="Class of the service; joined with the labels of service, model and namespace, so it only raises.",
    )
    predictor: Predictor = Field(description="How the model is served.")
    placement: PlacementWish = Field(default_factory=PlacementWish, description="Wishes about sites.")
    egress: tuple[EgressRule, ...] = Field(
        default=(), max_length=16, json_schema_extra=ATOMIC_LIST,
        description="Destinations beside depot and broker; only for classes whose rule says egress Declared.",
    )  # fmt: skip
    users: tuple[UserRef, ...] = Field(
        default=(), max_length=64, json_schema_extra=SET_LIST,
        description="Whom the service answers: group:NAME, user:NAME or serviceaccount:NAMESPACE:NAME. Empty: "
        "everybody whom RBAC lets use it. A key that a KeyReleasePolicy guards is released only where every user here "
        "is one of the owner's and of the tenant's.",
    )  # fmt: skip


class ClassSource(StatusModel):
    """One floor that made the class what it is."""

    source: Text = Field(description="Where the floor is written.")
    level: Annotated[str, Field(max_length=63)] = Field(description="Level it asks for.")
    compartments: tuple[Annotated[str, Field(max_length=63)], ...] = Field(
        default=(), max_length=MAX_COMPARTMENTS, description="Compartments it asks for.", json_schema_extra=ATOMIC_LIST
    )


class ClassStatus(StatusModel):
    """The class, and where each part of it came from."""

    level: Annotated[str, Field(max_length=63)] = Field(description="Level.")
    compartments: tuple[Annotated[str, Field(max_length=63)], ...] = Field(
        default=(), max_length=64, description="Compartments.", json_schema_extra=ATOMIC_LIST
    )
    display: Annotated[str, Field(max_length=1100)] = Field(
        description="The class as people read it: level+compartment."
    )
    from_: tuple[ClassSource, ...] = Field(
        default=(), alias="from", max_length=8, description="Floors that were joined.", json_schema_extra=ATOMIC_LIST
    )


class RejectedSite(StatusModel):
    """Why a site was not chosen."""

    site: Annotated[str, Field(max_length=63)] = Field(description="Name of the site.")
    reason: Annotated[str, Field(max_length=64)] = Field(description="The most fundamental rule that refused.")
    detail: Text = Field(description="Which two facts disagreed.")


class PlacementStatus(StatusModel):
    """Where the service runs, why, and why not elsewhere."""

    site: Annotated[str, Field(max_length=63)] | None = Field(default=None, description="Chosen site.")
    because: Text | None = Field(default=None, description="The facts that let it run there.")
    rejected: tuple[RejectedSite, ...] = Field(
        default=(),
        max_length=64,
        json_schema_extra=keyed_list("site", max_items=64),
        description="Other sites, with reasons.",
    )


class Address(StatusModel):
    """How callers reach the model."""

    url: Text = Field(description="Base URL of the OpenAI-compatible API.")
    model: Annotated[str, Field(max_length=128)] = Field(description="Value of the request's model field.")


class ReplicaStatus(StatusModel):
    """Replicas, counted."""

    desired: int = Field(default=0, ge=0, description="Replicas wanted.")
    ready: int = Field(default=0, ge=0, description="Replicas that serve.")
    summary: Annotated[str, Field(max_length=32)] = Field(default="0/0", description="ready/desired.")


class DemandStatus(StatusModel):
    """That a service which may rest is asked for."""

    asked_at: Timestamp = Field(description="When it was last asked, to within a third of idleSeconds.")
    by: Annotated[str, Field(max_length=253)] = Field(default="", description="Pod of the gateway that says so.")


class WeightsStatus(StatusModel):
    """What is known of the weights."""

    source: Annotated[str, Field(max_length=1024)] | None = Field(default=None, description="Where they come from.")
    digest: Annotated[str, Field(max_length=71)] | None = Field(default=None, description="Digest of what was fetched.")
    progress: Annotated[str, Field(max_length=256)] | None = Field(default=None, description="Progress of a fetch.")
    version: int | None = Field(
        default=None, ge=1, description="Version of the sealed model.", json_schema_extra={"format": "int64"}
    )
    key: Text | None = Field(default=None, description="Key that unseals it: service:key, and the key's version.")
    lease_ends_at: Timestamp | None = Field(
        default=None, description="When the first pod loses its key unless it proves itself anew."
    )
    policy_digest: Digest | None = Field(
        default=None, description="Digest of all rules under which the key was released."
    )
    evidence_digest: Digest | None = Field(default=None, description="Digest of the evidence it was released for.")


class TemplateStatus(StatusModel):
    """What the pods of the service run, as digests; the broker holds each pod against them before it releases a key."""

    digest: Annotated[str, Field(max_length=71)] = Field(description="Digest of what a new pod runs and may touch.")
    earlier: tuple[Annotated[str, Field(max_length=71)], ...] = Field(
        default=(), max_length=3, json_schema_extra=ATOMIC_LIST,
        description="Digests of the last templates before, newest first: their pods go on until they are replaced.",
    )  # fmt: skip


class InferenceServiceStatus(StatusModel):
    """What the operator decided and saw."""

    observed_generation: int = Field(
        default=-1, ge=-1, description="Generation last read.", json_schema_extra={"format": "int64"}
    )
    class_: ClassStatus | None = Field(default=None, alias="class", description="Class and its sources.")
    placement: PlacementStatus | None = Field(default=None, description="Where, why, and why not elsewhere.")
    address: Address | None = Field(default=None, description="How callers reach it.")
    runtime: Annotated[str, Field(max_length=63)] | None = Field(default=None, description="Runtime that serves it.")
    model_name: Annotated[str, Field(max_length=63)] | None = Field(default=None, description="Model that is served.")
    replicas: ReplicaStatus | None = Field(default=None, description="Replicas.")
    demand: DemandStatus | None = Field(
        default=None, description="Where minReplicas is 0: when it was last asked for; the gateway alone writes it."
    )
    weights: WeightsStatus | None = Field(default=None, description="Weights.")
    template: TemplateStatus | None = Field(
        default=None, description="What the pods run, where they unseal their weights."
    )
    users: tuple[UserRef, ...] | None = Field(
        default=None, max_length=64, json_schema_extra=SET_LIST,
        description="Where a key is guarded: those of spec.users whom owner and tenant both grant; the gateway lets "
        "nobody else through. Absent: spec.users alone decides.",
    )  # fmt: skip
    conditions: tuple[Condition, ...] = Field(
        default=(), max_length=32, json_schema_extra=CONDITIONS,
        description="Accepted, Placed, Isolated, Attested, KeyReleased, WeightsAvailable, Serving and Ready.",
    )  # fmt: skip


KIND: dict[str, Any] = {
    "kind": "InferenceService",
    "plural": "inferenceservices",
    "scope": "Namespaced",
    "shortNames": ["isvc"],
    "categories": ["all", "sekisho"],
    "spec": InferenceServiceSpec,
    "status": InferenceServiceStatus,
    "description": "Serves a model at a site where the class of its data may run, isolated by proven policies.",
    "validations": [require_name(most=50)],
    "columns": [
        ("Class", "string", ".status.class.display", "Class of the data"),
        ("Site", "string", ".status.placement.site", "Where it runs"),
        ("Ready", "string", '.status.conditions[?(@.type=="Ready")].status', ""),
        ("Reason", "string", '.status.conditions[?(@.type=="Ready")].reason', "Why it is, or is not, ready"),
        ("Replicas", "string", ".status.replicas.summary", "ready/desired"),
        ("Model", "string", ".status.modelName", ""),
        ("Age", "date", ".metadata.creationTimestamp", ""),
    ],
}
