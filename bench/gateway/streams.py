"""A caller as thin as it can be: requests in bytes, answers as they came with their times, and what they must be."""

import asyncio
import json
import re
import socket
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from bench.harness import WrongAnswerError
from tests.unit.gateway.house import MODEL

# An answer of this length says what it was asked.
ECHO_TOKENS: Final = 7777
_STAMP: Final = re.compile(rb"word (\d+) at ([a-p]{16})")
_LETTERS: Final = str.maketrans("0123456789abcdef", "abcdefghijklmnop")
_DIGITS: Final = bytes.maketrans(b"abcdefghijklmnop", b"0123456789abcdef")
_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where requests go.

    Attributes:
        trust: For TLS, None where it is spoken plainly.
    """

    port: int
    trust: ssl.SSLContext | None = None
    token: str = ""


@dataclass(slots=True)
class Heard:
    """One answer as it came.

    Attributes:
        pieces: The time in nanoseconds at which each came, and its bytes.
    """

    pieces: list[tuple[int, bytes]] = field(default_factory=list)

    @property
    def raw(self) -> bytes:
        """All of it."""
        return b"".join(data for _, data in self.pieces)


def spell_stamp(number: int, nanoseconds: int) -> str:
    """Spell the number of a chunk and when it was sent, in letters, which no guard takes for anything."""
    return f"word {number} at {f'{nanoseconds:016x}'.translate(_LETTERS)}. "


def spell_request(place: Place, prompt: str, **fields: Any) -> bytes:
    """Spell one chat request."""
    body = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": prompt}], **fields}).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {place.token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def is_whole(raw: bytes) -> bool:
    """Tell whether an answer has come to its end, whichever way its length is told."""
    head, found, body = raw.partition(b"\r\n\r\n")
    if not found:
        return False
    size = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    return len(body) >= int(size[1]) if size else body.endswith(b"\r\n0\r\n\r\n")


def read_body(raw: bytes) -> bytes:
    """Return the body of an answer.

    Raises:
        WrongAnswerError: Its status is another than 200, or it is cut.
    """
    head, _, body = raw.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200 "):
        raise WrongAnswerError(f"an answer was {raw[:300]!r}")
    if b"chunked" not in head.lower():
        return body
    parts = []
    while True:
        size, found, rest = body.partition(b"\r\n")
        if not found or len(rest) < int(size, 16) + 2:
            raise WrongAnswerError("an answer was cut")
        if not int(size, 16):
            return b"".join(parts)
        parts.append(rest[: int(size, 16)])
        body = rest[int(size, 16) + 2 :]


def check_stream(heard: Heard, chunks: int) -> None:
    """Demand that every chunk came, whole and in order, and the end.

    Raises:
        WrongAnswerError: It is not so.
    """
    body = read_body(heard.raw)
    events = [event for event in body.split(b"\n\n") if event]
    if events.pop() != b"data: [DONE]":
        raise WrongAnswerError("a stream did not end as streams end")
    deltas = [json.loads(event.removeprefix(b"data: "))["choices"][0]["delta"] for event in events]
    text = "".join(delta.get("content") or "" for delta in deltas).encode()
    sent = [(int(number), read_stamp(stamp)) for number, stamp in _STAMP.findall(text)]
    again = "".join(spell_stamp(number, at) for number, at in sent).encode()
    times = [at for _, at in sent]
    if again != text or [number for number, _ in sent] != list(range(chunks)) or times != sorted(times):
        raise WrongAnswerError(f"{len(sent)} chunks of {chunks} came, or not in order")


def read_stamp(stamp: bytes) -> int:
    """Return the nanoseconds of a stamp."""
    return int(stamp.translate(_DIGITS), 16)


def measure_lags(heard: Heard) -> list[float]:
    """Return the seconds from an engine's writing of a chunk to its last byte's arrival, for each chunk."""
    lags, raw, passed = [], heard.raw, 0
    ends = []
    for at, data in heard.pieces:
        passed += len(data)
        ends.append((passed, at))
    position = 0
    for found in _STAMP.finditer(raw):
        while ends[position][0] < found.end():
            position += 1
        lags.append((ends[position][1] - read_stamp(found[2])) / 1e9)
    return lags


def find_percentile(values: Sequence[float], share: float) -> float:
    """Return the value that this share of them does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


class Caller:
    """One kept connection whose caller waits for each answer without doing anything else."""

    def __init__(self, place: Place) -> None:
        self.place = place
        plain = socket.create_connection(("127.0.0.1", place.port), timeout=_SECONDS)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = place.trust.wrap_socket(plain, server_hostname="127.0.0.1") if place.trust else plain

    def ask(self, request: bytes) -> tuple[float, Heard]:
        """Return the seconds until the first word of a stream (or of whatever came instead), and the answer."""
        heard, first = Heard(), 0.0
        began = time.perf_counter()
        self._socket.sendall(request)
        raw = b""
        while not is_whole(raw):
            data = self._socket.recv(1 << 16)
            if not data:
                raise WrongAnswerError(f"a connection ended after {raw[-300:]!r}")
            heard.pieces.append((time.monotonic_ns(), data))
            raw += data
            if not first and b"word 0 " in raw:
                first = time.perf_counter() - began
        return first or time.perf_counter() - began, heard

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


class _Line(asyncio.Protocol):
    """One kept connection of many."""

    def __init__(self) -> None:
        self._heard = Heard()
        self._done: asyncio.Future[Heard] | None = None
        self._head = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_exception(WrongAnswerError(f"a connection ended after {self._heard.raw[-300:]!r}"))

    def data_received(self, data: bytes) -> None:
        self._heard.pieces.append((time.monotonic_ns(), data))
        # The end of a stream comes alone or with its last chunk; answers told by their length are few and short.
        if self._done is None or self._done.done():
            return
        if data.endswith(b"0\r\n\r\n") or not self._is_chunked():
            raw = self._heard.raw
            if is_whole(raw):
                self._done.set_result(self._heard)

    def _is_chunked(self) -> bool:
        if not self._head:
            self._head = self._heard.pieces[0][1].partition(b"\r\n\r\n")[0].lower()
        return b"transfer-encoding: chunked" in self._head

    async def ask(self, request: bytes) -> Heard:
        self._heard, self._head, self._done = Heard(), b"", asyncio.get_running_loop().create_future()
        self.transport.write(request)
        async with asyncio.timeout(_SECONDS):
            return await self._done


async def ask_many(
    place: Place, requests: Sequence[bytes], *, lines: int, stagger: float = 0.0
) -> tuple[float, list[Heard]]:
    """Send requests over as many connections, each when the one before has its answer; return the seconds and answers.

    Connections are made before the clock starts; each of them begins `stagger` seconds after the one before.
    """
    loop, left, answers = asyncio.get_running_loop(), iter(requests), []
    hostname = "127.0.0.1" if place.trust else None
    made = [
        await loop.create_connection(_Line, "127.0.0.1", place.port, ssl=place.trust, server_hostname=hostname)
        for _ in range(lines)
    ]

    async def work(line: _Line, delay: float) -> None:
        await asyncio.sleep(delay)
        # One list of requests for all lines: each takes the next one.
        answers.extend([await line.ask(request) for request in left])

    try:
        began = time.perf_counter()
        await asyncio.gather(*(work(line, at * stagger) for at, (_, line) in enumerate(made)))
        return time.perf_counter() - began, answers
    finally:
        for transport, _ in made:
            transport.abort()
