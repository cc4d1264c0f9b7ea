"""What is written down about running clusters, so that any process can find, use and remove them."""

import contextlib
import fcntl
import json
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from e2e.cluster import host
from e2e.cluster.addressing import NUMBERS, Addressing
from e2e.cluster.audit import AuditLevel
from e2e.cluster.errors import ClusterError
from e2e.cluster.netns import NetworkNamespace, existing
from e2e.cluster.paths import make_run_dir, run_dir
from e2e.cluster.processes import ProcessId

NAME_PATTERN = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Record:
    """One cluster: written before anything of it is started."""

    name: str
    number: int
    api_port: int
    binaries: str
    control_plane_only: bool
    nodes: tuple[tuple[str, dict[str, str]], ...] = ()
    """Name and labels of each real node, n1 first."""
    owner: ProcessId | None = None
    """The process whose end makes the cluster an orphan: who uses it, or starts it; None for one that is to stay."""

    audit_level: AuditLevel = "writes"
    api_server_flags: tuple[str, ...] = ()

    @property
    def directory(self) -> Path:
        return run_dir() / self.name

    @property
    def addressing(self) -> Addressing:
        return Addressing(self.number)

    def write(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        unfinished = self.directory / ".cluster.json"
        unfinished.write_text(json.dumps(asdict(self)))
        unfinished.rename(self.directory / "cluster.json")

    @classmethod
    def read(cls, name: str) -> "Record | None":
        """Return what is written down; what another commit wrote beside what is known here is left out.

        Raises:
            ClusterError: Another commit wrote it, and without what is needed here.
        """
        file = run_dir() / name / "cluster.json"
        try:
            content = json.loads(file.read_text())
        except (FileNotFoundError, ValueError):
            return None
        known = {field.name for field in fields(cls)}
        content = {key: value for key, value in content.items() if key in known}
        owner = content.pop("owner", None)
        nodes = tuple((node, labels) for node, labels in content.pop("nodes", ()))
        flags = tuple(content.pop("api_server_flags", ()))
        try:
            owner = None if owner is None else ProcessId(**owner)
            return cls(**content, api_server_flags=flags, nodes=nodes, owner=owner)
        except TypeError as error:
            raise ClusterError(
                f"{file} was written by another version of the sources: {error}",
                remedy=f"remove cluster {name} with that version; after a restart of the machine, remove its folder",
            ) from error

    def is_orphan(self) -> bool:
        return self.owner is not None and not self.owner.is_alive()

    def has_networks(self) -> bool:
        """Whether anything of it is there: a restart of the machine leaves only what is written down."""
        return bool(existing(self.addressing.netns_prefix))


def require_valid_name(name: str) -> None:
    if not NAME_PATTERN.fullmatch(name):
        raise ClusterError(
            f"{name!r} cannot name a cluster",
            remedy="use up to 40 lower-case letters, digits and hyphens, beginning and ending with a letter or digit",
        )


@contextlib.contextmanager
def lock() -> Iterator[None]:
    """Serialize changes to the set of clusters among the processes of this machine."""
    with (make_run_dir() / ".lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def records() -> list[Record]:
    """Return every cluster written down, running or left by a crash."""
    if not run_dir().is_dir():
        return []
    found = (Record.read(entry.name) for entry in sorted(run_dir().iterdir()) if entry.is_dir())
    return [record for record in found if record is not None]


def unrecorded() -> list[NetworkNamespace]:
    """Return namespaces like ours of no cluster here: one of another cache, or one whose folder somebody removed."""
    prefixes = tuple(record.addressing.netns_prefix for record in records())
    return [
        namespace
        for number in NUMBERS
        for namespace in existing(Addressing(number).netns_prefix)
        if not namespace.name.startswith(prefixes or ("\0",))
    ]


def allocate(wanted_port: int | None) -> tuple[int, int]:
    """Return a free cluster number and the host port of its API; call it under the lock.

    Raises:
        ClusterError: The wanted port is in use, or every number is taken.
    """
    if wanted_port is not None:
        host.require_free_port(wanted_port)
    taken = {record.number for record in records()}
    for number in NUMBERS:
        addressing = Addressing(number)
        if number in taken or NetworkNamespace(addressing.control_plane_netns).exists():
            continue
        port = wanted_port or addressing.default_api_port
        if host.is_port_free(port):
            return number, port
    raise ClusterError(
        f"no number from {NUMBERS.start} to {NUMBERS.stop - 1} is free: {len(taken)} clusters run "
        f"({', '.join(record.name for record in records()) or 'none of ours'}) and the other ports from "
        f"{Addressing(1).default_api_port} on are in use",
        remedy="remove one with `python -m e2e.cluster down --name NAME`, or give a free port with --port",
    )


def current_owner() -> ProcessId:
    owner = ProcessId.of(os.getpid())
    assert owner is not None
    return owner
