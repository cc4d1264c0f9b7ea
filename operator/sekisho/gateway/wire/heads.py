"""Heads of HTTP/1.1 messages, read strictly: what two readers could take for two different things is refused. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

MAX_HEAD_BYTES: Final = 32 << 10
MAX_FIELD_BYTES: Final = 16 << 10
MAX_FIELDS: Final = 64
_END: Final = b"\r\n\r\n"
_TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
# Only a path: a proxy's forms (an absolute URL, CONNECT's authority) and `*` name nothing that is served here.
_REQUEST: Final = re.compile(rb"(" + _TOKEN + rb"{1,32}) (/[!\"$-~]*) HTTP/1\.([01])")
_STATUS: Final = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9]{2})(?: [\t\x20-\x7e\x80-\xff]*)?")
# No line is folded, no space stands before the colon, no CR, LF or NUL within.
_FIELD: Final = re.compile(rb"(" + _TOKEN + rb"{1,256}):([\t\x20-\x7e\x80-\xff]*)")
# Every byte of a line but what may not stand in one; what is left of a head without them are its lines' ends.
_FINE: Final = bytes(byte for byte in range(256) if byte == 9 or (byte >= 32 and byte != 127))
_USUAL: Final = (
    "Host", "Authorization", "Content-Type", "Content-Length", "Transfer-Encoding", "Connection", "Accept",
    "Accept-Encoding", "Accept-Language", "User-Agent", "Date", "Server", "Cache-Control", "X-Api-Key",
    "Anthropic-Version", "X-Request-Id", "X-Forwarded-For", "X-Forwarded-Proto", "X-Stainless-Lang",
    "X-Stainless-Package-Version", "X-Stainless-OS", "X-Stainless-Arch", "X-Stainless-Runtime",
    "X-Stainless-Runtime-Version", "X-Stainless-Async", "X-Stainless-Retry-Count", "X-Stainless-Read-Timeout",
)  # fmt: skip
# Names as they mostly are spelt, and in small letters.
_NAMES: Final[Mapping[bytes, bytes]] = {
    spelt.encode(): name.lower().encode() for name in _USUAL for spelt in (name, name.lower())
}
_LENGTH: Final = re.compile(rb"[0-9]{1,15}")
_BARE: Final = re.compile(rb"(?<!\r)\n")
_BODILESS: Final = frozenset({204, 304})
Fields = Mapping[bytes, Sequence[bytes]]


class WireError(Exception):
    """What came is not HTTP as it is taken here. The message names the rule and quotes nothing of what came."""


@dataclass(frozen=True, slots=True)
class Framing:
    """How the end of a body is told.

    Attributes:
        length: Its bytes, None where it is told otherwise.
        chunked: It comes in chunks, the last of which is empty.
        keeps: The connection may carry another message after this one.
    """

    length: int | None
    chunked: bool
    keeps: bool

    @property
    def is_endless(self) -> bool:
        """Whether the body ends with its connection."""
        return self.length is None and not self.chunked


@dataclass(frozen=True, slots=True)
class RequestHead:
    """A request without its body.

    Attributes:
        path: As it was sent, without the query.
        fields: Values by name in small letters.
        minor: 0 for HTTP/1.0, whose answers end with the connection.
        expects: The caller waits for a word before it sends the body.
    """

    method: str
    path: str
    fields: Fields
    framing: Framing
    minor: int
    expects: bool

    def values(self, name: str) -> list[str]:
        """Return every value of a field."""
        found = self.fields.get(name.lower().encode())
        return [value.decode("utf-8", "replace") for value in found] if found else []


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """A response without its body; without length and chunks it ends with the connection."""

    status: int
    fields: Fields
    framing: Framing


class HeadFinder:
    """Collects bytes until a head is whole.

    Args:
        most: Bytes of the longest head.
    """

    def __init__(self, most: int = MAX_HEAD_BYTES) -> None:
        self._most = most
        self._held = bytearray()

    @property
    def has_begun(self) -> bool:
        """Whether a part of a head waits for its rest."""
        return bool(self._held)

    def feed(self, data: bytes) -> tuple[bytes, bytes] | None:
        """Return a head without the empty line at its end, and what came after it; None while it is not whole.

        Raises:
            WireError: It is too long, or has a line that ends with a bare LF.
        """
        if not self._held and (end := data.find(_END)) >= 0:
            self._check(end)
            return data[:end], data[end + 4 :]
        begin = max(0, len(self._held) - 3)
        self._held += data
        end = self._held.find(_END, begin)
        self._check(end if end >= 0 else len(self._held))
        if end < 0:
            # Whoever ends lines so waits for an answer that would come only when its time is over.
            if _BARE.search(self._held, begin):
                raise WireError("a line of the head ends with a bare LF")
            return None
        held, self._held = bytes(self._held), bytearray()
        return held[:end], held[end + 4 :]

    def _check(self, size: int) -> None:
        if size > self._most:
            raise WireError(f"the head is longer than {self._most} bytes")


def parse_request_head(data: bytes) -> RequestHead:
    """Return the head of a request.

    Raises:
        WireError: It is malformed, or could be read in two ways.
    """
    lines = data.split(b"\r\n")
    found = _REQUEST.fullmatch(lines[0])
    if found is None:
        raise WireError("the request line is not METHOD /PATH HTTP/1.1")
    fields, minor = _read_fields(data, lines), int(found[3])
    if len(fields.get(b"host", ())) != 1 and (minor or b"host" in fields):
        raise WireError(f"the Host header stands {len(fields.get(b'host', ()))} times; it must stand once")
    expected = fields.get(b"expect", ())
    if expected and [value.lower() for value in expected] != [b"100-continue"]:
        raise WireError("the Expect header asks for something else than 100-continue")
    path = found[2].partition(b"?")[0]
    framing = _read_framing(fields, minor)
    if framing.length is None and not framing.chunked:
        framing = Framing(0, chunked=False, keeps=framing.keeps)
    return RequestHead(found[1].decode(), path.decode(), fields, framing, minor, bool(expected and minor))


def parse_response_head(data: bytes) -> ResponseHead:
    """Return the head of a response to a POST.

    Raises:
        WireError: It is malformed, or could be read in two ways.
    """
    lines = data.split(b"\r\n")
    found = _STATUS.fullmatch(lines[0])
    if found is None:
        raise WireError("the status line is not HTTP/1.1 STATUS")
    fields, status = _read_fields(data, lines), int(found[2])
    framing = _read_framing(fields, int(found[1]))
    if status < 200 or status in _BODILESS:
        framing = Framing(0, chunked=False, keeps=framing.keeps)
    return ResponseHead(status, fields, framing)


def _read_fields(data: bytes, lines: list[bytes]) -> Fields:
    if len(lines) > MAX_FIELDS + 1:
        raise WireError(f"the head has more than {MAX_FIELDS} fields")
    # Two looks at the whole spare one at each line; where anything is unusual, each line is looked at.
    is_plain = len(data) <= MAX_FIELD_BYTES and data.translate(None, _FINE) == b"\r\n" * (len(lines) - 1)
    fields: dict[bytes, list[bytes]] = {}
    for at in range(1, len(lines)):
        line = lines[at]
        name, colon, value = line.partition(b":")
        known = _NAMES.get(name) if is_plain and colon else None
        if known is None:
            found = _FIELD.fullmatch(line) if len(line) <= MAX_FIELD_BYTES else None
            if found is None:
                raise WireError(f"field {at} of the head is malformed or longer than {MAX_FIELD_BYTES} bytes")
            known = found[1].lower()
        if known in fields:
            fields[known].append(value.strip(b" \t"))
        else:
            fields[known] = [value.strip(b" \t")]
    return fields


def _read_framing(fields: Fields, minor: int) -> Framing:
    """Say how the end of the body is told: in one way, or not at all."""
    lengths, codings = fields.get(b"content-length", ()), fields.get(b"transfer-encoding", ())
    if lengths and codings:
        raise WireError("the body's length is told twice, by Content-Length and by Transfer-Encoding")
    if len(lengths) > 1 or (lengths and not _LENGTH.fullmatch(lengths[0])):
        raise WireError("Content-Length must stand once and be a plain number")
    if codings and (len(codings) > 1 or codings[0].lower() != b"chunked" or not minor):
        raise WireError("Transfer-Encoding must stand once and be chunked, in HTTP/1.1")
    keeps = minor == 1
    for options in fields.get(b"connection", ()):
        keeps = keeps and b"close" not in map(bytes.strip, options.lower().split(b","))
    return Framing(int(lengths[0]) if lengths else None, chunked=bool(codings), keeps=keeps)
