"""An API server of one function, and the client that asks it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from sekisho.kube.client import KubeClient
from sekisho.kube.credentials import Credentials


@asynccontextmanager
async def answering(answer: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[KubeClient]:
    """Let a function answer whatever a client asks, whichever its path and method."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        credentials = Credentials(f"http://127.0.0.1:{runner.addresses[0][1]}", token="t")
        async with KubeClient(credentials, process="test") as client:
            yield client
    finally:
        await runner.cleanup()
