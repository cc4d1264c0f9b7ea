"""What the API server says of a pod, who made it and where it is: read at once, known for a while, bounded."""

import asyncio
import gc
from collections.abc import Callable
from typing import Any

import pytest

from sekisho.api import names
from sekisho.broker import cluster as module
from sekisho.broker.cluster import Surroundings
from sekisho.errors import Reason, RefusedError, UnavailableError
from tests.unit.broker.parts import NAMESPACE, NODE, SERVICE, TOKEN, TPM_NAME, World, build_pod

OWNERS = ("get replicasets", "get deployments")


async def read(world: World) -> Surroundings:
    pod = await world.cluster.read_pod(NAMESPACE, "chat-predictor-1")
    assert pod is not None
    return await world.cluster.read_surroundings(pod)


async def test_a_token_is_reviewed_for_the_pod_that_it_was_made_for() -> None:
    world = World()
    found = await world.cluster.review_token(TOKEN)
    assert (found.namespace, found.pod, found.uid) == (NAMESPACE, "chat-predictor-1", "uid-1")


def claim_another_service(world: World) -> None:
    world.pod()["metadata"]["labels"][names.SERVICE_LABEL] = "other"
    other = {"metadata": {"name": "other", "namespace": NAMESPACE, "uid": "is-2"}}
    world.api.put("inferenceservices", other)


WRONG: dict[str, tuple[Callable[[World], object], str]] = {
    "a service that another Deployment serves": (
        claim_another_service,
        "pod legal/chat-predictor-1 says it serves other but comes from Deployment chat-predictor",
    ),
    "a Deployment of that name that is another": (
        lambda w: w.api.objects["deployments", NAMESPACE, "chat-predictor"]["metadata"].update(uid="d-2"),
        "Deployment legal/chat-predictor, which made the pod, does not exist any more",
    ),
    "no ReplicaSet": (
        lambda w: w.api.objects.pop(("replicasets", NAMESPACE, "chat-predictor-x")),
        "ReplicaSet legal/chat-predictor-x, which made the pod, does not exist any more",
    ),
    "a Deployment that somebody else made": (
        lambda w: w.api.objects["deployments", NAMESPACE, "chat-predictor"]["metadata"]["ownerReferences"][0].update(
            kind="Helm"
        ),
        "Deployment legal/chat-predictor is controlled by Helm, not by a InferenceService",
    ),
    "a service of that name that is another": (
        lambda w: w.service()["metadata"].update(uid="is-2"),
        f"was made for InferenceService {SERVICE}, which is not the one called {SERVICE} there is now",
    ),
    "a service that is being deleted": (
        lambda w: w.service()["metadata"].update(deletionTimestamp="now"),
        f"InferenceService legal/{SERVICE} is being deleted",
    ),
    "no node": (lambda w: w.api.objects.pop(("nodes", "", NODE)), f"the pod is on node {NODE}, which does not exist"),
}


@pytest.mark.parametrize("case", WRONG)
async def test_a_pod_that_does_not_come_from_the_service_it_names_is_refused(case: str) -> None:
    world = World()
    change, message = WRONG[case]
    change(world)
    with pytest.raises(RefusedError) as caught:
        await read(world)
    assert caught.value.reason is Reason.WORKLOAD_MISMATCH
    assert message in caught.value.message


async def test_who_made_a_pod_is_known_for_a_minute() -> None:
    world = World()
    for world.clock.seconds, count in ((100, 1), (130, 1), (160, 1), (160.5, 2)):
        await read(world)
        assert [world.api.asked.count(owner) for owner in OWNERS] == [count, count]


@pytest.mark.parametrize(("most", "kept"), [(2, ["rs-2", "d-1"]), (3, ["rs-1", "rs-2", "d-1"])])
async def test_what_is_known_of_owners_is_bounded_and_the_oldest_goes_first(
    monkeypatch: pytest.MonkeyPatch, most: int, kept: list[str]
) -> None:
    monkeypatch.setattr(module, "_MOST", most)
    world = World()
    await read(world)  # a ReplicaSet and a Deployment
    world.clock.seconds = 61
    copy: dict[str, Any] = build_pod(name="second", uid="uid-2")
    copy["metadata"]["ownerReferences"][0].update(name="chat-predictor-y", uid="rs-2")
    world.api.put("pods", copy)
    deployment = {"kind": "Deployment", "name": "chat-predictor", "uid": "d-1", "controller": True}
    again = {"name": "chat-predictor-y", "namespace": NAMESPACE, "uid": "rs-2", "ownerReferences": [deployment]}
    world.api.put("replicasets", {"metadata": again})
    second = await world.cluster.read_pod(NAMESPACE, "second")
    assert second is not None
    await world.cluster.read_surroundings(second)
    assert list(world.cluster._owners) == kept


async def test_pods_that_nobody_looks_at_again_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_RAW", 2)
    world = World()
    for number in range(3):
        world.api.put("pods", build_pod(name=f"p{number}", uid=f"u{number}"))
        await world.cluster.read_pod(NAMESPACE, f"p{number}")
    assert list(world.cluster._raw) == ["u1", "u2"]


@pytest.mark.parametrize(
    ("spelt", "key"),
    [
        (TPM_NAME.hex(), TPM_NAME),
        ("07", b"\x07"),
        ("07" * 66, b"\x07" * 66),
        ("07" * 67, None),
        ("", None),
        ("no hexadecimal", None),
    ],
)
async def test_a_key_that_a_node_is_enrolled_with_is_read_where_it_can_be(spelt: str, key: bytes | None) -> None:
    world = World()
    world.api.objects["nodes", "", NODE]["metadata"]["annotations"] = {names.NODE_AK_ANNOTATION: spelt}
    assert (await read(world)).node.tpm_key == key


async def test_reads_of_which_nobody_waits_for_the_end_leave_nothing_behind() -> None:
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: told.append(context))
    world = World()
    pod = await world.cluster.read_pod(NAMESPACE, "chat-predictor-1")
    assert pod is not None
    world.api.down = True
    with pytest.raises(UnavailableError, match="the API server did not answer in time"):  # nothing keeps its frames
        await world.cluster.read_surroundings(pod)
    for _ in range(5):  # what was cancelled ends in its own turn
        await asyncio.sleep(0)
    gc.collect()
    assert told == []
    assert asyncio.all_tasks() == {asyncio.current_task()}
