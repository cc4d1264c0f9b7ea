"""Reconcile one object: gather, plan, apply, prune, publish."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sekisho.api.names import APPLIED_DIGEST_ANNOTATION, name_child
from sekisho.controller.cluster import Cluster
from sekisho.controller.gather import Gatherer, model_name_of
from sekisho.controller.publishing import Publisher, tell_failure
from sekisho.controller.reading import Reader
from sekisho.controller.sharing import SharedReads
from sekisho.controller.store import Change, Raw
from sekisho.errors import RefusedError, SekishoError
from sekisho.kube.apply import find_difference, write
from sekisho.kube.client import KubeClient
from sekisho.kube.inventory import find_leftovers, is_left, prune
from sekisho.kube.resources import (
    CHILD_KINDS,
    DEPLOYMENTS,
    INFERENCE_SERVICES,
    MODELS,
    NAMESPACES,
    PODS,
    Resource,
    resource_of,
)
from sekisho.plan.inferenceservice import plan
from sekisho.plan.world import Manifest, Plan, ServiceObject

_log = logging.getLogger(__name__)
FRESH_SECONDS = 2.0
# What fails once or twice passes by itself as a rule; what goes on failing is told.
TOLD_FAILURES = 3


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one reconcile came to.

    Attributes:
        writes: Write requests that were needed.
        drift: Of these, how many put back what somebody else had changed.
        again_after_seconds: When to look again even if nothing happens; None where events suffice.
    """

    writes: int = 0
    drift: int = 0
    again_after_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class _Change:
    manifest: Manifest
    live: Raw | None
    difference: str


@dataclass(frozen=True, slots=True)
class _Changes:
    """What must be written for a plan to be so."""

    isolation: tuple[_Change, ...]
    workload: tuple[_Change, ...]
    leftovers: tuple[tuple[Resource, Raw], ...]

    @property
    def count(self) -> int:
        return len(self.isolation) + len(self.workload) + len(self.leftovers)

    @property
    def isolates_first(self) -> bool:
        """Whether what isolates is made for pods to come, which are to name it as their owner."""
        return bool(self.workload) and any(change.live is None for change in self.isolation)


class ServiceLoop:
    """Reconciles InferenceServices.

    The object itself is read anew before anything is written for it, unless the watch has shown anything of its kind a
    moment ago: one stream tells all changes in their order, so nothing older is still to come. A reconcile that writes
    nothing but the status reads nothing. Before first pods are made, what raises their class is read anew too: no
    stream tells of the changes of another kind, and pods never begin with less than the class that they will have.

    Args:
        route: Told of what such a read shows that the watch has not shown yet: it will be no news then.
        settle_seconds: After children were written the status waits this long, so that it speaks of what came of them.
    """

    def __init__(
        self, client: KubeClient, cluster: Cluster, gatherer: Gatherer, publisher: Publisher, reader: Reader,
        *, route: Callable[[Change], None], settle_seconds: float,
    ) -> None:  # fmt: skip
        self._client = client
        self._route = route
        self._cluster = cluster
        self._gatherer = gatherer
        self._publisher = publisher
        self._reader = reader
        self._settle_seconds = settle_seconds
        self._shared = SharedReads(client, self._take_in)
        self._read_at: dict[tuple[str, str], float] = {}
        self._verified: dict[tuple[str, str, str], tuple[str, str]] = {}
        self._settling: set[tuple[str, str]] = set()
        self._failures: dict[tuple[str, str], int] = {}

    def forget(self, name: tuple[str, str]) -> None:
        """Drop what is remembered of an object that is gone."""
        self._read_at.pop(name, None)
        self._settling.discard(name)
        self._failures.pop(name, None)
        for resource in CHILD_KINDS:
            self._verified.pop((resource.kind, name[0], name_child(name[1])), None)

    async def reconcile(self, name: tuple[str, str]) -> Outcome:
        """Make so what one service asks for, as far as the rules allow, and say what came of it.

        Raises:
            UnavailableError: The API server did not do its part; try again. Where that goes on, the status says so.
            RefusedError: Something could not be made so; the status says so already.
        """
        raw = self._cluster.stores[INFERENCE_SERVICES].get(name)
        if raw is None:
            return Outcome()
        obj, planned, changes = self._plan(raw)
        known = self._gatherer.mark_of(obj)
        if changes.count and not self._is_fresh(name):
            shown, raw = raw, await self._read_anew(name)
            if raw is None:
                return Outcome()
            if raw is not shown:
                obj, planned, changes = self._plan(raw)
                known = self._gatherer.mark_of(obj)
        if self._starts_first_pods(obj, planned):
            if not await self._learn_class(obj):
                return Outcome(again_after_seconds=FRESH_SECONDS)
            if self._gatherer.mark_of(obj) != known:
                obj, planned, changes = self._plan(raw)
        isolated = 0
        if changes.isolates_first:
            first = replace(changes, workload=(), leftovers=())
            await self._apply_or_tell(obj, raw, planned, changes=first)
            isolated = first.count
            obj, planned, changes = self._plan(raw)
        await self._apply_or_tell(obj, raw, planned, changes=changes)
        await self._evict(obj, planned)
        written = isolated + changes.count
        if written and name not in self._settling:
            self._settling.add(name)
            return _sum_up(changes, writes=written, again=self._settle_seconds)
        self._settling.discard(name)
        told = await self._publisher.publish(
            INFERENCE_SERVICES, raw, planned.status, announcements=planned.announcements
        )
        return _sum_up(changes, writes=written + told, again=planned.check_after_seconds)

    def _starts_first_pods(self, obj: ServiceObject, planned: Plan) -> bool:
        """Tell whether a plan makes pods where none are wanted so far: of a new service, or of one that wakes."""
        live = self._cluster.child(DEPLOYMENTS, obj.namespace, name_child(obj.name))
        if not planned.workload or live is None:
            return bool(planned.workload)
        return bool(planned.workload[-1]["spec"]["replicas"]) and not (live.get("spec") or {}).get("replicas")

    def _plan(self, raw: Raw) -> tuple[ServiceObject, Plan, _Changes]:
        obj = self._reader.service(raw)
        planned = plan(obj, self._gatherer.world_of(obj))
        leftovers = self._find_leftovers(obj, planned)
        return obj, planned, _Changes(self._compare(planned.isolation), self._compare(planned.workload), leftovers)

    def _compare(self, manifests: tuple[Manifest, ...]) -> tuple[_Change, ...]:
        changes = []
        for manifest in manifests:
            meta = manifest["metadata"]
            live = self._cluster.child(resource_of(manifest), meta["namespace"], meta["name"])
            difference = self._find_difference(manifest, live)
            if difference is not None:
                changes.append(_Change(manifest, live, difference))
        return tuple(changes)

    def _find_difference(self, manifest: Manifest, live: Raw | None) -> str | None:
        """Compare, but what was found equal is not compared again while neither side has changed."""
        key, pair = _key_of(manifest), _pair(manifest, live)
        if all(pair) and self._verified.get(key) == pair:
            return None
        difference = find_difference(manifest, live)
        if difference is None:
            self._verified[key] = pair
        else:
            self._verified.pop(key, None)
        return difference

    def _find_leftovers(self, obj: ServiceObject, planned: Plan) -> tuple[tuple[Resource, Raw], ...]:
        """Return what the plan prunes, in its order, and whatever we once made under another name.

        What an earlier service of this name left behind, without an owner, is pruned like its own: nobody else would.
        """
        child = name_child(obj.name)
        keep = {(resource.kind, child) for resource in CHILD_KINDS if resource.kind not in planned.prune}
        found = find_leftovers(self._cluster.children_of(obj.uid), obj.uid, keep=keep)
        for resource in CHILD_KINDS:
            live = self._cluster.child(resource, obj.namespace, child)
            if resource.kind in planned.prune and live is not None and is_left(live, obj.name):
                found.append((resource, live))
        order = {kind: index for index, kind in enumerate(planned.prune)}
        return tuple(sorted(found, key=lambda item: order.get(item[0].kind, -1)))

    async def _apply_or_tell(self, obj: ServiceObject, raw: Raw, planned: Plan, *, changes: _Changes) -> None:
        name = (obj.namespace, obj.name)
        try:
            await self._apply(obj, changes)
        except SekishoError as error:
            count = self._failures[name] = self._failures.get(name, 0) + 1
            if isinstance(error, RefusedError) or count >= TOLD_FAILURES:
                await self._publish_failure(obj, raw, planned, error=error)
            raise
        self._failures.pop(name, None)

    async def _apply(self, obj: ServiceObject, changes: _Changes) -> None:
        """Write the isolation first, one by one, each seen in the server's answer; then the workload, then prune.

        Of the workload the last manifest, the one that starts pods, waits for the others.
        """
        for change in changes.isolation:
            await self._write(obj, change)
        if changes.workload:
            *first, last = changes.workload
            await _all_of([self._write(obj, change) for change in first])
            await self._write(obj, last)
        if written := (*changes.isolation, *changes.workload):
            why = {change.manifest["kind"]: change.difference for change in written}
            _log.info("applied", extra=_keys(obj, why=why))
        await prune(self._client, changes.leftovers)
        for resource, live in changes.leftovers:
            _log.info("pruned", extra=_keys(obj, kind=resource.kind, child=live["metadata"]["name"]))

    async def _evict(self, obj: ServiceObject, planned: Plan) -> None:
        """Have pods leave nodes where they may not stay; what does not go now is asked to at the next look.

        Raises:
            SekishoError: One that is overdue could be deleted no more than evicted.
        """
        for gone in planned.evictions:
            told = _keys(obj, pod=gone.name, reason=gone.reason, detail=gone.detail)
            try:
                await self._client.evict(gone.name, namespace=obj.namespace, uid=gone.uid)
            except SekishoError as error:
                _log.warning("a pod is not evicted yet", extra={**told, "why": error.message})
                if gone.overdue:
                    await self._client.delete(PODS, gone.name, namespace=obj.namespace, uid=gone.uid)
                    _log.warning("a pod is deleted, whatever disruption budgets say", extra=told)
            else:
                _log.warning("a pod is evicted", extra=told)

    async def _write(self, obj: ServiceObject, change: _Change) -> None:
        stored = await write(self._client, change.manifest, change.live)
        resource = resource_of(change.manifest)
        self._cluster.note(self._cluster.stores[resource].put(stored))
        # What was just seen in the server's answer need not be compared again while it stays so.
        self._verified[_key_of(change.manifest)] = _pair(change.manifest, stored)
        _log.debug("wrote", extra=_keys(obj, kind=resource.kind, why=change.difference))

    async def _read_anew(self, name: tuple[str, str]) -> Raw | None:
        store, (namespace, own) = self._cluster.stores[INFERENCE_SERVICES], name
        fresh = await self._client.get(INFERENCE_SERVICES, own, namespace=namespace)
        if fresh is None:
            return None
        store.put(fresh)
        self._read_at[name] = time.monotonic()
        return store.get(name)

    async def _learn_class(self, obj: ServiceObject) -> bool:
        """Have namespace and Model of a service read anew; False where one is gone, which the watch will tell.

        Of a read that other services caused it is enough that it began after this one was shown: what raised the class
        before the service was written is seen.
        """
        model = model_name_of(obj.spec)
        since = self._cluster.stores[INFERENCE_SERVICES].taken_at((obj.namespace, obj.name))
        wanted = [(NAMESPACES, "", obj.namespace), *([(MODELS, obj.namespace, model)] if model else [])]
        for resource, namespace, name in wanted:
            if not await self._shared.learn(resource, name, namespace=namespace, since=since):
                return False
        return True

    def _take_in(self, resource: Resource, fresh: Raw) -> None:
        change = self._cluster.note(self._cluster.stores[resource].put(fresh))
        if change is not None:
            self._route(change)

    def _is_fresh(self, name: tuple[str, str]) -> bool:
        shown_at = self._cluster.stores[INFERENCE_SERVICES].shown_at
        return time.monotonic() - max(shown_at, self._read_at.get(name, shown_at)) < FRESH_SECONDS

    async def _publish_failure(self, obj: ServiceObject, raw: Raw, planned: Plan, *, error: SekishoError) -> None:
        status, told = tell_failure(planned.status, obj.status, error, generation=obj.generation, now_at=time.time())
        latest = self._cluster.stores[INFERENCE_SERVICES].get((obj.namespace, obj.name)) or raw
        await self._publisher.publish(INFERENCE_SERVICES, latest, status, announcements=told)


def _key_of(manifest: Manifest) -> tuple[str, str, str]:
    meta = manifest["metadata"]
    return manifest["kind"], meta["namespace"], meta["name"]


def _pair(manifest: Manifest, live: Raw | None) -> tuple[str, str]:
    """Return the version of a live object and the digest it was compared with; empty where there is none."""
    version = (live or {}).get("metadata", {}).get("resourceVersion", "")
    return str(version), manifest["metadata"].get("annotations", {}).get(APPLIED_DIGEST_ANNOTATION, "")


def _sum_up(changes: _Changes, *, writes: int, again: float | None) -> Outcome:
    both = (*changes.isolation, *changes.workload)
    drift = sum(change.live is not None and "digest" not in change.difference for change in both)
    return Outcome(writes=writes, drift=drift, again_after_seconds=again)


def _keys(obj: ServiceObject, **more: Any) -> Mapping[str, Any]:
    return {"namespace": obj.namespace, "service": obj.name, "generation": obj.generation, **more}


async def _all_of(writes: list[Any]) -> None:
    """Run all to their end; then raise the first failure, a refusal before what may pass by itself."""
    results = await asyncio.gather(*writes, return_exceptions=True)
    failures = [item for item in results if isinstance(item, BaseException)]
    failures.sort(key=lambda item: not isinstance(item, RefusedError))
    if failures:
        raise failures[0]
