"""The first pods of a service have the class they will keep: what raises it is read anew before they are made."""

import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from sekisho.api.times import format_time
from sekisho.controller import loop as controller_loop
from sekisho.controller.cluster import Cluster
from sekisho.controller.gather import Gatherer
from sekisho.controller.loop import ServiceLoop
from sekisho.controller.publishing import Publisher
from sekisho.controller.reading import Reader
from sekisho.controller.settings import Settings
from sekisho.controller.store import Change
from sekisho.controller.versions import VersionLedger
from sekisho.errors import UnavailableError
from sekisho.kube.resources import (
    DEPLOYMENTS,
    INFERENCE_SERVICES,
    MODELS,
    NAMESPACES,
    NETWORK_POLICIES,
    NODES,
    POLICIES,
    RUNTIMES,
    SITES,
    Resource,
)
from sekisho.plan.inferenceservice import plan
from tests.unit.controller.api_server import answering
from tests.unit.plan.seals import AT, URI, plain_inspection
from tests.unit.plan.worlds import POLICY, SITE_KEY

CLASS = {"sekisho.dev/classification": "confidential"}
LEVELS = [
    {"name": "internal", "rules": {"tiers": ["Closed"]}},
    {"name": "confidential", "rules": {"tiers": ["Closed"]}},
]
NAME = ("legal", "chat")
DIRECT = {"predictor": {"model": {"modelFormat": {"name": "gguf"}, "storageUri": URI}}}
BY_MODEL = {"predictor": {"model": {"modelRef": {"name": "tiny"}}}}
SPECS: dict[Resource, tuple[str, dict[str, Any]]] = {
    POLICIES: ("default", {**POLICY, "levels": LEVELS, "unlabelled": "internal"}),
    SITES: (
        "tokyo",
        {"tier": "Closed", "jurisdiction": "JP", "operatedBy": "own", "nodes": {"matchLabels": {SITE_KEY: "tokyo"}}},
    ),
    RUNTIMES: ("engine", {"formats": [{"name": "gguf"}], "image": "registry.test/engine:1", "args": ["{{path}}"]}),
}


def build(name: str, version: int, *, namespace: str = "", generation: int = 1, **parts: Any) -> dict[str, Any]:
    labels = parts.pop("labels", {})
    seen = {"resourceVersion": str(version), "generation": generation}
    meta = {"name": name, "uid": f"uid-{name}", **seen, "labels": labels}
    return {"metadata": {**meta, **({"namespace": namespace} if namespace else {})}, **parts}


def build_model(version: int, **labels: str) -> dict[str, Any]:
    spec = {"owner": "team", "format": {"name": "gguf"}, "storageUri": URI, "size": "1Mi"}
    status = {"inspection": plain_inspection(inspectedAt=AT)}
    return build("tiny", version, namespace="legal", labels=labels, spec=spec, status=status)


@dataclass
class Rig:
    """A service loop, an API server with objects newer than the watches have shown, and what was applied there."""

    cluster: Cluster = field(default_factory=Cluster)
    live: dict[str, dict[str, Any]] = field(default_factory=dict)
    read: list[str] = field(default_factory=list)
    applied: list[dict[str, Any]] = field(default_factory=list)
    routed: list[Change] = field(default_factory=list)
    shown_late: list[tuple[Resource, dict[str, Any]]] = field(default_factory=list)
    loop: ServiceLoop | None = None
    failing: str = ""
    on_policy: Callable[[], None] = lambda: None

    def show(self, resource: Resource, raw: dict[str, Any]) -> None:
        self.cluster.note(self.cluster.stores[resource].put(raw))

    def show_all(self, spec: dict[str, Any]) -> None:
        for resource, (name, body) in SPECS.items():
            self.show(resource, build(name, 1, spec=body))
        have = {"cpu": "8", "memory": "16Gi", "pods": "100"}
        ready = {"allocatable": have, "conditions": [{"type": "Ready", "status": "True"}]}
        self.show(NODES, build("n1", 1, labels={SITE_KEY: "tokyo"}, status=ready))
        self.show(NAMESPACES, build("legal", 1))
        self.show(INFERENCE_SERVICES, build("chat", 2, namespace="legal", spec=spec))
        self.live["namespaces/legal"] = build("legal", 1)

    async def answer(self, request: web.Request) -> web.Response:
        if request.method == "GET":
            key = "/".join(request.path.split("/")[-2:])
            self.read.append(key)
            for resource, raw in self.shown_late:
                self.cluster.note(self.cluster.stores[resource].show("MODIFIED", raw))
            found = self.live.get(key)
            return web.json_response(found or {"message": "not there"}, status=200 if found else 404)
        if request.method == "DELETE":
            return web.json_response({})
        body = await request.json()
        if self.failing and body["kind"] == DEPLOYMENTS.kind:
            return web.json_response({"message": self.failing}, status=500)
        self.applied.append(body)
        if body["kind"] == NETWORK_POLICIES.kind:
            self.on_policy()
        stored = {**body, "metadata": {**body["metadata"], "uid": "u", "resourceVersion": str(100 + len(self.applied))}}
        return web.json_response(stored)

    async def reconcile(self) -> Any:
        assert self.loop is not None
        return await self.loop.reconcile(NAME)

    def deployment(self) -> dict[str, Any]:
        return next(item for item in self.applied if item["kind"] == DEPLOYMENTS.kind)

    def class_of_pods(self) -> str:
        labels: dict[str, str] = self.deployment()["spec"]["template"]["metadata"]["labels"]
        return labels["sekisho.dev/classification"]


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    made = Rig()
    settings = Settings(namespace="system", agent_image="sekisho.local/agent:1", depot_host="10.0.0.9", api_host="::1")
    async with answering(made.answer) as client:
        reader = Reader()
        gatherer = Gatherer(made.cluster, reader, settings, ledger=VersionLedger(client, "system"))
        gatherer.ca_pem = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
        publisher = Publisher(client, made.cluster, instance="test", route=made.routed.append)
        made.loop = ServiceLoop(
            client, made.cluster, gatherer, publisher, reader, route=made.routed.append, settle_seconds=0
        )
        yield made


async def test_a_label_of_the_namespace_that_the_watch_has_not_shown_yet_is_seen(rig: Rig) -> None:
    rig.show_all(DIRECT)
    rig.live["namespaces/legal"] = build("legal", 9, labels=CLASS)
    await rig.reconcile()
    assert rig.class_of_pods() == "confidential"
    assert [(change.resource, change.name) for change in rig.routed] == [(NAMESPACES, ("", "legal"))]


async def test_a_namespace_that_the_watch_has_not_shown_at_all_is_not_taken_for_one_without_a_label(rig: Rig) -> None:
    rig.show_all(DIRECT)
    rig.cluster.stores[NAMESPACES].drop(build("legal", 1))
    rig.live["namespaces/legal"] = build("legal", 9, labels=CLASS)
    await rig.reconcile()
    assert rig.class_of_pods() == "confidential"


async def test_a_label_of_the_model_that_the_watch_has_not_shown_yet_is_seen(rig: Rig) -> None:
    rig.show_all(BY_MODEL)
    rig.show(MODELS, build_model(1))
    rig.live["models/tiny"] = build_model(9, **CLASS)
    await rig.reconcile()
    assert rig.class_of_pods() == "confidential"
    assert [(change.resource, change.name) for change in rig.routed] == [(MODELS, ("legal", "tiny"))]


@pytest.mark.parametrize("gone", ["namespaces/legal", "models/tiny"])
async def test_nothing_is_made_for_what_is_gone_though_the_watch_has_not_told(rig: Rig, gone: str) -> None:
    rig.show_all(BY_MODEL)
    rig.show(MODELS, build_model(1))
    rig.live["models/tiny"] = build_model(1)
    del rig.live[gone]
    outcome = await rig.reconcile()
    assert rig.applied == []
    assert outcome.again_after_seconds is not None


async def test_nothing_is_read_where_pods_are_there_already_and_nothing_is_news(rig: Rig) -> None:
    rig.show_all(BY_MODEL)
    rig.show(MODELS, build_model(1))
    rig.live["models/tiny"] = build_model(1)
    await rig.reconcile()
    assert rig.read == ["namespaces/legal", "models/tiny"]
    assert rig.class_of_pods() == "internal"
    assert rig.routed == []
    await rig.reconcile()
    assert rig.read == ["namespaces/legal", "models/tiny"]


async def test_nothing_is_read_and_no_pod_made_before_the_depot_has_looked_at_the_model(rig: Rig) -> None:
    rig.show_all(BY_MODEL)
    rig.show(MODELS, {**build_model(1), "status": {}})
    await rig.reconcile()
    assert rig.read == []
    assert {item["kind"] for item in rig.applied} == {"NetworkPolicy"}


async def test_a_policy_that_the_watch_shows_during_the_live_reads_counts(rig: Rig) -> None:
    rig.show_all(DIRECT)
    name, body = SPECS[POLICIES]
    rig.shown_late.append((POLICIES, build(name, 9, generation=2, spec={**body, "unlabelled": "confidential"})))
    await rig.reconcile()
    assert rig.class_of_pods() == "confidential"


async def test_a_site_that_the_watch_shows_changed_during_the_live_reads_is_not_taken_for_what_it_was(rig: Rig) -> None:
    rig.show_all(DIRECT)
    name, body = SPECS[SITES]
    rig.shown_late.append((SITES, build(name, 9, generation=2, spec={**body, "tier": "ManagedApi"})))
    await rig.reconcile()
    assert {item["kind"] for item in rig.applied} <= {"NetworkPolicy", INFERENCE_SERVICES.kind}


@pytest.mark.parametrize("late", [False, True])
async def test_first_pods_are_planned_anew_only_where_the_live_reads_took_time_enough_for_news(
    rig: Rig, late: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.show_all(DIRECT)
    if late:
        rig.shown_late.append((NODES, build("n2", 9, labels={SITE_KEY: "tokyo"})))
    planned: list[Any] = []

    def count(obj: Any, world: Any) -> Any:
        planned.append(world)
        return plan(obj, world)

    monkeypatch.setattr(controller_loop, "plan", count)
    await rig.reconcile()
    assert len(planned) == 2 + late  # once more with the policy that was made
    assert rig.class_of_pods() == "internal"


async def test_what_raises_the_class_of_a_service_that_wakes_is_read_anew(rig: Rig) -> None:
    resting = {"predictor": {**DIRECT["predictor"], "minReplicas": 0}}
    rig.show_all(resting)
    await rig.reconcile()
    assert rig.deployment()["spec"]["replicas"] == 0
    asleep, rig.read[:], rig.applied[:] = list(rig.read), [], []
    await rig.reconcile()
    assert (asleep, rig.read) == (["namespaces/legal"], [])
    rig.live["namespaces/legal"] = build("legal", 9, labels=CLASS)
    asked = {"demand": {"askedAt": format_time(time.time()), "by": "sekisho-gateway-0"}}
    rig.show(INFERENCE_SERVICES, build("chat", 300, namespace="legal", spec=resting, status=asked))
    rig.applied.clear()
    await rig.reconcile()
    assert "namespaces/legal" in rig.read
    assert (rig.deployment()["spec"]["replicas"], rig.class_of_pods()) == (1, "confidential")


async def test_what_the_api_server_fails_at_again_and_again_is_told_once(rig: Rig) -> None:
    rig.show_all(DIRECT)

    async def fail(word: str) -> list[dict[str, Any]]:
        rig.failing = f'Internal error occurred: failed calling webhook "x": {word}'
        rig.applied.clear()
        with pytest.raises(UnavailableError):
            await rig.reconcile()
        return [item for item in rig.applied if item["kind"] == INFERENCE_SERVICES.kind]

    assert [await fail(word) for word in ("refused", "late")] == [[], []]
    (told,) = await fail("late")
    ready = next(item for item in told["status"]["conditions"] if item["type"] == "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "ApiUnavailable")
    assert 'failed calling webhook "x": late' in ready["message"]
    rig.show(INFERENCE_SERVICES, build("chat", 200, namespace="legal", spec=DIRECT, status=told["status"]))
    assert await fail("refused") == []
    rig.failing = ""
    await rig.reconcile()
    assert rig.deployment()["metadata"]["name"] == "chat-predictor"


async def test_what_starts_pods_is_owned_by_the_policy_that_was_just_made_and_made_in_one_go(rig: Rig) -> None:
    rig.show_all(DIRECT)
    outcome = await rig.reconcile()
    made = [item["kind"] for item in rig.applied]
    assert made[0] == "NetworkPolicy"
    assert made[-1] == "Deployment"
    assert len(made) == len(set(made)) == outcome.writes
    service, policy = rig.deployment()["metadata"]["ownerReferences"]
    assert (service["uid"], policy["kind"], policy["uid"]) == ("uid-chat", "NetworkPolicy", "u")


async def test_nothing_starts_where_the_law_has_changed_while_the_policy_was_made(
    rig: Rig,
) -> None:
    rig.show_all(DIRECT)
    changed = build("default", 9, generation=2, spec={**POLICY, "unlabelled": "gone"})
    rig.on_policy = lambda: rig.show(POLICIES, changed)
    await rig.reconcile()
    assert DEPLOYMENTS.kind not in [item["kind"] for item in rig.applied]
