"""What the record holds of a decision is enough to decide again, offline, and comes to the same."""

import json
from dataclasses import replace

import pytest

from sekisho.broker.decide import decide_release
from sekisho.broker.describing import describe_facts
from sekisho.broker.replay import encode_facts, parse_facts
from sekisho.errors import RefusedError
from tests.unit.broker.parts import Agent, World
from tests.unit.broker.release_cases import build_evidence, build_facts, build_rules


async def test_a_release_is_recorded_with_facts_that_come_to_the_same_again() -> None:
    world = World()
    broker, agent = world.build_broker(), Agent(world)
    await agent.get(broker)
    await broker.settle()
    entry = json.loads(json.dumps(world.book.entries[0]))
    decision = decide_release(parse_facts(entry["facts"]))
    assert (decision.owner, decision.policy_digest, decision.lease_seconds) == (
        entry["owner"], entry["policyDigest"], entry["leaseSeconds"],
    )  # fmt: skip


async def test_a_refusal_is_recorded_with_facts_that_are_refused_again() -> None:
    world = World()
    world.machine.debug = True
    broker, agent = world.build_broker(), Agent(world)
    with pytest.raises(RefusedError):
        await agent.get(broker)
    entry = world.book.entries[0]
    with pytest.raises(RefusedError) as refused:
        decide_release(parse_facts(entry["facts"]))
    assert (refused.value.reason, refused.value.message) == (entry["reason"], entry["detail"])


def test_facts_that_are_too_large_for_a_line_are_told_by_their_size() -> None:
    chips = [f"{number:0128x}" for number in range(400)]
    facts = build_facts(rules=build_rules(evidence={"genoa": build_evidence(chips=chips)}))
    told = describe_facts(facts)
    assert set(told) == {"factsBytes"}
    assert told["factsBytes"] > 48 * 1024
    few = replace(facts, rules=build_rules())
    assert json.loads(describe_facts(few)["facts"].text) == encode_facts(few)
