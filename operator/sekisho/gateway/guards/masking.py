"""Take out of a request what must not leave, the same way in every turn and replica. Pure."""

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from json.encoder import encode_basestring_ascii
from typing import Any, Final

from sekisho.classify.rules import EffectiveRules
from sekisho.errors import Reason, RefusedError
from sekisho.gateway.dialects.strict import FieldError
from sekisho.gateway.guards.texts import Text, Walked, replace_texts, walk
from sekisho.redact.placeholders import demand_long, derive_key
from sekisho.redact.redactor import Redactor
from sekisho.redact.session import Find, Redaction

CLOSED: Final = "Closed"
_FIRST: Final = "user"
_SORTED: Final = json.JSONEncoder(sort_keys=True)


def find_words(rules: EffectiveRules, tier: str | None, profile: frozenset[str]) -> frozenset[str]:
    """Return the words of what must be taken out of a request; empty: it goes as it is.

    Args:
        rules: Of the request's class.
        tier: Of the site that is to answer; a site nobody knows counts as outside.
        profile: What the caller's access policies have taken out wherever the request goes.

    Raises:
        RefusedError: `PolicyInvalid`, the class may leave after redaction, and nothing is said to be redacted.
    """
    if tier == CLOSED:
        return profile
    if rules.burst == "AfterRedaction" and not rules.redact:
        raise RefusedError(
            Reason.POLICY_INVALID,
            "the policy lets this class leave closed sites after redaction and names nothing to redact; rules.redact"
            " has to name what",
        )
    return profile | rules.redact


def name_conversation(body: Mapping[str, Any]) -> str:
    """Return what stays over a conversation's turns: a digest of all up to the first thing that its user said.

    Whatever has no turns is a conversation of its own.
    """
    messages = body.get("messages")
    if isinstance(messages, list):
        spelt = _spell(_take_first(messages))
    else:
        spelt = _SORTED.encode({key: body.get(key) for key in ("prompt", "input")})
    return hashlib.sha256(spelt.encode("utf-8", "surrogatepass")).hexdigest()


def _take_first(messages: list[Any]) -> list[Any]:
    """Return all up to the first thing that the user said, or everything where the user said nothing."""
    for at, message in enumerate(messages, 1):
        if isinstance(message, dict) and message.get("role") == _FIRST:
            return messages[:at]
    return messages


def _spell(first: list[Any]) -> str:
    """Return what `json.dumps` makes of turns, with sorted keys; most are of a role and one text, and spelt here."""
    turns = []
    for turn in first:
        role, content = (turn.get("role"), turn.get("content")) if isinstance(turn, dict) else (None, None)
        if not isinstance(role, str) or not isinstance(content, str) or len(turn) != 2:
            return _SORTED.encode(first)
        turns.append(f'{{"content": {encode_basestring_ascii(content)}, "role": {encode_basestring_ascii(role)}}}')
    return f"[{', '.join(turns)}]"


@lru_cache(maxsize=1024)
def name_tenant(namespace: str, username: str) -> str:
    """Return whose conversation it is: a namespace's, as one caller asks it; another caller's never has the same."""
    return hashlib.sha256(json.dumps([namespace, username]).encode()).hexdigest()


def mask_body(body: Mapping[str, Any], redaction: Redaction, walked: Walked | None = None) -> dict[str, Any]:
    """Return a body whose texts have lost what `redaction` looks for, and every value that another text gave away.

    Args:
        body: What to mask.
        redaction: Of this request.
        walked: What a walk over this body came to, where somebody knows by now.

    Raises:
        FieldError: A part of it is no text, so that nothing can be taken out of it.
        RefusedError: `RequestTooLarge`, more is found than a request may hold.
    """
    texts, answers, opaque = walked or walk(body)
    if opaque:
        raise FieldError(
            f"{opaque[0]} is no text, so nothing can be taken out of it, and this request may only go on redacted; "
            "send text, or ask who answers for the policy",
            param=opaque[0],
        )
    in_json = [text.value for text in texts if text.in_json]
    for document in in_json:
        redaction.learn(document, in_json=True)
    if answers:
        for text in texts:
            if text.path in answers and not text.in_json:
                redaction.learn(answers[text.path] + text.value)
    plain = [text.value for text in texts if not text.in_json]
    masked = dict(zip(plain, redaction.redact_all(plain), strict=True))
    if not in_json and not redaction.counts:
        return {**body}

    def replace(text: Text) -> str:
        return redaction.redact_json(text.value) if text.in_json else masked[text.value]

    return replace_texts(body, replace)


def open_redaction(
    redactor: Redactor, master: bytes, *, tenant: str, body: Mapping[str, Any], find: Find | None = None
) -> Redaction:
    """Begin a request's redaction under the key of its tenant and conversation; `find`: see `Redactor.new_session`.

    Raises:
        RefusedError: `KeyUnsafe`, the master key is too short.
    """
    demand_long(master)
    # Most requests hold nothing that needs it.
    return redactor.new_session(lambda: derive_key(master, tenant=tenant, conversation=name_conversation(body)), find)
