"""Take back what has grown stale or was found bad; what cannot be written now is owed, and written later."""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
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
        withdrawn: Told the reason of every withdrawal; for metrics.
    """

    nodes: Nodes
    leads: Callable[[], bool] = lambda: True
    clock: Callable[[], float] = time.time
    withdrawn: Callable[[Reason], None] = lambda _reason: None
    _owed: dict[str, tuple[str, Reason, str]] = field(default_factory=dict)

    async def run(self) -> None:
        """Sweep until cancelled."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            if self.leads():
                await self.sweep()

    async def sweep(self) -> int:
        """Withdraw what has ended or is owed; returns from how many nodes."""
        now_at = self.clock()
        due = [(node, *why) for node in self.nodes.all() if (why := self._find_due(node, now_at)) is not None]
        slots = asyncio.Semaphore(_AT_ONCE)

        async def withdraw(node: TrustedNode, reason: Reason, message: str) -> bool:
            async with slots:
                return await self.withdraw(node, reason, message)

        return sum(await asyncio.gather(*(withdraw(*each) for each in due)))

    async def withdraw(self, node: TrustedNode, reason: Reason, message: str) -> bool:
        """Take back all that a node has proven; where that cannot be written now, it is tried again by every sweep."""
        told = {"node": node.name, "tees": node.attested, "reason": reason}
        try:
            await self.nodes.write(node, spell_withdrawal(node, reason, message))
        except SekishoError as error:
            self._owed[node.name] = (node.uid, reason, message)
            _LOG.warning("trust is not taken back yet", extra={**told, "detail": error.message})
            return False
        self._owed.pop(node.name, None)
        _LOG.warning("trust is taken back", extra=told)
        self.withdrawn(reason)
        return True

    def forgive(self, node: TrustedNode) -> None:
        """Owe nothing of a node any more: it has proven itself anew."""
        self._owed.pop(node.name, None)

    def _find_due(self, node: TrustedNode, now_at: float) -> tuple[Reason, str] | None:
        owed = self._owed.get(node.name)
        if owed is not None and owed[0] == node.uid:
            return owed[1], owed[2]
        if not node.attested or now_at < node.expires_at:
            return None
        ended = f"{now_at - node.expires_at:.0f} s ago" if node.expires_at else "at a time that cannot be read"
        told = f"the last attestation ended {ended} and was not renewed; see the attester on the node"
        return Reason.EVIDENCE_STALE, told
