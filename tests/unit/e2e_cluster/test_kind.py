"""The command lines and the configuration of the kind provider."""

import json
from pathlib import Path

from e2e.cluster import kind
from e2e.cluster.oci import ArchiveReference
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


def test_creation_and_deletion_touch_no_kubeconfig_but_the_clusters_own() -> None:
    for command in (
        kind.create_command(Path("/k"), "demo", DIRECTORY),
        kind.delete_command(Path("/k"), "demo", DIRECTORY),
    ):
        assert command[command.index("--kubeconfig") + 1] == "/run/kind-demo/kubeconfig"
        assert command[command.index("--name") + 1] == "demo"


def test_the_host_outside_is_in_the_nodes_network_and_publishes_no_port() -> None:
    command = kind.internet_command("demo-internet", "node:1", Path("/bins"))
    assert command[command.index("--network") + 1] == "kind"
    assert not {"-p", "--publish", "--privileged"} & set(command)
    assert command.index("--entrypoint") < command.index("node:1") < command.index("serve")


def test_an_image_is_imported_by_digest_and_then_tagged() -> None:
    load, tag = kind.import_commands("demo-worker", "own.test/a:1", ArchiveReference(None, "sha256:ab"))
    assert load[-3:] == ["--base-name", "own.test/a", "-"]
    assert tag[-2:] == ["own.test/a@sha256:ab", "own.test/a:1"]
