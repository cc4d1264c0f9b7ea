"""One key is never with two workers, none is lost, and a key that fails rests."""

import asyncio
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sekisho.controller.queue import BackOff, KeyQueue


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


async def take_now(queue: KeyQueue[str]) -> str | None:
    try:
        async with asyncio.timeout(0.02):
            return await queue.take()
    except TimeoutError:
        return None


async def test_a_key_added_twice_comes_once() -> None:
    queue: KeyQueue[str] = KeyQueue()
    queue.add("a")
    queue.add("a")
    assert len(queue) == 1
    assert await queue.take() == "a"
    assert await take_now(queue) is None


async def test_a_key_added_while_a_worker_has_it_is_not_given_to_a_second_worker() -> None:
    queue: KeyQueue[str] = KeyQueue()
    queue.add("a")
    await queue.take()
    queue.add("a")
    assert await take_now(queue) is None
    queue.done("a")
    assert await take_now(queue) == "a"


async def test_a_delayed_key_waits_for_its_time() -> None:
    clock = Clock()
    queue: KeyQueue[str] = KeyQueue(clock=clock)
    queue.add("a", after_seconds=10)
    assert queue.delayed == 1
    assert await take_now(queue) is None
    clock.now += 10
    assert await take_now(queue) == "a"


async def test_an_earlier_wish_brings_a_delayed_key_forward() -> None:
    queue: KeyQueue[str] = KeyQueue(clock=Clock())
    queue.add("a", after_seconds=10)
    queue.add("a")
    assert await take_now(queue) == "a"
    queue.done("a")
    assert (len(queue), queue.delayed) == (0, 0)


async def test_a_waiting_worker_wakes_for_a_key_that_comes_later() -> None:
    queue: KeyQueue[str] = KeyQueue()
    queue.add("late", after_seconds=0.4)
    taken = asyncio.create_task(queue.take())
    await asyncio.sleep(0)
    queue.add("a")
    assert await taken == "a"
    assert await queue.take() == "late"


async def test_a_key_that_fails_rests_longer_each_time_and_is_forgiven_by_success() -> None:
    clock = Clock()
    queue: KeyQueue[str] = KeyQueue(clock=clock, back_off=BackOff(1.0, 60.0))
    rests = []
    for _ in range(8):
        queue.add("a", after_seconds=0)
        clock.now += 1000
        await queue.take()
        rests.append(queue.failed("a"))
    assert all(0.75 * 2**n <= rest <= 1.25 * 2**n for n, rest in enumerate(rests[:6]))
    assert max(rests) <= 75
    clock.now += 1000
    await queue.take()
    queue.done("a")
    queue.add("a")
    await queue.take()
    assert queue.failed("a") <= 1.25


async def test_news_shortens_the_rest_of_a_failing_key_but_not_to_nothing() -> None:
    clock = Clock()
    queue: KeyQueue[str] = KeyQueue(clock=clock, back_off=BackOff(100.0, 1000.0, news_seconds=2.0))
    queue.add("a")
    await queue.take()
    queue.add("a")
    queue.failed("a")
    queue.add("a")
    assert await take_now(queue) is None
    clock.now += 2.1
    assert await take_now(queue) == "a"


async def test_a_server_that_asks_for_a_pause_gets_it() -> None:
    clock = Clock()
    queue: KeyQueue[str] = KeyQueue(clock=clock)
    queue.add("a")
    await queue.take()
    assert queue.failed("a", at_least_seconds=30) == 30
    queue.add("a")
    clock.now += 29
    assert await take_now(queue) is None


async def test_a_forgotten_key_does_not_come() -> None:
    clock = Clock()
    queue: KeyQueue[str] = KeyQueue(clock=clock)
    queue.add("a")
    queue.add("b", after_seconds=1)
    queue.forget("a")
    queue.forget("b")
    clock.now += 5
    assert await take_now(queue) is None
    assert (len(queue), queue.delayed, queue.busy) == (0, 0, 0)


async def test_the_oldest_key_and_the_slowest_worker_are_known() -> None:
    clock = Clock()
    queue: KeyQueue[str] = KeyQueue(clock=clock)
    assert (queue.oldest_seconds(), queue.longest_busy_seconds()) == (0.0, 0.0)
    queue.add("a")
    queue.add("b")
    clock.now += 3
    await queue.take()
    clock.now += 4
    assert (queue.oldest_seconds(), queue.longest_busy_seconds()) == (7.0, 4.0)


@pytest.mark.parametrize("failures", [1, 10, 1000])
def test_a_rest_is_never_longer_than_the_longest_and_a_quarter(failures: int) -> None:
    assert BackOff().delay_seconds(failures, chance=0.999) <= 1.25 * BackOff().most_seconds


KEYS = st.sampled_from("abcd")


class QueueMachine(RuleBasedStateMachine):
    """Any order of calls: what was asked for comes, and never to two workers."""

    @initialize()
    def start(self) -> None:
        self.runner = asyncio.Runner()
        self.clock = Clock()
        self.queue: KeyQueue[str] = KeyQueue(clock=self.clock)
        self.held: set[str] = set()
        self.wanted: set[str] = set()

    @rule(key=KEYS, after=st.sampled_from([0.0, 0.0, 3.0]))
    def add(self, key: str, after: float) -> None:
        self.queue.add(key, after_seconds=after)
        self.wanted.add(key)

    @rule()
    def take(self) -> None:
        key = self.runner.run(take_now_or_never(self.queue))
        if key is not None:
            assert key not in self.held
            assert key in self.wanted
            self.held.add(key)
            self.wanted.discard(key)

    @precondition(lambda self: self.held)
    @rule(data=st.data(), fails=st.booleans())
    def give_back(self, data: st.DataObject, fails: bool) -> None:
        key = data.draw(st.sampled_from(sorted(self.held)))
        self.held.discard(key)
        if fails:
            self.queue.failed(key)
            self.wanted.add(key)
        else:
            self.queue.done(key)

    @rule(seconds=st.floats(0, 10))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @invariant()
    def nothing_is_lost(self) -> None:
        if not hasattr(self, "queue"):
            return
        assert self.queue.busy == len(self.held)
        known = len(self.queue) + self.queue.delayed + sum(key in self.held for key in self.wanted)
        assert known == len(self.wanted)

    def teardown(self) -> None:
        if hasattr(self, "runner"):
            self.runner.close()


async def take_now_or_never(queue: KeyQueue[str]) -> str | None:
    task = asyncio.create_task(queue.take())
    for _ in range(3):
        await asyncio.sleep(0)
        if task.done():
            return task.result()
    task.cancel()
    return None


QueueMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestQueueMachine = QueueMachine.TestCase


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(KEYS, st.integers(0, 3)), max_size=40), st.integers(1, 4))
def test_concurrent_workers_never_share_a_key_and_see_each_wish(wishes: list[tuple[str, int]], workers: int) -> None:
    async def scenario() -> None:
        queue: KeyQueue[str] = KeyQueue()
        running: Counter[str] = Counter()
        seen: dict[str, int] = {}
        version: Counter[str] = Counter()

        async def work() -> None:
            while True:
                key = await queue.take()
                running[key] += 1
                assert running[key] == 1
                seen[key] = version[key]
                await asyncio.sleep(0)
                running[key] -= 1
                queue.done(key)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work()) for _ in range(workers)]
            for key, pause in wishes:
                version[key] += 1
                queue.add(key)
                for _ in range(pause):
                    await asyncio.sleep(0)
            while len(queue) or queue.busy:
                await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
        assert seen == dict(version)

    asyncio.run(scenario())
