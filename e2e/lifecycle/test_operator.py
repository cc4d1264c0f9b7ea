"""What models feel of the operator's own life: nothing, whether it restarts, is upgraded, killed or removed."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e.calls import ask, gateway_open, make_token
from e2e.cluster.errors import ClusterError
from e2e.cluster.provider import Cluster
from e2e.installation import NAMESPACE, Image, Installation, build_images
from e2e.lifecycle.conftest import SERVICES, small_spec, wait_gateway
from e2e.observe import (
    ask_engine,
    find_pod,
    kill_process,
    list_labelled,
    lives_of,
    pods_of,
    read_all,
    read_numbers,
    tell_story,
    wait_for,
    writes_of_controller,
)
from e2e.quickstart import Quickstart
from e2e.repacking import repack

Lives = dict[str, tuple[str, dict[str, int]]]


@pytest.fixture
def upgraded(examples: Installation) -> Iterator[Installation]:
    """An installation that a test may change; afterwards it is as it was."""
    images = dict(examples.images)
    yield examples
    examples.images = images
    examples.upgrade(examples.values)


def lives(installation: Installation) -> Lives:
    """Return uid and restarts of the pods of the quickstart's services."""
    found: Lives = {}
    for namespace, name in SERVICES:
        found |= lives_of(pods_of(installation.cluster, name, namespace=namespace))
    assert len(found) == len(SERVICES)
    return found


def assert_untouched(installation: Installation, before: Lives) -> None:
    """Fail if a pod is another one or a container was restarted, showing what its events and its agent say."""
    if lives(installation) != before:
        told = [tell_story(installation.cluster, name, namespace=namespace) for namespace, name in SERVICES]
        pytest.fail("\n".join([f"before: {before}", f"after: {lives(installation)}", *told]))


def test_a_restart_with_nothing_changed_writes_nothing(examples: Installation) -> None:
    cluster = examples.cluster
    wait_for(lambda: not _ending_namespaces(cluster), "what other tests left is gone: it would be a change")
    settle(cluster)
    old, mark = find_pod(cluster, "controller"), cluster.audit.mark()
    cluster.kubectl("delete", "pod", old, "-n", NAMESPACE)
    new = wait_for(lambda: _successor(cluster, old), "another controller leads")
    wait_for(lambda: _is_idle(cluster, new), "it has looked at everything")
    time.sleep(3)
    assert [(write.verb, write.resource, write.name) for write in writes_of_controller(cluster, mark)] == []


def test_an_upgrade_with_other_values_touches_no_running_pod(upgraded: Installation) -> None:
    before = lives(upgraded)
    upgraded.upgrade({**upgraded.values, "controller": {"logLevel": "DEBUG"}, "depot": {
        **upgraded.values["depot"], "logLevel": "DEBUG"}})  # fmt: skip
    settle(upgraded.cluster)
    assert_untouched(upgraded, before)


def test_an_upgrade_to_another_agent_touches_no_running_pod_and_new_pods_have_it(
    upgraded: Installation, quickstart: Quickstart, namespace: str, tmp_path: Path
) -> None:
    before, cluster = lives(upgraded), upgraded.cluster
    old = upgraded.images["agent"]
    archive = tmp_path / "agent.tar"
    repack(build_images(["agent"])["agent"], archive)
    new = Image(old.repository, cluster.load_image(archive, name=f"{old.repository}:other").partition("@")[2])
    assert new.digest != old.digest
    upgraded.images["agent"] = new
    upgraded.upgrade(upgraded.values)
    settle(cluster)
    assert_untouched(upgraded, before)

    quickstart.serve("newcomer", namespace=namespace, spec=small_spec(quickstart))
    upgraded.wait_condition("newcomer", "Ready", "True", namespace=namespace)
    (pod,) = pods_of(cluster, "newcomer", namespace=namespace)
    assert {item["image"] for item in pod["spec"]["initContainers"]} == {new.reference}
    assert_untouched(upgraded, before)


def test_a_controller_killed_while_it_works_ends_where_it_would_have(
    quickstart: Quickstart, installation: Installation, namespace: str
) -> None:
    cluster = installation.cluster
    names = ("first", "second", "third")
    for index, name in enumerate(names):
        quickstart.serve(name, namespace=namespace, spec=small_spec(quickstart))
        if index < 2:  # a third kill would only wait for the kubelet's back-off
            kill_controller(cluster)
    for name in names:
        installation.wait_condition(name, "Ready", "True", namespace=namespace)
    kinds = [sorted(item.partition("/")[0] for item in list_labelled(cluster, n, namespace=namespace)) for n in names]
    assert kinds[0] == kinds[1] == kinds[2]
    assert all(len(pods_of(cluster, name, namespace=namespace)) == 1 for name in names)
    events = read_all(cluster, "events", namespace=namespace, fields="involvedObject.kind=InferenceService")
    told = [(item["involvedObject"]["name"], item["reason"], item.get("message")) for item in events]
    assert len(told) == len(set(told)), "a transition was announced twice"


def test_models_serve_and_stay_isolated_without_the_operator_and_are_adopted_by_a_new_one(
    examples: Installation,
) -> None:
    cluster, before = examples.cluster, lives(examples)
    address = examples.get("service", "sekisho-depot", namespace=NAMESPACE)["spec"]["clusterIP"]
    policies = {namespace: _policies(cluster, namespace) for namespace, _ in SERVICES}
    token = make_token(cluster, namespace="legal", account="reviewer")
    examples.uninstall()
    try:
        wait_for(lambda: not read_all(cluster, "pods", namespace=NAMESPACE), "nothing of the operator runs")
        time.sleep(5)
        for namespace, name in SERVICES:
            (pod,) = pods_of(cluster, name, namespace=namespace)
            assert all(state["ready"] for state in pod["status"]["containerStatuses"])
            assert ask_engine(cluster, pod["metadata"]["name"], namespace=namespace)
            assert _policies(cluster, namespace) == policies[namespace]
            with cluster.count_packets("internet") as counter:
                inside = cluster.pod_place(namespace, pod["metadata"]["name"])
                inside.run("/bin/busybox", "nc", "-w", "1", cluster.internet.address, "80", check=False)
                inside.run("/bin/busybox", "ping", "-c", "1", "-W", "1", cluster.internet.address, check=False)
                assert counter.packets(source=pod["status"]["podIP"]) == 0
        assert_untouched(examples, before)
        mark = cluster.audit.mark()
    finally:
        examples.upgrade(examples.values)
    for namespace, name in SERVICES:
        examples.wait_condition(name, "Ready", "True", namespace=namespace)
    # The fence of a running pod lets it reach the depot at one address: the new depot must have it, and hear the pods.
    assert examples.get("service", "sekisho-depot", namespace=NAMESPACE)["spec"]["clusterIP"] == address
    wait_for(
        lambda: sum(read_numbers(cluster, "sekisho-depot-0", "sekisho_depot_proofs").values()) >= len(SERVICES),
        "the running pods prove to the new depot",
    )
    settle(cluster)
    assert_untouched(examples, before)
    deployments = [w for w in writes_of_controller(cluster, mark) if w.resource == "deployments.apps"]
    assert deployments == []
    wait_gateway(examples)
    with gateway_open(cluster) as address:
        answer = ask(address, token, model="legal/contract-review", question="Are you still there?")
    assert answer
    assert not answer.startswith(("4", "5")), answer


def settle(cluster: Cluster) -> None:
    """Wait until the controller has nothing left to do."""
    wait_for(lambda: _is_idle(cluster, find_pod(cluster, "controller")), "the controller is idle")
    time.sleep(2)


def kill_controller(cluster: Cluster) -> None:
    """Kill the controller's process as the kernel would, in the middle of whatever it does."""
    wait_for(lambda: _kill(cluster), "a controller runs and is killed")


def _kill(cluster: Cluster) -> bool:
    pod = _running_controller(cluster)
    if pod is None:
        return False
    try:
        kill_process(cluster, pod)
    except ClusterError:  # the kubelet has not told yet that this one is gone
        return False
    return True


def _policies(cluster: Cluster, namespace: str) -> list[Any]:
    return [item["spec"] for item in read_all(cluster, "networkpolicies", namespace=namespace)]


def _ending_namespaces(cluster: Cluster) -> list[str]:
    items = read_all(cluster, "namespaces")
    return [item["metadata"]["name"] for item in items if item["status"]["phase"] == "Terminating"]


def _running_controller(cluster: Cluster) -> dict[str, Any] | None:
    pods = read_all(cluster, "pods", namespace=NAMESPACE, labels="app.kubernetes.io/component=controller")
    running = (
        pod
        for pod in pods
        if any("running" in state["state"] for state in pod["status"].get("containerStatuses", []))
        and not pod["metadata"].get("deletionTimestamp")
    )
    return next(running, None)


def _successor(cluster: Cluster, old: str) -> str:
    pod = _running_controller(cluster)
    if pod is None or pod["metadata"]["name"] == old:
        return ""
    ready = any(item["type"] == "Ready" and item["status"] == "True" for item in pod["status"]["conditions"])
    return str(pod["metadata"]["name"]) if ready else ""


def _is_idle(cluster: Cluster, pod: str) -> bool:
    try:
        leads = sum(read_numbers(cluster, pod, "sekisho_leader").values()) == 1
        looked = sum(read_numbers(cluster, pod, "sekisho_reconciles").values()) >= len(SERVICES)
        return leads and looked and sum(read_numbers(cluster, pod, "sekisho_queue_depth").values()) == 0
    except ClusterError:  # it does not listen yet, or ends: another one is found at the next look
        return False
