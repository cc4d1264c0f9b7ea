"""Notices that this machine's clock and the API server's are apart: proofs, leases and tokens are judged by it."""

import logging
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Final

_log = logging.getLogger(__name__)
MOST_APART_SECONDS: Final = 60.0


class Clocks:
    """Compares by the whole seconds that answers bear; says once that clocks are apart, and once that they agree again.

    Attributes:
        ahead_seconds: How far this machine's clock is ahead; negative: behind; None: nobody told a time yet.
    """

    def __init__(self) -> None:
        self.ahead_seconds: float | None = None
        self._apart = False

    def compare(self, headers: Mapping[str, str], *, now: float) -> None:
        """Hold this machine's clock against the time of an answer; one that tells none is passed over.

        Args:
            headers: Of the answer.
            now: Unix seconds here.
        """
        told = _read_seconds(headers.get("Date", ""))
        if told is None:
            return
        self.ahead_seconds = now - told
        if (apart := abs(self.ahead_seconds) > MOST_APART_SECONDS) == self._apart:
            return
        self._apart = apart
        extra = {"ahead_seconds": round(self.ahead_seconds)}
        if apart:
            _log.error(
                "this machine's clock and the API server's are apart; what bears a time may not count", extra=extra
            )
        else:
            _log.info("this machine's clock and the API server's agree again", extra=extra)


@lru_cache(maxsize=1)  # all answers of a second bear the same
def _read_seconds(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return None
