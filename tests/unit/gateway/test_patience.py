"""Waits that follow one another are bounded each, and what lies between them is not."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from sekisho.gateway.patience import Patience

LONG = 600.0
Waits = Callable[[Patience], Awaitable[object]]


async def keep(patience: Patience, waits: Waits) -> None:
    async with patience:
        await waits(patience)


async def wait_forever(patience: Patience, seconds: float) -> None:
    patience.begin(seconds)
    await asyncio.Event().wait()


async def begin_again(patience: Patience) -> None:
    patience.begin(LONG)
    patience.end()
    await wait_forever(patience, 0.01)


async def pause(patience: Patience) -> None:
    patience.begin(0.01)
    patience.end()
    await asyncio.sleep(0.03)
    await wait_forever(patience, 0.01)


async def blame_another(patience: Patience) -> None:
    patience.begin(LONG)
    raise TimeoutError("the caller")


@pytest.mark.parametrize("waits", [lambda patience: wait_forever(patience, 0.01), begin_again, pause])
async def test_a_wait_that_takes_too_long_ends_the_block_whatever_came_before(waits: Waits) -> None:
    patience = Patience()
    with pytest.raises(TimeoutError):
        await keep(patience, waits)
    assert patience.is_over


async def test_a_wait_may_take_longer_than_the_one_before_and_what_is_between_has_no_bound() -> None:
    async with Patience() as patience:
        patience.begin(0.01)
        patience.begin(LONG)
        await asyncio.sleep(0.03)
        patience.begin(0.01)
        patience.end()
        await asyncio.sleep(0.03)
    assert not patience.is_over


async def test_whoever_cancels_is_not_told_of_a_timeout() -> None:
    patience = Patience()
    task = asyncio.create_task(keep(patience, lambda it: wait_forever(it, LONG)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not patience.is_over


async def test_a_timeout_of_somebody_else_is_not_its_own() -> None:
    patience = Patience()
    with pytest.raises(TimeoutError, match="the caller"):
        await keep(patience, blame_another)
    assert not patience.is_over
