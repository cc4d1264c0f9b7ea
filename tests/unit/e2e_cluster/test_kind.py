"""The command lines and the configuration of the kind provider."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from e2e.cluster import kind
from e2e.cluster.errors import ClusterError
from e2e.cluster.oci import ArchiveReference
from e2e.cluster.progress import silent
from e2e.cluster.provider import NodeSpec, Options

RESTRICTED = NodeSpec(labels={"sekisho.node-restriction.kubernetes.io/site": "tokyo"})
OPTIONS = Options(name="demo", nodes=(RESTRICTED, NodeSpec()), api_server_flags=("--v=4",), api_port=7443)
DIRECTORY = Path("/run/kind-demo")


def test_restricted_labels_are_not_left_to_a_kubelet_which_would_refuse_to_start() -> None:
    assert "node-restriction" not in json.dumps(kind.render_config(OPTIONS, DIRECTORY))


def test_there_is_a_worker_for_each_node_and_the_api_is_on_loopback() -> None:
    config = kind.render_config(OPTIONS, DIRECTORY)
    assert [node["role"] for node in config["nodes"]] == ["control-plane", "worker", "worker"]
    assert config["networking"] == {"apiServerAddress": "127.0.0.1", "apiServerPort": 7443}


def test_the_audit_log_is_written_to_a_directory_of_this_machine() -> None:
    control_plane = kind.render_config(OPTIONS, DIRECTORY)["nodes"][0]
    patch = json.loads(control_plane["kubeadmConfigPatches"][0])
    arguments = patch["apiServer"]["extraArgs"]
    assert arguments["audit-log-path"] == "/var/log/kubernetes/audit.jsonl"
    assert arguments["v"] == "4"
    mounted = {mount["containerPath"]: mount["hostPath"] for mount in control_plane["extraMounts"]}
    assert mounted["/var/log/kubernetes"] == "/run/kind-demo/audit"
    assert mounted[str(Path(arguments["audit-policy-file"]).parent)] == "/run/kind-demo/policy"


def test_where_no_audit_log_is_wanted_none_is_written() -> None:
    control_plane = kind.render_config(replace(OPTIONS, audit_level="off"), DIRECTORY)["nodes"][0]
    patch = json.loads(control_plane["kubeadmConfigPatches"][0])
    assert patch["apiServer"] == {"extraArgs": {"v": "4"}, "extraVolumes": []}


def test_creation_and_deletion_touch_no_kubeconfig_but_the_clusters_own() -> None:
    for command in (
        kind.create_command(Path("/k"), "demo", DIRECTORY, "node:1"),
        kind.delete_command(Path("/k"), "demo", DIRECTORY),
    ):
        assert command[command.index("--kubeconfig") + 1] == "/run/kind-demo/kubeconfig"
        assert command[command.index("--name") + 1] == "demo"


def test_the_host_outside_is_in_the_nodes_network_and_publishes_no_port() -> None:
    command = kind.internet_command("sekisho-demo", "node:1", Path("/bins"))
    assert command[command.index("--network") + 1] == "kind"
    assert not {"-p", "--publish", "--privileged"} & set(command)
    assert command.index("--entrypoint") < command.index("node:1") < command.index("serve")
    assert "sekisho.dev/test-cluster=sekisho-demo" in command


def test_an_image_is_imported_by_digest_and_then_tagged() -> None:
    load, tag = kind.import_commands("demo-worker", "own.test/a:1", ArchiveReference(None, "sha256:ab"))
    assert load[-3:] == ["--base-name", "own.test/a", "-"]
    assert {"--local", "--digests"} < set(load)
    assert tag[-2:] == ["own.test/a@sha256:ab", "own.test/a:1"]


def test_nothing_in_the_engine_is_called_as_somebodys_own_cluster_may_be() -> None:
    cluster = kind.KindCluster(OPTIONS)
    assert cluster.cluster == "sekisho-demo"
    assert cluster.internet.container == "sekisho-demo-internet"


def test_a_system_whose_programs_do_not_run_in_nodes_is_refused() -> None:
    kind.require_linux("Linux")
    with pytest.raises(ClusterError, match="Darwin, and nodes run Linux"):
        kind.require_linux("Darwin")


def lay_docker(folder: Path, monkeypatch: pytest.MonkeyPatch, answer: str) -> Path:
    """Put a `docker` before all others that notes what it is asked and answers by a line of shell."""
    program, asked = folder / "docker", folder / "asked"
    program.write_text(f'#!/bin/sh\necho "$@" >>{asked}\n{answer}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return asked


def test_an_image_that_cannot_be_pulled_is_named_with_what_the_engine_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay_docker(tmp_path, monkeypatch, 'echo "no route to the registry" >&2; exit 1')
    monkeypatch.setenv("SEKISHO_KIND_IMAGE", "closed:5000/node@sha256:ab")
    with pytest.raises(ClusterError, match="closed:5000/node@sha256:ab is not in the Docker engine") as refusal:
        kind.ensure_node_image(silent)
    assert "no route to the registry" in refusal.value.problem
    assert "SEKISHO_KIND_IMAGE=" in refusal.value.remedy


def test_an_image_that_the_engine_has_is_not_pulled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = lay_docker(tmp_path, monkeypatch, "exit 0")
    monkeypatch.setenv("SEKISHO_KIND_IMAGE", "closed:5000/node@sha256:ab")
    assert kind.ensure_node_image(silent) == "closed:5000/node@sha256:ab"
    assert asked.read_text() == "image inspect closed:5000/node@sha256:ab\n"


def test_without_a_setting_the_nodes_image_is_kinds_own_by_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = lay_docker(tmp_path, monkeypatch, '[ "$1" = pull ]')
    monkeypatch.delenv("SEKISHO_KIND_IMAGE", raising=False)
    assert kind.ensure_node_image(silent) == kind.NODE_IMAGE
    assert "@sha256:" in kind.NODE_IMAGE
    assert asked.read_text().splitlines()[-1] == f"pull --quiet {kind.NODE_IMAGE}"
