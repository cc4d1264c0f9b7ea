"""What is missing on the machine is refused with its name and the remedy."""

import socket
from pathlib import Path

import pytest

from e2e.cluster import host
from e2e.cluster.errors import ClusterError
from e2e.cluster.progress import silent

ABSENT = {"/nowhere/at-all": "some-package", "no-such-program-here": "another-package"}


def test_anyone_but_root_is_refused_and_told_of_sudo_and_kind() -> None:
    with pytest.raises(ClusterError) as refusal:
        host.require_root(1000)
    assert "needs root; this is user 1000" in refusal.value.problem
    assert "sudo" in refusal.value.remedy
    assert "--provider kind" in refusal.value.remedy


def test_missing_packages_without_an_installer_are_refused_by_name() -> None:
    with pytest.raises(ClusterError) as refusal:
        host.require_packages(ABSENT, silent, installer="no-such-installer")
    assert "another-package, some-package" in refusal.value.problem
    assert "no no-such-installer here" in refusal.value.problem
    assert "install them" in refusal.value.remedy


def test_missing_packages_are_left_to_a_person_where_this_is_not_root() -> None:
    with pytest.raises(ClusterError, match="user 1000 cannot install them") as refusal:
        host.require_packages(ABSENT, silent, installer="sh", uid=1000)
    assert refusal.value.remedy == "run `sudo apt-get install another-package some-package`"


def test_present_programs_and_files_are_not_missing() -> None:
    assert host.missing_packages({"sh": "dash", "/bin/sh": "dash"}) == []
    assert host.missing_packages(ABSENT) == ["another-package", "some-package"]


def test_a_machine_without_go_is_refused() -> None:
    with pytest.raises(ClusterError, match="no `go` is in PATH") as refusal:
        host.require_go("no-such-go")
    assert "install Go 1.26" in refusal.value.remedy


def test_a_file_system_without_overlayfs_is_refused_with_the_variable_to_set(tmp_path: Path) -> None:
    with pytest.raises(ClusterError) as refusal:
        host.require_overlayfs(tmp_path / "cache", mount=("false",))
    assert f"overlayfs cannot be mounted on {tmp_path}/cache" in refusal.value.problem
    assert "SEKISHO_CACHE" in refusal.value.remedy
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_machine_that_forbids_network_namespaces_is_refused() -> None:
    with pytest.raises(ClusterError, match="network namespaces cannot be made here") as refusal:
        host.require_network_namespaces(("false",))
    assert "--privileged" in refusal.value.remedy


def test_a_machine_without_cgroups_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match=f"no cgroup hierarchy is mounted at {tmp_path}"):
        host.require_cgroups(tmp_path)


@pytest.mark.parametrize("kind", ["v1", "v2"])
def test_writable_cgroups_of_either_version_will_do(tmp_path: Path, kind: str) -> None:
    if kind == "v1":
        (tmp_path / "memory").mkdir()
    else:
        (tmp_path / "cgroup.controllers").write_text("cpu memory")
    host.require_cgroups(tmp_path)


def test_a_port_in_use_is_refused_with_its_number_and_the_option_to_change_it() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ClusterError) as refusal:
            host.require_free_port(port)
    assert f"port {port} of 127.0.0.1" in refusal.value.problem
    assert "--port" in refusal.value.remedy


def test_an_error_says_the_problem_and_then_what_to_do() -> None:
    assert str(ClusterError("it is broken", remedy="mend it")) == "it is broken\n  what to do: mend it"
