"""One leader at a time, on a real API server."""

import asyncio
import uuid
from collections.abc import Callable

import pytest

from e2e.cluster.local import LocalCluster
from e2e.cluster.patience import PATIENCE_SECONDS
from sekisho.kube.client import KubeClient
from sekisho.kube.credentials import read_kubeconfig
from sekisho.kube.lease import LeaderLease, LeaseLostError, LeaseTimes
from sekisho.kube.resources import LEASES
from tests.integration.controller.conftest import World
from tests.integration.controller.process import ControllerProcess, wait_for

# Longer than a busy machine lets a process rest: who holds a lease must come to renew it.
TIMES = LeaseTimes(duration_seconds=20.0, deadline_seconds=16.0, retry_seconds=0.3)


async def connect(cluster: LocalCluster) -> KubeClient:
    return KubeClient(await read_kubeconfig(cluster.kubeconfig), process="test")


def contend(client: KubeClient, namespace: str, who: str) -> LeaderLease:
    return LeaderLease(client, namespace=namespace, name="lead", identity=who, times=TIMES)


async def test_of_two_contenders_one_leads_and_the_other_follows_when_it_gives_up(
    control_plane: LocalCluster, namespace: str
) -> None:
    async with await connect(control_plane) as client:
        leases = [contend(client, namespace, who) for who in ("a", "b")]
        tasks = [asyncio.create_task(lease.acquire()) for lease in leases]
        done, waiting = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.sleep(8 * TIMES.retry_seconds)
        assert len(done) == 1
        assert not any(task.done() for task in waiting)
        await leases[tasks.index(done.pop())].release()
        await asyncio.wait_for(waiting.pop(), PATIENCE_SECONDS)


async def test_a_held_lease_is_not_taken_however_long_it_is_held(control_plane: LocalCluster, namespace: str) -> None:
    async with await connect(control_plane) as client:
        first, second = contend(client, namespace, "a"), contend(client, namespace, "b")
        await first.acquire()
        holding = asyncio.create_task(first.hold())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(second.acquire(), TIMES.duration_seconds * 1.5)
        assert not holding.done()
        assert first.age_seconds < TIMES.deadline_seconds
        holding.cancel()


async def test_a_leader_that_fell_silent_is_followed_and_learns_it(control_plane: LocalCluster, namespace: str) -> None:
    async with await connect(control_plane) as client:
        first, second = contend(client, namespace, "a"), contend(client, namespace, "b")
        await first.acquire()
        await asyncio.wait_for(second.acquire(), PATIENCE_SECONDS)
        assert first.age_seconds > TIMES.deadline_seconds
        with pytest.raises(LeaseLostError, match="was not renewed"):
            await first.hold()
        live = await client.get(LEASES, "lead", namespace=namespace)
        assert live is not None
        assert (live["spec"]["holderIdentity"], live["spec"]["leaseTransitions"]) == ("b", 1)


async def test_a_lease_that_somebody_else_took_is_lost_at_once(control_plane: LocalCluster, namespace: str) -> None:
    async with await connect(control_plane) as client:
        first = contend(client, namespace, "a")
        await first.acquire()
        stolen = {"spec": {"holderIdentity": "thief"}}
        await client.patch(LEASES, "lead", stolen, namespace=namespace)
        with pytest.raises(LeaseLostError, match="is held by thief"):
            await asyncio.wait_for(first.hold(), PATIENCE_SECONDS)
        assert first.age_seconds == float("inf")


def test_a_killed_controller_is_followed_by_its_standby(
    world: World, new_controller: Callable[..., ControllerProcess]
) -> None:
    env = {"SEKISHO_LEADER_ELECTION": "true", "SEKISHO_LEASE_DURATION_SECONDS": "30"}
    first = new_controller(env={**env, "SEKISHO_POD_NAME": f"first-{uuid.uuid4().hex[:6]}"})
    first.start()
    wait_for(lambda: first.health().get("synced"), what="the first leader")
    second = new_controller(env={**env, "SEKISHO_POD_NAME": "second"})
    second.start()
    wait_for(lambda: second.get("/readyz")[0] == 200, what="the standby")
    assert second.health()["leading"] is False
    first.kill()
    wait_for(lambda: second.health()["leading"], what="the second leader")
    second.await_ready()
    assert second.stop() == 0
