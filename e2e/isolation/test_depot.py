"""The depot gives a pod its own weights, by the token that a kubelet made for that very pod, and nothing else."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from e2e.artifact import push_folder
from e2e.cluster.errors import ClusterError
from e2e.installation import NAMESPACE
from e2e.isolation.attack import attack_from
from e2e.isolation.questions import ask
from e2e.isolation.scene import Pod, Scene, answered
from e2e.isolation.targets import Target


@dataclass(frozen=True, slots=True)
class Pair:
    """Pods of two services with weights of their own; `other` has the digest of a file that only it may have."""

    pod: Pod
    other_pod: Pod
    other_digest: str


@pytest.fixture(scope="module")
def pair(scene: Scene, models: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """The shared service, and beside it another with other weights in the same namespace."""
    file: Path = tmp_path_factory.mktemp("other") / "other.gguf"
    file.write_bytes(b"weights that belong to the other service")
    registry = scene.quickstart.registry
    digest = push_folder(registry.url, "models/other", [file])
    uri = f"oci://{registry.host}/models/other@{digest}"
    model = {"modelFormat": {"name": "gguf"}, "storageUri": uri, "runtime": "attacker"}
    scene.quickstart.serve("other", namespace=models, spec={"predictor": {"minReplicas": 1, "model": model}})
    (pod,) = scene.wait_pods("attack", namespace=models, count=1)
    (other,) = scene.wait_pods("other", namespace=models, count=1)
    files = ask(scene, other, "/v1/weights")["files"]
    yield Pair(pod, other, files[0]["digest"])
    scene.cluster.kubectl("delete", "inferenceservice", "other", "-n", models)


def test_a_pod_does_not_get_the_weights_of_another_service(scene: Scene, pair: Pair) -> None:
    own = ask(scene, pair.pod, "/v1/weights")
    assert own["status"] == 200
    assert pair.other_digest not in {file["digest"] for file in own["files"]}
    refused = ask(scene, pair.pod, f"/v1/blobs/{pair.other_digest}")
    assert (refused["status"], refused["reason"]) == (403, "NotAllowed")
    assert f"{pair.other_digest} is none of the files of" in refused["message"]
    assert ask(scene, pair.pod, f"/v1/blobs/{own['files'][0]['digest']}")["bytes"] == own["files"][0]["size"]
    assert ask(scene, pair.other_pod, f"/v1/blobs/{pair.other_digest}")["bytes"] == 40


def test_a_request_without_a_token_is_refused(scene: Scene, pair: Pair) -> None:
    refused = ask(scene, pair.pod, "/v1/weights", token="")
    assert (refused["status"], refused["reason"]) == (401, "Unauthenticated")
    assert "no bearer token" in refused["message"]
    assert ask(scene, pair.pod, "/v1/weights")["status"] == 200


@pytest.mark.parametrize("audience", ["sekisho-gateway", "https://kubernetes.default.svc"])
def test_a_token_of_another_audience_is_refused(scene: Scene, pair: Pair, audience: str) -> None:
    namespace, account = pair.pod["metadata"]["namespace"], pair.pod["spec"]["serviceAccountName"]
    token = scene.cluster.kubectl("create", "token", account, "-n", namespace, f"--audience={audience}")
    refused = ask(scene, pair.pod, "/v1/weights", token=token)
    assert (refused["status"], refused["reason"]) == (401, "Unauthenticated")
    assert ask(scene, pair.pod, "/v1/weights")["status"] == 200


def test_nobody_but_a_kubelet_makes_a_token_for_the_depot(scene: Scene, pair: Pair) -> None:
    namespace, account = pair.pod["metadata"]["namespace"], pair.pod["spec"]["serviceAccountName"]
    with pytest.raises(ClusterError, match=r"a token of audience sekisho-depot, .* is made by a kubelet"):
        scene.cluster.kubectl("create", "token", account, "-n", namespace, "--audience=sekisho-depot")


def test_a_pod_of_others_does_not_reach_the_depot(scene: Scene) -> None:
    depot = scene.address("sekisho-depot-0", namespace=NAMESPACE)
    door, canary = Target("depot", depot, 8443, 8443), Target("canary", depot, 9999, 9999)
    for node in scene.cluster.nodes:
        pod = f"control-{node.name}"
        attempts = attack_from(scene.cluster, scene.namespace, pod, targets=[door])
        assert {item.protocol for item in answered(attempts)} <= {"icmp"}
        control = attack_from(scene.cluster, scene.namespace, pod, targets=[canary])
        assert {item.protocol for item in answered(control)} >= {"tcp", "udp"}
