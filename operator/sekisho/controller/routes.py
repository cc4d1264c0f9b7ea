"""Which change wakes which object; a change of something that all depend on wakes all, once and spread."""

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

from sekisho.api.names import NODE_TRUST_PREFIX, NODE_TRUST_SUFFIX, SERVICE_LABEL
from sekisho.controller.cluster import Cluster, is_marked
from sekisho.controller.gather import model_name_of
from sekisho.controller.publishing import is_inspected_anew
from sekisho.controller.queue import KeyQueue
from sekisho.controller.reading import Reader
from sekisho.controller.store import Change, Name, Raw
from sekisho.kube.resources import (
    CHILD_KINDS,
    DATA_GRANTS,
    GRANT_KINDS,
    INFERENCE_SERVICES,
    KEY_RELEASE_POLICIES,
    MODELS,
    NAMESPACES,
    NETWORK_POLICIES,
    NODES,
    OWN_KINDS,
    PODS,
    POLICIES,
    RUNTIMES,
    SITES,
    Resource,
)  # fmt: skip
from sekisho.placement.columns import NodeFacts, parse_attested_at

Key = tuple[Resource, Name]
_SPREAD_SECONDS: Final = 0.002
_FLOOD_PAUSE_SECONDS: Final = 5.0
_QUIET_SECONDS: Final = 600


class Router:
    """Puts the keys that a change concerns into the queue.

    Args:
        settle_seconds: Changes of children and pods come in groups; their service waits this long for the rest.
        depot_ip: Returns the address of the depot's pod, which every service's configuration holds.
        forget: Called with the key of an object that is gone.
    """

    def __init__(
        self, cluster: Cluster, reader: Reader, queue: KeyQueue[Key], *, settle_seconds: float,
        depot_ip: Callable[[], str], forget: Callable[[Key, Raw], None],
    ) -> None:  # fmt: skip
        self._cluster = cluster
        self._reader = reader
        self._queue = queue
        self._settle_seconds = settle_seconds
        self._depot_ip = depot_ip
        self._known_depot_ip = ""
        self._forget = forget
        self._flooded_at = float("-inf")
        self._flood: asyncio.TimerHandle | None = None
        self.is_open = False

    def route(self, change: Change) -> None:
        """Wake whom the change concerns. Before `open` nothing is woken: then all are, once everything is known."""
        if change.resource in OWN_KINDS:
            self._route_own(change)
        if not self.is_open:
            return
        if change.resource in CHILD_KINDS:
            self._wake(self._services_of_child(change), after_seconds=self._settle_seconds)
        elif change.resource == PODS:
            self._route_pod(change)
        elif change.resource == NODES and not is_proof_renewed(change):
            self.wake_all()
        elif change.resource == NAMESPACES:
            self._wake(self._in_namespace(change.name[1]), after_seconds=0)

    def open(self) -> None:
        """Begin to wake; everything comes once."""
        self.is_open = True
        self._known_depot_ip = self._depot_ip()
        self._wake_everything()

    def wake_all(self) -> None:
        """Wake every object: soon, but a flood at most every few seconds."""
        if self._flood is not None or not self.is_open:
            return
        wait = max(self._settle_seconds, self._flooded_at + _FLOOD_PAUSE_SECONDS - time.monotonic())
        self._flood = asyncio.get_running_loop().call_later(wait, self._wake_everything)

    def wake_namespace(self, namespace: str) -> None:
        """Wake the models and services of a namespace."""
        if self.is_open:
            self._wake(self._in_namespace(namespace), after_seconds=0)

    def close(self) -> None:
        """Wake nobody any more."""
        self.is_open = False
        if self._flood is not None:
            self._flood.cancel()
            self._flood = None

    def _wake_everything(self) -> None:
        self._flood = None
        self._flooded_at = time.monotonic()
        keys = [(kind, name) for kind in OWN_KINDS for name in self._cluster.stores[kind].names()]
        for index, key in enumerate(keys):
            self._queue.add(key, after_seconds=index * _SPREAD_SECONDS)

    def _wake(self, keys: Iterator[Key], *, after_seconds: float) -> None:
        for key in keys:
            self._queue.add(key, after_seconds=after_seconds)

    def _route_own(self, change: Change) -> None:
        key = (change.resource, change.name)
        if change.new is None:
            self._queue.forget(key)
            if change.old is not None:
                self._forget(key, change.old)
        if not self.is_open:
            return
        asks_anew = asks_something_else(change)
        if change.new is not None:
            self._queue.add(key, after_seconds=0 if asks_anew else self._settle_seconds)
        if not asks_anew:
            return
        if change.resource in (POLICIES, SITES, RUNTIMES):
            self.wake_all()
        elif change.resource == MODELS:
            self._wake(self._serving(change.name), after_seconds=0)
        elif change.resource in GRANT_KINDS:
            self._wake(self._granted(change), after_seconds=self._settle_seconds)

    def _granted(self, change: Change) -> Iterator[Key]:
        """Yield the services that a grant names, before or after, and every other grant: each tells of its partners."""
        for raw in (change.old, change.new):
            spec = (raw or {}).get("spec") or {}
            if change.resource == KEY_RELEASE_POLICIES:
                for item in spec.get("workloads") or ():
                    yield INFERENCE_SERVICES, (str(item.get("namespace")), str(item.get("service")))
            if change.resource == DATA_GRANTS:
                for service in spec.get("services") or ():
                    yield INFERENCE_SERVICES, (change.name[0], str(service))
        for kind in GRANT_KINDS:
            for name in self._cluster.stores[kind].names():
                yield kind, name

    def _route_pod(self, change: Change) -> None:
        for kept in (change.old, change.new):
            labels = ((kept or {}).get("pod") or {}).get("metadata", {}).get("labels") or {}
            if service := labels.get(SERVICE_LABEL):
                key = (INFERENCE_SERVICES, (change.name[0], service))
                self._wake(iter([key]), after_seconds=self._settle_seconds)
        if (address := self._depot_ip()) != self._known_depot_ip:
            self._known_depot_ip = address
            self.wake_all()

    def _services_of_child(self, change: Change) -> Iterator[Key]:
        for raw in (change.old, change.new):
            if raw is None:
                continue
            if change.resource == NETWORK_POLICIES and not is_marked(raw):
                yield from self._in_namespace(change.name[0], kinds=(INFERENCE_SERVICES,))
            for owner in raw["metadata"].get("ownerReferences") or ():
                if owner.get("kind") == INFERENCE_SERVICES.kind:
                    yield INFERENCE_SERVICES, (change.name[0], str(owner.get("name")))
            if service := (raw["metadata"].get("labels") or {}).get(SERVICE_LABEL):
                yield INFERENCE_SERVICES, (change.name[0], service)

    def _in_namespace(
        self, namespace: str, *, kinds: tuple[Resource, ...] = (INFERENCE_SERVICES, MODELS)
    ) -> Iterator[Key]:
        for kind in kinds:
            for name in self._cluster.stores[kind].names():
                if name[0] == namespace:
                    yield kind, name

    def _serving(self, model: Name) -> Iterator[Key]:
        for raw in self._cluster.stores[INFERENCE_SERVICES]:
            meta = raw["metadata"]
            if meta["namespace"] == model[0] and model_name_of(self._reader.service(raw).spec) == model[1]:
                yield INFERENCE_SERVICES, (meta["namespace"], meta["name"])


def is_proof_renewed(change: Change) -> bool:
    """Tell whether nothing of a node changed but that proofs of its hardware are a little younger.

    Thousands of nodes prove themselves anew all the time, and nobody has to look for that: who waits for a proof to
    grow old looks when it has. A proof that was not renewed for long may have kept a service from running.
    """
    if change.old is None or change.new is None:
        return False
    before, after = change.old["node"], change.new["node"]
    old, new = _read_proofs(before), _read_proofs(after)
    if old.keys() != new.keys() or not all(0 <= new[key] - old[key] <= _QUIET_SECONDS for key in old):
        return False
    return bool(replace(before, labels=_bare(before)) == replace(after, labels=_bare(after)))


def _read_proofs(node: NodeFacts) -> dict[str, int]:
    return {key: parse_attested_at(value) for key, value in node.labels.items() if _is_proof(key)}


def _bare(node: NodeFacts) -> dict[str, str]:
    return {key: value for key, value in node.labels.items() if not _is_proof(key)}


def _is_proof(key: str) -> bool:
    return key.startswith(NODE_TRUST_PREFIX) and key.endswith(NODE_TRUST_SUFFIX)


def asks_something_else(change: Change) -> bool:
    """Tell whether more than our own status differs."""
    if change.old is None or change.new is None:
        return True
    old, new = change.old, change.new
    marks = ("labels", "deletionTimestamp", "uid")
    asks = old.get("spec") != new.get("spec") or any(old["metadata"].get(m) != new["metadata"].get(m) for m in marks)
    return asks or is_inspected_anew(change)
