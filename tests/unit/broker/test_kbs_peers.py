"""Guests by their address: one pod of a model, or nobody."""

from typing import Any, cast

import pytest

from sekisho.broker.kbs_peers import KubePods
from sekisho.errors import Reason, RefusedError, UnavailableError
from sekisho.kube.client import KubeClient
from sekisho.kube.resources import PODS, Resource
from tests.unit.broker.parts import Clock, Raw, build_pod


class Api:
    """The API server's list of pods, by the one field selector that is asked for."""

    def __init__(self, *pods: Raw) -> None:
        self.pods = pods
        self.asked: list[str] = []

    async def list_all(self, resource: Resource, *, field_selector: str, **_: Any) -> list[Raw]:
        assert resource is PODS
        self.asked.append(field_selector)
        address = field_selector.removeprefix("status.podIP=")
        return [pod for pod in self.pods if pod["status"]["podIPs"][0]["ip"] == address]


def pods(*raw: Raw) -> KubePods:
    return KubePods(cast("KubeClient", Api(*raw)), clock=Clock())


async def refused(finder: KubePods, address: str) -> str:
    with pytest.raises(RefusedError) as caught:
        await finder.find(address)
    assert caught.value.reason is Reason.POD_NOT_KNOWN
    return caught.value.message


async def test_an_address_that_is_none_is_refused() -> None:
    assert await refused(pods(), "unix") == "the connection comes from no IP address"


async def test_an_address_of_no_pod_or_of_several_is_refused() -> None:
    assert await refused(pods(build_pod()), "10.8.0.9") == "0 running pods have the address 10.8.0.9, one must"
    twice = pods(build_pod(), build_pod(name="other", uid="uid-2"))
    assert await refused(twice, "10.8.0.5") == "2 running pods have the address 10.8.0.5, one must"


async def test_a_pod_that_ended_does_not_keep_its_address() -> None:
    ended = build_pod(name="old", uid="uid-0")
    ended["status"]["phase"] = "Succeeded"
    found = await pods(ended, build_pod()).find("10.8.0.5")
    assert found.uid == "uid-1"
    assert "0 running pods" in await refused(pods(ended), "10.8.0.5")


async def test_a_pod_that_is_no_model_is_refused() -> None:
    for change in ({"labels": {}}, None):
        pod = build_pod()
        if change is None:
            pod["spec"]["serviceAccountName"] = "default"
        else:
            pod["metadata"] |= change
        assert await refused(pods(pod), "10.8.0.5") == (
            "pod legal/chat-predictor-1 with the address 10.8.0.5 is not one of a model"
        )


@pytest.mark.parametrize("address", ["10.8.0.5", "::ffff:10.8.0.5"])
async def test_an_address_is_found_in_either_spelling(address: str) -> None:
    assert (await pods(build_pod()).find(address)).name == "chat-predictor-1"
    assert (await pods(build_pod(address="fd00::5")).find("fd00:0::5%eth0")).name == "chat-predictor-1"


async def test_an_address_cannot_make_the_api_server_work_without_end() -> None:
    finder = pods(build_pod())
    for _ in range(16):
        await finder.find("10.8.0.5")
    with pytest.raises(UnavailableError) as caught:
        await finder.find("10.8.0.5")
    assert caught.value.reason is Reason.OVERLOADED
