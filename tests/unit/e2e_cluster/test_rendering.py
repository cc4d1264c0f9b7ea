"""The files and flags of a local cluster."""

import json
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from e2e.cluster import build, node_config, pki
from e2e.cluster.__main__ import options_of, parse_arguments
from e2e.cluster.addressing import Addressing
from e2e.cluster.cgroups import hierarchies
from e2e.cluster.control_plane import ControlPlaneOptions, api_server_flags
from e2e.cluster.node_config import NodePaths
from e2e.cluster.registry import Access, render_config
from e2e.cluster.simulated import render_nodes

ONE = Addressing(1)
PATHS = NodePaths(Path("/run/one"), 2)


def test_the_policy_enforcer_works_before_a_kubelet_can_start_a_pod() -> None:
    steps = json.loads(node_config.render_init(PATHS, ONE, Path("/bin")))["steps"]
    started = [step["start"] for step in steps if "start" in step]
    assert started == ["containerd", "netpol", "kubelet", "kube-proxy"]
    assert steps[3] == {"succeeds": ["iptables", "-w", "-S", "KUBE-ROUTER-FORWARD"]}
    assert "--netpol-default-deny" in steps[2]["command"]


def test_pods_keep_their_addresses_on_the_way_out() -> None:
    bridge = json.loads(node_config.render_cni(ONE, 2))["plugins"][0]
    assert bridge["ipMasq"] is False
    assert bridge["ipam"]["ranges"] == [[{"subnet": "10.241.2.0/24"}]]


def test_a_kubelet_admits_only_authenticated_and_authorized_callers() -> None:
    config = json.loads(node_config.render_kubelet(PATHS, ONE, "/sekisho/x"))
    assert config["authentication"]["anonymous"] == {"enabled": False}
    assert config["authorization"] == {"mode": "Webhook"}
    assert config["cgroupRoot"] == "/sekisho/x"


def test_containerd_knows_the_confidential_runtime_handlers() -> None:
    text = node_config.render_containerd(PATHS)
    for handler in ("runc", "kata-qemu-snp", "kata-qemu-tdx"):
        assert f"runtimes.{handler}]" in text


def test_the_api_server_restricts_nodes_and_writes_the_audit_log_before_it_answers() -> None:
    flags = api_server_flags(Path("/run/one"), ONE, ControlPlaneOptions(16443, "all", ("--v=4",)))
    assert "--authorization-mode=Node,RBAC" in flags
    assert "--enable-admission-plugins=NodeRestriction" in flags
    assert "--audit-log-mode=blocking" in flags
    assert flags[-1] == "--v=4"


def test_without_an_audit_log_no_flag_speaks_of_one() -> None:
    flags = api_server_flags(Path("/run/one"), ONE, ControlPlaneOptions(16443, "off"))
    assert not [flag for flag in flags if "audit" in flag]


def test_private_keys_are_for_their_owner_alone(tmp_path: Path) -> None:
    pki.create_cluster_pki(tmp_path, ONE)
    pki.create_node_pki(tmp_path, ONE, 1)
    secrets = [*tmp_path.glob("*.key"), *tmp_path.glob("*.kubeconfig")]
    assert len(secrets) > 15
    assert {stat.S_IMODE(file.stat().st_mode) for file in secrets} == {0o600}


def test_a_node_is_a_node_to_the_api_server_and_nothing_else(tmp_path: Path) -> None:
    pki.create_cluster_pki(tmp_path, ONE)
    pki.create_node_pki(tmp_path, ONE, 1)
    certificate = x509.load_pem_x509_certificate((tmp_path / "kubelet-n1.crt").read_bytes())
    root = x509.load_pem_x509_certificate((tmp_path / "ca.crt").read_bytes())
    certificate.verify_directly_issued_by(root)
    assert isinstance(certificate.public_key(), ec.EllipticCurvePublicKey)
    values = [entry.value for entry in certificate.subject]
    assert values == ["system:nodes", "system:node:n1"]
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [x509.ExtendedKeyUsageOID.CLIENT_AUTH]


def test_the_api_servers_certificate_names_every_way_to_it(tmp_path: Path) -> None:
    pki.create_cluster_pki(tmp_path, ONE)
    certificate = x509.load_pem_x509_certificate((tmp_path / "apiserver.crt").read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    addresses = [str(address) for address in names.get_values_for_type(x509.IPAddress)]
    assert addresses == ["127.0.0.1", "10.91.0.1", "10.101.0.1"]
    assert certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "kube-apiserver"


def test_a_registry_without_a_user_asks_for_no_password_and_with_one_it_does() -> None:
    plain = json.loads(render_config(Path("/d"), Access(), address="a:1", keys=Path("/k")))
    closed = json.loads(render_config(Path("/d"), Access(tls=True, user="u"), address="a:1", keys=Path("/k")))
    assert "auth" not in plain
    assert "tls" not in plain["http"]
    assert closed["auth"]["htpasswd"]["path"] == "/k/htpasswd"
    assert closed["http"]["tls"]["key"] == "/k/registry.key"


def test_simulated_nodes_keep_real_pods_off_and_have_the_room_asked_for() -> None:
    first, second = render_nodes(2, {"zone": "a"}, {"nvidia.com/gpu": "8"}, "gpu")
    assert [first["metadata"]["name"], second["metadata"]["name"]] == ["gpu-0", "gpu-1"]
    assert first["spec"]["taints"][0]["effect"] == "NoSchedule"
    assert first["metadata"]["labels"]["zone"] == "a"
    assert first["status"]["allocatable"]["nvidia.com/gpu"] == "8"


def test_binaries_are_built_anew_when_a_source_changes_and_only_then(tmp_path: Path) -> None:
    for name, text in (("go.mod", "module x"), ("go.sum", ""), ("main.go", "package main")):
        (tmp_path / name).write_text(text)
    first = build.source_digest(tmp_path)
    assert build.source_digest(tmp_path) == first
    (tmp_path / "main.go").write_text("package main // changed")
    assert build.source_digest(tmp_path) != first


def test_every_program_calls_itself_the_version_it_was_built_from() -> None:
    flags = build.version_flags()
    assert "k8s.io/component-base/version.gitVersion=v1.36.3" in flags
    assert "k8s.io/client-go/pkg/version.gitMinor=36" in flags


def test_the_command_line_describes_nodes_with_their_labels() -> None:
    asked = parse_arguments(["up", "--name", "x", "--nodes", "3", "--labels", "a=1,b=2", "--labels", "c="])
    options = options_of(asked)
    assert [dict(node.labels) for node in options.nodes] == [{"a": "1", "b": "2"}, {"c": ""}, {}]
    assert options.keep


def test_hierarchies_of_version_two_are_one_and_of_version_one_many(tmp_path: Path) -> None:
    for name in ("memory", "cpu", "unified"):
        (tmp_path / name).mkdir()
    (tmp_path / "cpuacct").symlink_to("cpu")
    assert [path.name for path in hierarchies(tmp_path)] == ["cpu", "memory", "unified"]
    (tmp_path / "cgroup.controllers").write_text("cpu")
    assert hierarchies(tmp_path) == [tmp_path]


@pytest.mark.parametrize("command", [["up", "--audit", "some"], ["up", "--nodes", "many"], ["fly"], []])
def test_a_wrong_command_line_is_refused(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_arguments(command)
    assert "usage: python -m e2e.cluster" in capsys.readouterr().err
