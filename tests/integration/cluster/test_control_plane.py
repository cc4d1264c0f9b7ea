"""The control plane alone: ready in seconds, complete, and gone without a trace."""

import json
from typing import Any

import pytest

from e2e.cluster import netns, state
from e2e.cluster.errors import ClusterError
from e2e.cluster.local import LocalCluster
from e2e.cluster.patience import TIMEOUT
from e2e.cluster.provider import Options
from e2e.cluster.reading import reader_of
from e2e.cluster.writing import JSON, writer_of


def test_the_api_server_is_ready_and_says_its_version(control_plane: LocalCluster) -> None:
    assert control_plane.kubectl("get", "--raw", "/readyz") == "ok"
    assert json.loads(control_plane.kubectl("get", "--raw", "/version"))["gitVersion"] == "v1.36.3"


def test_controllers_work_in_a_fresh_namespace(control_plane: LocalCluster, namespace: str) -> None:
    control_plane.kubectl("-n", namespace, "create", "deployment", "idle", "--image=nothing.invalid/x")
    control_plane.kubectl("-n", namespace, "wait", "--for=create", "pod", "-l", "app=idle", TIMEOUT)
    condition = "--for=jsonpath={.status.conditions[?(@.type=='PodScheduled')].reason}=Unschedulable"
    control_plane.kubectl("-n", namespace, "wait", condition, "pod", "-l", "app=idle", TIMEOUT)


def test_the_audit_log_counts_each_request_of_a_user_once(control_plane: LocalCluster, namespace: str) -> None:
    user, mark = f"system:serviceaccount:{namespace}:tester", control_plane.audit.mark()
    control_plane.kubectl("-n", namespace, "create", "rolebinding", "t", "--clusterrole=edit", f"--user={user}")
    for _ in range(3):
        control_plane.kubectl(f"--as={user}", "-n", namespace, "get", "configmaps")
    control_plane.kubectl("-n", namespace, "create", "configmap", "one")
    control_plane.kubectl("-n", namespace, "create", "configmap", "two", "--dry-run=server")
    created = [r for r in control_plane.audit.requests(mark) if r.verb == "create" and r.namespace == namespace]
    assert {r.name for r in created if r.resource == "configmaps" and r.is_write} >= {"one"}
    assert not [r for r in created if r.name == "two" and r.is_write]


def test_what_is_read_is_what_kubectl_shows(control_plane: LocalCluster, namespace: str) -> None:
    reader, scope = reader_of(control_plane.kubeconfig), ("-n", namespace, "-o", "json")
    with pytest.raises(ClusterError, match="the API serves no unheardof"):
        reader.get("unheardof", "one")
    assert reader.get("configmap", "one", namespace=namespace) is None
    assert reader.list("configmaps", namespace=namespace, labels="a=1") == []
    for name, label in (("one", "a=1"), ("two", "a=1"), ("three", "a=2")):
        control_plane.kubectl("create", "configmap", name, "-n", namespace, f"--from-literal=name={name}")
        control_plane.kubectl("label", "configmap", name, "-n", namespace, label)
    assert reader.get("cm", "one", namespace=namespace) == json.loads(control_plane.kubectl("get", "cm", "one", *scope))
    shown = json.loads(control_plane.kubectl("get", "cm", "-l", "a=1", *scope))["items"]
    assert reader.list("configmaps", namespace=namespace, labels="a=1") == shown
    assert [item["metadata"]["name"] for item in shown] == ["one", "two"]
    (found,) = reader.list("configmaps", namespace=namespace, fields="metadata.name=three")
    assert (found["kind"], found["data"]) == ("ConfigMap", {"name": "three"})
    assert reader.get("namespace", namespace) == json.loads(
        control_plane.kubectl("get", "namespace", namespace, "-o", "json")
    )


def test_what_is_written_is_what_kubectl_would_write(control_plane: LocalCluster, namespace: str) -> None:
    writer = writer_of(control_plane.kubeconfig)

    def one(**data: Any) -> dict[str, Any]:
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one", "namespace": namespace}, **data}

    def shown() -> dict[str, Any]:
        found: dict[str, Any] = json.loads(control_plane.kubectl("get", "cm", "one", "-n", namespace, "-o", "json"))
        return found

    with pytest.raises(ClusterError, match="field not declared in schema"):
        writer.apply(one(date="x"))
    with pytest.raises(ClusterError, match="404"):
        writer.patch("cm", "one", {"data": {"a": "1"}}, namespace=namespace)
    writer.delete("cm", "one", namespace=namespace)  # there is none: that is no error
    writer.apply(one(data={"a": "1", "b": "2"}))
    writer.apply(one(data={"b": "3"}))
    assert shown()["data"] == {"b": "3"}
    writer.patch("cm", "one", {"data": {"c": "4"}}, namespace=namespace)
    writer.patch("cm", "one", [{"op": "remove", "path": "/data/b"}], namespace=namespace, how=JSON)
    assert shown()["data"] == {"c": "4"}
    writer.patch("cm", "one", {"metadata": {"finalizers": ["tests.example/hold"]}}, namespace=namespace)
    writer.delete("cm", "one", namespace=namespace, wait=False)
    assert "deletionTimestamp" in shown()["metadata"]
    writer.patch("cm", "one", {"metadata": {"finalizers": None}}, namespace=namespace)
    writer.apply(one(data={"d": "5"}))
    writer.delete("cm", "one", namespace=namespace)
    assert writer.get("cm", "one", namespace=namespace) is None
    writer.apply(one(data={"e": "6"}))
    writer.delete_all("configmaps", namespace=namespace)
    assert writer.get("cm", "one", namespace=namespace) is None


def test_helm_installs_and_removes_a_release(control_plane: LocalCluster) -> None:
    assert json.loads(control_plane.helm("list", "--all-namespaces", "--output", "json")) == []


def test_a_start_removes_what_a_crashed_run_of_the_same_name_left() -> None:
    options = Options(name="it-crashed", control_plane_only=True)
    crashed = LocalCluster(options)
    crashed.start()
    old = set(netns.NetworkNamespace(crashed.addressing.control_plane_netns).pids())
    with LocalCluster(options) as fresh:
        now = set(netns.NetworkNamespace(fresh.addressing.control_plane_netns).pids())
        assert old
        assert now
        assert not old & now
    assert state.Record.read("it-crashed") is None


def test_a_port_in_use_is_refused_with_its_number_and_the_remedy(control_plane: LocalCluster) -> None:
    taken = control_plane.record.api_port
    with pytest.raises(ClusterError) as refusal:
        LocalCluster(Options(name="it-port", control_plane_only=True, api_port=taken)).start()
    assert f"port {taken} of 127.0.0.1" in refusal.value.problem
    assert "--port" in refusal.value.remedy
    assert state.Record.read("it-port") is None


def test_a_command_on_a_cluster_that_does_not_run_says_how_to_start_it() -> None:
    with pytest.raises(ClusterError) as refusal:
        LocalCluster(Options(name="it-absent")).kubectl("get", "nodes")
    assert refusal.value.problem == "cluster it-absent does not run"
    assert refusal.value.remedy == "python -m e2e.cluster up --name it-absent"


def test_a_cluster_that_is_to_stay_is_not_replaced_and_holds_what_it_held_when_its_api_server_crashed() -> None:
    staying = LocalCluster(Options(name="it-stays", control_plane_only=True, keep=True))
    staying.start()
    try:
        with pytest.raises(ClusterError) as refusal:
            LocalCluster(Options(name="it-stays", control_plane_only=True)).start()
        assert refusal.value.problem == "a cluster called it-stays runs already and is to stay"
        assert "down --name it-stays" in refusal.value.remedy
        assert staying.is_running()

        staying.kubectl("create", "namespace", "kept")
        assert reader_of(staying.kubeconfig).get("namespace", "kept")
        staying.control_plane.kill("apiserver")
        assert not staying.is_running()
        with pytest.raises(ClusterError, match="the API does not answer GET"):
            reader_of(staying.kubeconfig).get("namespace", "kept")
        staying.control_plane.start_api_server()
        assert reader_of(staying.kubeconfig).get("namespace", "kept")
    finally:
        staying.stop()
    assert not staying.is_running()
