"""The `local` provider: a cluster in namespaces of this machine, without a Docker engine."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from e2e.cluster import host, netns, shared_host, state
from e2e.cluster.addressing import MAX_NODES, REGISTRY_PORT, Addressing
from e2e.cluster.audit import AuditLog
from e2e.cluster.build import ensure_binaries
from e2e.cluster.control_plane import ControlPlane, ControlPlaneOptions
from e2e.cluster.errors import ClusterError
from e2e.cluster.paths import run_dir
from e2e.cluster.progress import Report, silent
from e2e.cluster.provider import Node, Options


class LocalCluster:
    """See :class:`e2e.cluster.provider.Cluster`."""

    def __init__(self, options: Options, *, report: Report = silent) -> None:
        state.require_valid_name(options.name)
        if len(options.nodes) > MAX_NODES:
            raise ClusterError(f"{len(options.nodes)} nodes wanted, {MAX_NODES} possible", remedy="ask for fewer")
        self.options = options
        self.name = options.name
        self.directory = run_dir() / options.name
        self.kubeconfig = self.directory / "kubeconfig"
        self.audit = AuditLog(self.directory / "audit.jsonl")
        self.report = report

    @property
    def record(self) -> state.Record:
        """What is written down about the running cluster."""
        record = state.Record.read(self.name)
        if record is None:
            raise ClusterError(
                f"cluster {self.name} does not run", remedy=f"python -m e2e.cluster up --name {self.name}"
            )
        return record

    @property
    def addressing(self) -> Addressing:
        return self.record.addressing

    @property
    def binaries(self) -> Path:
        return Path(self.record.binaries)

    @property
    def control_plane(self) -> ControlPlane:
        record = self.record
        options = ControlPlaneOptions(record.api_port, self.options.audit_level, self.options.api_server_flags)
        return ControlPlane(self.directory, self.binaries, record.addressing, options)

    def is_running(self) -> bool:
        """Whether the cluster is up and its API answers."""
        if state.Record.read(self.name) is None:
            return False
        try:
            return self.kubectl("--request-timeout=3s", "get", "--raw", "/readyz") == "ok"
        except ClusterError:
            return False

    def start(self) -> None:
        if self.options.control_plane_only:
            host.check_control_plane(self.report)
        else:
            host.check_nodes(self.report, self.directory)
        binaries = ensure_binaries(self.report)
        self._claim(binaries)
        try:
            self.control_plane.start(self.report)
        except BaseException:
            if "SEKISHO_KEEP_CLUSTER" not in os.environ:
                self.stop()
            raise

    def stop(self) -> None:
        with state.lock():
            record = state.Record.read(self.name)
            if record is not None:
                remove(record)
            shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def tool_command(self, tool: str, *arguments: str) -> tuple[str, ...]:
        """Return the command line of `kubectl` or `helm`, bound to this cluster, that leaves nothing in the home."""
        program = str(self.binaries / tool)
        if tool == "kubectl":
            flags = (f"--kubeconfig={self.kubeconfig}", f"--cache-dir={self.directory}/kube-cache")
            return (program, *flags, *arguments)
        homes = (f"HELM_{kind}_HOME={self.directory}/helm/{kind.lower()}" for kind in ("CACHE", "CONFIG", "DATA"))
        return ("env", *homes, f"KUBECONFIG={self.kubeconfig}", program, *arguments)

    def kubectl(self, *arguments: str, stdin: str | None = None, check: bool = True) -> str:
        return netns.run(self.tool_command("kubectl", *arguments), stdin=stdin, check=check)

    def helm(self, *arguments: str) -> str:
        return netns.run(self.tool_command("helm", *arguments))

    def _claim(self, binaries: Path) -> None:
        """Write the cluster down, after removing what a crashed one of its name and orphans of others left."""
        with state.lock():
            for record in state.records():
                if record.name == self.name or record.is_orphan():
                    remove(record)
            number, port = state.allocate(self.options.api_port)
            nodes = () if self.options.control_plane_only else self.options.nodes
            owner = None if self.options.keep else state.current_owner()
            state.Record(
                name=self.name,
                number=number,
                api_port=port,
                binaries=str(binaries),
                control_plane_only=self.options.control_plane_only,
                nodes=tuple((f"n{index}", dict(node.labels)) for index, node in enumerate(nodes, start=1)),
                owner=owner,
            ).write()


def remove(record: state.Record) -> None:
    """Remove a cluster from what is written down about it. Call it under the lock; it may be half there."""
    options = ControlPlaneOptions(record.api_port)
    ControlPlane(record.directory, Path(record.binaries), record.addressing, options).stop()
    for namespace in netns.existing(record.addressing.netns_prefix):
        namespace.destroy()
    shutil.rmtree(record.directory, ignore_errors=True)
