"""A controller killed at any write leaves nothing that its successor does not finish, or would do again."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.controller.conftest import World, service
from tests.integration.controller.process import ControllerProcess, wait_for
from tests.integration.controller.test_reconcile import ALL_CHILDREN, await_children, await_condition

FAULTY = "tests.integration.controller.faulty"
WRITES = len(ALL_CHILDREN) + 1
VOLATILE = {
    "uid", "resourceVersion", "creationTimestamp", "managedFields", "clusterIP", "clusterIPs", "lastTransitionTime",
    "namespace", "pod-template-hash", "generation", "observedGeneration", "sekisho.dev/applied-digest",
    "sekisho.dev/template-digest", "deployment.kubernetes.io/revision",
}  # fmt: skip


def settle(value: Any, namespace: str) -> Any:
    """Return what two runs must agree on."""
    if isinstance(value, dict):
        return {key: settle(item, namespace) for key, item in value.items() if key not in VOLATILE}
    if isinstance(value, list):
        return [settle(item, namespace) for item in value]
    return value.replace(namespace, "NAMESPACE") if isinstance(value, str) else value


def state_of(world: World) -> dict[str, Any]:
    """Return the children's specifications and the service's status, without what differs from run to run."""
    children = {kind: {k: v for k, v in item.items() if k != "status"} for kind, item in world.children("chat").items()}
    status = (world.get("isvc", "chat") or {})["status"]
    kept = {key: status.get(key) for key in ("class", "placement", "replicas", "runtime")}
    kept["conditions"] = [(c["type"], c["status"], c["reason"]) for c in status["conditions"]]
    settled: dict[str, Any] = settle({"children": children, "status": kept}, world.namespace)
    return settled


def finish(world: World, make: Callable[..., ControllerProcess]) -> dict[str, Any]:
    with make() as controller:
        await_children(world, "chat")
        await_condition(world, "chat", "EngineStarting", "Serving")
        controller.await_idle()
        return state_of(world)


def kill_at(world: World, make: Callable[..., ControllerProcess], number: int, when: str) -> None:
    env = {
        "SEKISHO_TEST_KILL_AT": str(number),
        "SEKISHO_TEST_KILL": when,
        "SEKISHO_CERTIFICATES": "true",
        "SEKISHO_WORKERS": "1",
    }
    crashing = make(module=FAULTY, env=env).start()
    assert crashing.await_end() == -9, crashing.log.read_text()[-2000:]


@pytest.fixture(scope="module")
def expected() -> dict[str, Any]:
    """What a run without a kill comes to; filled by the first test that needs it."""
    return {}


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_kill_at_every_write_ends_in_the_same_state_as_none(
    world: World, new_controller: Callable[..., ControllerProcess], when: str
) -> None:
    with new_controller() as warm:  # certificates and the status of the other kinds are written by now
        warm.await_idle()
    world.apply(service("chat", world.namespace))
    undisturbed = finish(world, new_controller)
    for number in range(1, WRITES + 1):
        world.delete("isvc", "chat")
        world.await_end("chat")
        world.drop_pods()
        world.apply(service("chat", world.namespace))
        kill_at(world, new_controller, number, when)
        assert finish(world, new_controller) == undisturbed, f"killed {when} write {number}"


def test_a_kill_during_the_pruning_ends_in_the_same_state_as_none(
    world: World, new_controller: Callable[..., ControllerProcess]
) -> None:
    world.apply(service("chat", world.namespace))
    finish(world, new_controller)
    world.apply(service("chat", world.namespace, classification={"level": "unheard-of"}))
    for number in (1, 2):
        kill_at(world, new_controller, number, "after")
    with new_controller() as controller:
        await_condition(world, "chat", "UnknownLevel")
        world.drop_pods()
        world.await_end("chat")
        controller.await_idle()


def test_a_kill_between_the_requests_of_a_change_leaves_it_to_the_successor(
    world: World, new_controller: Callable[..., ControllerProcess]
) -> None:
    def tolerates() -> bool:
        spec = world.children("chat")["Deployment"]["spec"]["template"]["spec"]
        return "reserved" in {item.get("key") for item in spec.get("tolerations", ())}

    world.apply(service("chat", world.namespace))
    finish(world, new_controller)
    world.apply(service("chat", world.namespace, predictor={"tolerations": [{"key": "reserved"}]}))
    kill_at(world, new_controller, 1, "after")
    assert not tolerates()
    with new_controller():
        wait_for(tolerates, what="the change")


@pytest.mark.parametrize("way", ["restart", "kill"])
def test_a_restart_with_nothing_changed_writes_nothing(
    world: World, new_controller: Callable[..., ControllerProcess], way: str
) -> None:
    with new_controller(anew=True) as first:
        world.apply(*[service(f"chat-{index}", world.namespace) for index in range(3)])
        for index in range(3):
            await_children(world, f"chat-{index}")
        first.await_idle()
        if way == "kill":
            first.kill()
    mark = world.mark()
    with new_controller(anew=True) as second:  # with another seed of hashes: what is rendered is the same under any
        second.await_idle()
        time.sleep(2.0)
        assert world.writes(mark) == []
