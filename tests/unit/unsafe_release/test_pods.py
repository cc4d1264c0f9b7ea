"""What the API server refuses the release says nothing about the pod that asks."""

from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from sekisho.errors import Reason, RefusedError, UnavailableError
from sekisho.kube.client import KubeClient
from sekisho.kube.failures import ApiRefusedError
from sekisho.unsafe_release.server import KubePods

USER = {
    "username": "system:serviceaccount:team-a:chat-predictor",
    "extra": {
        "authentication.kubernetes.io/pod-name": ["chat-0"],
        "authentication.kubernetes.io/pod-uid": ["uid-0"],
    },
}


class Api:
    """A client that answers, or whose account has lost its rights."""

    def __init__(self, *, refuses: bool = False, audience: str = "sekisho-broker") -> None:
        self.refuses, self.audience = refuses, audience
        self.asked: list[Any] = []

    async def create(self, question: dict[str, Any]) -> dict[str, Any]:
        self._check(question)
        return {"status": {"authenticated": True, "audiences": [self.audience], "user": USER}}

    async def get(self, _resource: Any, name: str, **_more: Any) -> dict[str, Any] | None:
        self._check(name)
        return None if name == "gone" else {"metadata": {"name": name, "namespace": "team-a"}}

    def _check(self, asked: Any) -> None:
        self.asked.append(asked)
        if self.refuses:
            raise ApiRefusedError("not allowed", status=403)


def pods(api: Api) -> KubePods:
    return KubePods(cast("KubeClient", api))


async def test_a_token_is_reviewed_for_the_audience_of_the_broker_alone() -> None:
    api = Api()
    identity = await pods(api).review_token("t")
    assert (identity.namespace, identity.pod, identity.service_account) == ("team-a", "chat-0", "chat-predictor")
    assert api.asked[0]["spec"]["audiences"] == ["sekisho-broker"]
    with pytest.raises(RefusedError, match="not valid for audience sekisho-broker") as caught:
        await pods(Api(audience="sekisho-depot")).review_token("t")
    assert caught.value.reason is Reason.UNAUTHENTICATED


async def test_a_pod_is_read_and_one_that_is_gone_is_none() -> None:
    found = await pods(Api()).read_pod("team-a", "chat-0")
    assert found is not None
    assert found.name == "chat-0"
    assert await pods(Api()).read_pod("team-a", "gone") is None


CALLS: dict[str, Callable[[KubePods], Awaitable[Any]]] = {
    "review": lambda asked: asked.review_token("t"),
    "pod": lambda asked: asked.read_pod("a", "b"),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_lost_rights_are_an_outage_of_the_release(call: Callable[[KubePods], Awaitable[Any]]) -> None:
    with pytest.raises(UnavailableError, match="the release of keys is refused by the API server") as caught:
        await call(pods(Api(refuses=True)))
    assert caught.value.reason is Reason.API_UNAVAILABLE
