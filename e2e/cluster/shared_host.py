"""Settings of the machine that nodes change or need, and that are not namespaced: restored after the last one."""

import contextlib
import json
from pathlib import Path
from typing import Any

from e2e.cluster.paths import run_dir

# Nearly every program of a cluster watches files, and a machine allows one user 128 watchers unless told otherwise.
WANTED = {"fs/inotify/max_user_instances": 1024}
# a kubelet sets these for the whole machine
SYSCTLS = (
    *WANTED,
    "vm/overcommit_memory",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)
# mount points of a node that may not exist on the host; created empty, and removed again if we made them
MOUNT_POINTS = (
    "/run/netns",
    "/var/lib/kubelet",
    "/var/lib/containerd",
    "/run/containerd",
    "/var/log/pods",
    "/var/log/containers",
    "/etc/cni",
    "/etc/cni/net.d",
    "/var/lib/cni",
    "/opt/containerd",
)


def _file() -> Path:
    return run_dir() / ".host.json"


def _read() -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(_file().read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return content if content.get("boot") == _boot() else {}  # another boot has its settings from itself


def _write(content: dict[str, Any]) -> None:
    unfinished = _file().with_suffix(".unfinished")
    unfinished.write_text(json.dumps(content))
    unfinished.replace(_file())  # half of it would be taken for none, and the machine's own settings be lost


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def users() -> set[str]:
    """Return the clusters that have, or had before a crash, nodes."""
    return set(_read().get("users", []))


def acquire(name: str, others: set[str]) -> None:
    """Note that cluster `name` has nodes; the first one saves the settings. Call it under the lock.

    Args:
        name: The cluster that is about to start nodes.
        others: The clusters that exist now; users that are not among them were left by a crash.
    """
    state = _read()
    remaining = users() & others
    if not state:
        sysctls = {key: Path("/proc/sys", key).read_text().strip() for key in SYSCTLS}
        state = {
            "boot": _boot(),
            "sysctls": sysctls,
            "made": [path for path in MOUNT_POINTS if not Path(path).exists()],
        }
    state["users"] = sorted(remaining | {name})
    _write(state)
    for key, least in WANTED.items():
        setting = Path("/proc/sys", key)
        if int(setting.read_text()) < least:
            setting.write_text(str(least))
    for path in MOUNT_POINTS:
        Path(path).mkdir(parents=True, exist_ok=True)


def release(name: str, others: set[str]) -> None:
    """Note that cluster `name` has no nodes any more; the last one restores the settings. Call it under the lock."""
    state = _read()
    remaining = (users() & others) - {name}
    if not state:
        return
    if remaining:
        state["users"] = sorted(remaining)
        _write(state)
        return
    for key, value in state["sysctls"].items():
        Path("/proc/sys", key).write_text(value)
    for path in sorted(state["made"], reverse=True):
        with contextlib.suppress(OSError):
            Path(path).rmdir()
    _file().unlink()
