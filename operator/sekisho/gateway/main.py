"""The gateway process: settings, facts, record, server; it drains when asked to end."""

import asyncio
import gc
import logging
import sys
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, TypeVar

import uvloop
from aiohttp import web
from opentelemetry.metrics import Meter

from sekisho import telemetry
from sekisho.errors import Reason, RefusedError, UnavailableError
from sekisho.gateway.access import AccessGate
from sekisho.gateway.admission import Admission
from sekisho.gateway.choosing.attempts import Attempts
from sekisho.gateway.choosing.choosing import Choosing, HoldLimits
from sekisho.gateway.choosing.experience import Experience
from sekisho.gateway.choosing.polling import Poller, PollLimits, Watched
from sekisho.gateway.facts import Facts
from sekisho.gateway.front import Front, Parts
from sekisho.gateway.guards.classifier import Classifier, ClassifierLimits
from sekisho.gateway.guards.guarding import Guards
from sekisho.gateway.guards.masterkey import MasterKey
from sekisho.gateway.health import State
from sekisho.gateway.identity import Identity, IdentityLimits
from sekisho.gateway.measures import Measures
from sekisho.gateway.relay import HttpRelay
from sekisho.gateway.server import HttpServer, WireLimits
from sekisho.gateway.settings import Settings
from sekisho.gateway.tagging import load_tagger
from sekisho.gateway.tls import ServingCertificate
from sekisho.gateway.vouching import Vouchers
from sekisho.gateway.waking.asking import Asking
from sekisho.gateway.waking.holding import Holding
from sekisho.gateway.wire.upstream import Resolver
from sekisho.kube.client import KubeClient
from sekisho.kube.credentials import Credentials, find_credentials
from sekisho.kube.probes import build_health, serve_health
from sekisho.kube.serving import stop_on_signals
from sekisho.recording.settings import Writer, build_record

PROCESS = "gateway"
REFUSAL = "nothing is relayed that cannot be recorded"
_log = logging.getLogger(__name__)
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Ports:
    """Where a running gateway listens."""

    https: int
    health: int


class Gateway:
    """One running gateway. Use it as a context manager; leaving it drains.

    Args:
        settings: What the installation decides.
        credentials: Of the API server.
        meter: For metrics.
        resolver: Looks up names of engines; the system's if None.
    """

    def __init__(
        self,
        settings: Settings,
        credentials: Credentials,
        meter: Meter,
        *,
        resolver: Resolver | None = None,
    ) -> None:
        self._settings = settings
        self._credentials = credentials
        self._measures = Measures(meter)
        self._resolver = resolver
        self._stack = AsyncExitStack()
        self.ports = Ports(0, 0)
        self.broken = asyncio.Event()

    async def __aenter__(self) -> "Gateway":
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def _start(self) -> None:
        settings, stack, measures = self._settings, self._stack, self._measures
        client = await stack.enter_async_context(KubeClient(self._credentials, process=PROCESS))
        # Loading takes seconds, which nothing under way has to wait for: there is nothing yet.
        names = await asyncio.to_thread(load_tagger) if settings.names else None
        facts = Facts(client, settings.freshness, names, namespace=settings.namespace)
        vouchers = Vouchers(settings.issuers_file, settings.api_keys_file, settings.record_dir)
        vouchers.load()
        admission = Admission(settings.admission)
        record = build_record(
            Writer(settings.record_dir, PROCESS, settings.pod_name, settings.record), settings.recording,
            refusal=REFUSAL, observe=measures.committed,
        )  # fmt: skip
        record.open()
        stack.push_async_callback(record.close)
        self._spawn(facts.run())
        self._spawn(vouchers.follow())
        # Who has the record has the counts: a pod that was replaced before it ended counts on for a while.
        access = AccessGate(
            settings.record_dir, replicas=max(1, settings.replicas), is_ours=lambda: record.problem is None
        )
        self._spawn(access.keep())
        relay = await stack.enter_async_context(HttpRelay(settings.relay, resolver=self._resolver))
        choosing = await self._open_choosing(facts)
        asking = Asking(client, facts, by=settings.pod_name)
        self._spawn(asking.run())
        holding = Holding(asking, settings.wake)
        parts = Parts(
            facts=facts,
            identity=Identity(client, IdentityLimits(), vouchers),
            record=record,
            choosing=choosing,
            attempts=Attempts(choosing, relay),
            admission=admission,
            measures=measures,
            guards=await self._open_guards(),
            access=access,
            holding=holding,
        )
        measures.show(admission, facts, record)
        measures.show_held(lambda: holding.count)
        wire = WireLimits(
            settings.max_body,
            settings.max_connections,
            settings.head_seconds,
            settings.body_seconds,
            settings.caller_stall_seconds,
        )
        server = HttpServer(Front(parts), admission, wire)
        certificate = ServingCertificate(settings.tls_dir, client_roots=settings.client_roots_file)
        state = State(facts, record, certificate, server)
        runner = await serve_health(build_health(state), host=settings.bind, port=settings.health_port)
        stack.push_async_callback(runner.cleanup)
        await certificate.wait()
        self._spawn(certificate.follow())
        port = await server.start(settings.bind, settings.https_port, tls=certificate.context)
        stack.push_async_callback(
            server.drain, delay_seconds=settings.drain_delay_seconds, seconds=settings.drain_seconds
        )
        stack.callback(holding.close)
        self.ports = Ports(port, _port_of(runner))

    async def _open_choosing(self, facts: Facts) -> Choosing:
        experience, watched = Experience(), Watched()
        poller = await self._stack.enter_async_context(Poller(watched, experience, PollLimits()))
        self._spawn(poller.run())
        settings = self._settings
        hold = HoldLimits(settings.hold_seconds, max(1, settings.max_requests // 8))
        return Choosing(facts, experience, watched, proof_seconds=settings.proof_seconds, hold=hold)

    async def _open_guards(self) -> Guards:
        settings, classifier = self._settings, None
        if settings.classifier_url:
            limits = ClassifierLimits(seconds=settings.classifier_seconds)
            classifier = await self._stack.enter_async_context(Classifier(settings.classifier_url, limits))
        guards = Guards(MasterKey(settings.placeholder_key_file), classifier)
        self._stack.callback(guards.close)
        return guards

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)

        def look(done: asyncio.Task[None]) -> None:
            if not done.cancelled() and (error := done.exception()) is not None:
                _log.critical("a part of the gateway ended", exc_info=error)
                self.broken.set()

        async def end() -> None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        task.add_done_callback(look)
        self._stack.push_async_callback(end)


def _port_of(runner: web.AppRunner) -> int:
    return int(runner.addresses[0][1])


async def run(settings: Settings) -> None:
    """Serve until a signal, then drain.

    Raises:
        SekishoError: The process cannot go on.
    """
    stop = stop_on_signals()
    meter = telemetry.setup_metrics(PROCESS)
    telemetry.setup_traces(PROCESS)
    gateway = Gateway(settings, await find_credentials(), meter)
    stopping = asyncio.create_task(stop.wait())
    serving = asyncio.create_task(_serve(gateway))
    await asyncio.wait({stopping, serving}, return_when=asyncio.FIRST_COMPLETED)
    if serving.done():
        stopping.cancel()
        await serving
        raise UnavailableError(Reason.INTERNAL_ERROR, "a part of the gateway ended")
    _log.info("the gateway drains")
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)


async def _serve(gateway: Gateway) -> None:
    async with gateway:
        # What is there now stays: dictionaries, rules, code. To look for cycles in it stops every stream for 50 ms.
        gc.collect()
        gc.freeze()
        _log.info("the gateway serves", extra={"https_port": gateway.ports.https})
        await gateway.broken.wait()


def run_on_loop(work: Coroutine[Any, Any, _Result]) -> _Result:
    """Run to the end on the event loop that the gateway has."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


def main() -> None:
    """Run the gateway; exit with 0 when asked to end, and with something else where it could not go on."""
    try:
        settings = Settings.read()
    except RefusedError as error:
        print(error.message, file=sys.stderr)
        raise SystemExit(64) from error
    telemetry.setup_logging(PROCESS, level=settings.log_level)
    try:
        run_on_loop(run(settings))
    except Exception:  # noqa: BLE001 - whatever it is, it is told in one line of the log
        _log.critical("the gateway ends; it is to be started again", exc_info=True)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
