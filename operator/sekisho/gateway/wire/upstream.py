"""Connections to engines: kept for the next request, never used again once anything is odd about them."""

import asyncio
import select
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Final, Protocol, cast

from sekisho.gateway.caching import BriefCache
from sekisho.gateway.wire.bodies import open_body
from sekisho.gateway.wire.breaks import Breaks
from sekisho.gateway.wire.carrier import Carrier
from sekisho.gateway.wire.heads import HeadFinder, ResponseHead, WireError, parse_response_head
from sekisho.gateway.wire.inbox import Catch, Inbox

_PART_BYTES: Final = 256 << 10
_MAX_INTERIM: Final = 8
_MAX_NAMES: Final = 4096


class NotReachedError(Exception):
    """No connection could be made."""


class TooSlowToReachError(Exception):
    """No connection could be made in time."""


class NoRoomError(Exception):
    """Every connection that there may be is taken, and none came free in time."""


class Resolver(Protocol):
    """Looks up names."""

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        """Return the addresses of a host.

        Raises:
            OSError: There are none.
        """
        ...


class SystemResolver:
    """Looks names up as the system does.

    In threads of this process: uvloop looks up two names at once, and one that nobody answers for takes seconds.
    """

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        """See `Resolver`."""
        found = await asyncio.to_thread(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        return list(dict.fromkeys(str(address[0]) for *_, address in found))


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """Bounds of the connections to one engine each.

    Attributes:
        connections: In use at once; whoever needs one more waits.
        keep_seconds: How long one is kept unused: engines close theirs after 5 s, and a request must not meet that.
        name_seconds: How long the address of a name holds; a service that is made anew has another.
    """

    connect_seconds: float = 5.0
    connections: int = 256
    keep_seconds: float = 3.0
    name_seconds: float = 5.0


class Line(asyncio.Protocol):
    """One connection to an engine, for one request at a time."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._finder: HeadFinder | None = None
        self._interim = 0
        self._waiter: asyncio.Future[None] | None = None
        self._head: ResponseHead | None = None
        self._inbox: Inbox | None = None
        self._failure: Exception | None = None
        self._is_sent = self._full = self._is_odd = False
        self._drained: asyncio.Future[None] | None = None
        self.idle_since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        if self._inbox is None:
            if self._finder is None:
                # Nothing was asked.
                self._is_odd = True
                self.transport.abort()
                return
            data = self._find_head(data)
            if self._inbox is None or not data:
                return
        if self._inbox.feed(data):
            self._is_odd = True
        if self._inbox.failure is not None:
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._is_odd = True
        self._fail(ConnectionResetError("the connection ended"))
        if self._inbox is not None:
            if exc is not None and not self._inbox.is_done:
                # A body without length is whole where its connection ends, not where it breaks.
                self._inbox.fail(ConnectionResetError("the connection broke within a body"))
            else:
                self._inbox.end()
        self.resume_writing()

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._full = True

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._full = False
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def is_fresh(self) -> bool:
        """Tell whether a kept connection may be used: nothing has come on it, not even its end."""
        if self._is_odd or self.transport.is_closing():
            return False
        # What the event loop has not seen yet counts too.
        poll = select.poll()
        poll.register(self.transport.get_extra_info("socket").fileno(), select.POLLIN | select.POLLRDHUP)
        return not poll.poll(0)

    async def ask(self, head: bytes, body: bytes) -> ResponseHead:
        """Send a request, once, and return the head of its answer.

        Raises:
            WireError: What came is no answer.
            ConnectionError: The engine hung up.
        """
        self._finder, self._head, self._inbox = HeadFinder(), None, None
        self._is_sent, self._interim = False, 0
        if len(body) <= _PART_BYTES:
            self.transport.write(head + body)
        else:
            self.transport.write(head)
            await self._send_parts(body)
        self._is_sent = True
        while self._head is None:
            if self._failure is not None:
                raise self._failure
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self._head

    @property
    def has_some(self) -> bool:
        """Whether reading of the answer's body does not wait."""
        return self._asked().has_some

    async def read(self) -> bytes:
        """Return what has come of the answer's body, wait where nothing has; nothing at its end.

        Raises:
            WireError: It is malformed.
            ConnectionError: The engine hung up.
        """
        return await self._asked().read()

    async def pump(self, take: Callable[[bytes], bool], catch: Catch | None = None) -> bool:
        """Give what comes of the answer's body to `take`; see `Inbox.pump`."""
        return await self._asked().pump(take, catch)

    def _asked(self) -> Inbox:
        if self._inbox is None:
            raise RuntimeError("nothing was asked")
        return self._inbox

    @property
    def may_keep(self) -> bool:
        """Whether the answer was read to its end and another request may follow."""
        head, inbox = self._head, self._inbox
        if head is None or inbox is None or not inbox.is_read or self._is_odd or not self._is_sent:
            return False
        return head.framing.keeps and not self.transport.get_write_buffer_size()

    def rest(self) -> None:
        """Forget what was asked; from now on nothing must come."""
        self._finder, self._head, self._inbox = None, None, None
        self.idle_since = self._loop.time()

    def cut(self) -> None:
        """End the connection at once: that is how an engine learns to stop."""
        self.transport.abort()

    async def _send_parts(self, body: bytes) -> None:
        """Send a large body in parts, so that one of them does not hold the others up; stop where an answer comes."""
        view = memoryview(body)
        for at in range(0, len(view), _PART_BYTES):
            if self._head is not None or self._failure is not None:
                # It was refused before it was whole: the answer says why, and the connection is not used again.
                self._is_odd = True
                return
            self.transport.write(view[at : at + _PART_BYTES])
            if self._full:
                self._drained = self._loop.create_future()
                try:
                    await self._drained
                finally:
                    self._drained = None
            else:
                await asyncio.sleep(0)

    def _find_head(self, data: bytes) -> bytes:
        """Look for the head of the answer; return what of its body came with it."""
        try:
            while self._finder is not None and (found := self._finder.feed(data)) is not None:
                head, data = parse_response_head(found[0]), found[1]
                if head.status >= 200:
                    self._finder, self._head = None, head
                    self._inbox = Inbox(open_body(head.framing), self._hold)
                    self._wake()
                    return data
                self._interim += 1
                if head.status == 101 or self._interim > _MAX_INTERIM:
                    raise WireError("there are too many interim answers, or one that changes the protocol")
        except WireError as error:
            self._fail(error)
            self._is_odd = True
            self.transport.abort()
        return b""

    def _hold(self, held: bool) -> None:
        if not self.transport.is_closing():
            (self.transport.pause_reading if held else self.transport.resume_reading)()

    def _fail(self, error: Exception) -> None:
        if self._failure is None:
            self._failure = error
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)


@dataclass(slots=True)
class _Place:
    """The connections to one engine; `idle` has the latest used last, `users` have one or wait for one."""

    turns: asyncio.Semaphore
    idle: list[Line] = field(default_factory=list)
    users: int = 0


class Pool:
    """Makes connections, and keeps those that may be used again for a short time. Close it.

    Args:
        limits: Bounds.
        resolver: Looks up names.
    """

    def __init__(self, limits: PoolLimits, resolver: Resolver) -> None:
        self._limits = limits
        self._resolver = resolver
        self._names: BriefCache[tuple[str, int], Sequence[str]] = BriefCache(_MAX_NAMES)
        self._places: dict[tuple[str, int], _Place] = {}
        self._sweeper: asyncio.TimerHandle | None = None
        self._breaks = Breaks()

    async def take(self, host: str, port: int) -> Line:
        """Return a connection; give it back with `give`, whatever became of it.

        Raises:
            NotReachedError: There is none.
            TooSlowToReachError: There is none in time.
            NoRoomError: There are as many as there may be, and none came free in time.
        """
        place = self._places.get((host, port))
        if place is None:
            place = self._places[host, port] = _Place(asyncio.Semaphore(self._limits.connections))
        place.users += 1
        try:
            await self._queue(place)
            try:
                while place.idle:
                    line = place.idle.pop()
                    if line.is_fresh():
                        return line
                    line.cut()
                return await self._connect(host, port)
            except BaseException:
                place.turns.release()
                raise
        except BaseException:
            place.users -= 1
            raise

    def give(self, host: str, port: int, line: Line) -> None:
        """Give a connection back: it is kept where its answer was read to the end, and cut where it was not."""
        place = self._places[host, port]
        place.users -= 1
        place.turns.release()
        if not line.may_keep:
            line.cut()
            return
        line.rest()
        place.idle.append(line)
        if self._sweeper is None:
            self._plan_sweep()

    async def close(self) -> None:
        """Cut what is kept."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        for place in self._places.values():
            for line in place.idle:
                line.cut()
            place.idle.clear()
        # What is cut ends in the loop's next turn.
        await asyncio.sleep(0)

    async def _queue(self, place: _Place) -> None:
        """Wait for a turn."""
        if not place.turns.locked():
            await place.turns.acquire()
            return
        try:
            async with asyncio.timeout(2 * self._limits.connect_seconds):
                await place.turns.acquire()
        except TimeoutError:
            raise NoRoomError from None

    async def _connect(self, host: str, port: int) -> Line:
        seconds = self._limits.connect_seconds
        failure: Exception = NotReachedError()
        try:
            async with asyncio.timeout(2 * seconds):
                for address in await self._names.get((host, port), lambda: self._look_up(host, port)):
                    try:
                        async with asyncio.timeout(seconds):
                            return await _reach(address, port, self._breaks)
                    except TimeoutError:
                        failure = TooSlowToReachError()
                    except OSError:
                        failure = NotReachedError()
        except TimeoutError:
            failure = TooSlowToReachError()
        except OSError:
            failure = NotReachedError()
        raise failure

    async def _look_up(self, host: str, port: int) -> tuple[Sequence[str], float]:
        if _is_address(host):
            return [host], self._limits.name_seconds
        return await self._resolver.resolve(host, port), self._limits.name_seconds

    def _plan_sweep(self) -> None:
        self._sweeper = asyncio.get_running_loop().call_later(self._limits.keep_seconds, self._sweep)

    def _sweep(self) -> None:
        """Cut what was kept long enough, and forget engines that nobody asks any more."""
        since = asyncio.get_running_loop().time() - self._limits.keep_seconds
        for key, place in list(self._places.items()):
            for line in [item for item in place.idle if item.idle_since <= since]:
                place.idle.remove(line)
                line.cut()
            if not place.idle and not place.users:
                del self._places[key]
        self._sweeper = None
        if any(place.idle for place in self._places.values()):
            self._plan_sweep()


async def _reach(address: str, port: int, breaks: Breaks) -> Line:
    """Make a connection; `address` is one, not a name."""
    made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    try:
        made.setblocking(False)
        await asyncio.get_running_loop().sock_connect(made, (address, port))
        line = Line()
        Carrier(made, line, breaks=breaks).begin()
    except BaseException:
        made.close()
        raise
    return line


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
