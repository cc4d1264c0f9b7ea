"""The way of a release: what gets a key, and everything that gets none, each with its reason."""

import base64
import logging
import threading
from dataclasses import replace
from datetime import datetime

import pytest
from cryptography.exceptions import InvalidTag

from sekisho.api import names
from sekisho.api.v1alpha1.evidencepolicy import EvidencePolicySpec
from sekisho.attest.binding import Binding
from sekisho.attest.claims import Claims
from sekisho.attest.evidence import UnverifiedEvidence
from sekisho.broker.release import Broker
from sekisho.errors import Reason, RefusedError, UnavailableError
from tests.unit.attest.claims import CHIP
from tests.unit.broker.parts import (
    CONTEXT,
    DATA_KEY,
    NAMESPACE,
    POD,
    SERVICE,
    TPM_NAME,
    Agent,
    Machine,
    Raw,
    World,
    build_pod,
    refuse,
)
from tests.unit.broker.release_cases import (
    build_evidence,
    build_law,
    build_owner,
    build_rules,
)


def remember(agent: Agent) -> list[Binding]:
    """Note what the agent's evidence was made for."""
    seen: list[Binding] = []

    def note(binding: Binding) -> Binding:
        seen.append(binding)
        return binding

    agent.bind = note
    return seen


async def test_a_pod_that_proves_what_it_is_gets_the_key_and_only_it_can_open_the_answer(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    world = World()
    broker, agent = world.build_broker(), Agent(world)
    seen = remember(agent)
    challenge = await agent.ask(broker)
    assert challenge["evidence"] == ["snp"]
    assert challenge["expiresAt"] == "2026-11-29T12:00:30Z"
    assert len(base64.b64decode(challenge["nonce"])) == 32
    answer = await agent.answer(broker, challenge)
    await broker.settle()
    assert agent.open(answer, seen[0]) == DATA_KEY
    assert answer["lease"] == {"seconds": 600, "endsAt": "2026-11-29T12:10:00Z"}  # the class' trust is no older
    assert answer["policyDigest"] == challenge["policyDigest"]
    with pytest.raises(InvalidTag):
        Agent(world).open(answer, seen[0])
    with pytest.raises(InvalidTag):
        agent.open(answer, replace(seen[0], nonce=bytes(32)))
    told = str(world.book.entries) + "".join(f"{item.getMessage()}{item.__dict__}" for item in caplog.records)
    for secret in (DATA_KEY.hex(), base64.b64encode(DATA_KEY).decode(), str(DATA_KEY)):
        assert secret not in told


async def test_the_decision_is_on_record_before_the_key_service_hears_of_it() -> None:
    world = World()
    broker, agent = world.build_broker(), Agent(world)
    world.vault.before = lambda: seen.extend(world.book.entries)
    seen: list[Raw] = []
    answer = await agent.get(broker)
    await broker.settle()
    assert [item["kind"] for item in seen] == ["release"]
    entry = seen[0]
    assert entry["decision"] == "granted"
    assert entry["pod"] == {"namespace": NAMESPACE, "name": POD, "uid": "uid-1", "service": SERVICE}
    assert entry["model"]["name"] == CONTEXT.model
    assert (entry["owner"], entry["tenant"], entry["evidencePolicies"]) == (
        "owners/reviewer",
        "legal/contracts",
        ["genoa"],
    )
    assert entry["evidence"][0]["chip"] == CHIP.hex()
    assert entry["leaseEndsAt"] == answer["lease"]["endsAt"]
    assert world.book.entries == [entry]
    assert set(answer) == {"enc", "ciphertext", "lease", "policyDigest", "evidenceDigest"}
    assert answer["evidenceDigest"] == entry["evidenceDigest"]


async def test_a_released_key_is_told_in_the_log_by_pod_grants_and_lease(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="sekisho.broker.release")
    world = World()
    broker = world.build_broker()
    await Agent(world).get(broker)
    await broker.settle()
    (told,) = [item for item in caplog.records if item.getMessage() == "a data key was released"]
    said = vars(told)
    assert {name: said[name] for name in ("namespace", "pod", "service", "owner", "tenant", "lease_seconds", "id")} == {
        "namespace": NAMESPACE, "pod": POD, "service": SERVICE, "owner": "owners/reviewer", "tenant": "legal/contracts",
        "lease_seconds": 600, "id": world.book.entries[0]["id"],
    }  # fmt: skip


async def test_what_cannot_be_recorded_is_not_released_and_the_key_service_is_not_asked() -> None:
    world = World()
    world.book.full = True
    error = await refuse(world, Agent(world))
    assert error.reason is Reason.RECORD_UNAVAILABLE
    assert "no key is released that cannot be recorded" in error.message
    assert world.vault.unwrapped == 0


async def test_a_question_that_differs_from_the_challenges_is_not_answered() -> None:
    world = World()
    broker, agent = world.build_broker(), Agent(world)
    challenge = await agent.ask(broker)
    agent.question = {"version": 8}
    with pytest.raises(RefusedError, match="made for another pod, purpose or question") as caught:
        await agent.answer(broker, challenge)
    assert caught.value.reason is Reason.CHALLENGE_UNKNOWN


@pytest.mark.parametrize("purpose", ["renew", "evicted"])
async def test_a_challenge_for_one_purpose_is_worth_nothing_for_another(purpose: str) -> None:
    world = World()
    broker, agent = world.build_broker(), Agent(world)
    challenge = await agent.ask(broker, purpose)
    with pytest.raises(RefusedError, match="made for another pod, purpose or question") as caught:
        await agent.answer(broker, challenge)
    assert caught.value.reason is Reason.CHALLENGE_UNKNOWN


async def test_a_challenge_is_answered_once_whatever_came_of_it() -> None:
    world = World()
    broker, agent = world.build_broker(), Agent(world)
    challenge = await agent.ask(broker)
    await agent.answer(broker, challenge)
    with pytest.raises(RefusedError, match="answered already") as caught:
        await agent.answer(broker, challenge)
    assert caught.value.reason is Reason.CHALLENGE_UNKNOWN
    challenge = await agent.ask(broker)
    world.machine.debug = True
    with pytest.raises(RefusedError, match="debug"):
        await agent.answer(broker, challenge)
    world.machine.debug = False
    with pytest.raises(RefusedError, match="answered already"):
        await agent.answer(broker, challenge)
    assert world.vault.unwrapped == 1


async def test_recorded_evidence_and_its_answer_cannot_be_replayed() -> None:
    world = World()
    broker, agent = world.build_broker(), Agent(world)
    pod = await agent.identify()
    body = agent.build_answer(await agent.ask(broker), pod)
    await agent.send(broker, body, pod)
    with pytest.raises(RefusedError, match="answered already"):
        await agent.send(broker, body, pod)
    fresh = await agent.ask(broker)
    with pytest.raises(RefusedError, match="not made for") as caught:
        await agent.send(broker, body | {"challenge": fresh["challenge"]}, pod)
    assert caught.value.reason is Reason.EVIDENCE_NOT_BOUND


async def test_a_late_answer_and_one_at_another_replica_are_refused() -> None:
    world = World()
    broker, other, agent = world.build_broker(), world.build_broker(), Agent(world)
    challenge = await agent.ask(broker)
    with pytest.raises(RefusedError, match="another replica made it") as caught:
        await agent.answer(other, challenge)
    assert caught.value.reason is Reason.CHALLENGE_UNKNOWN
    world.clock.seconds += 30
    with pytest.raises(RefusedError, match="good for 30 s") as caught:
        await agent.answer(broker, challenge)
    assert caught.value.reason is Reason.CHALLENGE_UNKNOWN


async def test_the_challenge_of_one_pod_is_worth_nothing_to_another() -> None:
    world = World()
    world.api.put("pods", build_pod(name="chat-predictor-2", uid="uid-2", address="10.8.0.6"))
    broker, agent, thief = world.build_broker(), Agent(world), Agent(world, name="chat-predictor-2")
    challenge = await agent.ask(broker)
    with pytest.raises(RefusedError, match="made for another pod") as caught:
        await thief.answer(broker, challenge)
    assert caught.value.reason is Reason.CHALLENGE_UNKNOWN
    with pytest.raises(RefusedError, match="answered already"):
        await agent.answer(broker, challenge)  # a stolen challenge is burnt


async def test_rules_that_change_between_challenge_and_answer_void_the_challenge() -> None:
    world = World()
    broker, agent = world.build_broker(), Agent(world)
    challenge = await agent.ask(broker)
    world.rules = build_rules(owners=(build_owner(leaseSeconds=60),))
    with pytest.raises(RefusedError, match="made under rules") as caught:
        await agent.answer(broker, challenge)
    assert caught.value.reason is Reason.CHALLENGE_UNKNOWN


async def test_a_device_that_speaks_twice_for_two_is_refused() -> None:
    world = World()
    world.rules = build_rules(evidence={"genoa": build_evidence(least=2)})
    agent = Agent(world)
    agent.attest = lambda bound: [world.machine.attest(bound.digest(64)) for _ in range(2)]
    error = await refuse(world, agent)
    assert error.reason in {Reason.EVIDENCE_MISSING, Reason.EVIDENCE_INVALID, Reason.APPRAISAL_FAILED}
    assert world.vault.unwrapped == 0


TPM_POLICY = EvidencePolicySpec.model_validate(
    {"anyOf": [{"name": "tpm", "evidence": [{"tee": "tpm", "measurements": ["55" * 32]}]}]}
)
TPM_LAW = build_law(levels=[
    {"name": "public", "rules": {"tiers": ["Closed"]}}, {"name": "internal", "rules": {"tiers": ["Closed"]}},
    {"name": "confidential", "rules": {"tiers": ["Closed"], "trust": {"anyOf": ["tpm"], "maxAgeSeconds": 600}}},
    {"name": "restricted"},
])  # fmt: skip


def tpm_world() -> tuple[World, Agent]:
    world = World()
    world.rules = build_rules(law=TPM_LAW, evidence={"genoa": TPM_POLICY})
    agent = Agent(world)
    agent.attest = lambda bound: [world.machine.quote(bound.digest(32))]
    return world, agent


async def test_a_quote_of_the_tpm_that_the_pods_node_is_enrolled_with_counts() -> None:
    world, agent = tpm_world()
    broker = world.build_broker()
    assert (await agent.ask(broker))["evidence"] == ["tpm"]
    await agent.get(broker)
    assert world.vault.unwrapped == 1


async def test_a_quote_of_another_nodes_tpm_releases_nothing() -> None:
    world, agent = tpm_world()
    other = {names.NODE_AK_ANNOTATION: (b"\x00\x0b" + b"\x08" * 32).hex()}
    world.api.objects["nodes", "", "tk-1"]["metadata"]["annotations"] = other
    error = await refuse(world, agent)
    assert error.reason is Reason.EVIDENCE_UNTRUSTED
    assert world.vault.unwrapped == 0


@pytest.mark.parametrize("annotation", [None, "", "zz", "00" * 67])
async def test_a_quote_from_a_node_that_is_not_enrolled_is_refused_by_name_and_the_pod_says_so(
    annotation: str | None,
) -> None:
    world, agent = tpm_world()
    told = {} if annotation is None else {names.NODE_AK_ANNOTATION: annotation}
    world.api.objects["nodes", "", "tk-1"]["metadata"]["annotations"] = told
    error = await refuse(world, agent)
    assert error.reason is Reason.CHIP_UNKNOWN
    assert "node tk-1 is enrolled with no TPM" in error.message
    assert "have the trust controller enrol it" in error.message
    assert world.vault.unwrapped == 0
    (patch,) = world.api.patches
    conditions = {item["type"]: (item["status"], item["reason"]) for item in patch["status"]["conditions"]}
    assert conditions == dict.fromkeys(
        (names.ATTESTED_POD_CONDITION, names.KEY_RELEASED_POD_CONDITION), ("False", "ChipUnknown")
    )


async def test_a_quote_of_a_pod_that_moved_to_another_node_is_one_of_another_tpm() -> None:
    world, agent = tpm_world()
    other = world.api.objects["nodes", "", "tk-1"]["metadata"] | {"name": "tk-2", "annotations": {}}
    world.api.put("nodes", {"metadata": other})
    world.pod()["spec"]["nodeName"] = "tk-2"
    assert (await refuse(world, agent)).reason is Reason.CHIP_UNKNOWN
    assert TPM_NAME.hex() not in str(other)


OTHER = "sha256:" + "9" * 64


async def test_a_pod_of_an_earlier_template_that_is_still_published_keeps_getting_its_key() -> None:
    world = World()
    status = world.service()["status"]
    status["template"] = {"digest": OTHER, "earlier": [status["template"]["digest"]]}
    await Agent(world).get(world.build_broker())
    assert world.vault.unwrapped == 1


def test_another_face_works_with_the_same_parts() -> None:
    parts = World().build_parts()
    assert Broker(parts).parts is parts


async def test_a_lease_that_ends_while_evidence_is_verified_is_refused_before_the_key_service_is_asked() -> None:
    world = World()
    world.rules = build_rules(owners=(build_owner(leaseSeconds=30),))
    verify = world.maker.verify

    def think(piece: UnverifiedEvidence, at: datetime, enrolled: frozenset[bytes]) -> Claims:
        world.clock.seconds += 30
        return verify(piece, at, enrolled)

    world.maker.verify = think  # type: ignore[method-assign]
    error = await refuse(world, Agent(world))
    assert error.reason is Reason.LEASE_EXPIRED
    assert error.message == "the lease of 30 s ended at 2026-11-29T12:00:30Z, now is 2026-11-29T12:00:30Z"
    assert world.vault.unwrapped == 0
    (entry,) = world.book.entries
    assert (entry["decision"], entry["reason"]) == ("refused", "LeaseExpired")


@pytest.mark.parametrize("seconds", [30, 31])
async def test_a_lease_that_ends_while_the_key_service_thinks_releases_nothing(seconds: int) -> None:
    world = World()
    world.rules = build_rules(owners=(build_owner(leaseSeconds=30),))
    broker, agent = world.build_broker(), Agent(world)
    seen: list[Raw] = []

    def think() -> None:
        world.clock.seconds += seconds
        seen.append({})

    world.vault.before = think
    with pytest.raises(RefusedError, match="the lease of 30 s ended") as caught:
        await agent.get(broker)
    await broker.settle()
    assert caught.value.reason is Reason.LEASE_EXPIRED
    entry, end = world.book.entries
    assert end == {"kind": "release-end", "id": entry["id"], "ended": "failed", "reason": "LeaseExpired"}
    assert world.conditions()[names.KEY_RELEASED_POD_CONDITION]["reason"] == "LeaseExpired"


async def test_a_key_service_that_does_not_answer_in_time_is_an_outage() -> None:
    world, enough = World(kms_seconds=0.2), threading.Event()
    world.vault.before = enough.wait
    error = await refuse(world, Agent(world))
    enough.set()
    assert error.reason is Reason.KMS_UNAVAILABLE
    assert "none came within 0.2 s" in error.message
    assert isinstance(error, UnavailableError)


async def test_an_ephemeral_key_that_nothing_can_be_encrypted_to_is_refused_and_the_end_is_recorded() -> None:
    world = World()
    broker, agent = world.build_broker(), Agent(world)
    agent.bind = lambda binding: replace(binding, public_key=bytes(32))
    agent.spoil = lambda body: body.update(key=base64.b64encode(bytes(32)).decode())
    with pytest.raises(RefusedError, match="no X25519 key of use") as caught:
        await agent.get(broker)
    await broker.settle()
    assert caught.value.reason is Reason.REQUEST_INVALID
    assert world.book.entries[-1]["reason"] == "RequestInvalid"


async def test_without_a_policy_that_asks_for_evidence_there_is_no_challenge() -> None:
    world = World()
    world.rules = build_rules(owners=())
    error = await refuse(world, Agent(world))
    assert error.reason is Reason.RELEASE_NOT_GRANTED
    assert "ask for evidence of legal/chat at site tokyo" in error.message
    assert world.conditions()[names.KEY_RELEASED_POD_CONDITION]["reason"] == "ReleaseNotGranted"


async def test_refusals_are_recorded_and_a_pod_that_is_refused_all_the_time_cannot_fill_the_disk() -> None:
    world = World()
    world.machine.debug = True
    broker, agent = world.build_broker(), Agent(world)
    for _ in range(14):
        with pytest.raises(RefusedError):
            await agent.get(broker)
    entries = [item for item in world.book.entries if item["kind"] == "release"]
    assert len(entries) == 10
    assert entries[0]["decision"] == "refused"
    assert entries[0]["reason"] == "DebugEnabled"
    assert entries[0]["evidence"][0]["tee"] == "snp"
    assert "debug" in entries[0]["detail"].lower()


async def test_of_a_long_refusal_the_record_holds_the_beginning() -> None:
    world = World()
    broker, agent = world.build_broker(), Agent(world)
    challenge = await agent.ask(broker)
    world.rules_trouble = UnavailableError(Reason.API_UNAVAILABLE, "x" * 2000)
    with pytest.raises(UnavailableError):
        await agent.answer(broker, challenge)
    assert world.book.entries[-1]["detail"] == "x" * 1024


async def test_a_pod_that_the_depot_does_not_vouch_for_gets_nothing_whatever_its_own_proof_says() -> None:
    world = World()
    world.pod()["status"]["conditions"] = []
    error = await refuse(world, Agent(world))
    assert error.reason is Reason.ISOLATION_NOT_PROVEN
    assert error.message.endswith("the proof holds, but the depot does not vouch for it by the pod's condition")


async def test_a_refusal_that_cannot_be_recorded_is_a_refusal_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    world.machine.debug, world.book.full = True, True
    assert (await refuse(world, Agent(world))).reason is Reason.DEBUG_ENABLED
    (told,) = [item for item in caplog.records if item.getMessage() == "an entry was not recorded"]
    said = vars(told)
    assert len(said["entry"]) == 32
    assert said["detail"].startswith("no key is released that cannot be recorded")


def test_machines_of_the_tests_are_not_each_other() -> None:
    assert Machine().key.public_key() != Machine().key.public_key()
