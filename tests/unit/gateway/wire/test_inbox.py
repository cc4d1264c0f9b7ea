"""A body's bytes go to its one reader, in the turn in which they come where it wants that, and never twice."""

import asyncio
from dataclasses import dataclass, field

import pytest

from sekisho.gateway.wire.bodies import ChunkedBody, EndlessBody, FixedBody
from sekisho.gateway.wire.heads import WireError
from sekisho.gateway.wire.inbox import Inbox

MUCH = 300 << 10


@dataclass
class Holds:
    """Notes when the connection is held up."""

    said: list[bool] = field(default_factory=list)

    def __call__(self, held: bool) -> None:
        self.said.append(held)


@dataclass
class Taker:
    """Takes pieces until it has as many as it wants."""

    wanted: int = 1000
    pieces: list[bytes] = field(default_factory=list)

    def __call__(self, piece: bytes) -> bool:
        self.pieces.append(piece)
        return len(self.pieces) < self.wanted


async def begin(inbox: Inbox, taker: Taker) -> "asyncio.Task[bool]":
    task = asyncio.create_task(inbox.pump(taker))
    await asyncio.sleep(0)
    return task


async def test_what_comes_is_taken_at_once_and_what_came_before_is_taken_first() -> None:
    inbox, taker = Inbox(FixedBody(6), Holds()), Taker()
    inbox.feed(b"ab")
    task = await begin(inbox, taker)
    assert taker.pieces == [b"ab"]
    assert inbox.feed(b"cd") == b""
    assert taker.pieces == [b"ab", b"cd"]
    assert inbox.feed(b"efg") == b"g"
    assert await task
    assert taker.pieces == [b"ab", b"cd", b"ef"]
    assert inbox.is_read


async def test_who_wants_no_more_is_given_no_more_until_it_comes_again() -> None:
    inbox, taker = Inbox(EndlessBody(), Holds()), Taker(wanted=1)
    task = await begin(inbox, taker)
    inbox.feed(b"a")
    inbox.feed(b"b")
    assert not await task
    assert taker.pieces == [b"a"]
    taker.wanted = 2
    assert not await inbox.pump(taker)
    assert taker.pieces == [b"a", b"b"]


async def test_who_wants_no_more_at_the_end_hears_of_the_end_the_next_time() -> None:
    inbox, taker = Inbox(FixedBody(1), Holds()), Taker(wanted=1)
    task = await begin(inbox, taker)
    inbox.feed(b"a")
    assert not await task
    assert await inbox.pump(taker)
    assert taker.pieces == [b"a"]


@pytest.mark.parametrize("pumps", [True, False])
async def test_what_is_malformed_or_cut_is_told_after_what_came_before(pumps: bool) -> None:
    for spoil, kind in ((b"zz\r\n", WireError), (None, ConnectionResetError)):
        inbox, taker = Inbox(ChunkedBody(), Holds()), Taker()
        inbox.feed(b"2\r\nab\r\n")
        if spoil is None:
            inbox.end()
        else:
            inbox.feed(spoil)
            assert inbox.feed(b"1\r\nx\r\n") == b""
        if pumps:
            with pytest.raises(kind):
                await inbox.pump(taker)
            assert taker.pieces == [b"ab"]
        else:
            assert await inbox.read() == b"ab"
            with pytest.raises(kind):
                await inbox.read()


async def test_a_failure_wakes_who_waits() -> None:
    inbox, taker = Inbox(ChunkedBody(), Holds()), Taker()
    task = await begin(inbox, taker)
    inbox.end()
    with pytest.raises(ConnectionResetError, match="the connection ended within a body"):
        await task
    assert taker.pieces == []


async def test_nobody_is_called_once_who_waited_has_gone() -> None:
    inbox, taker = Inbox(EndlessBody(), Holds()), Taker()
    task = await begin(inbox, taker)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    inbox.feed(b"a")
    assert taker.pieces == []
    assert await inbox.read() == b"a"


async def test_the_connection_is_held_up_while_much_waits_and_not_while_it_is_taken() -> None:
    holds, taker = Holds(), Taker()
    inbox = Inbox(EndlessBody(), holds)
    task = await begin(inbox, taker)
    inbox.feed(b"x" * MUCH)
    assert holds.said == []
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    for _ in range(3):
        inbox.feed(b"x" * MUCH)
    assert holds.said == [True]
    assert len(await inbox.read()) == 3 * MUCH
    assert holds.said == [True, False]


async def test_a_body_that_its_connection_ends_is_whole_then() -> None:
    inbox = Inbox(EndlessBody(), Holds())
    inbox.feed(b"a")
    inbox.end()
    assert (await inbox.read(), await inbox.read()) == (b"a", b"")
    assert inbox.is_read


@dataclass
class Catcher:
    """Catches the chunks it is told to, and notes all that it was shown."""

    catches: bytes
    wants_more: bool = True
    shown: list[bytes] = field(default_factory=list)

    def __call__(self, data: bytes) -> tuple[bytes, bool]:
        self.shown.append(data)
        rest = data.removeprefix(self.catches)
        return rest, rest == data or self.wants_more


async def begin_catching(inbox: Inbox, taker: Taker, catcher: Catcher) -> "asyncio.Task[bool]":
    task = asyncio.create_task(inbox.pump(taker, catcher))
    await asyncio.sleep(0)
    return task


async def test_whoever_catches_is_shown_what_comes_where_a_chunk_begins_and_nothing_else() -> None:
    inbox, taker, catcher = Inbox(ChunkedBody(), Holds()), Taker(), Catcher(b"2\r\nab\r\n")
    inbox.feed(b"2\r\nab\r\n")
    task = await begin_catching(inbox, taker, catcher)
    assert (taker.pieces, catcher.shown) == ([b"ab"], [])
    for data in (b"2\r\nab\r\n", b"2\r\nab\r\n1\r\nz\r\n", b"2\r\nxy\r\n", b"4\r\nab", b"cd\r\n", b"2", b"\r\nef\r\n"):
        assert inbox.feed(data) == b""
    assert b"".join(taker.pieces) == b"abzxyabcdef"
    assert catcher.shown == [b"2\r\nab\r\n", b"2\r\nab\r\n1\r\nz\r\n", b"2\r\nxy\r\n", b"4\r\nab", b"2"]
    assert inbox.feed(b"0\r\n\r\nGET") == b"GET"
    assert await task


async def test_whoever_catches_may_want_no_more_and_what_comes_then_waits() -> None:
    inbox, taker, catcher = Inbox(ChunkedBody(), Holds()), Taker(), Catcher(b"2\r\nab\r\n", wants_more=False)
    task = await begin_catching(inbox, taker, catcher)
    inbox.feed(b"2\r\nab\r\n2\r\ncd\r\n")
    inbox.feed(b"2\r\nab\r\n")
    assert not await task
    assert len(catcher.shown) == 1
    assert await inbox.read() == b"cdab"
    task = await begin_catching(inbox, taker, catcher)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    inbox.feed(b"2\r\nab\r\n")
    assert len(catcher.shown) == 1


@pytest.mark.parametrize("body", [FixedBody(9), EndlessBody()], ids=["fixed", "endless"])
async def test_a_body_that_has_no_chunks_is_caught_by_nobody(body: FixedBody | EndlessBody) -> None:
    inbox, taker, catcher = Inbox(body, Holds()), Taker(), Catcher(b"ab")
    task = await begin_catching(inbox, taker, catcher)
    inbox.feed(b"ab")
    assert (taker.pieces, catcher.shown) == ([b"ab"], [])
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
