"""Dictionaries of AccessPolicies: what cannot be read or is too much shuts the models, and nothing else."""

from typing import Any

import pytest

from sekisho.access.decide import find_dictionaries
from sekisho.access.dictionaries import MOST, Dictionary
from sekisho.access.policies import Policy, read_policy
from sekisho.errors import Reason, UnavailableError

WORDS = {"words": ["北辰計画"], "patterns": ["MB-[0-9]{6}"]}


def build(name: str = "team", namespace: str = "legal", **spec: Any) -> Policy:
    whole = {"subjects": [{"user": "group:legal"}], "models": [f"{namespace}/*"], **spec}
    raw = {"metadata": {"namespace": namespace, "name": name}, "spec": whole}
    return read_policy(raw, system_namespace="sekisho-system")


def refuse(*policies: Policy) -> str:
    with pytest.raises(UnavailableError) as refused:
        find_dictionaries(policies, "legal/chat")
    assert refused.value.reason is Reason.POLICY_INVALID
    return refused.value.message


def test_a_dictionary_that_cannot_be_read_shuts_the_models_of_its_policy() -> None:
    broken = build(dictionary={"words": ["x"]})
    assert refuse(broken, build("other")) == (
        "the dictionary of AccessPolicy legal/team cannot be read, so legal/chat answers nobody; its status says why"
    )
    assert find_dictionaries([broken], "sales/chat") == ()


def test_more_dictionaries_than_a_model_may_have_shut_it() -> None:
    policies = [build(f"team-{number}", dictionary=WORDS) for number in range(MOST + 1)]
    assert len(find_dictionaries(policies[1:], "legal/chat")) == MOST
    assert refuse(*policies) == ("5 AccessPolicies with a dictionary name legal/chat, 4 may; put their words together")


@pytest.mark.parametrize("state", [{}, {"suspended": True}, {"expiresAt": "2020-01-01T00:00:00Z"}, {"colour": "red"}])
def test_a_dictionary_counts_whether_its_policy_lets_anybody_in_or_not(state: dict[str, Any]) -> None:
    (found,) = find_dictionaries([build(dictionary=WORDS, **state)], "legal/chat")
    assert found == Dictionary("legal/team", ("北辰計画",), ("MB-[0-9]{6}",))


def test_what_one_namespace_wants_found_is_not_looked_for_in_anothers_requests() -> None:
    legal, sales = build(dictionary=WORDS), build(namespace="sales", dictionary={"words": ["Polaris"]})
    assert [item.policy for item in find_dictionaries([sales, legal], "legal/chat")] == ["legal/team"]
    reaching = build(dictionary=WORDS, models=["legal/*", "sales/*"])
    assert find_dictionaries([reaching], "sales/chat") == ()


def test_policies_of_the_installation_may_add_words_for_all() -> None:
    every = build("all", "sekisho-system", models=["*/*"], dictionary=WORDS)
    found = find_dictionaries([every, build(dictionary={"patterns": ["X[0-9]"]})], "legal/chat")
    assert [item.policy for item in found] == ["legal/team", "sekisho-system/all"]


@pytest.mark.parametrize("spec", [{}, {"dictionary": {}}, {"dictionary": None}, {"colour": "red"}])
def test_no_dictionary_is_none(spec: dict[str, Any]) -> None:
    assert find_dictionaries([build(**spec)], "legal/chat") == ()
