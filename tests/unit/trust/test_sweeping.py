"""What ends is taken back, what is owed is paid, what is good stays."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from sekisho.errors import Reason, UnavailableError
from sekisho.trust.nodes import TrustedNode
from sekisho.trust.sweeping import Sweeper

NOW = 1_796_000_000.0


@dataclass
class Cluster:
    """Nodes in memory; writes can fail."""

    nodes: list[TrustedNode]
    written: list[tuple[str, str]] = field(default_factory=list)
    down: bool = False

    def find(self, name: str) -> TrustedNode | None:
        return next((node for node in self.nodes if node.name == name), None)

    def all(self) -> tuple[TrustedNode, ...]:
        return tuple(self.nodes)

    async def write(self, node: TrustedNode, patch: Mapping[str, Any]) -> None:
        if self.down:
            raise UnavailableError(Reason.API_UNAVAILABLE, "the API server did not answer in time")
        told = next(value for key, value in patch["annotations"].items() if key.endswith("refusal"))
        self.written.append((node.name, told))


def sweeper_of(*nodes: TrustedNode) -> tuple[Sweeper, Cluster, list[Reason]]:
    cluster, seen = Cluster(list(nodes)), list[Reason]()
    return Sweeper(cluster, clock=lambda: NOW, withdrawn=seen.append), cluster, seen


@pytest.mark.parametrize(
    ("expires_at", "attested", "told"),
    [
        (NOW + 0.1, ("tpm",), None),
        (NOW - 7, (), None),
        (NOW, ("tpm",), "EvidenceStale: the last attestation ended 0 s ago"),
        (NOW - 7, ("tpm",), "EvidenceStale: the last attestation ended 7 s ago"),
        (0.0, ("tpm",), "EvidenceStale: the last attestation ended at a time that cannot be read"),
    ],
)
async def test_labels_are_withdrawn_at_their_end_and_not_before(
    expires_at: float, attested: tuple[str, ...], told: str | None
) -> None:
    sweeper, cluster, seen = sweeper_of(TrustedNode("n1", "u", attested=attested, expires_at=expires_at))
    assert await sweeper.sweep() == (told is not None)
    assert [text.startswith(told or "") for _, text in cluster.written] == [True] * (told is not None)
    assert seen == [Reason.EVIDENCE_STALE] * (told is not None)


async def test_a_withdrawal_that_failed_is_owed_until_it_is_written_or_the_node_proves_itself() -> None:
    node = TrustedNode("n1", "u", attested=("tpm",), expires_at=NOW + 1000)
    sweeper, cluster, seen = sweeper_of(node)
    cluster.down = True
    assert await sweeper.withdraw(node, Reason.CHIP_UNKNOWN, "another chip") is False
    assert await sweeper.sweep() == 0
    cluster.down = False
    assert await sweeper.sweep() == 1
    assert cluster.written == [("n1", "ChipUnknown: another chip")]
    assert seen == [Reason.CHIP_UNKNOWN]
    assert await sweeper.sweep() == 0
    cluster.down = True
    await sweeper.withdraw(node, Reason.CHIP_UNKNOWN, "another chip")
    sweeper.forgive(node)
    cluster.down = False
    assert await sweeper.sweep() == 0


async def test_what_an_earlier_node_owed_its_namesake_does_not() -> None:
    node = TrustedNode("n1", "old", attested=("tpm",), expires_at=NOW + 1000)
    sweeper, cluster, _ = sweeper_of(node)
    cluster.down = True
    await sweeper.withdraw(node, Reason.CHIP_UNKNOWN, "another chip")
    cluster.down, cluster.nodes = False, [TrustedNode("n1", "new", attested=("tpm",), expires_at=NOW + 1000)]
    assert await sweeper.sweep() == 0


async def test_many_nodes_are_swept_at_once() -> None:
    nodes = [TrustedNode(f"n{n}", "u", attested=("tpm",), expires_at=NOW - 1) for n in range(500)]
    sweeper, cluster, _ = sweeper_of(*nodes)
    assert await sweeper.sweep() == 500
    assert len(cluster.written) == 500
