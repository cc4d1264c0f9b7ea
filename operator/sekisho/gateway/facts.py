"""What the gateway knows of the cluster: lists and watches, and how old that knowledge is.

A watch is short and opened again and again: each opening, event and orderly end proves that the API server was heard.
Knowledge that was not confirmed for too long is not used.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from sekisho.api.names import DEFAULT_POLICY_NAME
from sekisho.errors import Reason, SekishoError, UnavailableError
from sekisho.gateway.decide import Law, ServiceFacts, read_law, read_service
from sekisho.kube.client import KubeClient
from sekisho.kube.resources import INFERENCE_SERVICES, POLICIES, RUNTIMES, Resource
from sekisho.render.digest import digest_of

Raw = Mapping[str, Any]
T = TypeVar("T")
_log = logging.getLogger(__name__)
_MAX_PAUSE_SECONDS: Final = 5.0
_MIN_WATCH_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class Freshness:
    """How facts are kept fresh.

    Attributes:
        watch_seconds: Length of one watch.
        relist_seconds: After how long everything is listed anew.
        max_age_seconds: Oldest knowledge that is used.
    """

    watch_seconds: int = 10
    relist_seconds: float = 300.0
    max_age_seconds: float = 30.0


class Reflector(Generic[T]):
    """Holds what is kept of every object of one kind."""

    def __init__(self, client: KubeClient, resource: Resource, keep: Callable[[Raw], T], *, times: Freshness) -> None:
        self._client = client
        self._keep = keep
        self._times = times
        self.resource = resource
        self.objects: dict[tuple[str, str], T] = {}
        self.heard_at = float("-inf")

    async def run(self) -> None:
        """List and watch until cancelled; a failure is told and tried again."""
        pause = 0.1
        while True:
            try:
                await self._follow()
                pause = 0.1
            except SekishoError as error:
                _log.warning("a watch is tried again", extra={"kind": self.resource.kind, "reason": error.reason.value})
                await asyncio.sleep(pause * random.uniform(0.7, 1.0))  # noqa: S311 - jitter, no secret
                pause = min(pause * 2, _MAX_PAUSE_SECONDS)

    async def _follow(self) -> None:
        items, version = await self._client.list_at(self.resource)
        self.objects = {_key(item): self._keep(item) for item in items}
        self._hear()
        listed_at = time.monotonic()
        while time.monotonic() - listed_at < self._times.relist_seconds:
            watch = self._client.watch(
                self.resource,
                version,
                seconds=self._times.watch_seconds,
                quiet_seconds=self._times.watch_seconds + 5.0,
                opened=self._hear,
            )
            opened_at = time.monotonic()
            async for event in watch:
                version = self._take(event) or version
                self._hear()
            self._hear()
            if time.monotonic() - opened_at < _MIN_WATCH_SECONDS:
                await asyncio.sleep(_MIN_WATCH_SECONDS)  # a server that ends every watch at once is not asked hotly

    def _take(self, event: Raw) -> str:
        item = event.get("object") or {}
        if event.get("type") == "DELETED":
            self.objects.pop(_key(item), None)
        elif event.get("type") in {"ADDED", "MODIFIED"}:
            self.objects[_key(item)] = self._keep(item)
        return str((item.get("metadata") or {}).get("resourceVersion") or "")

    def _hear(self) -> None:
        self.heard_at = time.monotonic()


def _key(item: Raw) -> tuple[str, str]:
    meta = item.get("metadata") or {}
    return str(meta.get("namespace", "")), str(meta.get("name", ""))


def _keep_policy(raw: Raw) -> Law | UnavailableError:
    try:
        spec = raw.get("spec") or {}
        return read_law(spec, digest_of(spec))
    except UnavailableError as error:
        return error


def _keep_port(raw: Raw) -> int:
    return int((raw.get("spec") or {}).get("port") or 8080)


class Facts:
    """Services, the law and ports, as of now; refuses to answer where it does not know how things are now."""

    def __init__(self, client: KubeClient, times: Freshness) -> None:
        self._times = times
        self._services = Reflector(client, INFERENCE_SERVICES, read_service, times=times)
        self._policies = Reflector(client, POLICIES, _keep_policy, times=times)
        self._runtimes = Reflector(client, RUNTIMES, _keep_port, times=times)

    async def run(self) -> None:
        """Keep everything fresh until cancelled."""
        async with asyncio.TaskGroup() as group:
            for reflector in (self._services, self._policies, self._runtimes):
                group.create_task(reflector.run())

    def age_seconds(self) -> float:
        """Return the age of the oldest knowledge."""
        heard = (self._services.heard_at, self._policies.heard_at, self._runtimes.heard_at)
        return time.monotonic() - min(heard)

    def check_fresh(self) -> None:
        """Refuse to go on where knowledge is too old.

        Raises:
            UnavailableError: ApiUnavailable.
        """
        age, most = self.age_seconds(), self._times.max_age_seconds
        if age > most:
            known = "nothing is known of the cluster yet" if age == float("inf") else f"is {age:.0f} s old"
            raise UnavailableError(
                Reason.API_UNAVAILABLE,
                f"what the gateway knows of the cluster {known}, {most:.0f} s allowed: the API server is not heard"
                if age != float("inf")
                else known,
            )

    @property
    def law(self) -> Law:
        """The policy in force.

        Raises:
            UnavailableError: There is none, or it cannot be read.
        """
        self.check_fresh()
        law = self._policies.objects.get(("", DEFAULT_POLICY_NAME))
        if law is None:
            raise UnavailableError(
                Reason.POLICY_MISSING,
                f'there is no ClassificationPolicy "{DEFAULT_POLICY_NAME}"; without one nothing is relayed',
            )
        if isinstance(law, UnavailableError):
            raise UnavailableError(law.reason, law.message)
        return law

    @property
    def ports(self) -> Mapping[str, int]:
        """Port of each Runtime."""
        return {name: port for (_, name), port in self._runtimes.objects.items()}

    def find(self, namespace: str, name: str) -> ServiceFacts | None:
        """Return a service; None where there is none."""
        self.check_fresh()
        return self._services.objects.get((namespace, name))

    def services(self) -> Iterator[ServiceFacts]:
        """Yield every service, sorted by namespace and name."""
        self.check_fresh()
        yield from (service for _, service in sorted(self._services.objects.items()))
