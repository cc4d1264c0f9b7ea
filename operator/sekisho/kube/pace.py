"""How fast a process may ask the API server."""

import asyncio
import time


class TokenBucket:
    """Let `burst` requests through at once and `rate` a second after that; who comes first goes first.

    Args:
        rate: Requests a second.
        burst: Requests that may go at once after a rest.
    """

    def __init__(self, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = float(burst)
        self._tokens = float(burst)
        self._at = time.monotonic()

    async def take(self) -> None:
        """Wait until a request may go."""
        now = time.monotonic()
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate) - 1.0
        self._at = now
        if self._tokens < 0:
            # The debt is this caller's place in the queue: who comes later finds it larger.
            await asyncio.sleep(-self._tokens / self._rate)
