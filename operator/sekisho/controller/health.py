"""Whether the controller does its work: watches that speak, workers that end, a lease that is held."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sekisho.controller.cluster import Cluster
from sekisho.controller.queue import KeyQueue
from sekisho.controller.resync import Resync
from sekisho.controller.routes import Key
from sekisho.kube.probes import Answer


@dataclass(frozen=True, slots=True)
class HealthLimits:
    """From when on something counts as broken."""

    stuck_seconds: float
    lease_seconds: float
    sync_seconds: float = 300.0


@dataclass(slots=True)
class Health:
    """Answers for one process.

    Attributes:
        lease_age: Seconds since the lease was renewed; None where no election takes place.
        leading: Whether this process does the work; a standby is healthy by answering.
    """

    cluster: Cluster
    queue: KeyQueue[Key]
    resync: Resync
    limits: HealthLimits
    lease_age: Callable[[], float] | None = None
    leading: bool = False
    began_at: float = 0.0

    def problems(self) -> list[str]:
        """Say what is broken; empty where nothing is."""
        if not self.leading:
            return []
        now, found = time.monotonic(), []
        for resource, deaf in self.resync.deaf.items():
            found.append(f"the watch of {resource.full_name} has been deaf for {now - deaf.since:.0f} s")
        if (busy := self.queue.longest_busy_seconds()) > self.limits.stuck_seconds:
            found.append(f"a worker has been busy for {busy:.0f} s, {self.limits.stuck_seconds:.0f} s allowed")
        if (oldest := self.queue.oldest_seconds()) > self.limits.stuck_seconds:
            found.append(f"an object has waited for {oldest:.0f} s, {self.limits.stuck_seconds:.0f} s allowed")
        if self.lease_age is not None and (age := self.lease_age()) > self.limits.lease_seconds:
            found.append(f"the lease was not renewed for {age:.0f} s, {self.limits.lease_seconds:.0f} s allowed")
        if not self.resync.synced.is_set() and now - self.began_at > self.limits.sync_seconds:
            found.append(f"not everything was seen within {self.limits.sync_seconds:.0f} s")
        return found

    def live(self) -> Answer:
        """Answer /healthz."""
        return not self.problems(), self.describe()

    def ready(self) -> Answer:
        """Answer /readyz."""
        return self.is_ready(), self.describe()

    def is_ready(self) -> bool:
        """Tell whether it works or stands by."""
        return not self.leading or (self.resync.synced.is_set() and not self.problems())

    def describe(self) -> dict[str, Any]:
        """Return the facts behind the answer."""
        now = time.monotonic()
        return {
            "problems": self.problems(),
            "leading": self.leading,
            "synced": self.resync.synced.is_set(),
            "queueDepth": len(self.queue),
            "queueDelayed": self.queue.delayed,
            "queueBusy": self.queue.busy,
            "queueOldestSeconds": round(self.queue.oldest_seconds(), 1),
            "listAgeSeconds": round(now - self.resync.listed_at, 1),
            "watches": {
                resource.full_name: {"ageSeconds": round(now - store.shown_at, 1), "objects": len(store)}
                for resource, store in self.cluster.stores.items()
            },
        }
