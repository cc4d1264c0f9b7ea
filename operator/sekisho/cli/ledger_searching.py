"""Search over verified logs, with an honest count of what was examined and what could not be."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from sekisho.classify.lattice import DataClass
from sekisho.cli.failures import refuse
from sekisho.cli.ledger_keys import read_log_keys
from sekisho.cli.ledger_verifying import Found, Kept, verify_sources
from sekisho.cli.progress import open_meter
from sekisho.errors import Reason
from sekisho.ledger.entry import parse_entry

_CLOSED: Final = "Closed"
_MAX_NAMES: Final = 1000
_RELAYED: Final = "relayed"
Entry = Mapping[str, Any]
Filter = Callable[[Entry], bool]


@dataclass(frozen=True, slots=True)
class ClassWish:
    """Which classes are searched for: those that dominate one, or that one alone."""

    value: DataClass
    and_above: bool
    levels: tuple[str, ...]

    def matches(self, label: object) -> bool | None:
        """Tell whether an entry's class is meant; None where its level is none of the policy's."""
        level, *compartments = str(label).split(".")
        if level not in self.levels:
            return None
        found = DataClass(self.levels.index(level), level, frozenset(compartments))
        return found.dominates(self.value) if self.and_above else found == self.value


@dataclass(slots=True)
class Tally:
    """What was seen.

    Attributes:
        matching: Entries that all filters but --left-closed-network let pass.
        closed: Of those, relayed to a site of tier Closed.
        unknown: Of those, relayed, and the entry names no tier.
        unclassed: Entries whose class is none of the levels.
        decisions, services: Words and names that entries have, the first of each.
        ages: The oldest evidence of a Closed site; None where an entry names none.
    """

    examined: int = 0
    matching: int = 0
    closed: int = 0
    unknown: int = 0
    unclassed: int = 0
    hits: int = 0
    oldest_evidence: float | None = 0.0
    decisions: set[str] = field(default_factory=set)
    services: set[str] = field(default_factory=set)
    shown: list[dict[str, Any]] = field(default_factory=list)


def search(given: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Search; nothing is told before everything is verified.

    Raises:
        OSError: A file cannot be read.
        RefusedError: A log does not verify, or a filter cannot be understood.
    """
    wish, filters, tally = _read_class(given), _read_filters(given), Tally()

    def look(origin: str, index: int, data: bytes) -> None:
        _look(tally, parse_entry(data), given, wish, filters, place={"log": origin, "index": index})

    meter = open_meter(as_json=given["as_json"])
    found = verify_sources(given["sources"], read_log_keys(given["keys"]), Kept(), meter=meter, look=look)
    _keep_earliest(tally.shown, given["limit"])
    return _describe(found, tally, given, wish)


def _look(
    tally: Tally, entry: Entry, given: Mapping[str, Any], wish: ClassWish | None, filters: list[Filter],
    *, place: dict[str, Any],
) -> None:  # fmt: skip
    tally.examined += 1
    _note_names(tally.decisions, entry.get("decision"))
    _note_names(tally.services, entry.get("model"), entry.get("service"))
    if wish is not None:
        matches = wish.matches(entry["class"]) if "class" in entry else False
        if matches is None:
            tally.unclassed += 1
        if not matches:
            return
    if not all(fits(entry) for fits in filters):
        return
    tally.matching += 1
    if given["left_closed_network"] and not _left(tally, entry):
        return
    tally.hits += 1
    tally.shown.append(place | {"entry": dict(entry)})
    if len(tally.shown) > 2 * given["limit"]:
        _keep_earliest(tally.shown, given["limit"])


def _keep_earliest(shown: list[dict[str, Any]], most: int) -> None:
    """Sort what is shown by time, whichever replica wrote it, and drop the rest."""
    shown.sort(key=lambda hit: (str(hit["entry"].get("at", "")), hit["log"], hit["index"]))
    del shown[most:]


def _note_names(known: set[str], *found: object) -> None:
    for name in found:
        if isinstance(name, str) and len(known) < _MAX_NAMES:
            known.add(name)


def _left(tally: Tally, entry: Entry) -> bool:
    """Tell whether a request left the closed network, and count what did not, or cannot be told."""
    if entry.get("decision") != _RELAYED:
        return False
    backend = entry.get("backend")
    tier = backend.get("tier") if isinstance(backend, dict) else None
    if tier is None:
        tally.unknown += 1
        return False
    if tier != _CLOSED:
        return True
    tally.closed += 1
    age = backend.get("evidenceAgeSeconds") if isinstance(backend, dict) else None
    if not isinstance(age, int | float) or tally.oldest_evidence is None:
        tally.oldest_evidence = None
    else:
        tally.oldest_evidence = max(tally.oldest_evidence, float(age))
    return False


def _read_class(given: Mapping[str, Any]) -> ClassWish | None:
    text = given["data_class"]
    if text is None:
        return None
    levels = tuple(name.strip() for name in given["levels"].split(",") if name.strip())
    level, *compartments = text.removeprefix(">=").strip().replace("+", ".").split(".")
    if level not in levels:
        raise refuse(f"{level!r} is none of the levels {', '.join(levels)}; see --levels", reason=Reason.UNKNOWN_LEVEL)
    return ClassWish(
        DataClass(levels.index(level), level, frozenset(compartments)), text.startswith(">="), levels
    )  # fmt: skip


def _read_filters(given: Mapping[str, Any]) -> list[Filter]:
    filters: list[Filter] = []
    if given["service"] is not None:
        filters.append(lambda entry: entry.get("model") == given["service"] or entry.get("service") == given["service"])
    if given["decision"] is not None:
        filters.append(lambda entry: entry.get("decision") == given["decision"])
    since, until = (_parse_time(given[name], name) for name in ("since", "until"))
    if since is not None:
        filters.append(lambda entry: (at := _time_of(entry)) is not None and at >= since)
    if until is not None:
        filters.append(lambda entry: (at := _time_of(entry)) is not None and at < until)
    return filters


def _parse_time(text: str | None, name: str) -> datetime | None:
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise refuse(
            f"--{name}: {text[:64]!r} is no time such as 2026-10-01 or 2026-10-01T09:00:00Z", reason=Reason.INVALID_SPEC
        ) from None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def _time_of(entry: Entry) -> datetime | None:
    try:
        return datetime.fromisoformat(str(entry.get("at")))
    except ValueError:
        return None


def _describe(
    found: Found, tally: Tally, given: Mapping[str, Any], wish: ClassWish | None
) -> tuple[dict[str, Any], str]:
    facts = {
        "records": found.records, "examined": tally.examined, "expired": found.expired, "matching": tally.matching,
        "hits": tally.hits, "closed": tally.closed, "unknown": tally.unknown, "unclassed": tally.unclassed,
        "oldestEvidenceSeconds": tally.oldest_evidence if tally.closed else None, "entries": tally.shown,
    }  # fmt: skip
    lines = [_spell_hit(hit) for hit in tally.shown]
    if tally.hits > len(tally.shown):
        lines.append(f"… and {tally.hits - len(tally.shown):,} more; see --limit")
    head = f"{tally.hits:,} found." if tally.hits else "none."
    lines.append(f"{head} ({'; '.join(_prove(found, tally, given, wish))})")
    return facts, "\n".join(lines)


def _prove(found: Found, tally: Tally, given: Mapping[str, Any], wish: ClassWish | None) -> list[str]:
    whole = tally.examined == found.records
    proof = [f"proof: {'all ' if whole else ''}{tally.examined:,} records examined"]
    if not whole:
        proof.append(f"{found.expired:,} could not be: retention removed their text")
    if wish is not None:
        spelt = f"{wish.value} or above" if wish.and_above else str(wish.value)
        proof.append(f"{tally.matching:,} of class {spelt}")
    if given["left_closed_network"]:
        proof += _prove_closed(tally)
    proof += _tell_unheard("decision", given["decision"], tally.decisions)
    proof += _tell_unheard("service", given["service"], tally.services)
    if tally.unclassed:
        proof.append(f"{tally.unclassed:,} are of a level that --levels does not name")
    return proof


def _tell_unheard(what: str, wanted: str | None, known: set[str]) -> list[str]:
    """Say that what was asked for stands nowhere: it may be misspelt."""
    if wanted is None or wanted in known or len(known) >= _MAX_NAMES:
        return []
    told = ", ".join(sorted(known)[:8]) or "none"
    return [f"none that was examined has the {what} {wanted[:64]!r}, there are {told}"]


def _prove_closed(tally: Tally) -> list[str]:
    told = [f"{tally.closed:,} served at a Closed site"]
    if tally.closed and tally.oldest_evidence is not None:
        told[0] += f" with evidence of at most {tally.oldest_evidence:,.0f} s"
    if tally.unknown:
        told.append(f"of {tally.unknown:,} it cannot be told: their entries name no tier")
    return told


def _spell_hit(hit: Mapping[str, Any]) -> str:
    entry = hit["entry"]
    caller, backend = entry.get("caller"), entry.get("backend")
    parts = [
        *(str(entry.get(name) or "-") for name in ("at", "kind", "decision", "class", "model")),
        str(caller.get("username", "-")) if isinstance(caller, dict) else "-",
        f"{backend.get('site', '-')} ({backend.get('tier', '-')})" if isinstance(backend, dict) else "-",
        f"{hit['log']}#{hit['index']}",
    ]  # fmt: skip
    return "  ".join(part if part.isprintable() else repr(part) for part in parts)
