"""What the stores keep, and what counts as news."""

import json
import time
from typing import Any

import pytest

from sekisho.api.names import SERVICE_LABEL
from sekisho.controller.cluster import Cluster
from sekisho.controller.projections import project_node, project_pod, project_usage
from sekisho.controller.store import Change
from sekisho.kube.resources import DEPLOYMENTS, DISRUPTION_BUDGETS, NETWORK_POLICIES, NODES, PODS
from sekisho.placement.snapshot import MOST_AMOUNT
from sekisho.plan.foreign import find_foreign
from sekisho.plan.pods import read_pods

OWNER = {"kind": "InferenceService", "name": "chat", "uid": "u1"}


def obj(name: str, version: int, **more: Any) -> dict[str, Any]:
    meta = {
        "name": name,
        "namespace": "a",
        "uid": f"uid-{name}",
        "resourceVersion": str(version),
        **more.pop("meta", {}),
    }
    return {"metadata": meta, **more}


def node(version: int, *, beat: str = "t0", **more: Any) -> dict[str, Any]:
    raw = obj("n1", version, meta={"labels": more.pop("labels", {"zone": "a"})}, spec=more.pop("spec", {}))
    raw["metadata"].pop("namespace")
    ready = {"type": "Ready", "status": more.pop("ready", "True"), "lastHeartbeatTime": beat}
    raw["status"] = {"allocatable": {"cpu": "3500m", "memory": "2Gi", "pods": "110"}, "conditions": [ready]}
    return raw


def pod(version: int, *, phase: str = "Running", node_name: str = "n1", **labels: str) -> dict[str, Any]:
    container = {"name": "c", "resources": {"requests": {"cpu": "500m", "memory": "1Gi"}}}
    spec = {"containers": [container], "nodeName": node_name}
    return obj("p1", version, meta={"labels": labels}, spec=spec, status={"phase": phase})


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


def show(cluster: Cluster, resource: Any, kind: str | None, raw: dict[str, Any]) -> Change | None:
    return cluster.note(cluster.stores[resource].show(kind, raw))


def test_a_heartbeat_of_a_node_is_no_news(cluster: Cluster) -> None:
    assert show(cluster, NODES, None, node(1)) is not None
    assert show(cluster, NODES, "MODIFIED", node(2, beat="t1")) is None
    assert show(cluster, NODES, "MODIFIED", node(3, ready="False")) is not None


@pytest.mark.parametrize(
    "change", [{"labels": {"zone": "b"}}, {"spec": {"unschedulable": True}}, {"ready": "Unknown"},
               {"spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}}]
)  # fmt: skip
def test_what_placement_depends_on_is_news(cluster: Cluster, change: dict[str, Any]) -> None:
    show(cluster, NODES, None, node(1))
    assert show(cluster, NODES, "MODIFIED", node(2, **change)) is not None


def test_the_status_of_a_disruption_budget_is_no_news_and_its_spec_is(cluster: Cluster) -> None:
    store = cluster.stores[DISRUPTION_BUDGETS]
    store.show("ADDED", obj("chat-predictor", 1, spec={"maxUnavailable": 1}, status={"currentHealthy": 0}))
    changed = obj("chat-predictor", 2, spec={"maxUnavailable": 1}, status={"currentHealthy": 1})
    assert store.show("MODIFIED", changed) is None
    change = store.show("MODIFIED", obj("chat-predictor", 3, spec={"maxUnavailable": 2}))
    assert change is not None
    assert change.new is not None
    assert change.new["spec"] == {"maxUnavailable": 2}


def test_an_older_version_changes_nothing_whatever_the_order(cluster: Cluster) -> None:
    store = cluster.stores[DEPLOYMENTS]
    store.put(obj("d", 5, spec={"replicas": 2}))
    assert store.show("MODIFIED", obj("d", 4, spec={"replicas": 1})) is None
    assert store.show("DELETED", obj("d", 4)) is None
    kept = store.get(("a", "d"))
    assert kept is not None
    assert kept["spec"] == {"replicas": 2}


def test_the_echo_of_our_own_write_is_no_news(cluster: Cluster) -> None:
    store = cluster.stores[DEPLOYMENTS]
    assert store.put(obj("d", 5, spec={})) is not None
    assert store.show("ADDED", obj("d", 5, spec={})) is None


def test_a_late_answer_does_not_bring_a_deleted_object_back(cluster: Cluster) -> None:
    store = cluster.stores[DEPLOYMENTS]
    store.put(obj("d", 5))
    store.show("DELETED", obj("d", 7))
    assert store.put(obj("d", 6)) is None
    assert store.get(("a", "d")) is None
    assert store.put(obj("d", 8)) is not None


def test_what_vanished_while_nobody_watched_is_found_by_a_list(cluster: Cluster) -> None:
    store = cluster.stores[DEPLOYMENTS]
    for name, version in (("gone", 1), ("stays", 2), ("newer-than-the-list", 9)):
        store.put(obj(name, version))
    changes, missed = store.reconcile_names({("a", "stays"): 2, ("a", "unseen"): 4}, at_version=5)
    assert [(c.name, c.new) for c in changes] == [(("a", "gone"), None)]
    assert missed == [("a", "unseen")]
    assert store.get(("a", "newer-than-the-list")) is not None


def test_an_object_that_was_shown_deleted_is_not_missed(cluster: Cluster) -> None:
    store = cluster.stores[DEPLOYMENTS]
    store.put(obj("d", 5))
    store.show("DELETED", obj("d", 7))
    assert store.reconcile_names({("a", "d"): 5}, at_version=6) == ([], [])


def test_children_are_found_by_their_owner_until_they_are_gone(cluster: Cluster) -> None:
    show(cluster, DEPLOYMENTS, None, obj("d", 1, meta={"ownerReferences": [OWNER]}))
    assert [(r.kind, live["metadata"]["name"]) for r, live in cluster.children_of("u1")] == [("Deployment", "d")]
    show(cluster, DEPLOYMENTS, "MODIFIED", obj("d", 2, meta={"ownerReferences": []}))
    assert cluster.children_of("u1") == []
    show(cluster, DEPLOYMENTS, "MODIFIED", obj("d", 3, meta={"ownerReferences": [OWNER]}))
    show(cluster, DEPLOYMENTS, "DELETED", obj("d", 4))
    assert cluster.children_of("u1") == []


def test_policies_of_others_are_known_by_namespace_and_ours_are_not_among_them(cluster: Cluster) -> None:
    ours = {"app.kubernetes.io/managed-by": "sekisho", "sekisho.dev/service": "chat"}
    spec = {"podSelector": {"matchLabels": {"sekisho.dev/service": "chat"}}}
    show(cluster, NETWORK_POLICIES, None, obj("chat-predictor", 1, meta={"labels": ours}, spec=spec))
    show(cluster, NETWORK_POLICIES, None, obj("b", 2))
    show(cluster, NETWORK_POLICIES, None, obj("a", 3))
    assert [p["metadata"]["name"] for p in cluster.foreign_policies("a")] == ["a", "b"]
    show(cluster, NETWORK_POLICIES, "DELETED", obj("a", 4))
    show(cluster, NETWORK_POLICIES, "DELETED", obj("b", 5))
    assert cluster.foreign_policies("a") == ()


@pytest.mark.parametrize(
    ("name", "selector"),
    [
        ("open", {"matchLabels": {"sekisho.dev/service": "chat"}}),
        ("chat-predictor", {}),
        ("chat-predictor", {"matchLabels": {"sekisho.dev/service": "other"}}),
        ("chat-predictor", {"matchExpressions": [{"key": "sekisho.dev/service", "operator": "Exists"}]}),
    ],
)
def test_a_policy_that_poses_as_ours_is_one_of_others(cluster: Cluster, name: str, selector: dict[str, Any]) -> None:
    ours = {"app.kubernetes.io/managed-by": "sekisho", "sekisho.dev/service": "chat"}
    show(cluster, NETWORK_POLICIES, None, obj(name, 1, meta={"labels": ours}, spec={"podSelector": selector}))
    assert [policy["metadata"]["name"] for policy in cluster.foreign_policies("a")] == [name]
    owned = obj(name, 2, meta={"labels": ours, "ownerReferences": [OWNER]}, spec={"podSelector": selector})
    show(cluster, NETWORK_POLICIES, "MODIFIED", owned)
    assert len(cluster.foreign_policies("a")) == (name == "open")


@pytest.mark.parametrize("selected", ["app", "x" * 20_000])
def test_of_a_policy_of_others_no_more_is_kept_than_tells_what_it_opens(cluster: Cluster, selected: str) -> None:
    wide = [{"to": [{"ipBlock": {"cidr": f"10.{number}.0.0/16"}}]} for number in range(250)]
    meta = {
        "labels": {f"l{number}": "x" * 60 for number in range(100)},
        "annotations": {"note": "x" * 10_000},
        "ownerReferences": [{"kind": "Other", "name": f"o{number}", "uid": str(number)} for number in range(100)],
    }
    spec = {"podSelector": {"matchLabels": {selected: "y"}}, "policyTypes": ["Egress"], "egress": wide, "ingress": []}
    show(cluster, NETWORK_POLICIES, None, obj("wide", 1, meta=meta, spec=spec))
    (kept,) = cluster.foreign_policies("a")
    assert len(json.dumps(kept)) < 400
    whole = {"metadata": {"name": "wide"}, "spec": spec}
    for labels in ({}, {selected: "y"}):
        told, wanted = (find_foreign([policy], [labels]) for policy in (kept, whole))
        assert told == wanted or (len(selected) > 1000 and told is not None)


def test_annotations_of_others_are_not_kept(cluster: Cluster) -> None:
    notes = {"kubectl.kubernetes.io/last-applied-configuration": "{}", "sekisho.dev/applied-digest": "sha256:1"}
    show(cluster, DEPLOYMENTS, None, obj("d", 1, meta={"annotations": notes}))
    kept = cluster.child(DEPLOYMENTS, "a", "d")
    assert kept is not None
    assert kept["metadata"]["annotations"] == {"sekisho.dev/applied-digest": "sha256:1"}


def test_pods_of_a_service_are_known_and_move_with_their_label(cluster: Cluster) -> None:
    show(cluster, PODS, None, pod(1, **{"sekisho.dev/service": "chat"}))
    assert len(cluster.pods_of("a", "chat")) == 1
    show(cluster, PODS, "MODIFIED", pod(2, **{"sekisho.dev/service": "other"}))
    assert (len(cluster.pods_of("a", "chat")), len(cluster.pods_of("a", "other"))) == (0, 1)
    show(cluster, PODS, "DELETED", pod(3, **{"sekisho.dev/service": "other"}))
    assert cluster.pods_of("a", "other") == ()


def test_a_pod_of_others_is_counted_and_nothing_else_of_it_is_kept(cluster: Cluster) -> None:
    show(cluster, NODES, None, node(1))
    show(cluster, PODS, None, pod(2))
    kept = cluster.stores[PODS].get(("a", "p1"))
    assert kept is not None
    assert set(kept) == {"metadata", "usage"}
    snapshot = cluster.snapshot()
    assert snapshot.free[1].tolist() == [3000]
    assert snapshot.free[2].tolist() == [1024]


def test_what_no_node_has_can_be_claimed_and_ends_nobodys_work(cluster: Cluster) -> None:
    # The API server takes such a pod from whoever may create pods, and a kubelet says what it likes of its node.
    show(cluster, NODES, None, node(1))
    for number in range(3):
        greedy = pod(number + 2)
        greedy["metadata"]["name"] = f"p{number}"
        greedy["spec"]["containers"][0]["resources"]["requests"] = {"cpu": "9223P", "memory": "9223P"}
        show(cluster, PODS, None, greedy)
    snapshot = cluster.snapshot()
    assert snapshot.free[1:3].tolist() == [[3500 - 3 * MOST_AMOUNT], [2048 - 3 * MOST_AMOUNT]]
    boasting = node(9)
    boasting["status"]["allocatable"] = dict.fromkeys(("cpu", "memory", "pods", "nvidia.com/gpu"), "9223P")
    show(cluster, NODES, "MODIFIED", boasting)
    assert cluster.snapshot().allocatable.max() == MOST_AMOUNT


def test_a_pod_event_does_not_read_the_nodes_again(cluster: Cluster) -> None:
    show(cluster, NODES, None, node(1))
    first = cluster.snapshot()
    show(cluster, PODS, None, pod(2))
    assert cluster.snapshot() is first  # usage may lag a little
    cluster._snapshot_at = float("-inf")
    assert cluster.snapshot().nodes is first.nodes
    show(cluster, NODES, "MODIFIED", node(3, ready="False"))
    assert cluster.snapshot().ready.tolist() == [False]  # nodes may not


@pytest.mark.parametrize(("phase", "node_name"), [("Succeeded", "n1"), ("Failed", "n1"), ("Pending", "")])
def test_a_finished_or_unbound_pod_uses_nothing(phase: str, node_name: str) -> None:
    assert project_usage(pod(1, phase=phase, node_name=node_name)) is None


@pytest.mark.parametrize(("cpu", "memory"), [("2e0", "1e9"), ("2.", "1E9"), ("2000000u", "1000000000000000000n")])
def test_a_pod_uses_as_much_however_the_api_server_spells_it(cpu: str, memory: str) -> None:
    usages = []
    for requests in ({"cpu": cpu, "memory": memory}, {"cpu": "2", "memory": "1G"}):
        raw = pod(1)
        raw["spec"]["containers"][0]["resources"]["requests"] = requests
        usages.append(project_usage(raw))
    assert usages[0] == usages[1]
    assert usages[0] is not None
    assert usages[0].cpu_millis == 2000


def test_a_pod_uses_what_the_scheduler_counts() -> None:
    def asks(cpu: str, **more: Any) -> dict[str, Any]:
        return {"resources": {"requests": {"cpu": cpu, "memory": "100Mi"}}, **more}

    raw = pod(1)
    raw["spec"] = {
        "nodeName": "n1",
        "containers": [asks("1"), asks("250m")],
        "initContainers": [asks("3"), asks("100m", restartPolicy="Always")],
        "overhead": {"cpu": "50m", "memory": "1Mi"},
    }
    usage = project_usage(raw)
    assert usage is not None
    assert (usage.cpu_millis, usage.memory_mib) == (3050, 301)


def test_a_node_that_says_nonsense_offers_nothing() -> None:
    raw = node(1)
    raw["status"] = {"allocatable": {"cpu": "a lot", "memory": "-1"}}
    facts = project_node(raw)
    assert (facts.cpu_millis, facts.memory_mib, facts.pods, facts.ready) == (0, 0, 0, False)


def test_the_depots_address_is_remembered_over_its_restart(cluster: Cluster) -> None:
    labels = {"app.kubernetes.io/name": "sekisho", "app.kubernetes.io/component": "depot"}
    raw = pod(1, **labels)
    assert cluster.depot_pod_ip("a") == ""
    show(cluster, PODS, None, {**raw, "status": {"phase": "Running", "podIP": "10.1.0.9"}})
    assert cluster.depot_pod_ip("a") == "10.1.0.9"
    show(cluster, PODS, "DELETED", pod(2, **labels))
    assert cluster.depot_pod_ip("a") == "10.1.0.9"


def test_a_new_time_of_a_proof_is_no_news_and_still_reaches_the_world(cluster: Cluster) -> None:
    def proven(version: int, at: str) -> dict[str, Any]:
        shown = pod(version, **{SERVICE_LABEL: "review"})
        shown["status"]["conditions"] = [{"type": "sekisho.dev/isolated", "status": "True", "lastProbeTime": at}]
        return shown

    assert show(cluster, PODS, None, proven(1, "2026-01-01T00:00:00Z")) is not None
    assert show(cluster, PODS, "MODIFIED", proven(2, "2026-01-01T00:05:00Z")) is None
    (seen,) = cluster.pods_of("a", "review")
    assert seen["status"]["conditions"][0]["lastProbeTime"] == "2026-01-01T00:05:00Z"
    assert show(cluster, PODS, "DELETED", proven(3, "2026-01-01T00:05:00Z")) is not None
    assert cluster.pods_of("a", "review") == ()


def test_when_a_version_came_is_remembered_as_long_as_it_is_kept(cluster: Cluster) -> None:
    store, name = cluster.stores[DEPLOYMENTS], ("a", "d")
    before = time.monotonic()
    show(cluster, DEPLOYMENTS, "ADDED", obj("d", 2))
    taken_at = store.taken_at(name)
    assert before <= taken_at <= time.monotonic()
    show(cluster, DEPLOYMENTS, "MODIFIED", obj("d", 1))
    assert store.taken_at(name) == taken_at
    show(cluster, DEPLOYMENTS, "MODIFIED", obj("d", 3))
    assert store.taken_at(name) >= taken_at
    show(cluster, DEPLOYMENTS, "DELETED", obj("d", 4))
    gone_at = time.monotonic()
    assert store.taken_at(name) >= gone_at
    show(cluster, DEPLOYMENTS, "ADDED", obj("d", 5))
    store.reconcile_names({}, at_version=9)
    assert store.taken_at(name) >= gone_at


def test_what_a_watch_has_reached_counts_as_shown_and_never_goes_back(cluster: Cluster) -> None:
    store = cluster.stores[PODS]
    store.reach(7)
    store.reach(5)
    assert store.shown_version == 7


def test_of_a_pods_spec_nothing_is_kept_but_where_it_is_and_what_was_added_to_it() -> None:
    spec = {"nodeName": "n", "containers": [{"name": "engine"}], "volumes": [{"name": "tmp"}]}
    raw = {"metadata": {"name": "p"}, "spec": spec, "status": {}}
    assert project_pod(raw)["spec"] == {"nodeName": "n"}
    spec["volumes"] = [{"name": "tmp"}, {"name": "vault"}]
    (kept,) = read_pods([project_pod(raw)])
    assert kept.additions == ("volume vault (spec.volumes)",)
