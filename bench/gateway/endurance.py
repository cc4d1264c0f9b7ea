"""G8 to G11: what the gateway holds after many requests, of idle connections and streams, and beside slow callers.

No reference, no goal: figures that are told. Every answer must be right all the same.
"""

import asyncio
import functools
import itertools
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, TypeVar

from bench.gateway.stand import Stand, open_stand
from bench.gateway.streams import Caller, Heard, Place, ask_many, find_percentile, read_body, spell_request
from bench.harness import Benchmark, Count, Registry, WrongAnswerError

SOAK_REQUESTS: Final = 20_000
SOAK_SECONDS: Final = 60.0
LINES: Final = 32
BATCH: Final = 500
CONNECTIONS: Final = 10_000
STREAMS: Final = 200
STREAM_SECONDS: Final = 300
SLOW: Final = 500
_SETTINGS: Final = {
    "SEKISHO_MAX_CONNECTIONS": "20000", "SEKISHO_MAX_REQUESTS": "2000", "SEKISHO_MAX_REQUESTS_PER_CALLER": "2000",
    "SEKISHO_HEAD_SECONDS": "3600", "SEKISHO_BODY_SECONDS": "3600", "SEKISHO_IDLE_SECONDS": "3600",
}  # fmt: skip
_AT_ONCE: Final = 64
_SECONDS: Final = 60.0
_numbers = itertools.count()
_NOBODY: Final = "nobody"
T = TypeVar("T")
Measure = Callable[[Stand, list[str]], float]


def add_to(registry: Registry) -> None:
    """Register what is told of the gateway's endurance."""
    for id_, what, count in (
        ("G8", f"MiB more after {SOAK_REQUESTS:,} requests or {SOAK_SECONDS:.0f} s", soak),
        ("G9", f"KiB an idle connection, {CONNECTIONS:,} over TLS", hold_connections),
        ("G10", f"KiB an idle stream, {STREAMS} at once", hold_streams),
        ("G11", f"time of requests p99 beside {SLOW} callers who never end theirs, against without", crawl),
    ):
        registry.register(Benchmark(id_, what, _NOBODY, None, "max", functools.partial(_open, count)))


@contextmanager
def _open(count: Measure) -> Iterator[Count]:
    told: list[str] = []
    with open_stand(guarded=True, nginx=False, settings=_SETTINGS) as stand:
        yield Count(lambda: count(stand, told), repetitions=1, notes=lambda: "; ".join(told))


def soak(stand: Stand, told: list[str]) -> float:
    """Ask again and again; return by how much the process has grown since it had answered the first tenth."""
    process, began, asked = stand.gateway.process, time.monotonic(), 0
    first = process.held_mib()
    warm = None
    while asked < SOAK_REQUESTS and time.monotonic() - began < SOAK_SECONDS:
        _ask(stand, BATCH)
        asked += BATCH
        if warm is None and (asked >= SOAK_REQUESTS // 10 or time.monotonic() - began >= SOAK_SECONDS / 10):
            warm = process.held_mib()
    held = process.held_mib()
    told.append(
        f"{asked:,} requests in {time.monotonic() - began:.0f} s; {first:.0f} MiB before, "
        f"{warm or held:.0f} after a tenth, {held:.0f} in the end, {process.peak_mib():.0f} at most"
    )
    return held - (warm or held)


def _ask(stand: Stand, count: int) -> list[float]:
    """Ask for half as many streams as whole answers; return the seconds of each."""
    place = stand.gateway.place
    requests = [
        spell_request(place, _make_prompt(stand), **({"stream": True, "max_tokens": 3} if at % 3 == 0 else {}))
        for at in range(count)
    ]
    _, answers = asyncio.run(ask_many(place, requests, lines=LINES))
    for heard in answers:
        _check(heard)
    return [(heard.pieces[-1][0] - heard.pieces[0][0]) / 1e9 for heard in answers]


def _make_prompt(stand: Stand) -> str:
    number = next(_numbers)
    return f"{number}. {stand.prompts[number % len(stand.prompts)]}"


def _check(heard: Heard) -> None:
    body = read_body(heard.raw)
    if not (body.endswith(b"data: [DONE]\n\n") or json.loads(body)["choices"][0]["message"]["content"] == "It is so."):
        raise WrongAnswerError(f"an answer was {body[-300:]!r}")


def hold_connections(stand: Stand, told: list[str]) -> float:
    """Open connections on which nothing is said; return what the process holds for each."""
    _ask(stand, BATCH)
    before, began = stand.gateway.process.held_mib(), time.monotonic()
    held = asyncio.run(_hold(stand, [b""] * CONNECTIONS, stand.gateway.process.held_mib))
    told.append(
        f"{before:.0f} MiB before, {held:.0f} with them, made and looked at within {time.monotonic() - began:.0f} s"
    )
    _ask(stand, BATCH)
    return (held - before) * 1024 / CONNECTIONS


def hold_streams(stand: Stand, told: list[str]) -> float:
    """Open streams of which the engine says a word and then nothing for long; return what each takes."""
    _ask(stand, BATCH)
    place, process = stand.gateway.place, stand.gateway.process
    before = process.held_mib()
    pause = STREAM_SECONDS * 1_000_000
    asked = [spell_request(place, _make_prompt(stand), stream=True, max_tokens=2, seed=pause) for _ in range(STREAMS)]
    held = asyncio.run(_hold(stand, asked, process.held_mib, wanted=b"word 0 "))
    told.append(f"{before:.0f} MiB before, {held:.0f} with them")
    return (held - before) * 1024 / STREAMS


def crawl(stand: Stand, told: list[str]) -> float:
    """Time requests alone, then beside callers who send a part of a head or of a body and no more."""
    _ask(stand, BATCH)
    alone = find_percentile(_time(stand), 0.99)
    token = f"Authorization: Bearer {stand.gateway.place.token}\r\n".encode()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n"
    begun = head + token + b"Content-Type: application/json\r\nContent-Length: 900\r\n\r\n{"
    beside = asyncio.run(_hold(stand, [head, begun] * (SLOW // 2), lambda: _time(stand)))
    late = find_percentile(beside, 0.99)
    told.append(f"{alone * 1e3:.0f} ms alone, {late * 1e3:.0f} ms beside them")
    return late / alone


def _time(stand: Stand) -> list[float]:
    """Return the seconds of requests, one after another on one connection."""
    caller, seconds = Caller(stand.gateway.place), []
    try:
        for _ in range(BATCH):
            first, heard = caller.ask(spell_request(caller.place, _make_prompt(stand)))
            _check(heard)
            seconds.append(first)
    finally:
        caller.close()
    return seconds


async def _hold(stand: Stand, sent: Sequence[bytes], look: Callable[[], T], *, wanted: bytes = b"") -> T:
    """Open a connection for each of what is sent, wait until `wanted` has come on every one, then look.

    Raises:
        WrongAnswerError: One of them was ended.
    """
    place, few = stand.gateway.place, asyncio.Semaphore(_AT_ONCE)
    lines: list[_Line] = []

    async def begin(data: bytes) -> None:
        async with few:
            line = await _connect(place)
            lines.append(line)
            line.transport.write(data)
            if wanted:
                async with asyncio.timeout(_SECONDS):
                    await line.wait(wanted)

    try:
        await asyncio.gather(*map(begin, sent))
        seen = await asyncio.to_thread(look)
        if ended := sum(line.ended for line in lines):
            raise WrongAnswerError(f"{ended} connections of {len(lines)} were ended")
        return seen
    finally:
        for line in lines:
            line.transport.abort()
        await asyncio.sleep(0)


async def _connect(place: Place) -> "_Line":
    loop = asyncio.get_running_loop()
    _, line = await loop.create_connection(
        _Line, "127.0.0.1", place.port, ssl=place.trust, server_hostname="127.0.0.1", ssl_handshake_timeout=_SECONDS
    )
    return line


class _Line(asyncio.Protocol):
    """A connection that is held."""

    def __init__(self) -> None:
        self._heard = b""
        self._news = asyncio.Event()
        self.ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended = True
        self._news.set()

    def data_received(self, data: bytes) -> None:
        self._heard += data
        self._news.set()

    async def wait(self, wanted: bytes) -> None:
        while wanted not in self._heard:
            if self.ended or not self._heard.startswith(b"HTTP/1.1 200 "[: len(self._heard)]):
                raise WrongAnswerError(f"a connection that is held was told {self._heard[-300:]!r}")
            self._news.clear()
            await self._news.wait()
