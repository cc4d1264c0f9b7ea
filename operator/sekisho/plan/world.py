"""The facts that a plan is made from, and what a plan is. Frozen values; gathered elsewhere, applied elsewhere."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from sekisho.api.v1alpha1.classificationpolicy import ClassificationPolicySpec
from sekisho.api.v1alpha1.datagrant import DataGrantSpec
from sekisho.api.v1alpha1.evidencepolicy import EvidencePolicySpec
from sekisho.api.v1alpha1.inferenceservice import InferenceServiceSpec
from sekisho.api.v1alpha1.keyreleasepolicy import KeyReleasePolicySpec
from sekisho.api.v1alpha1.model import ModelSpec
from sekisho.api.v1alpha1.runtime import RuntimeSpec
from sekisho.api.v1alpha1.site import SiteSpec
from sekisho.errors import Reason, Rejection
from sekisho.placement.snapshot import Snapshot
from sekisho.plan.conditions import Announcement
from sekisho.plan.versions import Accepted, Versions
from sekisho.render.settings import RenderSettings

Manifest = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ServiceObject:
    """One InferenceService as it was read.

    Attributes:
        spec: The parsed spec, or a rejection where it cannot be parsed.
        status: The status as it stands on the server, raw.
    """

    namespace: str
    name: str
    uid: str
    generation: int
    labels: Mapping[str, str]
    spec: InferenceServiceSpec | Rejection
    status: Mapping[str, Any]
    deleting: bool = False


@dataclass(frozen=True, slots=True)
class ModelObject:
    """One Model as it was read.

    Attributes:
        versions: What its namespace has accepted of sealed models; None where nobody keeps that.
    """

    namespace: str
    name: str
    generation: int
    labels: Mapping[str, str]
    spec: ModelSpec | Rejection
    status: Mapping[str, Any]
    versions: Versions | None = None


SpecT = TypeVar("SpecT")


@dataclass(frozen=True, slots=True)
class ClusterObject(Generic[SpecT]):
    """One object of a cluster-wide kind as it was read: ClassificationPolicy, Site, Runtime or EvidencePolicy."""

    name: str
    generation: int
    spec: SpecT | Rejection
    status: Mapping[str, Any]


PolicyObject = ClusterObject[ClassificationPolicySpec]
SiteObject = ClusterObject[SiteSpec]
RuntimeObject = ClusterObject[RuntimeSpec]
EvidencePolicyObject = ClusterObject[EvidencePolicySpec]


@dataclass(frozen=True, slots=True)
class GrantObject(Generic[SpecT]):
    """What somebody grants, as it was read: a KeyReleasePolicy, a DataGrant or an AccessPolicy."""

    namespace: str
    name: str
    generation: int
    spec: SpecT | Rejection
    status: Mapping[str, Any]

    @property
    def full_name(self) -> str:
        """namespace/name."""
        return f"{self.namespace}/{self.name}"


KeyReleaseObject = GrantObject[KeyReleasePolicySpec]
DataGrantObject = GrantObject[DataGrantSpec]


@dataclass(frozen=True, slots=True)
class GrantWorld:
    """What the status of either side of a key's release may depend on.

    Attributes:
        policy: The ClassificationPolicy in force; None where there is none, a rejection where it cannot be parsed.
        evidence: EvidencePolicies that can be read, by name.
        owners: All KeyReleasePolicies.
        tenants: All DataGrants.
        now_at: Unix seconds at which the facts were gathered.
    """

    policy: ClassificationPolicySpec | Rejection | None
    evidence: Mapping[str, EvidencePolicySpec]
    owners: tuple[KeyReleaseObject, ...]
    tenants: tuple[DataGrantObject, ...]
    now_at: float


@dataclass(frozen=True, slots=True)
class AccessWorld:
    """What the status of an AccessPolicy may depend on.

    Attributes:
        policy: The ClassificationPolicy in force; None where there is none, a rejection where it cannot be parsed.
        sites: Names of Sites.
        system_namespace: Namespace of the installation.
        now_at: Unix seconds at which the facts were gathered.
    """

    policy: ClassificationPolicySpec | Rejection | None
    sites: frozenset[str]
    system_namespace: str
    now_at: float


@dataclass(frozen=True, slots=True)
class World:
    """Everything beside the object itself that a plan may depend on.

    Attributes:
        policy: The policy in force; None where there is none, a rejection where it cannot be parsed.
        namespace_labels: Labels of the service's namespace.
        model: The Model that `modelRef` names, None where it does not exist or none is named.
        runtimes: By name.
        sites: By name.
        snapshot: Nodes with what is free on them; pods of this very service are not counted as used.
        children: What we own for this service as the server shows it, by kind (each kind has one child);
            complete: a child that is missing here is taken to be missing there.
        network_policies: Policies of the namespace that are not ours.
        pods: Pods of this service, raw, sorted by name.
        replica_failures: Messages of why pods could not be created (quota, admission), newest first.
        now_at: Unix seconds at which the facts were gathered.
        owners: KeyReleasePolicies that name this service.
        tenants: DataGrants of its namespace that name it.
    """

    policy: ClassificationPolicySpec | Rejection | None
    namespace_labels: Mapping[str, str]
    model: ModelObject | None
    runtimes: Mapping[str, RuntimeSpec]
    sites: Mapping[str, SiteSpec]
    snapshot: Snapshot
    children: Mapping[str, Manifest]
    network_policies: tuple[Manifest, ...]
    pods: tuple[Manifest, ...]
    settings: RenderSettings
    now_at: float
    replica_failures: tuple[str, ...] = ()
    owners: tuple[KeyReleaseObject, ...] = ()
    tenants: tuple[DataGrantObject, ...] = ()


@dataclass(frozen=True, slots=True)
class Eviction:
    """A pod that must leave its node, and why; `uid` says which of that name.

    Attributes:
        overdue: Whether it was asked to for so long that no disruption budget holds it any more.
    """

    name: str
    uid: str
    reason: Reason
    detail: str
    overdue: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """What should be so.

    Attributes:
        isolation: Manifests that must exist, and be observed, before any of `workload`.
        workload: The rest, in the order of application.
        prune: Kinds whose child must not exist.
        status: The whole status to publish; lastTransitionTime kept where a condition's status did not change.
        announcements: Events, one per changed condition.
        check_after_seconds: Look again after this long even if nothing happens; None where events suffice.
        evictions: Pods that may not stay on their nodes.
    """

    isolation: tuple[Manifest, ...]
    workload: tuple[Manifest, ...]
    status: Manifest
    prune: tuple[str, ...] = ()
    announcements: tuple[Announcement, ...] = field(default=())
    check_after_seconds: float | None = None
    evictions: tuple[Eviction, ...] = ()


@dataclass(frozen=True, slots=True)
class Published:
    """What is published about an object for which nothing is applied: status, events, and when to look again."""

    status: Manifest
    announcements: tuple[Announcement, ...] = ()
    check_after_seconds: float | None = None
    accepted: Accepted | None = None
