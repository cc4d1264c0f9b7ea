"""Answers of OCSP responders: signed by who may, valid now, and heard."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, SHA384, HashAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sekisho.attest.certificates import parse_certificate
from sekisho.attest.ocsp import check_ocsp
from sekisho.attest.verifiers.nvidia import NvidiaCollateral, verify_nvidia
from sekisho.errors import Reason, RefusedError
from tests.simulators.hardware.authorities import NOW, Holder, build_holder
from tests.simulators.hardware.nvidia import Maker

ROOT = build_holder("Root")
MIDDLE = build_holder("Middle", ROOT)
LEAF = build_holder("Leaf", MIDDLE, authority=False)
NAME, HASH = SHA1(), SHA384()  # noqa: S303 - the first is for a name, not for a signature
RESPONDER_USE = (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING]), False)
RESPONDER = build_holder("Responder", MIDDLE, authority=False, extensions=[RESPONDER_USE])
CHAIN = [parse_certificate(each.der) for each in (LEAF, MIDDLE)]


def answer(
    about: Holder = LEAF,
    issuer: Holder = MIDDLE,
    signer: Holder | None = None,
    *,
    status: ocsp.OCSPCertStatus = ocsp.OCSPCertStatus.GOOD,
    begin: datetime = NOW - timedelta(hours=1),
    end: datetime | None = NOW + timedelta(hours=1),
    named_by: HashAlgorithm = NAME,
    certificates: tuple[Holder, ...] = (),
    algorithm: HashAlgorithm = HASH,
) -> bytes:
    signer = signer or issuer
    revoked = status is ocsp.OCSPCertStatus.REVOKED
    builder = ocsp.OCSPResponseBuilder().add_response(
        cert=about.certificate, issuer=issuer.certificate, algorithm=named_by, cert_status=status, this_update=begin,
        next_update=end, revocation_time=NOW - timedelta(days=1) if revoked else None,
        revocation_reason=x509.ReasonFlags.certificate_hold if revoked else None,
    )  # fmt: skip
    builder = builder.responder_id(ocsp.OCSPResponderEncoding.NAME, signer.certificate)
    if certificates:
        builder = builder.certificates([each.certificate for each in certificates])
    return builder.sign(signer.key, algorithm).public_bytes(Encoding.DER)


def check(*answers: bytes, at: datetime = NOW) -> Any:
    return check_ocsp(CHAIN, (ROOT.der,), answers, at=at)


def refused(*answers: bytes, at: datetime = NOW) -> tuple[Reason, str]:
    with pytest.raises(RefusedError) as caught:
        check(*answers, at=at)
    return caught.value.reason, caught.value.message


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ((b"",), "one cannot be read, or is about more than one certificate"),
        ((b"x" * 16384,), "one cannot be read, or is about more than one certificate"),
        ((b"x" * 16385,), "one has 16385 bytes, 16384 are allowed"),
        ((answer(),) * 65, "there are 65, 64 are allowed"),
        ((ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.TRY_LATER).public_bytes(Encoding.DER),),
         "one says TRY_LATER instead of an answer"),
        ((answer(certificates=(RESPONDER,) * 5),), "one has no hash that can be used, or too many certificates"),
        ((answer(end=None),), "the one about CN=Leaf does not tell until when it is valid"),
        ((answer(signer=LEAF),), "neither CN=Middle nor a responder of its own signed the one about CN=Leaf"),
        ((answer(signer=RESPONDER),), "neither CN=Middle nor a responder of its own signed the one about CN=Leaf"),
    ],
)  # fmt: skip
def test_answers_that_cannot_be_used_are_refused(answers: tuple[bytes, ...], message: str) -> None:
    assert refused(*answers) == (Reason.COLLATERAL_INVALID, f"the OCSP answers cannot be used: {message}")


@pytest.mark.parametrize(
    "holder",
    [
        build_holder("Server", MIDDLE, authority=False),
        build_holder("Both", MIDDLE, authority=False, extensions=[
            (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING, ExtendedKeyUsageOID.SERVER_AUTH]), False)]),
        build_holder("Foreign", ROOT, authority=False, extensions=[RESPONDER_USE]),
        build_holder("Old", MIDDLE, authority=False, extensions=[RESPONDER_USE], end=NOW - timedelta(days=1)),
    ],
    ids=["no responder", "not only a responder", "another issuer's", "expired"],
)  # fmt: skip
def test_who_was_not_certified_to_answer_does_not_answer(holder: Holder) -> None:
    reason, message = refused(answer(signer=holder, certificates=(holder,)))
    assert reason is Reason.COLLATERAL_INVALID
    assert message.endswith("neither CN=Middle nor a responder of its own signed the one about CN=Leaf")


@pytest.mark.parametrize("hours", [-2, 2])
def test_answers_are_heard_only_while_they_are_valid(hours: int) -> None:
    reason, message = refused(answer(), at=NOW + timedelta(hours=hours))
    assert reason is Reason.COLLATERAL_EXPIRED
    assert message.startswith("the OCSP answer about CN=Leaf is valid from")


@pytest.mark.parametrize(
    ("status", "told"), [(ocsp.OCSPCertStatus.REVOKED, "revoked"), (ocsp.OCSPCertStatus.UNKNOWN, "unknown")]
)
def test_a_certificate_that_is_revoked_or_on_hold_or_not_known_is_refused(
    status: ocsp.OCSPCertStatus, told: str
) -> None:
    assert refused(answer(status=status)) == (
        Reason.EVIDENCE_REVOKED,
        f"the certificate of CN=Leaf is {told} to the responder of CN=Middle",
    )
    assert refused(answer(MIDDLE, ROOT, status=status))[0] is Reason.EVIDENCE_REVOKED


@pytest.mark.parametrize("signer", [None, RESPONDER])
@pytest.mark.parametrize("named_by", [SHA1(), SHA256()])  # noqa: S303
def test_answers_by_the_issuer_and_by_its_responder_are_heard(signer: Holder | None, named_by: HashAlgorithm) -> None:
    windows, checked = check(answer(signer=signer, certificates=(RESPONDER,), named_by=named_by))
    assert [each.not_after for each in windows] == [NOW + timedelta(hours=1)]
    assert checked == {"CN=Leaf"}


def test_as_many_answers_with_as_many_certificates_as_are_allowed_are_heard() -> None:
    windows, checked = check(*(answer(certificates=(RESPONDER,) * 4),) * 64)
    assert len(windows) == 64
    assert checked == {"CN=Leaf"}


def test_a_root_that_is_none_is_refused() -> None:
    with pytest.raises(RefusedError, match=r"^a root is not an X\.509 certificate in DER") as caught:
        check_ocsp(CHAIN, (b"x",), (), at=NOW)
    assert caught.value.reason is Reason.COLLATERAL_INVALID


def test_answers_about_others_say_nothing() -> None:
    other = build_holder("Other", MIDDLE, authority=False)
    namesake = build_holder("Middle", ROOT)
    same_serial = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Leaf")]))
        .issuer_name(namesake.name)
        .public_key(LEAF.key.public_key())
        .serial_number(LEAF.certificate.serial_number)
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=1))
        .sign(namesake.key, SHA384())
    )
    about = Holder(LEAF.name, LEAF.key, same_serial)
    revoked = ocsp.OCSPCertStatus.REVOKED
    assert check(answer(other, status=revoked), answer(about, namesake, status=revoked)) == ((), frozenset())


def test_an_issuer_with_an_rsa_key_answers_too() -> None:
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "RSA Root")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=1))
    )
    root = Holder(name, key, builder.sign(key, SHA256()))  # type: ignore[arg-type]
    leaf = build_holder("Leaf", root, authority=False)
    chain = [parse_certificate(leaf.der)]
    assert check_ocsp(chain, (root.der,), [answer(leaf, root)], at=NOW)[1] == {"CN=Leaf"}
    with pytest.raises(RefusedError, match="neither CN=RSA Root nor a responder of its own"):
        check_ocsp(chain, (root.der,), [answer(leaf, root, signer=MIDDLE)], at=NOW)


def test_a_gpu_whose_identity_is_on_hold_is_refused() -> None:
    maker = Maker()
    gpu = maker.make(1)
    identity, family, _ = gpu.above

    def collateral(*answers: bytes) -> NvidiaCollateral:
        return NvidiaCollateral((maker.root.der,), ocsp=answers)

    claims = verify_nvidia(gpu.evidence(bytes(32)), collateral(), at=NOW)
    assert claims.fact("revocation") == "unchecked"
    good = [answer(gpu.leaf, identity), answer(identity, family), answer(family, maker.root)]
    claims = verify_nvidia(gpu.evidence(bytes(32)), collateral(*good), at=NOW)
    assert claims.fact("revocation") == "checked"
    assert claims.window.not_after == NOW + timedelta(hours=1)
    assert verify_nvidia(gpu.evidence(bytes(32)), collateral(*good[1:]), at=NOW).fact("revocation") == "unchecked"
    held = answer(identity, family, status=ocsp.OCSPCertStatus.REVOKED)
    with pytest.raises(RefusedError) as caught:
        verify_nvidia(gpu.evidence(bytes(32)), collateral(held), at=NOW)
    assert caught.value.reason is Reason.EVIDENCE_REVOKED
