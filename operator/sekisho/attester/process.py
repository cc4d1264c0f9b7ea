"""The attester as a whole: its parts put together, started, kept running and stopped."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from sekisho import telemetry
from sekisho.attester.attesting import NodeAttestation
from sekisho.attester.collecting import Hardware
from sekisho.attester.controller import TrustClient
from sekisho.attester.devices import NvidiaDevices
from sekisho.attester.server import PODS_PER_SECOND, QuoteApi
from sekisho.attester.settings import AttesterSettings
from sekisho.attester.tpm import Tpm
from sekisho.errors import Reason
from sekisho.kube.bearer import Authenticator, PodReader
from sekisho.kube.probes import Readiness, build_health
from sekisho.kube.serving import Job, end_jobs, serve_app, start_jobs
from sekisho.kube.tls import ServerTls


@dataclass(slots=True)
class RunningAttester:
    """An attester that serves; the ports are the real ones where 0 was asked for."""

    readiness: Readiness
    attestation: NodeAttestation | None = None
    https_port: int = 0
    health_port: int = 0


@contextlib.asynccontextmanager
async def run_attester(settings: AttesterSettings, pods: PodReader, *, meter: Meter) -> AsyncIterator[RunningAttester]:
    """Run an attester for as long as the context is open.

    Raises:
        OSError: A port or the certificate cannot be used.
    """
    quotes = meter.create_counter(telemetry.ATTESTER_QUOTES)
    tpm = None if settings.tpm is None else Tpm(settings.tpm, settings.pcrs)
    devices = NvidiaDevices.below(settings.nvidia_libraries) if settings.nvidia else None
    hardware = Hardware(tpm, settings.tsm, settings.event_log, devices)
    authenticator = Authenticator(pods, overloaded=Reason.OVERLOADED, pod_rate=PODS_PER_SECOND)
    api = QuoteApi(settings.node, authenticator, hardware)
    api.outcome = lambda reason: quotes.add(1, {telemetry.KEY_REASON: reason.value})
    tls = ServerTls(settings.tls_dir)
    await asyncio.to_thread(tls.load)
    running = RunningAttester(Readiness(problem=""))
    async with contextlib.AsyncExitStack() as stack:
        jobs: list[Job] = [tls.follow()]
        if settings.trust_host:
            client = await stack.enter_async_context(TrustClient(settings))
            running.attestation = NodeAttestation(settings.node, hardware, client)
            _measure(running.attestation, meter)
            jobs.append(running.attestation.run())
        health, running.health_port = await serve_app(
            build_health(running.readiness), settings.host, settings.health_port
        )
        stack.push_async_callback(health.cleanup)
        server, running.https_port = await serve_app(api.build(), settings.host, settings.https_port, tls=tls)
        stack.push_async_callback(server.cleanup)
        stack.push_async_callback(end_jobs, start_jobs(jobs, running.readiness, who="the attester"))
        yield running


def _measure(attestation: NodeAttestation, meter: Meter) -> None:
    attempts = meter.create_counter(telemetry.ATTESTER_ATTESTATIONS)
    attestation.outcome = lambda reason: attempts.add(1, {telemetry.KEY_REASON: reason.value})

    def observe(_options: CallbackOptions) -> list[Observation]:
        return [Observation(attestation.attested_at)]

    meter.create_observable_gauge(telemetry.ATTESTER_ATTESTED_AT, callbacks=[observe], unit="s")
