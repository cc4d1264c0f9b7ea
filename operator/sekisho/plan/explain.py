"""A service's placement as people read it: one table, the nearest miss, what would change it."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, Final

from sekisho.errors import Reason
from sekisho.plan.conditions import find_condition

# In the order in which placement looks: whoever fails later came further.
_DEPTH: Final = (
    Reason.NO_SITE, Reason.SITE_NOT_SELECTED, Reason.SITE_KIND_NOT_SERVED, Reason.TIER_NOT_ALLOWED,
    Reason.JURISDICTION_NOT_ALLOWED, Reason.TRUST_IMPOSSIBLE, Reason.NO_NODES, Reason.TRUST_MISSING,
    Reason.TRUST_TOO_OLD, Reason.NODES_NOT_READY, Reason.NODE_SELECTOR_MISMATCH, Reason.TAINT_NOT_TOLERATED,
    Reason.TENANCY_CONFLICT, Reason.ACCELERATOR_MISSING, Reason.GPU_MEMORY_SHORT, Reason.GPU_SHORT, Reason.CPU_SHORT,
    Reason.MEMORY_SHORT, Reason.POD_SLOTS_SHORT, Reason.OUTRANKED,
)  # fmt: skip
_REMEDY: Final[Mapping[str, str]] = {
    Reason.NO_SITE: "a Site of that name is created, or the service asks for another.",
    Reason.SITE_NOT_SELECTED: "the service names the site in spec.placement.sites, or none at all.",
    Reason.TIER_NOT_ALLOWED: "nothing at this site; the class decides which tiers it may use.",
    Reason.JURISDICTION_NOT_ALLOWED: "nothing at this site; the class decides whose law may apply.",
    Reason.TRUST_IMPOSSIBLE: "the policy names a proof that level and compartments accept alike.",
    Reason.NO_NODES: "a node with the site's labels joins.",
    Reason.TRUST_MISSING: "a node of the site is attested.",
    Reason.TRUST_TOO_OLD: "a node of the site is attested again.",
    Reason.NODES_NOT_READY: "a node of the site becomes ready.",
    Reason.NODE_SELECTOR_MISMATCH: "the service's nodeSelector fits a node of the site.",
    Reason.TAINT_NOT_TOLERATED: "the service tolerates the taint, or the taint is removed.",
    Reason.TENANCY_CONFLICT: "a node of the site is free of others' services.",
}
_ROOM: Final = "the service asks for less, or room is made."
_WIDTH: Final = 100


def explain_service(namespace: str, name: str, status: Mapping[str, Any]) -> str:
    """Explain from a published status where a service runs, or why nowhere; ends with a newline."""
    who = f"{namespace}/{name}"
    accepted = find_condition(status, "Accepted")
    if not accepted:
        return f"{who} has not been looked at yet.\n"
    if accepted.get("status") != "True":
        return _fill(f"{who} is not accepted ({accepted.get('reason')}): {accepted.get('message')}.")
    placement = status.get("placement") or {}
    data_class = (status.get("class") or {}).get("display", "")
    if placement.get("site"):
        head = f"{who} (class {data_class}) runs at {placement['site']}: {placement.get('because')}."
    else:
        head = f"{who} is not placed: no site may and can run class {data_class}."
    parts = [_fill(head), *_explain_class(status), *_explain_sites(placement), *_explain_state(status)]
    return "\n".join(parts)


def _fill(text: str) -> str:
    return textwrap.fill(text.replace("..", "."), _WIDTH, break_long_words=False, break_on_hyphens=False) + "\n"


def _explain_class(status: Mapping[str, Any]) -> list[str]:
    floors = (status.get("class") or {}).get("from") or ()
    rows = [(item["source"], "+".join([item["level"], *item.get("compartments", ())])) for item in floors]
    return [_table(("class from", "asks for"), rows)] if rows else []


def _explain_sites(placement: Mapping[str, Any]) -> list[str]:
    rejected = placement.get("rejected") or ()
    if not rejected:
        return [] if placement.get("site") else ["There is no Site.\n"]
    rows = [(item["site"], _spell(item["reason"]), item["detail"]) for item in rejected]
    table = _table(("site", "verdict", "what disagrees"), rows)
    if placement.get("site"):
        return [table]
    nearest = max(rejected, key=lambda item: _depth(item["reason"]))
    remedy = _REMEDY.get(nearest["reason"], _ROOM)
    return [table, _fill(f"Nearest: {nearest['site']}. What would change it: {remedy}")]


def _depth(reason: str) -> int:
    return _DEPTH.index(Reason(reason)) if reason in _DEPTH else -1


def _spell(reason: str) -> str:
    """Spell a reason in words: TrustTooOld becomes "trust too old"."""
    return "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in reason).strip()


def _explain_state(status: Mapping[str, Any]) -> list[str]:
    if find_condition(status, "Placed").get("status") != "True":
        return []
    kinds = ("Isolated", "Attested", "KeyReleased", "WeightsAvailable", "Serving", "Ready")
    found = [find_condition(status, kind) for kind in kinds]
    rows = [(item["type"], item["status"], f"{item['reason']}: {item['message']}") for item in found if item]
    return [_table(("condition", "status", "why"), rows)]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay out columns; the last one is wrapped below itself."""
    lines = [head, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head) - 1)]
    indent = 2 + sum(width + 2 for width in widths)
    texts = []
    for line in lines:
        start = "  " + "".join(f"{cell:<{width}}  " for cell, width in zip(line, widths, strict=False))
        wrapped = textwrap.wrap(line[-1], max(_WIDTH - indent, 40), break_long_words=False, break_on_hyphens=False) or [
            ""
        ]
        texts += [f"{start}{wrapped[0]}", *(" " * indent + more for more in wrapped[1:])]
    return "\n".join(text.rstrip() for text in texts) + "\n"
