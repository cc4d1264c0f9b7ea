"""Evidence: by which collateral it is verified, what it was made for, and that no piece stands for two."""

import asyncio
import hashlib
from dataclasses import replace

import pytest

from sekisho.attest.claims import Claims
from sekisho.attest.evidence import UnverifiedEvidence
from sekisho.attest.verifiers.select import Collateral
from sekisho.broker.verifying import Verifier, check_bound, digest_evidence, verify_by
from sekisho.errors import Reason, RefusedError
from tests.unit.attest.claims import NOW, SNP, TPM, build_gpu
from tests.unit.broker.release_cases import build_facts

BINDING = build_facts().binding
SHORT, LONG = UnverifiedEvidence("snp", b""), UnverifiedEvidence("tdx", bytes(8193))


def bound(claims: Claims, **changes: object) -> Claims:
    return replace(claims, bound_data=BINDING.digest(64), **changes)  # type: ignore[arg-type]


def refused(*claims: Claims) -> tuple[Reason, str]:
    with pytest.raises(RefusedError) as caught:
        check_bound(claims, BINDING)
    return caught.value.reason, caught.value.message


def test_no_evidence_is_bound_to_nothing() -> None:
    assert refused() == (Reason.EVIDENCE_MISSING, "there is no evidence")


def test_evidence_that_was_made_for_something_else_is_refused_wherever_it_stands() -> None:
    other = replace(SNP, bound_data=replace(BINDING, uid="uid-2").digest(64))
    for claims in ((other,), (bound(TPM), other), (other, bound(TPM))):
        reason, message = refused(*claims)
        assert reason is Reason.EVIDENCE_NOT_BOUND
        assert message.startswith(
            f"the snp evidence commits to {other.bound_data[:8].hex()}…, made for release by pod "
        )


def test_one_device_that_speaks_twice_is_refused() -> None:
    twice = (Reason.EVIDENCE_INVALID, "two pieces of evidence come from the same device")
    assert refused(bound(SNP), bound(SNP, evidence_digest="sha256:other")) == twice
    assert refused(bound(SNP, chip_id=None), bound(SNP, chip_id=None)) == twice


def test_evidence_of_several_devices_that_was_made_for_this_is_taken() -> None:
    check_bound((bound(SNP),), BINDING)
    check_bound((bound(SNP), bound(TPM), bound(build_gpu(1)), bound(build_gpu(2))), BINDING)
    check_bound((bound(SNP, chip_id=None), bound(SNP, chip_id=None, evidence_digest="sha256:other")), BINDING)
    check_bound((bound(SNP), bound(TPM, chip_id=SNP.chip_id)), BINDING)


def test_one_digest_speaks_for_all_pieces_whatever_their_order() -> None:
    assert digest_evidence([SNP]) == SNP.evidence_digest
    text = f"{SNP.evidence_digest}\n{TPM.evidence_digest}".encode()
    for pieces in ([SNP, TPM], [TPM, SNP]):
        assert digest_evidence(pieces) == f"sha256:{hashlib.sha256(text).hexdigest()}"


def test_without_collateral_nobody_is_trusted() -> None:
    with pytest.raises(RefusedError, match="there is no collateral for snp evidence") as caught:
        verify_by(Collateral)(SHORT, NOW, frozenset())
    assert caught.value.reason is Reason.COLLATERAL_MISSING


def test_a_quote_from_a_node_that_is_not_enrolled_is_of_no_known_machine() -> None:
    verify, quote = verify_by(Collateral), UnverifiedEvidence("tpm", b"")
    with pytest.raises(RefusedError, match="the pod's node is enrolled with no TPM") as caught:
        verify(quote, NOW, frozenset())
    assert caught.value.reason is Reason.CHIP_UNKNOWN
    with pytest.raises(RefusedError) as caught:
        verify(quote, NOW, frozenset({b"\x00\x0b" + bytes(32)}))
    assert caught.value.reason is Reason.EVIDENCE_INVALID


async def test_a_verifier_that_is_closed_ends_what_waits_and_takes_nothing_long_any_more() -> None:
    verifier = Verifier(lambda _piece, _at, _enrolled: SNP, threads=1)
    for piece in (SHORT, LONG):
        assert await verifier.verify([piece], at=NOW, enrolled=frozenset()) == (SNP,)
    assert verifier._waiting == 0
    waiting = asyncio.create_task(verifier.verify([SHORT], at=NOW, enrolled=frozenset()))
    await asyncio.sleep(0)
    verifier.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    with pytest.raises(RuntimeError, match="the threads verifier are closed"):
        await verifier.verify([LONG], at=NOW, enrolled=frozenset())
