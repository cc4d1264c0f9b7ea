"""Ask engines how much they have to do, off the way of requests: only those among which requests are shared out now."""

import asyncio
import logging
import time
from collections import OrderedDict
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

import aiohttp

from sekisho.gateway.choosing.experience import STALE_SECONDS, Experience
from sekisho.gateway.choosing.metrics import parse_load

_log = logging.getLogger(__name__)
_MAX_TARGETS: Final = 2048
_AT_ONCE: Final = 16
_MAX_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Target:
    """Where an engine tells its load, and in whose names."""

    url: str
    dialect: str


@dataclass(frozen=True, slots=True)
class PollLimits:
    """How engines are asked.

    Attributes:
        every_seconds: Between two rounds.
        timeout_seconds: For one answer.
        idle_seconds: After how long without a request nobody asks any more.
    """

    every_seconds: float = 2.0
    timeout_seconds: float = 1.0
    idle_seconds: float = 30.0


class Watched:
    """Whose engines are worth asking: those that were candidates beside others a moment ago."""

    def __init__(self) -> None:
        self._targets: OrderedDict[str, tuple[Target, float]] = OrderedDict()

    def note(self, uid: str, target: Target, now: float) -> None:
        """Note that a replica was a candidate."""
        self._targets[uid] = (target, now)
        self._targets.move_to_end(uid)
        if len(self._targets) > _MAX_TARGETS:
            self._targets.popitem(last=False)

    def current(self, now: float, *, idle_seconds: float) -> dict[str, Target]:
        """Return those noted lately, and forget the others."""
        while self._targets:
            uid, (_, at) = next(iter(self._targets.items()))
            if now - at <= idle_seconds:
                break
            del self._targets[uid]
        return {uid: target for uid, (target, _) in self._targets.items()}


class Poller:
    """Asks engines for their load. Use it as a context manager."""

    def __init__(self, watched: Watched, experience: Experience, limits: PollLimits) -> None:
        if limits.every_seconds + limits.timeout_seconds > STALE_SECONDS:
            raise ValueError("what engines say would be stale before they are asked again")
        self._watched = watched
        self._experience = experience
        self._limits = limits
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=_AT_ONCE, force_close=True),
            timeout=aiohttp.ClientTimeout(total=self._limits.timeout_seconds),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def run(self) -> None:
        """Ask again and again until cancelled."""
        while True:
            await asyncio.sleep(self._limits.every_seconds)
            await self.ask_all()

    async def ask_all(self) -> None:
        """Ask everybody who is worth asking once."""
        targets = self._watched.current(time.monotonic(), idle_seconds=self._limits.idle_seconds)
        gate = asyncio.Semaphore(_AT_ONCE)

        async def ask(uid: str, target: Target) -> None:
            async with gate:
                await self._ask(uid, target)

        await asyncio.gather(*(ask(uid, target) for uid, target in targets.items()))

    async def _ask(self, uid: str, target: Target) -> None:
        if self._session is None:
            raise RuntimeError("the poller is used outside its context")
        try:
            async with self._session.get(target.url, allow_redirects=False) as response:
                if response.status != 200:
                    return
                text = await _read(response)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
            # Requests notice by themselves; numbers that are not renewed are not used.
            _log.debug("an engine does not tell its load")
            return
        load = None if text is None else parse_load(text, target.dialect)
        if load is not None:
            self._experience.said(uid, load, time.monotonic())


async def _read(response: aiohttp.ClientResponse) -> bytes | None:
    data = bytearray()
    async for chunk in response.content.iter_any():
        data += chunk
        if len(data) > _MAX_BYTES:
            return None
    return bytes(data)
