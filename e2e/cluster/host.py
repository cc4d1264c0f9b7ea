"""What the machine must have for a local cluster, checked before anything is started."""

import errno
import fcntl
import os
import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from e2e.cluster.errors import ClusterError
from e2e.cluster.paths import GO_SOURCES, cache_dir
from e2e.cluster.progress import Report

CNI_PLUGINS = Path("/usr/lib/cni")

# a file or program whose absence means that the Debian package is missing
CONTROL_PLANE_PACKAGES = {"ip": "iproute2", "nsenter": "util-linux", "sysctl": "procps"}
NODE_PACKAGES = CONTROL_PLANE_PACKAGES | {
    "containerd": "containerd",
    "runc": "runc",
    str(CNI_PLUGINS / "bridge"): "containernetworking-plugins",
    "iptables": "iptables",
    "nft": "nftables",
    "ipset": "ipset",
    "conntrack": "conntrack",
    "/bin/busybox": "busybox-static",
    "modprobe": "kmod",
}
SYSTEM_FOLDERS = ("/usr/sbin", "/sbin")
POLICY = "#!/bin/sh\n# sekisho's test cluster installs packages whose services must not start\nexit 101\n"
LEAST_ROOM_BYTES = 3 << 30
LEAST_ROOM_SHARE = 0.02
"""A kubelet puts pods out when one part in a hundred of the disk is left."""
MODULES = ("overlay", "br_netfilter", "nf_tables", "ip_set", "veth")


def missing_packages(wanted: dict[str, str], *, path: str | None = None) -> list[str]:
    """Return the Debian packages whose program or file is not there, sorted."""
    search = path if path is not None else ":".join((os.environ.get("PATH", ""), *SYSTEM_FOLDERS))
    return sorted(
        package
        for name, package in wanted.items()
        if not (Path(name).exists() if name.startswith("/") else shutil.which(name, path=search))
    )


def search_system_folders() -> None:
    """Let programs of the system be found from now on: who became root by `su` alone has a user's PATH."""
    folders = os.environ.get("PATH", "").split(":")
    os.environ["PATH"] = ":".join([*folders, *(folder for folder in SYSTEM_FOLDERS if folder not in folders)])


def require_root(uid: int | None = None) -> None:
    """Refuse anyone but root: namespaces, mounts and cgroups need it."""
    uid = os.geteuid() if uid is None else uid
    if uid != 0:
        raise ClusterError(
            f"the local cluster makes network namespaces, mounts and cgroups and needs root; this is user {uid}",
            remedy="run the same command with sudo, or start a Docker engine and use --provider kind",
        )


def require_packages(
    wanted: dict[str, str], report: Report, *, installer: str = "apt-get", uid: int | None = None
) -> None:
    """Install the Debian packages that are missing, or say which ones a person must install."""
    missing = missing_packages(wanted)
    if not missing:
        return
    if shutil.which(installer) is None:
        raise ClusterError(
            f"missing programs of the Debian packages {', '.join(missing)}, and there is no {installer} here",
            remedy="install them with the package manager of this system, or use --provider kind",
        )
    uid = os.geteuid() if uid is None else uid
    if uid != 0:
        raise ClusterError(
            f"missing programs of the Debian packages {', '.join(missing)}, and user {uid} cannot install them",
            remedy=f"run `sudo apt-get install {' '.join(missing)}`",
        )
    with _only_one():
        if missing := missing_packages(wanted):
            report(f"installing Debian packages: {' '.join(missing)}")
            install_packages(missing)


@contextmanager
def _only_one() -> Iterator[None]:
    """Let one process install at a time, builders of images included: apt itself gives up where another one runs."""
    cache_dir().mkdir(parents=True, exist_ok=True)
    with (cache_dir() / "apt.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def install_packages(packages: Iterable[str]) -> None:
    """Install Debian packages without starting their services."""
    with _no_services():
        _apt_install(list(packages))


@contextmanager
def _no_services(policy: Path = Path("/usr/sbin/policy-rc.d")) -> Iterator[None]:
    """Keep packages from starting daemons that would listen on every interface: Debian asks this file."""
    if policy.exists() and policy.read_text() != POLICY:  # ours is left where we were killed, and goes after this
        yield
        return
    policy.write_text(POLICY)
    policy.chmod(0o755)
    try:
        yield
    finally:
        policy.unlink(missing_ok=True)


def _apt_install(packages: list[str]) -> None:
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    # What else on the machine installs, the system's own updates say, is waited for.
    patience = ("-o", "DPkg::Lock::Timeout=120")
    install = ["apt-get", "install", *patience, "-qq", "-y", "--no-install-recommends", *packages]
    if subprocess.run(install, env=environment, capture_output=True, check=False).returncode == 0:
        return
    subprocess.run(["apt-get", "update", "-qq"], env=environment, capture_output=True, check=False)
    done = subprocess.run(install, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ClusterError(
            f"apt-get could not install {' '.join(packages)}: {done.stderr.strip()[-1000:]}",
            remedy=f"run `apt-get update && apt-get install {' '.join(packages)}` and read what it says",
        )


def require_go(program: str = "go") -> None:
    """Refuse a machine without a Go toolchain that is new enough: the cluster's programs are built from source."""
    needed = wanted_go()
    remedy = f"install Go {needed} or newer (Debian 12 itself has 1.19) and put its `bin` into PATH"
    if shutil.which(program) is None:
        raise ClusterError("the cluster's programs are built from Go modules and no `go` is in PATH", remedy=remedy)
    environment = os.environ | {"GOTOOLCHAIN": "local"}
    done = subprocess.run([program, "env", "GOVERSION"], env=environment, capture_output=True, text=True, check=False)
    found = _read_version(done.stdout)
    if found is None:
        raise ClusterError(f"`go env GOVERSION` says: {(done.stderr or done.stdout).strip()}", remedy=remedy)
    if found < (_read_version(needed) or ()):
        raise ClusterError(f"`go` in PATH is {done.stdout.strip()} and too old", remedy=remedy)


def wanted_go(sources: Path = GO_SOURCES) -> str:
    """Return the oldest version of Go that the cluster's programs are built with."""
    lines = (line.split() for line in (sources / "go.mod").read_text().splitlines())
    return next(words[1] for words in lines if words[:1] == ["go"])


def _read_version(text: str) -> tuple[int, ...] | None:
    found = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    return tuple(int(part or 0) for part in found.groups()) if found else None


def require_overlayfs(directory: Path, *, mount: Sequence[str] = ("unshare", "--mount", "mount")) -> None:
    """Refuse a file system on which containerd could not stack image layers.

    Args:
        directory: Where the layers are to lie.
        mount: What mounts, without leaving the mount behind.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory, prefix=".overlay-") as scratch:
        base = Path(scratch)
        parts = {name: base / name for name in ("lower", "upper", "work", "merged")}
        for part in parts.values():
            part.mkdir()
        options = f"lowerdir={parts['lower']},upperdir={parts['upper']},workdir={parts['work']}"
        command = [*mount, "-t", "overlay", "overlay", "-o", options, str(parts["merged"])]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ClusterError(
            f"overlayfs cannot be mounted on {directory}: {done.stderr.strip()}",
            remedy="set SEKISHO_CACHE to a directory on ext4 or xfs (not on an overlay or a network file system), "
            "and load the kernel module `overlay`",
        )


def require_room(directory: Path, *, usage: Callable[[Path], tuple[int, int, int]] = shutil.disk_usage) -> None:
    """Refuse a disk on which nodes would put out their pods, or never be ready, for want of room."""
    total, _, free = usage(directory)
    needed = max(LEAST_ROOM_BYTES, int(total * LEAST_ROOM_SHARE))
    if free < needed:
        raise ClusterError(
            f"{free / 1e9:.1f} GB are free at {directory}, and nodes need {needed / 1e9:.1f} GB",
            remedy="make room, or set SEKISHO_CACHE to a directory on a larger disk",
        )


def require_network_namespaces(trial: Sequence[str] = ("unshare", "--net", "true")) -> None:
    """Refuse a container or kernel that forbids making network namespaces."""
    done = subprocess.run(list(trial), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ClusterError(
            f"network namespaces cannot be made here: {done.stderr.strip()}",
            remedy="run on a machine or virtual machine of your own, or in a container with --privileged",
        )


def require_cgroups(root: Path = Path("/sys/fs/cgroup")) -> None:
    """Refuse a machine whose cgroups are missing or read-only: a kubelet lives by them."""
    if not ((root / "cgroup.controllers").exists() or (root / "memory").is_dir()):
        raise ClusterError(
            f"no cgroup hierarchy is mounted at {root}", remedy="mount cgroup2 there, or run outside a container"
        )
    if not os.access(root, os.W_OK):
        raise ClusterError(f"{root} is read-only", remedy="run outside a container, or in one with --privileged")


def is_port_free(port: int) -> bool:
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("127.0.0.1", port))
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise
    return True


def require_free_port(port: int) -> None:
    if not is_port_free(port):
        raise ClusterError(
            f"port {port} of 127.0.0.1, which is to lead to the API server, is in use",
            remedy=f"end what listens there (`ss -ltnp 'sport = :{port}'` shows it) or choose another with --port",
        )


def load_modules() -> None:
    """Ask for the kernel modules of a node; where they are built in or cannot be loaded, later steps say so."""
    for module in MODULES:
        subprocess.run(["modprobe", "-q", module], capture_output=True, check=False)


def check_control_plane(report: Report) -> None:
    """Check, and where possible mend, what a control plane alone needs."""
    search_system_folders()
    require_root()
    require_packages(CONTROL_PLANE_PACKAGES, report)
    require_network_namespaces()


def check_nodes(report: Report, make_directory: Callable[[], Path]) -> None:
    """Check, and where possible mend, what real nodes need.

    Args:
        report: Hears what is installed.
        make_directory: Makes the folder where nodes lie; not called for anyone who may not have them.
    """
    search_system_folders()
    require_root()
    require_packages(NODE_PACKAGES, report)
    require_network_namespaces()
    load_modules()
    directory = make_directory()
    require_room(directory)
    require_overlayfs(directory)
    require_cgroups()
