"""How a run ends before its time: by a signal, and in order."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NoReturn

_ENDING: Final = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def ending_in_order() -> Iterator[None]:
    """Let a signal end the block as an exception would: servers, clusters and folders are removed on the way out.

    A second signal does not disturb that. After SIGKILL the next cluster that starts removes what was left.
    """

    def end(number: int, _: object) -> NoReturn:
        for each in _ENDING:
            signal.signal(each, signal.SIG_IGN)
        raise SystemExit(128 + number)

    before = {each: signal.signal(each, end) for each in _ENDING}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
