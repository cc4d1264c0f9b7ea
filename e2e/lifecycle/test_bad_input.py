"""Bad input: each ends in a condition with a reason, both facts and the next step; nothing loops hot."""

import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from e2e.cluster.errors import ClusterError
from e2e.cluster.namespaces import create_namespace, drop_namespace
from e2e.installation import Installation
from e2e.observe import pods_of, wait_for, writes_of_controller
from e2e.quickstart import Quickstart
from e2e.services import runtime_object, small_service

NO_IMAGE = "sekisho.test/no-such-engine@sha256:" + "1" * 64
# name → (condition that tells, its reason)
TOLD = {
    "unknown-model": ("Accepted", "ModelNotFound"),
    "unknown-runtime": ("Accepted", "RuntimeNotFound"),
    "unknown-format": ("Accepted", "FormatNotServed"),
    "unusable-uri": ("Accepted", "StorageUriInvalid"),
    "too-much-memory": ("Placed", "MemoryShort"),
    "unknown-site": ("Placed", ""),
    "no-image": ("Serving", "ImagePullFailed"),
    "crashing": ("Serving", "EngineCrashing"),
    "restricted": ("Serving", "PodRefused"),
    "quota": ("Serving", "PodRefused"),
}


@dataclass(frozen=True, slots=True)
class Broken:
    """Services that are wrong, each in its own way."""

    installation: Installation
    namespaces: dict[str, str]

    def namespace(self, name: str) -> str:
        return self.namespaces.get(name, self.namespaces[""])

    def told(self, name: str) -> dict[str, Any]:
        """Return the condition that tells what is wrong."""
        kind, reason = TOLD[name]
        return self.installation.wait_condition(name, kind, "False", namespace=self.namespace(name), reason=reason)


@pytest.fixture(scope="module")
def broken(quickstart: Quickstart, installation: Installation) -> Iterator[Broken]:
    mark, kubectl = uuid.uuid4().hex[:6], installation.cluster.kubectl
    namespaces = {"": f"bad-{mark}", "restricted": f"restricted-{mark}", "quota": f"quota-{mark}"}
    for name in namespaces.values():
        create_namespace(installation.cluster.kubeconfig, name)
    kubectl("label", "namespace", namespaces["restricted"], "pod-security.kubernetes.io/enforce=restricted")
    kubectl("create", "quota", "none", "--hard=pods=0", "-n", namespaces["quota"])
    engine = quickstart.facts["ENGINE"]
    runtimes = [f"no-image-{mark}", f"crashing-{mark}"]
    good = {"storageUri": quickstart.facts["MODEL_URI"]}
    bad = Broken(installation, namespaces)
    where = namespaces[""]
    manifests = [
        runtime_object(runtimes[0], NO_IMAGE),
        runtime_object(runtimes[1], engine, "--model={{path}}", "--port={{port}}", "--no-such-flag"),
        small_service("unknown-model", where, {"modelRef": {"name": "ghost"}}),
        small_service("unknown-runtime", where, {**good, "runtime": "ghost"}),
        small_service("unknown-format", where, {**good, "modelFormat": {"name": "onnx"}}),
        small_service("unusable-uri", where, {"storageUri": "oci://registry.example/Models/x"}),
        small_service("too-much-memory", where, good, resources={"cpu": "20m", "memory": "500Gi"}),
        small_service("unknown-site", where, good, spec={"placement": {"sites": ["atlantis"]}}),
        small_service("no-image", where, {**good, "runtime": runtimes[0]}),
        small_service("crashing", where, {**good, "runtime": runtimes[1]}),
        small_service("restricted", namespaces["restricted"], good),
        small_service("quota", namespaces["quota"], good),
    ]
    try:
        installation.apply("---\n".join(manifests))
        yield bad
    finally:
        for name in namespaces.values():
            drop_namespace(installation.cluster.kubeconfig, name)
        kubectl("delete", "runtimes", *runtimes, "--ignore-not-found")


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("unknown-model", ["ghost", "create the Model"]),
        ("unknown-runtime", ["ghost", "there are: ", "llamacpp"]),
        ("unknown-format", ["onnx", "llamacpp serves gguf"]),
        ("unusable-uri", ["registry.example/Models/x", "as in oci://"]),
        ("too-much-memory", ["needs 512064 MiB of memory", "free on node"]),
        ("unknown-site", ["atlantis"]),
        ("no-image", [NO_IMAGE, "container engine", "check its name, the registry and imagePullSecrets"]),
        ("crashing", ["exit code", "restarts: ", "kubectl logs crashing-predictor-", "--previous"]),
        ("restricted", ["restricted", "NET_ADMIN", "pod-security.kubernetes.io/enforce: privileged"]),
        ("quota", ["exceeded quota: none", "pods=0", "raise the namespace's ResourceQuota"]),
    ],
)
def test_what_is_wrong_is_told_with_both_facts_and_a_next_step(broken: Broken, name: str, facts: list[str]) -> None:
    message = broken.told(name)["message"]
    for fact in facts:
        assert fact in message
    ready = broken.installation.conditions(name, namespace=broken.namespace(name))["Ready"]
    assert ready["status"] == "False"


@pytest.mark.parametrize("name", [name for name, (kind, _) in TOLD.items() if kind in ("Accepted", "Placed")])
def test_what_is_refused_has_no_pods(broken: Broken, name: str) -> None:
    broken.told(name)
    cluster, where = broken.installation.cluster, broken.namespace(name)
    assert pods_of(cluster, name, namespace=where) == []
    assert f"{name}-predictor" not in cluster.kubectl("get", "deployments", "-n", where, "-o", "name")


def test_nothing_that_is_wrong_makes_the_operator_write_again_and_again(broken: Broken) -> None:
    cluster = broken.installation.cluster
    for name in TOLD:
        broken.told(name)
    time.sleep(3)
    mark = cluster.audit.mark()
    time.sleep(10)
    writes = writes_of_controller(cluster, mark, namespaces=tuple(broken.namespaces.values()))
    # A crashing engine goes back and forth between starting and crashed; each of its ends may be told once.
    assert len(writes) <= len(TOLD) // 2, writes
    steady = {name for name, (kind, _) in TOLD.items() if kind in ("Accepted", "Placed")}
    assert [write for write in writes if write.name in steady] == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"spec": {"bursts": True}}, 'unknown field "spec.bursts"'),
        ({"minReplica": 2}, 'unknown field "spec.predictor.minReplica"'),
        ({"minReplicas": -1}, "spec.predictor.minReplicas"),
        ({"resources": {"memory": "lots"}}, "spec.predictor.resources.memory"),
    ],
)
def test_a_manifest_that_cannot_be_meant_is_refused_by_kubectl(
    quickstart: Quickstart, installation: Installation, namespace: str, change: dict[str, Any], message: str
) -> None:
    good = {"storageUri": quickstart.facts["MODEL_URI"]}
    with pytest.raises(ClusterError) as refused:
        installation.apply(small_service("typo", namespace, good, **change))
    assert message in str(refused.value)
    assert installation.cluster.kubectl("get", "inferenceservices", "-n", namespace, "-o", "name") == ""


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("ultra", 'level "ultra" is unknown; the policy knows public, internal, confidential, restricted'),
        ("public.moon", 'compartment "moon" is unknown; the policy knows gdpr, my-number'),
    ],
)
def test_a_class_that_the_policy_does_not_know_is_refused_by_the_api(
    quickstart: Quickstart, installation: Installation, namespace: str, label: str, message: str
) -> None:
    good = {"storageUri": quickstart.facts["MODEL_URI"]}
    with pytest.raises(ClusterError) as refused:
        installation.apply(small_service("lost", namespace, good, labels={"sekisho.dev/classification": label}))
    assert message in str(refused.value)


@pytest.mark.parametrize(
    "uri", ["oci:/registry/x", "ftp://files.example/x", "https://user:secret@files.example/x", "s3://bucket/../other"]
)
def test_a_malformed_uri_is_refused_by_the_api(installation: Installation, namespace: str, uri: str) -> None:
    with pytest.raises(ClusterError, match=r"spec\.predictor\.model\.storageUri"):
        installation.apply(small_service("odd", namespace, {"storageUri": uri}))


def test_a_service_that_is_put_right_becomes_ready(
    quickstart: Quickstart, installation: Installation, namespace: str
) -> None:
    good = {"storageUri": quickstart.facts["MODEL_URI"]}
    installation.apply(small_service("mended", namespace, {**good, "runtime": "ghost"}))
    installation.wait_condition("mended", "Accepted", "False", namespace=namespace, reason="RuntimeNotFound")
    installation.apply(small_service("mended", namespace, good))
    installation.wait_condition("mended", "Ready", "True", namespace=namespace)
    wait_for(lambda: len(pods_of(installation.cluster, "mended", namespace=namespace)) == 1, "one pod")
