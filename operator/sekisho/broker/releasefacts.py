"""The facts that a release of a key is decided on. Frozen values; gathered elsewhere, decided in `decide`."""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, TypeVar, cast

from sekisho.api.v1alpha1.classificationpolicy import ClassificationPolicySpec
from sekisho.api.v1alpha1.datagrant import DataGrantSpec
from sekisho.api.v1alpha1.evidencepolicy import EvidencePolicySpec
from sekisho.api.v1alpha1.keyreleasepolicy import KeyReleasePolicySpec
from sekisho.api.v1alpha1.site import SiteSpec
from sekisho.attest.binding import Binding
from sekisho.attest.claims import Claims
from sekisho.attest.isolation import Verdict

ValueT = TypeVar("ValueT")
_MOST_REMEMBERED: Final = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Which key is asked for, in the words of the sealed model and of its key file; nothing in it is believed yet.

    Attributes:
        model: The owner's name for the model.
        version: Of the model.
        data_class: The class it was sealed for, "confidential+gdpr".
        manifest_digest: "sha256:…" of the sealed manifest that the pod holds.
        kms: Key service that wrapped the data key.
        key_id: Key-encryption key there.
        key_version: Its version as the key file says; what counts in the end is the version the service opens it by.
    """

    model: str
    version: int
    data_class: str
    manifest_digest: str
    kms: str
    key_id: str
    key_version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """The pod that asks, as the API server shows it.

    Attributes:
        images: "sha256:…" of every image that any container of the pod runs; empty where one is not known.
        template_digest: Of the pod as it is.
        expected_template_digest: Of the pod as the operator rendered it; empty where that is not known.
        service_class: Class of the service as its label spells it, "confidential.gdpr".
        site: Name of the site it was placed at.
        node_labels: Labels of its node.
        node_key: What TPM evidence must give as its chip's id: the enrolled key of the pod's node; None without one.
        users: The service's spec.users.
        gpus: GPUs that the pod holds.
    """

    namespace: str
    service: str
    pod: str
    uid: str
    node: str
    images: frozenset[str]
    template_digest: str
    expected_template_digest: str
    service_class: str
    site: str
    node_labels: Mapping[str, str]
    node_key: bytes | None
    users: frozenset[str]
    gpus: int = 0

    @property
    def full_name(self) -> str:
        """namespace/service."""
        return f"{self.namespace}/{self.service}"


@dataclass(frozen=True, slots=True)
class OwnerPolicy:
    """One KeyReleasePolicy that can be read."""

    namespace: str
    name: str
    spec: KeyReleasePolicySpec

    @property
    def full_name(self) -> str:
        """namespace/name."""
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class TenantGrant:
    """One DataGrant that can be read."""

    namespace: str
    name: str
    spec: DataGrantSpec

    @property
    def full_name(self) -> str:
        """namespace/name."""
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class ReleaseRules:
    """Everything that people wrote which decides; objects that cannot be read are left out, and so grant nothing.

    Attributes:
        law: The ClassificationPolicy in force; None where there is none, or it cannot be read.
        sites: By name.
        owners: KeyReleasePolicies of all namespaces.
        tenants: DataGrants of all namespaces, or of the service's alone.
        evidence: EvidencePolicies by name.
        memory: What was read out of these rules already; see `once`.
    """

    law: ClassificationPolicySpec | None
    sites: Mapping[str, SiteSpec] = field(default_factory=dict)
    owners: tuple[OwnerPolicy, ...] = ()
    tenants: tuple[TenantGrant, ...] = ()
    evidence: Mapping[str, EvidencePolicySpec] = field(default_factory=dict)
    memory: dict[tuple[object, ...], Any] = field(default_factory=dict, init=False, compare=False, repr=False)

    def once(self, compute: Callable[..., ValueT], *others: Hashable) -> ValueT:
        """Return a value that depends on these rules, computed the first time: they never change, new ones are others.

        Args:
            compute: Makes the value of these rules and the others; a function of a module, which reads nothing else.
            others: All besides the rules that the value depends on. Nothing that depends on the time may be kept.
        """
        key = (compute, *others)
        if key not in self.memory:
            if len(self.memory) >= _MOST_REMEMBERED:
                self.memory.clear()
            self.memory[key] = compute(self, *others)
        return cast("ValueT", self.memory[key])


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseFacts:
    """One question, and all that is known when it is decided.

    Attributes:
        binding: What the evidence was made for, put together from the challenge and from what came with the answer.
        isolation: What the pod's proof of isolation came to.
        claims: What verifiers made of each piece of evidence.
        challenged_at: When the challenge was made, by this broker's own clock; no evidence for it can be older.
        now: When it is decided.
    """

    question: Question
    workload: Workload
    rules: ReleaseRules
    binding: Binding
    isolation: Verdict
    claims: tuple[Claims, ...]
    challenged_at: datetime
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A release that every rule allows.

    Attributes:
        lease_seconds: How long the pod may keep the key; at least 1.
        policy_digest: Digest of all rules that decided.
        evidence_digest: Digest of the evidence that it was decided on.
        owner: namespace/name of the KeyReleasePolicy.
        tenant: namespace/name of the DataGrant.
        evidence_policies: Names of the EvidencePolicies that held.
        minimum_key_version: Lowest version of the key that may open the data key, for the key service to hold.
    """

    lease_seconds: int
    policy_digest: str
    evidence_digest: str
    owner: str
    tenant: str
    evidence_policies: tuple[str, ...]
    minimum_key_version: int
