"""Every kind of evidence has its verifier, and none without collateral."""

import pytest

from sekisho.attest.claims import Tee
from sekisho.attest.evidence import KINDS, UnverifiedEvidence
from sekisho.attest.verifiers.nitro import NitroCollateral
from sekisho.attest.verifiers.nvidia import NvidiaCollateral
from sekisho.attest.verifiers.select import Collateral, verify_evidence
from sekisho.attest.verifiers.snp import SnpCollateral
from sekisho.attest.verifiers.tdx_collateral import TdxCollateral
from sekisho.attest.verifiers.tokens import TokenCollateral
from sekisho.attest.verifiers.tpm import TpmCollateral
from sekisho.errors import Reason, RefusedError
from tests.simulators.hardware.authorities import NOW
from tests.simulators.hardware.nitro import Hypervisor
from tests.simulators.hardware.nvidia import Maker

EVERYTHING = Collateral(
    snp=SnpCollateral(()),
    tdx=TdxCollateral(()),
    tpm=TpmCollateral(),
    nvidia=NvidiaCollateral(()),
    nitro=NitroCollateral(()),
    tokens=TokenCollateral(()),
)


def refused(evidence: UnverifiedEvidence, collateral: Collateral) -> tuple[Reason, str]:
    with pytest.raises(RefusedError) as caught:
        verify_evidence(evidence, collateral, at=NOW)
    return caught.value.reason, caught.value.message


@pytest.mark.parametrize("kind", KINDS)
def test_without_collateral_a_kind_is_refused(kind: str) -> None:
    assert refused(UnverifiedEvidence(kind, b"report"), Collateral()) == (
        Reason.COLLATERAL_MISSING,
        f"there is no collateral for {kind} evidence: nobody trusts it here",
    )


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_that_may_travel_reaches_a_verifier(kind: str) -> None:
    reason, message = refused(UnverifiedEvidence(kind, b"report"), EVERYTHING)
    assert reason is Reason.EVIDENCE_INVALID
    assert "has no verifier" not in message


def test_a_kind_without_a_verifier_is_refused() -> None:
    assert refused(UnverifiedEvidence("sample", b"{}"), EVERYTHING) == (
        Reason.EVIDENCE_INVALID,
        "evidence of kind 'sample' has no verifier",
    )


def test_evidence_is_verified_with_the_collateral_of_its_maker() -> None:
    maker, hypervisor = Maker(), Hypervisor()
    collateral = Collateral(nvidia=NvidiaCollateral((maker.root.der,)), nitro=NitroCollateral((hypervisor.root.der,)))
    gpu = verify_evidence(maker.make(1).evidence(bytes(32)), collateral, at=NOW)
    enclave = verify_evidence(UnverifiedEvidence("nitro", hypervisor.attest()), collateral, at=NOW)
    assert (gpu.tee, enclave.tee) == (Tee.NVIDIA_GPU, Tee.NITRO)
