"""The broker as a whole: its parts put together, started, kept running and stopped."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Protocol

from aiohttp import web
from opentelemetry.metrics import Meter

from sekisho.broker.announcing import Announcer
from sekisho.broker.challenges import ChallengeBook
from sekisho.broker.cluster import Cluster
from sekisho.broker.kbs import PREFIX as KBS_PREFIX
from sekisho.broker.kbs import KbsApi, Tokens
from sekisho.broker.kbs_peers import PodFinder
from sekisho.broker.kbs_release import KbsBroker
from sekisho.broker.kbs_sessions import SessionBook
from sekisho.broker.keys import Keys, Opener
from sekisho.broker.measures import Measures
from sekisho.broker.release import Broker, Parts
from sekisho.broker.releasefacts import ReleaseRules
from sekisho.broker.resources import Resources
from sekisho.broker.server import BrokerApi
from sekisho.broker.settings import BrokerSettings
from sekisho.broker.verifying import Verifier, Verify, verify_by
from sekisho.errors import Reason, SekishoError
from sekisho.kube.bearer import Authenticator
from sekisho.kube.collateral import CollateralStore
from sekisho.kube.probes import Readiness, build_health
from sekisho.kube.serving import Job, end_jobs, serve_app, start_jobs
from sekisho.kube.tls import ServerTls
from sekisho.recording.record import Record
from sekisho.recording.settings import Writer, build_record

_CHECK_SECONDS: Final = 2.0
_BACKLOG: Final = 512
_WHO: Final = "the broker"
REFUSAL: Final = "no key is released that cannot be recorded"


class Rules(Protocol):
    """What grants, and how old that knowledge is."""

    async def run(self) -> None:
        """Keep it fresh until cancelled."""
        ...

    def age_seconds(self) -> float:
        """Return its age."""
        ...

    def rules(self) -> ReleaseRules:
        """Return it; raises UnavailableError where it is too old."""
        ...


@dataclass(frozen=True, slots=True)
class Surface:
    """What the broker meets outside of itself.

    Attributes:
        opener: Finds the key service that has a key.
        verify: Verifies a piece of evidence; the collateral store's way where None. Tests alone give another.
        pods: Finds guests of Confidential Containers by their address; None where their protocol is not spoken.
        beside: Begin jobs that run beside the release of keys and never end by themselves.
    """

    cluster: Cluster
    rules: Rules
    opener: Opener
    verify: Verify | None = None
    pods: PodFinder | None = None
    beside: tuple[Callable[[], Job], ...] = ()


@dataclass(slots=True)
class RunningBroker:
    """A broker that serves; the ports are the real ones where 0 was asked for."""

    broker: Broker
    readiness: Readiness
    record: Record
    https_port: int = 0
    health_port: int = 0


@contextlib.asynccontextmanager
async def run_broker(settings: BrokerSettings, surface: Surface, *, meter: Meter) -> AsyncIterator[RunningBroker]:
    """Run a broker for as long as the context is open.

    Raises:
        OSError: A port or the certificate cannot be used.
    """
    measures = Measures(meter)
    store = CollateralStore(settings.collateral_dir)
    await asyncio.to_thread(store.load)
    async with contextlib.AsyncExitStack() as stack:
        record = build_record(
            Writer(settings.record_dir, "broker", settings.pod_name, settings.record), settings.recording,
            refusal=REFUSAL, observe=measures.committed,
        )  # fmt: skip
        record.open()
        stack.push_async_callback(record.close)
        parts = _assemble(settings, surface, store, record, measures=measures)
        stack.callback(parts.keys.close)
        stack.callback(parts.verifier.close)
        broker = Broker(parts)
        running = RunningBroker(broker, Readiness(), record)
        measures.show(challenges=parts.challenges, store=store, facts_age=surface.rules.age_seconds)
        measures.show_lag(lambda: record.lag.seconds)
        stack.push_async_callback(broker.settle)
        await _serve(settings, surface, running, stack=stack, measures=measures)
        beside = [begin() for begin in surface.beside]
        jobs = [surface.rules.run(), store.follow(), _check(running, surface.rules), *beside]
        stack.push_async_callback(end_jobs, start_jobs(jobs, running.readiness, who=_WHO))
        yield running


def _assemble(
    settings: BrokerSettings, surface: Surface, store: CollateralStore, record: Record, *, measures: Measures
) -> Parts:
    return Parts(
        cluster=surface.cluster,
        rules=surface.rules.rules,
        challenges=ChallengeBook(seconds=settings.challenge_seconds),
        verifier=Verifier(
            surface.verify or verify_by(lambda: store.loaded.collateral), threads=settings.verifier_threads
        ),
        keys=Keys(surface.opener, limits=settings.keys),
        record=record,
        announcer=Announcer(surface.cluster, lost=measures.lost_condition),
        now=lambda: datetime.now(UTC),
        proof_max_age_seconds=settings.proof_max_age_seconds,
    )


async def _serve(
    settings: BrokerSettings, surface: Surface, running: RunningBroker, *, stack: contextlib.AsyncExitStack,
    measures: Measures,
) -> None:  # fmt: skip
    authenticator = Authenticator(
        surface.cluster, overloaded=Reason.OVERLOADED, pod_rate=settings.requests_per_second
    )  # fmt: skip
    app = BrokerApi(running.broker, authenticator, outcome=measures.answered).build()
    if surface.pods is not None:
        app.add_subapp(KBS_PREFIX, _build_kbs(settings, running.broker.parts, surface.pods, measures=measures))
    tls = ServerTls(settings.tls_dir)
    await asyncio.to_thread(tls.load)
    health, running.health_port = await serve_app(build_health(running.readiness), settings.bind, settings.health_port)
    stack.push_async_callback(health.cleanup)
    server, running.https_port = await serve_app(app, settings.bind, settings.https_port, tls=tls, backlog=_BACKLOG)
    stack.push_async_callback(server.cleanup)
    following: list[Job] = [tls.follow()]
    stack.push_async_callback(end_jobs, start_jobs(following, running.readiness, who=_WHO))


def _build_kbs(settings: BrokerSettings, parts: Parts, pods: PodFinder, *, measures: Measures) -> web.Application:
    sessions = SessionBook(
        challenge_seconds=settings.challenge_seconds, session_seconds=settings.kbs_session_seconds
    )  # fmt: skip
    broker = KbsBroker(parts, sessions, Resources(settings.resource_dir))
    return KbsApi(broker, pods, Tokens(settings.kbs_session_seconds), parts.now, measures.answered).build()


async def _check(running: RunningBroker, rules: Rules) -> None:
    """Be ready while grants are known and decisions can be recorded; the key service is asked when it is needed."""
    while True:
        running.readiness.problem = _find_problem(running, rules)
        await asyncio.sleep(_CHECK_SECONDS)


def _find_problem(running: RunningBroker, rules: Rules) -> str:
    try:
        rules.rules()
    except SekishoError as error:
        return error.message
    problem = running.record.problem
    return f"the record cannot be written: {problem}" if problem is not None else ""
