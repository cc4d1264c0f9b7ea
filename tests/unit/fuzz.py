"""What every fuzz test needs: changed bytes, any JSON, and how much memory an answer took."""

import tracemalloc
from collections.abc import Callable

from hypothesis import strategies as st

from sekisho.errors import RefusedError

MIB = 1024 * 1024

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def flip_last(data: bytes) -> bytes:
    """Return the same bytes but for one bit of the last, which a byte put in its place is not sure to change."""
    return data[:-1] + bytes([data[-1] ^ 1])


def changed(data: bytes) -> st.SearchStrategy[bytes]:
    """Change `data` at up to four places: other bytes, more bytes, fewer bytes, a part again or elsewhere."""
    place = st.integers(0, len(data))
    change = st.tuples(st.sampled_from(["put", "add", "cut", "again", "number"]), place, place, st.binary(max_size=8))

    def apply(changes: list[tuple[str, int, int, bytes]]) -> bytes:
        result = data
        for kind, first, second, some in changes:
            start, end = sorted((first, second))
            head, tail = result[:start], result[start:]
            match kind:
                case "put":
                    result = head + some + tail[len(some) :]
                case "add":
                    result = head + some + tail
                case "cut":
                    result = head + result[end:]
                case "again":
                    result = head + result[start:end] + tail
                case _:  # the largest numbers, where lengths and counts stand
                    result = head + b"\xff" * len(some) + tail[len(some) :]
        return result

    return st.lists(change, min_size=1, max_size=4).map(apply)


def attempt(act: Callable[[], object]) -> object:
    """Return what `act` returned, or its refusal; anything else is a crash."""
    try:
        return act()
    except RefusedError as error:
        return error.with_traceback(None)


def measure_peak(act: Callable[[], object]) -> tuple[object, int]:
    """Return the same as :func:`attempt`, and the most bytes that were allocated meanwhile."""
    tracemalloc.start()
    try:
        return attempt(act), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
