"""What the processes in the cluster share: started from settings, serving by aiohttp, ended by a signal."""

import asyncio
import logging
import signal
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final, Protocol, TypeVar

from aiohttp import web

from sekisho.errors import SekishoError
from sekisho.kube.probes import Readiness
from sekisho.kube.tls import ServerTls
from sekisho.telemetry import setup_logging, setup_traces

_LOG: Final = logging.getLogger(__name__)
_SHUTDOWN_SECONDS: Final = 5.0


class ProcessSettings(Protocol):
    """What every process is told."""

    @property
    def log_level(self) -> str:
        """From which level on it logs."""
        ...


SettingsT = TypeVar("SettingsT", bound=ProcessSettings)
Job = Coroutine[Any, Any, None]


def run_process(
    process: str, read: Callable[[], SettingsT], run: Callable[[SettingsT], Coroutine[Any, Any, None]], *, who: str
) -> int:
    """Read settings, set up logs and traces, and run to the end; return the exit status.

    Args:
        process: Its name in logs and traces.
        read: Reads the settings; refuses by raising SekishoError.
        run: What it does until it is told to stop.
        who: How a message calls it, "the depot".
    """
    setup_logging(process)
    try:
        settings = read()
        setup_logging(process, level=settings.log_level)
        setup_traces(process)
        asyncio.run(run(settings))
    except SekishoError as error:
        _LOG.error(error.message, extra={"reason": error.reason})
        return 1
    except OSError:
        _LOG.exception("%s cannot start", who)
        return 1
    return 0


def stop_on_signals() -> asyncio.Event:
    """Return an event that SIGTERM and SIGINT set."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


async def serve_app(
    app: web.Application, host: str, port: int, *, tls: ServerTls | None = None, backlog: int = 64
) -> tuple[web.AppRunner, int]:
    """Serve until the runner is cleaned up; returns the real port too."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN_SECONDS, keepalive_timeout=30)
    await runner.setup()
    await web.TCPSite(runner, host, port, ssl_context=tls.context if tls else None, backlog=backlog).start()
    return runner, int(runner.addresses[0][1])


def start_jobs(jobs: Iterable[Job], readiness: Readiness, *, who: str) -> "list[asyncio.Task[None]]":
    """Start jobs that shall never fail; one that does makes the process neither live nor ready."""
    return [_start(job, readiness, who) for job in jobs]


async def end_jobs(tasks: "list[asyncio.Task[None]]") -> None:
    """Cancel jobs and wait for their end."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _start(job: Job, readiness: Readiness, who: str) -> "asyncio.Task[None]":
    task = asyncio.create_task(job)

    def note_end(ended: "asyncio.Task[None]") -> None:
        error = None if ended.cancelled() else ended.exception()
        if error is not None:
            readiness.broken = f"a task of {who} ended: {type(error).__name__}"
            _LOG.error(readiness.broken, exc_info=error)

    task.add_done_callback(note_end)
    return task
