"""A challenge is for one node, once, for a minute."""

import itertools

import pytest

from sekisho.errors import Reason, RefusedError
from sekisho.trust.challenges import Challenges


class Clock:
    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def challenges(clock: Clock) -> Challenges:
    count = itertools.count(1)
    return Challenges(clock, lambda size: next(count).to_bytes(size, "big"))


def refusal(challenges: Challenges, node: str, name: str, uid: str = "u") -> str:
    with pytest.raises(RefusedError) as raised:
        challenges.take(node, uid, name)
    assert raised.value.reason is Reason.CHALLENGE_UNKNOWN
    return raised.value.message


def test_a_challenge_is_answered_once(challenges: Challenges) -> None:
    asked = challenges.issue("n1", "u", "sha256:p")
    assert challenges.take("n1", "u", asked.id) == asked
    assert "it was answered already" in refusal(challenges, "n1", asked.id)


def test_a_challenge_of_another_node_is_refused_and_stays_that_nodes(challenges: Challenges) -> None:
    asked = challenges.issue("n1", "u", "sha256:p")
    assert "node n2 answers a challenge that is not open" in refusal(challenges, "n2", asked.id)
    assert challenges.take("n1", "u", asked.id) == asked


def test_a_guess_costs_the_node_its_challenge(challenges: Challenges) -> None:
    asked = challenges.issue("n1", "u", "sha256:p")
    refusal(challenges, "n1", "0" * 32)
    refusal(challenges, "n1", asked.id)


def test_a_challenge_ends_after_a_minute(challenges: Challenges, clock: Clock) -> None:
    asked = challenges.issue("n1", "u", "sha256:p")
    clock.at += 60.0
    assert challenges.take("n1", "u", asked.id) == asked
    asked = challenges.issue("n1", "u", "sha256:p")
    clock.at += 60.1
    assert "it ended after 60 s" in refusal(challenges, "n1", asked.id)


def test_a_node_that_asks_again_has_the_earlier_one_forgotten(challenges: Challenges) -> None:
    first, second = challenges.issue("n1", "u", "sha256:p"), challenges.issue("n1", "u", "sha256:p")
    assert first.nonce != second.nonce
    refusal(challenges, "n1", first.id)


def test_a_challenge_to_an_earlier_node_of_the_same_name_is_refused(challenges: Challenges) -> None:
    asked = challenges.issue("n1", "old", "sha256:p")
    assert "for an earlier node of that name" in refusal(challenges, "n1", asked.id, uid="new")


def test_open_challenges_are_bounded_and_the_longest_open_goes_first(
    challenges: Challenges, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sekisho.trust.challenges.MAX_OPEN", 2)
    issued = {name: challenges.issue(name, "u", "sha256:p") for name in ("n0", "n1", "n0", "n2")}
    refusal(challenges, "n1", issued["n1"].id)
    for name in ("n0", "n2"):
        assert challenges.take(name, "u", issued[name].id) == issued[name]


def test_a_challenge_has_32_random_bytes_and_a_name_that_cannot_be_guessed(challenges: Challenges) -> None:
    asked = challenges.issue("n1", "u", "sha256:p")
    assert (len(asked.nonce), len(bytes.fromhex(asked.id))) == (32, 16)


def test_evidence_commits_to_node_nonce_and_policy(challenges: Challenges) -> None:
    one, two = challenges.issue("n1", "u", "sha256:p"), challenges.issue("n2", "u", "sha256:p")
    assert one.binding.purpose == "node"
    assert (one.binding.pod, one.binding.uid, one.binding.policy_digest) == ("n1", "u", "sha256:p")
    assert one.binding.digest(32) != two.binding.digest(32)
