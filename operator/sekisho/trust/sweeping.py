"""Take back what has grown stale: a label whose end has come says nothing any more, whoever failed to renew it."""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sekisho.errors import Reason, SekishoError
from sekisho.trust.nodes import Nodes, TrustedNode, spell_withdrawal

_LOG: Final = logging.getLogger(__name__)
SWEEP_SECONDS: Final = 5.0
_AT_ONCE: Final = 32


@dataclass(slots=True)
class Sweeper:
    """Looks at all nodes every few seconds.

    Attributes:
        leads: Whether this process may write.
        withdrawn: Told of every withdrawal; for metrics.
    """

    nodes: Nodes
    leads: Callable[[], bool] = lambda: True
    clock: Callable[[], float] = time.time
    withdrawn: Callable[[Reason], None] = lambda _reason: None

    async def run(self) -> None:
        """Sweep until cancelled."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            if self.leads():
                await self.sweep()

    async def sweep(self) -> int:
        """Withdraw what has ended; returns from how many nodes. What cannot be written is tried again next time."""
        now_at = self.clock()
        stale = [node for node in self.nodes.all() if node.attested and now_at >= node.expires_at]
        slots = asyncio.Semaphore(_AT_ONCE)

        async def withdraw(node: TrustedNode) -> bool:
            async with slots:
                return await self._withdraw(node, now_at)

        return sum(await asyncio.gather(*(withdraw(node) for node in stale)))

    async def _withdraw(self, node: TrustedNode, now_at: float) -> bool:
        ended = (
            f"{max(0.0, now_at - node.expires_at):.0f} s ago" if node.expires_at else "at a time that cannot be read"
        )
        message = f"the last attestation ended {ended} and was not renewed; see the attester on the node"
        try:
            await self.nodes.write(node, spell_withdrawal(node, Reason.EVIDENCE_STALE, message))
        except SekishoError as error:
            _LOG.warning("stale trust is not taken back yet", extra={"node": node.name, "detail": error.message})
            return False
        _LOG.warning("stale trust is taken back", extra={"node": node.name, "tees": node.attested})
        self.withdrawn(Reason.EVIDENCE_STALE)
        return True
