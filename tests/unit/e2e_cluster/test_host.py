"""What is missing on the machine is refused with its name and the remedy."""

import os
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


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ("echo go1.19.8", "`go` in PATH is go1.19.8 and too old"),
        ("echo broken >&2; exit 1", "`go env GOVERSION` says: broken"),
    ],
)
def test_the_go_of_an_old_distribution_is_refused_before_anything_is_built(
    said: str, problem: str, tmp_path: Path
) -> None:
    with pytest.raises(ClusterError) as refusal:
        host.require_go(pretend(tmp_path, said))
    assert refusal.value.problem == problem
    assert f"install Go {host.wanted_go()} or newer" in refusal.value.remedy


@pytest.mark.parametrize("version", ["go1.26.0", "go1.26.8", "go1.27", "devel go1.30-abc"])
def test_a_go_that_is_new_enough_will_do(version: str, tmp_path: Path) -> None:
    host.require_go(pretend(tmp_path, f"echo '{version}'"))


def pretend(folder: Path, script: str) -> str:
    program = folder / "go"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return str(program)


def test_a_disk_with_too_little_room_is_refused_before_a_kubelet_puts_pods_out(tmp_path: Path) -> None:
    with pytest.raises(ClusterError) as refusal:
        host.require_room(tmp_path, usage=lambda _: (1000 << 30, 0, 15 << 30))
    assert f"16.1 GB are free at {tmp_path}, and nodes need 21.5 GB" in refusal.value.problem
    assert "SEKISHO_CACHE" in refusal.value.remedy
    host.require_room(tmp_path, usage=lambda _: (100 << 30, 0, 15 << 30))


def test_programs_of_the_system_are_found_with_a_users_path_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/sbin")
    host.search_system_folders()
    host.search_system_folders()
    assert os.environ["PATH"] == "/usr/bin:/sbin:/usr/sbin"


@pytest.mark.parametrize(("before", "after"), [(None, False), (host.POLICY, False), ("#!/bin/sh\nexit 0\n", True)])
def test_what_keeps_services_from_starting_goes_even_if_a_killed_run_left_it_but_stays_where_it_is_a_persons(
    before: str | None, after: bool, tmp_path: Path
) -> None:
    policy = tmp_path / "policy-rc.d"
    if before is not None:
        policy.write_text(before)
    with host._no_services(policy):
        assert policy.read_text() == (before or host.POLICY)
    assert policy.exists() == after


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
