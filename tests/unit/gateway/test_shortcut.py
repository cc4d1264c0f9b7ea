"""Words that come one chunk each take a short way to the caller: they are told as if they had come any other way."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from sekisho.errors import Reason, RefusedError
from sekisho.gateway.decide import Backend
from sekisho.gateway.dialects import moulds, telling
from sekisho.gateway.dialects.answers import Channel
from sekisho.gateway.dialects.form import Endpoint
from sekisho.gateway.guards.answering import AnswerFilter
from sekisho.gateway.relay import HttpRelay, Outcome, RelayLimits
from tests.unit.gateway.dialects.speaking import ask, build, chunk

MARK = "[[EML-7Q0C2M9XK4BD]]"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
END = [b"data: " + json.dumps(chunk({}, "stop")).encode() + b"\n\n", b"data: [DONE]\n\n"]
PATIENT = RelayLimits(first_byte_seconds=600, idle_seconds=600)


def spell(words: Sequence[str]) -> list[bytes]:
    return [b"data: " + json.dumps(chunk({"content": word}), ensure_ascii=False).encode() + b"\n\n" for word in words]


def frame(event: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(event), event)


LAST = b"".join(map(frame, END)) + b"0\r\n\r\n"


@dataclass(eq=False)
class Paper:
    """A caller who writes down what is told; `moods` say what becomes of a piece instead."""

    told: list[bytes] = field(default_factory=list)
    moods: dict[int, str] = field(default_factory=dict)
    waited: int = 0

    async def begin(
        self,
        status: int,
        content_type: str,
        *,
        length: int | None = None,
        retry_seconds: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        assert (status, content_type) == (200, "text/event-stream")

    def push(self, data: bytes) -> bool:
        mood = self.moods.get(len(self.told))
        if mood == "gone":
            raise ConnectionResetError("the caller has gone")
        self.told.append(data)
        return mood != "behind"

    async def write(self, data: bytes) -> None:
        if data:
            self.told.append(data)
        self.waited += not data

    async def end(self) -> None:
        self.told.append(b"")


class Picky:
    """A filter that ends an answer which says a word."""

    def feed(self, channel: Channel, piece: str) -> str:
        if "secret" in piece:
            raise RefusedError(Reason.ANSWER_REFUSED, "the answer ends here")
        return piece

    def finish(self, channel: Channel) -> str:
        return ""


@asynccontextmanager
async def engine(pieces: Sequence[bytes], is_heard: Callable[[int], bool]) -> AsyncIterator[int]:
    """Serve one answer, each piece once what was before it was heard; return the port."""

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(2)
            writer.write(HEAD)
            for number, piece in enumerate(pieces):
                writer.write(piece)
                while not is_heard(number):
                    await asyncio.sleep(0)
            await reader.read()
        finally:
            writer.transport.abort()

    tasks: list[asyncio.Task[None]] = []

    def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.append(asyncio.create_task(speak(reader, writer)))

    server = await asyncio.start_server(begin, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def carry(
    pieces: Sequence[bytes],
    paper: Paper,
    *,
    text_filter: Any = None,
    one_by_one: bool = True,
    limits: RelayLimits = PATIENT,
) -> Outcome:
    answerer, outcome = build(ask(Endpoint.CHAT), text_filter or AnswerFilter({MARK: "a@b.example"})), Outcome()

    def is_heard(number: int) -> bool:
        return not one_by_one or len(paper.told) > number

    async with engine(pieces, is_heard) as port, HttpRelay(limits) as relay:
        backend = Backend("127.0.0.1", port, "m")
        async with asyncio.timeout(60):
            await relay.relay(
                backend, "/v1/chat/completions", b"{}", paper, stream=True, outcome=outcome, answerer=answerer
            )
    return outcome


@pytest.fixture
def short_ways(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Return what was told by the short way, as it comes."""
    told: list[bytes] = []
    real = moulds.Usual.tell

    def tell(self: moulds.Usual, inside: bytes) -> bytes | None:
        said = real(self, inside)
        if said is not None:
            told.append(inside)
        return said

    monkeypatch.setattr(moulds.Usual, "tell", tell)
    return told


@contextmanager
def long_way() -> Iterator[None]:
    """Let every event be read as JSON."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(telling, "make_mould", lambda *_: None)
        yield


async def test_words_that_come_one_by_one_are_told_as_those_that_come_at_once(short_ways: list[bytes]) -> None:
    words = [f"word {at} 語" for at in range(40)]
    words[20] = 'a "quoted"\n word'
    words[30] = f"of {MARK}, "
    events = spell(words) + END
    one_by_one, at_once = Paper(), Paper()
    outcome = await carry([*map(frame, events[:-2]), LAST], one_by_one)
    assert len(short_ways) == 37  # but those that teach it, and the one that is not plain
    with long_way():
        other = await carry([b"".join(map(frame, events)) + b"0\r\n\r\n"], at_once, one_by_one=False)
    assert len(short_ways) == 37
    assert b"".join(one_by_one.told) == b"".join(at_once.told)
    assert one_by_one.told[30].count(b"a@b.example") == 1
    assert (outcome.events, outcome.sent_bytes) == (other.events, other.sent_bytes) == (42, len(b"".join(at_once.told)))


async def test_usual_words_that_come_together_go_on_together_and_what_follows_them_goes_its_way(
    short_ways: list[bytes],
) -> None:
    words = [f"word {at}" for at in range(12)]
    words[9] = 'a "quoted" word'
    events = [*map(frame, spell(words))]
    paper, at_once = Paper(), Paper()
    pieces = [
        events[0],
        events[1],
        b"".join(events[2:6]),
        b"".join(events[6:11]) + events[11][:30],
        events[11][30:] + LAST,
    ]
    await carry(pieces, paper)
    assert short_ways == [word.encode() for word in words[2:9] + words[10:]]
    assert [said.count(b"data:") for said in paper.told[1:5]] == [1, 4, 3, 2]
    with long_way():
        await carry([b"".join(events) + LAST], at_once, one_by_one=False)
    assert b"".join(paper.told) == b"".join(at_once.told)


async def test_a_placeholder_that_comes_in_pieces_is_put_together_on_the_short_way(short_ways: list[bytes]) -> None:
    words = ["one", "two", "three", *MARK, "[", "[", "no", " end"]
    events, paper = spell(words), Paper()
    body = [b"".join(map(frame, events[:3])), *map(frame, events[3:]), LAST]
    await carry(body, paper, one_by_one=False)
    told = [json.loads(line[6:]) for line in b"".join(paper.told).split(b"\n\n") if line[6:7] == b"{"]
    text = "".join(item["choices"][0]["delta"].get("content", "") for item in told)
    assert text == "onetwothreea@b.example[[no end"


async def test_a_stream_of_usual_words_is_bounded_too(short_ways: list[bytes]) -> None:
    paper, limits = Paper(), RelayLimits(max_stream_bytes=5000, idle_seconds=600)
    outcome = await carry([*map(frame, spell(["word"] * 100))], paper, limits=limits)
    assert outcome.reason is Reason.UPSTREAM_FAILED
    assert b"a stream of more than 5000 bytes" in paper.told[-2]
    assert 20 < len(paper.told) < 50
    assert len(short_ways) > 10


async def test_what_a_filter_refuses_on_the_short_way_ends_the_answer_and_is_not_told(short_ways: list[bytes]) -> None:
    paper = Paper()
    words = ["word", "word", "word", "a secret", "word"]
    outcome = await carry([*map(frame, spell(words))], paper, text_filter=Picky())
    assert outcome.reason is Reason.ANSWER_REFUSED
    assert short_ways == [b"word"]
    assert b"the answer ends here" in paper.told[-2]
    assert b"secret" not in b"".join(paper.told)


async def test_a_caller_who_is_behind_is_waited_for_and_loses_nothing(short_ways: list[bytes]) -> None:
    paper = Paper(moods=dict.fromkeys(range(5, 20), "behind"))
    events = spell([f"word {at}" for at in range(40)])
    await carry([*map(frame, events), LAST], paper)
    assert paper.waited
    told = b"".join(paper.told)
    assert [told.count(b'"word %d"' % at) for at in range(40)] == [1] * 40
    assert paper.told[-1] == b""


async def test_a_caller_who_has_gone_ends_the_stream(short_ways: list[bytes]) -> None:
    paper = Paper(moods={10: "gone"})
    with pytest.raises(ConnectionResetError):
        await carry([*map(frame, spell(["word"] * 40))], paper)
    assert len(paper.told) == 10


async def test_an_engine_that_falls_silent_after_usual_words_is_given_up(short_ways: list[bytes]) -> None:
    paper, limits = Paper(), RelayLimits(first_byte_seconds=600, idle_seconds=0.3)
    outcome = await carry([*map(frame, spell(["word"] * 4))], paper, limits=limits)
    assert outcome.reason is Reason.UPSTREAM_TIMEOUT
    assert b"was silent for too long" in paper.told[-2]


async def test_after_the_last_word_nothing_takes_the_short_way(short_ways: list[bytes]) -> None:
    paper = Paper()
    events = spell(["word"] * 5)
    outcome = await carry([*map(frame, events[:4]), b"".join(map(frame, [*END, events[4]]))], paper)
    assert outcome.reason is Reason.UPSTREAM_FAILED
    assert b"it went on after its last word" in paper.told[-2]
