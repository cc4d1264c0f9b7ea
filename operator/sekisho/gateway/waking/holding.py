"""Hold requests for models that rest until one of their pods may answer, within limits."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from sekisho.errors import Reason, RefusedError, UnavailableError
from sekisho.gateway.choosing.choosing import NobodyError
from sekisho.gateway.decide import ServiceFacts
from sekisho.gateway.waking.asking import Asking

T = TypeVar("T")
_LOOK_SECONDS: Final = 0.2
_UNTOLD: Final = "the operator could not be told that it is asked for; the gateway's log says why"


@dataclass(frozen=True, slots=True)
class WakeLimits:
    """How requests are held.

    Attributes:
        seconds: How long one is; 0: it wakes its model, and is refused at once.
        requests: How many are at once.
        body_bytes: How much they may hold in memory, all together.
        progress_seconds: After how long, and how often, a caller who waits for a stream is told what is awaited.
    """

    seconds: float = 120.0
    requests: int = 128
    body_bytes: int = 24 << 20
    progress_seconds: float = 5.0


@dataclass(frozen=True, slots=True)
class Held(Generic[T]):
    """A request that is held.

    Attributes:
        nobody: Why nobody answers it yet.
        size: Bytes of its body.
        look: Raises while nobody may answer; cheap, for it is called again and again. Returns where the rest is to be
            decided anew: somebody might answer, or what it was decided by is no longer so.
        again: Decides everything about the request anew: what held before it was held may not hold any more.
        tell: Tells the caller what is awaited, where it can be told; None where not.
    """

    nobody: NobodyError
    size: int
    look: Callable[[], object]
    again: Callable[[], Awaitable[T]]
    tell: Callable[[str], Awaitable[None]] | None = None


class Holding:
    """Holds requests.

    Attributes:
        limits: Bounds.
        count: How many it holds.
    """

    def __init__(self, asking: Asking, limits: WakeLimits) -> None:
        self._asking = asking
        self.limits = limits
        self._bytes = 0
        self._closed = False
        self.count = 0

    def close(self) -> None:
        """Let go of all: another gateway may hold them."""
        self._closed = True

    def using(self, service: ServiceFacts) -> AbstractContextManager[None]:
        """Keep a service awake while a block runs."""
        return self._asking.using(service)

    async def hold(self, held: Held[T]) -> T:
        """Wake a model, and return what deciding anew comes to once one of its pods may answer.

        Raises:
            UnavailableError: ModelNotReady: it does not answer in time, or no more may be held.
            SekishoError: Whatever else keeps the request from being answered by now.
        """
        nobody, until = held.nobody, time.monotonic() + self.limits.seconds
        # What is refused for want of room, or of time, has woken the model all the same.
        with self._asking.using(nobody.service), self._enter(held):
            while True:
                self._check(nobody, until)
                if held.tell is not None:
                    await held.tell(self._find_awaited(nobody))
                await asyncio.sleep(_LOOK_SECONDS)
                try:
                    held.look()
                    return await held.again()
                except NobodyError as error:
                    # Another service of that name was not asked for by this request.
                    if not error.is_awaited or error.service.uid != nobody.service.uid:
                        raise
                    nobody = error

    @contextmanager
    def _enter(self, held: Held[T]) -> Iterator[None]:
        limits = self.limits
        if self.count >= limits.requests or self._bytes + held.size > limits.body_bytes:
            raise self._not_yet(held.nobody, f"no more may be held: {self.count} wait already")
        self.count += 1
        self._bytes += held.size
        try:
            yield
        finally:
            self.count -= 1
            self._bytes -= held.size

    def _check(self, nobody: NobodyError, until: float) -> None:
        if self._closed:
            raise self._not_yet(nobody, "this gateway is about to end")
        if isinstance(self._asking.find_failure(nobody.service), RefusedError):
            raise self._not_yet(nobody, "the request is not held for that")
        if time.monotonic() >= until:
            raise self._not_yet(nobody, f"the request waited {self.limits.seconds:g} s for it")

    def _not_yet(self, nobody: NobodyError, why: str) -> UnavailableError:
        state = "It cannot be woken" if self._is_untold(nobody) else "It is being woken"
        told = f"model {nobody.service.full_name} does not answer yet: {self._find_awaited(nobody)}. {state}, and {why}"
        return UnavailableError(Reason.MODEL_NOT_READY, f"{told}; ask again shortly")

    def _find_awaited(self, nobody: NobodyError) -> str:
        if self._is_untold(nobody):
            return _UNTOLD
        rest = nobody.service.rest
        return rest.awaits if rest is not None else nobody.message

    def _is_untold(self, nobody: NobodyError) -> bool:
        """Tell whether nothing will come of waiting by now: it sleeps, and nobody could be told to wake it."""
        failure, rest = self._asking.find_failure(nobody.service), nobody.service.rest
        return isinstance(failure, RefusedError) or (failure is not None and rest is not None and rest.sleeps)
