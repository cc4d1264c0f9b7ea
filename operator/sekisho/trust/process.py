"""The trust controller as a whole: its parts put together, started, kept running and stopped."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from sekisho import telemetry
from sekisho.kernel import read_boot_seconds
from sekisho.kube.client import KubeClient
from sekisho.kube.collateral import CollateralStore
from sekisho.kube.probes import Readiness, build_health
from sekisho.kube.serving import end_jobs, serve_app, start_jobs
from sekisho.kube.tls import ServerTls
from sekisho.trust.challenges import Challenges
from sekisho.trust.collateral import CollateralFolder
from sekisho.trust.enrolment import Enrolments
from sekisho.trust.identity import Doorman
from sekisho.trust.server import Standing, Times, TrustApi
from sekisho.trust.settings import TrustSettings
from sekisho.trust.sweeping import Sweeper
from sekisho.trust.verifying import Verifier
from sekisho.trust.watching import WatchedNodes, WatchedPolicy

_CHECK_SECONDS = 2.0
_BACKLOG = 1024


@dataclass(slots=True)
class RunningTrust:
    """A trust controller that serves; the ports are the real ones where 0 was asked for."""

    readiness: Readiness
    nodes: WatchedNodes
    policy: WatchedPolicy
    https_port: int = 0
    health_port: int = 0


@contextlib.asynccontextmanager
async def run_trust(
    settings: TrustSettings, client: KubeClient, *, leads: Callable[[], bool], meter: Meter
) -> AsyncIterator[RunningTrust]:
    """Run a trust controller for as long as the context is open.

    Args:
        settings: How it runs.
        client: Its way to the API server.
        leads: Whether it may write, asked before everything that writes.
        meter: Where it counts.

    Raises:
        RefusedError: CollateralInvalid; the mounted collateral cannot be read.
        OSError: A port or the certificate cannot be used.
    """
    collateral = CollateralFolder(settings.collateral_dir)
    hardware = CollateralStore(settings.hardware_dir)
    await asyncio.to_thread(collateral.load)
    await asyncio.to_thread(hardware.load)
    nodes, policy = WatchedNodes(client), WatchedPolicy(client, settings.policy)
    sweeper = Sweeper(nodes, leads)
    api = TrustApi(
        nodes=nodes,
        doorman=Doorman(client, namespace=settings.namespace),
        challenges=Challenges(read_boot_seconds, secrets.token_bytes),
        enrolments=Enrolments(nodes, read_boot_seconds, secrets.token_bytes),
        standing=Standing(lambda: collateral.makers, policy.rules, Verifier(lambda: hardware.loaded.collateral)),
        times=Times(settings.valid_seconds, settings.interval_seconds),
        sweeper=sweeper,
        leads=leads,
    )
    _measure(api, sweeper, nodes, meter)
    tls = ServerTls(settings.tls_dir)
    await asyncio.to_thread(tls.load)
    running = RunningTrust(Readiness(), nodes, policy)
    async with contextlib.AsyncExitStack() as stack:
        health, running.health_port = await serve_app(
            build_health(running.readiness), settings.host, settings.health_port
        )
        stack.push_async_callback(health.cleanup)
        server, running.https_port = await serve_app(
            api.build(), settings.host, settings.https_port, tls=tls, backlog=_BACKLOG
        )
        stack.push_async_callback(server.cleanup)
        jobs = [
            nodes.reflector.run(),
            policy.reflector.run(),
            collateral.follow(),
            hardware.follow(),
            sweeper.run(),
            tls.follow(),
            _check(running, leads),
        ]
        stack.push_async_callback(end_jobs, start_jobs(jobs, running.readiness, who="the trust controller"))
        yield running


async def _check(running: RunningTrust, leads: Callable[[], bool]) -> None:
    """Be ready while this process leads and knows the nodes: the Service then sends attesters here alone."""
    while True:
        problem = "" if running.nodes.reflector.objects else "the nodes are not known yet"
        running.readiness.problem = problem if leads() else "another trust controller leads"
        await asyncio.sleep(_CHECK_SECONDS if not running.readiness.problem else 0.2)


def _measure(api: TrustApi, sweeper: Sweeper, nodes: WatchedNodes, meter: Meter) -> None:
    attested = meter.create_counter(telemetry.TRUST_ATTESTATIONS)
    enrolled = meter.create_counter(telemetry.TRUST_ENROLMENTS)
    withdrawn = meter.create_counter(telemetry.TRUST_WITHDRAWALS)
    api.outcome = lambda reason: attested.add(1, {telemetry.KEY_REASON: reason.value})
    api.enrolled = lambda reason: enrolled.add(1, {telemetry.KEY_REASON: reason.value})
    sweeper.withdrawn = lambda reason: withdrawn.add(1, {telemetry.KEY_REASON: reason.value})

    def observe(_options: CallbackOptions) -> list[Observation]:
        return [Observation(sum(bool(node.attested) for node in nodes.all()))]

    meter.create_observable_gauge(telemetry.TRUST_NODES, callbacks=[observe])
