"""Tell an answer in the caller's dialect: read, examined, told anew, in this order and piece by piece. Pure."""

from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from sekisho.errors import Reason
from sekisho.gateway.dialects.answers import Channel, TextFilter
from sekisho.gateway.dialects.chunks import (
    Called,
    Finished,
    Head,
    Part,
    Said,
    Usage,
    malformed,
    read_event,
    read_head,
    read_object,
    read_parts,
)
from sekisho.gateway.dialects.moulds import Mould, Usual, make_mould, make_usual
from sekisho.gateway.sse import split_events

_MAX_KEPT: Final = 8 << 20
_DONE: Final = b"[DONE]"
# To learn the form of events costs as much as to read some: for so many that are read by it, one may be learnt anew.
_WORTH: Final = 8
_FREE: Final = 3


@dataclass(slots=True)
class Block:
    """One text of an answer, or one tool call with its arguments."""

    channel: Channel
    call: Called | None
    pieces: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All of it that was told."""
        return "".join(self.pieces)


@dataclass(slots=True)
class Told:
    """What was told of an answer by now."""

    head: Head
    blocks: list[Block] = field(default_factory=list)
    finishes: dict[int, Finished] = field(default_factory=dict)
    usage: Usage | None = None


class Teller(Protocol):
    """Spells an answer in one dialect; every text that reaches it was examined."""

    many: bool
    """Whether the dialect knows more than one choice."""
    keeps: bool
    """Whether the end of a stream repeats what was told."""
    steady: bool
    """Whether all pieces of one text have the same around them, however often they are spelt."""

    def begin(self, head: Head) -> bytes:
        """Begin a stream."""
        ...

    def open(self, channel: Channel, call: Called | None) -> bytes:
        """Begin a text or the arguments of a tool call."""
        ...

    def say(self, channel: Channel, text: str) -> bytes:
        """Tell a piece of what was opened last."""
        ...

    def close(self, channel: Channel) -> bytes:
        """End what was opened last."""
        ...

    def finish(self, finished: Finished) -> bytes:
        """End a choice."""
        ...

    def end(self, told: Told) -> bytes:
        """End a stream."""
        ...

    def fail(self, reason: Reason, message: str) -> bytes:
        """End a stream that cannot go on."""
        ...

    def whole(self, told: Told) -> bytes:
        """Spell an answer that is no stream."""
        ...


class Conductor:
    """An `Answerer` of any dialect.

    Args:
        engine_path: What the engine was asked for.
        teller: Spells the answer.
        text_filter: Examines its texts; None lets them pass.
        is_own: Whether the engine speaks the caller's dialect.
    """

    def __init__(
        self, engine_path: str, teller: Teller, text_filter: TextFilter | None, *, is_own: bool = False
    ) -> None:
        self._path = engine_path
        self._is_own = is_own
        self._teller = teller
        self._filter = text_filter
        self._told: Told | None = None
        self._open: dict[int, Block] = {}
        self._tools: set[tuple[int, int]] = set()
        self._done = False
        self._keeps = teller.keeps
        self._kept = 0
        self._mould: Mould | None = None
        self._credit = _FREE * _WORTH
        self._usual: Usual | None = None
        # Whether it is a stream: what a whole answer says is spelt at its end alone.
        self._aloud = True

    @property
    def usual(self) -> Usual | None:
        """How usual events are told for now; see `Answerer`."""
        return self._usual

    def feed(self, data: bytes) -> bytes:
        """Take whole events of the engine's stream; see `Answerer`."""
        return b"".join(map(self._feed, split_events(data)))

    def _feed(self, event: bytes) -> bytes:
        usual = self._say_usual(event)
        if usual is not None:
            return usual
        text = read_event(event)
        if not text:
            return b""
        raw = None if text == _DONE else read_object(text)
        if self._done:
            raise malformed("it went on after its last word")
        if raw is None:
            self._done = True
            self._drop_usual()
            return b""
        parts = list(read_parts(raw, self._path, whole=False))
        out: list[bytes] = []
        if self._told is None:
            self._told = Told(read_head(raw))
            out.append(self._teller.begin(self._told.head))
        out.extend(self._take(part, self._told) for part in parts)
        self._learn(event, parts)
        return b"".join(out)

    def _say_usual(self, event: bytes) -> bytes | None:
        """Tell an event of the form that was learnt, in the block that is open; None: it has to be read."""
        if self._usual is not None:
            return self._usual.take(event)
        mould = self._mould
        text = mould.read(event) if mould is not None else None
        if mould is None or text is None or self._done:
            return None
        block = self._open.get(mould.channel.choice)
        if block is None or block.channel != mould.channel:
            return None
        self._credit += 1
        said = self._tell(block, text if self._filter is None else self._filter.feed(mould.channel, text))
        if self._teller.steady:
            feed = None if self._filter is None else self._filter.feed
            self._usual = make_usual(mould, self._teller.say, feed)
        return said

    def _learn(self, event: bytes, parts: list[Part]) -> None:
        known = self._mould is not None and self._mould.fits(event)
        if parts and not known and self._credit >= _WORTH:
            self._credit -= _WORTH
            self._mould = make_mould(event, parts, self._read) or self._mould
            self._drop_usual()

    def _read(self, event: bytes) -> list[Part]:
        raw: Any = read_object(read_event(event))
        return list(read_parts(raw, self._path, whole=False))

    def end(self) -> bytes:
        """End the stream; see `Answerer`."""
        told = self._check_finished()
        return self._teller.end(told)

    def fail(self, reason: Reason, message: str) -> bytes:
        """End a stream that cannot go on; what was held back stays unsaid."""
        return self._teller.fail(reason, message)

    def complain(self, words: str) -> str:
        """Examine an engine's refusal like a text of an answer: it may repeat what was asked."""
        if self._filter is None:
            return words
        channel = Channel(0, "refusal")
        return self._filter.feed(channel, words) + self._filter.finish(channel)

    def whole(self, body: bytes) -> bytes:
        """Take an answer that is no stream; see `Answerer`."""
        if self._is_own and self._filter is not None and self._filter.spares(body):
            # As if nothing had been taken out of the request.
            return body
        raw = read_object(body)
        self._keeps, self._aloud = True, False
        self._told = told = Told(read_head(raw))
        for part in read_parts(raw, self._path, whole=True):
            self._take(part, told)
        return self._teller.whole(self._check_finished())

    def _check_finished(self) -> Told:
        told = self._told
        if told is None or not told.finishes or self._open:
            raise malformed("it was not finished")
        return told

    def _take(self, part: Part, told: Told) -> bytes:
        if isinstance(part, Usage):
            told.usage = part
            return b""
        choice = part.channel.choice if isinstance(part, Said) else part.choice
        if choice in told.finishes or (choice and not self._teller.many):
            raise malformed("it says more than one answer" if choice else "it went on after its end")
        if isinstance(part, Said):
            return self._say(part, told)
        if isinstance(part, Called):
            return self._call(part, told)
        shut = self._shut(choice)
        told.finishes[choice] = part
        return shut + self._teller.finish(part) if self._aloud else b""

    def _say(self, part: Said, told: Told) -> bytes:
        channel, out = part.channel, b""
        block = self._open.get(channel.choice)
        if block is None or block.channel != channel:
            if channel.tool is not None:
                raise malformed("its tool calls are mixed up")
            out = self._shut(channel.choice) + self._start(Block(channel, None), told)
            block = self._open[channel.choice]
        text = part.text if self._filter is None else self._filter.feed(channel, part.text)
        return out + self._tell(block, text)

    def _call(self, part: Called, told: Told) -> bytes:
        if (part.choice, part.tool) in self._tools:
            raise malformed("its tool calls are mixed up")
        self._tools.add((part.choice, part.tool))
        out = self._shut(part.choice)
        if self._filter is not None:
            channel = Channel(part.choice, "tool_name", part.tool)
            name = self._filter.feed(channel, part.name) + self._filter.finish(channel)
            part = Called(part.choice, part.tool, part.id, name)
        return out + self._start(Block(Channel(part.choice, "tool_arguments", part.tool), part), told)

    def _drop_usual(self) -> None:
        """Read the next events one by one: what is open changes."""
        if self._usual is not None:
            self._credit += self._usual.told
            self._usual = None

    def _start(self, block: Block, told: Told) -> bytes:
        self._drop_usual()
        self._open[block.channel.choice] = block
        if self._keeps:
            told.blocks.append(block)
        return self._teller.open(block.channel, block.call) if self._aloud else b""

    def _shut(self, choice: int) -> bytes:
        self._drop_usual()
        block = self._open.pop(choice, None)
        if block is None:
            return b""
        rest = self._tell(block, self._filter.finish(block.channel)) if self._filter is not None else b""
        return rest + self._teller.close(block.channel) if self._aloud else b""

    def _tell(self, block: Block, text: str) -> bytes:
        if not text:
            return b""
        if self._keeps:
            self._kept += len(text)
            if self._kept > _MAX_KEPT:
                raise malformed(f"it is longer than {_MAX_KEPT} characters")
            block.pieces.append(text)
        return self._teller.say(block.channel, text) if self._aloud else b""
