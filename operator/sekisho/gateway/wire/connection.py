"""The connection of one caller: requests one after another, and nothing that a caller does takes others' time."""

import asyncio
import select
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final, cast

from sekisho.gateway.wire.bodies import open_body
from sekisho.gateway.wire.heads import HeadFinder, RequestHead, WireError, parse_request_head
from sekisho.gateway.wire.inbox import Inbox

# Of requests that were sent before the one before them was answered.
_MAX_AHEAD: Final = 64 << 10
_LOOK_SECONDS: Final = 1.0
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Times:
    """How long a caller may take.

    Attributes:
        head: For the head of a request, from its first byte on; the first one from the connection on.
        idle: Between two requests.
        linger: For reading the rest of the last answer, while it still sends too.
    """

    head: float
    idle: float = 75.0
    linger: float = 5.0


class _State(Enum):
    WAITING = auto()
    BUSY = auto()
    LINGERING = auto()


@dataclass(frozen=True, slots=True)
class Host:
    """What a connection belongs to.

    Attributes:
        came: A connection was made; False refuses it.
        left: It has ended.
        serve: Answers a request; ends with `Connection.finish`, or with the connection.
        refuse: Spells the whole answer to what is no request.
    """

    times: Times
    came: Callable[["Connection"], bool]
    left: Callable[["Connection"], None]
    serve: Callable[["Connection", RequestHead], Coroutine[Any, Any, None]]
    refuse: Callable[[str], bytes]


class Connection(asyncio.Protocol):
    """One connection. What is sent ahead waits, bounded; the handler of a request is cancelled when its caller goes."""

    transport: asyncio.Transport

    def __init__(self, host: Host) -> None:
        self._host = host
        self._finder = HeadFinder()
        self._ahead = b""
        self._state = _State.WAITING
        self._loop = asyncio.get_running_loop()
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._full = self._is_lost = False
        self._drained: asyncio.Future[None] | None = None
        self._holds = 0
        self._lookout: asyncio.TimerHandle | None = None
        self._expects = False
        self.inbox: Inbox | None = None
        self.task: asyncio.Task[None] | None = None

    @property
    def is_idle(self) -> bool:
        """Whether no request is under way."""
        return self._state is not _State.BUSY

    @property
    def is_full(self) -> bool:
        """Whether what was written waits for the caller to read."""
        return self._full

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self.transport = cast("asyncio.Transport", transport)
        if self._host.came(self):
            self._wait(self._host.times.head)
        else:
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._is_lost = True
        if self._timer is not None:
            self._timer.cancel()
        if self._lookout is not None:
            self._lookout.cancel()
        if self._drained is not None and not self._drained.done():
            self._drained.set_exception(ConnectionResetError("the caller has gone"))
        if self.inbox is not None:
            self.inbox.end()
        if self.task is not None:
            self.task.cancel()
        self._host.left(self)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        if self._state is _State.BUSY:
            if self.inbox is not None and not self.inbox.is_done:
                data = self.inbox.feed(data)
            if data:
                self._put_aside(data)
        elif self._state is _State.WAITING:
            self._look(data)

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._full = True

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._full = False
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def write(self, data: bytes) -> None:
        """Send bytes; where `is_full` is true after it, `drain` before the next.

        Raises:
            ConnectionError: The caller has gone.
        """
        if self._is_lost or self.transport.is_closing():
            raise ConnectionResetError("the caller has gone")
        self.transport.write(data)

    async def drain(self, seconds: float) -> None:
        """Wait until the caller has read most of what was written.

        Raises:
            ConnectionError: The caller has gone.
            TimeoutError: It does not read.
        """
        if not self._full:
            return
        self._drained = self._loop.create_future()
        try:
            async with asyncio.timeout(seconds):
                await self._drained
        finally:
            self._drained = None

    async def read(self) -> bytes:
        """Return the next bytes of the body of the request under way; nothing at its end.

        Raises:
            WireError: It is malformed.
            ConnectionError: The caller has gone.
        """
        if self.inbox is None:
            return b""
        if self._expects and not self.inbox.has_some:
            self.write(_CONTINUE)
        self._expects = False
        return await self.inbox.read()

    @property
    def may_keep(self) -> bool:
        """Whether the request under way has come whole, so that another may follow it."""
        return self.inbox is None or self.inbox.is_done

    def finish(self, *, keep: bool) -> None:
        """End the request under way, which was answered."""
        whole, self.task, self.inbox = self.may_keep, None, None
        if self._is_lost or self.transport.is_closing():
            return
        if keep and whole:
            self._state = _State.WAITING
            self._wait(self._host.times.idle)
            self._release()
            if self._ahead:
                ahead, self._ahead = self._ahead, b""
                self._look(ahead)
            return
        if whole and not self._ahead:
            # What is left to write waits for the caller, and the caller may never read.
            self._state = _State.LINGERING
            self._wait(self._host.times.linger)
            self.transport.close()
            return
        self._linger()

    def close(self) -> None:
        """End a connection that has no request under way."""
        self.transport.close()

    def abort(self) -> None:
        """End the connection at once."""
        self.transport.abort()

    def _look(self, data: bytes) -> None:
        """Look for the head of the next request, and begin to answer it."""
        begins = not self._finder.has_begun
        try:
            found = self._finder.feed(data)
            if found is None:
                if begins and self._deadline - self._loop.time() > self._host.times.head:
                    self._wait(self._host.times.head)
                return
            head = parse_request_head(found[0])
        except WireError as error:
            self.transport.write(self._host.refuse(str(error)))
            self._linger()
            return
        self._state, self._deadline = _State.BUSY, float("inf")
        rest, self.inbox = found[1], None
        if head.framing.chunked or head.framing.length:
            self.inbox = Inbox(open_body(head.framing), self._hold)
            rest = self.inbox.feed(rest) if rest else b""
        self._expects = head.expects
        if rest:
            self._put_aside(rest)
        self.task = self._loop.create_task(self._host.serve(self, head))

    def _put_aside(self, data: bytes) -> None:
        before = len(self._ahead)
        self._ahead += data
        if before <= _MAX_AHEAD < len(self._ahead):
            self._hold(True)

    def _release(self) -> None:
        if self._holds:
            self._holds = 0
            self.transport.resume_reading()

    def _hold(self, held: bool) -> None:
        self._holds += 1 if held else -1
        if self._is_lost or self.transport.is_closing():
            return
        if held and self._holds == 1:
            self.transport.pause_reading()
            self._lookout = self._lookout or self._loop.call_later(_LOOK_SECONDS, self._look_out)
        elif not held and not self._holds:
            self.transport.resume_reading()

    def _look_out(self) -> None:
        """Look whether a caller has gone who is not read on, which reading would have told."""
        self._lookout = None
        descriptor = self.transport.get_extra_info("socket").fileno()
        if not self._holds or self._is_lost or self.transport.is_closing() or descriptor < 0:
            return
        poll = select.poll()
        poll.register(descriptor, select.POLLRDHUP)
        if poll.poll(0):
            self.transport.abort()
        else:
            self._lookout = self._loop.call_later(_LOOK_SECONDS, self._look_out)

    def _linger(self) -> None:
        """Let a caller who still sends read the answer: a connection closed on unread bytes takes the answer along."""
        self._state, self.inbox, self._ahead = _State.LINGERING, None, b""
        self._release()
        self._wait(self._host.times.linger)

    def _wait(self, seconds: float) -> None:
        """Set when the connection ends unless something happens; the timer is rarely touched."""
        self._deadline = deadline = self._loop.time() + seconds
        if self._timer is not None:
            if self._timer.when() <= deadline:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(deadline, self._give_up)

    def _give_up(self) -> None:
        self._timer = None
        if self._deadline <= self._loop.time():
            self.transport.abort()
        elif self._deadline != float("inf"):
            self._timer = self._loop.call_at(self._deadline, self._give_up)
