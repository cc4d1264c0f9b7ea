"""Who a pod is beyond its token, at its edges."""

from collections.abc import Callable
from typing import Any

import pytest

from sekisho.api import names
from sekisho.broker.workload import Owner, check_peer, choose_expected, read_owner, read_pod
from sekisho.errors import Reason, RefusedError
from tests.unit.broker.parts import build_pod
from tests.unit.broker.release_cases import AGENT, IMAGE

Raw = dict[str, Any]
OTHER = f"sha256:{'e' * 64}"


def test_a_pod_is_read_whole() -> None:
    pod = read_pod(build_pod())
    assert (pod.namespace, pod.name, pod.service, pod.node, pod.site) == (
        "legal",
        "chat-predictor-1",
        "chat",
        "tk-1",
        "tokyo",
    )
    assert pod.images == {IMAGE, AGENT}
    assert (pod.isolated, pod.gpus, pod.class_label) == (True, 0, "confidential.gdpr")
    assert (pod.uid, pod.owner) == ("uid-1", Owner("ReplicaSet", "chat-predictor-x", "rs-1"))


def test_an_annotation_that_bears_on_what_runs_is_part_of_what_a_pod_runs() -> None:
    raw = build_pod()
    raw["metadata"]["annotations"] = {"container.apparmor.security.beta.kubernetes.io/engine": "unconfined"}
    assert read_pod(raw).template_digest != read_pod(build_pod()).template_digest


@pytest.mark.parametrize(
    "conditions",
    [
        [],
        [{"type": "Ready", "status": "True"}],
        [{"type": names.ISOLATED_POD_CONDITION, "status": "False"}, {"type": "Ready", "status": "True"}],
        [{"type": names.ISOLATED_POD_CONDITION, "status": "Unknown"}],
        [{"type": names.ISOLATED_POD_CONDITION}],
    ],
)
def test_a_pod_is_isolated_where_its_own_condition_says_so_and_nowhere_else(conditions: list[Raw]) -> None:
    raw = build_pod()
    raw["status"]["conditions"] = conditions
    assert read_pod(raw).isolated is False


def test_as_many_containers_as_are_looked_at_may_be_there() -> None:
    raw = build_pod()
    raw["spec"]["containers"] = [{"name": f"c{number}", "image": f"r.test/x@{IMAGE}"} for number in range(64)]
    assert read_pod(raw).images == {IMAGE, AGENT}


def limits(value: str) -> Callable[[Raw], object]:
    return lambda raw: raw["spec"]["containers"][0].update(resources={"limits": {"nvidia.com/gpu": value}})


@pytest.mark.parametrize(("value", "count"), [("2", 2), ("0", 0), ("two", 0), ("1000", 0)])
def test_gpus_are_counted(value: str, count: int) -> None:
    raw = build_pod()
    limits(value)(raw)
    assert read_pod(raw).gpus == count


def twin(raw: Raw) -> None:
    """Let the node tell the engine's image by another digest than the pod asks for."""
    name = raw["spec"]["containers"][0]["name"]
    raw["status"]["containerStatuses"] = [{"name": name, "imageID": f"r.test/engine@{OTHER}"}]


def test_an_image_that_the_node_has_under_two_digests_is_the_one_asked_for_while_the_pod_was_never_changed() -> None:
    raw = build_pod()
    twin(raw)
    raw["metadata"]["generation"] = 1
    assert read_pod(raw).images == {IMAGE, AGENT}


@pytest.mark.parametrize("generation", [None, 0, 2, 7])
def test_a_pod_that_was_changed_runs_what_its_node_says(generation: int | None) -> None:
    raw = build_pod()
    twin(raw)
    raw["metadata"].update({} if generation is None else {"generation": generation})
    with pytest.raises(
        RefusedError, match=f"asks for {IMAGE} and the node runs {OTHER}, and the pod was changed"
    ) as no:
        read_pod(raw)
    assert no.value.reason is Reason.WORKLOAD_MISMATCH


def test_an_image_by_tag_is_what_the_node_says_though_the_pod_was_never_changed() -> None:
    raw = build_pod()
    twin(raw)
    raw["metadata"]["generation"] = 1
    raw["spec"]["containers"][0]["image"] = "r.test/engine:1"
    assert read_pod(raw).images == {OTHER, AGENT}


BROKEN: dict[str, tuple[Callable[[Raw], object], str]] = {
    "no node": (lambda raw: raw["spec"].pop("nodeName"), "is bound to no node"),
    "no containers": (lambda raw: raw["spec"].update(containers=[], initContainers=[]), "has no container"),
    "too many containers": (
        lambda raw: raw["spec"].update(containers=[{"name": f"c{number}"} for number in range(65)]),
        "65 containers, 64 are looked at",
    ),
    "a debug container that runs": (
        lambda raw: raw["status"].update(ephemeralContainerStatuses=[{"name": "x"}]),
        "has a debug container",
    ),
    "a debug container that is asked for": (
        lambda raw: raw["spec"].update(ephemeralContainers=[{"name": "x"}]),
        "has a debug container",
    ),
    "an init container of which the node runs another image": (
        lambda raw: raw["status"]["initContainerStatuses"][0].update(imageID=f"r.test/agent@{OTHER}"),
        f"container fence of pod legal/chat-predictor-1 asks for {AGENT} and the node runs {OTHER}",
    ),
    "an image that the node names by its own id": (
        lambda raw: raw["status"]["containerStatuses"][0].update(imageID=IMAGE),
        "container engine of pod legal/chat-predictor-1: the node tells no digest of the image it runs",
    ),
    "an image that is named by nothing but a digest": (
        lambda raw: raw["spec"]["containers"][0].update(image=IMAGE),
        "names its image by a tag",
    ),
    "a controller of a long name": (
        lambda raw: raw["metadata"]["ownerReferences"][0].update(kind="K" * 65),
        f"is controlled by {'K' * 64}, not by a ReplicaSet",
    ),
    "a digest of another kind": (
        lambda raw: raw["spec"]["containers"][0].update(image="r.test/x@md5:00"),
        "names its image by a tag",
    ),
    "two controllers": (
        lambda raw: raw["metadata"]["ownerReferences"].append({"kind": "Job", "controller": True}),
        "is controlled by ReplicaSet, Job, not by a ReplicaSet",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_pod_that_no_controller_makes_is_refused(case: str) -> None:
    raw = build_pod()
    change, message = BROKEN[case]
    change(raw)
    with pytest.raises(RefusedError, match=message) as caught:
        read_pod(raw)
    assert caught.value.reason is Reason.WORKLOAD_MISMATCH


def test_an_owner_of_another_kind_is_none() -> None:
    with pytest.raises(RefusedError, match="Deployment /d is controlled by nothing, not by a InferenceService"):
        read_owner({"kind": "Deployment", "metadata": {"name": "d"}}, kind="InferenceService")


@pytest.mark.parametrize(
    ("peer", "addresses", "right"),
    [
        ("10.8.0.5", {"10.8.0.5", "fd00::5"}, True),
        ("fd00:0::5", {"10.8.0.5", "fd00::5"}, True),
        ("::ffff:10.8.0.5", {"10.8.0.5"}, True),
        ("fe80::1%eth0", {"fe80::1"}, True),
        ("10.8.0.6", {"10.8.0.5"}, False),
        ("", {""}, False),
        ("nonsense", {"nonsense"}, False),
        ("10.8.0.5", set(), False),
    ],
)
def test_a_request_comes_from_an_address_of_its_pod(peer: str, addresses: set[str], right: bool) -> None:
    if right:
        check_peer(peer, frozenset(addresses), pod="a/b")
        return
    with pytest.raises(RefusedError, match="the request came from") as caught:
        check_peer(peer, frozenset(addresses), pod="a/b")
    assert caught.value.reason is Reason.WORKLOAD_MISMATCH


@pytest.mark.parametrize(
    ("published", "expected"),
    [
        ({"digest": "new", "earlier": ["old"]}, "new"),
        ({"digest": "mine", "earlier": []}, "mine"),
        ({"digest": "new", "earlier": ["old", "mine"]}, "mine"),
        ({}, ""),
    ],
)
def test_a_pod_is_held_against_its_own_published_digest_or_the_newest(published: Raw, expected: str) -> None:
    assert choose_expected(published, "mine") == expected
