"""Tell a caller who waits for a stream what is awaited: comments of the stream, which every client reads over."""

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from sekisho.gateway.relay import Sink

_MAX_COMMENT: Final = 700
_CONTROLS: Final = dict.fromkeys((*range(32), 127, 133, 8232, 8233), " ")


def spell_comment(text: str) -> bytes:
    """Spell a line that is no event."""
    return b": " + text[:_MAX_COMMENT].translate(_CONTROLS).encode("utf-8", "replace") + b"\n\n"


class Progress:
    """The sink of a request that is held; its stream may begin before it is known who answers.

    Args:
        sink: Where the answer goes.
        record: Records that the request is held; returns the headers of the answer that say so.
        every_seconds: Before the first comment, and between two.

    Attributes:
        has_begun: Whether the head has gone out; a failure is then the stream's last event.
    """

    def __init__(self, sink: Sink, record: Callable[[], Awaitable[Mapping[str, str]]], *, every_seconds: float) -> None:
        self._sink = sink
        self._record = record
        self._every_seconds = every_seconds
        self._due = time.monotonic() + every_seconds
        self.has_begun = False
        self.push = sink.push
        self.write = sink.write
        self.end = sink.end

    async def tell(self, awaited: str) -> None:
        """Tell what is awaited, where it is time to."""
        if time.monotonic() < self._due:
            return
        if not self.has_begun:
            headers = await self._record()
            self.has_begun = True
            await self._sink.begin(200, "text/event-stream", headers=headers)
        await self._sink.write(spell_comment(awaited))
        self._due = time.monotonic() + self._every_seconds

    async def begin(
        self,
        status: int,
        content_type: str,
        *,
        length: int | None = None,
        retry_seconds: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Begin the answer itself; where its head has gone out, what its headers would have said becomes comments."""
        if not self.has_begun:
            await self._sink.begin(status, content_type, length=length, retry_seconds=retry_seconds, headers=headers)
            return
        for name, value in (headers or {}).items():
            await self._sink.write(spell_comment(f"{name}: {value}"))

    async def fail(self, last: bytes) -> None:
        """End a stream whose head has gone out."""
        await self._sink.write(last)
        await self._sink.end()
