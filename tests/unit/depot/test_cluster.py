"""What the API server refuses the depot says nothing about the pod that asks."""

from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from sekisho.depot.cluster import KubeCluster, WeightsWish
from sekisho.errors import Reason, RefusedError, UnavailableError
from sekisho.kube.client import KubeClient
from sekisho.kube.conditions import PodCondition
from sekisho.kube.failures import ApiRefusedError
from sekisho.kube.resources import MODELS, Resource
from tests.unit.depot.parts import build_pod
from tests.unit.plan.seals import ARTIFACT, URI, build_inspection, plain_inspection

CONDITION = PodCondition("sekisho.dev/isolated", True, Reason.ISOLATION_PROVEN, "", 0.0, 0.0)
CALLS: dict[str, Callable[[KubeCluster], Awaitable[Any]]] = {
    "review": lambda cluster: cluster.review_token("token"),
    "pod": lambda cluster: cluster.read_pod("a", "chat-0"),
    "pods": lambda cluster: cluster.list_pods(),
    "config": lambda cluster: cluster.read_agent_config("a", "chat"),
    "wish": lambda cluster: cluster.read_wish("a", "chat", most_bytes=1),
    "conditions": lambda cluster: cluster.write_conditions(build_pod(), [CONDITION]),
}


class RefusingClient:
    """A client whose account has lost its rights."""

    def __init__(self, status: int) -> None:
        self._status = status

    def __getattr__(self, _name: str) -> Callable[..., Awaitable[Any]]:
        async def refuse(*_words: Any, **_more: Any) -> Any:
            raise ApiRefusedError("not allowed", status=self._status)

        return refuse


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("status", [401, 403])
async def test_lost_rights_are_an_outage_of_the_depot(
    call: Callable[[KubeCluster], Awaitable[Any]], status: int
) -> None:
    cluster = KubeCluster(cast("KubeClient", RefusingClient(status)))
    with pytest.raises(UnavailableError, match="the depot is refused by the API server: not allowed") as refused:
        await call(cluster)
    assert refused.value.reason is Reason.API_UNAVAILABLE


async def test_a_pod_that_is_gone_is_not_an_outage() -> None:
    cluster = KubeCluster(cast("KubeClient", RefusingClient(404)))
    with pytest.raises(RefusedError, match="is gone") as refused:
        await cluster.write_conditions(build_pod(), [CONDITION])
    assert refused.value.reason is Reason.POD_NOT_KNOWN


class KnowingClient:
    """A client of a server that has one service and its Model."""

    def __init__(self, model: Any) -> None:
        self._model = model

    async def get(self, resource: Resource, name: str, *, namespace: str = "") -> Any:
        if resource == MODELS:
            return self._model
        return {"spec": {"predictor": {"model": {"modelRef": {"name": "m"}}}}}


async def wish_of(status: Any, **spec: Any) -> WeightsWish:
    whole = {"owner": "o", "format": {"name": "gguf"}, "storageUri": URI, **spec}
    cluster = KubeCluster(cast("KubeClient", KnowingClient({"spec": whole, "status": status})))
    return await cluster.read_wish("a", "chat", most_bytes=1 << 30)


async def test_a_service_gets_the_artifact_whose_signatures_were_verified() -> None:
    wish = await wish_of({"inspection": build_inspection()}, size="100Mi")
    assert (wish.uri, wish.digest, wish.limit_bytes) == (URI, ARTIFACT, (100 + 128) << 20)
    own = "sha256:" + "33" * 32
    assert (await wish_of({"inspection": build_inspection()}, digest=own)).digest == own
    assert (await wish_of({"inspection": build_inspection()})).limit_bytes == 1 << 30


@pytest.mark.parametrize(
    "status", [{}, {"inspection": plain_inspection()}, {"inspection": build_inspection(uri="oci://other/x:1")}]
)
async def test_what_was_not_verified_for_this_source_pins_nothing(status: Any) -> None:
    wish = await wish_of(status, size="100Mi")
    assert (wish.digest, wish.limit_bytes) == (None, 100 << 20)
