"""The gateway is the only way into a model's pod."""

import json
from collections.abc import Sequence

import pytest

from e2e.cluster.build import binaries_dir
from e2e.cluster.counters import Hook, PacketCounter
from e2e.cluster.netns import Place
from e2e.cluster.patience import TIMEOUT
from e2e.installation import NAMESPACE
from e2e.isolation.attack import attack_from
from e2e.isolation.scene import Pod, Scene, answered, render_tools_pod
from e2e.isolation.targets import Target

ENGINE_PORT, AGENT_PORT = 8080, 8181


def count_at(scene: Scene, pod: Pod, hook: Hook) -> PacketCounter:
    """Count at a pod what arrives (`prerouting`), or what its own rules then let in (`input`)."""
    return PacketCounter(scene.within(pod), [pod["status"]["podIP"]], name=f"way_{hook}", hook=hook)


def connect(place: Place, address: str, port: int) -> bool:
    """Tell whether a connection from there is accepted."""
    probe = str(binaries_dir() / "probe")
    output = place.run(probe, "tcp", "-timeout", "2s", f"{address}:{port}", check=False)
    return bool(json.loads(output.splitlines()[-1])["ok"])


def ways_in(address: str) -> Sequence[Target]:
    return [Target("engine", address, ENGINE_PORT, ENGINE_PORT), Target("agent", address, AGENT_PORT, AGENT_PORT)]


@pytest.fixture
def neighbour(scene: Scene, models: str, pod: Pod) -> str:
    """The address of a plain pod in the model's own namespace, on the model's own node."""
    node = pod["spec"]["nodeName"]
    manifest = render_tools_pod("neighbour", namespace=models, args=["pause"], node=node)
    scene.cluster.kubectl("apply", "-f", "-", stdin=manifest)
    scene.cluster.kubectl("wait", "--for=condition=Ready", "pod/neighbour", "-n", models, TIMEOUT)
    return scene.address("neighbour", namespace=models)


def test_pods_of_any_namespace_and_node_do_not_come_in_and_the_gateway_does(
    scene: Scene, models: str, pod: Pod, neighbour: str
) -> None:
    intruders = [(models, "neighbour"), *((scene.namespace, f"control-{node.name}") for node in scene.cluster.nodes)]
    address, strangers = pod["status"]["podIP"], ways_in(scene.address("stranger"))
    sources = [neighbour, *(scene.address(name) for _, name in intruders[1:])]
    with count_at(scene, pod, "prerouting") as arrived, count_at(scene, pod, "input") as entered:
        for namespace, name in intruders:
            attempts = attack_from(scene.cluster, namespace, name, targets=ways_in(address))
            assert answered(attempts) == []
            control = attack_from(scene.cluster, namespace, name, targets=strangers)
            assert {item.protocol for item in answered(control)} >= {"tcp", "icmp"}
        assert {key: n for key, n in entered.counts().items() if key[0] in sources} == {}
        # echo requests pass the network's policy and are dropped by the fence; all else does not even arrive
        assert {protocol for source, protocol in arrived.counts() if source in sources} <= {"icmp"}
        gateway = scene.cluster.pod_place(NAMESPACE, "sekisho-gateway-0")
        assert connect(gateway, address, ENGINE_PORT)
        assert not connect(gateway, address, AGENT_PORT)
        assert entered.counts()[scene.address("sekisho-gateway-0", namespace=NAMESPACE), "tcp"] > 0


def test_processes_of_sekisho_other_than_the_gateway_do_not_come_in(scene: Scene, pod: Pod) -> None:
    address = pod["status"]["podIP"]
    depot = scene.cluster.pod_place(NAMESPACE, "sekisho-depot-0")
    assert not connect(depot, address, ENGINE_PORT)
    assert not connect(depot, address, AGENT_PORT)
    assert connect(scene.cluster.pod_place(NAMESPACE, "sekisho-gateway-0"), address, ENGINE_PORT)
