"""Carry one checked request to an engine and its answer back: bounded, cancelled with its caller, never retried.

The interface is narrow on purpose: bytes in, a `Sink` for bytes out, an `Outcome`. Neither side knows the other's HTTP.
"""

import asyncio
import json
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Protocol, Self, TypeVar

from sekisho.errors import Reason, RefusedError, SekishoError, UnavailableError
from sekisho.gateway.decide import Backend
from sekisho.gateway.dialects.answers import Answerer, Shortcut
from sekisho.gateway.dialects.engine import read_engine_message, read_usage
from sekisho.gateway.dialects.form import Endpoint
from sekisho.gateway.dialects.refusals import render_error_event
from sekisho.gateway.patience import Patience
from sekisho.gateway.sse import EventFramer
from sekisho.gateway.wire.bodies import begin_chunk
from sekisho.gateway.wire.heads import ResponseHead, WireError
from sekisho.gateway.wire.upstream import (
    Line,
    NoRoomError,
    NotReachedError,
    Pool,
    PoolLimits,
    Resolver,
    SystemResolver,
    TooSlowToReachError,
)

_HEADERS = "Content-Type: application/json\r\nAccept: */*\r\nAccept-Encoding: identity\r\nUser-Agent: sekisho-gateway"
_Heard = TypeVar("_Heard")
_FAILURES = (WireError, NoRoomError, NotReachedError, TooSlowToReachError, TimeoutError, OSError)
# Of chunks, whose beginnings are remembered.
_MOST_SIZES: Final = 1024
# Any other word in its place is the engine's own, and would pass to the caller without having been examined.
_TOLD_TYPES = frozenset({"application/json", "text/event-stream", "text/html", "text/plain"})
# Statuses by which an engine says that the request, not the engine, is at fault.
_CALLERS_FAULT = frozenset({400, 413, 422})
# Statuses by which an engine says that it was not started for what is asked of it, such as embeddings.
_NOT_SERVED = frozenset({404, 405, 501})
# Statuses by which an engine says that it takes no more.
_BUSY = frozenset({429, 503})


@dataclass(frozen=True, slots=True)
class RelayLimits:
    """Bounds of one relay.

    Attributes:
        first_byte_seconds: Until a stream says its first word.
        idle_seconds: Between two words of a stream.
        answer_seconds: Until an answer that is no stream begins, which is when it is complete.
    """

    connect_seconds: float = 5.0
    first_byte_seconds: float = 120.0
    answer_seconds: float = 600.0
    idle_seconds: float = 60.0
    max_answer_bytes: int = 8 << 20
    max_event_bytes: int = 256 << 10
    max_stream_bytes: int = 256 << 20
    max_error_bytes: int = 64 << 10
    connections_per_backend: int = 256


class Sink(Protocol):
    """Where an answer goes. Writing waits while the caller does not read."""

    async def begin(
        self,
        status: int,
        content_type: str,
        *,
        length: int | None = None,
        retry_seconds: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Send the status; nothing was sent before. `length` is that of the body, None for a stream."""
        ...

    async def write(self, data: bytes) -> None:
        """Send bytes of the body; none of them where it is only to wait for a caller who is behind."""
        ...

    def push(self, data: bytes) -> bool:
        """Send bytes of the body without waiting; False: the caller is behind, and `write` is next.

        Raises:
            ConnectionError: The caller has gone.
        """
        ...

    async def end(self) -> None:
        """End the body."""
        ...


@dataclass(slots=True)
class Outcome:
    """What became of a relay; filled while it runs, so that it tells the truth however it ends.

    Attributes:
        status: What the caller was told, 0 while nothing.
        reason: Why a stream that had begun ended with an error.
        untouched: Whether a relay that failed cannot have begun in the engine: it was not reached, or was too busy to
            take it. Only then may another be asked. Left as it is, nobody else is.
    """

    status: int = 0
    sent_bytes: int = 0
    events: int = 0
    usage: dict[str, int] = field(default_factory=dict)
    reason: Reason | None = None
    untouched: bool = False


class Relay(Protocol):
    """Carries requests; an HTTP client of any kind."""

    async def relay(
        self,
        backend: Backend,
        path: str,
        body: bytes,
        sink: Sink,
        *,
        stream: bool,
        outcome: Outcome,
        answerer: Answerer | None = None,
    ) -> None:
        """Send `body` to a path of the engine and its answer into `sink`, as `answerer` tells it.

        Raises:
            SekishoError: The engine did not answer, or not as it must, and nothing was sent into `sink` yet.
        """
        ...


@dataclass(frozen=True, slots=True)
class _Way:
    """One answer on its way from an engine to a caller."""

    line: Line
    head: ResponseHead
    backend: Backend
    sink: Sink
    outcome: Outcome
    answerer: Answerer | None

    async def say(self, data: bytes) -> None:
        """Send bytes of a stream."""
        if not self.outcome.status:
            self.outcome.status = 200
            await self.sink.begin(200, "text/event-stream")
        await self.sink.write(data)
        self.outcome.sent_bytes += len(data)


class _Stream:
    """Carries a stream that has begun, in the turn of the event loop in which each of its pieces comes."""

    def __init__(self, way: _Way, framer: EventFramer, patience: Patience, idle_seconds: float) -> None:
        self._way = way
        self._framer = framer
        self._patience = patience
        self._idle_seconds = idle_seconds
        self.failure: Exception | None = None
        self._usual: Shortcut | None = None
        self._starts: dict[int, bytes] = {}
        self._end = b""

    def tell(self, chunk: bytes) -> bytes:
        """Return what the caller is told of what the engine said."""
        whole, answerer = self._framer.feed(chunk), self._way.answerer
        return answerer.feed(whole) if whole and answerer is not None else whole

    def push(self, chunk: bytes) -> bool:
        """Tell the caller, without waiting; False where it must be waited for, or where `failure` says why not."""
        try:
            goes_on = True
            if whole := self.tell(chunk):
                goes_on = self._way.sink.push(whole)
                self._way.outcome.sent_bytes += len(whole)
            self._patience.begin(self._idle_seconds)
        except Exception as error:  # noqa: BLE001 - whoever waits for the stream raises it
            self.failure = error
            return False
        return goes_on

    def catch(self, data: bytes) -> tuple[bytes, bool]:
        """Tell the caller the usual events that came as whole chunks; return what follows them, see `Inbox.pump`."""
        way, framer = self._way, self._framer
        usual = way.answerer.usual if way.answerer is not None else None
        if usual is None or not framer.is_between:
            return data, True
        if usual is not self._usual:
            self._usual, self._starts, self._end = usual, {}, usual.after + b"\r\n"
        at, told, goes_on, end = 0, b"", True, self._end
        try:
            while (found := data.find(end, at)) >= 0:
                size = found + len(end) - at
                start = self._starts.get(size) or self._learn(usual, size)
                said = usual.tell(data[at + len(start) : found]) if start and data.startswith(start, at) else None
                if said is None:
                    break
                framer.pass_by(size)
                told, at = told + said, found + len(end)
            if told:
                goes_on = way.sink.push(told)
                way.outcome.sent_bytes += len(told)
            if at:
                self._patience.begin(self._idle_seconds)
        except Exception as error:  # noqa: BLE001 - whoever waits for the stream raises it
            self.failure = error
            return b"", False
        return data[at:], goes_on

    def _learn(self, usual: Shortcut, size: int) -> bytes:
        """Return what a chunk of this size has before the text of a usual event; nothing where none has that size."""
        line = begin_chunk(size)
        if line is None:
            return b""
        if len(self._starts) < _MOST_SIZES:
            self._starts[size] = line + usual.before
        return line + usual.before


class HttpRelay:
    """Relays over kept connections, one pool for each backend. Use it as a context manager.

    Args:
        limits: Bounds.
        resolver: Looks names up; the system's if None.
    """

    def __init__(self, limits: RelayLimits, *, resolver: Resolver | None = None) -> None:
        self._limits = limits
        self._resolver = resolver or SystemResolver()
        self._pool: Pool | None = None

    async def __aenter__(self) -> Self:
        limits = self._limits
        self._pool = Pool(PoolLimits(limits.connect_seconds, limits.connections_per_backend), self._resolver)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            await self._pool.close()
            self._pool = None

    async def relay(
        self,
        backend: Backend,
        path: str,
        body: bytes,
        sink: Sink,
        *,
        stream: bool,
        outcome: Outcome,
        answerer: Answerer | None = None,
    ) -> None:
        """Send a request and carry its answer; leaving early, by cancellation too, cuts the engine's connection."""
        if self._pool is None:
            raise RuntimeError("the relay is used outside its context")
        pool, host, port = self._pool, backend.host, backend.port
        request = (
            f"POST {path} HTTP/1.1\r\nHost: {backend.authority}\r\n{_HEADERS}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        limits, line = self._limits, None
        try:
            try:
                async with asyncio.timeout(limits.first_byte_seconds if stream else limits.answer_seconds):
                    line = await pool.take(host, port)
                    head = await line.ask(request.encode("ascii"), body)
            except _FAILURES as error:
                # Without a connection nothing was asked.
                outcome.untouched = line is None
                raise self._failure(backend, error) from error
            way = _Way(line, head, backend, sink, outcome, answerer)
            await self._check(way, path, stream=stream)
            await (self._carry_stream(way) if stream else self._carry_answer(way))
        finally:
            # A connection with anything left on it is cut, not kept: that is how an engine learns to stop.
            if line is not None:
                pool.give(host, port, line)

    async def _check(self, way: _Way, path: str, *, stream: bool) -> None:
        head, who = way.head, f"the engine of {way.backend.served_name}"
        if head.status != 200:
            raise await self._explain(way, path)
        wanted, given = "text/event-stream" if stream else "application/json", _read_type(head)
        codings = head.fields.get(b"content-encoding", ())
        if given != wanted or any(coding.lower() != b"identity" for coding in codings):
            told = given if given in _TOLD_TYPES else "something else"
            raise UnavailableError(Reason.UPSTREAM_FAILED, f"{who} answered with {told}, {wanted} was expected")

    async def _explain(self, way: _Way, path: str) -> SekishoError:
        """Say in our words why an engine does not answer; its own words count as an answer and are examined as such."""
        status, who = way.head.status, f"the engine of {way.backend.served_name}"
        if status in _CALLERS_FAULT:
            said = read_engine_message(await self._read(way.line, way.backend, self._limits.max_error_bytes))
            said = said if way.answerer is None else way.answerer.complain(said)
            return RefusedError(Reason.REQUEST_INVALID, f"{who} refused the request: {said or f'status {status}'}")
        if status in _NOT_SERVED and path != Endpoint.CHAT:
            return RefusedError(
                Reason.ENDPOINT_UNKNOWN,
                f"{who} does not serve {path} (status {status}); choose a model whose engine does",
            )
        if status in _BUSY:
            way.outcome.untouched = True
            return UnavailableError(Reason.OVERLOADED, f"{who} is overloaded (status {status}); try again shortly")
        return UnavailableError(
            Reason.UPSTREAM_FAILED, f"{who} answered with status {status}; try again, or tell who answers for the model"
        )

    async def _carry_answer(self, way: _Way) -> None:
        """Carry an answer that is one JSON text: whole or not at all."""
        outcome, sink = way.outcome, way.sink
        body = await self._read(way.line, way.backend, self._limits.max_answer_bytes)
        if not body.lstrip().startswith(b"{"):
            raise UnavailableError(
                Reason.UPSTREAM_FAILED, f"the engine of {way.backend.served_name} did not answer with a JSON object"
            )
        if way.head.framing.is_endless and not _is_json(body):
            # Without a length, an engine that died looks like one that has said all.
            raise self._failure(way.backend, ConnectionResetError())
        outcome.usage = read_usage([body])
        if way.answerer is not None:
            body = way.answerer.whole(body)
        outcome.status = 200
        await sink.begin(200, "application/json", length=len(body))
        await sink.write(body)
        outcome.sent_bytes = len(body)
        await sink.end()

    async def _read(self, line: Line, backend: Backend, most: int) -> bytes:
        data = bytearray()
        while chunk := await self._next(line, backend, self._limits.idle_seconds):
            data += chunk
            if len(data) > most:
                raise UnavailableError(
                    Reason.UPSTREAM_FAILED,
                    f"the engine of {backend.served_name} answered with more than {most} bytes; "
                    "ask for a shorter answer",
                )
        return bytes(data)

    async def _carry_stream(self, way: _Way) -> None:
        """Carry whole events as they come; once begun, a failure becomes the stream's last event."""
        limits, answerer, outcome = self._limits, way.answerer, way.outcome
        framer = EventFramer(limits.max_event_bytes, limits.max_stream_bytes)
        try:
            await self._carry_events(way, framer)
        except SekishoError as error:
            if not outcome.status:
                raise
            outcome.reason = error.reason
            last = (
                render_error_event(None, error.reason, error.message)
                if answerer is None
                else answerer.fail(error.reason, error.message)
            )
            await way.say(last)
        finally:
            outcome.events, outcome.usage = framer.events, read_usage(framer.last_events())
        await way.sink.end()

    async def _carry_events(self, way: _Way, framer: EventFramer) -> None:
        patience, answerer = Patience(), way.answerer
        try:
            async with patience:
                await self._follow(way, framer, patience)
        except TimeoutError as error:
            if patience.is_over:
                raise self._failure(way.backend, error) from error
            # It is the caller who does not read.
            raise
        if not framer.is_complete:
            raise UnavailableError(
                Reason.UPSTREAM_FAILED, f"the engine of {way.backend.served_name} ended in the middle of its answer"
            )
        if answerer is not None and (rest := answerer.end()):
            await way.say(rest)

    async def _follow(self, way: _Way, framer: EventFramer, patience: Patience) -> None:
        """Carry what comes until the engine ends."""
        seconds = self._limits.idle_seconds
        stream = _Stream(way, framer, patience, seconds)
        # An engine may think for long before its first word, not between two.
        patience.begin(self._limits.first_byte_seconds)
        while not way.outcome.status:
            chunk = await self._hear(way, way.line.read())
            patience.end()
            if not chunk:
                return
            if whole := stream.tell(chunk):
                await way.say(whole)
            patience.begin(seconds)
        while not await self._hear(way, way.line.pump(stream.push, stream.catch)):
            patience.end()
            if stream.failure is not None:
                raise stream.failure
            # The caller is behind.
            await way.sink.write(b"")
            patience.begin(seconds)
        patience.end()

    async def _hear(self, way: _Way, heard: Awaitable[_Heard]) -> _Heard:
        """Return what came of the engine, and say in our words how it failed."""
        try:
            return await heard
        except _FAILURES as error:
            raise self._failure(way.backend, error) from error

    async def _next(self, line: Line, backend: Backend, seconds: float) -> bytes:
        """Return what came from the engine, empty at the end, and say in our words how it failed."""
        try:
            # Most answers came with their heads: what does not wait needs no timer.
            if line.has_some:
                return await line.read()
            async with asyncio.timeout(seconds):
                return await line.read()
        except _FAILURES as error:
            raise self._failure(backend, error) from error

    def _failure(self, backend: Backend, error: Exception) -> SekishoError:
        who = f"the engine of {backend.served_name}"
        if isinstance(error, NoRoomError):
            most = self._limits.connections_per_backend
            told = f"{who} has {most} requests of this gateway under way, which is the most; try again shortly"
            return UnavailableError(Reason.OVERLOADED, told)
        if isinstance(error, TooSlowToReachError):
            return UnavailableError(
                Reason.UPSTREAM_TIMEOUT, f"{who} could not be reached within {self._limits.connect_seconds:g} s"
            )
        if isinstance(error, TimeoutError):
            return UnavailableError(
                Reason.UPSTREAM_TIMEOUT, f"{who} was silent for too long; try again, or ask for a shorter answer"
            )
        if isinstance(error, NotReachedError):
            return UnavailableError(Reason.UPSTREAM_FAILED, f"{who} could not be reached; try again shortly")
        if isinstance(error, WireError):
            return UnavailableError(Reason.UPSTREAM_FAILED, f"{who} answered with what is not HTTP: {error}")
        return UnavailableError(Reason.UPSTREAM_FAILED, f"{who} ended in the middle of its answer")


def _is_json(body: bytes) -> bool:
    try:
        json.loads(body)
    except (ValueError, RecursionError):
        return False
    return True


def _read_type(head: ResponseHead) -> str:
    """Return the media type of an answer, without its parameters."""
    values = head.fields.get(b"content-type", ())
    if len(values) != 1:
        return f"{len(values)} media types"
    return values[0].partition(b";")[0].strip().lower().decode("latin-1")
