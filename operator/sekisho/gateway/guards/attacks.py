"""Rules for prompt attacks, in English and Japanese: what asks an engine to turn against who set it up. Pure.

They catch what is plain, and are never the only gate: what a model may reach is decided by its class and its network.
"""

import base64
import itertools
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import re2

from sekisho.gateway.guards.attack_grammar import TONGUES
from sekisho.gateway.guards.attack_rules import (
    ADDRESSED,
    ADDRESSED_RULE,
    ANYTHING,
    EMBEDDED,
    EMBEDDED_ABOUT,
    EXFILTRATION,
    EXFILTRATION_ABOUT,
    EXFILTRATION_RULE,
    HIDDEN,
    HIDDEN_RULE,
    PICTURE,
    RULES,
    TOOL,
    TOOL_RULE,
    TRUSTED,
)
from sekisho.gateway.guards.attack_triggers import CARRIED, MAYBE, MAYBE_OF_TOOL, SHAPED, SURELY, SURELY_OF_TOOL
from sekisho.gateway.guards.disguises import DISGUISED, SAYABLE, is_mentioned, read_disguised
from sekisho.gateway.guards.memory import Memory
from sekisho.gateway.guards.quoting import find_quoted
from sekisho.gateway.guards.texts import Text
from sekisho.redact.detect import Fold
from sekisho.redact.fold import fold
from sekisho.redact.linear import Linear

_MAX_ENCODED: Final = 8
_MAX_ENCODED_LENGTH: Final = 8192
_MAX_VERDICTS: Final = 16
# Of orders that are only spoken of, so many are passed over; whoever speaks of more may hide one behind them.
_MAX_MENTIONS: Final = 1024
_ESCAPED: Final = re.compile(rb"%([0-9A-Fa-f]{2})")


def _compile(pattern: str) -> Any:
    options = re2.Options()
    options.max_mem = 64 << 20
    options.case_sensitive = False
    options.dot_nl = True
    # A line may end wherever words do.
    return re2.compile(pattern.replace(" ", r"\s"), options)


_BASE64: Final = _compile(r"[A-Za-z0-9+/_-]{24,}={0,2}")
_HEX: Final = _compile(r"(?:[0-9A-Fa-f]{2}[ :]?){16,}")
_PERCENT: Final = _compile(r"[A-Za-z0-9.+-]{0,64}(?:%[0-9A-Fa-f]{2}[A-Za-z0-9.+-]{0,64}){4,}")
_COMPILED: Final = {name: _compile(pattern) for name, pattern in RULES.items()}
_ANY: Final = _compile("|".join(f"(?:{pattern})" for pattern in RULES.values()))
_COMPILED_TOOL: Final = _compile(TOOL)
_ADDRESSED: Final = _compile(ADDRESSED)
_EMBEDDED: Final = _compile(EMBEDDED_ABOUT), _compile(EMBEDDED)
_PRIVATE: Final = _compile(EXFILTRATION_ABOUT)
_AROUND_PRIVATE: Final = tuple(
    (_compile(before), _compile(after)) for before, after in EXFILTRATION if before != ANYTHING
)
# One search for each side tells that there is nothing, as there mostly is.
_ANY_BEFORE: Final = _compile("|".join(f"(?:{before})" for before, _ in EXFILTRATION if before != ANYTHING))
_BEHIND: Final = _compile("|".join(f"(?:{after})" for before, after in EXFILTRATION if before == ANYTHING))
_PICTURE: Final = _compile(PICTURE)
_AROUND: Final = 200
_NEAR: Final = 80
_MAX_ABOUT: Final = 64
_HIDDEN: Final = re2.compile(HIDDEN.encode())
# What all of these signs begin with in UTF-8.
_HIDDEN_BYTES: Final = (b"\xe2\x80", b"\xe2\x81", b"\xef\xb8", b"\xef\xbb", b"\xf3\xa0")
# Whether there may be any of these: RE2 tells in one pass.
_IN_CODE: Final = r"[A-Za-z0-9+/_-]{24}|(?:[0-9A-Fa-f]{2}[\s:]?){16}|%[0-9A-Fa-f]{2}[A-Za-z0-9.+-]{0,64}%[0-9A-Fa-f]{2}"
_ENCODED: Final = Linear(_IN_CODE, any_case=True)
_DISGUISED: Final = Linear(DISGUISED, any_case=True)
_IN_CODE_OR_DISGUISE: Final = f"{_IN_CODE}|{DISGUISED}"
_STRANGE: Final = Linear(_IN_CODE_OR_DISGUISE, any_case=True)
_MAYBE: Final = Linear(MAYBE, any_case=True), Linear(MAYBE_OF_TOOL, any_case=True)
# Most texts hold neither, nor anything else that a rule looks for, and one pass over their bytes tells.
_ANYTHING: Final = tuple(Linear(f"{_IN_CODE_OR_DISGUISE}|{item}", any_case=True) for item in (MAYBE, MAYBE_OF_TOOL))
_SURELY: Final = Linear(SURELY, any_case=True), Linear(SURELY_OF_TOOL, any_case=True)
# What meets a text and is none of these is where something could be carried to, such as an address.
_STRANGE_OR_SURE: Final = tuple(
    Linear(f"{_IN_CODE_OR_DISGUISE}|{item}", any_case=True) for item in (SURELY, SURELY_OF_TOOL)
)
_CARRIED: Final = Linear(CARRIED, any_case=True)
_SHAPED: Final = tuple(Linear(shaped, any_case=True) for shaped in SHAPED)


@dataclass(frozen=True, slots=True)
class Verdict:
    """One rule that found something, and where: the path of a text and the offset in its folded form."""

    rule: str
    path: str
    offset: int

    def __str__(self) -> str:
        return f"{self.rule} at offset {self.offset} of {self.path}"


# Rules and offsets, of one text.
Found = tuple[tuple[str, int], ...]


def find_attacks(
    texts: Iterable[Text],
    memory: Memory[Found] | None = None,
    fold: Fold = fold,
    name: Callable[[str], bytes | None] | None = None,
) -> tuple[Verdict, ...]:
    """Return what the rules find in the texts that did not come from whoever set the model up.

    Args:
        texts: Of one request.
        memory: Of texts that were looked into before; None: there is none.
        fold: Folds, or knows what that comes to.
        name: Returns by what digest a text is remembered, if it is by any; None: the memory's own.
    """
    found: list[Verdict] = []
    for text in texts:
        if text.role not in TRUSTED:
            found.extend(_look(text, fold) if memory is None else _recall(text, fold, memory, name))
        if len(found) >= _MAX_VERDICTS:
            break
    return tuple(found[:_MAX_VERDICTS])


def _recall(
    text: Text, fold: Fold, memory: Memory[Found], namer: Callable[[str], bytes | None] | None
) -> Iterable[Verdict]:
    digest = memory.name(text.value, "") if namer is None else namer(text.value)
    name = digest and digest + (b"tool" if text.role == "tool" else b"said")
    known = memory.get(name)
    if known is None:
        known = tuple([(verdict.rule, verdict.offset) for verdict in _look(text, fold)])
        if len(known) <= _MAX_VERDICTS:
            memory.keep(name, known)
    return [Verdict(rule, text.path, offset) for rule, offset in known]


def _look(text: Text, fold: Fold) -> Iterator[Verdict]:
    folded, tool = fold(text.value), text.role == "tool"
    data, hidden = folded.data, find_hidden(text.value) if folded.odd else None
    if not _ANYTHING[tool].stands_in(data):
        yield from _tell_hidden(text, hidden)
        return
    either = _STRANGE_OR_SURE[tool].stands_in(data)
    strange = either and _STRANGE.stands_in(data)
    encoded = strange and _ENCODED.stands_in(data)
    # What is not strange is what may be.
    may_be = not strange or _MAYBE[tool].stands_in(data)
    surely = may_be and (_SURELY[tool].stands_in(data) if strange else either)
    if encoded or surely:
        yield from _judge(text, folded.text, hidden)
    else:
        yield from _tell_hidden(text, hidden)
        if may_be and _CARRIED.stands_in(data):
            yield from _judge_carried(text, folded.text)
    # Folding reads per cent signs, so that what they encode is looked for in what came.
    escaped = "%" in text.value
    if encoded or escaped:
        inside = [*(_decode(folded.text) if encoded else ()), *(_decode_percent(text.value) if escaped else ())]
        for offset, inner in inside:
            found = _match(_set_close(fold(inner).text))
            yield from (Verdict(f"encoded-{rule}", text.path, offset) for rule, _ in found)
    if strange and _DISGUISED.stands_in(data):
        yield from (Verdict(f"disguised-{rule}", text.path, 0) for rule in sorted(_undisguise(folded.text)))


def _tell_hidden(text: Text, hidden: int | None) -> Iterator[Verdict]:
    if hidden is not None:
        yield Verdict(HIDDEN_RULE, text.path, hidden)


def _judge_carried(text: Text, folded: str) -> Iterator[Verdict]:
    """Judge what holds triggers of nothing but that something is carried away: see `_judge`."""
    parts = [(0, len(folded))] if text.role == "tool" else [(start, end) for start, end, _ in find_quoted(folded)]
    for start, end in parts:
        if (offset := _search_exfiltration(_set_close(folded[start:end]))) is not None:
            yield Verdict(EXFILTRATION_RULE, text.path, offset if text.role == "tool" else start)


def _judge(text: Text, folded: str, hidden: int | None) -> Iterator[Verdict]:
    spelt = _set_close(folded)
    yield from (Verdict(rule, text.path, offset) for rule, offset in _match(spelt, letters=text.role != "tool"))
    yield from _tell_hidden(text, hidden)
    if text.role == "tool":
        if match := _COMPILED_TOOL.search(spelt):
            yield Verdict(TOOL_RULE, text.path, match.start())
        yield from (Verdict(rule, text.path, offset) for rule, offset in _match_quoted(spelt, ends=True))
    else:
        for start, end, ends in find_quoted(folded):
            found = _match_quoted(_set_close(folded[start:end]), ends=ends)
            yield from (Verdict(rule, text.path, start) for rule, _ in found)


def find_hidden(text: str) -> int | None:
    """Return where the first long run of signs begins that nobody sees; half a surrogate pair is none."""
    data = text.encode("utf-8", "surrogatepass")
    if not any(begin in data for begin in _HIDDEN_BYTES):
        return None
    hidden = _HIDDEN.search(data)
    return len(data[: hidden.start()].decode("utf-8", "surrogatepass")) if hidden else None


def _set_close(text: str) -> str:
    """Return a text with every run of white space as one space."""
    return " ".join(text.split())


def _undisguise(folded: str) -> set[str]:
    """Return the rules that find something in a text as it reads without its disguise."""
    spelt = _set_close(folded[:_MAX_ENCODED_LENGTH])
    return {rule for form in read_disguised(spelt) for rule, _ in _match(form)}


def _match(text: str, *, letters: bool = False) -> Iterator[tuple[str, int]]:
    """Yield each rule that finds something, and where first.

    Args:
        text: Folded, its white space closed up.
        letters: Whether a letter to a person excuses what may be said to people too.
    """
    found = set()
    for rule, places in _find_places(text):
        for count, (start, end) in enumerate(places):
            if rule in found:
                break
            if rule not in SAYABLE or count >= _MAX_MENTIONS or not is_mentioned(text, start, end, letters=letters):
                found.add(rule)
                yield rule, start


def _find_places(text: str) -> Iterator[tuple[str, Iterator[tuple[int, int]]]]:
    if _ANY.search(text):
        for rule, compiled in _COMPILED.items():
            yield rule, (match.span() for match in compiled.finditer(text))
    data = text.encode()
    for shaped, tongue in zip(_SHAPED, TONGUES, strict=True):
        if shaped.stands_in(data):
            yield from tongue.find(data)


def _match_quoted(text: str, *, ends: bool) -> Iterator[tuple[str, int]]:
    """Yield what a document holds that nobody writes into one; less is told where it is not known where it ends."""
    if match := _ADDRESSED.search(text):
        yield ADDRESSED_RULE, match.start()
    elif ends and (offset := _search_around(text, *_EMBEDDED)) is not None:
        yield ADDRESSED_RULE, offset
    if (offset := _search_exfiltration(text)) is not None:
        yield EXFILTRATION_RULE, offset


def _search_exfiltration(text: str) -> int | None:
    """Look at what stands before and behind the first things that are private; bounded in number and reach."""
    if "![" in text and (picture := _PICTURE.search(text)):
        return int(picture.start())
    for count, place in enumerate(_PRIVATE.finditer(text)):
        if count >= _MAX_ABOUT:
            break
        before, after = text[max(0, place.start() - _NEAR) : place.start()], text[place.end() : place.end() + _NEAR]
        told = _ANY_BEFORE.search(before) and any(
            first.search(before) and then.search(after) for first, then in _AROUND_PRIVATE
        )
        if told or _BEHIND.search(after):
            return int(place.start())
    return None


def _search_around(text: str, about: Any, pattern: Any) -> int | None:
    """Look for a pattern around the first places that speak of what it is about; bounded in number and reach."""
    done = 0
    for count, place in enumerate(about.finditer(text)):
        if count >= _MAX_ABOUT:
            break
        start, end = max(0, place.start() - _AROUND), place.end() + _AROUND
        if place.end() <= done:
            continue
        done = end - _AROUND // 2
        if match := pattern.search(text[start : end + _AROUND]):
            return int(start + match.start())
    return None


def _decode(text: str) -> Iterator[tuple[int, str]]:
    """Yield what stands encoded in a text: base64 and hexadecimal, a bounded number of each."""
    for pattern, decode in ((_BASE64, _from_base64), (_HEX, _from_hex)):
        for count, match in enumerate(pattern.finditer(text)):
            if count >= _MAX_ENCODED:
                break
            inner = decode(match[0][:_MAX_ENCODED_LENGTH])
            yield match.start(), inner
            # Encoded twice.
            if decode is _from_base64 and (again := _BASE64.fullmatch(inner.strip())):
                yield match.start(), _from_base64(again[0])


def _decode_percent(text: str) -> Iterator[tuple[int, str]]:
    """Yield what per cent signs encode in a text, a bounded number of stretches."""
    # Half a surrogate pair has no spelling that RE2 reads.
    for match in itertools.islice(_PERCENT.finditer(text.encode(errors="replace").decode()), _MAX_ENCODED):
        yield match.start(), _from_percent(match[0][:_MAX_ENCODED_LENGTH])


def _from_base64(text: str) -> str:
    plain = text.rstrip("=").translate({ord("-"): "+", ord("_"): "/"})
    plain = plain[: len(plain) - (len(plain) % 4 == 1)]
    return base64.b64decode(plain + "=" * (-len(plain) % 4)).decode("utf-8", "replace")


def _from_hex(text: str) -> str:
    digits = "".join(text.replace(":", " ").split())
    return bytes.fromhex(digits[: len(digits) & ~1]).decode("utf-8", "replace")


def _from_percent(text: str) -> str:
    plain = _ESCAPED.sub(lambda sign: bytes.fromhex(sign[1].decode()), text.encode())
    return plain.decode("utf-8", "replace")
