"""Keys that do not come: revoked, or from a release that is gone; and an agent that is killed while it unseals."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.cluster.local import LocalCluster
from e2e.cluster.patience import TIMEOUT
from e2e.installation import NAMESPACE
from e2e.observe import ask_engine, condition_of, pods_of, wait_for
from e2e.sealed.conftest import Vault, put_key
from e2e.sealed.marks import find_on_disk
from e2e.sealed.test_refusals import assert_no_engine, serve

RELEASE = "deployment/sekisho-unsafe-development-release"


@pytest.fixture
def no_release(vault: Vault) -> Iterator[None]:
    """Take the release away for a while."""
    kubectl = vault.installation.cluster.kubectl
    kubectl("scale", RELEASE, "-n", NAMESPACE, "--replicas=0")
    kubectl("wait", "--for=delete", "pod", "-n", NAMESPACE, "-l", "app.kubernetes.io/component=unsafe-release",
            TIMEOUT)  # fmt: skip
    yield
    bring_back(vault)


def bring_back(vault: Vault) -> None:
    """Start the release, and wait until it answers."""
    kubectl = vault.installation.cluster.kubectl
    kubectl("scale", RELEASE, "-n", NAMESPACE, "--replicas=1")
    kubectl("rollout", "status", RELEASE, "-n", NAMESPACE, TIMEOUT)


def test_a_key_service_that_does_not_answer_is_told_and_the_service_heals(
    vault: Vault, closed: str, no_release: None
) -> None:
    serve(vault, closed, "waiting", vault.uri)
    told = vault.installation.wait_condition(
        "waiting", "WeightsAvailable", "False", namespace=closed, reason="KmsUnavailable"
    )
    assert "release" in told["message"]
    assert_no_engine(vault, closed, "waiting")
    bring_back(vault)
    vault.installation.wait_condition("waiting", "Ready", "True", namespace=closed)


def test_a_revoked_key_version_opens_nothing_until_the_key_is_wrapped_anew(vault: Vault, closed: str) -> None:
    from sekisho.kms.unsafe_development import rotate_unsafe_key  # noqa: PLC0415 - the owner's desk

    owner, file = vault.owner, vault.owner.folder / "desk.json"
    before = file.read_bytes()
    again = owner.folder / "again"
    shutil.copytree(vault.sealed, again)
    try:
        rotate_unsafe_key(file)
        owner.run("rewrap", str(again), "--kms", owner.kms, "--allow-unsafe-key")
        file.write_text(file.read_text().replace('"minimumVersion": 1', '"minimumVersion": 2'))
        renew_key(vault)
        serve(vault, closed, "revoked", vault.uri)
        told = vault.installation.wait_condition(
            "revoked", "WeightsAvailable", "False", namespace=closed, reason="KeyVersionRevoked"
        )
        assert "version 1" in told["message"]
        assert_no_engine(vault, closed, "revoked")
        serve(vault, closed, "renewed", owner.push(again, tag="again"))
        vault.installation.wait_condition("renewed", "Ready", "True", namespace=closed)
    finally:
        file.write_bytes(before)
        renew_key(vault)


def renew_key(vault: Vault) -> None:
    """Give the release the key file as it is now; a new pod reads it at once, a kubelet would within a minute."""
    put_key(vault.installation, vault.owner)
    kubectl = vault.installation.cluster.kubectl
    kubectl("rollout", "restart", RELEASE, "-n", NAMESPACE)
    kubectl("rollout", "status", RELEASE, "-n", NAMESPACE, TIMEOUT)


def test_an_agent_that_is_killed_leaves_nothing_on_a_disk_and_starts_clean(vault: Vault, closed: str) -> None:
    installation, cluster = vault.installation, vault.installation.cluster
    assert isinstance(cluster, LocalCluster)
    serve(vault, closed, "killed", vault.uri)
    pod = wait_for(lambda: next(iter(pods_of(cluster, "killed", namespace=closed)), None), "a pod")
    name, kills = pod["metadata"]["name"], list[int]()

    def kill() -> bool:
        kills.append(kill_agent(cluster, closed, name))
        found = installation.get("pod", name, namespace=closed)
        return sum(kills) >= 3 or condition_of(found, "Ready").get("status") == "True"

    wait_for(kill, "the agent is killed three times, or was quicker", pause=0)
    assert sum(kills), "the agent was never caught"
    assert find_on_disk(cluster, vault.mark, since=vault.drawn) == []
    installation.wait_condition("killed", "Ready", "True", namespace=closed)
    assert find_on_disk(cluster, vault.mark, since=vault.drawn) == []
    assert ask_engine(cluster, name, namespace=closed)


def kill_agent(cluster: LocalCluster, namespace: str, pod: str) -> int:
    """Kill the agent's process of a pod as nothing could stop it from; return how many there were."""
    uid = cluster.kubectl("get", "pod", pod, "-n", namespace, "-o", "jsonpath={.metadata.uid}").strip()
    killed = 0
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            environment = (entry / "environ").read_bytes()
            command = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if uid.encode() in environment and b"run" in command and b"agent" in command:
            killed += subprocess.run(("kill", "-9", entry.name), check=False).returncode == 0
    return killed
