"""A sealed model serves: placed by its class, opened in memory alone, and told about in conditions."""

import json
import shutil

from e2e.artifact import push_folder
from e2e.cluster.local import LocalCluster
from e2e.installation import NAMESPACE
from e2e.observe import ask_engine, pods_of
from e2e.quickstart import Quickstart
from e2e.sealed.conftest import Vault
from e2e.sealed.marks import find_on_disk, mark_model
from e2e.sealed.owner import MODEL, SIGNER
from e2e.services import model_object, small_service


def test_a_sealed_model_is_served_and_no_plaintext_of_it_reaches_a_disk(vault: Vault, closed: str) -> None:
    installation, cluster = vault.installation, vault.installation.cluster
    assert isinstance(cluster, LocalCluster)
    installation.apply(model_object("tiny", closed, vault.uri))
    installation.apply(small_service("reviewer", closed, {"modelRef": {"name": "tiny"}}))
    installation.wait_condition("reviewer", "Ready", "True", namespace=closed)

    model = installation.get("model", "tiny", namespace=closed)["status"]
    conditions = {item["type"]: (item["status"], item["reason"]) for item in model["conditions"]}
    assert conditions["Sealed"] == ("True", "Sealed")
    assert conditions["Signed"] == ("True", "Signed")
    assert conditions["Scanned"] == ("True", "Scanned")
    assert model["inspection"]["model"] == MODEL
    assert model["inspection"]["signedBy"] == [SIGNER]
    assert model["acceptedVersion"] == 2

    (pod,) = pods_of(cluster, "reviewer", namespace=closed)
    volume = next(item for item in pod["spec"]["volumes"] if item["name"] == "weights")
    assert volume["emptyDir"]["medium"] == "Memory"
    assert ask_engine(cluster, pod["metadata"]["name"], namespace=closed)
    assert find_on_disk(cluster, vault.mark, since=vault.drawn) == []
    ciphertext = (vault.sealed / "files" / "00000.sealed").read_bytes()[1024:1280]
    assert any("kubelet" in str(path) for path in find_on_disk(cluster, ciphertext, since=vault.drawn)), (
        "the depot keeps ciphertext"
    )
    assert_keys_are_told_to_nobody(vault, closed)


def assert_keys_are_told_to_nobody(vault: Vault, namespace: str) -> None:
    """Assert that neither objects nor logs hold the key-encryption key."""
    kubectl = vault.installation.cluster.kubectl
    keys = json.loads((vault.owner.folder / "desk.json").read_text())["versions"].values()
    shown = (
        kubectl("get", "pods,inferenceservices,models,configmaps,events", "-n", namespace, "-o", "json"),
        kubectl("logs", "-n", namespace, "-l", "sekisho.dev/service=reviewer", "-c", "agent", "--tail=-1"),
        kubectl("logs", "-n", NAMESPACE, "-l", "app.kubernetes.io/name=sekisho", "--tail=-1"),
    )
    for key in keys:
        assert all(key not in text for text in shown)


def test_the_search_finds_plaintext_where_there_is_some(vault: Vault, quickstart: Quickstart, namespace: str) -> None:
    installation, cluster = vault.installation, vault.installation.cluster
    assert isinstance(cluster, LocalCluster)
    (file,) = vault.owner.plain.iterdir()
    copy = vault.owner.folder / "plain.gguf"
    shutil.copy(file, copy)
    mark = mark_model(copy)
    digest = push_folder(quickstart.registry.url, "models/plain", [copy])
    uri = f"oci://{quickstart.registry.host}/models/plain@{digest}"
    installation.apply(small_service("plain", namespace, {"storageUri": uri}))
    installation.wait_condition("plain", "Ready", "True", namespace=namespace)
    found = [str(path) for path in find_on_disk(cluster, mark, since=vault.drawn)]
    assert any("kubernetes.io~empty-dir/weights" in path for path in found), found
