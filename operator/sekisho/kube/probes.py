"""Health and metrics of a process, by plain HTTP on a port of its own; nothing secret is served here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from aiohttp import web

from sekisho.telemetry import METRICS_CONTENT_TYPE, render_metrics

Answer: TypeAlias = tuple[bool, Mapping[str, Any]]
"""Whether all is well, and the facts behind that."""


class Probed(Protocol):
    """What can be asked about a process."""

    def live(self) -> Answer:
        """Answer /healthz: not well means that only a restart helps."""
        ...

    def ready(self) -> Answer:
        """Answer /readyz."""
        ...


@dataclass(slots=True)
class Readiness:
    """What keeps a process from being ready; empty when nothing does.

    Attributes:
        problem: Found anew by every check.
        broken: A part that ended; only a restart helps, so /healthz fails too.
    """

    problem: str = "starting"
    broken: str = ""

    def live(self) -> Answer:
        """Answer /healthz."""
        return not self.broken, {"ok": not self.broken, "message": self.broken}

    def ready(self) -> Answer:
        """Answer /readyz."""
        problem = self.broken or self.problem
        return not problem, {"ok": not problem, "message": problem}


def build_health(process: Probed, *, metrics: Callable[[], bytes] = render_metrics) -> web.Application:
    """Build the application with /healthz, /readyz and /metrics."""

    async def live(_request: web.Request) -> web.Response:
        return _spell(process.live())

    async def ready(_request: web.Request) -> web.Response:
        return _spell(process.ready())

    async def scrape(_request: web.Request) -> web.Response:
        return web.Response(body=metrics(), headers={"Content-Type": METRICS_CONTENT_TYPE})

    app = web.Application(client_max_size=1024)
    app.router.add_get("/healthz", live)
    app.router.add_get("/readyz", ready)
    app.router.add_get("/metrics", scrape)
    return app


def _spell(answer: Answer) -> web.Response:
    fine, facts = answer
    return web.json_response(facts, status=200 if fine else 503)


async def serve_health(app: web.Application, *, host: str, port: int) -> web.AppRunner:
    """Serve until the runner is cleaned up."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    return runner
