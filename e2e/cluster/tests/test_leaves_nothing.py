"""Start, stop and start again: what was there before is there afterwards, nothing else."""

import signal
import subprocess
import sys
from pathlib import Path

from e2e.cluster import netns, shared_host, state
from e2e.cluster.addressing import Addressing
from e2e.cluster.cgroups import hierarchies
from e2e.cluster.local import LocalCluster
from e2e.cluster.paths import run_dir
from e2e.cluster.patience import PATIENCE_SECONDS
from e2e.cluster.processes import ProcessId, poll
from e2e.cluster.provider import NodeSpec, Options

NAME = "e2e-traces"


def output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def traces(prefix: str, directory: Path) -> dict[str, object]:
    """Return what a cluster could leave, as far as it can be told from other clusters of this machine."""

    def is_reused() -> bool:
        """Tell whether another worker's cluster has the number now: its record is there before it has anything."""
        return any(
            record.addressing.netns_prefix == prefix and record.directory != directory for record in state.records()
        )

    # It may have begun before anything is looked at and be gone afterwards, or have begun meanwhile.
    others = is_reused()
    mounts = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(directory) in line]
    processes = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if f"{directory}/".encode() in entry.read_bytes() and ProcessId.of(int(entry.parent.name)):
                processes.append(entry.parent.name)
        except (FileNotFoundError, ProcessLookupError):
            continue
    namespaces = [namespace.name for namespace in netns.existing(prefix)]
    cgroups = [path for root in hierarchies() for path in root.glob(f"sekisho/{prefix}*")]
    others = others or is_reused()
    return {
        "namespaces": [] if others else namespaces,
        "mounts": mounts,
        "processes": processes,
        "cgroups": [] if others else cgroups,
        "directory": directory.exists(),
    }


def machine() -> dict[str, str]:
    """Return settings of the machine that a cluster must not change."""
    return {
        "rules": output("nft", "list", "ruleset"),
        "routes": output("ip", "route", "show", "table", "all"),
        "addresses": output("ip", "-o", "addr", "show"),
        "policy rules": output("ip", "rule"),
        "forwarding": Path("/proc/sys/net/ipv4/ip_forward").read_text(),
    }


def sysctls() -> dict[str, str]:
    return {key: Path("/proc/sys", key).read_text() for key in shared_host.SYSCTLS}


def test_a_cluster_started_twice_leaves_nothing_behind() -> None:
    others = shared_host.users()
    before, settings = machine(), sysctls()
    others |= shared_host.users()
    cluster = LocalCluster(Options(name=NAME, nodes=(NodeSpec(),)))
    for _ in range(2):
        with cluster:
            prefix = cluster.addressing.netns_prefix
            running = traces(prefix, cluster.directory)
            assert running["namespaces"]
            assert running["processes"]
            assert running["cgroups"]
            assert machine() == before
        left = traces(prefix, cluster.directory)
        assert left == {"namespaces": [], "mounts": [], "processes": [], "cgroups": [], "directory": False}
    assert machine() == before
    assert NAME not in shared_host.users()
    others |= shared_host.users()
    now = sysctls()
    if not others | shared_host.users():  # the last cluster with nodes restores what kubelets set
        assert now == settings


def test_what_a_killed_run_left_is_removed_by_the_next_cluster_that_starts() -> None:
    script = (
        "import os, signal; from e2e.cluster.local import LocalCluster; "
        "from e2e.cluster.provider import NodeSpec, Options; "
        f"killed = LocalCluster(Options(name='{NAME}-killed', nodes=(NodeSpec(),))); killed.start(); "
        "print(killed.addressing.number, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    root = str(Path(__file__).parents[3])
    ran = subprocess.run(
        [sys.executable, "-c", script], check=False, cwd=root, capture_output=True, text=True, timeout=PATIENCE_SECONDS
    )
    assert ran.returncode == -signal.SIGKILL, ran.stderr
    prefix, directory = Addressing(int(ran.stdout)).netns_prefix, run_dir() / f"{NAME}-killed"
    # The next cluster may already be that of another worker.
    with LocalCluster(Options(name=f"{NAME}-next", control_plane_only=True)):
        assert state.Record.read(f"{NAME}-killed") is None
        assert not directory.exists()
    assert poll(lambda: not traces(prefix, directory)["processes"], seconds=PATIENCE_SECONDS)
