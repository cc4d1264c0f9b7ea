"""Start the trust controller: it serves at once, and writes while it holds the lease."""

import asyncio
import logging
import os
import sys
import uuid
from typing import Final

from sekisho.kube.client import ClientLimits, KubeClient
from sekisho.kube.credentials import find_credentials
from sekisho.kube.lease import LeaderLease, LeaseTimes
from sekisho.kube.serving import run_process, stop_on_signals
from sekisho.telemetry import setup_metrics
from sekisho.trust.process import run_trust
from sekisho.trust.settings import TrustSettings, read_settings

PROCESS: Final = "trust"
_LOG: Final = logging.getLogger(__name__)


def main() -> int:
    """Run the trust controller until SIGTERM; return the exit status."""
    return run_process(PROCESS, lambda: read_settings(os.environ), _run, who="the trust controller")


async def _run(settings: TrustSettings) -> None:
    stop = stop_on_signals()
    credentials = await find_credentials()
    limits = ClientLimits(qps=settings.qps, burst=2 * settings.qps, connections=64)
    async with KubeClient(credentials, process=PROCESS, limits=limits) as client:
        lease = _lease(settings, client)
        deadline = settings.lease_seconds * 2 / 3

        def leads() -> bool:
            return not settings.leader_election or lease.age_seconds < deadline

        async with run_trust(settings, client, leads=leads, meter=setup_metrics(PROCESS)) as running:
            _LOG.info("the trust controller serves", extra={"https_port": running.https_port})
            if settings.leader_election:
                await _lead(lease, stop)
            else:
                await stop.wait()
        _LOG.info("the trust controller ends")


def _lease(settings: TrustSettings, client: KubeClient) -> LeaderLease:
    duration = settings.lease_seconds
    return LeaderLease(
        client,
        namespace=settings.namespace,
        name="sekisho-trust",
        identity=f"{settings.pod_name}_{uuid.uuid4()}",
        times=LeaseTimes(duration, deadline_seconds=duration * 2 / 3, retry_seconds=min(2.0, duration / 6)),
    )


async def _lead(lease: LeaderLease, stop: asyncio.Event) -> None:
    """Lead until told to stop.

    Raises:
        LeaseLostError: Somebody else leads; this process ends and is started anew.
    """
    stopping = asyncio.create_task(stop.wait())
    leading = asyncio.create_task(_hold(lease))
    await asyncio.wait({stopping, leading}, return_when=asyncio.FIRST_COMPLETED)
    if leading.done():
        stopping.cancel()
        leading.result()
    leading.cancel()
    await asyncio.gather(leading, return_exceptions=True)
    await lease.release()


async def _hold(lease: LeaderLease) -> None:
    await lease.acquire()
    await lease.hold()


if __name__ == "__main__":
    sys.exit(main())
