"""The controller as a whole: stores fed by watches, a queue, workers, and what runs beside them."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any, Final

from opentelemetry.metrics import Meter

from sekisho import telemetry
from sekisho.api.names import (
    ATTESTER_SERVICE,
    ATTESTER_TLS_SECRET,
    BROKER_SERVICE,
    BROKER_TLS_SECRET,
    DEPOT_CANARY_SERVICE,
    DEPOT_SERVICE,
    TRUST_SERVICE,
    TRUST_TLS_SECRET,
    UNSAFE_RELEASE_SERVICE,
    UNSAFE_RELEASE_TLS_SECRET,
)
from sekisho.controller import wiring
from sekisho.controller.certificates import SERVED, Certificates
from sekisho.controller.cluster import FOLLOWED, SELECTORS, WATCHED, Cluster
from sekisho.controller.facts import FactsLoop
from sekisho.controller.following import Follower
from sekisho.controller.gather import Gatherer
from sekisho.controller.health import Health, HealthLimits
from sekisho.controller.loop import Outcome, ServiceLoop
from sekisho.controller.measures import Measures
from sekisho.controller.publishing import Publisher
from sekisho.controller.queue import KeyQueue
from sekisho.controller.reading import Reader
from sekisho.controller.resync import Resync
from sekisho.controller.routes import Key, Router
from sekisho.controller.settings import Settings
from sekisho.controller.store import Change, Name, Raw
from sekisho.controller.versions import VersionLedger
from sekisho.errors import Reason, RefusedError, SekishoError, UnavailableError
from sekisho.kube.client import KubeClient
from sekisho.kube.credentials import Credentials
from sekisho.kube.failures import ApiUnavailableError
from sekisho.kube.resources import INFERENCE_SERVICES, SERVICES, Resource

_log = logging.getLogger(__name__)
_KNOWN_PAUSE_SECONDS: Final = 30.0
_UNKNOWN_PAUSE_SECONDS: Final = 1.0
_NOT_OURS_SECONDS: Final = 10.0
_CERTIFICATES_PAUSE_SECONDS: Final = 600.0
_FIRST_CERTIFICATES_SECONDS: Final = 10.0


class Controller:
    """One leader's work, from the first list to the end of the process."""

    def __init__(self, settings: Settings, credentials: Credentials, client: KubeClient, meter: Meter) -> None:
        self.settings = settings
        self.cluster = Cluster()
        self.queue: KeyQueue[Key] = KeyQueue()
        self._credentials = credentials
        self._client = client
        self._reader = Reader()
        self._has_certificates = asyncio.Event()
        self._ledger = VersionLedger(client, settings.namespace)
        self._gatherer = Gatherer(self.cluster, self._reader, settings, ledger=self._ledger)
        publisher = self._publisher = Publisher(client, self.cluster, instance=settings.pod_name, route=self._route)
        self._services = ServiceLoop(
            client, self.cluster, self._gatherer, publisher, self._reader, route=self._route,
            settle_seconds=settings.settle_seconds,
        )  # fmt: skip
        self.router = Router(
            self.cluster,
            self._reader,
            self.queue,
            settle_seconds=settings.settle_seconds,
            depot_ip=self._gatherer.depot_pod_ip,
            forget=self._forget,
        )
        self._facts = FactsLoop(
            self.cluster, self._gatherer, publisher, self._reader, ledger=self._ledger,
            wake_namespace=self.router.wake_namespace,
        )  # fmt: skip
        self.resync = Resync(client, self.cluster, self.router.route, deaf_seconds=settings.deaf_seconds)
        limits = HealthLimits(stuck_seconds=settings.stuck_seconds, lease_seconds=settings.lease_duration_seconds)
        self.health = Health(self.cluster, self.queue, self.resync, limits)
        self._measures = Measures(meter, self.queue, self.cluster, self.health)

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, or until something that cannot be repaired in this process fails."""
        self.health.leading, self.health.began_at = True, time.monotonic()
        await self._await_kinds()
        registry = wiring.register(self._credentials, self._shown)
        async with AsyncExitStack() as stack:
            stack.callback(self.router.close)
            async with asyncio.TaskGroup() as group:
                pump = group.create_task(wiring.pump(registry, wiring.configure(self.settings), stop=stop))
                beside = [group.create_task(part) for part in self._parts()]
                pump.add_done_callback(lambda _: [task.cancel() for task in beside])

    def _parts(self) -> list[Any]:
        parts: list[Any] = [self._begin(), self._watch_addresses(), *map(self._follow, FOLLOWED)]
        if self.settings.certificates:
            parts.append(self._keep_certificates())
        return parts

    def _follow(self, resource: Resource) -> Any:
        settings = self.settings
        follower = Follower(
            self._client, resource, self._shown, self._reached, selector=SELECTORS.get(resource, ""),
            seconds=settings.watch_server_seconds, quiet_seconds=settings.watch_inactivity_seconds,
        )  # fmt: skip
        return follower.run()

    async def _begin(self) -> None:
        """Start workers once everything is known, then compare again and again."""
        await self.resync.await_first()
        await self._load_versions()
        await self._learn_once()
        self.router.open()
        async with asyncio.TaskGroup() as group:
            for _ in range(self.settings.workers):
                group.create_task(self._work())
            group.create_task(
                self.resync.run(every_seconds=self.settings.resync_seconds, wake_all=self.router.wake_all)
            )

    async def _load_versions(self) -> None:
        """Read what was ever accepted; without it nothing is decided."""
        while True:
            try:
                await self._ledger.load()
            except SekishoError as error:
                _log.warning("accepted versions cannot be read yet", extra={"detail": error.message})
                await asyncio.sleep(1.0)
            else:
                return

    async def _await_kinds(self) -> None:
        """Wait until the API server knows every kind: CRDs may come after us, and kopf looks only once."""
        for resource in WATCHED:
            while True:
                try:
                    if await self._client.is_served(resource):
                        break
                    _log.warning("a kind is not served yet", extra={"kind": resource.full_name})
                except UnavailableError as error:
                    _log.warning("the API server is not ready", extra={"detail": error.message})
                await asyncio.sleep(1.0)

    def _shown(self, resource: Resource, kind: str | None, raw: Mapping[str, Any]) -> None:
        """Take in one event of a watch."""
        change = self.cluster.note(self.cluster.stores[resource].show(kind, raw))
        if change is not None:
            self.router.route(change)

    def _reached(self, resource: Resource, version: int, listed: Mapping[Name, int] | None) -> None:
        """Take in that a watch has shown everything until a version; what a list lacks vanished while it was cut."""
        store = self.cluster.stores[resource]
        store.reach(version)
        if listed is None:
            return
        for change in store.reconcile_names(listed, at_version=version)[0]:
            self.cluster.note(change)
            self.router.route(change)

    def _route(self, change: Change) -> None:
        self.router.route(change)

    def _forget(self, key: Key, raw: Raw) -> None:
        resource, name = key
        self._reader.forget(resource, raw)
        self._publisher.forget(str(raw["metadata"].get("uid", "")))
        if resource == INFERENCE_SERVICES:
            self._services.forget(name)

    async def _work(self) -> None:
        while True:
            key = await self.queue.take()
            started = time.monotonic()
            try:
                async with asyncio.timeout(self.settings.stuck_seconds):
                    outcome = await self._reconcile(key)
            except SekishoError as error:
                self._rest(key, error)
            except Exception as error:  # noqa: BLE001
                # A mistake of ours with one object must not end the work for all others.
                _log.exception("a reconcile failed", extra=_describe(key))
                self.queue.failed(key)
                self._measures.count(key, type(error).__name__, time.monotonic() - started)
            else:
                self.queue.done(key)
                if outcome.again_after_seconds is not None:
                    self.queue.add(key, after_seconds=outcome.again_after_seconds)
                self._measures.count(key, "ok", time.monotonic() - started)
                self._measures.add_outcome(outcome)

    async def _reconcile(self, key: Key) -> Outcome:
        resource, name = key
        with telemetry.tracer.start_as_current_span("reconcile", attributes=_describe(key)):
            if resource == INFERENCE_SERVICES:
                return await self._services.reconcile(name)
            return await self._facts.reconcile(resource, name)

    def _rest(self, key: Key, error: SekishoError) -> None:
        """Let a key that failed rest; the only place where an error of ours ends."""
        after = error.after_seconds if isinstance(error, ApiUnavailableError) else 0.0
        # What is not ours is not watched: only another look tells that it is gone.
        at_most = _NOT_OURS_SECONDS if error.reason == Reason.NOT_OURS else float("inf")
        rest = self.queue.failed(key, at_least_seconds=after, at_most_seconds=at_most)
        self._measures.count(key, error.reason, 0.0)
        level = logging.WARNING if isinstance(error, RefusedError) else logging.INFO
        extra = {**_describe(key), "reason": error.reason, "detail": error.message, "rest_seconds": round(rest, 1)}
        _log.log(level, "an object rests", extra=extra)

    async def _learn_once(self) -> None:
        """Learn what every service's configuration holds before the first is planned: then it is written once."""
        if self.settings.certificates:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_FIRST_CERTIFICATES_SECONDS):
                    await self._has_certificates.wait()
        await self._learn_addresses()

    async def _watch_addresses(self) -> None:
        """Look for depot and release of keys; their addresses are part of services' policies and configurations."""
        while True:
            await asyncio.sleep(_KNOWN_PAUSE_SECONDS if self._knows_addresses() else _UNKNOWN_PAUSE_SECONDS)
            await self._learn_addresses()

    def _knows_addresses(self) -> bool:
        found, settings = self._gatherer, self.settings
        has_canary = found.canary_host or not settings.depot_per_node
        released = found.release_host or not settings.release_service
        return bool(found.depot_host and has_canary and released and (found.attester_host or not settings.attester))

    async def _learn_addresses(self) -> None:
        """Learn what settings do not say already; an address that was known once is kept while it cannot be read."""
        known, settings = self._gatherer, self.settings
        before = (known.depot_host, known.canary_host, known.release_host, known.attester_host)
        if not settings.depot_host:
            known.depot_host = await self._find_address(DEPOT_SERVICE) or known.depot_host
        if settings.depot_per_node and not settings.canary_host:
            known.canary_host = await self._find_address(DEPOT_CANARY_SERVICE) or known.canary_host
        if settings.release_service and not settings.release_host:
            known.release_host = await self._find_address(settings.release_service) or known.release_host
        if settings.attester and not settings.attester_host:
            known.attester_host = await self._find_address(ATTESTER_SERVICE) or known.attester_host
        if before != (known.depot_host, known.canary_host, known.release_host, known.attester_host):
            self.router.wake_all()

    async def _find_address(self, service: str) -> str:
        """Return the cluster IP of a Service of ours; empty where it has none or cannot be read."""
        try:
            live = await self._client.get(SERVICES, service, namespace=self.settings.namespace)
        except SekishoError as error:
            _log.warning("an address is not known", extra={"service": service, "detail": error.message})
            return ""
        address = str(((live or {}).get("spec") or {}).get("clusterIP") or "")
        return "" if address == "None" else address

    async def _keep_certificates(self) -> None:
        settings = self.settings
        optional = (
            (settings.unsafe_development_release, UNSAFE_RELEASE_SERVICE, UNSAFE_RELEASE_TLS_SECRET),
            (settings.broker, BROKER_SERVICE, BROKER_TLS_SECRET),
            (settings.attester, ATTESTER_SERVICE, ATTESTER_TLS_SECRET),
            (settings.trust, TRUST_SERVICE, TRUST_TLS_SECRET),
        )
        served = {**SERVED, **{service: secret for wanted, service, secret in optional if wanted}}
        certificates = Certificates(self._client, settings.namespace, served=served)
        while True:
            pause = _CERTIFICATES_PAUSE_SECONDS
            try:
                bundle = await certificates.ensure()
            except SekishoError as error:
                _log.error("certificates could not be kept", extra={"reason": error.reason, "detail": error.message})
                pause = 5.0
            else:
                if bundle != self._gatherer.ca_pem:
                    self._gatherer.ca_pem = bundle
                    self.router.wake_all()
                self._has_certificates.set()
            await asyncio.sleep(pause)


def _describe(key: Key) -> dict[str, str]:
    resource, (namespace, name) = key
    return {telemetry.KEY_KIND: resource.kind, telemetry.KEY_NAMESPACE: namespace, telemetry.KEY_NAME: name}
