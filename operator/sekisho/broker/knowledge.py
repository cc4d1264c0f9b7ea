"""What the broker knows of the cluster beside pods: who grants what, what evidence is good enough, what is where.

Few and small objects, watched. Knowledge that was not confirmed for too long is not used: a grant may be revoked by
now.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from sekisho.api.meta import ApiModel
from sekisho.api.names import DEFAULT_POLICY_NAME
from sekisho.api.v1alpha1.classificationpolicy import ClassificationPolicySpec
from sekisho.api.v1alpha1.datagrant import DataGrantSpec
from sekisho.api.v1alpha1.evidencepolicy import EvidencePolicySpec
from sekisho.api.v1alpha1.keyreleasepolicy import KeyReleasePolicySpec
from sekisho.api.v1alpha1.site import SiteSpec
from sekisho.broker.releasefacts import OwnerPolicy, ReleaseRules, TenantGrant
from sekisho.errors import Reason, UnavailableError
from sekisho.kernel import read_boot_seconds
from sekisho.kube.client import KubeClient
from sekisho.kube.reflecting import Freshness, Reflector
from sekisho.kube.resources import DATA_GRANTS, EVIDENCE_POLICIES, KEY_RELEASE_POLICIES, POLICIES, SITES, Resource

Raw = Mapping[str, Any]
SpecT = TypeVar("SpecT", bound=ApiModel)


@dataclass(frozen=True, slots=True)
class Known(Generic[SpecT]):
    """One object that is in force.

    Attributes:
        namespace: Empty for cluster-wide kinds.
    """

    namespace: str
    name: str
    spec: SpecT


class Knowledge:
    """Policies, grants, sites and the law, watched."""

    def __init__(self, client: KubeClient, times: Freshness) -> None:
        self._times = times
        self._policies = _follow(client, KEY_RELEASE_POLICIES, KeyReleasePolicySpec, times)
        self._grants = _follow(client, DATA_GRANTS, DataGrantSpec, times)
        self._evidence = _follow(client, EVIDENCE_POLICIES, EvidencePolicySpec, times)
        self._sites = _follow(client, SITES, SiteSpec, times)
        self._laws = _follow(client, POLICIES, ClassificationPolicySpec, times)
        self._rules: ReleaseRules | None = None
        self._seen: tuple[int, ...] = ()

    async def run(self) -> None:
        """Keep everything fresh until cancelled."""
        async with asyncio.TaskGroup() as group:
            for reflector in self._reflectors():
                group.create_task(reflector.run())

    def age_seconds(self) -> float:
        """Return the age of the oldest knowledge."""
        return read_boot_seconds() - min(reflector.heard_at for reflector in self._reflectors())

    def check_fresh(self) -> None:
        """Refuse to go on where knowledge is too old.

        Raises:
            UnavailableError: ApiUnavailable.
        """
        age, most = self.age_seconds(), self._times.max_age_seconds
        if age == float("inf"):
            raise UnavailableError(Reason.API_UNAVAILABLE, "nothing is known of the cluster yet")
        if age > most:
            message = f"what the broker knows of grants is {age:.0f} s old, {most:.0f} s allowed; nothing is released"
            raise UnavailableError(Reason.API_UNAVAILABLE, message)

    def rules(self) -> ReleaseRules:
        """Return all that people wrote which decides now; an object that cannot be read grants nothing.

        Raises:
            UnavailableError: ApiUnavailable; it is not known well enough.
        """
        self.check_fresh()
        seen = tuple(reflector.changes for reflector in self._reflectors())
        if self._rules is None or seen != self._seen:
            self._rules, self._seen = self._compose(), seen
        return self._rules

    def _compose(self) -> ReleaseRules:
        law = self._laws.objects.get(("", DEFAULT_POLICY_NAME))
        return ReleaseRules(
            law=None if law is None else law.spec,
            sites={item.name: item.spec for item in _known(self._sites)},
            owners=tuple(OwnerPolicy(item.namespace, item.name, item.spec) for item in _known(self._policies)),
            tenants=tuple(TenantGrant(item.namespace, item.name, item.spec) for item in _known(self._grants)),
            evidence={item.name: item.spec for item in _known(self._evidence)},
        )

    def _reflectors(self) -> tuple[Reflector[Any], ...]:
        return self._policies, self._grants, self._evidence, self._sites, self._laws


def _known(reflector: "Reflector[Known[SpecT] | None]") -> list[Known[SpecT]]:
    return [item for _, item in sorted(reflector.objects.items(), key=lambda pair: pair[0]) if item is not None]


def _follow(
    client: KubeClient, resource: Resource, kind: type[SpecT], times: Freshness
) -> "Reflector[Known[SpecT] | None]":
    return Reflector(client, resource, _reader(kind), times=times)


def _reader(kind: type[SpecT]) -> Callable[[Raw], Known[SpecT] | None]:
    def read(raw: Raw) -> Known[SpecT] | None:
        meta = raw.get("metadata") or {}
        if meta.get("deletionTimestamp"):
            return None
        try:
            spec = kind.model_validate(raw.get("spec") or {})
        except ValidationError:
            return None  # the controller tells its owner by the object's status
        return Known(str(meta.get("namespace", "")), str(meta.get("name", "")), spec)

    return read
