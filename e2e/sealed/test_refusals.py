"""Sealed models that may not be served: each service says why, with the facts, and nothing of it runs."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from e2e.artifact import push_folder, push_layers
from e2e.cluster.local import LocalCluster
from e2e.observe import condition_of, pods_of
from e2e.sealed.conftest import Vault
from e2e.sealed.marks import find_on_disk, mark_model
from e2e.sealed.owner import BOARD, SIGNER, STRANGER, Owner
from e2e.services import model_object, small_service


def unsigned(owner: Owner, sealed: Path) -> None:
    """Leave the signature out."""
    (sealed / "sekisho.sig.json").unlink()


def signed_by_a_stranger(owner: Owner, sealed: Path) -> None:
    """Sign with a key that the policy does not know."""
    (sealed / "sekisho.sig.json").unlink()
    owner.sign(sealed, who=STRANGER)


def another_manifest(owner: Owner, sealed: Path) -> None:
    """Raise the version in the manifest after it was signed."""
    file = sealed / "sekisho.json"
    file.write_text(file.read_text().replace('"version":2}', '"version":9}'))


MODELS: dict[str, tuple[Callable[[Owner, Path], None], str, list[str]]] = {
    "unsigned": (unsigned, "SignatureMissing", ["no sekisho.sig.json", "sekisho sign"]),
    "stranger": (signed_by_a_stranger, "SignerNotTrusted", [SIGNER]),
    "forged": (another_manifest, "SignatureInvalid", ["sekisho.json"]),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_model_that_nobody_trusted_signed_is_refused(vault: Vault, closed: str, name: str) -> None:
    change, reason, facts = MODELS[name]
    copy = vault.owner.folder / name
    shutil.copytree(vault.sealed, copy)
    change(vault.owner, copy)
    uri = push_as_is(vault.owner, copy, tag=name)
    serve(vault, closed, name, uri)
    told = vault.installation.wait_condition(name, "Ready", "False", namespace=closed, reason=reason)
    for fact in facts:
        assert fact in told["message"]
    assert_nothing_runs(vault, closed, name)


def test_plain_weights_are_refused_where_sealed_ones_are_demanded(vault: Vault, closed: str) -> None:
    copy = vault.owner.folder / "plain-here.gguf"
    shutil.copy(next(vault.owner.plain.iterdir()), copy)
    mark_model(copy)
    digest = push_folder(vault.owner.registry.url, "sealed/plain", [copy])
    serve(vault, closed, "plain", f"oci://{vault.owner.registry.host}/sealed/plain@{digest}")
    told = vault.installation.wait_condition(
        "plain", "Ready", "False", namespace=closed, reason="SealedWeightsRequired"
    )
    assert "weights.sealed: true" in told["message"]
    assert_nothing_runs(vault, closed, "plain")


def test_a_model_that_nobody_approved_waits_for_its_board(vault: Vault, closed: str) -> None:
    installation = vault.installation
    board = {"sekisho.dev/classification": "internal.board.vault"}
    installation.apply(model_object("boarded", closed, vault.uri))
    installation.apply(small_service("boarded", closed, {"modelRef": {"name": "boarded"}}, labels=board))
    told = installation.wait_condition("boarded", "Ready", "False", namespace=closed, reason="ApprovalMissing")
    assert BOARD in told["message"]
    approval = vault.owner.approve(vault.sealed)
    installation.apply(model_object("boarded", closed, vault.uri, approvals=[approval]))
    installation.wait_condition("boarded", "Ready", "True", namespace=closed)


def test_a_tampered_artifact_is_refused_before_a_pod_starts(vault: Vault, closed: str) -> None:
    copy = vault.owner.folder / "tampered"
    shutil.copytree(vault.sealed, copy)
    flip(copy / "files" / "00000.sealed")
    serve(vault, closed, "tampered", push_as_is(vault.owner, copy, tag="tampered"))
    told = vault.installation.wait_condition("tampered", "Ready", "False", namespace=closed, reason="SealBroken")
    assert "files/00000.sealed" in told["message"]
    assert told["message"].count("sha256:") == 2
    assert_nothing_runs(vault, closed, "tampered")


def test_a_volume_of_the_depot_that_was_tampered_with_opens_nowhere(vault: Vault, closed: str) -> None:
    cluster = vault.installation.cluster
    assert isinstance(cluster, LocalCluster)
    serve(vault, closed, "sound", vault.uri)
    vault.installation.wait_condition("sound", "Ready", "True", namespace=closed)
    sealed = (vault.sealed / "files" / "00000.sealed").read_bytes()
    found = find_on_disk(cluster, sealed[1024:1280], since=vault.drawn)
    (held,) = (path for path in found if "kubelet" in str(path))
    flip(held)
    try:
        serve(vault, closed, "tampered", vault.uri)
        told = vault.installation.wait_condition(
            "tampered", "WeightsAvailable", "False", namespace=closed, reason="SealBroken"
        )
        assert "segment" in told["message"]
        assert_no_engine(vault, closed, "tampered")
    finally:
        flip(held)


def flip(file: Path) -> None:
    """Change one bit in the middle of a file."""
    with file.open("r+b") as out:
        out.seek(file.stat().st_size // 2)
        byte = out.read(1)[0] ^ 1
        out.seek(-1, 1)
        out.write(bytes([byte]))


def test_a_file_that_the_manifest_does_not_name_is_refused(vault: Vault, closed: str) -> None:
    uri = push_as_is(vault.owner, vault.sealed, tag="more", extra={"files/00001.sealed": b"more"})
    serve(vault, closed, "more", uri)
    told = vault.installation.wait_condition("more", "Ready", "False", namespace=closed, reason="NotSealed")
    assert "files/00001.sealed" in told["message"]
    assert_no_engine(vault, closed, "more")


def test_a_lower_version_than_one_accepted_is_refused(vault: Vault, closed: str) -> None:
    old = vault.owner.seal("v1", version=1)
    vault.owner.sign(old)
    serve(vault, closed, "newest", vault.uri)
    vault.installation.wait_condition("newest", "Ready", "True", namespace=closed)
    vault.installation.apply(model_object("newest", closed, vault.owner.push(old, tag="1")))
    told = vault.installation.wait_condition("newest", "Ready", "False", namespace=closed, reason="VersionRolledBack")
    assert "version 1" in told["message"]
    assert "version 2" in told["message"]
    assert_nothing_runs(vault, closed, "newest")


def push_as_is(owner: Owner, folder: Path, *, tag: str, extra: dict[str, bytes] | None = None) -> str:
    """Push a folder without asking whether it is sound, as an attacker who owns the registry would."""
    layers = {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
    digest = push_layers(owner.registry.url, "sealed/tiny", {**layers, **(extra or {})}, tag=tag)
    return f"oci://{owner.registry.host}/sealed/tiny@{digest}"


def serve(vault: Vault, namespace: str, name: str, uri: str) -> None:
    """Apply a Model and a service of it, both called `name`."""
    vault.installation.apply(model_object(name, namespace, uri))
    vault.installation.apply(small_service(name, namespace, {"modelRef": {"name": name}}))


def assert_nothing_runs(vault: Vault, namespace: str, name: str) -> None:
    """Assert that no pod of the service is left to run."""
    pods = pods_of(vault.installation.cluster, name, namespace=namespace)
    assert all(pod["metadata"].get("deletionTimestamp") for pod in pods)


def assert_no_engine(vault: Vault, namespace: str, name: str) -> None:
    """Assert that the engine never started."""
    for pod in pods_of(vault.installation.cluster, name, namespace=namespace):
        assert condition_of(pod, "Ready").get("status") != "True"
        states: list[dict[str, Any]] = pod["status"].get("containerStatuses", [])
        assert not any(state["started"] for state in states), json.dumps(states)
