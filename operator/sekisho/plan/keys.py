"""Whether the key of a sealed model opens it, as far as the release of keys has told; it informs and refuses nothing.

A key that is disabled is refused where it is asked for, by the key service itself; this says so before a pod asks.
"""

from typing import Final

from sekisho.api.v1alpha1.model import Inspection, KeyFacts
from sekisho.errors import Reason
from sekisho.plan.conditions import Aspect, is_false, is_true, is_unknown

KIND: Final = "KeyUsable"
_NEXT: Final = {
    "Disabled": "enable it there, or seal the model anew with another key",
    "PendingDeletion": "cancel its deletion there while that is possible, then seal the model anew with another key",
}


def judge_key(found: Inspection | None, facts: KeyFacts | None) -> Aspect | None:
    """Return the condition; None where nothing sealed was verified, so that no key is known."""
    if found is None or not found.sealed or found.refusal is not None or found.key_id is None:
        return None
    name = f'key "{found.key_id}" of {found.kms}'
    if facts is None or (facts.kms, facts.key_id) != (found.kms, found.key_id):
        return is_unknown(KIND, Reason.PENDING, f"{name} was not asked for yet; a broker asks, where one is installed")
    if facts.state == "Unknown":
        told = f": {facts.message}" if facts.message else ""
        return is_unknown(KIND, Reason.KMS_UNAVAILABLE, f"the state of {name} is not known{told}")
    if facts.state != "Enabled":
        told = f" ({facts.message})" if facts.message else ""
        return is_false(KIND, Reason.KEY_DISABLED, f"{name} is {facts.state}{told}; {_NEXT[facts.state]}")
    return _judge_version(found, facts, name)


def _judge_version(found: Inspection, facts: KeyFacts, name: str) -> Aspect:
    used = _number(found.key_version)
    if used is not None and facts.min_version is not None and used < facts.min_version:
        return is_false(
            KIND,
            Reason.KEY_VERSION_REVOKED,
            f"version {used} of {name} wrapped the data key, {facts.min_version} is the oldest that opens anything; "
            "wrap it anew (`sekisho rewrap`) and push it again",
        )
    newest = f", {facts.version} is the newest" if facts.version is not None else ""
    return is_true(KIND, Reason.KEY_ENABLED, f"{name} is Enabled; version {found.key_version} wrapped it{newest}")


def _number(version: str | None) -> int | None:
    """Return a version that is a number; some key services name theirs otherwise."""
    return int(version) if version and version.isascii() and version.isdigit() and len(version) <= 15 else None
