"""The cluster itself: what later tests lean on works, and what they prove closed was open before."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from e2e.cluster.build import binaries_dir
from e2e.cluster.errors import ClusterError
from e2e.cluster.images import TOOLS_IMAGE
from e2e.cluster.local import LocalCluster
from e2e.cluster.oci import ImageContent, write_archive
from e2e.cluster.patience import PATIENCE_SECONDS, TIMEOUT
from e2e.cluster.processes import poll
from e2e.cluster.provider import Cluster

RunPod = Callable[..., dict[str, Any]]


@pytest.fixture
def run_pod(cluster: Cluster, namespace: str) -> RunPod:
    """Start a pod of the tools image and return it once it is Ready and its `port`, if it has one, answers."""

    def run(name: str, *arguments: str, node: str = "", port: int = 0, **spec: object) -> dict[str, Any]:
        container = {"name": "tools", "image": TOOLS_IMAGE, "args": list(arguments), **spec}
        if port:
            container["readinessProbe"] = {"tcpSocket": {"port": port}, "periodSeconds": 1}
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
            "spec": {
                "containers": [container],
                "terminationGracePeriodSeconds": 0,
                "nodeSelector": {"kubernetes.io/hostname": node} if node else {},
            },
        }
        cluster.kubectl("create", "-f", "-", stdin=json.dumps(pod))
        cluster.kubectl("-n", namespace, "wait", "--for=condition=Ready", f"pod/{name}", TIMEOUT)
        found: dict[str, Any] = json.loads(cluster.kubectl("-n", namespace, "get", "pod", name, "-o", "json"))
        return found

    return run


def probe(cluster: Cluster, namespace: str, pod: str, *arguments: str) -> Mapping[str, Any]:
    """Run a measuring command of `probe` in a pod."""
    output = cluster.kubectl("-n", namespace, "exec", pod, "--", "probe", *arguments, check=False)
    result: Mapping[str, Any] = json.loads(output.strip().splitlines()[-1])
    return result


DENY_EGRESS = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {"name": "deny-egress"},
    "spec": {"podSelector": {}, "policyTypes": ["Egress"]},
}


def test_pods_of_both_nodes_reach_a_service_by_its_name(cluster: Cluster, namespace: str, run_pod: RunPod) -> None:
    first, second = (node.name for node in cluster.nodes)
    run_pod("web", "serve", "-http", ":8080", "-text", "here", node=first, port=8080)
    cluster.kubectl("-n", namespace, "expose", "pod", "web", "--port=80", "--target-port=8080")
    run_pod("client", node=second)
    url = f"http://web.{namespace}.svc.cluster.local/"
    answers: list[str] = []

    def answered() -> bool:
        answers.append(cluster.kubectl("-n", namespace, "exec", "client", "--", "probe", "get", url, check=False))
        return answers[-1].startswith("200 here web ")

    assert poll(answered, seconds=PATIENCE_SECONDS), answers[-1]
    assert "GET / from" in cluster.kubectl("-n", namespace, "logs", "web")


def test_a_failing_readiness_probe_keeps_a_pod_unready(cluster: Cluster, namespace: str, run_pod: RunPod) -> None:
    ready = {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1}
    run_pod("good", "serve", "-http", ":8080", readinessProbe=ready)
    never = {"tcpSocket": {"port": 8081}, "periodSeconds": 1}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "bad", "namespace": namespace},
        "spec": {
            "containers": [{"name": "c", "image": TOOLS_IMAGE, "readinessProbe": never}],
            "terminationGracePeriodSeconds": 0,
        },
    }
    cluster.kubectl("create", "-f", "-", stdin=json.dumps(pod))
    with pytest.raises(ClusterError, match="timed out waiting"):
        cluster.kubectl("-n", namespace, "wait", "--for=condition=Ready", "pod/bad", "--timeout=5s")


def test_the_outside_answers_and_counts_every_packet_of_a_pod(
    cluster: Cluster, namespace: str, run_pod: RunPod
) -> None:
    source = run_pod("client")["status"]["podIP"]
    outside = cluster.internet.address
    with cluster.count_packets("internet") as counter:
        assert probe(cluster, namespace, "client", "tcp", f"{outside}:80")["ok"] == 1
        assert probe(cluster, namespace, "client", "icmp", outside)["ok"] == 1
        # Now, because an echo that comes after the probe has ended is answered by an ICMP error.
        assert counter.counts()[source, "icmp"] == 1
        assert probe(cluster, namespace, "client", "udp", "-for", "1s", f"{outside}:9999")["ok"] > 0
        counts = counter.counts()
    assert counts[source, "tcp"] >= 3
    assert counts[source, "udp"] > 1
    assert cluster.internet.counts()[source, "tcp"] >= counts[source, "tcp"]


@pytest.mark.parametrize("where", ["internet", "metadata", "api-server", "own-node", "other-node", "pod", "dns"])
def test_a_policy_that_denies_egress_stops_tcp_and_udp_on_the_way_to(
    cluster: Cluster, namespace: str, run_pod: RunPod, where: str
) -> None:
    own, other = cluster.nodes
    target = run_pod("target", "serve", "-tcp-echo", ":80", "-udp-echo", ":9999", node=other.name, port=80)
    source = run_pod("client", node=own.name)["status"]["podIP"]
    destination, address, port = {
        "internet": ("internet", cluster.internet.address, 80),
        "metadata": ("metadata", cluster.internet.metadata_address, 80),
        "api-server": ("api-server", api_server_address(cluster), 6443),
        "dns": ("dns", dns_pod_address(cluster), 53),
        "own-node": (own.name, own.address, 10250),
        "other-node": (other.name, other.address, 10250),
        "pod": (f"{namespace}/target", target["status"]["podIP"], 80),
    }[where]
    with cluster.count_packets(destination) as counter:

        def is_reached() -> bool:
            # A node that has just come back is found by its neighbours some seconds after its pods are ready.
            return bool(probe(cluster, namespace, "client", "tcp", "-timeout", "1s", f"{address}:{port}")["ok"] == 1)

        assert poll(is_reached, seconds=PATIENCE_SECONDS)
        assert counter.packets(source) > 0
        cluster.kubectl("-n", namespace, "apply", "-f", "-", stdin=json.dumps(DENY_EGRESS))

        def is_stopped() -> bool:
            # That nothing comes back in time says little on a busy machine: nothing may have arrived either.
            counter.reset()
            tried = probe(cluster, namespace, "client", "tcp", "-timeout", "1s", f"{address}:{port}")
            return tried["ok"] == 0 and counter.packets(source) == 0

        assert poll(is_stopped, seconds=PATIENCE_SECONDS)
        counter.reset()
        assert probe(cluster, namespace, "client", "tcp", "-timeout", "500ms", f"{address}:{port}")["ok"] == 0
        probe(cluster, namespace, "client", "udp", "-for", "100ms", f"{address}:9999")
        assert counter.packets(source) == 0


def api_server_address(cluster: Cluster) -> str:
    endpoints = json.loads(cluster.kubectl("get", "endpointslice", "kubernetes", "-o", "json"))
    address: str = endpoints["endpoints"][0]["addresses"][0]
    return address


def dns_pod_address(cluster: Cluster) -> str:
    return cluster.kubectl(
        "-n", "kube-system", "get", "pod", "-l", "k8s-app=kube-dns", "-o", "jsonpath={.items[0].status.podIP}"
    )


def test_an_image_is_found_by_tag_and_by_digest(cluster: Cluster, namespace: str, own_archive: Any) -> None:
    reference = cluster.load_image(own_archive)
    assert reference.startswith("sekisho.test/own@sha256:")
    for number, image in enumerate((reference, "sekisho.test/own:2")):
        cluster.kubectl("-n", namespace, "run", f"own-{number}", f"--image={image}", "--image-pull-policy=IfNotPresent")
        cluster.kubectl("-n", namespace, "wait", "--for=condition=Ready", f"pod/own-{number}", TIMEOUT)


@pytest.fixture
def own_archive(cluster: Cluster, tmp_path: Any) -> Any:
    archive = tmp_path / "own.tar"
    write_archive(
        archive, "sekisho.test/own:2", ImageContent(["/bin/probe"], {"bin/probe": binaries_dir() / "probe"}, {})
    )
    return archive


def test_a_runtime_class_with_a_handler_of_the_node_starts_a_pod(cluster: Cluster, namespace: str) -> None:
    overrides = json.dumps({"spec": {"runtimeClassName": "kata-qemu-snp", "terminationGracePeriodSeconds": 0}})
    cluster.kubectl("-n", namespace, "run", "snp", f"--image={TOOLS_IMAGE}", f"--overrides={overrides}")
    cluster.kubectl("-n", namespace, "wait", "--for=condition=Ready", "pod/snp", TIMEOUT)


def test_simulated_nodes_run_pods_and_real_nodes_stay_real(cluster: Cluster, namespace: str) -> None:
    names = cluster.add_simulated_nodes(
        20, labels={"pool": namespace}, allocatable={"nvidia.com/gpu": "8"}, name_prefix=namespace
    )
    assert len(names) == 20
    spec = {
        "nodeSelector": {"pool": namespace},
        "tolerations": [{"key": "kwok.x-k8s.io/node", "operator": "Exists"}],
        "terminationGracePeriodSeconds": 0,
        "containers": [{"name": "c", "image": "nothing.invalid/x", "resources": {"limits": {"nvidia.com/gpu": "8"}}}],
    }
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "gpu", "namespace": namespace}, "spec": spec}
    cluster.kubectl("create", "-f", "-", stdin=json.dumps(pod))
    cluster.kubectl("-n", namespace, "wait", "--for=jsonpath={.status.phase}=Running", "pod/gpu", TIMEOUT)
    for node in cluster.nodes:
        cluster.kubectl("wait", "--for=condition=Ready", f"node/{node.name}", TIMEOUT)
    cluster.kubectl("delete", "node", "-l", f"pool={namespace}", "--wait=false")


def test_a_node_that_lost_its_power_comes_back_with_its_pods(cluster: Cluster, namespace: str, run_pod: RunPod) -> None:
    if not isinstance(cluster, LocalCluster):
        pytest.skip("only the local provider can cut a node's power")
    last = cluster.nodes[-1].name
    run_pod("web", "serve", "-http", ":8080", node=last, port=8080)
    cluster.stop_node(last)
    lost = ("--for=jsonpath={.status.conditions[?(@.type=='Ready')].status}=Unknown", f"node/{last}")
    cluster.kubectl("wait", *lost, TIMEOUT)
    cluster.start_node(last)
    restarted = "--for=jsonpath={.status.containerStatuses[0].restartCount}=1"
    cluster.kubectl("-n", namespace, "wait", restarted, "pod/web", TIMEOUT)
    cluster.kubectl("-n", namespace, "wait", "--for=condition=Ready", "pod/web", TIMEOUT)
    assert '"ok":1' in cluster.kubectl("-n", namespace, "exec", "web", "--", "probe", "tcp", "127.0.0.1:8080")
