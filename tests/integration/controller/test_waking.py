"""Services that rest, by what stands in their status: across operators that end or are killed, and by odd clocks."""

import time
from collections.abc import Callable

import pytest

from e2e.cluster.errors import ClusterError
from sekisho.api.times import format_time
from tests.integration.controller.conftest import World, service
from tests.integration.controller.process import ControllerProcess, wait_for
from tests.integration.controller.test_crash import kill_at
from tests.integration.controller.test_reconcile import await_children, await_condition

IDLE_SECONDS = 600


def rest(world: World) -> None:
    """Have a service that sleeps."""
    world.apply(service("chat", world.namespace, predictor={"minReplicas": 0, "idleSeconds": IDLE_SECONDS}))
    await_children(world, "chat")
    await_condition(world, "chat", "ScaledToZero", "Serving")


def write_demand(world: World, value: object) -> None:
    world.patch("isvc", "chat", {"status": {"demand": value}}, subresource="status")


def ask(world: World, *, ago: float = 0.0) -> str:
    """Say that it was asked for so many seconds ago, as a gateway does; return when that was."""
    told = format_time(time.time() - ago)
    write_demand(world, {"askedAt": told, "by": "sekisho-gateway-0"})
    return told


def replicas(world: World) -> int:
    return int((world.get("deployment", "chat-predictor") or {})["spec"]["replicas"])


def await_replicas(world: World, wanted: int) -> None:
    wait_for(lambda: replicas(world) == wanted, what=f"{wanted} replicas")


def await_message(world: World, words: str) -> None:
    wait_for(lambda: words in world.condition("chat", "Serving")["message"], what=words)


def test_what_is_kept_awake_stays_so_across_operators_and_falls_asleep_under_any_of_them(
    world: World, new_controller: Callable[..., ControllerProcess]
) -> None:
    with new_controller() as first:
        rest(world)
        ask(world)
        await_replicas(world, 1)
        await_condition(world, "chat", "EngineStarting", "Serving")
        first.await_idle()
        mark = world.mark()
        for _ in range(5):
            ask(world)
        first.await_idle()
        assert world.writes(mark) == [], "that it is still asked for is written by the gateway alone"
        first.kill()
    ask(world)
    mark = world.mark()
    with new_controller() as second:
        second.await_idle()
        assert (replicas(world), world.writes(mark)) == (1, [])
    # What is left of the time ends under an operator that never saw it begin.
    told = ask(world, ago=IDLE_SECONDS - 5)
    with new_controller():
        await_replicas(world, 0)
        await_message(
            world, f"nobody has asked for 600 s (idleSeconds), last at {told} by the clock of sekisho-gateway-0"
        )


def test_an_operator_that_is_killed_while_it_wakes_a_service_is_followed_by_one_that_does(
    world: World, new_controller: Callable[..., ControllerProcess]
) -> None:
    with new_controller() as first:
        rest(world)
        first.await_idle()
    ask(world)
    kill_at(world, new_controller, 2, "after")  # the Deployment is to run a pod, and the status says that it sleeps
    assert (replicas(world), world.condition("chat", "Serving")["reason"]) == (1, "ScaledToZero")
    mark = world.mark()
    with new_controller() as second:
        await_replicas(world, 1)
        await_condition(world, "chat", "EngineStarting", "Serving")
        second.await_idle()
        left = [item for item in world.writes(mark) if " events" not in item]
        assert len(left) <= 3, left
        ask(world, ago=IDLE_SECONDS + 1)
        await_replicas(world, 0)


def test_times_that_cannot_be_so_wake_nothing_and_the_status_says_whose_clock_is_wrong(
    world: World, controller: ControllerProcess
) -> None:
    rest(world)
    mark = world.mark()
    for odd in ("yesterday", 7):
        with pytest.raises(ClusterError, match="askedAt"):
            write_demand(world, {"askedAt": odd})
    with pytest.raises(ClusterError, match="demand"):
        write_demand(world, "now")
    write_demand(world, {"askedAt": [format_time(time.time())]})  # what the API server lets pass where a time should be
    told = ask(world, ago=-7200)
    await_message(
        world, f"status.demand.askedAt, {told} by the clock of sekisho-gateway-0, is more than 300 s ahead of"
    )
    told = ask(world, ago=1_000_000_000)
    await_message(world, f"(idleSeconds), last at {told} by the clock of sekisho-gateway-0: no pod runs")
    write_demand(world, None)
    await_message(world, "nobody has asked for 600 s (idleSeconds): no pod runs")
    assert (replicas(world), [item for item in world.writes(mark) if "deployments" in item]) == (0, [])
    ask(world, ago=-200)
    await_replicas(world, 1)
    write_demand(world, None)
    await_replicas(world, 0)
