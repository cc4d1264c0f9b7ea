"""One full pass with the real vLLM, on CPUs: sealed weights that it decrypts itself, by keys from the agent."""

import shutil
import time
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from e2e.calls import client, gateway_open, make_token
from e2e.cluster.patience import TIMEOUT
from e2e.installation import NAMESPACE, ROOT, Installation, load_images, make_model
from e2e.observe import pods_of
from e2e.quickstart import Quickstart
from e2e.sealed.conftest import Vault
from e2e.services import API, model_object, small_service

RUNTIME = ROOT / "inference-images" / "vllm" / "runtime-cpu.yaml"

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(3600)]


@pytest.fixture
def vllm(vault: Vault, quickstart: Quickstart, namespace: str) -> Iterator[str]:
    """A Runtime of vLLM with the image that was built, a sealed confidential Model, and who may ask."""
    installation = quickstart.installation
    closed = installation.cluster.nodes[:1]  # that of the site where it may run: gigabytes are unpacked on no other
    engine = load_images(installation.cluster, ["vllm"], nodes=[node.name for node in closed])["vllm"]
    profile = yaml.safe_load(RUNTIME.read_text())
    profile["spec"]["image"] = engine.reference
    uri = seal_llama(vault)
    installation.apply(yaml.safe_dump(profile))
    installation.cluster.kubectl("label", "namespace", namespace, "sekisho.dev/classification=confidential")
    installation.apply(model_object("tiny-llama", namespace, uri, format={"name": "safetensors"}, size="2M"))
    installation.apply(yaml.safe_dump_all(grants(namespace)))
    yield namespace
    kubectl = installation.cluster.kubectl
    kubectl("delete", "runtime", "vllm-cpu", "--ignore-not-found")
    kubectl("delete", "clusterrole,clusterrolebinding", f"vllm-{namespace}", "--ignore-not-found")


def seal_llama(vault: Vault) -> str:
    """Seal, sign and push the tiny model of vLLM as its owner does; return its storageUri."""
    owner = vault.owner
    plain, sealed = owner.folder / "llama", owner.folder / "llama-sealed"
    plain.mkdir()
    for file in make_model("tiny-llama"):
        shutil.copy(file, plain / file.name)
    owner.run(
        "seal", str(plain), "--class", "confidential", "--model", "legal/llama", "--version=1", "--kms", owner.kms,
        "--allow-unsafe-key", "--licence", "Apache-2.0", "--out", str(sealed),
    )  # fmt: skip
    owner.sign(sealed)
    return owner.push(sealed, tag="llama")


def grants(namespace: str) -> list[dict[str, object]]:
    """Let ServiceAccount `default` of the namespace use the service and its class."""
    group = API.partition("/")[0]
    subject = {"kind": "ServiceAccount", "name": "default", "namespace": namespace}
    name, role = f"vllm-{namespace}", "rbac.authorization.k8s.io"
    rules = [
        {"apiGroups": [group], "resources": ["inferenceservices"], "resourceNames": ["answers"], "verbs": ["use"]},
        {
            "apiGroups": [group],
            "resources": ["classificationlevels"],
            "resourceNames": ["confidential"],
            "verbs": ["use"],
        },
    ]
    reference = {"apiGroup": role, "kind": "ClusterRole", "name": name}
    return [
        {"apiVersion": f"{role}/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules},
        {"apiVersion": f"{role}/v1", "kind": "ClusterRoleBinding", "metadata": {"name": name},
         "roleRef": reference, "subjects": [subject]},
    ]  # fmt: skip


def test_vllm_decrypts_sealed_weights_itself_and_answers_through_the_gateway(quickstart: Quickstart, vllm: str) -> None:
    installation, namespace = quickstart.installation, vllm
    applied_at = time.monotonic()
    model = {"modelRef": {"name": "tiny-llama"}, "runtime": "vllm-cpu"}
    installation.apply(small_service("answers", namespace, model, resources={"cpu": "500m", "memory": "4Gi"}))
    installation.wait_condition("answers", "Ready", "True", namespace=namespace)
    print(f"vLLM was ready {time.monotonic() - applied_at:.1f} s after it was applied")

    status = installation.get("inferenceservice", "answers", namespace=namespace)["status"]
    assert (status["class"]["display"], status["placement"]["site"]) == ("confidential", "tokyo-closed")
    assert installation.conditions("answers", namespace=namespace)["Isolated"]["reason"] == "IsolationProven"
    assert_decrypts(installation, namespace)
    assert_answers(installation, namespace)
    assert_reaches_nothing(installation, namespace)


def assert_decrypts(installation: Installation, namespace: str) -> None:
    """Assert that the engine loads by its own format, from ciphertext, with keys that the agent handed over."""
    (pod,) = pods_of(installation.cluster, "answers", namespace=namespace)
    engine = pod["spec"]["containers"][0]
    assert "--load-format=sekisho" in engine["args"]
    volumes = {item["name"]: item["emptyDir"] for item in pod["spec"]["volumes"] if "emptyDir" in item}
    assert volumes["weights"] == {"medium": "Memory", "sizeLimit": "256Mi"}
    assert "medium" not in volumes["sealed"]
    log = installation.cluster.kubectl("logs", pod["metadata"]["name"], "-n", namespace, "-c", "agent")
    assert "keys are handed over to the engine" in log


def assert_answers(installation: Installation, namespace: str) -> None:
    """Ask whole and in a stream; at temperature 0 both are the same."""
    cluster = installation.cluster
    cluster.kubectl("rollout", "status", "statefulset/sekisho-gateway", "-n", NAMESPACE, TIMEOUT)
    token = make_token(cluster, namespace=namespace, account="default")
    messages: Any = [{"role": "user", "content": "Say something."}]
    name = f"{namespace}/answers"
    with gateway_open(cluster) as address, client(address, token) as api:
        assert [item.id for item in api.models.list()] == [name]
        whole = api.chat.completions.create(model=name, messages=messages, temperature=0, max_tokens=12)
        stream = api.chat.completions.create(model=name, messages=messages, temperature=0, max_tokens=12, stream=True)
        parts = [chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices]
    assert whole.usage is not None
    assert whole.usage.completion_tokens == 12
    assert len(parts) > 1
    assert "".join(parts) == whole.choices[0].message.content


def assert_reaches_nothing(installation: Installation, namespace: str) -> None:
    """Try the outside from the pod's own network; the control is a pod without our label elsewhere in the suite."""
    (pod,) = pods_of(installation.cluster, "answers", namespace=namespace)
    internet = installation.cluster.internet
    inside = installation.cluster.pod_place(namespace, pod["metadata"]["name"])
    with installation.cluster.count_packets("internet") as counter:
        inside.run("/bin/busybox", "nc", "-w", "1", internet.address, "80", check=False)
        inside.run("/bin/busybox", "ping", "-c", "1", "-W", "1", internet.address, check=False)
        assert counter.packets(source=pod["status"]["podIP"]) == 0
