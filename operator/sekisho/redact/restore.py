"""Put originals back into a stream, whatever the boundaries of its chunks."""

import codecs
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sekisho.errors import Reason, RefusedError
from sekisho.redact.documents import STRINGS, is_document
from sekisho.redact.placeholders import LENGTH, PLACEHOLDER, held_back

MAX_DOCUMENT: Final = 1 << 20
_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")
# What a string of JSON cannot hold as it is.
_ODD: Final = re.compile(r'["\\\x00-\x1f\ud800-\udfff]')
# How a bracket is spelt where it is not spelt as it is, and what stands in no JSON in UTF-8.
_ESCAPED: Final = b"\\u005"
_NO_UTF_8: Final = b"\0"


@dataclass(frozen=True, slots=True)
class Tally:
    """What was met so far.

    Attributes:
        restored: Placeholders that became their originals.
        invented: Whole ones of which the request knows nothing; they stay as they are.
        halves: Beginnings without an end; they stay as they are.
    """

    restored: int = 0
    invented: int = 0
    halves: int = 0


class Restorer:
    """Restore one stream of text; at most `LENGTH - 1` characters are held back.

    A document is held back until it is whole where an original has to be escaped in it: strings may be documents
    themselves, and only the end of one tells. One of more than `MAX_DOCUMENT` characters is not: its strings are texts.

    Args:
        values: Originals by placeholder; secret.
        in_json: Whether the stream is the text of a JSON document (tool arguments), for whose strings originals are
            escaped.
    """

    __slots__ = ("_held", "_in_json", "_length", "_parts", "_tally", "_values")

    def __init__(self, values: Mapping[str, str], *, in_json: bool = False) -> None:
        self._values = values
        self._in_json = in_json
        self._held = ""
        # Of a document that is held back; None where none is.
        self._parts: list[str] | None = [] if in_json and any(map(_ODD.search, values.values())) else None
        self._length = 0
        self._tally = Tally()

    @property
    def tally(self) -> Tally:
        """What was met so far."""
        return self._tally

    def feed(self, chunk: str) -> str:
        """Take a chunk; return what can be said by now."""
        if self._parts is not None:
            return self._keep(self._parts, chunk)
        if not self._held and "[" not in chunk:
            return chunk
        text = self._held + chunk
        cut = len(text) - held_back(text)
        self._held = text[cut:]
        return self._restore(text[:cut])

    def finish(self) -> str:
        """End the stream; return what was held back: a document, or half a placeholder at most."""
        if self._parts is not None:
            document, self._parts = "".join(self._parts), None
            if is_document(document):
                return self._restore_document(document)
            return self.feed(document) + self.finish()
        rest, self._held = self._held, ""
        if len(rest) > 1:
            self._count(halves=1)
        return rest

    def _keep(self, parts: list[str], chunk: str) -> str:
        parts.append(chunk)
        self._length += len(chunk)
        if self._length <= MAX_DOCUMENT:
            return ""
        self._parts = None
        return self.feed("".join(parts))

    def _restore_document(self, document: str) -> str:
        return STRINGS.sub(self._restore_string, document)

    def _restore_string(self, found: re.Match[str]) -> str:
        """Restore a string of a document as it is spelt there."""
        spelt = found.group()
        if "[[" not in spelt:
            return spelt
        inside = str(json.loads(spelt))
        if not is_document(inside):
            return self._restore(spelt)
        said = self._restore_document(inside)
        return spelt if said == inside else f'"{_escape(said)}"'

    def _restore(self, text: str) -> str:
        return PLACEHOLDER.sub(self._replace, text) if "[[" in text else text

    def _replace(self, match: re.Match[str]) -> str:
        found = match.group()
        if len(found) < LENGTH:
            self._count(halves=1)
            return found
        value = self._values.get(found)
        if value is None:
            self._count(invented=1)
            return found
        self._count(restored=1)
        return _escape(value) if self._in_json else value

    def _count(self, *, restored: int = 0, invented: int = 0, halves: int = 0) -> None:
        now = self._tally
        self._tally = Tally(now.restored + restored, now.invented + invented, now.halves + halves)


def may_hold_placeholders(document: bytes) -> bool:
    """Tell whether a JSON text may hold a placeholder, or half of one, in any of its strings, however it is spelt."""
    return b"[[" in document or _ESCAPED in document or _NO_UTF_8 in document


class ByteRestorer:
    """Restore one stream of UTF-8, whose chunks may end inside a character."""

    __slots__ = ("_decoder", "_inner")

    def __init__(self, inner: Restorer) -> None:
        self._inner = inner
        self._decoder = codecs.getincrementaldecoder("utf-8")("strict")

    def feed(self, chunk: bytes) -> bytes:
        """Take a chunk; return what can be said by now.

        Raises:
            RefusedError: `UpstreamFailed`, the stream is not UTF-8; nothing of the chunk is emitted.
        """
        return self._inner.feed(self._decode(chunk, final=False)).encode()

    def finish(self) -> bytes:
        """End the stream; refuses like `feed` where it ends inside a character."""
        return (self._inner.feed(self._decode(b"", final=True)) + self._inner.finish()).encode()

    def _decode(self, chunk: bytes, *, final: bool) -> str:
        try:
            return self._decoder.decode(chunk, final)
        except UnicodeDecodeError as error:
            raise RefusedError(
                Reason.UPSTREAM_FAILED, "the answer's stream is not UTF-8; it ends here, look at the upstream's log"
            ) from error


def _escape(value: str) -> str:
    return json.dumps(value, ensure_ascii=_SURROGATE.search(value) is not None)[1:-1]
