"""Which tests share a worker, and which begin first, where several run at once; what holds for every property."""

import asyncio
import gc
import os
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

# What shares a cluster of real nodes, a control plane, or an unpacked image of gigabytes, stays on one worker; the rest
# goes module by module. The longest begin first.
SHARING = {
    "e2e/isolation": "isolation",
    "e2e/lifecycle": "isolation",
    "e2e/sealed": "sealed",
    "e2e/weights": "sealed",
    "e2e/release": "release",
    "e2e/gateway": "release",
    "e2e/cluster/tests": "cluster",
    "inference-images/vllm": "vllm",
    "policies": "policies",
    "tests/integration/broker/test_real_api.py": "processes beside an API",
    "tests/integration/depot/test_real_api.py": "processes beside an API",
    "tests/integration/gateway/test_real_api.py": "processes beside an API",
    "tests/integration/trust/test_real_api.py": "processes beside an API",
    "tests/integration/controller/test_crash.py": "controllers",
    "tests/integration/controller/test_drift.py": "controllers",
    "tests/integration/controller/test_election.py": "controllers",
    "tests/integration/controller/test_certificates.py": "controllers",
    "tests/integration/controller/test_outage.py": "other controllers",
    "tests/integration/controller/test_sealed.py": "other controllers",
    "tests/integration/controller/test_draining.py": "other controllers",
    "tests/integration/controller/test_grants.py": "other controllers",
    "tests/integration/controller/test_reconcile.py": "other controllers",
    "tests/integration/controller/test_waking.py": "other controllers",
}
LONGEST = (
    "isolation",
    "release",
    "sealed",
    "other controllers",
    "controllers",
    "vllm",
    "processes beside an API",
    "cluster",
    "policies",
)

# What the tests start shares few cores with all else. Programs in Go (API servers, kubelets, containerd) look for work
# on as many threads as there are cores, a tenth of what an API server takes at rest, and for garbage too often.
os.environ.setdefault("GOMAXPROCS", "1")
os.environ.setdefault("GOGC", "400")

# A property is judged by its answer: beside other workers any example may take long.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Let workers ask how often a test was tried without waiting 40 ms for the answer.

    pytest-rerunfailures asks by two short messages in a row: without TCP_NODELAY the second waits until the first is
    acknowledged, which takes that long where nothing is answered to it.
    """
    if config.pluginmanager.hasplugin("rerunfailures") and hasattr(config, "workerinput"):
        config.failures_db.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def group_of(file: str) -> str:
    """Return what the tests of a file are handed out with."""
    return SHARING.get(file) or SHARING.get(file.rpartition("/")[0], file)


class Grouping(LoadScopeScheduling):
    """Hands a whole group to one worker."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid.partition("::")[0])


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[Any]:
    """Look for no garbage while tests are collected; what is there then stays, and is never looked through again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Grouping:
    """Hand out tests by group."""
    return Grouping(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the longest groups begin first, and units last; within a group the order stays random.

    Folders that share a cluster come one after the other: what one installs for all its tests, it installs once.
    """
    ranks = {group: rank for rank, group in enumerate(LONGEST)}
    files = [item.nodeid.partition("::")[0] for item in items]
    turns = {folder: turn for turn, folder in enumerate(dict.fromkeys(file.rpartition("/")[0] for file in files))}
    keys = {}
    for item, file in zip(items, files, strict=True):
        folder = file.rpartition("/")[0]
        rank = ranks.get(group_of(file), len(ranks) + file.startswith("tests/unit/"))
        keys[item] = (rank, turns[folder] if folder in SHARING else 0)
    items.sort(key=keys.__getitem__)
    for item in items:
        if isinstance(item, pytest.Function) and asyncio.iscoroutinefunction(item.obj):
            item.fixturenames.insert(0, "goodbyes")  # what is set up first ends last


@pytest.fixture(scope="module", autouse=True)
def nothing_is_left_open() -> Iterator[None]:
    """Find what a module's tests left open, and let that fail there and not in a module that is not to blame."""
    yield
    gc.collect()
    gc.freeze()  # what stays is not looked through again after each module


@pytest.fixture
async def goodbyes() -> AsyncIterator[None]:
    """Let connections that are being closed say goodbye before their loop ends: TLS takes both sides for that.

    One that nobody closes stays, and is complained about as before.
    """
    yield
    transports = getattr(asyncio.get_running_loop(), "_transports", {})
    for _ in range(300):
        if all(each.get_extra_info("socket").fileno() < 0 for each in list(transports.values())):
            return
        await asyncio.sleep(0.01)
