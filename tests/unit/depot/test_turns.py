"""Turns: no namespace has all places, none that is free is kept from anybody, and what ends gives its place away."""

import asyncio

import pytest

from sekisho.depot.turns import Turns


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_one_namespace_has_its_share_and_others_the_rest() -> None:
    turns, over, at_work = Turns(3, of_one=2), asyncio.Event(), list[str]()

    async def work(namespace: str) -> None:
        async with turns.take(namespace):
            at_work.append(namespace)
            await over.wait()

    async with asyncio.TaskGroup() as group:
        for namespace in ("slow", "slow", "slow", "slow", "other", "third"):
            group.create_task(work(namespace))
        await settled()
        assert at_work == ["slow", "slow", "other"]
        over.set()
    assert sorted(at_work) == ["other", "slow", "slow", "slow", "slow", "third"]


async def test_who_waits_for_its_own_namespace_keeps_no_place_from_others() -> None:
    turns = Turns(2, of_one=1)
    async with turns.take("a"):
        waiting = asyncio.create_task(turns.take("a").__aenter__())
        await settled()
        async with asyncio.timeout(60), turns.take("b"):
            assert not waiting.done()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)


async def test_a_place_comes_back_whatever_ended_the_work() -> None:
    turns = Turns(1, of_one=1)
    for error in (ValueError, asyncio.CancelledError):
        with pytest.raises(error):
            async with turns.take("a"):
                raise error
    async with asyncio.timeout(60), turns.take("a"):
        pass
