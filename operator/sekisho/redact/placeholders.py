"""Placeholders: what stands for a value, the same over turns and replicas, linkable by nobody without the key.

A placeholder is `[[EML-7Q0C2M9XK4BD]]`: the code of the category and 60 bits of an HMAC. It has one length, consists of
ASCII that JSON, Markdown and HTML leave alone, and can neither be made nor compared without the conversation's key.
"""

import hashlib
import hmac
import re
from dataclasses import dataclass, field
from typing import Final

from sekisho.errors import Reason, RefusedError
from sekisho.redact.categories import MEANINGS, Category

LENGTH: Final = 20
MIN_MASTER_BYTES: Final = 32
MAX_NAME: Final = 1024
# Crockford's alphabet, which has no letters that look like others; two of its signs spell ten bits.
_SPELLING: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS: Final = tuple(one + two for one in _SPELLING for two in _SPELLING)
_CODE: Final = "|".join(sorted(meaning.code for meaning in MEANINGS.values()))
# A whole one, or else the beginning of one that is not.
PLACEHOLDER: Final = re.compile(rf"\[\[(?:{_CODE})-(?:[0-9A-Z]{{12}}\]\])?")
_BODY: Final = re.compile(r"[A-Z]{3}-[0-9A-Z]{12}\]")
_OPENED: Final = re.compile(r"\[(?:\[([A-Z0-9\]-]*))?\Z")


@dataclass(frozen=True, slots=True)
class ConversationKey:
    """The key of one tenant's one conversation; secret."""

    secret: bytes = field(repr=False)


def derive_key(master: bytes, *, tenant: str, conversation: str) -> ConversationKey:
    """Derive a conversation's key; every replica with the master key derives the same.

    Args:
        master: At least 32 bytes, secret, the same in all replicas.
        tenant: Whose conversation it is; never what a caller says of itself.
        conversation: What stays over its turns.

    Raises:
        RefusedError: `KeyUnsafe`, the master key is too short; `RequestInvalid`, a name is empty or too long.
    """
    demand_long(master)
    message = b"sekisho/redact/1"
    for what, name in (("tenant", tenant), ("conversation", conversation)):
        spelt = name.encode("utf-8", "surrogatepass")
        if not 0 < len(spelt) <= MAX_NAME:
            raise RefusedError(
                Reason.REQUEST_INVALID, f"the name of the {what} has {len(spelt)} bytes; give from 1 to {MAX_NAME}"
            )
        message += len(spelt).to_bytes(4, "big") + spelt
    return ConversationKey(hmac.digest(master, message, hashlib.sha256))


def demand_long(master: bytes) -> None:
    """Refuse a master key that is too short.

    Raises:
        RefusedError: `KeyUnsafe`.
    """
    if len(master) < MIN_MASTER_BYTES:
        raise RefusedError(
            Reason.KEY_UNSAFE, f"the key of placeholders has {len(master)} bytes; give at least {MIN_MASTER_BYTES}"
        )


def make_placeholder(key: ConversationKey, category: Category, value: str) -> str:
    """Return the placeholder of a value, `LENGTH` characters."""
    code = MEANINGS[category].code
    tag = hmac.digest(key.secret, code.encode() + b"\x00" + value.encode("utf-8", "surrogatepass"), hashlib.sha256)
    bits = int.from_bytes(tag[:8], "big")
    return (
        f"[[{code}-{_PAIRS[bits >> 54]}{_PAIRS[bits >> 44 & 1023]}{_PAIRS[bits >> 34 & 1023]}"
        f"{_PAIRS[bits >> 24 & 1023]}{_PAIRS[bits >> 14 & 1023]}{_PAIRS[bits >> 4 & 1023]}]]"
    )


def held_back(text: str) -> int:
    """Return how many characters at the end of a text may be the beginning of a placeholder; fewer than `LENGTH`."""
    opened = _OPENED.search(text, max(0, len(text) - LENGTH + 1))
    if opened is None:
        return 0
    begun = (opened[1] or "") + "AAA-000000000000]"[len(opened[1] or "") :]
    return len(opened[0]) if _BODY.fullmatch(begun) else 0
