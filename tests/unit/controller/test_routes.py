"""Which change wakes which object."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from sekisho.controller.cluster import Cluster
from sekisho.controller.queue import KeyQueue
from sekisho.controller.reading import Reader
from sekisho.controller.routes import Key, Router
from sekisho.controller.store import Raw
from sekisho.kube.resources import (
    DATA_GRANTS,
    DEPLOYMENTS,
    EVIDENCE_POLICIES,
    INFERENCE_SERVICES,
    KEY_RELEASE_POLICIES,
    MODELS,
    NAMESPACES,
    NETWORK_POLICIES,
    NODES,
    PODS,
    POLICIES,
    Resource,
)  # fmt: skip


class Rig:
    """A router over stores, and who is woken by what is shown."""

    def __init__(self) -> None:
        self.cluster = Cluster()
        self.queue: KeyQueue[Key] = KeyQueue()
        self.forgotten: list[Key] = []
        self.version = 0

        def forget(key: Key, _: Raw) -> None:
            self.forgotten.append(key)

        self.router = Router(
            self.cluster,
            Reader(),
            self.queue,
            settle_seconds=0.0,
            depot_ip=lambda: self.cluster.depot_pod_ip("system"),
            forget=forget,
        )

    def show(self, resource: Resource, name: str, kind: str = "MODIFIED", **more: Any) -> None:
        self.version += 1
        meta = {"name": name, "uid": f"uid-{name}", "resourceVersion": str(self.version), "generation": 1}
        if resource.namespaced:
            meta["namespace"] = more.pop("namespace", "a")
        raw = {"metadata": meta | more.pop("meta", {}), **more}
        change = self.cluster.note(self.cluster.stores[resource].show(kind, raw))
        if change is not None:
            self.router.route(change)

    async def woken(self) -> set[tuple[str, str, str]]:
        """Return who is in the queue, and empty it."""
        await asyncio.sleep(0.02)
        found = set()
        while len(self.queue) or self.queue.delayed:
            key = await asyncio.wait_for(self.queue.take(), 60)
            found.add((key[0].kind, *key[1]))
            self.queue.done(key)
        return found


@pytest.fixture
async def rig() -> Rig:
    made = Rig()
    model = {"model": {"modelRef": {"name": "m"}}}
    made.show(INFERENCE_SERVICES, "chat", spec={"predictor": model})
    made.show(INFERENCE_SERVICES, "other", namespace="b", spec={"predictor": model})
    made.show(MODELS, "m", spec={})
    assert await made.woken() == set()
    made.router.open()
    await made.woken()
    return made


CHAT, OTHER, MODEL = ("InferenceService", "a", "chat"), ("InferenceService", "b", "other"), ("Model", "a", "m")
OWNED = {"meta": {"ownerReferences": [{"kind": "InferenceService", "name": "chat", "uid": "uid-chat"}]}}
LABELLED = {"meta": {"labels": {"sekisho.dev/service": "chat"}}}
EVERYBODY = {CHAT, OTHER, MODEL}


async def test_nothing_is_decided_before_everything_is_known() -> None:
    rig = Rig()
    rig.show(INFERENCE_SERVICES, "chat", spec={})
    rig.show(POLICIES, "default", spec={})
    assert await rig.woken() == set()
    rig.router.open()
    assert await rig.woken() == {CHAT, ("ClassificationPolicy", "", "default")}


@pytest.mark.parametrize(
    ("show", "woken"),
    [
        (lambda rig: rig.show(INFERENCE_SERVICES, "chat", spec={"new": 1}), {CHAT}),
        (lambda rig: rig.show(INFERENCE_SERVICES, "chat", spec={}, status={"demand": {"askedAt": "x"}}), {CHAT}),
        (lambda rig: rig.show(DEPLOYMENTS, "chat-predictor", **OWNED), {CHAT}),
        (lambda rig: rig.show(DEPLOYMENTS, "chat-predictor", **LABELLED), {CHAT}),
        (lambda rig: rig.show(PODS, "p", spec={}, **LABELLED), {CHAT}),
        (lambda rig: rig.show(PODS, "stranger", spec={}), set()),
        (lambda rig: rig.show(NETWORK_POLICIES, "theirs", spec={}), {CHAT}),
        (lambda rig: rig.show(NETWORK_POLICIES, "theirs", namespace="c", spec={}), set()),
        (lambda rig: rig.show(MODELS, "m", spec={"new": 1}), {CHAT, MODEL}),
        (lambda rig: rig.show(MODELS, "unused", spec={}), {("Model", "a", "unused")}),
        (lambda rig: rig.show(MODELS, "m", spec={}, status={"x": 1}), {MODEL}),
        (lambda rig: rig.show(MODELS, "m", spec={}, status={"inspection": {"sealed": True}}), {CHAT, MODEL}),
        (lambda rig: rig.show(NAMESPACES, "a", meta={"labels": {"x": "1"}}), {CHAT, MODEL}),
    ],
    ids=["its spec", "that it is asked for", "its child", "what carries its label", "its pod", "a pod of others",
         "a foreign policy",
         "a policy elsewhere", "its model", "a model nobody serves", "the status of its model",
         "what the depot found of its model", "its namespace"],
)  # fmt: skip
async def test_a_change_wakes_whom_it_concerns(
    rig: Rig, show: Callable[[Rig], None], woken: set[tuple[str, str, str]]
) -> None:
    show(rig)
    assert await rig.woken() == woken


@pytest.mark.parametrize(
    "show",
    [
        lambda rig: rig.show(POLICIES, "default", spec={"new": 1}),
        lambda rig: rig.show(NODES, "n", spec={"unschedulable": True}),
        lambda rig: rig.show(
            PODS,
            "depot",
            namespace="system",
            meta={"labels": {"app.kubernetes.io/name": "sekisho", "app.kubernetes.io/component": "depot"}},
            status={"podIP": "10.1.0.1"},
        ),
    ],
    ids=["the policy", "a node", "the depot's address"],
)
async def test_what_all_depend_on_wakes_all_but_floods_only_now_and_then(rig: Rig, show: Callable[[Rig], None]) -> None:
    rig.router._flooded_at = float("-inf")
    show(rig)
    assert await rig.woken() - {("ClassificationPolicy", "", "default")} == EVERYBODY
    rig.router.wake_all()
    assert await rig.woken() == set()
    rig.router.close()


async def test_a_heartbeat_wakes_nobody(rig: Rig) -> None:
    rig.show(NODES, "n", status={"conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": "0"}]})
    rig.router.close()
    rig.router.is_open = True
    rig.router._flooded_at = float("-inf")
    rig.show(NODES, "n", status={"conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": "1"}]})
    assert await rig.woken() == set()


async def test_a_service_that_is_gone_is_forgotten(rig: Rig) -> None:
    rig.show(INFERENCE_SERVICES, "chat", kind="DELETED")
    assert await rig.woken() == set()
    assert rig.forgotten == [(INFERENCE_SERVICES, ("a", "chat"))]


OWNER, TENANT, POLICY = ("KeyReleasePolicy", "o", "k"), ("DataGrant", "a", "d"), ("EvidencePolicy", "", "e")


def show_grants(rig: Rig, *, services: list[str]) -> None:
    workloads = [{"namespace": "a", "service": name} for name in services]
    rig.show(EVIDENCE_POLICIES, "e", spec={})
    rig.show(KEY_RELEASE_POLICIES, "k", namespace="o", spec={"workloads": workloads})
    rig.show(DATA_GRANTS, "d", spec={"services": services})


async def test_a_grant_wakes_the_services_it_names_before_and_after_and_every_other_grant(rig: Rig) -> None:
    show_grants(rig, services=["chat"])
    assert await rig.woken() == {CHAT, OWNER, TENANT, POLICY}
    rig.show(KEY_RELEASE_POLICIES, "k", namespace="o", spec={"workloads": [{"namespace": "b", "service": "other"}]})
    assert await rig.woken() == {CHAT, OTHER, OWNER, TENANT, POLICY}
    rig.show(DATA_GRANTS, "d", spec={"services": ["second"]})
    assert await rig.woken() == {CHAT, ("InferenceService", "a", "second"), OWNER, TENANT, POLICY}
    rig.show(EVIDENCE_POLICIES, "e", spec={"new": 1})
    assert await rig.woken() == {OWNER, TENANT, POLICY}


async def test_a_grant_that_goes_wakes_whom_it_named(rig: Rig) -> None:
    show_grants(rig, services=["chat"])
    await rig.woken()
    rig.show(DATA_GRANTS, "d", "DELETED", spec={"services": ["chat"]})
    assert await rig.woken() == {CHAT, OWNER, POLICY}


async def test_the_status_of_a_grant_wakes_nobody_else(rig: Rig) -> None:
    show_grants(rig, services=["chat"])
    await rig.woken()
    rig.show(DATA_GRANTS, "d", spec={"services": ["chat"]}, status={"policies": ["o/k"]})
    assert await rig.woken() == {TENANT}


PROOF = "sekisho.node-restriction.kubernetes.io/tpm-attested-at"


def attested(at: int | None, **labels: str) -> dict[str, Any]:
    return {"meta": {"labels": labels | ({} if at is None else {PROOF: str(at)})}}


async def woken_all(rig: Rig) -> bool:
    woken = await rig.woken()
    rig.router._flooded_at = float("-inf")
    return woken >= EVERYBODY


async def test_a_node_that_only_proved_itself_anew_wakes_nobody(rig: Rig) -> None:
    await woken_all(rig)
    rig.show(NODES, "n", **attested(1000))
    assert await woken_all(rig)
    rig.show(NODES, "n", **attested(1300))
    rig.show(NODES, "n", **attested(1900))
    assert not await woken_all(rig)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (attested(1000), attested(None)),
        (attested(None), attested(1000)),
        (attested(1000), attested(1601)),
        (attested(1000), attested(999)),
        (attested(1000), attested(1300, zone="b")),
        (attested(1000), {"meta": {"labels": {PROOF: "soon"}}}),
    ],
)
async def test_a_node_whose_trust_came_went_or_was_long_away_wakes_everybody(
    rig: Rig, before: dict[str, Any], after: dict[str, Any]
) -> None:
    await woken_all(rig)
    rig.show(NODES, "n", **before)
    assert await woken_all(rig)
    rig.show(NODES, "n", **after)
    assert await woken_all(rig)
