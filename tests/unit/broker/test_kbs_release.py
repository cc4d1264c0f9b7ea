"""Keys for guests of Confidential Containers: the same decision, and no way around it."""

import asyncio
import base64
import json
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap

from sekisho.api.v1alpha1.evidencepolicy import EvidencePolicySpec
from sekisho.attest.claims import Claims
from sekisho.attest.evidence import UnverifiedEvidence
from sekisho.attest.verifiers.nvidia import NvidiaCollateral, verify_nvidia
from sekisho.attest.verifiers.tpm_structures import parse_quote
from sekisho.broker.decide import decide_release
from sekisho.broker.kbs_release import KbsBroker
from sekisho.broker.kbs_sessions import SessionBook
from sekisho.broker.kbs_shapes import pad_data
from sekisho.broker.replay import parse_facts
from sekisho.broker.resources import Resource
from sekisho.broker.wire import parse_question, spell_time
from sekisho.errors import Reason, RefusedError, SekishoError, UnavailableError
from sekisho.kms import failures
from sekisho.kube.pods import PodFacts
from sekisho.seal.resource import seal_resource
from tests.simulators.hardware.nvidia import Maker as DeviceMaker
from tests.unit.attest.claims import SNP, TPM
from tests.unit.attest.test_azure_evidence import body as azure
from tests.unit.attest.test_azure_evidence import spell_quote
from tests.unit.broker.guest import Guest, snp_fields
from tests.unit.broker.parts import DATA_KEY, NAMESPACE, NODE, POD, START, TPM_NAME, Agent, Raw, World, build_pod
from tests.unit.broker.release_cases import EVIDENCE, MANIFEST, build_owner, build_rules
from tests.unit.broker.test_kbs_evidence import pem

PATH = "default/key/1"
AUTH = {"version": "0.4.0", "tee": "snp", "extra-params": {"supported-hash-algorithms": ["sha256", "sha384", "sha512"]}}
MAKER = DeviceMaker()
VTPM = replace(TPM, chip_id=b"\x99" * 32, facts=(("ak-trust", "hardware"),), parts=(SNP,))
GPU = MAKER.make(1)


def snp_report(bound: bytes) -> bytes:
    """Return bytes shaped as an SNP report that is bound to something; who signed it, the world's verifier says."""
    report = bytearray(1184)
    report[:4] = (3).to_bytes(4, "little")
    report[392] = 0x19
    report[80:144] = bound
    return bytes(report)


@dataclass
class GuestWorld:
    """A world in which a guest asks; every part of what it says can be spoiled.

    Attributes:
        changes: What the verifier says of the guest beside what is good.
        bound: Changes what the guest's own evidence commits to.
    """

    world: World = field(default_factory=World)
    guest: Guest = field(default_factory=Guest)
    changes: dict[str, Any] = field(default_factory=dict)
    bound: Callable[[bytes], bytes] = lambda data: data
    device_bound: Callable[[bytes], bytes] = lambda data: data
    devices: int = 0
    tee: str = "snp"
    spoil: Callable[[Raw], object] = lambda _body: None
    resources: dict[str, Resource] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.sessions = SessionBook(challenge_seconds=30, session_seconds=300, clock=self.world.clock)
        self.resources.setdefault(PATH, Resource(parse_question(Agent(self.world).build_question())))
        self.verify = self.world.maker.verify
        self.world.maker.verify = self.take  # type: ignore[method-assign]

    def take(self, piece: UnverifiedEvidence, at: datetime, enrolled: frozenset[bytes]) -> Claims:
        """Verify as the makers would: SNP reports of this world's machine, and GPUs of a made-up maker."""
        if piece.kind == "nvidia-gpu":
            return verify_nvidia(piece, NvidiaCollateral((MAKER.root.der,)), at=at)
        if piece.kind == "azure-snp":
            return replace(VTPM, bound_data=parse_quote(piece.report).extra_data)
        claims = self.verify(self.world.machine.attest(piece.report[80:144]), at, enrolled)
        return replace(claims, **self.changes)

    def find(self, path: str) -> Resource:
        if path not in self.resources:
            raise RefusedError(Reason.ENDPOINT_UNKNOWN, f"no document speaks of resource {path}")
        return self.resources[path]

    def build(self, **changes: Any) -> KbsBroker:
        return KbsBroker(self.world.build_parts(**changes), self.sessions, self)

    async def pod(self, name: str = POD) -> PodFacts:
        found = await self.world.cluster.read_pod(NAMESPACE, name)
        assert found is not None
        return found

    def answer(self, nonce: str) -> bytes:
        additional = ""
        if self.devices:
            data = self.device_bound(pad_data(self.guest.device_data(nonce), 32))
            reports = [GPU.report(data) for _ in range(self.devices)]
            items = [
                {"arch": "HOPPER", "evidence": base64.b64encode(report).decode(), "certificate": pem(GPU.certificates)}
                for report in reports
            ]
            additional = json.dumps({"nvidia": {"device_evidence_list": items}})
        bound = self.bound(pad_data(self.guest.primary_data(nonce, additional), 64))
        primary: Any = {"attestation_report": snp_fields(snp_report(bound)), "cert_chain": None}
        if self.tee == "az-snp-vtpm":
            primary = azure(tpm_quote=spell_quote(self.bound(self.guest.primary_data(nonce, additional))))
        body = self.guest.attestation(nonce, primary, additional)
        self.spoil(body)
        return json.dumps(body).encode()

    async def attest(self, broker: KbsBroker) -> str:
        begun = broker.begin(await self.pod(), json.dumps(AUTH | {"tee": self.tee}).encode())
        assert begun.challenge["extra-params"] == {"selected-hash-algorithm": "sha384"}
        await broker.attest(await self.pod(), begun.session.id, self.answer(begun.challenge["nonce"]))
        return begun.session.id

    async def get(self, broker: KbsBroker | None = None) -> bytes:
        broker = broker or self.build()
        session = await self.attest(broker)
        return self.guest.open(await broker.release(await self.pod(), session, PATH))

    async def refuse(self, broker: KbsBroker | None = None) -> tuple[Reason, str]:
        with pytest.raises(SekishoError) as caught:
            await self.get(broker)
        assert self.world.vault.unwrapped == 0
        return caught.value.reason, caught.value.message


async def test_a_guest_that_proves_what_it_is_gets_the_key_and_only_it_can_open_the_answer() -> None:
    world = GuestWorld()
    broker = world.build()
    session = await world.attest(broker)
    answer = await broker.release(await world.pod(), session, PATH)
    assert world.guest.open(answer) == DATA_KEY
    with pytest.raises(InvalidUnwrap):
        Guest().open(answer)
    entry, end = world.world.book.entries
    assert end == {"kind": "kbs-release-end", "id": entry["id"], "ended": "released"}
    assert (entry["kind"], entry["decision"], entry["resource"]) == ("kbs-release", "granted", PATH)
    assert entry["pod"]["name"] == POD
    assert entry["evidenceDigest"].startswith("sha256:")
    assert len(entry["id"]) == 24
    assert entry["leaseEndsAt"] == spell_time(START + timedelta(seconds=entry["leaseSeconds"]))
    assert entry["facts"]["isolation"]["message"] == "the depot vouches for it"


@pytest.mark.parametrize("kind", ["P-521", "RSA"])
async def test_guests_with_other_keys_are_answered_too(kind: str) -> None:
    assert await GuestWorld(guest=Guest(kind)).get() == DATA_KEY


async def test_a_released_key_is_told_in_the_log_by_pod_and_resource(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="sekisho.broker.kbs_release")
    await GuestWorld().get()
    (told,) = caplog.records
    assert told.message == "a resource was released"
    said = vars(told)
    assert (said["namespace"], said["pod"], said["resource"]) == (NAMESPACE, POD, PATH)


async def test_evidence_of_a_virtual_tpm_is_held_against_the_key_of_the_pods_own_node() -> None:
    world, enrolled = GuestWorld(), list[frozenset[bytes]]()
    take = world.world.maker.verify

    def note(piece: UnverifiedEvidence, at: datetime, known: frozenset[bytes]) -> Claims:
        enrolled.append(known)
        return take(piece, at, known)

    world.world.maker.verify = note  # type: ignore[method-assign]
    await world.attest(world.build())
    world.world.api.objects["nodes", "", NODE]["metadata"]["annotations"] = {}
    await world.attest(world.build())
    assert enrolled == [frozenset({TPM_NAME}), frozenset()]


async def test_an_attested_session_is_returned_with_what_was_proven() -> None:
    world = GuestWorld()
    broker = world.build()
    begun = broker.begin(await world.pod(), json.dumps(AUTH).encode())
    session = await broker.attest(await world.pod(), begun.session.id, world.answer(begun.challenge["nonce"]))
    assert session.id == begun.session.id
    assert session.attested is not None
    assert session.attested.jwk == world.guest.jwk()


async def test_a_session_gives_several_resources_each_after_a_decision() -> None:
    world = GuestWorld()
    broker = world.build()
    session = await world.attest(broker)
    for _ in range(2):
        await broker.release(await world.pod(), session, PATH)
    assert [entry.get("decision") for entry in world.world.book.entries] == ["granted", None, "granted", None]


def build_azure(**changes: Any) -> GuestWorld:
    """Return a world in which the guest is a machine of Azure's, behind a virtual TPM of its own."""
    rules = [
        {"tee": "tpm", "measurements": [TPM.measurement.hex()]},
        {**EVIDENCE["anyOf"][0]["evidence"][0], "behind": "tpm"},
    ]
    spec = EvidencePolicySpec.model_validate({"anyOf": [{"name": "azure", "evidence": rules}]})
    return GuestWorld(World(rules=build_rules(evidence={"genoa": spec})), tee="az-snp-vtpm", **changes)


async def test_a_guest_behind_azures_virtual_tpm_gets_the_key() -> None:
    world = build_azure()
    assert await world.get() == DATA_KEY
    entry, _ = world.world.book.entries
    assert entry["facts"]["claims"][0]["parts"]
    assert decide_release(parse_facts(entry["facts"])).evidence_policies == ("genoa",)


async def test_a_quote_of_azures_virtual_tpm_for_anything_else_is_refused() -> None:
    for spoil in (lambda data: data[:31], lambda data: bytes(48), lambda data: data + b"\1", lambda data: b""):
        reason, message = await build_azure(bound=spoil).refuse()
        assert reason is Reason.EVIDENCE_NOT_BOUND
        assert message.startswith("the tpm evidence commits to ")


async def test_evidence_of_another_kind_than_the_session_is_refused() -> None:
    world = build_azure()
    world.spoil = lambda body: body["tee-evidence"].update(
        primary_evidence={"attestation_report": snp_fields(snp_report(bytes(64))), "cert_chain": None}
    )
    reason, message = await world.refuse()
    assert (reason, message) == (
        Reason.EVIDENCE_INVALID, "the session is one of az-snp-vtpm, the evidence is of snp",
    )  # fmt: skip


# Evidence


async def test_evidence_for_another_nonce_key_or_company_is_refused() -> None:
    other = Guest()
    for spoil in (
        lambda data: bytes(64),
        lambda data: data[:63] + b"\1",
        lambda data: pad_data(other.primary_data("nonce"), 64),
    ):
        reason, message = await GuestWorld(bound=spoil).refuse()
        assert reason is Reason.EVIDENCE_NOT_BOUND
        assert "made for this session and key it would commit to" in message


async def test_a_key_that_was_put_in_afterwards_is_refused() -> None:
    def put(body: Raw) -> None:
        body["runtime-data"]["tee-pubkey"] = Guest().jwk()

    assert (await GuestWorld(spoil=put).refuse())[0] is Reason.EVIDENCE_NOT_BOUND


async def test_devices_that_were_left_out_or_put_in_afterwards_are_refused() -> None:
    def leave_out(body: Raw) -> None:
        body["tee-evidence"]["additional_evidence"] = ""

    assert (await GuestWorld(spoil=leave_out, devices=1).refuse())[0] is Reason.EVIDENCE_NOT_BOUND


async def test_a_device_with_another_nonce_is_refused() -> None:
    world = GuestWorld(devices=1, device_bound=lambda _: bytes(32))
    reason, message = await world.refuse()
    assert reason is Reason.EVIDENCE_NOT_BOUND
    assert message.startswith("the nvidia-gpu evidence commits to 0000000000000000…")


async def test_one_gpu_that_stands_for_two_is_refused() -> None:
    reason, message = await GuestWorld(devices=2).refuse()
    assert reason is Reason.APPRAISAL_FAILED
    assert "two pieces of nvidia-gpu evidence speak of one device" in message


async def test_evidence_that_is_bound_to_almost_nothing_is_refused() -> None:
    assert (await GuestWorld(changes={"bound_data": b""}).refuse())[0] is Reason.EVIDENCE_NOT_BOUND
    short = GuestWorld()
    short.bound = lambda data: data
    short.changes = {"bound_data": b"\0"}
    assert (await short.refuse())[0] is Reason.EVIDENCE_NOT_BOUND


async def test_an_answer_to_another_challenge_is_refused() -> None:
    def other(body: Raw) -> None:
        body["runtime-data"]["nonce"] = base64.b64encode(bytes(32)).decode()

    assert await GuestWorld(spoil=other).refuse() == (
        Reason.EVIDENCE_NOT_BOUND,
        "the answer is to another challenge than its session's",
    )


async def test_an_answer_to_a_challenge_of_no_text_is_refused() -> None:
    def other(body: Raw) -> None:
        body["runtime-data"]["nonce"] = "\ud800"

    assert await GuestWorld(spoil=other).refuse() == (
        Reason.EVIDENCE_NOT_BOUND,
        "the answer is to another challenge than its session's",
    )


async def test_evidence_that_no_maker_signed_is_refused() -> None:
    world = GuestWorld()
    world.world.maker.machines.clear()
    assert (await world.refuse())[0] is Reason.EVIDENCE_UNTRUSTED


async def test_an_environment_that_can_be_looked_into_is_refused() -> None:
    world = GuestWorld(changes={"debug": True})
    broker = world.build()
    begun = broker.begin(await world.pod(), json.dumps(AUTH).encode())
    with pytest.raises(RefusedError) as caught:
        await broker.attest(await world.pod(), begun.session.id, world.answer(begun.challenge["nonce"]))
    assert caught.value.reason is Reason.DEBUG_ENABLED
    with pytest.raises(RefusedError, match="the session was not attested"):
        await broker.release(await world.pod(), begun.session.id, PATH)


async def test_a_measurement_that_no_policy_knows_is_refused_and_recorded() -> None:
    world = GuestWorld(changes={"measurement": b"\x66" * 48})
    assert (await world.refuse())[0] is Reason.MEASUREMENT_UNKNOWN
    entry = world.world.book.entries[-1]
    assert (entry["decision"], entry["reason"]) == ("refused", Reason.MEASUREMENT_UNKNOWN)
    assert "measurement" in entry["detail"]


async def test_evidence_that_became_too_old_for_the_policy_is_refused() -> None:
    world = GuestWorld()
    world.sessions = SessionBook(challenge_seconds=30, session_seconds=9000, clock=world.world.clock)
    broker = world.build()
    session = await world.attest(broker)
    world.world.clock.seconds = 3601
    with pytest.raises(RefusedError) as caught:
        await broker.release(await world.pod(), session, PATH)
    assert caught.value.reason is Reason.EVIDENCE_STALE


# Sessions


async def test_a_challenge_is_answered_once() -> None:
    world = GuestWorld()
    broker = world.build()
    begun = broker.begin(await world.pod(), json.dumps(AUTH).encode())
    answer = world.answer(begun.challenge["nonce"])
    await broker.attest(await world.pod(), begun.session.id, answer)
    with pytest.raises(RefusedError, match="the session was answered already"):
        await broker.attest(await world.pod(), begun.session.id, answer)


async def test_an_answer_that_failed_cannot_be_mended() -> None:
    world = GuestWorld(bound=lambda _: bytes(64))
    broker = world.build()
    begun = broker.begin(await world.pod(), json.dumps(AUTH).encode())
    with pytest.raises(RefusedError):
        await broker.attest(await world.pod(), begun.session.id, world.answer(begun.challenge["nonce"]))
    world.bound = lambda data: data
    with pytest.raises(RefusedError, match="the session was answered already"):
        await broker.attest(await world.pod(), begun.session.id, world.answer(begun.challenge["nonce"]))


async def test_a_session_is_worth_nothing_to_another_pod() -> None:
    world = GuestWorld()
    world.world.api.put("pods", build_pod(name="other", uid="uid-2", address="10.8.0.6"))
    broker = world.build()
    session = await world.attest(broker)
    with pytest.raises(RefusedError) as caught:
        await broker.release(await world.pod("other"), session, PATH)
    assert caught.value.reason is Reason.CHALLENGE_UNKNOWN


async def test_a_session_that_was_not_attested_gives_nothing() -> None:
    world = GuestWorld()
    broker = world.build()
    begun = broker.begin(await world.pod(), json.dumps(AUTH).encode())
    with pytest.raises(RefusedError, match="the session was not attested") as caught:
        await broker.release(await world.pod(), begun.session.id, PATH)
    assert caught.value.reason is Reason.CHALLENGE_UNKNOWN


async def test_a_session_of_another_replica_is_not_known() -> None:
    world = GuestWorld()
    session = await world.attest(world.build())
    world.sessions = SessionBook(challenge_seconds=30, session_seconds=300, clock=world.world.clock)
    with pytest.raises(RefusedError, match="the session is not known here"):
        await world.build().release(await world.pod(), session, PATH)


# The decision


async def test_a_resource_that_nobody_named_is_not_there() -> None:
    world = GuestWorld()
    broker = world.build()
    session = await world.attest(broker)
    with pytest.raises(RefusedError) as caught:
        await broker.release(await world.pod(), session, "default/key/2")
    assert caught.value.reason is Reason.ENDPOINT_UNKNOWN


SECRET = b"a token that is no key"


def build_secret(*, path: str = PATH, digest: str = MANIFEST) -> GuestWorld:
    """Return a world whose resource is a secret that is sealed under the model's data key."""
    world = GuestWorld()
    question = replace(world.resources[PATH].question, manifest_digest=digest)
    content = seal_resource(SECRET, DATA_KEY, path=path, nonce=bytes(12))
    world.resources[PATH] = Resource(question, content)
    return world


async def test_a_secret_is_released_in_place_of_its_key_after_the_same_decision() -> None:
    world = build_secret()
    assert await world.get() == SECRET
    entry, end = world.world.book.entries
    assert (entry["decision"], end["ended"]) == ("granted", "released")
    assert SECRET not in repr(world.world.book.entries).encode()


async def test_a_secret_that_no_grant_names_is_not_released() -> None:
    for rules in (build_rules(owners=()), build_rules(tenants=())):
        world = build_secret()
        world.world.rules = rules
        assert (await world.refuse())[0] is Reason.RELEASE_NOT_GRANTED


async def test_a_secret_of_another_digest_than_the_owner_granted_is_not_released() -> None:
    world = build_secret(digest="sha256:" + "e" * 64)
    model = {"name": "legal/reviewer", "minVersion": 7, "digest": MANIFEST}
    world.world.rules = build_rules(owners=(build_owner(model=model),))
    reason, message = await world.refuse()
    assert reason is Reason.DIGEST_MISMATCH
    assert f"model.digest is {MANIFEST}" in message


async def test_a_secret_under_another_name_than_it_was_sealed_for_is_not_released_and_recorded() -> None:
    world = build_secret(path="default/key/other")
    with pytest.raises(RefusedError) as caught:
        await world.get()
    assert caught.value.reason is Reason.SEAL_INVALID
    assert caught.value.message.startswith(f"the content of resource {PATH} was changed, or sealed for another path")
    assert world.world.book.entries[-1]["ended"] == "failed"
    assert world.world.book.entries[-1]["reason"] == Reason.SEAL_INVALID


async def test_without_grants_of_owner_and_tenant_nothing_is_released() -> None:
    for rules in (build_rules(owners=()), build_rules(tenants=())):
        world = GuestWorld()
        world.world.rules = rules
        assert (await world.refuse())[0] is Reason.RELEASE_NOT_GRANTED


async def test_a_grant_that_is_taken_back_ends_what_a_session_gives() -> None:
    world = GuestWorld()
    broker = world.build()
    session = await world.attest(broker)
    await broker.release(await world.pod(), session, PATH)
    world.world.rules = build_rules(owners=())
    with pytest.raises(RefusedError) as caught:
        await broker.release(await world.pod(), session, PATH)
    assert caught.value.reason is Reason.RELEASE_NOT_GRANTED


async def test_a_pod_that_the_depot_does_not_vouch_for_gets_nothing() -> None:
    world = GuestWorld()
    world.world.pod()["status"]["conditions"] = []
    reason, message = await world.refuse()
    assert reason is Reason.ISOLATION_NOT_PROVEN
    assert message.endswith("the depot does not vouch for it by the pod's condition")


async def test_a_pod_that_was_changed_gets_nothing() -> None:
    world = GuestWorld()
    world.world.pod()["spec"]["containers"][0]["command"] = ["sh"]
    assert (await world.refuse())[0] is Reason.WORKLOAD_MISMATCH


async def test_nothing_is_released_that_cannot_be_recorded() -> None:
    world = GuestWorld()
    world.world.book.full = True
    assert (await world.refuse())[0] is Reason.RECORD_UNAVAILABLE


async def test_a_refusal_that_cannot_be_recorded_is_a_refusal_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    world = GuestWorld()
    world.world.book.full, world.world.rules = True, build_rules(owners=())
    assert (await world.refuse())[0] is Reason.RELEASE_NOT_GRANTED
    (told,) = [each for each in caplog.records if each.levelno == logging.ERROR]
    said = vars(told)
    assert told.message == "an entry was not recorded"
    assert len(said["entry"]) == 24
    assert said["detail"].startswith("no key is released that cannot be recorded")


async def test_of_a_long_refusal_the_record_holds_the_beginning() -> None:
    world = GuestWorld()
    world.world.rules_trouble = UnavailableError(Reason.API_UNAVAILABLE, "x" * 2000)
    reason, message = await world.refuse()
    assert (reason, message) == (Reason.API_UNAVAILABLE, "x" * 2000)
    assert world.world.book.entries[-1]["detail"] == "x" * 1024


async def test_a_key_service_that_does_not_answer_releases_nothing() -> None:
    world = GuestWorld()
    world.world.vault.trouble = failures.unavailable("openbao", "no answer")
    reason, _ = await world.refuse()
    assert reason is Reason.KMS_UNAVAILABLE
    end = world.world.book.entries[-1]
    assert (end["kind"], end["ended"], end["reason"]) == ("kbs-release-end", "failed", Reason.KMS_UNAVAILABLE)


async def test_a_guest_that_leaves_while_its_key_is_opened_is_recorded() -> None:
    world = GuestWorld()
    broker = world.build()
    session = await world.attest(broker)
    opened, leave = threading.Event(), threading.Event()
    world.world.vault.before = lambda: (opened.set(), leave.wait(60))
    task = asyncio.create_task(broker.release(await world.pod(), session, PATH))
    await asyncio.to_thread(opened.wait, 60)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    leave.set()
    assert world.world.book.entries[-1]["ended"] == "cancelled"


async def test_a_release_can_be_decided_again_from_its_record() -> None:
    world = GuestWorld(devices=1)
    await world.get()
    entry = world.world.book.entries[0]
    assert decide_release(parse_facts(entry["facts"])).owner == entry["owner"]


async def test_a_guest_that_is_refused_again_and_again_does_not_fill_the_disk() -> None:
    world = GuestWorld()
    broker = world.build()
    session = await world.attest(broker)
    world.world.rules = build_rules(owners=())
    for _ in range(12):
        with pytest.raises(RefusedError):
            await broker.release(await world.pod(), session, PATH)
    assert len(world.world.book.entries) == 10
