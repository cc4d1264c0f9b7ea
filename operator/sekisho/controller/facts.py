"""Reconcile the kinds for which nothing is applied: their status says what the operator made of them."""

import time
from collections.abc import Callable, Mapping
from typing import Final

from sekisho.controller.cluster import Cluster
from sekisho.controller.gather import Gatherer
from sekisho.controller.loop import Outcome
from sekisho.controller.publishing import Publisher, tell_failure
from sekisho.controller.reading import Reader
from sekisho.controller.store import Name, Raw
from sekisho.controller.versions import VersionLedger
from sekisho.errors import RefusedError
from sekisho.kube.resources import (
    ACCESS_POLICIES,
    DATA_GRANTS,
    EVIDENCE_POLICIES,
    GRANT_KINDS,
    KEY_RELEASE_POLICIES,
    MODELS,
    NAMESPACES,
    POLICIES,
    RUNTIMES,
    SITES,
    Resource,
)
from sekisho.plan.accesspolicy import plan_accesspolicy
from sekisho.plan.datagrant import plan_datagrant
from sekisho.plan.evidencepolicy import plan_evidencepolicy
from sekisho.plan.keyreleasepolicy import plan_keyreleasepolicy
from sekisho.plan.model import plan_model
from sekisho.plan.policy import plan_policy
from sekisho.plan.runtime import plan_runtime
from sekisho.plan.site import plan_site
from sekisho.plan.versions import Accepted
from sekisho.plan.world import Published


class FactsLoop:
    """Reconciles all kinds but services; reads nothing, writes their status where it differs."""

    def __init__(
        self, cluster: Cluster, gatherer: Gatherer, publisher: Publisher, reader: Reader, *, ledger: VersionLedger,
        wake_namespace: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._ledger = ledger
        self._wake_namespace = wake_namespace
        self._cluster = cluster
        self._gatherer = gatherer
        self._publisher = publisher
        self._reader = reader
        self._plans: Final[Mapping[Resource, Callable[[Raw], Published]]] = {
            POLICIES: lambda raw: plan_policy(reader.policy(raw), now_at=time.time()),
            SITES: lambda raw: plan_site(reader.site(raw), cluster.snapshot(), now_at=time.time()),
            RUNTIMES: lambda raw: plan_runtime(reader.runtime(raw), now_at=time.time()),
            MODELS: self._plan_model,
            EVIDENCE_POLICIES: lambda raw: plan_evidencepolicy(reader.evidence_policy(raw), gatherer.grant_world()),
            KEY_RELEASE_POLICIES: lambda raw: plan_keyreleasepolicy(reader.key_release(raw), gatherer.grant_world()),
            DATA_GRANTS: lambda raw: plan_datagrant(reader.data_grant(raw), gatherer.grant_world()),
            ACCESS_POLICIES: lambda raw: plan_accesspolicy(reader.access_policy(raw), gatherer.access_world()),
        }

    async def reconcile(self, resource: Resource, name: Name) -> Outcome:
        """Publish the status of one object."""
        raw = self._cluster.stores[resource].get(name)
        # Of what releases keys it is told that it counts no more.
        if raw is None or ("deletionTimestamp" in raw["metadata"] and resource not in GRANT_KINDS):
            return Outcome()
        planned = self._plans[resource](raw)
        if planned.accepted is not None:
            planned = await self._record(raw, planned, planned.accepted)
        told = await self._publisher.publish(resource, raw, planned.status, announcements=planned.announcements)
        return Outcome(writes=int(told), again_after_seconds=planned.check_after_seconds)

    async def _record(self, raw: Raw, planned: Published, accepted: Accepted) -> Published:
        """Remember an accepted version, then plan with that; only then may anything serve it.

        Raises:
            SekishoError: It cannot be remembered; where that lasts the status says so already.
        """
        namespace = str(raw["metadata"]["namespace"])
        try:
            await self._ledger.note(namespace, accepted)
        except RefusedError as error:
            generation = int(raw["metadata"].get("generation", 0))
            status, told = tell_failure(
                planned.status, raw.get("status") or {}, error, generation=generation, now_at=time.time()
            )
            await self._publisher.publish(MODELS, raw, status, announcements=told)
            raise
        self._wake_namespace(namespace)
        return self._plan_model(raw)

    def _plan_model(self, raw: Raw) -> Published:
        obj = self._gatherer.model(raw)
        namespace = self._cluster.stores[NAMESPACES].get(("", obj.namespace))
        labels = namespace["metadata"]["labels"] if namespace else {}
        return plan_model(obj, self._gatherer.policy(), namespace_labels=labels, now_at=time.time())
