"""One leader at a time, by a Lease of our own: who loses it must stop writing at once."""

import asyncio
import logging
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sekisho.errors import Reason, UnavailableError
from sekisho.kernel import read_boot_seconds
from sekisho.kube.client import KubeClient, Object
from sekisho.kube.failures import ApiConflictError
from sekisho.kube.resources import LEASES

_log = logging.getLogger(__name__)


class LeaseLostError(UnavailableError):
    """Say that this process is the leader no more; it must end without another write."""

    def __init__(self, message: str) -> None:
        super().__init__(Reason.API_UNAVAILABLE, message)


@dataclass(frozen=True, slots=True)
class LeaseTimes:
    """How long a lease lasts and how often it is renewed.

    Attributes:
        duration_seconds: Others wait this long after the last renewal they saw.
        deadline_seconds: The leader gives up this long after its last renewal; shorter, so that two never lead.
        retry_seconds: Pause between attempts.
    """

    duration_seconds: float = 15.0
    deadline_seconds: float = 10.0
    retry_seconds: float = 2.0


class LeaderLease:
    """Acquires and holds one Lease.

    Clocks of others are not trusted: a lease counts as abandoned once it was seen unchanged for its duration by the
    clock of this process.

    Args:
        identity: Who this is; must differ between contenders and between starts of the same pod.
    """

    def __init__(
        self, client: KubeClient, *, namespace: str, name: str, identity: str, times: LeaseTimes | None = None
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._times = times or LeaseTimes()
        self._seen: tuple[str, float] = ("", 0.0)
        self._held: Object | None = None
        self._renewed_at = 0.0

    @property
    def age_seconds(self) -> float:
        """How long ago the lease was last renewed by us; infinite where it is not ours.

        A machine that was suspended meanwhile leads no more; that others seem silent after it says nothing of them.
        """
        return read_boot_seconds() - self._renewed_at if self._held is not None else float("inf")

    async def acquire(self) -> None:
        """Wait until the lease is ours."""
        while not await self._attempt():  # noqa: ASYNC110 - nobody tells us when a lease ends
            await asyncio.sleep(self._times.retry_seconds)
        _log.info("this process leads", extra={"lease": self._name, "identity": self._identity})

    async def hold(self) -> None:
        """Renew the lease for as long as it is ours.

        Raises:
            LeaseLostError: Somebody else holds it, or it could not be renewed in time.
        """
        while True:
            await asyncio.sleep(self._times.retry_seconds)
            left = self._times.deadline_seconds - self.age_seconds
            if left <= 0:
                raise LeaseLostError(f"lease {self._name} was not renewed for {self.age_seconds:.0f} s")
            try:
                async with asyncio.timeout(left):
                    await self._renew()
            except TimeoutError:
                continue
            except LeaseLostError:
                self._held = None
                raise
            except UnavailableError as error:
                _log.warning("the lease could not be renewed", extra={"reason": error.reason, "detail": error.message})

    async def release(self) -> None:
        """Give the lease up, so that a successor need not wait; failures do not matter."""
        held, self._held = self._held, None
        if held is None:
            return
        try:
            async with asyncio.timeout(self._times.retry_seconds):
                await self._client.replace(self._render(held, holder=""))
        except (UnavailableError, TimeoutError):
            _log.info("the lease was not given up; it ends by itself")

    async def _attempt(self) -> bool:
        try:
            live = await self._client.get(LEASES, self._name, namespace=self._namespace)
            if live is not None and not self._is_free(live):
                return False
            sent_at = read_boot_seconds()
            manifest = self._render(live, holder=self._identity)
            self._held = await (self._client.replace(manifest) if live else self._client.create(manifest))
            self._renewed_at = sent_at
        except UnavailableError as error:
            _log.info("the lease was not acquired", extra={"reason": error.reason, "detail": error.message})
            return False
        return True

    async def _renew(self) -> None:
        sent_at = read_boot_seconds()
        held = self._held
        if held is None:
            raise LeaseLostError(f"lease {self._name} is not held")
        try:
            self._held = await self._client.replace(self._render(held, holder=self._identity))
        except ApiConflictError:
            # Perhaps our own renewal arrived and its answer was lost.
            live = await self._client.get(LEASES, self._name, namespace=self._namespace)
            holder = (live or {}).get("spec", {}).get("holderIdentity")
            if live is None or holder != self._identity:
                raise LeaseLostError(f"lease {self._name} is held by {holder or 'nobody'}") from None
            self._held = await self._client.replace(self._render(live, holder=self._identity))
        self._renewed_at = sent_at

    def _is_free(self, live: Object) -> bool:
        spec, version = live.get("spec") or {}, str(live["metadata"]["resourceVersion"])
        if not spec.get("holderIdentity") or spec["holderIdentity"] == self._identity:
            return True
        if version != self._seen[0]:
            self._seen = (version, time.monotonic())
        wait = float(spec.get("leaseDurationSeconds") or self._times.duration_seconds)
        return time.monotonic() - self._seen[1] > wait

    def _render(self, live: Object | None, *, holder: str) -> Object:
        now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        before = (live or {}).get("spec") or {}
        is_new = before.get("holderIdentity") != holder
        meta: dict[str, Any] = {"name": self._name, "namespace": self._namespace}
        if live is not None:
            meta["resourceVersion"] = live["metadata"]["resourceVersion"]
        spec = {
            "holderIdentity": holder,
            "leaseDurationSeconds": max(1, round(self._times.duration_seconds)),
            "renewTime": now,
            "acquireTime": now if is_new else before.get("acquireTime", now),
            "leaseTransitions": int(before.get("leaseTransitions") or 0) + (is_new and live is not None),
        }
        return {"apiVersion": LEASES.api_version, "kind": LEASES.kind, "metadata": meta, "spec": spec}
