"""A request waits for a pod that is starting, within limits; for nothing else, and nobody answers who may not."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from sekisho.errors import Reason, SekishoError
from sekisho.gateway.choosing.choosing import Choice, HoldLimits
from sekisho.gateway.decide import RequestClass
from tests.unit.gateway.choosing.test_failing import BAD, GOOD, POLICY, Cluster, drop_service, go_deaf, move_service

LONG = HoldLimits(seconds=300.0, requests=2)
TRUSTING = {"tiers": ["Closed"], "trust": {"anyOf": ["tdx"], "maxAgeSeconds": 600}}
PROVEN = {**POLICY, "levels": [POLICY["levels"][0], {"name": "secret", "rules": TRUSTING}]}


def begin(cluster: Cluster) -> "asyncio.Task[Choice]":
    law, service = cluster.facts.law, cluster.facts.find("legal", "chat")
    assert service is not None
    value = law.lattice.resolve("secret", source="test")
    return asyncio.create_task(cluster.choosing.choose_soon(law, service, RequestClass(value, ()), {}))


async def refusal_of(task: "asyncio.Task[Choice]") -> SekishoError:
    with pytest.raises(SekishoError) as refusal:
        await asyncio.wait_for(task, 60)
    return refusal.value


def start_pod(cluster: Cluster) -> None:
    cluster.put_pod(1, conditions={"Ready": BAD, "sekisho.dev/isolated": BAD})


async def test_a_request_waits_for_the_pod_that_is_starting() -> None:
    cluster = Cluster(hold=LONG)
    start_pod(cluster)
    task = begin(cluster)
    await asyncio.sleep(0)
    assert not task.done()
    cluster.put_pod(1, conditions={"Ready": BAD, "sekisho.dev/isolated": GOOD})
    await asyncio.sleep(0)
    assert not task.done()
    cluster.put_pod(1)
    choice = await asyncio.wait_for(task, 60)
    assert [item.replica.name for item in choice.order] == ["chat-1"]


async def test_a_wait_ends_with_the_reason_once_its_time_is_over() -> None:
    cluster = Cluster(hold=HoldLimits(seconds=0.05))
    start_pod(cluster)
    error = await refusal_of(begin(cluster))
    assert error.reason is Reason.MODEL_NOT_READY
    assert error.message == ("model legal/chat does not answer now: 1 of 1: it has not proven that it is isolated")


LEASE = {"status": "False", "message": "refused"}


@pytest.mark.parametrize(
    "how",
    [
        {"labels": {"sekisho.dev/classification": "internal"}},
        {"labels": {"sekisho.dev/site": "osaka"}},
        {"conditions": {"sekisho.dev/attested": LEASE}},
        {"conditions": {"sekisho.dev/key-released": LEASE}},
    ],
)
async def test_for_a_pod_that_may_not_answer_nobody_waits(how: dict[str, Any]) -> None:
    cluster = Cluster(hold=LONG)
    cluster.put_pod(1, **how)
    assert (await refusal_of(begin(cluster))).reason is Reason.MODEL_NOT_READY


async def test_a_request_waits_for_a_pod_that_has_neither_node_nor_address_yet() -> None:
    cluster = Cluster(hold=LONG, policy=PROVEN)
    cluster.put_pod(1, conditions={"Ready": BAD, "sekisho.dev/isolated": None}, address="", node="")
    task = begin(cluster)
    await asyncio.sleep(0)
    assert not task.done()
    cluster.put_pod(1, labels={"sekisho.dev/site": "osaka"}, address="", node="")
    assert (await refusal_of(task)).reason is Reason.MODEL_NOT_READY


async def test_a_pod_that_ends_before_it_has_an_address_is_not_waited_for() -> None:
    cluster = Cluster(hold=LONG)
    cluster.put_pod(1, address="", phase="Failed")
    assert (await refusal_of(begin(cluster))).reason is Reason.MODEL_NOT_READY


async def test_without_any_pod_nobody_waits() -> None:
    error = await refusal_of(begin(Cluster(hold=LONG)))
    assert error.message == "model legal/chat does not answer now: it has no pod"


async def test_only_so_many_wait_at_once_and_room_comes_back() -> None:
    cluster = Cluster(hold=LONG)
    start_pod(cluster)
    waiting = [begin(cluster) for _ in range(2)]
    await asyncio.sleep(0)
    assert (await refusal_of(begin(cluster))).reason is Reason.MODEL_NOT_READY
    waiting[0].cancel()
    await asyncio.gather(waiting[0], return_exceptions=True)
    third = begin(cluster)
    await asyncio.sleep(0)
    assert not third.done()
    cluster.put_pod(1)
    for task in (waiting[1], third):
        assert (await asyncio.wait_for(task, 60)).order


def go_down(cluster: Cluster) -> None:
    cluster.put_pod(1, labels={"sekisho.dev/classification": "internal"})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (drop_service, Reason.MODEL_UNKNOWN),
        (move_service, Reason.MODEL_NOT_READY),
        (go_deaf, Reason.API_UNAVAILABLE),
        (go_down, Reason.MODEL_NOT_READY),
    ],
)
async def test_what_changes_meanwhile_ends_a_wait(change: Callable[[Cluster], None], reason: Reason) -> None:
    cluster = Cluster(hold=LONG)
    start_pod(cluster)
    task = begin(cluster)
    await asyncio.sleep(0)
    change(cluster)
    assert (await refusal_of(task)).reason is reason
