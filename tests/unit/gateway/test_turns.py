"""Between steps of requests the loop tells what came for streams; whoever waits longest goes on first."""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from sekisho.gateway.turns import Turns

REQUESTS = 12
STEPS = 8
# Seconds of a step that is longer than a turn, of one of which five are a turn, and of one that is nearly a turn.
LONG, SHORT, WHOLE = 0.01, 0.0002, 0.00099


class Clock:
    """Time that passes only where it is told to."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


class Stream:
    """A stream of which a byte comes during every step of a request; told by the loop, as streams are.

    Args:
        seconds: What it takes to tell one; then the next has come already.
    """

    def __init__(self, clock: Clock, *, seconds: float = 0.0) -> None:
        self._clock = clock
        self._seconds = seconds
        self._read, self._written = os.pipe()
        self.told = 0
        os.set_blocking(self._read, False)
        asyncio.get_running_loop().add_reader(self._read, self._tell)

    def come(self) -> None:
        os.write(self._written, b".")

    def _tell(self) -> None:
        self.told += len(os.read(self._read, 100))
        self._clock.seconds += self._seconds
        if self._seconds:
            self.come()

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._read)
        os.close(self._read)
        os.close(self._written)


class Requests:
    """Requests in steps, in each of which a byte comes for the stream; notes who stepped, and what was told before.

    Args:
        seconds: What a step takes.
    """

    def __init__(self, turns: Turns, stream: Stream, clock: Clock, *, seconds: float = LONG) -> None:
        self._turns = turns
        self._stream = stream
        self._clock = clock
        self._seconds = seconds
        self.seen: list[tuple[int, int]] = []

    async def step(self, at: int) -> None:
        for _ in range(STEPS):
            await self._turns.wait(own=False)
            self.seen.append((at, self._stream.told))
            self._clock.seconds += self._seconds
            self._stream.come()

    async def step_all(self) -> None:
        with self._turns.streaming(True):
            await asyncio.gather(*(self.step(at) for at in range(REQUESTS)))

    @property
    def together(self) -> list[int]:
        """How many steps there were between two looks at the stream, look by look."""
        return list(Counter(told for _, told in self.seen).values())


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def turns(clock: Clock) -> Turns:
    return Turns(clock)


@pytest.fixture
async def stream(clock: Clock) -> AsyncIterator[Stream]:
    made = Stream(clock)
    yield made
    made.close()


@pytest.fixture
async def requests(turns: Turns, stream: Stream, clock: Clock) -> Requests:
    return Requests(turns, stream, clock)


async def test_what_came_for_a_stream_in_a_step_is_told_before_more_steps_than_a_turn_has(
    turns: Turns, stream: Stream, clock: Clock
) -> None:
    requests = Requests(turns, stream, clock, seconds=SHORT)
    await requests.step_all()
    assert sum(requests.together) == REQUESTS * STEPS
    assert max(requests.together) == 5


async def test_long_steps_are_one_a_turn_once_they_are_known(requests: Requests) -> None:
    await requests.step_all()
    first, *later = requests.together
    assert first == 5
    assert set(later) == {1}


async def test_whoever_waits_longest_goes_on_first(requests: Requests) -> None:
    await requests.step_all()
    assert [at for at, _ in requests.seen] == [*range(REQUESTS)] * STEPS


async def test_requests_that_one_event_frees_take_turns_too(turns: Turns, requests: Requests) -> None:
    freed = asyncio.Event()

    async def follow(at: int) -> None:
        await freed.wait()
        await requests.step(at)

    with turns.streaming(True):
        async with asyncio.TaskGroup() as group:
            for at in range(REQUESTS):
                group.create_task(follow(at))
            await asyncio.sleep(0)
            freed.set()
    assert sum(requests.together) == REQUESTS * STEPS
    assert max(requests.together) == 5


async def count_rounds(turns: Turns, *, own: bool) -> int:
    """Return how often the loop went round before a request had its turn."""
    rounds, done = 0, asyncio.get_running_loop().create_task(turns.wait(own=own))
    while not done.done():
        await asyncio.sleep(0)
        rounds += 1
    await done
    return rounds


async def test_without_streams_nobody_waits(turns: Turns) -> None:
    assert await count_rounds(turns, own=False) == 1
    with turns.streaming(True):
        assert await count_rounds(turns, own=False) > 1
    with turns.streaming(False):
        assert await count_rounds(turns, own=False) == 1


async def test_a_stream_does_not_wait_for_itself_but_for_others(turns: Turns) -> None:
    with turns.streaming(True):
        assert await count_rounds(turns, own=True) == 1
        with turns.streaming(True):
            assert await count_rounds(turns, own=True) > 1


async def test_a_request_that_is_alone_waits_until_all_that_came_before_it_was_told(
    turns: Turns, requests: Requests
) -> None:
    with turns.streaming(True):
        await requests.step(0)
    assert [told for _, told in requests.seen] == [*range(STEPS)]


async def test_who_has_gone_is_passed_by_and_takes_no_turn(turns: Turns, requests: Requests) -> None:
    with turns.streaming(True):
        tasks = [asyncio.create_task(requests.step(at)) for at in range(REQUESTS)]
        await asyncio.sleep(0)
        for gone in (0, 3):
            tasks[gone].cancel()
        await asyncio.wait(tasks)
    left = [at for at in range(REQUESTS) if at not in {0, 3}]
    assert [at for at, _ in requests.seen] == left * STEPS
    assert requests.together[0] == 5


async def test_where_all_have_gone_the_next_has_its_turn(turns: Turns, requests: Requests) -> None:
    with turns.streaming(True):
        for rounds in range(3):
            # Before a turn is given to it, as it is, and once it has it.
            gone = asyncio.create_task(turns.wait(own=False))
            for _ in range(1 + rounds):
                await asyncio.sleep(0)
            gone.cancel()
            await asyncio.wait([gone])
        async with asyncio.timeout(60):
            await requests.step(1)
    assert [at for at, _ in requests.seen] == [1] * STEPS


@pytest.mark.parametrize(("seconds", "most"), [(0.0, 1), (0.0025, 2)])
async def test_streams_that_take_long_leave_requests_as_much_time(
    turns: Turns, clock: Clock, seconds: float, most: int
) -> None:
    stream = Stream(clock, seconds=seconds)
    requests = Requests(turns, stream, clock, seconds=WHOLE)
    stream.come()
    try:
        await requests.step_all()
    finally:
        stream.close()
    assert max(requests.together[-REQUESTS:]) == most
