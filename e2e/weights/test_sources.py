"""The same tiny model from every kind of source, each until its engine answers."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from e2e.cluster.local import LocalCluster
from e2e.observe import ask_engine, pods_of
from e2e.services import small_service
from e2e.weights.conftest import PASSWORD, SECRET_KEY, Sources, model_file


@pytest.mark.parametrize("kind", ["closed-registry", "https", "s3"])
def test_weights_come_from_a_source_with_its_own_authority(sources: Sources, namespace: str, kind: str) -> None:
    installation, cluster = sources.installation, sources.installation.cluster
    uri = {
        "closed-registry": f"oci://{sources.closed.host}/models/tiny-gguf@{sources.digest}",
        "https": f"https://{sources.objects}/files/tiny/tiny.gguf",
        "s3": "s3://weights/tiny",
    }[kind]
    installation.apply(small_service(kind, namespace, {"storageUri": uri}))
    installation.wait_condition(kind, "Ready", "True", namespace=namespace)
    (pod,) = pods_of(cluster, kind, namespace=namespace)
    assert ask_engine(cluster, pod["metadata"]["name"], namespace=namespace)
    told = json.dumps([pod, installation.get("inferenceservice", kind, namespace=namespace)])
    assert PASSWORD not in told
    assert SECRET_KEY not in told


def test_weights_in_a_claim_are_mounted_read_only_and_served(sources: Sources, namespace: str) -> None:
    installation, cluster = sources.installation, sources.installation.cluster
    assert isinstance(cluster, LocalCluster)
    make_claim(cluster, namespace, "n2")
    try:
        installation.apply(small_service("mounted", namespace, {"storageUri": "pvc://models/tiny"}))
        installation.wait_condition("mounted", "Ready", "True", namespace=namespace)
        weights = installation.conditions("mounted", namespace=namespace)["WeightsAvailable"]
        assert (weights["status"], weights["reason"]) == ("True", "WeightsMounted")
        (pod,) = pods_of(cluster, "mounted", namespace=namespace)
        assert pod["spec"]["nodeName"] == "n2"
        engine = pod["spec"]["containers"][0]
        assert next(m for m in engine["volumeMounts"] if m["mountPath"] == "/models")["readOnly"] is True
        assert ask_engine(cluster, pod["metadata"]["name"], namespace=namespace)
    finally:
        cluster.kubectl("delete", "pv", f"models-{namespace}", "--wait=false")


def make_claim(cluster: LocalCluster, namespace: str, node: str) -> None:
    """Put the model onto a node's own disk, and a claim of it into the namespace."""
    folder = Path(
        cluster.node(node)
        .run("sh", "-c", "mkdir -p /var/lib/kubelet/models/tiny && echo /var/lib/kubelet/models")
        .strip()
    )
    inside = cluster.node(node)
    staged = cluster.directory / "claim.gguf"
    shutil.copy(model_file(), staged)
    inside.run("cp", str(staged), str(folder / "tiny" / "tiny.gguf"))
    inside.run("chmod", "-R", "a+rX", str(folder))
    claim = {"accessModes": ["ReadOnlyMany"], "storageClassName": "", "resources": {"requests": {"storage": "1Gi"}}}
    affinity = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": f"models-{namespace}"},
        "spec": {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadOnlyMany"],
            "storageClassName": "",
            "persistentVolumeReclaimPolicy": "Retain",
            "claimRef": {"namespace": namespace, "name": "models"},
            "local": {"path": str(folder)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [affinity]}]}},
        },
    }
    bound = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "models", "namespace": namespace},
        "spec": {**claim, "volumeName": f"models-{namespace}"},
    }
    cluster.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all([volume, bound]))
