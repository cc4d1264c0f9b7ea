"""Key services behind the broker: the one place in the cluster from which a data key is unwrapped."""

import asyncio
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

from sekisho.broker.threads import Threads
from sekisho.errors import Reason, RefusedError, UnavailableError
from sekisho.kernel import read_boot_seconds
from sekisho.kms import failures, unsafe_development
from sekisho.kms.choose import KINDS, open_key_service, parse_key_address, read_key_settings
from sekisho.kms.service import KeyService, KeyState
from sekisho.seal.keys import KeyContext, WrappedKey

T = TypeVar("T")
Opener = Callable[[str, str, int], KeyService]
"""From kms, key id and minimum version to the key service that has the key."""
_MOST_SERVICES: Final = 64
_MOST_STATES: Final = 1024
_MOST_WAITING: Final = 256
_THREADS: Final = 16
_STATE_SECONDS: Final = 10.0
_NONE: Final = "none"
"""What is called a key service and is none of the kinds; it is refused where it would be opened."""


class ConfiguredServices:
    """Open key services by the settings of this process, each once. Safe in several threads.

    Args:
        environment: What `docs/reference/keys.md` lists.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._lock = threading.Lock()
        self._making: dict[str, threading.Lock] = {}
        self._open: OrderedDict[object, KeyService] = OrderedDict()

    def open(self, kms: str, key_id: str, minimum_version: int = 1) -> KeyService:
        """Return the service that has a key; nobody is asked yet.

        Raises:
            RefusedError: KeyUnsafe for development keys; KeyNotFound where the service is not set up here.
        """
        if kms == unsafe_development.KMS:
            raise failures.unsafe(kms, key_id, "the broker opens keys of real key services alone")
        address = parse_key_address(f"{kms}:{key_id}")
        settings = read_key_settings(address, self._environment, minimum_version=minimum_version)
        with self._lock:
            making = self._making.setdefault(kms, threading.Lock())
        with making:  # a client may ask somebody for its credentials first; that is no matter of other kinds
            with self._lock:
                found = self._open.get(settings)
            return found or self._keep(settings, open_key_service(settings))

    def _keep(self, settings: object, service: KeyService) -> KeyService:
        with self._lock:
            self._open[settings] = service
            while len(self._open) > _MOST_SERVICES:
                self._open.popitem(last=False)
        return service


@dataclass(frozen=True, slots=True)
class KeyLimits:
    """Bounds of what is asked of key services.

    Attributes:
        seconds: How long one answer may take; the service's own limit holds as well.
        threads: How many ask a kind of key service at once.
        waiting: How many may wait for a kind.
    """

    seconds: float = 6.0
    threads: int = _THREADS
    waiting: int = _MOST_WAITING


class Keys:
    """Ask key services without blocking anybody else. Which keys may be opened is decided before.

    Each kind of key service has threads of its own: one that hangs, as a token's library may for ever, holds up no
    other.

    Args:
        opener: Finds the service of a key; raises where there is none.
    """

    def __init__(
        self, opener: Opener, *, limits: KeyLimits | None = None, clock: Callable[[], float] = read_boot_seconds
    ) -> None:
        self._opener, self._clock = opener, clock
        self._limits = limits or KeyLimits()
        self._threads = {kind: Threads(self._limits.threads, name=f"keys-{kind}") for kind in (*KINDS, _NONE)}
        self._waiting: Counter[str] = Counter()
        self._states: OrderedDict[tuple[str, str, int], tuple[float, KeyState]] = OrderedDict()

    def close(self) -> None:
        """End the threads; a call that runs is left to its own time limit."""
        for threads in self._threads.values():
            threads.close()

    async def unwrap(self, wrapped: WrappedKey, *, context: KeyContext, minimum_version: int) -> bytes:
        """Return the data key, 32 secret bytes.

        Raises:
            RefusedError: The key service refuses.
            UnavailableError: KmsUnavailable; it gave no answer in time. Overloaded: too many wait for one.
        """
        kms, key_id = wrapped.kms, wrapped.key_id
        return await self._ask(kms, lambda: self._opener(kms, key_id, minimum_version).unwrap(wrapped, context=context))

    async def check(self, wrapped: WrappedKey, *, minimum_version: int) -> None:
        """Check that a key could still be opened, without opening it; what is known stays known for ten seconds.

        Raises:
            RefusedError: The key is gone, disabled, or its version is not used any more.
            UnavailableError: The key service does not tell: not now, or not to us.
        """
        state = await self._describe(wrapped, minimum_version)
        if not state.enabled:
            raise failures.disabled(wrapped.kms, wrapped.key_id, state.detail)
        said = wrapped.key_version
        if not (said.isascii() and said.isdigit()):
            return
        version = int(said[:18])
        if version < state.minimum_version:
            text = f"version {version} wrapped it, {state.minimum_version} is the minimum"
            raise failures.version_revoked(wrapped.kms, wrapped.key_id, text)
        if state.usable is not None and version not in state.usable:
            text = f"version {version} wrapped it, which is disabled or destroyed"
            raise failures.version_revoked(wrapped.kms, wrapped.key_id, text)

    async def _describe(self, wrapped: WrappedKey, minimum_version: int) -> KeyState:
        key = (wrapped.kms, wrapped.key_id, minimum_version)
        known = self._states.get(key)
        if known is not None and self._clock() - known[0] <= _STATE_SECONDS:
            return known[1]
        asked_at, kms, key_id = self._clock(), wrapped.kms, wrapped.key_id
        try:
            state = await self._ask(kms, lambda: self._opener(kms, key_id, minimum_version).describe(key_id))
        except RefusedError as error:
            if error.reason is not Reason.KEY_DENIED:
                raise
            # Our rights say nothing about the pod: it keeps its lease while somebody mends them.
            raise UnavailableError(Reason.KMS_UNAVAILABLE, error.message) from error
        self._states[key] = (asked_at, state)
        self._states.move_to_end(key)
        while len(self._states) > _MOST_STATES:
            self._states.popitem(last=False)
        return state

    async def _ask(self, kms: str, work: Callable[[], T]) -> T:
        kind = kms if kms in KINDS else _NONE
        if self._waiting[kind] >= self._limits.waiting:
            raise UnavailableError(Reason.OVERLOADED, f"{self._waiting[kind]} requests wait for key services of {kind}")
        self._waiting[kind] += 1
        try:
            async with asyncio.timeout(self._limits.seconds):
                return await self._threads[kind].run(lambda: failures.guarded(kms, work))
        except TimeoutError:
            text = f"none came within {self._limits.seconds:g} s"
            raise failures.unavailable(kms, text) from None
        except RuntimeError as error:  # no thread can be had, or they end with the process
            raise UnavailableError(Reason.OVERLOADED, f"key services of {kind} cannot be asked: {error}") from error
        finally:
            self._waiting[kind] -= 1
