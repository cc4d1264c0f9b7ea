"""Health and metrics of a process, by plain HTTP on a port of its own; nothing secret is served here."""

from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from sekisho.telemetry import METRICS_CONTENT_TYPE, render_metrics


@dataclass(slots=True)
class Readiness:
    """What keeps the depot from being ready; empty when nothing does.

    Attributes:
        problem: Found anew by every check.
        broken: A part that ended; only a restart helps, so /healthz fails too.
    """

    problem: str = "starting"
    broken: str = ""


def build_health(readiness: Readiness, *, metrics: Callable[[], bytes] = render_metrics) -> web.Application:
    """Build the application with /healthz, /readyz and /metrics."""

    async def live(_request: web.Request) -> web.Response:
        broken = readiness.broken
        return web.json_response({"ok": not broken, "message": broken}, status=503 if broken else 200)

    async def ready(_request: web.Request) -> web.Response:
        problem = readiness.broken or readiness.problem
        return web.json_response({"ok": not problem, "message": problem}, status=503 if problem else 200)

    async def scrape(_request: web.Request) -> web.Response:
        return web.Response(body=metrics(), headers={"Content-Type": METRICS_CONTENT_TYPE})

    app = web.Application()
    app.router.add_get("/healthz", live)
    app.router.add_get("/readyz", ready)
    app.router.add_get("/metrics", scrape)
    return app
