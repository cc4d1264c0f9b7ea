"""Tell the operator that services which may rest are asked for, and no more often than it takes.

What is told stands in the status (`demand.askedAt`) for all to see, so gateways need not agree among themselves:
whoever finds it old enough writes it anew, and the others see that.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from types import TracebackType
from typing import Final

from sekisho.api.names import API_VERSION, GATEWAY_FIELD_MANAGER
from sekisho.api.times import believe_past, format_time
from sekisho.errors import Reason, SekishoError, UnavailableError
from sekisho.gateway.decide import ServiceFacts
from sekisho.gateway.facts import Facts
from sekisho.kube.client import KubeClient
from sekisho.kube.resources import INFERENCE_SERVICES

_log = logging.getLogger(__name__)
_Key = tuple[str, str, str]
_EVERY_SECONDS: Final = 60.0
_LOOK_SECONDS: Final = 1.0
_FAILED_SECONDS: Final = 2.0
_PATIENCE_SECONDS: Final = 10.0
_NOTHING: Final = nullcontext()


def find_interval_seconds(idle_seconds: float) -> float:
    """Return how seldom it is told: often enough that what is in use does not fall asleep."""
    return min(_EVERY_SECONDS, idle_seconds / 3)


@dataclass(slots=True)
class _Use:
    """How a service is used.

    Attributes:
        count: Requests that are under way, or are held.
        used: Whether it was used since that was last told.
        tried_at: When it was last told, or tried, by the monotonic clock.
        failure: Why it could not be told, None where it could.
    """

    count: int = 0
    used: bool = False
    tried_at: float = float("-inf")
    failure: SekishoError | None = None


class _Using:
    """A use of a service until its block ends."""

    __slots__ = ("_use",)

    def __init__(self, use: _Use) -> None:
        self._use = use

    def __enter__(self) -> None:
        self._use.count += 1
        self._use.used = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A long stream is a use at its end too.
        self._use.count -= 1
        self._use.used = True


class Asking:
    """Says that services are asked for.

    Args:
        client: Of the API server.
        facts: What is known of services.
        by: Name of this pod.
        clock: Unix seconds.
    """

    def __init__(self, client: KubeClient, facts: Facts, *, by: str, clock: Callable[[], float] = time.time) -> None:
        self._client = client
        self._facts = facts
        self._by = by
        self._clock = clock
        self._uses: dict[_Key, _Use] = {}
        self._news = asyncio.Event()

    def using(self, service: ServiceFacts) -> AbstractContextManager[None]:
        """Keep a service awake, or wake it, while a block runs; nothing for services that always run."""
        if service.rest is None:
            return _NOTHING
        use = self._uses.get(_key_of(service))
        if use is None:
            use = self._uses[_key_of(service)] = _Use()
            self._news.set()
        return _Using(use)

    def find_failure(self, service: ServiceFacts) -> SekishoError | None:
        """Return why it could not be said the last time that a service is asked for; None where it could."""
        use = self._uses.get(_key_of(service))
        return use.failure if use is not None else None

    async def run(self) -> None:
        """Tell what is to be told until cancelled."""
        while True:
            self._news.clear()
            due = [(key, use) for key, use in list(self._uses.items()) if self._is_due(key, use)]
            if due:
                await asyncio.gather(*(self._tell(key, use) for key, use in due))
            try:
                async with asyncio.timeout(_LOOK_SECONDS if self._uses else None):
                    await self._news.wait()
            except TimeoutError:
                continue

    def _is_due(self, key: _Key, use: _Use) -> bool:
        """Tell whether a use is to be told now, and forget one that is over and told."""
        try:
            service = self._facts.find(key[0], key[1])
        except SekishoError:
            return False
        if service is None or service.rest is None or service.uid != key[2]:
            if not use.count:
                del self._uses[key]
            return False
        every, now = find_interval_seconds(service.rest.idle_seconds), self._clock()
        rests = time.monotonic() - use.tried_at
        if not use.used and not use.count:
            if rests >= every:
                del self._uses[key]
            return False
        if rests < (every if use.failure is None else min(every, _FAILED_SECONDS)):
            return False
        asked_at = believe_past(service.rest.asked_at, now_at=now)
        return asked_at is None or now - asked_at >= every

    async def _tell(self, key: _Key, use: _Use) -> None:
        use.tried_at, use.used = time.monotonic(), False
        meta = {"namespace": key[0], "name": key[1], "uid": key[2]}
        demand = {"askedAt": format_time(self._clock()), "by": self._by[:253]}
        manifest = {
            "apiVersion": API_VERSION,
            "kind": INFERENCE_SERVICES.kind,
            "metadata": {name: value for name, value in meta.items() if value},
            "status": {"demand": demand},
        }
        told = {"namespace": key[0], "service": key[1]}
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await self._client.apply(manifest, subresource="status", manager=GATEWAY_FIELD_MANAGER)
        except TimeoutError:
            use.failure = UnavailableError(Reason.API_UNAVAILABLE, "the API server did not answer")
            _log.warning("that a service is asked for could not be told in time", extra=told)
        except SekishoError as error:
            use.failure = error
            _log.warning("that a service is asked for could not be told", extra={**told, "detail": error.message})
        else:
            use.failure = None
            _log.info("a service is asked for", extra=told)
            return
        # Whoever still needs it has it tried again; for nobody it is not tried for ever.
        use.used = use.count > 0


def _key_of(service: ServiceFacts) -> _Key:
    return service.namespace, service.name, service.uid
