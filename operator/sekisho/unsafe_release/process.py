"""The unsafe development release as a whole: its parts put together, started, kept running and stopped."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from opentelemetry.metrics import Meter

from sekisho import telemetry
from sekisho.errors import Reason
from sekisho.kube.bearer import Authenticator, PodReader
from sekisho.kube.probes import Readiness, build_health
from sekisho.kube.serving import end_jobs, serve_app, start_jobs
from sekisho.kube.tls import ServerTls
from sekisho.unsafe_release.keys import list_keys
from sekisho.unsafe_release.server import ReleaseApi
from sekisho.unsafe_release.settings import ReleaseSettings

_LOG: Final = logging.getLogger(__name__)
_PODS_PER_SECOND: Final = 1.0
_CHECK_SECONDS: Final = 5.0


@dataclass(slots=True)
class RunningRelease:
    """A release that serves; the ports are the real ones where 0 was asked for."""

    readiness: Readiness
    https_port: int = 0
    health_port: int = 0


@contextlib.asynccontextmanager
async def run_release(settings: ReleaseSettings, pods: PodReader, *, meter: Meter) -> AsyncIterator[RunningRelease]:
    """Run a release for as long as the context is open.

    Raises:
        OSError: A port or the certificate cannot be used.
    """
    counter = meter.create_counter(telemetry.UNSAFE_RELEASES)
    authenticator = Authenticator(pods, overloaded=Reason.OVERLOADED, pod_rate=_PODS_PER_SECOND)
    api = ReleaseApi(authenticator, settings.keys_dir, settings.minimum_version)
    api.outcome = lambda reason: counter.add(1, {telemetry.KEY_REASON: reason.value})
    tls = ServerTls(settings.tls_dir)
    await asyncio.to_thread(tls.load)
    running = RunningRelease(Readiness())
    async with contextlib.AsyncExitStack() as stack:
        health, running.health_port = await serve_app(
            build_health(running.readiness), settings.host, settings.health_port
        )
        stack.push_async_callback(health.cleanup)
        server, running.https_port = await serve_app(api.build(), settings.host, settings.https_port, tls=tls)
        stack.push_async_callback(server.cleanup)
        jobs = [tls.follow(), _check(running.readiness, settings.keys_dir)]
        stack.push_async_callback(end_jobs, start_jobs(jobs, running.readiness, who="the release of keys"))
        yield running


async def _check(readiness: Readiness, keys_dir: Path) -> None:
    """Be ready while there is a key to open anything with."""
    while True:
        found = await asyncio.to_thread(list_keys, keys_dir)
        readiness.problem = "" if found else f"there is no development key in {keys_dir}; fill its Secret"
        await asyncio.sleep(_CHECK_SECONDS)
