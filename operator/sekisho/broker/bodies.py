"""Bodies of requests: few are held at once, so that they cannot fill the memory, and each has to arrive in time."""

import asyncio
from dataclasses import dataclass

from aiohttp import web

from sekisho.errors import Reason, RefusedError, UnavailableError


@dataclass(slots=True)
class Bodies:
    """The bodies that one face of the broker reads right now."""

    _held: int = 0

    async def read(self, request: web.Request, *, most: int, seconds: float) -> bytes:
        """Read a body; its size is bounded by the application.

        Raises:
            UnavailableError: Overloaded; `most` are being read already.
            RefusedError: RequestInvalid; it did not arrive within `seconds`.
        """
        if self._held >= most:
            raise UnavailableError(Reason.OVERLOADED, f"{self._held} requests are being read; ask again later")
        self._held += 1
        try:
            async with asyncio.timeout(seconds):
                return await request.read()
        except TimeoutError:
            raise RefusedError(Reason.REQUEST_INVALID, f"the body did not arrive within {seconds:g} s") from None
        finally:
            self._held -= 1
