"""The benchmark of node trust, with a few nodes: it measures what it says, and fails where a node is not attested."""

import pytest

from bench.harness import WrongAnswerError
from bench.trust import benchmarks
from bench.trust.fleet import attest_all, make_node


@pytest.mark.slow
def test_a_small_fleet_is_attested_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmarks, "NODES", 20)
    with benchmarks.open_fleet() as subject:
        assert subject.count() > 0
        assert subject.notes is not None
        assert "20 nodes in" in subject.notes()


@pytest.mark.slow
def test_a_node_with_another_key_makes_it_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmarks, "NODES", 2)
    with benchmarks.open_fleet() as subject:
        monkeypatch.setattr(benchmarks, "attest_all", lambda nodes, port, ca: _attest_strangers(port, ca))
        with pytest.raises(WrongAnswerError, match="EvidenceUntrusted"):
            subject.count()


async def _attest_strangers(port: int, ca: str) -> None:
    await attest_all([make_node(0)], port, ca)
