"""What an answer goes through on its way: looked into, then its originals put back, text by text. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from sekisho.errors import Reason, RefusedError
from sekisho.gateway.dialects.answers import Answerer, Channel
from sekisho.gateway.guards.window import Lens, Watch, Whole, Window
from sekisho.redact.restore import Restorer, Tally, may_hold_placeholders

_DOCUMENT = "tool_arguments"
_NOTHING: Final = Tally()
MAX_HELD_BYTES: Final = 4 << 20


@dataclass(slots=True)
class _Way:
    lens: Lens | None
    restorer: Restorer | None


@dataclass(slots=True)
class AnswerFilter:
    """The filter of one answer; see `TextFilter`.

    Args:
        values: Originals by placeholder; secret. None: nothing was taken out of the request.
        watch: What must not be told; None: nobody looks.
        held: Whether nothing goes on before all of a text was looked into.
        json_content: Whether the content itself is to be a JSON document, as the request's `response_format` says.
    """

    values: Mapping[str, str] | None = field(default=None, repr=False)
    watch: Watch | None = None
    held: bool = False
    json_content: bool = False
    # The text that goes on: most pieces belong to the same as the one before.
    _latest: tuple[Channel, _Way] | None = field(default=None, init=False, repr=False)
    _ways: dict[Channel, _Way] = field(default_factory=dict, init=False, repr=False)
    _done: Tally = field(default=_NOTHING, init=False)

    def feed(self, channel: Channel, piece: str) -> str:
        """Return what may go on by now."""
        latest = self._latest
        if latest is None or latest[0] is not channel:
            self._latest = latest = channel, self._ways.get(channel) or self._begin(channel)
        way = latest[1]
        if way.lens is not None:
            piece = way.lens.feed(piece)
        return way.restorer.feed(piece) if way.restorer is not None else piece

    def finish(self, channel: Channel) -> str:
        """Return what was held back; the channel may begin again."""
        way, self._latest = self._ways.pop(channel, None), None
        if way is None:
            return ""
        rest = way.lens.finish() if way.lens is not None else ""
        if way.restorer is None:
            return rest
        rest = way.restorer.feed(rest) + way.restorer.finish()
        self._done = _add(self._done, way.restorer.tally)
        return rest

    def spares(self, answer: bytes) -> bool:
        """Tell whether a whole answer needs nothing of this: nobody looks, and there is nothing to put back."""
        return self.watch is None and not may_hold_placeholders(answer)

    @property
    def tally(self) -> Tally:
        """What was met of placeholders so far, in all texts."""
        total = self._done
        for way in self._ways.values():
            if way.restorer is not None:
                total = _add(total, way.restorer.tally)
        return total

    def _begin(self, channel: Channel) -> _Way:
        in_json = channel.kind == _DOCUMENT or (self.json_content and channel.kind == "content")
        lens: Lens | None = None
        if self.watch is not None:
            lens = Whole(self.watch, in_json=in_json) if self.held or in_json else Window(self.watch)
        restorer = None if self.values is None else Restorer(self.values, in_json=in_json)
        way = self._ways[channel] = _Way(lens, restorer)
        return way


def _add(left: Tally, right: Tally) -> Tally:
    return Tally(left.restored + right.restored, left.invented + right.invented, left.halves + right.halves)


class HeldAnswerer:
    """Say nothing before the answer is complete and all of it was looked into."""

    __slots__ = ("_inner", "_length", "_parts")

    def __init__(self, inner: Answerer) -> None:
        self._inner = inner
        self._parts: list[bytes] = []
        self._length = 0

    @property
    def usual(self) -> None:
        """See `Answerer`: whatever is held is fed."""
        return None

    def feed(self, data: bytes) -> bytes:
        """Return nothing.

        Raises:
            RefusedError: `AnswerRefused`, it is too long to be held; refuses like the answerer within, too.
        """
        said = self._inner.feed(data)
        self._length += len(said)
        if self._length > MAX_HELD_BYTES:
            raise RefusedError(
                Reason.ANSWER_REFUSED,
                f"the answer takes more than the {MAX_HELD_BYTES} bytes that are held; it ends here",
            )
        self._parts.append(said)
        return b""

    def end(self) -> bytes:
        """Return the whole answer; refuses like the answerer within."""
        return b"".join([*self._parts, self._inner.end()])

    def fail(self, reason: Reason, message: str) -> bytes:
        """Return the last words of a stream that has begun."""
        return self._inner.fail(reason, message)

    def complain(self, words: str) -> str:
        """Return what may be told of an engine's refusal."""
        return self._inner.complain(words)

    def whole(self, body: bytes) -> bytes:
        """Return an answer that is no stream."""
        return self._inner.whole(body)
