"""Where a text quotes a document: what others wrote, in which nobody gives the model orders. Pure, bounded, linear."""

import re
from collections.abc import Iterator
from typing import Any, Final

import re2

from sekisho.gateway.guards.attack_rules import QUOTED_HEAD, QUOTED_TAG

_MAX_QUOTED: Final = 16
_FENCES: Final = ('"""', "'''", "```")
_LINES: Final = re.compile(r"(?:^>[^\n]*\n?)+", re.MULTILINE)
_HEAD_ENDS: Final = re.compile("[:\uff1a\u3002\n]")
_HEAD_REACH: Final = 80


def _compile(pattern: str) -> Any:
    options = re2.Options()
    options.max_mem = 16 << 20
    options.case_sensitive = False
    return re2.compile(pattern, options)


_TAG: Final = _compile(QUOTED_TAG)
_HEAD: Final = _compile(QUOTED_HEAD)


def find_quoted(text: str) -> Iterator[tuple[int, int, bool]]:
    """Yield start and end of the documents that a folded text quotes, and whether the text tells where they end.

    Of each way to quote the first few are told.
    """
    if "<" in text:
        yield from _find_tagged(text)
    for fence in _FENCES:
        if fence in text:
            yield from _find_fenced(text, fence)
    if "\n>" in text or text.startswith(">"):
        for count, lines in enumerate(_LINES.finditer(text)):
            if count >= _MAX_QUOTED:
                break
            yield lines.start(), lines.end(), True
    if (head := _HEAD.search(text)) and (end := _HEAD_ENDS.search(text, head.end(), head.end() + _HEAD_REACH)):
        yield end.end(), len(text), False


def _find_tagged(text: str) -> Iterator[tuple[int, int, bool]]:
    done = 0
    for count, tag in enumerate(_TAG.finditer(text)):
        if count >= _MAX_QUOTED:
            return
        if tag.start() < done:
            continue
        end = text.find(f"</{tag[1]}>", tag.end())
        done = len(text) if end < 0 else end
        yield tag.end(), done, end >= 0


def _find_fenced(text: str, fence: str) -> Iterator[tuple[int, int, bool]]:
    parts, at = text.split(fence, 2 * _MAX_QUOTED), 0
    for number, part in enumerate(parts):
        if number % 2 and number + 1 < len(parts):
            yield at, at + len(part), True
        at += len(part) + len(fence)
