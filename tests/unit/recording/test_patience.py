"""One timer for all who wait."""

import asyncio

import pytest

from sekisho.recording.patience import Patience


async def test_who_waits_too_long_is_told_and_who_is_done_is_left_alone() -> None:
    patience, loop = Patience(0.04, lambda: TimeoutError("too long")), asyncio.get_running_loop()
    done, late, gone = (loop.create_future() for _ in range(3))
    for future in (done, late, gone):
        patience.watch(future, loop)
    done.set_result(1)
    gone.cancel()
    with pytest.raises(TimeoutError, match="too long"):
        await late
    assert done.result() == 1
    assert gone.cancelled()
    again = loop.create_future()
    patience.watch(again, loop)
    with pytest.raises(TimeoutError):
        await again
