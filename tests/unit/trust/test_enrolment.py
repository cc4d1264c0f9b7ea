"""Whose TPM it is, and that both keys are in it: everything that is refused, then what is not."""

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sekisho.attest.tpm2 import commands
from sekisho.attest.tpm2.structures import AK_TEMPLATE, EK_ECC, EK_RSA
from sekisho.errors import Reason, RefusedError
from sekisho.trust.enrolment import Enrolments, Makers, Request
from sekisho.trust.nodes import TrustedNode
from tests.simulators.tpm.simulated import Maker, SimulatedTpm

MAKER = Maker()
TPM = SimulatedTpm(MAKER)
MAKERS = Makers((MAKER.root,))
NOW = datetime.now(UTC)
NODE = TrustedNode("n1", "uid-1")


@dataclass
class Cluster:
    """Nodes in memory."""

    nodes: list[TrustedNode] = field(default_factory=lambda: [NODE])

    def find(self, name: str) -> TrustedNode | None:
        return next((node for node in self.nodes if node.name == name), None)

    def all(self) -> tuple[TrustedNode, ...]:
        return tuple(self.nodes)

    async def write(self, node: TrustedNode, patch: Mapping[str, Any]) -> None:
        raise AssertionError("nothing is written here")


class Clock:
    at = 100.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def enrolments(cluster: Cluster, clock: Clock) -> Enrolments:
    return Enrolments(cluster, clock, secrets.token_bytes)


def load(tpm: SimulatedTpm, template: bytes) -> commands.LoadedKey:
    return commands.parse_created(tpm.execute(commands.build_create_primary(template)))


def request_of(tpm: SimulatedTpm) -> Request:
    tpm.loaded.clear()
    endorsement = load(tpm, (EK_RSA if tpm.kind == "rsa" else EK_ECC).template)
    assert tpm.certificate is not None
    return Request(endorsement.public, load(tpm, AK_TEMPLATE).public, (tpm.certificate,))


def open_by(tpm: SimulatedTpm, credential: Any) -> bytes:
    """Let a TPM open what was made for it."""
    tpm.loaded.clear()
    endorsement = load(tpm, (EK_RSA if tpm.kind == "rsa" else EK_ECC).template)
    attestation = load(tpm, AK_TEMPLATE)
    session = commands.parse_session(tpm.execute(commands.build_start_policy(bytes(32))))
    tpm.execute(commands.build_policy_secret(session))
    command = commands.build_activate(
        attestation.handle, endorsement.handle, session, blob=credential.blob, secret=credential.secret
    )
    return commands.parse_activated(tpm.execute(command))


def refusal(action: Any, reason: Reason) -> str:
    with pytest.raises(RefusedError) as raised:
        action()
    assert raised.value.reason is reason
    return raised.value.message


def begin(enrolments: Enrolments, request: Request, **changes: Any) -> Any:
    how = {"node": NODE, "makers": MAKERS, "at": NOW} | changes
    return enrolments.begin(how["node"], request, how["makers"], at=how["at"])


def test_a_certificate_must_come_along(enrolments: Enrolments) -> None:
    bare = replace(request_of(TPM), certificates=())
    assert "no certificate" in refusal(lambda: begin(enrolments, bare), Reason.EVIDENCE_INVALID)


def test_a_certificate_of_another_maker_is_refused(enrolments: Enrolments) -> None:
    other = Makers((Maker("somebody else").root,))
    told = refusal(lambda: begin(enrolments, request_of(TPM), makers=other), Reason.EVIDENCE_UNTRUSTED)
    assert "is no pinned root" in told


def test_a_maker_of_the_same_name_with_another_key_is_refused(enrolments: Enrolments) -> None:
    forger = Makers((Maker().root,))
    told = refusal(lambda: begin(enrolments, request_of(TPM), makers=forger), Reason.EVIDENCE_UNTRUSTED)
    assert "does not hold" in told


def test_without_roots_nothing_is_enrolled(enrolments: Enrolments) -> None:
    refusal(lambda: begin(enrolments, request_of(TPM), makers=Makers(())), Reason.COLLATERAL_MISSING)


def test_a_certificate_that_has_ended_or_not_begun_is_refused(enrolments: Enrolments) -> None:
    for at in (NOW + timedelta(days=4000), NOW - timedelta(days=2)):
        with pytest.raises(RefusedError):
            begin(enrolments, request_of(TPM), at=at)


def test_a_certificate_of_another_tpm_is_refused(enrolments: Enrolments) -> None:
    other = SimulatedTpm(MAKER)
    assert other.certificate is not None
    mixed = replace(request_of(TPM), certificates=(other.certificate,))
    told = refusal(lambda: begin(enrolments, mixed), Reason.EVIDENCE_UNTRUSTED)
    assert "another than the one its maker's certificate is about" in told


def test_a_key_that_could_sign_anything_is_not_enrolled(enrolments: Enrolments) -> None:
    asked = request_of(TPM)
    free = asked.attestation[:4] + (0x40072).to_bytes(4, "big") + asked.attestation[8:]
    told = refusal(lambda: begin(enrolments, replace(asked, attestation=free)), Reason.EVIDENCE_UNTRUSTED)
    assert "is no restricted signing key" in told


def test_an_attestation_key_endorses_nothing(enrolments: Enrolments) -> None:
    asked = request_of(TPM)
    told = refusal(lambda: begin(enrolments, replace(asked, endorsement=asked.attestation)), Reason.EVIDENCE_UNTRUSTED)
    assert "is no restricted decryption key" in told


def test_a_tpm_that_is_not_on_the_list_is_refused(enrolments: Enrolments) -> None:
    digest = hashlib.sha256(request_of(TPM).endorsement).hexdigest()
    for allowed in ({"n2": frozenset({digest})}, {"n1": frozenset({"0" * 64})}, {"*": frozenset({"0" * 64})}):
        makers = replace(MAKERS, allowed=allowed)
        told = refusal(lambda makers=makers: begin(enrolments, request_of(TPM), makers=makers), Reason.CHIP_UNKNOWN)
        assert f"endorsement key {digest} is not one of those allowed for node n1" in told
    for allowed in ({"n1": frozenset({digest})}, {"*": frozenset({digest})}):
        begin(enrolments, request_of(TPM), makers=replace(MAKERS, allowed=allowed))


def test_a_node_keeps_the_tpm_it_was_enrolled_with(enrolments: Enrolments) -> None:
    known = replace(NODE, ek_digest="0" * 64)
    told = refusal(lambda: begin(enrolments, request_of(TPM), node=known), Reason.CHIP_UNKNOWN)
    assert f"node n1 was enrolled with endorsement key {'0' * 64}" in told


def test_a_tpm_of_another_node_is_refused_at_the_beginning_and_at_the_end(
    enrolments: Enrolments, cluster: Cluster
) -> None:
    name, credential = begin(enrolments, request_of(TPM))
    digest = hashlib.sha256(request_of(TPM).endorsement).hexdigest()
    cluster.nodes.append(TrustedNode("n2", "uid-2", ek_digest=digest))
    told = "is that of node n2; node n1 may not show its TPM"
    assert told in refusal(lambda: begin(enrolments, request_of(TPM)), Reason.CHIP_UNKNOWN)
    proof = open_by(TPM, credential)
    assert told in refusal(lambda: enrolments.finish(NODE, name, proof), Reason.CHIP_UNKNOWN)


def test_a_wrong_proof_ends_the_enrolment(enrolments: Enrolments) -> None:
    name, credential = begin(enrolments, request_of(TPM))
    told = refusal(lambda: enrolments.finish(NODE, name, bytes(32)), Reason.EVIDENCE_UNTRUSTED)
    assert "did not open what was made for it" in told
    proof = open_by(TPM, credential)
    refusal(lambda: enrolments.finish(NODE, name, proof), Reason.CHALLENGE_UNKNOWN)


def test_an_enrolment_is_finished_once_in_time_by_the_node_that_began_it(enrolments: Enrolments, clock: Clock) -> None:
    name, credential = begin(enrolments, request_of(TPM))
    proof = open_by(TPM, credential)
    refusal(lambda: enrolments.finish(TrustedNode("n2", "uid-2"), name, proof), Reason.CHALLENGE_UNKNOWN)
    assert enrolments.finish(NODE, name, proof)
    refusal(lambda: enrolments.finish(NODE, name, proof), Reason.CHALLENGE_UNKNOWN)
    name, credential = begin(enrolments, request_of(TPM))
    proof = open_by(TPM, credential)
    clock.at += 121
    told = refusal(lambda: enrolments.finish(NODE, name, proof), Reason.CHALLENGE_UNKNOWN)
    assert "node n1 has no such enrolment open; begin anew" in told


def test_an_enrolment_of_an_earlier_node_of_that_name_is_not_finished(enrolments: Enrolments) -> None:
    name, credential = begin(enrolments, request_of(TPM))
    proof = open_by(TPM, credential)
    later = replace(NODE, uid="uid-9")
    refusal(lambda: enrolments.finish(later, name, proof), Reason.CHALLENGE_UNKNOWN)


def test_another_id_is_another_enrolment(enrolments: Enrolments) -> None:
    _, credential = begin(enrolments, request_of(TPM))
    proof = open_by(TPM, credential)
    refusal(lambda: enrolments.finish(NODE, "0" * 32, proof), Reason.CHALLENGE_UNKNOWN)


@pytest.mark.parametrize("kind", ["ecc", "rsa"])
def test_a_tpm_of_a_maker_on_the_list_is_enrolled_by_the_name_of_its_key(enrolments: Enrolments, kind: str) -> None:
    tpm = SimulatedTpm(MAKER, kind=kind)
    asked = request_of(tpm)
    name, credential = begin(enrolments, asked)
    ak_name, ek_digest = enrolments.finish(NODE, name, open_by(tpm, credential))
    assert ak_name == b"\x00\x0b" + hashlib.sha256(asked.attestation).digest()
    assert ek_digest == hashlib.sha256(asked.endorsement).hexdigest()


def test_an_authority_between_root_and_tpm_comes_along_or_is_configured(enrolments: Enrolments) -> None:
    below = Maker("authority below")
    link = MAKER.authorise(below)
    tpm = SimulatedTpm(below)
    asked = request_of(tpm)
    told = refusal(lambda: begin(enrolments, asked), Reason.EVIDENCE_UNTRUSTED)
    assert "authority below" in told
    begin(enrolments, replace(asked, certificates=(*asked.certificates, link)))
    begin(enrolments, asked, makers=replace(MAKERS, intermediates=(link,)))


def test_other_nodes_with_other_tpms_are_in_nobodys_way_and_a_node_may_enrol_its_own_again(
    enrolments: Enrolments, cluster: Cluster
) -> None:
    digest = hashlib.sha256(request_of(TPM).endorsement).hexdigest()
    mine = replace(NODE, ek_digest=digest)
    cluster.nodes[:] = [mine, TrustedNode("n2", "uid-2", ek_digest="0" * 64), TrustedNode("n3", "uid-3")]
    name, credential = begin(enrolments, request_of(TPM), node=mine)
    assert len(name) == 32
    assert enrolments.finish(mine, name, open_by(TPM, credential))[1] == digest


def test_an_enrolment_may_take_two_minutes(enrolments: Enrolments, clock: Clock) -> None:
    name, credential = begin(enrolments, request_of(TPM))
    clock.at += 120
    assert enrolments.finish(NODE, name, open_by(TPM, credential))


def test_open_enrolments_are_bounded_and_the_longest_open_goes_first(
    enrolments: Enrolments, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sekisho.trust.enrolment.MAX_OPEN", 2)
    nodes = [TrustedNode(f"n{number}", "u") for number in range(3)]
    opened = {}
    for node in (nodes[0], nodes[1], nodes[0], nodes[2]):
        opened[node.name] = begin(enrolments, request_of(TPM), node=node)
    refusal(
        lambda: enrolments.finish(nodes[1], opened["n1"][0], open_by(TPM, opened["n1"][1])), Reason.CHALLENGE_UNKNOWN
    )
    for node in (nodes[0], nodes[2]):
        assert enrolments.finish(node, opened[node.name][0], open_by(TPM, opened[node.name][1]))


def test_the_secret_of_an_enrolment_is_not_shown(enrolments: Enrolments) -> None:
    begin(enrolments, request_of(TPM))
    (pending,) = enrolments._open.values()
    assert "secret" not in repr(pending)
