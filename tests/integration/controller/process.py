"""The controller as a real process against a real API server."""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any, Self

from e2e.ports import free_port
from tests.integration.controller.forking import fork

REPO = Path(__file__).parents[3]
OURS = ("sekisho-controller", "kopf")
LOOK_SECONDS = 0.05
QUIET_SECONDS = 1.0


def wait_for(condition: Callable[[], Any], *, seconds: float = 300.0, what: str, pause_seconds: float = 0.25) -> Any:
    """Return the first true value of `condition`; a look by kubectl, as most are, costs 0.08 s of a core."""
    until = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < until, f"{what} was not so within {seconds:.0f} s"
        time.sleep(pause_seconds)


class ControllerProcess:
    """One start of the controller. As a context manager it ends when the block does.

    Args:
        anew: Whether it starts as its users start it, by a Python of its own, and is no fork; see `forking`.
    """

    def __init__(
        self,
        kubeconfig: Path,
        log: Path,
        *,
        module: str = "sekisho.controller.main",
        env: Mapping[str, str] | None = None,
        anew: bool = False,
    ) -> None:
        self.port = free_port()
        self.log = log
        self._module = module
        self._anew = anew
        self._env = {
            "PATH": os.environ["PATH"],
            "HOME": str(log.parent),
            "PYTHONPATH": f"{REPO / 'operator'}:{REPO}",
            "KUBECONFIG": str(kubeconfig),
            "SEKISHO_AGENT_IMAGE": "sekisho.local/agent:1",
            "SEKISHO_API_HOST": "10.0.0.1",
            "SEKISHO_RELEASE_HOST": "10.0.0.50",
            "SEKISHO_HEALTH_HOST": "127.0.0.1",
            "SEKISHO_HEALTH_PORT": str(self.port),
            "SEKISHO_LEADER_ELECTION": "false",
            "SEKISHO_SETTLE_SECONDS": "0.2",
            **(env or {}),
        }
        self._process: subprocess.Popen[bytes] | ForkServerProcess | None = None

    def start(self) -> Self:
        if not self._anew:
            self._process = fork(self._module, folder=REPO, environment=self._env, log=self.log)
            return self
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", self._module], cwd=REPO, env=self._env, stdout=log, stderr=log
            )
        return self

    def __enter__(self) -> Self:
        self.start()
        try:
            self.await_ready()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def status(self) -> int | None:
        """How it ended: its exit status, or the signal as a negative number; None while it runs."""
        assert self._process is not None
        return self._process.poll() if isinstance(self._process, subprocess.Popen) else self._process.exitcode

    def await_ready(self) -> None:
        def ready() -> bool:
            assert self.status is None, f"the controller ended: {self.log.read_text()[-3000:]}"
            return self.get("/readyz")[0] == 200

        wait_for(ready, what="the controller's readiness", pause_seconds=LOOK_SECONDS)

    def await_idle(self) -> None:
        """Wait until nothing is queued, for longer than what happens to an object is let settle."""
        quiet = 0

        def idle() -> bool:
            nonlocal quiet
            facts = self.health()
            quiet = quiet + 1 if facts["queueDepth"] == facts["queueBusy"] == 0 else 0
            return quiet * LOOK_SECONDS >= QUIET_SECONDS

        wait_for(idle, what="an empty queue", pause_seconds=LOOK_SECONDS)

    def get(self, path: str) -> tuple[int, bytes]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=20) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()
        except OSError:
            return 0, b""

    def health(self) -> dict[str, Any]:
        facts: dict[str, Any] = json.loads(self.get("/healthz")[1] or b"{}")
        return facts

    def await_end(self, *, seconds: float = 300) -> int:
        assert self._process is not None
        if isinstance(self._process, subprocess.Popen):
            return self._process.wait(timeout=seconds)
        self._process.join(seconds)
        assert self._process.exitcode is not None, f"the controller has not ended within {seconds:.0f} s"
        return self._process.exitcode

    def stop(self) -> int:
        assert self._process is not None
        self._process.terminate()
        try:
            return self.await_end()
        except BaseException:
            self.kill()
            raise

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self.await_end()
