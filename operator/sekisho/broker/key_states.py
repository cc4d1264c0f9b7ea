"""Tell each sealed Model what the key service says of its key: `status.key`, written by the broker alone.

The broker has the rights at the key services anyway; depot and controller have none. Each key is asked for once a
round, whoever uses it. Nothing that is asked here opens anything.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from sekisho.api.names import API_VERSION, BROKER_FIELD_MANAGER
from sekisho.api.v1alpha1.model import KeyFacts
from sekisho.broker.threads import Threads
from sekisho.errors import Reason, SekishoError
from sekisho.kms import failures
from sekisho.kms.choose import KINDS
from sekisho.kms.service import KeyService, KeyState
from sekisho.kube.client import KubeClient
from sekisho.kube.failures import ApiConflictError, ApiRefusedError
from sekisho.kube.resources import MODELS
from sekisho.plan.inspection import read_inspection
from sekisho.plan.key_facts import read_key_facts

_LOG: Final = logging.getLogger(__name__)
MAX_KEYS: Final = 500
MAX_MESSAGE: Final = 512
_ROUND_SECONDS: Final = 60.0
_ASK_SECONDS: Final = 20.0
_AT_ONCE: Final = 4
_RENEW_SECONDS: Final = 1800.0
_MOST_NUMBER: Final = 2**53 - 1

Key = tuple[str, str]
Raw = Mapping[str, Any]
OpenService = Callable[[str, str], KeyService]


class Models(Protocol):
    """The Models, and where the state of a key is told."""

    async def list_models(self) -> Sequence[Raw]:
        """List all Models."""
        ...

    async def tell(self, model: Raw, facts: KeyFacts) -> None:
        """Write `status.key` of a Model that still is the same; one that is gone is no matter."""
        ...


@dataclass(frozen=True, slots=True)
class KubeModels:
    """The API server."""

    client: KubeClient

    async def list_models(self) -> Sequence[Raw]:
        """List all Models."""
        return await self.client.list_all(MODELS)

    async def tell(self, model: Raw, facts: KeyFacts) -> None:
        """Apply `status.key` as the broker's own field; the uid keeps a namesake from being written."""
        meta = model["metadata"]
        manifest = {
            "apiVersion": API_VERSION,
            "kind": MODELS.kind,
            "metadata": {name: meta[name] for name in ("namespace", "name", "uid")},
            "status": {"key": facts.model_dump(by_alias=True, exclude_none=True, mode="json")},
        }
        try:
            await self.client.apply(manifest, subresource="status", manager=BROKER_FIELD_MANAGER)
        except ApiConflictError:
            return
        except ApiRefusedError as error:
            if error.status != 404:
                raise


@dataclass(slots=True)
class KeyStates:
    """Asks, compares and tells.

    Attributes:
        open_service: Returns the key service of a kind that has a key; raises where none is configured.
        now: Aware UTC.
    """

    models: Models
    open_service: OpenService
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    _slots: dict[str, asyncio.Semaphore] = field(
        default_factory=lambda: {kind: asyncio.Semaphore(_AT_ONCE) for kind in KINDS}
    )
    # Of their own, and of each kind's: a client that hangs for ever keeps its thread for ever.
    _threads: dict[str, Threads] = field(
        default_factory=lambda: {kind: Threads(_AT_ONCE, name=f"key-states-{kind}") for kind in KINDS}
    )

    def close(self) -> None:
        """End the threads; one that hangs is left to itself."""
        for threads in self._threads.values():
            threads.close()

    async def run(self) -> None:
        """Look again and again until cancelled; what fails is tried in the next round."""
        try:
            while True:
                try:
                    await self.look()
                except SekishoError as error:
                    extra = {"reason": error.reason, "detail": error.message}
                    _LOG.warning("states of keys cannot be told", extra=extra)
                await asyncio.sleep(_ROUND_SECONDS * random.uniform(0.8, 1.2))  # noqa: S311 - only spreads load
        finally:
            self.close()

    async def look(self) -> int:
        """Ask for every key once, and tell every Model whose status says something else; return how many were told.

        Raises:
            SekishoError: The API server did not answer, or refuses.
        """
        users = [(model, key) for model in await self.models.list_models() if (key := read_key(model)) is not None]
        keys = sorted({key for _, key in users})
        if len(keys) > MAX_KEYS:
            _LOG.warning("there are more keys than are asked for in a round", extra={"keys": len(keys)})
            keys = random.sample(keys, MAX_KEYS)
        found = dict(zip(keys, await asyncio.gather(*(self._ask(key) for key in keys)), strict=True))
        told = 0
        for model, key in users:
            facts = found.get(key)
            if facts is not None and self._is_news(model, facts):
                await self.models.tell(model, facts)
                told += 1
        return told

    async def _ask(self, key: Key) -> KeyFacts:
        kms, key_id = key
        at = self.now().strftime("%Y-%m-%dT%H:%M:%SZ")
        try:
            async with self._slots[kms], asyncio.timeout(_ASK_SECONDS):
                state = await self._threads[kms].run(lambda: failures.guarded(kms, lambda: self._describe(kms, key_id)))
            return spell_state(state, key, at=at)
        except SekishoError as error:
            message = f"{error.reason}: {error.message}"
        except TimeoutError:
            message = f"no answer within {_ASK_SECONDS:.0f} s"
        except RuntimeError as error:  # no thread can be had now
            message = f"{Reason.INTERNAL_ERROR}: {error}"
        except KeyError:
            message = f"{Reason.KEY_NOT_FOUND}: there is no kind of key service {kms[:32]!r}"
        return KeyFacts(kms=kms, key_id=key_id, state="Unknown", message=message[:MAX_MESSAGE], checked_at=at)

    def _describe(self, kms: str, key_id: str) -> KeyState:
        return self.open_service(kms, key_id).describe(key_id)

    def _is_news(self, model: Raw, facts: KeyFacts) -> bool:
        """Tell whether a status says something else, or says the same since so long that it looks forgotten."""
        old = read_key_facts(model.get("status") or {})
        if old is None or old.model_copy(update={"checked_at": facts.checked_at}) != facts:
            return True
        age = (self.now() - datetime.fromisoformat(str(old.checked_at))).total_seconds()
        return not 0 <= age <= _RENEW_SECONDS


def read_key(model: Raw) -> Key | None:
    """Return which key a Model's verified weights were wrapped with; None where nothing sealed was verified."""
    found = read_inspection(model.get("status") or {})
    if found is None or not found.sealed or found.refusal is not None or "deletionTimestamp" in model["metadata"]:
        return None
    return (found.kms, found.key_id) if found.kms is not None and found.key_id is not None else None


def spell_state(state: KeyState, key: Key, *, at: str) -> KeyFacts:
    """Put what a key service says into words of the API."""
    enabled = state.enabled and not state.deleting
    return KeyFacts(
        kms=key[0],
        key_id=key[1],
        state="PendingDeletion" if state.deleting else "Enabled" if enabled else "Disabled",
        version=_bound(state.latest_version),
        min_version=_bound(state.minimum_version),
        message="" if enabled else state.detail[:MAX_MESSAGE],
        checked_at=at,
    )


def _bound(number: int) -> int:
    return max(0, min(number, _MOST_NUMBER))


def follow_key_states(client: KubeClient, open_service: OpenService) -> Coroutine[Any, Any, None]:
    """Return the job of a broker: it never ends by itself."""
    return KeyStates(KubeModels(client), open_service).run()
