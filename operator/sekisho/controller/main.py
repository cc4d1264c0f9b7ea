"""The controller process: settings, election, work; it ends where it cannot go on, and is started again."""

import asyncio
import gc
import logging
import os
import sys
import uuid
from contextlib import AsyncExitStack

from opentelemetry.metrics import Meter

from sekisho import telemetry
from sekisho.controller.cluster import FOLLOWED
from sekisho.controller.engine import Controller
from sekisho.controller.settings import Settings
from sekisho.errors import RefusedError
from sekisho.kube.client import ClientLimits, KubeClient, Observer
from sekisho.kube.credentials import find_credentials
from sekisho.kube.lease import LeaderLease, LeaseTimes
from sekisho.kube.probes import build_health, serve_health
from sekisho.kube.resources import Resource
from sekisho.kube.serving import stop_on_signals

PROCESS = "controller"
_log = logging.getLogger(__name__)


def observe(meter: Meter) -> Observer:
    """Return what counts the requests to the API server."""
    requests = telemetry.Counts(
        meter, telemetry.API_REQUESTS, telemetry.KEY_VERB, telemetry.KEY_KIND, telemetry.KEY_STATUS,
        description="Requests to the API server.",
    )  # fmt: skip

    def count(verb: str, resource: Resource, status: int, _: float) -> None:
        requests.add(1, verb, resource.kind, str(status))

    return count


def limit(settings: Settings) -> ClientLimits:
    """Return the bounds of the client: watches hold a connection each for ever, and workers need theirs beside them."""
    connections = settings.workers * 4 + len(FOLLOWED)
    return ClientLimits(qps=settings.qps, burst=settings.burst, connections=connections)


async def run(settings: Settings) -> None:
    """Wait for the lease, work, and give it up.

    Raises:
        LeaseLostError: Somebody else leads; nothing more may be written.
        SekishoError: Something failed that another start may cure.
    """
    meter = telemetry.setup_metrics(PROCESS)
    telemetry.setup_traces(PROCESS)
    credentials = await find_credentials()
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(
            KubeClient(credentials, process=PROCESS, limits=limit(settings), observe=observe(meter))
        )
        controller = Controller(settings, credentials, client, meter)
        runner = await serve_health(
            build_health(controller.health), host=settings.health_host, port=settings.health_port
        )
        stack.push_async_callback(runner.cleanup)
        stop = stop_on_signals()
        if settings.leader_election:
            await _lead(controller, client, stop=stop)
        else:
            await controller.run(stop)


async def _lead(controller: Controller, client: KubeClient, *, stop: asyncio.Event) -> None:
    settings = controller.settings
    duration = settings.lease_duration_seconds
    lease = LeaderLease(
        client,
        namespace=settings.namespace,
        name="sekisho-controller",
        identity=f"{settings.pod_name}_{uuid.uuid4()}",
        times=LeaseTimes(duration, deadline_seconds=duration * 2 / 3, retry_seconds=min(2.0, duration / 6)),
    )
    stopping = asyncio.create_task(stop.wait())
    acquiring = asyncio.create_task(lease.acquire())
    await asyncio.wait({stopping, acquiring}, return_when=asyncio.FIRST_COMPLETED)
    if not acquiring.done():
        acquiring.cancel()
        return
    stopping.cancel()
    controller.health.lease_age = lambda: lease.age_seconds
    holding = asyncio.create_task(lease.hold())
    working = asyncio.create_task(controller.run(stop))
    await asyncio.wait({holding, working}, return_when=asyncio.FIRST_COMPLETED)
    if holding.done():
        # Somebody else may lead already; whatever is half done here must not become a write.
        error = holding.exception()
        _log.critical("the lease is lost", extra={"detail": str(error)})
        sys.stdout.flush()
        os._exit(2)
    holding.cancel()
    await asyncio.gather(holding, return_exceptions=True)
    await lease.release()
    await working


def main() -> None:
    """Run the controller; exit with 0 when asked to end, and with something else where it could not go on."""
    try:
        settings = Settings.read()
    except RefusedError as error:
        print(error.message, file=sys.stderr)
        raise SystemExit(64) from error
    telemetry.setup_logging(PROCESS, level=settings.log_level)
    # Most of what is made lives for one event or for ever; looking for cycles among it all the time is waste.
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    logging.getLogger("kopf").setLevel(logging.WARNING)  # it tells of each event of each object
    try:
        asyncio.run(run(settings))
    except Exception:  # noqa: BLE001 - whatever it is, it is told in one line of the log
        _log.critical("the controller ends; it is to be started again", exc_info=True)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
