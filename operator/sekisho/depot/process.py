"""The depot as a whole: its parts put together, started, kept running and stopped."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from sekisho import telemetry
from sekisho.api.v1alpha1.model import Inspection
from sekisho.depot.cache import BlobCache
from sekisho.depot.canary import CanaryListener
from sekisho.depot.cluster import Cluster
from sekisho.depot.fetches import Fetches
from sekisho.depot.inspection import Question, inspect_source
from sekisho.depot.inspector import Inspector, Signers
from sekisho.depot.leading import lead
from sekisho.depot.proofs import ProofBook
from sekisho.depot.register import Register
from sekisho.depot.server import DepotApi
from sekisho.depot.settings import DepotSettings, read_sources
from sekisho.depot.sources.choice import choose_source
from sekisho.errors import SekishoError
from sekisho.kube.bearer import Authenticator
from sekisho.kube.lease import LeaderLease
from sekisho.kube.probes import Readiness, build_health
from sekisho.kube.serving import Job, end_jobs, serve_app, start_jobs
from sekisho.kube.tls import ServerTls

_LOG: Final = logging.getLogger(__name__)
_SWEEP_SECONDS: Final = 5.0
_ADOPT_SECONDS: Final = 10.0
_SILENT_SECONDS: Final = 60.0
_BACKLOG: Final = 256


@dataclass(slots=True)
class RunningDepot:
    """A depot that serves; the ports are the real ones where 0 was asked for."""

    api: DepotApi
    canary: CanaryListener
    readiness: Readiness
    https_port: int = 0
    health_port: int = 0


@contextlib.asynccontextmanager
async def run_depot(
    settings: DepotSettings, cluster: Cluster, *, meter: Meter, register: Register | None = None,
    lease: LeaderLease | None = None,
) -> AsyncIterator[RunningDepot]:  # fmt: skip
    """Run a depot for as long as the context is open.

    Args:
        settings: How it runs.
        cluster: Its view of pods and of what they may have.
        meter: Where it counts.
        register: The Models to inspect; None where none shall be.
        lease: Held by the one of several depots that inspects and looks after silent pods; None for a depot alone.

    Raises:
        SekishoError: The sources cannot be read.
        OSError: A port, the cache or the certificate cannot be used.
    """
    read_sources(settings.sources_file)  # a broken list stops the start, not the first fetch
    cache = BlobCache(settings.cache_dir, settings.cache_bytes)
    await asyncio.to_thread(cache.open)
    canary = CanaryListener(settings.host, settings.canary_port)
    api = _assemble(settings, cluster, cache, canary)
    _measure(api, meter)
    tls = ServerTls(settings.tls_dir)
    await asyncio.to_thread(tls.load)
    running = RunningDepot(api, canary, Readiness())
    async with contextlib.AsyncExitStack() as stack:
        await canary.start()
        stack.push_async_callback(canary.stop)
        health, running.health_port = await serve_app(
            build_health(running.readiness), settings.host, settings.health_port
        )
        stack.push_async_callback(health.cleanup)
        server, running.https_port = await serve_app(
            api.build(), settings.host, settings.https_port, tls=tls, backlog=_BACKLOG
        )
        stack.push_async_callback(api.fetches.close)
        stack.push_async_callback(server.cleanup)
        jobs = [*_jobs(running, tls), *_leading(running, settings, register, lease)]
        stack.push_async_callback(end_jobs, start_jobs(jobs, running.readiness, who="the depot"))
        yield running


def _leading(
    running: RunningDepot, settings: DepotSettings, register: Register | None, lease: LeaderLease | None
) -> list[Job]:
    """Return what one depot does for all: at once where it is alone, else while it holds the lease."""
    if lease is None:
        return _inspecting(settings, register)
    return [lead(lease, lambda: [*_inspecting(settings, register), _look_after_silent(running)])]


def _inspecting(settings: DepotSettings, register: Register | None) -> list[Job]:
    if register is None:
        return []

    async def examine(question: Question, signers: Signers) -> Inspection:
        entries = await asyncio.to_thread(read_sources, settings.sources_file)
        entry = choose_source(
            question.uri, entries, anonymous=settings.anonymous_sources, namespace=question.namespace
        )  # fmt: skip
        return await inspect_source(question, entry, signers, most_bytes=settings.max_weights_bytes)

    return [register.run(), Inspector(register, examine).run()]


def _assemble(settings: DepotSettings, cluster: Cluster, cache: BlobCache, canary: CanaryListener) -> DepotApi:
    return DepotApi(
        cluster=cluster,
        authenticator=Authenticator(cluster),
        proofs=ProofBook(cluster, canary, settings.proof_max_age_seconds, node=settings.node),
        fetches=Fetches(cache, lambda: read_sources(settings.sources_file), anonymous=settings.anonymous_sources),
        cache=cache,
        most_bytes=settings.max_weights_bytes,
    )


def _measure(api: DepotApi, meter: Meter) -> None:
    fetches = meter.create_counter(telemetry.DEPOT_FETCHES)
    fetched = meter.create_counter(telemetry.DEPOT_FETCHED_BYTES, unit="By")
    served = meter.create_counter(telemetry.DEPOT_SERVED_BYTES, unit="By")
    proofs = meter.create_counter(telemetry.DEPOT_PROOFS)
    reports = meter.create_counter(telemetry.DEPOT_REPORTS)

    def observe_cache(_options: CallbackOptions) -> list[Observation]:
        return [Observation(api.cache.used_bytes)]

    meter.create_observable_gauge(telemetry.DEPOT_CACHE_BYTES, callbacks=[observe_cache], unit="By")
    api.fetches.outcome = lambda reason: fetches.add(1, {telemetry.KEY_REASON: reason.value})
    api.reported = lambda reason: reports.add(1, {telemetry.KEY_REASON: reason.value})
    api.proved = lambda reason: proofs.add(1, {telemetry.KEY_REASON: reason.value})
    api.served = served.add
    api.cache.fetched = fetched.add


def _jobs(running: RunningDepot, tls: ServerTls) -> list[Job]:
    return [_sweep(running), _check(running), _adopt(running), tls.follow()]


async def _sweep(running: RunningDepot) -> None:
    while True:
        await asyncio.sleep(_SWEEP_SECONDS)
        await running.api.proofs.sweep()
        running.api.forget()


async def _check(running: RunningDepot) -> None:
    """Reach our own canary: a control that does not answer proves nothing, so the depot says that it is not ready."""
    while True:
        running.readiness.problem = await running.canary.check()
        await asyncio.sleep(_SWEEP_SECONDS)


async def _look_after_silent(running: RunningDepot) -> None:
    """Notice pods whose own node's depot is gone; what cannot be asked now is asked a minute later."""
    while True:
        await asyncio.sleep(_SILENT_SECONDS)
        try:
            count = await running.api.proofs.adopt_silent()
        except SekishoError as error:
            _LOG.warning("silent pods cannot be looked for", extra={"reason": error.reason, "error": error.message})
        else:
            if count:
                _LOG.warning("pods whose depot is silent were taken over", extra={"pods": count})


async def _adopt(running: RunningDepot) -> None:
    while True:
        try:
            count = await running.api.proofs.adopt()
        except SekishoError as error:
            _LOG.warning(
                "running pods cannot be taken over yet", extra={"reason": error.reason, "error": error.message}
            )
            await asyncio.sleep(_ADOPT_SECONDS)
        else:
            _LOG.info("running pods were taken over", extra={"pods": count})
            return
