"""What breaks is told of once, what does not is not, and nothing is held when there is nothing to watch."""

import asyncio
import os
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from sekisho.gateway.wire.breaks import Breaks
from tests.unit.depot.parts import settle
from tests.unit.gateway.wire.breaking import break_off

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pairs() -> Iterator[list[Pair]]:
    """Connections, each by its near and its far end."""
    made: list[Pair] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        for _ in range(3):
            far = socket.create_connection(listener.getsockname())
            made.append((listener.accept()[0], far))
    yield made
    for pair in made:
        for end in pair:
            end.close()


def count_files() -> int:
    return len(list(Path(f"/proc/{os.getpid()}/fd").iterdir()))


async def test_each_connection_that_breaks_is_told_of_once_and_no_other(pairs: list[Pair]) -> None:
    breaks, told = Breaks(), list[int]()
    for at, (near, _) in enumerate(pairs):
        breaks.watch(near.fileno(), partial(told.append, at))
    pairs[0][1].send(b"more")
    pairs[0][1].shutdown(socket.SHUT_WR)
    break_off(pairs[1][1])
    await settle(lambda: told)
    break_off(pairs[2][1])
    await settle(lambda: len(told) > 1)
    await asyncio.sleep(0)
    assert told == [1, 2]
    for near, _ in pairs:
        breaks.forget(near.fileno())


async def test_what_is_forgotten_is_told_of_no_more_not_even_in_the_same_look(pairs: list[Pair]) -> None:
    breaks, told = Breaks(), list[int]()

    def end(at: int) -> None:
        told.append(at)
        for near, _ in pairs:
            breaks.forget(near.fileno())

    for at, (near, far) in enumerate(pairs):
        breaks.watch(near.fileno(), partial(end, at))
        break_off(far)
    await settle(lambda: told)
    await asyncio.sleep(0)
    assert len(told) == 1
    breaks.forget(pairs[0][0].fileno())


async def test_no_file_is_held_while_there_is_nothing_to_watch(pairs: list[Pair]) -> None:
    breaks, files = Breaks(), count_files()
    for _ in range(3):
        for near, _ in pairs:
            breaks.watch(near.fileno(), pytest.fail)
        assert count_files() == files + 1
        for near, _ in pairs:
            breaks.forget(near.fileno())
        assert count_files() == files
