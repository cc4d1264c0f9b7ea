"""Whether the gateway may be sent requests: facts that are fresh, a record that can be written, a certificate."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from sekisho import telemetry
from sekisho.errors import SekishoError
from sekisho.gateway.facts import Facts
from sekisho.gateway.record import Record
from sekisho.gateway.server import HttpServer
from sekisho.gateway.tls import ServingCertificate


@dataclass(frozen=True, slots=True)
class State:
    """What health is read from."""

    facts: Facts
    record: Record
    certificate: ServingCertificate
    server: HttpServer

    def problems(self) -> list[str]:
        """Say what keeps this replica from answering; a missing policy is not one, since it is a request's answer."""
        found = []
        try:
            self.facts.check_fresh()
        except SekishoError as error:
            found.append(error.message)
        if self.record.problem is not None:
            found.append(f"the record cannot be written: {self.record.problem}")
        if not self.certificate.is_loaded:
            found.append("there is no certificate yet")
        if self.server.draining:
            found.append("this replica is about to end")
        return found

    def describe(self) -> dict[str, Any]:
        """Return the facts behind the answer."""
        age, head = self.facts.age_seconds(), self.record.head
        return {
            "problems": self.problems(),
            "factsAgeSeconds": None if age == float("inf") else round(age, 1),
            "record": {"seq": head.seq, "digest": head.digest},
        }


def build_app(state: State, *, render_metrics: Callable[[], bytes] = telemetry.render_metrics) -> web.Application:
    """Return the application that serves /healthz, /readyz and /metrics."""

    async def healthz(_: web.Request) -> web.Response:
        # A restart cures none of the problems; that the loop answers is what liveness means here.
        return web.json_response(state.describe())

    async def readyz(_: web.Request) -> web.Response:
        return web.json_response(state.describe(), status=503 if state.problems() else 200)

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=render_metrics(), headers={"Content-Type": telemetry.METRICS_CONTENT_TYPE})

    app = web.Application(client_max_size=1024)
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", metrics)
    return app


async def serve(state: State, *, host: str, port: int) -> web.AppRunner:
    """Serve until the runner is cleaned up."""
    runner = web.AppRunner(build_app(state), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    return runner
