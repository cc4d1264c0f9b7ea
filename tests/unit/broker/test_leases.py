"""Leases: renewed over fresh evidence on any replica, lost with trust, grant or key, and given up."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from sekisho.api import names
from sekisho.broker.telling import tell
from sekisho.errors import Reason, RefusedError, SekishoError, UnavailableError
from sekisho.kms import failures
from tests.unit.broker.parts import Agent, World, refuse
from tests.unit.broker.release_cases import build_evidence, build_owner, build_rules, build_tenant

RENEW = "renew"


async def test_a_lease_is_renewed_on_another_replica_without_the_key_being_opened_again() -> None:
    world = World()
    first, second, agent = world.build_broker(), world.build_broker(), Agent(world)
    await agent.get(first)
    world.clock.seconds = 200
    answer = await agent.get(second, RENEW)
    assert answer["lease"] == {"seconds": 600, "endsAt": "2026-11-29T12:13:20Z"}
    assert set(answer) == {"lease", "policyDigest", "evidenceDigest"}
    assert (world.vault.unwrapped, world.vault.described) == (1, 1)
    assert [(item["kind"], item.get("decision")) for item in world.book.entries if item["kind"] != "release-end"] == [
        ("release", "granted"),
        ("renew", "granted"),
    ]
    assert ["facts" in item for item in world.book.entries] == [True, False]  # a release alone is decided again later


REVOCATIONS: dict[str, tuple[Callable[[World], object], Reason, int]] = {
    "the owner's policy is gone": (
        lambda w: setattr(w, "rules", build_rules(owners=())),
        Reason.RELEASE_NOT_GRANTED,
        403,
    ),
    "the tenant's grant is gone": (
        lambda w: setattr(w, "rules", build_rules(tenants=())),
        Reason.RELEASE_NOT_GRANTED,
        403,
    ),
    "the owner suspends": (
        lambda w: setattr(w, "rules", build_rules(owners=(build_owner(suspended=True),))),
        Reason.GRANT_SUSPENDED,
        403,
    ),
    "the tenant's grant ends": (
        lambda w: setattr(w, "rules", build_rules(tenants=(build_tenant(expiresAt="2026-11-29T11:59:59Z"),))),
        Reason.GRANT_EXPIRED,
        403,
    ),
    "the measurement is struck off": (
        lambda w: setattr(w, "rules", build_rules(evidence={"genoa": build_evidence(measurements=["00" * 47 + "01"])})),
        Reason.MEASUREMENT_UNKNOWN,
        403,
    ),
    "the machine turns out to be open": (lambda w: setattr(w.machine, "debug", True), Reason.DEBUG_ENABLED, 403),
    "the pod was changed": (
        lambda w: w.pod()["spec"]["containers"][0].update(image="r.test/x@sha256:" + "9" * 64),
        Reason.WORKLOAD_MISMATCH,
        403,
    ),
    "the key is disabled": (lambda w: setattr(w.vault, "enabled", False), Reason.KEY_DISABLED, 403),
    "the key's version is revoked": (lambda w: setattr(w.vault, "least", 5), Reason.KEY_VERSION_REVOKED, 403),
    "the key is gone": (
        lambda w: setattr(w.vault, "trouble", failures.not_found("openbao", "x")),
        Reason.KEY_NOT_FOUND,
        403,
    ),
    # for now
    "the key service is down": (
        lambda w: setattr(w.vault, "trouble", failures.unavailable("openbao", "x")),
        Reason.KMS_UNAVAILABLE,
        503,
    ),
    "the key service denies the broker": (
        lambda w: setattr(w.vault, "trouble", failures.denied("openbao", "x", "y")),
        Reason.KMS_UNAVAILABLE,
        503,
    ),
    "the record is full": (lambda w: setattr(w.book, "full", True), Reason.RECORD_UNAVAILABLE, 503),
    "grants are not known": (
        lambda w: setattr(w, "rules_trouble", UnavailableError(Reason.API_UNAVAILABLE, "old")),
        Reason.API_UNAVAILABLE,
        503,
    ),
    "the depot does not vouch": (
        lambda w: w.pod()["status"]["conditions"][0].update(status="False"),
        Reason.ISOLATION_NOT_PROVEN,
        503,
    ),
}


@pytest.mark.parametrize("case", REVOCATIONS)
async def test_a_lease_is_not_renewed_and_the_answer_tells_whether_the_pod_must_let_go(case: str) -> None:
    world = World()
    agent = Agent(world)
    await agent.get(world.build_broker())
    spoil, reason, status = REVOCATIONS[case]
    spoil(world)
    error = await refuse(world, agent, RENEW)
    assert error.reason is reason, error.message
    assert tell(error).status == status
    assert world.vault.unwrapped == 1


async def test_what_the_key_service_said_of_a_key_is_known_for_ten_seconds() -> None:
    world = World()
    broker, agent = world.build_broker(), Agent(world)
    for seconds in (0, 5, 9, 11):
        world.clock.seconds = seconds
        await agent.get(broker, RENEW)
    assert world.vault.described == 2
    assert world.vault.minimum_asked == 4


def told(world: World) -> dict[str, Any]:
    return dict(json.loads(world.conditions()[names.KEY_RELEASED_POD_CONDITION]["message"]))


async def test_a_release_is_told_by_two_conditions_of_the_pod() -> None:
    world = World()
    broker, agent = world.build_broker(), Agent(world)
    answer = await agent.get(broker)
    await broker.settle()
    both = [world.conditions()[name] for name in (names.ATTESTED_POD_CONDITION, names.KEY_RELEASED_POD_CONDITION)]
    assert [(item["status"], item["reason"]) for item in both] == [("True", "Attested"), ("True", "KeyReleased")]
    wanted = {
        "leaseEndsAt": "2026-11-29T12:10:00Z",
        "policyDigest": answer["policyDigest"],
        "evidenceDigest": answer["evidenceDigest"],
    }
    assert all(json.loads(item["message"]) == wanted for item in both)


async def test_a_quiet_pod_is_written_twice_a_lease_and_never_shows_one_that_has_ended() -> None:
    world = World()
    broker, agent = world.build_broker(), Agent(world)
    await agent.get(broker)
    for number in range(1, 13):
        world.clock.seconds = number * 150
        await agent.get(broker, RENEW)
        await broker.settle()
        ends = told(world)["leaseEndsAt"]
        assert ends > f"{world.clock.now():%Y-%m-%dT%H:%M:%SZ}"
    assert len(world.api.patches) == 5  # the release, and one for every 450 seconds of half an hour


async def test_a_second_release_is_told_though_the_first_said_as_much() -> None:
    world = World()
    broker, agent = world.build_broker(), Agent(world)
    for count in (1, 2):
        await agent.get(broker)
        await broker.settle()
        assert len(world.api.patches) == count


async def test_a_renewal_under_other_rules_is_told_at_once() -> None:
    world = World()
    broker, agent = world.build_broker(), Agent(world)
    await agent.get(broker)
    await broker.settle()
    world.rules = build_rules(owners=(build_owner(leaseSeconds=500),))
    answer = await agent.get(broker, RENEW)
    await broker.settle()
    assert told(world)["policyDigest"] == answer["policyDigest"]
    assert len(world.api.patches) == 2


@pytest.mark.parametrize(
    "message",
    ["no json", "[]", '{"leaseEndsAt": 7}', "[" * 32_000],
    ids=["no JSON", "a list", "a number", "too deep"],
)
async def test_a_condition_that_says_nothing_of_use_is_written_anew(message: str) -> None:
    world = World()
    broker, agent = world.build_broker(), Agent(world)
    await agent.get(broker)
    await broker.settle()
    for condition in world.pod()["status"]["conditions"]:
        condition["message"] = message
    await agent.get(broker, RENEW)
    await broker.settle()
    assert len(world.api.patches) == 2


async def test_a_final_refusal_is_told_once_and_in_constant_words() -> None:
    world = World()
    broker, agent = world.build_broker(), Agent(world)
    await agent.get(broker)
    world.machine.debug = True
    for _ in range(3):
        with pytest.raises(RefusedError):
            await agent.get(broker, RENEW)
        await broker.settle()
    condition = world.conditions()[names.ATTESTED_POD_CONDITION]
    assert (condition["status"], condition["reason"]) == ("False", "DebugEnabled")
    assert condition["message"] == "the environment can be looked into"
    assert world.conditions()[names.KEY_RELEASED_POD_CONDITION]["reason"] == "DebugEnabled"
    assert len(world.api.patches) == 2


async def test_a_refused_grant_says_nothing_against_the_machine() -> None:
    world = World()
    broker, agent = world.build_broker(), Agent(world)
    await agent.get(broker)
    world.rules = build_rules(tenants=())
    with pytest.raises(RefusedError):
        await agent.get(broker, RENEW)
    await broker.settle()
    assert world.conditions()[names.ATTESTED_POD_CONDITION]["status"] == "True"
    assert world.conditions()[names.KEY_RELEASED_POD_CONDITION]["reason"] == "ReleaseNotGranted"


async def test_what_may_pass_by_itself_is_not_told_as_a_loss() -> None:
    world = World()
    broker, agent = world.build_broker(), Agent(world)
    await agent.get(broker)
    world.vault.trouble = failures.unavailable("openbao", "x")
    with pytest.raises(UnavailableError):
        await agent.get(broker, RENEW)
    await broker.settle()
    assert world.conditions()[names.KEY_RELEASED_POD_CONDITION]["status"] == "True"


async def test_conditions_that_cannot_be_written_keep_nobody_from_a_key() -> None:
    world = World()
    broker, agent = world.build_broker(), Agent(world)
    answer = await agent.ask(broker)
    pod = await agent.identify()
    world.pod()["metadata"]["uid"] = "another"
    world.pod()["metadata"]["uid"] = "uid-1"
    body = agent.build_answer(answer, pod)
    sent = await agent.send(broker, body, pod)
    world.api.down = True
    await broker.settle()
    assert sent["lease"]["seconds"] == 600
    assert world.api.patches == []


async def test_a_pod_proves_that_it_let_go_even_where_nothing_is_granted_any_more() -> None:
    world = World()
    broker, agent = world.build_broker(), Agent(world)
    await agent.get(broker)
    world.rules = build_rules(owners=(), tenants=())
    world.service()["metadata"]["deletionTimestamp"] = "now"
    challenge = await agent.ask(broker, "evicted")
    assert "snp" in challenge["evidence"]
    assert "tpm" in challenge["evidence"]
    assert await agent.answer(broker, challenge, "evicted") == {}
    await broker.settle()
    assert (world.book.entries[-1]["kind"], world.book.entries[-1]["decision"]) == ("evicted", "noted")
    assert world.book.entries[-1]["evidence"][0]["tee"] == "snp"
    condition = world.conditions()[names.KEY_RELEASED_POD_CONDITION]
    assert (condition["status"], condition["reason"]) == ("False", "LeaseExpired")
    assert condition["message"] == "the pod proved that it dropped key and weights"


async def refuse_eviction(world: World, agent: Agent) -> SekishoError:
    error = await refuse(world, agent, "evicted")
    assert world.book.entries == []
    return error


async def test_an_eviction_of_another_pod_or_by_nobodys_machine_is_not_taken_down() -> None:
    world = World()
    agent = Agent(world)
    agent.bind = lambda binding: replace(binding, uid="uid-2")
    error = await refuse_eviction(world, agent)
    assert error.reason is Reason.EVIDENCE_NOT_BOUND
    assert "made for evicted by pod legal/chat-predictor-1 it would commit to" in error.message
    agent = Agent(world)
    world.maker.machines.clear()
    assert (await refuse_eviction(world, agent)).reason is Reason.EVIDENCE_UNTRUSTED


async def test_an_eviction_by_one_device_that_speaks_twice_is_not_taken_down() -> None:
    world = World()
    agent = Agent(world)
    agent.attest = lambda binding: [world.machine.attest(binding.digest(64)) for _ in range(2)]
    error = await refuse_eviction(world, agent)
    assert error.reason is Reason.EVIDENCE_INVALID
    assert error.message == "two pieces of evidence come from the same device"


async def test_an_eviction_is_one_of_a_pod_that_is_there() -> None:
    world = World()
    broker, agent = world.build_broker(), Agent(world)
    pod = await agent.identify()
    challenge = await agent.ask(broker, "evicted")
    body = agent.build_answer(challenge, pod, "evicted")
    world.pod()["metadata"]["uid"] = "uid-2"
    with pytest.raises(RefusedError, match="pod legal/chat-predictor-1 is gone") as caught:
        await agent.send(broker, body, pod, "evicted")
    assert caught.value.reason is Reason.POD_NOT_KNOWN
