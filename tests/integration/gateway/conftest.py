"""The gateway on the event loop that its process has."""

import asyncio
from collections.abc import Callable, Mapping

import uvloop


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Return what makes the event loop of each test here."""
    return {"uvloop": uvloop.new_event_loop}
