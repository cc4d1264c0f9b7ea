"""Whatever is killed, deleted or relabelled: what comes back is closed before it can send, and what stays is closed."""

import contextlib
import json
from collections.abc import Iterator

import pytest

from e2e.cluster.errors import ClusterError
from e2e.isolation.scene import Pod, Scene, addresses, answered, container_status, is_ready
from e2e.observe import wait_for

AUTHOR_BINDING = "sekisho-pod-author-pods"


def wait_restarted(scene: Scene, pod: Pod, container: str) -> Pod:
    """Wait until a container was restarted and the pod is ready again."""
    before = container_status(pod, container)["restartCount"]
    name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]

    def read() -> Pod | None:
        found: Pod = scene.installation.get("pod", name, namespace=namespace)
        return found if container_status(found, container)["restartCount"] > before and is_ready(found) else None

    restarted: Pod = wait_for(read, f"{container} of {name} was restarted")
    return restarted


def test_a_killed_engine_attacks_anew_and_nothing_arrives(scene: Scene, pod: Pod) -> None:
    with scene.far_ends() as ends:
        scene.kill_container(pod, "engine")
        restarted = wait_restarted(scene, pod, "engine")
        attempts = scene.wait_attacked(restarted)
        assert ends.seen(addresses([restarted])) == {}
        assert answered(attempts) == []
        scene.prove_controls(ends)


def test_a_killed_agent_comes_back_and_nothing_arrives(scene: Scene, pod: Pod) -> None:
    with scene.far_ends() as ends:
        scene.kill_container(pod, "agent")
        assert answered(scene.attack_from_engine(pod)) == []
        restarted = wait_restarted(scene, pod, "agent")
        assert ends.seen(addresses([restarted])) == {}
        scene.prove_controls(ends)


def test_a_pod_whose_network_is_made_anew_is_fenced_anew(scene: Scene, pod: Pod) -> None:
    with scene.far_ends() as ends:
        scene.kill_sandbox(pod)
        restarted = wait_restarted(scene, pod, "engine")
        attempts = scene.wait_attacked(restarted)
        assert restarted["status"]["podIP"] != pod["status"]["podIP"]
        assert "sekisho_fence" in scene.within(restarted).run("nft", "list", "tables")
        assert ends.seen(addresses([pod, restarted])) == {}
        assert answered(attempts) == []
        scene.prove_controls(ends)


def test_a_deleted_pod_is_followed_by_one_of_which_nothing_arrives(scene: Scene, models: str, pod: Pod) -> None:
    name = pod["metadata"]["name"]
    with scene.far_ends() as ends:
        scene.cluster.kubectl("delete", "pod", name, "-n", models, "--wait=false")
        (follower,) = scene.wait_pods("attack", namespace=models, count=1, but=name)
        attempts = scene.wait_attacked(follower)
        assert ends.seen(addresses([pod, follower])) == {}
        assert answered(attempts) == []
        scene.prove_controls(ends)


def test_a_pod_cannot_lose_the_label_that_its_policy_selects(scene: Scene, models: str, pod: Pod) -> None:
    with pytest.raises(ClusterError, match="sekisho-pod-author"):
        unlabel(scene, pod)
    assert scene.pods("attack", namespace=models)[0]["metadata"]["uid"] == pod["metadata"]["uid"]


def unlabel(scene: Scene, pod: Pod, *how: str) -> None:
    """Take the label away that a pod's policy selects."""
    meta = pod["metadata"]
    scene.cluster.kubectl("label", "pod", meta["name"], "-n", meta["namespace"], "sekisho.dev/service-", *how)


@pytest.fixture
def without_author_policy(scene: Scene, models: str) -> Iterator[None]:
    """Take away the admission policy that keeps labels, as somebody with every right could, until the test is over."""
    binding = ("validatingadmissionpolicybinding", AUTHOR_BINDING)
    kept = scene.installation.get(*binding)
    kept["metadata"] = {
        key: kept["metadata"][key] for key in ("name", "labels", "annotations") if key in kept["metadata"]
    }
    scene.cluster.kubectl("delete", *binding)
    yield
    scene.cluster.kubectl("create", "-f", "-", stdin=json.dumps(kept))
    (pod,) = scene.wait_pods("attack", namespace=models, count=1)

    def holds() -> bool:
        try:
            unlabel(scene, pod, "--dry-run=server")
        except ClusterError as error:
            return "sekisho-pod-author" in str(error)
        return False

    wait_for(holds, "the API server holds to the policy again")


def test_a_pod_relabelled_by_force_is_still_fenced(
    scene: Scene, models: str, pod: Pod, without_author_policy: None
) -> None:
    name = pod["metadata"]["name"]

    def relabel() -> bool:
        with contextlib.suppress(ClusterError):
            unlabel(scene, pod)
        return pod["metadata"]["uid"] not in {
            item["metadata"]["uid"] for item in scene.pods("attack", namespace=models)
        }

    with scene.far_ends() as ends:
        wait_for(relabel, "the label is gone", pause=1)
        (follower,) = scene.wait_pods("attack", namespace=models, count=1, but=name)
        assert answered(scene.attack_from_engine(pod)) == []
        assert ends.seen(addresses([pod, follower])) == {}
        scene.prove_controls(ends)
    scene.cluster.kubectl("delete", "pod", name, "-n", models, "--wait=false")


def test_isolation_holds_for_old_and_new_pods_while_the_operator_is_stopped(
    scene: Scene, models: str, pod: Pod
) -> None:
    name = pod["metadata"]["name"]
    scene.scale_operator(0)
    try:
        with scene.far_ends() as ends:
            assert answered(scene.attack_from_engine(pod)) == []
            with pytest.raises(ClusterError, match="sekisho-isolation"):
                scene.cluster.kubectl("delete", "networkpolicy", "attack-predictor", "-n", models)
            scene.cluster.kubectl("delete", "pod", name, "-n", models, "--wait=false")
            (follower,) = scene.wait_pods("attack", namespace=models, count=1, but=name)
            attempts = scene.wait_attacked(follower)
            assert ends.seen(addresses([pod, follower])) == {}
            assert answered(attempts) == []
            scene.prove_controls(ends)
    finally:
        scene.scale_operator(1)
