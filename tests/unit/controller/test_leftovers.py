"""What a service may not have is taken away, also where nobody owns it any more."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from sekisho.controller.cluster import Cluster
from sekisho.controller.gather import Gatherer
from sekisho.controller.loop import ServiceLoop
from sekisho.controller.publishing import Publisher
from sekisho.controller.reading import Reader
from sekisho.controller.settings import Settings
from sekisho.controller.versions import VersionLedger
from sekisho.errors import Reason
from sekisho.kube.resources import DEPLOYMENTS, INFERENCE_SERVICES, NETWORK_POLICIES, Resource
from sekisho.plan.world import Eviction, Plan
from tests.unit.api.cases import SERVICE
from tests.unit.controller.api_server import answering

MARK = {"app.kubernetes.io/managed-by": "sekisho", "sekisho.dev/service": "chat"}


def build(name: str, version: int, **more: Any) -> dict[str, Any]:
    meta = {"name": name, "namespace": "a", "uid": f"uid-{name}", "resourceVersion": str(version), "generation": 1}
    return {"metadata": {**meta, **more.pop("meta", {})}, **more}


class Rig:
    """A service loop without a ClassificationPolicy, so that everything is refused, and what it deleted."""

    def __init__(self) -> None:
        self.cluster = Cluster()
        self.deleted: list[str] = []
        self.policies: list[str] = []
        self.loop: ServiceLoop | None = None

    def show(self, resource: Resource, raw: dict[str, Any]) -> None:
        self.cluster.note(self.cluster.stores[resource].put(raw))

    async def answer(self, request: web.Request) -> web.Response:
        if request.method == "DELETE":
            self.deleted.append(request.path.rpartition("/api")[2].removeprefix("s/"))
            self.policies.append((await request.json())["propagationPolicy"])
            return web.json_response({})
        if request.path.endswith("/eviction"):
            return web.json_response({"message": "This pod has more than one PodDisruptionBudget"}, status=500)
        meta = {"name": "chat", "namespace": "a", "uid": "uid-chat", "resourceVersion": "9", "generation": 1}
        return web.json_response({"metadata": meta, "spec": SERVICE})


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    made = Rig()
    async with answering(made.answer) as client:
        reader = Reader()
        settings = Settings(namespace="system", agent_image="sekisho.local/agent:1")
        gatherer = Gatherer(made.cluster, reader, settings, ledger=VersionLedger(client, "system"))
        publisher = Publisher(client, made.cluster, instance="test", route=lambda _: None)
        made.loop = ServiceLoop(
            client, made.cluster, gatherer, publisher, reader, route=lambda _: None, settle_seconds=0
        )
        made.show(INFERENCE_SERVICES, build("chat", 1, spec=SERVICE))
        yield made


async def reconcile(rig: Rig) -> list[str]:
    assert rig.loop is not None
    await rig.loop.reconcile(("a", "chat"))
    return rig.deleted


async def test_what_an_earlier_service_left_without_an_owner_goes_where_the_new_one_is_refused(rig: Rig) -> None:
    rig.show(DEPLOYMENTS, build("chat-predictor", 2, meta={"labels": MARK}, spec={"replicas": 1}))
    rig.show(NETWORK_POLICIES, build("chat-predictor", 3, meta={"labels": MARK}, spec={}))
    assert await reconcile(rig) == [
        "apps/v1/namespaces/a/deployments/chat-predictor",
        "networking.k8s.io/v1/namespaces/a/networkpolicies/chat-predictor",
    ]
    assert rig.policies == ["Foreground", "Background"]  # a Deployment waits for its pods


@pytest.mark.parametrize(
    "meta",
    [
        {"labels": {}},
        {"labels": {**MARK, "sekisho.dev/service": "other"}},
        {"labels": MARK, "ownerReferences": [{"kind": "InferenceService", "name": "chat", "uid": "of-an-earlier-one"}]},
        {"labels": MARK, "deletionTimestamp": "2026-12-01T00:00:00Z"},
    ],
)
async def test_what_is_not_ours_or_goes_by_itself_is_left_as_it_is(rig: Rig, meta: dict[str, Any]) -> None:
    rig.show(DEPLOYMENTS, build("chat-predictor", 2, meta=meta, spec={"replicas": 1}))
    assert await reconcile(rig) == []


@pytest.mark.parametrize(("overdue", "deleted"), [(False, []), (True, ["/v1/namespaces/a/pods/chat-predictor-1"])])
async def test_a_pod_that_a_budget_of_somebodys_keeps_from_leaving_is_deleted_once_it_is_overdue(
    rig: Rig, overdue: bool, deleted: list[str]
) -> None:
    assert rig.loop is not None
    service = Reader().service(build("chat", 1, spec=SERVICE))
    gone = Eviction("chat-predictor-1", "uid-1", Reason.TRUST_TOO_OLD, "snp is too old", overdue)
    await rig.loop._evict(service, Plan((), (), {}, evictions=(gone,)))
    assert rig.deleted == deleted
