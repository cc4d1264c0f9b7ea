"""Write conditions of pods beside the requests: nobody waits for them, and they cannot pile up."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

from sekisho.broker.cluster import Cluster
from sekisho.errors import SekishoError
from sekisho.kube.conditions import PodCondition
from sekisho.kube.pods import PodFacts

_LOG: Final = logging.getLogger(__name__)
_MOST: Final = 512


class Announcer:
    """Writes in the background.

    Args:
        lost: Called for each write that was given up; for metrics.
    """

    def __init__(self, cluster: Cluster, *, lost: Callable[[], None] = lambda: None) -> None:
        self._cluster, self._lost = cluster, lost
        self._running: set[asyncio.Task[None]] = set()

    def announce(self, pod: PodFacts, conditions: Sequence[PodCondition]) -> None:
        """Write conditions soon; where too many wait, these are given up: the next renewal tells them again."""
        if not conditions:
            return
        if len(self._running) >= _MOST:
            self._lost()
            _LOG.warning("a condition was given up", extra={"namespace": pod.namespace, "pod": pod.name})
            return
        task = asyncio.create_task(self._write(pod, conditions))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def settle(self) -> None:
        """Wait until all is written or given up."""
        while self._running:
            await asyncio.wait(set(self._running))

    async def _write(self, pod: PodFacts, conditions: Sequence[PodCondition]) -> None:
        try:
            await self._cluster.write_conditions(pod, conditions)
        except SekishoError as error:
            self._lost()
            facts = {"namespace": pod.namespace, "pod": pod.name, "reason": error.reason, "detail": error.message}
            _LOG.warning("a condition could not be written", extra=facts)
