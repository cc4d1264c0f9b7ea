"""Every place of a request that a caller can fill, found and replaced by one walk. Pure.

What is not known to be a word of the dialect counts as the caller's: a field that is new here is looked into.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from sekisho.gateway.dialects.strict import FieldError
from sekisho.redact.documents import STRINGS, is_document, may_be_document

# Words of the dialect in the places where they stand; anything else there is the caller's own.
_WORDS: Final[Mapping[str, frozenset[str]]] = {
    "role": frozenset({"system", "developer", "user", "assistant", "tool", "function"}),
    "type": frozenset({
        "text", "function", "custom", "image_url", "input_audio", "file", "json_schema", "json_object", "object",
        "refusal",
    }),
    "tool_choice": frozenset({"auto", "none", "required"}),
    "model": frozenset(),
}  # fmt: skip
_ROLES: Final = _WORDS["role"]
# Names of fields that the dialect gives. An object with any other name in it is free, and read as one document.
_NAMES: Final = frozenset({
    "role", "content", "name", "tool_calls", "tool_call_id", "refusal", "reasoning_content", "reasoning", "type",
    "text", "function", "arguments", "id", "index", "description", "parameters", "strict", "json_schema", "schema",
    "image_url", "input_audio", "file", "url", "detail", "data", "format", "file_data", "filename", "include_usage",
})  # fmt: skip
_FREE: Final = frozenset({"parameters", "schema", "metadata", "logit_bias"})
# What stands there inline is opaque (see `find_opaque`): bytes of images, sounds and files.
_BLOBS: Final = frozenset({"url", "image_url", "file_data"})
_TURN: Final = re.compile(r"messages\[\d+\]\.content(?:\[\d+\]\.text)?")
_SHORT_TURN: Final = 256
_REACH: Final = 40
_PART: Final = re.compile(r"messages\[\d+\]\.content\[\d+\]")
_OPAQUE: Final = frozenset({"image_url", "input_audio", "file"})
_TOKENS: Final = ("input", "prompt")
# Documents in strings of documents in strings …: each takes twice the escapes of the one around it.
_MAX_INSIDE: Final = 24
# How a backslash is spelt in a string.
_BACKSLASH: Final = re.compile(r"\\(?:\\|u005[cC])")
# Of signs that have no meaning, and that no font gives one, one that a document lacks stands for what is set aside.
_MARKS: Final = range(0x100000, 0x100040)
# A number with fewer digits is nobody's.
_SMALL: Final = 10**6


class Text(NamedTuple):
    """One text of a request; a tuple, as all are that each walk makes by the dozen.

    Attributes:
        path: Where it stands; made of names of the dialect and of numbers, never of a caller's words. A / at its end
            means inside of a document that stands there.
        value: The text; secret.
        in_json: Whether it is the text of a JSON document.
        role: Who says it, as the conversation has it; "tools" for definitions of tools, empty elsewhere.
    """

    path: str
    value: str
    in_json: bool
    role: str


Visit = Callable[[Text], str]


class Walked(NamedTuple):
    """What one walk over a body finds.

    Attributes:
        texts: See `find_texts`; secret.
        answers: See `find_answers`; secret.
        opaque: See `find_opaque`.
    """

    texts: tuple[Text, ...] = ()
    answers: Mapping[str, str] = MappingProxyType({})
    opaque: tuple[str, ...] = ()


def walk(body: Mapping[str, Any]) -> Walked:
    """Find once what all who look into a body ask for."""
    texts = find_texts(body)
    return Walked(texts, find_answers(texts), find_opaque(body))


def find_texts(body: Mapping[str, Any]) -> tuple[Text, ...]:
    """Return every text of a body, in its order."""
    found: list[Text] = []

    def note(text: Text) -> str:
        found.append(text)
        return text.value

    _walk_body(body, note)
    return tuple(found)


def find_answers(texts: Iterable[Text]) -> dict[str, str]:
    """Return the end of the turn before, by the path of each short turn with digits.

    "Which account?" tells what the bare number is that follows; nothing in the turn itself does.
    """
    found: dict[str, str] = {}
    before = None
    for text in texts:
        if _TURN.fullmatch(text.path) is None:
            continue
        if before is not None and len(text.value) <= _SHORT_TURN and any(sign.isdecimal() for sign in text.value):
            found[text.path] = before.value[-_REACH:] + "\n"
        before = text
    return found


def replace_texts(body: Mapping[str, Any], replace: Visit) -> dict[str, Any]:
    """Return a body in which every text is what `replace` makes of it; a document must stay one.

    A number of the top level (such as `seed`) that is replaced is left out.
    """
    walked = _walk_body(body, replace)
    return {key: value for key, value in walked.items() if not (isinstance(value, str) and _is_number(body[key]))}


def find_opaque(body: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the paths of what no text can be read from: images, sounds, files, texts given as numbers of tokens."""
    found = []
    messages = body.get("messages")
    for at, message in enumerate(messages if isinstance(messages, list) else ()):
        content = message.get("content") if isinstance(message, dict) else None
        if isinstance(content, list):
            parts = (place for place, part in enumerate(content) if _is_opaque(part))
            found += [f"messages[{at}].content[{place}]" for place in parts]
    found += [name for name in _TOKENS if name in body and _has_tokens(body[name])]
    return tuple(found)


def _is_opaque(part: Any) -> bool:
    return isinstance(part, dict) and (part.get("type") in _OPAQUE or not _OPAQUE.isdisjoint(part))


def wants_json(body: Mapping[str, Any]) -> bool:
    """Tell whether the content of the answer is to be a JSON document."""
    wanted = body.get("response_format")
    return isinstance(wanted, dict) and wanted.get("type") in {"json_object", "json_schema"}


def _has_tokens(value: Any) -> bool:
    return isinstance(value, list) and any(_is_number(item) or _has_tokens(item) for item in value)


def _walk_body(body: Mapping[str, Any], visit: Visit) -> dict[str, Any]:
    return {key: _walk_field(key, value, visit) for key, value in body.items()}


def _walk_field(key: str, value: Any, visit: Visit) -> Any:
    if key == "messages" and isinstance(value, list):
        return [_walk_message(f"messages[{at}]", item, visit) for at, item in enumerate(value)]
    if key == "model" or value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float) and abs(value) < _SMALL:
        return value
    return _walk(_Place(key, key, "tools" if key == "tools" else ""), value, visit)


def _walk_message(path: str, message: Any, visit: Visit) -> Any:
    role = message.get("role") if isinstance(message, dict) else None
    if not isinstance(role, str):
        return _walk(_Place(path, "", ""), message, visit)
    content = message.get("content")
    if role in _ROLES and len(message) == 2 and isinstance(content, str) and not may_be_document(content):
        # As most are: one text, and a word of the dialect.
        said = visit(Text(f"{path}.content", content, False, role)) if content else ""
        return {**message, "content": said}
    return _walk(_Place(path, "", role), message, visit)


class _Place(NamedTuple):
    path: str
    name: str
    role: str
    opaque: bool = False


def _walk(place: _Place, value: Any, visit: Visit) -> Any:
    if isinstance(value, str):
        return _walk_string(place, value, visit)
    if isinstance(value, list):
        return [
            _walk(_Place(f"{place.path}[{at}]", place.name, place.role), item, visit) for at, item in enumerate(value)
        ]
    if isinstance(value, dict):
        if place.name in _FREE or not _NAMES.issuperset(value):
            return _walk_document(place, value, visit)
        opaque = place.opaque or (_PART.fullmatch(place.path) is not None and _is_opaque(value))
        return {
            key: _walk(_Place(f"{place.path}.{key}", key, place.role, opaque), item, visit)
            for key, item in value.items()
        }
    if _is_number(value) and abs(value) >= _SMALL:
        spelt = json.dumps(value)
        said = visit(Text(place.path, spelt, in_json=False, role=place.role))
        return value if said == spelt else said
    return value


def _walk_string(place: _Place, value: str, visit: Visit) -> str:
    if (
        not value
        or value in _WORDS.get(place.name, ())
        or (place.opaque and place.name in _BLOBS and value.startswith("data:"))
    ):
        return value
    if not is_document(value):
        return visit(Text(place.path, value, in_json=False, role=place.role))
    return _walk_json(place, value, visit)


def _walk_document(place: _Place, value: Any, visit: Visit) -> Any:
    document = json.dumps(value, ensure_ascii=False)
    said = _walk_json(place, document, visit)
    return value if said == document else json.loads(said)


def _walk_json(place: _Place, document: str, visit: Visit) -> str:
    """Visit a document; strings in it that hold escapes themselves are visited before, and stand aside meanwhile.

    From outside nobody could read them: they are escapes of escapes.
    """
    if _BACKSLASH.search(document) is None:
        return visit(Text(place.path, document, in_json=True, role=place.role))
    mark = next((chr(code) for code in _MARKS if chr(code) not in document), None)
    if mark is None or place.path.count("/") >= _MAX_INSIDE:
        raise FieldError(f"{place.path} holds documents in strings that cannot be taken apart", param=place.path)
    aside: list[tuple[str, str]] = []

    def set_aside(found: re.Match[str]) -> str:
        spelt = found[0]
        if _BACKSLASH.search(spelt) is None:
            return spelt
        value = json.loads(spelt)
        aside.append((value, _walk_string(_Place(f"{place.path}/", "", place.role), value, visit)))
        return f'"{mark}{len(aside) - 1}{mark}"'

    # All else stays as it is spelt: read and spelt anew, a name that stands twice would be gone from sight.
    outer = STRINGS.sub(set_aside, document)
    said = visit(Text(place.path, outer, in_json=True, role=place.role))
    if said == outer and all(before == after for before, after in aside):
        return document
    parts = said.split(mark)
    if len(parts) != 2 * len(aside) + 1:
        raise FieldError(f"{place.path} cannot be taken apart: what must be taken out of it goes over its strings")
    parts[1::2] = [json.dumps(aside[int(number)][1], ensure_ascii=False)[1:-1] for number in parts[1::2]]
    return "".join(parts)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
