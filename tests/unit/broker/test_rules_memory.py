"""What was read once is kept with the very bytes or rules it was read from; what depends on the time never is."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from sekisho.broker.decide import decide_release
from sekisho.broker.releasefacts import ReleaseFacts, ReleaseRules
from sekisho.broker.replay import encode_facts, spell_facts
from sekisho.broker.wire import parse_question
from sekisho.errors import Reason, RefusedError
from tests.unit.attest.claims import NOW
from tests.unit.broker.parts import CANARY, NAMESPACE, Agent, World
from tests.unit.broker.release_cases import build_evidence, build_facts, build_owner, build_rules


def refused(facts: ReleaseFacts, reason: Reason, message: str) -> None:
    with pytest.raises(RefusedError, match=message) as caught:
        decide_release(facts)
    assert caught.value.reason is reason


def test_a_grant_that_released_a_key_refuses_it_under_the_same_rules_after_its_time() -> None:
    until = f"{NOW + timedelta(minutes=5):%FT%TZ}"
    facts = build_facts(rules=build_rules(owners=(build_owner(expiresAt=until),)))
    decide_release(facts)
    late = facts.now + timedelta(minutes=6)
    refused(replace(facts, now=late, challenged_at=late), Reason.GRANT_EXPIRED, "owners/")


def test_evidence_that_was_good_enough_is_refused_once_its_policy_is_another() -> None:
    facts = build_facts()
    decide_release(facts)
    rules = replace(facts.rules, evidence={"genoa": build_evidence(measurements=["22" * 48])})
    refused(build_facts(rules=rules), Reason.MEASUREMENT_UNKNOWN, 'evidence policy "genoa"')


def test_a_class_that_was_read_once_is_read_anew_under_another_law() -> None:
    facts = build_facts()
    decide_release(facts)
    refused(replace(facts, rules=replace(facts.rules, law=None)), Reason.POLICY_MISSING, "no ClassificationPolicy")


def test_rules_that_were_spelt_once_are_spelt_anew_when_they_are_others() -> None:
    facts = build_facts()
    assert json.loads(spell_facts(facts)) == json.loads(spell_facts(facts)) == encode_facts(facts)
    other = replace(facts, rules=replace(facts.rules, tenants=()))
    assert json.loads(spell_facts(other)) == encode_facts(other)
    assert (encode_facts(other)["rules"]["dataGrants"] == [], encode_facts(facts)["rules"]["dataGrants"] == []) == (
        True, False,
    )  # fmt: skip


def test_rules_that_were_spelt_for_one_service_are_not_told_of_another() -> None:
    facts = build_facts()
    spell_facts(facts)
    other = replace(facts, workload=replace(facts.workload, service="another"))
    assert json.loads(spell_facts(other))["rules"]["keyReleasePolicies"] == []


def test_classes_that_were_read_once_are_still_held_against_each_other() -> None:
    facts = build_facts()
    decide_release(facts)
    higher = replace(facts, question=replace(facts.question, data_class="restricted+gdpr"))
    refused(higher, Reason.CLASS_MISMATCH, "is sealed for class restricted")
    lower = replace(facts, workload=replace(facts.workload, service_class="public"))
    refused(lower, Reason.CLASS_MISMATCH, "legal/chat is of class public")
    decide_release(facts)


async def test_canaries_that_were_read_once_are_read_anew_where_the_controller_names_others() -> None:
    world = World()
    broker, agent = world.build_broker(), Agent(world)
    await agent.get(broker)
    config = world.api.objects["configmaps", NAMESPACE, "chat-predictor"]
    config["data"]["agent.json"] = json.dumps({"canaries": [CANARY, {**CANARY, "name": "another"}]})
    with pytest.raises(RefusedError, match="another") as caught:
        await agent.get(broker)
    assert caught.value.reason is Reason.ISOLATION_PROOF_INCOMPLETE
    for text in ("{", "[" * 100_000):
        config["data"]["agent.json"] = text
        with pytest.raises(RefusedError, match=r"no agent\.json that can be read") as caught:
            await agent.get(broker)
        assert caught.value.reason is Reason.INVALID_SPEC


def test_questions_that_differ_in_one_thing_are_different_questions() -> None:
    asked = Agent(World()).build_question()
    first, other = parse_question(asked), parse_question(asked | {"version": asked["version"] + 1})
    assert parse_question(dict(asked)) == first
    assert (other.context.version, other.digest == first.digest) == (first.context.version + 1, False)
    for _ in range(2):
        with pytest.raises(RefusedError, match="version") as caught:
            parse_question(asked | {"version": True})
        assert caught.value.reason is Reason.SEAL_INVALID


def test_what_is_kept_is_bounded() -> None:
    rules, computed = ReleaseRules(None), list[Any]()

    def compute(about: ReleaseRules, number: int) -> int:
        assert about is rules
        computed.append(number)
        return number

    for number in (*range(1025), 1024, 0):
        assert rules.once(compute, number) == number
    assert computed == [*range(1025), 0]
    assert len(rules.memory) == 2
