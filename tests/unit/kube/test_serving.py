"""What the processes share: jobs that shall not end, and starts that fail in words."""

import asyncio
import logging
import os
import signal
from dataclasses import dataclass

import pytest

from sekisho.errors import Reason, RefusedError
from sekisho.kube.probes import Readiness
from sekisho.kube.serving import end_jobs, run_process, start_jobs, stop_on_signals


@dataclass(frozen=True)
class Settings:
    log_level: str = "INFO"


@pytest.fixture(autouse=True)
def loggers() -> object:
    """Give the root logger back as it was."""
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    yield
    root.handlers[:], root.level = before, level


async def fail() -> None:
    raise ValueError("secret")


async def wait() -> None:
    await asyncio.Event().wait()


async def test_a_job_that_ends_by_an_error_makes_its_process_neither_live_nor_ready() -> None:
    readiness = Readiness(problem="")
    tasks = start_jobs([fail(), wait()], readiness, who="the depot")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert readiness.broken == "a task of the depot ended: ValueError"
    assert not readiness.live()[0]
    assert not readiness.ready()[0]
    await end_jobs(tasks)
    assert all(task.done() for task in tasks)


async def test_jobs_that_are_ended_break_nothing() -> None:
    readiness = Readiness(problem="")
    tasks = start_jobs([wait()], readiness, who="the depot")
    await asyncio.sleep(0)
    await end_jobs(tasks)
    await asyncio.sleep(0)
    assert not readiness.broken


def refuse() -> Settings:
    raise RefusedError(Reason.INVALID_SPEC, "SEKISHO_HTTPS_PORT cannot be used")


async def take_no_port(_settings: Settings) -> None:
    raise OSError("the port is in use")


async def end(_settings: Settings) -> None:
    return


def test_settings_that_are_refused_end_the_process_with_1(capfd: pytest.CaptureFixture[str]) -> None:
    assert run_process("depot", refuse, end, who="the depot") == 1
    written = "".join(capfd.readouterr())
    assert "SEKISHO_HTTPS_PORT cannot be used" in written
    assert "InvalidSpec" in written


def test_a_port_that_cannot_be_had_ends_the_process_with_1(capfd: pytest.CaptureFixture[str]) -> None:
    assert run_process("depot", Settings, take_no_port, who="the depot") == 1
    assert "the depot cannot start" in "".join(capfd.readouterr())


def test_a_process_that_was_told_to_stop_ends_with_0() -> None:
    assert run_process("depot", Settings, end, who="the depot") == 0


async def test_a_signal_stops() -> None:
    loop = asyncio.get_running_loop()
    stop = stop_on_signals()
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(stop.wait(), 60)
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
