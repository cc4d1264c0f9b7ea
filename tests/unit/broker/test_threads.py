"""Threads and turns: what comes of work reaches whoever waits for it, however much comes at once."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from sekisho.broker.threads import Threads
from sekisho.broker.turns import Turns

PATIENCE = 60


def fail() -> None:
    raise ValueError("so it is")


async def test_all_get_what_their_own_work_came_to() -> None:
    threads = Threads(3, name="many")
    found = await asyncio.gather(*(threads.run(lambda number=number: number) for number in range(200)))
    assert found == list(range(200))
    threads.close()


async def test_as_many_work_at_once_as_may_and_no_more() -> None:
    threads, gate, lock, now, most = Threads(3, name="three"), threading.Barrier(3), threading.Lock(), [0], [0]

    def work() -> None:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        gate.wait(PATIENCE)
        with lock:
            now[0] -= 1

    await asyncio.gather(*(threads.run(work) for _ in range(9)))
    assert most == [3]
    threads.close()


async def test_work_that_lasts_holds_up_none_that_comes_later() -> None:
    threads, go_on = Threads(2, name="two"), threading.Event()
    slow = asyncio.create_task(threads.run(lambda: go_on.wait(PATIENCE)))
    for number in range(20):
        assert await threads.run(lambda number=number: number) == number
    assert not slow.done()
    go_on.set()
    assert await slow is True
    threads.close()


async def test_a_thread_that_was_idle_and_works_again_is_not_waited_for() -> None:
    threads, go_on = Threads(2, name="two"), threading.Event()
    for _ in range(3):
        await threads.run(lambda: None)
        while threads._idle != threads._begun:  # until all wait for work again
            await asyncio.sleep(0.001)
        slow = asyncio.create_task(threads.run(lambda: go_on.wait(PATIENCE)))
        assert await threads.run(lambda: 7) == 7
        assert not slow.done()
        go_on.set()
        assert await slow is True
        go_on.clear()
    threads.close()


async def test_threads_end_when_they_are_closed_and_hold_up_no_process() -> None:
    threads = Threads(2, name="ending")
    worker = await threads.run(threading.current_thread)
    assert worker.daemon
    while threads._idle != 1:  # until it waits for work: it has to be woken
        await asyncio.sleep(0.001)
    threads.close()
    await asyncio.to_thread(worker.join, PATIENCE)
    assert not worker.is_alive()


async def test_what_work_raises_is_raised_and_the_thread_goes_on() -> None:
    threads = Threads(1, name="one")
    with pytest.raises(ValueError, match="so it is"):
        await threads.run(fail)
    assert await threads.run(lambda: 7) == 7
    threads.close()


async def test_what_nobody_waits_for_is_not_begun_and_what_was_begun_is_left_to_itself() -> None:
    threads, began, go_on, done = Threads(1, name="one"), threading.Event(), threading.Event(), list[str]()

    def first() -> None:
        began.set()
        go_on.wait(PATIENCE)
        done.append("first")

    running = asyncio.create_task(threads.run(first))
    waiting = asyncio.create_task(threads.run(lambda: done.append("second")))
    await asyncio.sleep(0)
    await asyncio.to_thread(began.wait, PATIENCE)
    running.cancel()
    waiting.cancel()
    await asyncio.gather(running, waiting, return_exceptions=True)
    go_on.set()
    await threads.run(lambda: done.append("third"))
    assert done == ["first", "third"]
    threads.close()


async def test_closing_cancels_what_waits_and_takes_no_more() -> None:
    threads, began, go_on = Threads(1, name="one"), threading.Event(), threading.Event()
    running = asyncio.create_task(threads.run(lambda: (began.set(), go_on.wait(PATIENCE))))
    waiting = asyncio.create_task(threads.run(lambda: 1))
    await asyncio.sleep(0)
    await asyncio.to_thread(began.wait, PATIENCE)
    threads.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    with pytest.raises(RuntimeError, match="the threads one are closed"):
        await threads.run(lambda: 2)
    go_on.set()
    assert await running == (None, True)


def test_threads_serve_one_event_loop_after_another() -> None:
    threads, began, go_on = Threads(1, name="one"), threading.Event(), threading.Event()
    lost = asyncio.new_event_loop()
    task = lost.create_task(threads.run(lambda: (began.set(), go_on.wait(PATIENCE))))
    lost.call_soon(lost.stop)
    lost.run_forever()
    assert began.wait(PATIENCE)
    task.cancel()
    lost.run_until_complete(asyncio.gather(task, return_exceptions=True))
    lost.close()
    go_on.set()  # its loop has ended: there is nobody to tell

    async def ask() -> int:
        return await threads.run(lambda: 5)

    assert asyncio.run(ask()) == asyncio.run(ask()) == 5
    threads.close()


class Clock:
    """Goes on by a second whenever somebody works."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def work(self, result: Any) -> Callable[[], Any]:
        """Make work that takes a second."""

        def do() -> Any:
            self.now += 1
            return result

        return do


async def test_turns_do_work_in_its_order_and_let_the_loop_go_on_between() -> None:
    clock, told = Clock(), list[object]()
    turns = Turns(seconds=3, clock=clock)

    async def ask(number: int) -> None:
        told.append(await turns.run(clock.work(number)))

    tasks = [asyncio.create_task(ask(number)) for number in range(7)]
    beside = 0
    while not all(task.done() for task in tasks):
        await asyncio.sleep(0)
        beside += 1
        told.append("loop")
    assert [item for item in told if item != "loop"] == list(range(7))
    assert told.index(2) - told.index(0) == 2
    # Three a turn: two turns end with others waiting, and the loop comes in between.
    assert told.index("loop", told.index(2)) < told.index(3) < told.index("loop", told.index(5)) < told.index(6)
    assert clock.now == 7


async def test_what_work_in_turns_raises_is_raised_and_the_next_goes_on() -> None:
    turns = Turns()
    first, second = await asyncio.gather(turns.run(fail), turns.run(lambda: 7), return_exceptions=True)
    assert isinstance(first, ValueError)
    assert second == 7


async def test_work_that_asks_for_more_work_gets_its_turn() -> None:
    turns, inner = Turns(), list[asyncio.Task[int]]()
    loop = asyncio.get_running_loop()
    await turns.run(lambda: inner.append(loop.create_task(turns.run(lambda: 3))))
    assert await inner[0] == 3


async def test_turns_leave_out_what_nobody_waits_for_and_closing_cancels_what_waits() -> None:
    turns, done = Turns(), list[int]()
    given_up, kept = (asyncio.create_task(turns.run(lambda number=number: done.append(number))) for number in (1, 2))
    given_up.cancel()
    await asyncio.gather(given_up, kept, return_exceptions=True)
    assert done == [2]
    waiting = asyncio.create_task(turns.run(lambda: done.append(3)))
    await asyncio.sleep(0)
    turns.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert done == [2]
    assert await turns.run(lambda: 4) == 4


@pytest.mark.parametrize("at", [1, 2])
async def test_a_thread_that_cannot_be_begun_loses_nothing_that_waits(at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    threads, begun, real = Threads(4, name="short"), [0], threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if thread.name.startswith("short"):
            begun[0] += 1
            if begun[0] == at:
                raise RuntimeError("can't start new thread")
        real(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    answers = await asyncio.wait_for(
        asyncio.gather(*(threads.run(lambda number=number: number) for number in range(5)), return_exceptions=True), 20
    )
    refused = [answer for answer in answers if isinstance(answer, RuntimeError)]
    assert len(refused) == (1 if at == 1 else 0), "only who finds no thread at all is told so"
    assert [answer for answer in answers if answer not in refused] == list(range(len(refused), 5))
    assert await asyncio.wait_for(threads.run(lambda: 7), 20) == 7
    threads.close()
