"""Builds the cluster's programs from Go modules, once, into a cache outside the source tree."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from e2e.cluster import host, simulated
from e2e.cluster.errors import ClusterError
from e2e.cluster.paths import GO_SOURCES, cache_dir
from e2e.cluster.progress import Report, ticking

KUBERNETES_VERSION = "v1.36.3"
HELM = "helm.sh/helm/v4/cmd/helm@v4.2.4"
KUBECONFORM = "github.com/yannh/kubeconform/cmd/kubeconform@v0.7.0"
PROGRAMS_OF_KUBEBINS = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
    "netpol",
)


@dataclass(frozen=True, slots=True)
class Step:
    """One `go build` or `go install`."""

    binary: str
    package: str
    what: str
    expected: str


STEPS = (
    Step(
        "kubebins", "./kubebins", "Kubernetes, etcd and kube-router", "4 to 5 minutes on 2 cores when nothing is cached"
    ),
    Step("kubectl", "./kubectl", "kubectl", "about 5 s"),
    Step("coredns", "./coredns", "CoreDNS", "about 10 s"),
    Step("probe", "./probe", "the test probe", "about 1 s"),
    Step("kwok", "sigs.k8s.io/kwok/cmd/kwok", "kwok", "about 10 s"),
    Step("helm", HELM, "Helm", "about 1 minute"),
    Step("kubeconform", KUBECONFORM, "kubeconform", "about 5 s"),
)


def version_flags() -> str:
    """Return the linker flags that make every program call itself the version it was built from."""
    major, minor, _ = KUBERNETES_VERSION.removeprefix("v").split(".")
    stamps = {
        "k8s.io/component-base/version.gitVersion": KUBERNETES_VERSION,
        "k8s.io/component-base/version.gitMajor": major,
        "k8s.io/component-base/version.gitMinor": minor,
        "k8s.io/component-base/version.gitTreeState": "clean",
        "k8s.io/component-base/version.gitCommit": "unknown",
        "k8s.io/component-base/version.buildDate": "2026-01-01T00:00:00Z",
        "k8s.io/client-go/pkg/version.gitVersion": KUBERNETES_VERSION,
        "k8s.io/client-go/pkg/version.gitMajor": major,
        "k8s.io/client-go/pkg/version.gitMinor": minor,
    }
    return " ".join(["-s -w", *(f"-X {name}={value}" for name, value in stamps.items())])


def source_digest(sources: Path = GO_SOURCES) -> str:
    """Return a short digest of everything the binaries are made from."""
    digest = hashlib.sha256()
    for file in sorted([sources / "go.mod", sources / "go.sum", *sources.rglob("*.go")]):
        digest.update(file.relative_to(sources).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    digest.update(version_flags().encode() + repr((STEPS, simulated.STAGES)).encode())
    return digest.hexdigest()[:12]


def binaries_dir() -> Path:
    """Return where the binaries of the present sources belong, built or not."""
    return cache_dir() / f"bin-{source_digest()}"


def ensure_binaries(report: Report) -> Path:
    """Return the directory of the binaries, building them first where they are missing."""
    target = binaries_dir()
    if target.is_dir():
        report(f"binaries are built already: {target}")
        return target
    host.require_go()
    target.parent.mkdir(parents=True, exist_ok=True)
    with _lock(target.parent / ".build.lock", report):
        if not target.is_dir():
            _build_into(target)
    report(f"binaries: {target}")
    return target


def ensure_tool(package: str, report: Report) -> Path:
    """Return the program of a Go package at a fixed version, which some test needs, building it where it is missing."""
    path, _, version = package.partition("@")
    name = path.rpartition("/")[2]
    target = cache_dir() / "tools" / f"{name}@{version}"
    if target.exists():
        return target
    host.require_go()
    target.parent.mkdir(parents=True, exist_ok=True)
    with _lock(target.parent / ".build.lock", report), tempfile.TemporaryDirectory(dir=target.parent) as unfinished:
        if not target.exists():
            _build(Step(name, package, name, "about 1 minute"), Path(unfinished))
            (Path(unfinished) / name).rename(target)
    return target


def _build_into(target: Path) -> None:
    for left in target.parent.glob(".bin-*"):  # of builds that were killed: whoever is here holds the lock
        shutil.rmtree(left, ignore_errors=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        for step in STEPS:
            with ticking(step.what, expected=step.expected):
                _build(step, unfinished)
        (unfinished / "kwok-stages.yaml").write_text(_kwok_stages())
        for name in PROGRAMS_OF_KUBEBINS:
            (unfinished / name).symlink_to("kubebins")
        unfinished.chmod(0o755)
        unfinished.rename(target)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _build(step: Step, directory: Path) -> None:
    environment = _environment() | {"GOFLAGS": "-mod=readonly -buildvcs=false"}
    if "@" in step.package:
        environment |= {"GOBIN": str(directory), "GOFLAGS": "-buildvcs=false"}
        command = ["go", "install", "-trimpath", "-ldflags", "-s -w", step.package]
    else:
        command = [
            "go",
            "build",
            "-trimpath",
            "-ldflags",
            version_flags(),
            "-o",
            str(directory / step.binary),
            step.package,
        ]
    done = subprocess.run(command, cwd=GO_SOURCES, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ClusterError(
            f"building {step.what} failed:\n{done.stderr[-4000:]}",
            remedy="the Go module proxy must be reachable and about 6 GB of disk free; then run the command again",
        )


def _environment() -> dict[str, str]:
    """Return ours for Go, which needs a home even where a service or a cron job has none."""
    own = {name: value for name, value in os.environ.items() if name != "GOMAXPROCS"}  # compilers may have all cores
    return {"HOME": str(Path.home())} | own | {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local"}


def _kwok_stages() -> str:
    command = ["go", "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/kwok"]
    done = subprocess.run(command, cwd=GO_SOURCES, env=_environment(), check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise ClusterError(f"kwok's sources are not found: {done.stderr[-4000:]}", remedy="run the command again")
    return simulated.stages_of_module(Path(done.stdout.strip()))


@contextmanager
def _lock(file: Path, report: Report) -> Iterator[None]:
    """Hold a lock so that two processes do not build at once; the second waits and finds the work done."""
    with file.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report("another process is building the binaries; waiting for it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
