"""What has come of a body and waits to be read; the connection is not read on while too much waits."""

import asyncio
from collections.abc import Callable
from typing import Final

from sekisho.gateway.wire.bodies import Body
from sekisho.gateway.wire.heads import WireError

_MOST_WAITING: Final = 64 << 10
Catch = Callable[[bytes], tuple[bytes, bool]]


class Inbox:
    """Takes a body's bytes as they come, and gives them to one reader.

    Args:
        body: Where it ends.
        hold: Told whether the connection must be held up now; never twice the same.
    """

    __slots__ = ("_body", "_catch", "_held", "_hold", "_pieces", "_size", "_take", "_waiter", "failure")

    def __init__(self, body: Body, hold: Callable[[bool], None]) -> None:
        self._body = body
        self._hold = hold
        self._held = False
        self._pieces: list[bytes] = []
        self._size = 0
        self._waiter: asyncio.Future[None] | None = None
        self._take: Callable[[bytes], bool] | None = None
        self._catch: Catch | None = None
        self.failure: Exception | None = None

    @property
    def is_done(self) -> bool:
        """Whether all of it has come."""
        return self._body.is_done

    @property
    def is_read(self) -> bool:
        """Whether all of it has come and was read."""
        return self._body.is_done and not self._pieces

    def feed(self, data: bytes) -> bytes:
        """Take bytes; return those after the body's end. Nothing is taken once the body is malformed."""
        if self.failure is not None:
            return b""
        if self._catch is not None and self._body.is_between:
            data, goes_on = self._catch(data)
            if not goes_on:
                self._stop()
            if not data:
                return b""
        try:
            own, rest = self._body.take(data)
        except WireError as error:
            self.fail(error)
            return b""
        if own and self._take is not None:
            if not self._take(own):
                self._stop()
        elif own:
            self._keep(own)
            self._wake()
        if self._body.is_done:
            self._wake()
        return rest

    def end(self) -> None:
        """Note that the connection has ended."""
        if not self._body.may_end:
            self.fail(ConnectionResetError("the connection ended within a body"))
        elif not self._body.is_done:
            self._body = _Ended()
            self._wake()

    def fail(self, error: Exception) -> None:
        """Note that no more will come; what came before is read first."""
        if self.failure is None:
            self.failure = error
            self._wake()

    async def read(self) -> bytes:
        """Return what has come, wait where nothing has; nothing at the end.

        Raises:
            WireError: What comes next is malformed.
            ConnectionError: The connection ended before the body.
        """
        while not self._pieces:
            if self._is_over():
                return b""
            await self._wait()
        return self._collect()

    async def pump(self, take: Callable[[bytes], bool], catch: Catch | None = None) -> bool:
        """Give what comes to `take` in the very turn of the event loop in which it comes: no task is woken for it.

        Args:
            take: Takes bytes; False: it wants no more for now. It must not raise.
            catch: Is shown first what comes where a chunk begins, as it came, with its framing. It takes whole chunks
                from its beginning, as many as it likes, and returns the rest and what `take` returns.

        Returns:
            Whether the body is at its end; False where `take` wanted no more.

        Raises:
            WireError: What comes next is malformed.
            ConnectionError: The connection ended before the body.
        """
        if self._pieces and not take(self._collect()):
            return False
        self._take, self._catch = take, catch
        try:
            while self._take is not None and not self._is_over():
                await self._wait()
            return self._take is not None
        finally:
            self._take = self._catch = None

    def _stop(self) -> None:
        self._take = self._catch = None
        self._wake()

    def _is_over(self) -> bool:
        if self._body.is_done:
            return True
        if self.failure is not None:
            raise self.failure
        return False

    async def _wait(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _keep(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._size += len(piece)
        if self._size > _MOST_WAITING and not self._held:
            self._held = True
            self._hold(True)

    def _collect(self) -> bytes:
        pieces, self._pieces, self._size = self._pieces, [], 0
        if self._held:
            self._held = False
            self._hold(False)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    @property
    def has_some(self) -> bool:
        """Whether reading does not wait."""
        return bool(self._pieces) or self._body.is_done or self.failure is not None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class _Ended:
    is_between = False
    is_done = True
    may_end = True

    def take(self, data: bytes) -> tuple[bytes, bytes]:
        return b"", data
