"""What an agent notes of its lease for an agent that is started after it in the same pod. Nothing in it is secret."""

import contextlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from sekisho.agent.journal import log_event
from sekisho.agent.lease import Lease, Phase, Terms
from sekisho.agent.release import KeyRequest, parse_request
from sekisho.errors import SekishoError

_MAX_RECORD_BYTES: Final = 256 * 1024
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


def write_record(path: Path, lease: Lease, wanted: KeyRequest, *, boot_id: str) -> None:
    """Note a lease; where it cannot be noted, an agent that is started again asks anew."""
    terms = lease.terms
    if terms is None:
        return
    body = {
        "boot": boot_id,
        "ends": lease.ends,
        "due": lease.due,
        "terms": [terms.seconds, terms.ends_at, terms.policy_digest, terms.evidence_digest],
        "question": wanted.encode().decode(),
    }
    partial = path.with_suffix(".partial")
    try:
        partial.write_text(json.dumps(body), encoding="utf-8")
        partial.rename(path)
    except OSError as error:
        log_event("warning", f"the lease cannot be noted at {path}: {error.strerror}")


def end_record(path: Path, lease: Lease, wanted: KeyRequest | None, *, boot_id: str) -> None:
    """Note that a lease has ended before its time: an agent that is started now must not take it up."""
    try:
        path.unlink(missing_ok=True)  # first: on a full disk nothing new can be noted
    except OSError as error:
        log_event("error", f"the note of a lease that has ended cannot be removed from {path}: {error.strerror}")
    if wanted is not None:
        write_record(path, replace(lease, ends=0.0), wanted, boot_id=boot_id)


def read_record(path: Path, *, boot_id: str) -> tuple[Lease, KeyRequest | None] | None:
    """Read what an earlier agent noted; a lease of another boot, or one that cannot be read, ended long ago.

    Returns:
        None where nothing is noted.
    """
    try:
        with path.open("rb") as file:
            body: Any = json.loads(file.read(_MAX_RECORD_BYTES))
        wanted = parse_request(body["question"].encode())
        seconds, ends_at, policy, evidence = body["terms"]
        terms = Terms(float(seconds), str(ends_at), str(policy), str(evidence))
        ends, due = float(body["ends"]), float(body["due"])
        same_boot = bool(boot_id) and body["boot"] == boot_id
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, SekishoError):
        return Lease(Phase.HELD), None
    return Lease(Phase.HELD, terms, ends=ends if same_boot else 0.0, due=due), wanted


def read_boot_id(path: Path = _BOOT_ID) -> str:
    """Return what names this boot of the node; empty where it cannot be read, and then no lease outlives an agent."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return path.read_text(encoding="utf-8").strip()
    return ""
