"""An API server that goes away and comes back, and a watch that goes deaf without an error."""

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from e2e.cluster.local import LocalCluster
from tests.integration.controller.conftest import World, service
from tests.integration.controller.process import ControllerProcess, wait_for
from tests.integration.controller.test_reconcile import await_children


class Wire:
    """A relay to the API server that can be cut, or made deaf: existing connections stay open and say nothing more."""

    def __init__(self, port: int) -> None:
        self._target = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        self._deaf: set[socket.socket] = set()
        self._cut = False
        self._closed = False
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while not self._closed:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if self._cut:
                near.close()
                continue
            far = socket.create_connection(self._target)
            self._open += [near, far]
            threading.Thread(target=self._pass, args=(near, far), daemon=True).start()
            threading.Thread(target=self._pass, args=(far, near), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                if source in self._deaf:
                    continue
                target.sendall(data)
        except OSError:
            pass
        finally:
            for end in (source, target):
                end.close()

    def cut(self) -> None:
        """End every connection, and every new one at once."""
        self._cut = True
        for end in self._open:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
        self._open.clear()

    def mend(self) -> None:
        self._cut = False

    def deafen(self) -> None:
        """Let no more data through on the connections that are open now; new ones work."""
        self._deaf.update(self._open)

    def close(self) -> None:
        self._closed = True
        self.cut()
        self._listener.close()


@pytest.fixture
def wire(installed: LocalCluster) -> Iterator[Wire]:
    made = Wire(installed.record.api_port)
    yield made
    made.close()


@pytest.fixture
def kubeconfig(wire: Wire, installed: LocalCluster, tmp_path: Path) -> Path:
    """A kubeconfig that leads over the wire."""
    file = tmp_path / "kubeconfig"
    text = installed.kubeconfig.read_text()
    file.write_text(text.replace(f":{installed.record.api_port}", f":{wire.port}"))
    return file


def test_what_happened_while_the_api_server_was_away_is_done_when_it_is_back(
    world: World, wire: Wire, kubeconfig: Path, new_controller: Callable[..., ControllerProcess]
) -> None:
    with new_controller(kubeconfig=kubeconfig) as controller:
        world.apply(service("before", world.namespace), service("deleted", world.namespace))
        await_children(world, "before")
        await_children(world, "deleted")
        wire.cut()
        world.apply(service("during", world.namespace))
        world.delete("deployment", "before-predictor")
        world.delete("isvc", "deleted")
        wait_for(lambda: controller.get("/healthz")[0] == 200, what="a controller that still lives")
        wire.mend()
        await_children(world, "during")
        await_children(world, "before")
        world.await_end("deleted")


def test_a_deaf_watch_is_found_by_lists_told_by_health_and_worked_around(
    world: World, wire: Wire, kubeconfig: Path, new_controller: Callable[..., ControllerProcess]
) -> None:
    env = {"SEKISHO_RESYNC_SECONDS": "4", "SEKISHO_DEAF_SECONDS": "2", "SEKISHO_WATCH_INACTIVITY_SECONDS": "120"}
    with new_controller(kubeconfig=kubeconfig, env=env) as controller:
        controller.await_idle()
        wire.deafen()
        world.apply(service("unheard", world.namespace))

        def complains() -> bool:
            status, facts = controller.get("/healthz")
            return status == 503 and b"has been deaf for" in facts

        wait_for(complains, what="the health's complaint of a deaf watch")
        await_children(world, "unheard")


def test_a_silent_watch_is_opened_again_by_itself(
    world: World, wire: Wire, kubeconfig: Path, new_controller: Callable[..., ControllerProcess]
) -> None:
    env = {"SEKISHO_WATCH_INACTIVITY_SECONDS": "3", "SEKISHO_RESYNC_SECONDS": "600"}
    with new_controller(kubeconfig=kubeconfig, env=env) as controller:
        controller.await_idle()
        wire.deafen()
        world.apply(service("heard", world.namespace))
        await_children(world, "heard")
        assert controller.get("/healthz")[0] == 200


def test_the_health_page_tells_of_watches_queue_and_metrics(world: World, controller: ControllerProcess) -> None:
    facts = controller.health()
    assert facts["problems"] == []
    assert facts["watches"]["deployments.apps"]["ageSeconds"] >= 0
    assert facts["queueOldestSeconds"] >= 0
    # It is known what there is before anything of it is looked at.
    wait_for(lambda: b"sekisho_reconciles_total" in controller.get("/metrics")[1], what="a first reconcile's count")
    status, body = controller.get("/metrics")
    assert status == 200
    assert b'sekisho_watch_age_seconds{kind="Deployment"}' in body
