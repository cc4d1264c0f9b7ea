"""What the fence adds to the network's own policy: measured side by side, and what holds where it is turned off."""

from collections.abc import Iterator
from typing import Any

import pytest

from e2e.cluster.build import binaries_dir
from e2e.isolation.racers import race, racing_ground
from e2e.isolation.scene import Pod, Scene, container_status
from e2e.observe import wait_for

ISOLATED, WEIGHTS = "sekisho.dev/isolated", "sekisho.dev/weights"


def test_under_the_same_policy_pods_get_out_without_a_fence_and_not_with_one(
    scene: Scene, models: str, pod: Pod, namespace: str, record_property: Any
) -> None:
    files = scene.installation.get("configmap", "attack-predictor", namespace=models)
    with racing_ground(scene.cluster, namespace, agent_files=files["data"]):
        agent_image = scene.installation.images["agent"].reference
        fenced = race(scene.cluster, namespace, kind="fenced", agent_image=agent_image)
        bare = race(scene.cluster, namespace, kind="bare")
    for name, result in (("with the fence", fenced), ("without the fence", bare)):
        record_property(name, str(result))
        print(f"{name}: {result}")
    assert (fenced.tcp_or_udp, fenced.icmp) == (0, 0)
    # the control: without it echo requests get out; now and then more does, before the policy is enforced
    assert bare.icmp > 0


@pytest.fixture
def fence_off(scene: Scene) -> Iterator[None]:
    """Turn the fence off, so that the network's policy and the proof stand alone."""
    installation = scene.installation
    before = installation.values
    installation.values = {**before, "isolation": {**before["isolation"], "fence": False}}
    installation.upgrade(installation.values)
    yield
    installation.values = before
    installation.upgrade(before)


def test_without_the_fence_the_proof_finds_the_leak_and_no_engine_starts(
    scene: Scene, namespace: str, fence_off: None
) -> None:
    scene.serve_attackers("bare", namespace=namespace)
    isolated = scene.installation.wait_condition(
        "bare", "Isolated", "False", namespace=namespace, reason="IsolationLeak"
    )
    assert "outside by icmp" in isolated["message"]
    assert "check that NetworkPolicies are enforced" in isolated["message"]
    (pod,) = scene.pods("bare", namespace=namespace)
    assert [container["name"] for container in pod["spec"]["initContainers"]] == ["agent"]
    with scene.far_ends() as ends:
        _send_from(scene, pod)
        wait_for(lambda: ends.seen([pod["status"]["podIP"]]).get("internet"), "the agent's own echo requests arrive")
        seen = ends.seen([pod["status"]["podIP"]])
        assert {protocol for protocols in seen.values() for protocol in protocols} == {"icmp"}
        scene.prove_controls(ends)
    (pod,) = scene.pods("bare", namespace=namespace)
    conditions = {item["type"]: item for item in pod["status"]["conditions"]}
    assert (conditions[ISOLATED]["status"], conditions[ISOLATED]["reason"]) == ("False", "IsolationLeak")
    assert conditions.get(WEIGHTS, {}).get("status") != "True"
    assert container_status(pod, "engine")["state"]["waiting"]["reason"] == "PodInitializing"
    assert scene.installation.conditions("bare", namespace=namespace)["Ready"]["reason"] == "IsolationLeak"
    assert scene.installation.conditions("bare", namespace=namespace)["WeightsAvailable"]["status"] != "True"


def _send_from(scene: Scene, pod: Pod) -> None:
    """Try every target by TCP and UDP from the network of a pod whose engine does not run."""
    place, probe = scene.within(pod), str(binaries_dir() / "probe")
    for target in scene.targets:
        place.run(probe, "tcp", "-timeout", "200ms", f"{target.address}:{target.tcp_port}", check=False)
        place.run(probe, "udp", "-timeout", "50ms", "-for", "50ms", f"{target.address}:{target.udp_port}", check=False)
