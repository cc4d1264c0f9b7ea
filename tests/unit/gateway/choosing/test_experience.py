"""What the gateway has seen of replicas: what is under way, which failed, and for how long that counts."""

import pytest

from sekisho.gateway.choosing.experience import STALE_SECONDS, Experience
from sekisho.gateway.choosing.metrics import EngineLoad
from sekisho.gateway.choosing.preferring import Load


def test_what_is_under_way_is_counted_whatever_ends_it() -> None:
    experience = Experience()

    def work() -> None:
        with experience.under_way("a"), experience.under_way("a"):
            assert experience.load("a", 0.0).own == 2
            raise ValueError("broke")

    with pytest.raises(ValueError, match="broke"):
        work()
    assert experience.load("a", 0.0) == Load()
    assert experience.load("never seen", 0.0) == Load()


def test_what_an_engine_says_is_used_until_it_is_stale() -> None:
    experience = Experience()
    experience.said("a", EngineLoad(2.0, 5.0, 0.9), 100.0)
    assert experience.load("a", 100.0 + STALE_SECONDS) == Load(0, 2.0, 5.0, 0.9)
    assert experience.load("a", 100.1 + STALE_SECONDS) == Load()


def test_the_time_to_the_first_byte_is_averaged_with_weight_on_the_newest() -> None:
    experience = Experience()
    experience.answered("a", 1.0)
    experience.answered("a", 2.0)
    assert experience.load("a", 0.0).seconds == pytest.approx(1.2)


def test_one_that_is_not_reached_is_left_alone_at_once_and_longer_each_time() -> None:
    experience, lengths = Experience(), []
    for number in range(8):
        now = 1000.0 * number
        experience.failed("a", now, unreached=True)
        lengths.append(next(s for s in range(1, 100) if not experience.is_shunned("a", now + s)))
    assert lengths == [1, 2, 4, 8, 16, 30, 30, 30]
    assert not experience.is_shunned("b", 0.0)


def test_one_that_was_reached_is_left_alone_after_three_failures_in_a_row() -> None:
    experience = Experience()
    for _ in range(2):
        experience.failed("a", 0.0, unreached=False)
    experience.answered("a", 0.1)
    for _ in range(2):
        experience.failed("a", 0.0, unreached=False)
        assert not experience.is_shunned("a", 0.0)
    experience.failed("a", 0.0, unreached=False)
    assert experience.is_shunned("a", 0.5)
    assert not experience.is_shunned("a", 1.0)


def test_an_answer_makes_one_well_again() -> None:
    experience = Experience()
    for _ in range(4):
        experience.failed("a", 0.0, unreached=True)
    experience.answered("a", 0.1)
    experience.failed("a", 100.0, unreached=True)
    assert not experience.is_shunned("a", 101.0)


def test_replicas_that_are_long_gone_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sekisho.gateway.choosing.experience._MAX_KNOWN", 2)
    experience = Experience()
    for uid in ("a", "b", "a", "c"):
        experience.answered(uid, 1.0)
    assert [experience.load(uid, 0.0).seconds for uid in "abc"] == [1.0, 0.0, 1.0]
