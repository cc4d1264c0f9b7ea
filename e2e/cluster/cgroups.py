"""A cgroup of its own for every node: two kubelets with one root would remove each other's pods."""

from functools import partial
from pathlib import Path

from e2e.cluster.processes import poll

ROOT = Path("/sys/fs/cgroup")
PARENT = "sekisho"
CONTROLLERS = ("cpuset", "cpu", "io", "memory", "hugetlb", "pids")


def hierarchies(root: Path = ROOT) -> list[Path]:
    """Return the roots of all hierarchies: one with cgroup v2, one for each controller (and a v2 one) with v1."""
    if (root / "cgroup.controllers").exists():
        return [root]
    return [entry for entry in sorted(root.iterdir()) if entry.is_dir() and not entry.is_symlink()]


def create(name: str) -> str:
    """Make the cgroup and return its path as a kubelet's `cgroupRoot`."""
    for hierarchy in hierarchies():
        for path in (hierarchy / PARENT, hierarchy / PARENT / name):
            path.mkdir(exist_ok=True)
            _inherit(path)
    return f"/{PARENT}/{name}"


def _inherit(path: Path) -> None:
    """Give a new cgroup what its parent has: v1 leaves cpusets empty, v2 controllers off."""
    for file in ("cpuset.cpus", "cpuset.mems"):
        if (path.parent / file).exists() and not (path.parent / "cgroup.controllers").exists():
            (path / file).write_text((path.parent / file).read_text())
    available = path.parent / "cgroup.controllers"
    if available.exists() and available.read_text().split():
        wanted = [f"+{name}" for name in available.read_text().split() if name in CONTROLLERS]
        (path.parent / "cgroup.subtree_control").write_text(" ".join(wanted))


def remove(name: str) -> None:
    """Remove the cgroup of a node whose processes have ended, and the common parent after the last node."""
    for hierarchy in hierarchies():
        poll(partial(_remove_tree, hierarchy / PARENT / name), seconds=60)
        _remove_tree(hierarchy / PARENT, only_if_empty=True)


def _remove_tree(top: Path, *, only_if_empty: bool = False) -> bool:
    if not top.is_dir():
        return True
    try:  # the kernel removes groups of its own accord, and other clusters come and go under the parent meanwhile
        if only_if_empty:
            top.rmdir()
            return True
        children = [child for child in top.rglob("*") if child.is_dir()]
        for path in [*sorted(children, key=lambda child: len(child.parts), reverse=True), top]:
            path.rmdir()
    except FileNotFoundError:
        return not top.exists()
    except OSError:  # a process in it is not yet gone, or another cluster's node is there
        return False
    return True
