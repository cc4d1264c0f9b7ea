"""Certificates of signers: what does not lead to a pinned root, for code, now, and for whom the policy names."""

from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.errors import Reason, RefusedError
from sekisho.seal.manifest import MANIFEST_NAME
from sekisho.seal.signers import find_signers
from sekisho.seal.statement import Envelope, Signature, encode_signatures
from sekisho.seal.trust import SignerText, parse_signers, verify_manifest
from tests.unit.seal.sealing import seal
from tests.unit.seal.signing import (
    NOW,
    Authorities,
    build_authorities,
    certify,
    curve_key,
    ed25519_key,
    email,
    key_id_of,
    pem_of,
    rsa_key,
    sign,
    statement_of,
)

MANIFEST = seal().blobs[MANIFEST_NAME]
TLS = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]


def verify(house: Authorities, *subjects: str, at: Any = NOW, chain: tuple[bytes, ...] | None = None) -> frozenset[str]:
    payload = statement_of(MANIFEST)
    certificates = chain if chain is not None else (house.leaf.der, house.between.der)
    data = encode_signatures(Envelope(payload, (sign(house.leaf.key, payload, certificates=certificates),)))
    return verify_manifest(MANIFEST, data, parse_signers([house.text(*subjects)]), at=at).signed_by


def refuse(house: Authorities, *subjects: str, reason: Reason = Reason.SIGNER_NOT_TRUSTED, **more: Any) -> str:
    with pytest.raises(RefusedError) as caught:
        verify(house, *subjects, **more)
    assert caught.value.reason is reason
    assert caught.value.message.endswith("; a signature by one of these is needed: model-release")
    return caught.value.message


def test_an_expired_certificate_is_refused_and_the_dates_are_told() -> None:
    message = refuse(build_authorities(days=(-9, -1)))
    assert message.startswith(
        "the certificate of CN=release,O=Example is valid from 2026-11-20T12:00:00Z to 2026-11-28T12:00:00Z, "
        "it is 2026-11-29T12:00:00Z; sign anew"
    )


def test_a_certificate_that_is_not_valid_yet_is_refused() -> None:
    assert "is valid from 2026-12-01T12:00:00Z" in refuse(build_authorities(days=(2, 9)))


@pytest.mark.parametrize(
    ("house", "told"),
    [
        ({"root": {"days": (-9, -1)}}, "valid"),
        ({"between": {"days": (-9, -1)}}, "valid"),
        ({"between": {"ca": False, "constrained": True, "path_length": None}}, "basicConstraints.cA must be asserted"),
        ({"between": {"ca": False}}, "BasicConstraints"),
        ({"between": {"key_cert_sign": False}}, "issuer's key usage lacks keyCertSign"),
        ({"between": {"usage": False}}, "2.5.29.15: Certificate is missing required extension"),
        ({"between": {"extended": TLS}}, "issuer's extended key usage lacks codeSigning"),
        ({"between": {"key": ed25519_key("between")}}, "Forbidden public key algorithm"),
        ({"root": {"path_length": 0}}, "path length"),
        ({"ca": True, "digital_signature": True, "extended": None}, "authority, not of a signer"),
        ({"extended": TLS}, "its extended key usage lacks codeSigning"),
        ({"digital_signature": False, "key_cert_sign": True}, "its key usage lacks digitalSignature"),
        ({"usage": False}, "2.5.29.15: Certificate is missing required extension"),
        (
            {"extensions": [(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\5\0"), True)]},
            "critical extensions",
        ),
    ],
)  # fmt: skip
def test_a_chain_that_breaks_a_rule_leads_to_no_root(house: dict[str, Any], told: str) -> None:
    message = refuse(build_authorities(**house))
    assert message.startswith("the certificate of CN=release,O=Example leads to no root of the policy (")
    assert told.lower() in message.lower()


def test_names_that_the_root_forbids_are_refused() -> None:
    forbidden = x509.NameConstraints(permitted_subtrees=[x509.DNSName("elsewhere.org")], excluded_subtrees=None)
    house = build_authorities(root={"extensions": [(forbidden, True)]}, extensions=[email("a@example.org")])
    assert "leads to no root of the policy" in refuse(house)


def test_a_chain_to_another_root_of_the_same_name_is_refused() -> None:
    house, other = build_authorities(), build_authorities()
    assert "leads to no root of the policy" in refuse(Authorities(other.root, house.between, house.leaf))


def test_a_root_that_the_signer_brought_along_is_not_believed() -> None:
    house, other = build_authorities(), build_authorities()
    chain = (house.leaf.der, house.between.der, house.root.der)
    message = refuse(Authorities(other.root, house.between, house.leaf), chain=chain)
    assert "leads to no root of the policy" in message


def test_a_chain_without_its_intermediate_is_refused() -> None:
    house = build_authorities()
    assert "leads to no root of the policy" in refuse(house, chain=(house.leaf.der,))


def test_a_certificate_of_somebody_else_of_the_same_authority_is_refused() -> None:
    message = refuse(build_authorities(), "CN=somebody,O=Example", "email:release@example.org")
    assert "the certificate of CN=release,O=Example is of nobody whom an authority of the policy names" in message


@pytest.mark.parametrize(
    "subject",
    ["CN=release", "CN=Release,O=Example", "O=Example,CN=release", "email:release@example", "dns:example.org",
     "uri:release@example.org", "dns:release@example.org"],
)  # fmt: skip
def test_a_subject_fits_as_a_whole_and_as_its_own_kind_or_not_at_all(subject: str) -> None:
    refuse(build_authorities(extensions=[email("release@example.org")]), subject)


def test_alternative_names_that_cannot_be_read_fit_nobody() -> None:
    broken = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.17"), b"\x04\x01")
    refuse(build_authorities(extensions=[(broken, False)]), "email:release@example.org")


def test_a_signature_by_another_key_than_the_certificates_is_refused() -> None:
    house = build_authorities()
    other = Authorities(house.root, house.between, certify("CN=x", house.between))
    message = refuse(other, reason=Reason.SIGNATURE_INVALID, chain=(house.leaf.der, house.between.der))
    assert message.startswith("a signature does not hold for the certificate that came with it")


@pytest.mark.parametrize("certificate", [b"no certificate", certify("CN=release,O=Example", key=rsa_key()).der])
def test_a_certificate_that_cannot_be_read_or_whose_key_cannot_sign_is_refused(certificate: bytes) -> None:
    message = refuse(build_authorities(), reason=Reason.SIGNATURE_INVALID, chain=(certificate,))
    assert message.startswith("a certificate beside the signature cannot be read or cannot sign")


def test_a_certificate_counts_for_nothing_where_the_policy_names_keys_only() -> None:
    house = build_authorities()
    signers = parse_signers([SignerText("model-release", (pem_of(ed25519_key("owner")),))])
    with pytest.raises(RefusedError, match="is of nobody whom an authority of the policy names"):
        verify_manifest(MANIFEST, house.envelope(MANIFEST), signers, at=NOW)


def test_a_false_hint_does_not_stop_a_certificate_that_holds() -> None:
    house, owner, payload = build_authorities(), ed25519_key("owner"), statement_of(MANIFEST)
    signature = sign(house.leaf.key, payload, certificates=(house.leaf.der, house.between.der), key_id=key_id_of(owner))
    signers = parse_signers([SignerText("owner", (pem_of(owner),)), house.text()])
    verified = verify_manifest(MANIFEST, encode_signatures(Envelope(payload, (signature,))), signers, at=NOW)
    assert verified.signed_by == {"model-release"}


@pytest.mark.parametrize(
    "subject",
    ["CN=release,O=Example", "email:release@example.org", "dns:build.example.org"],
)  # fmt: skip
def test_a_chain_to_a_pinned_root_holds_for_each_name_of_the_subject(subject: str) -> None:
    house = build_authorities(extensions=[email("release@example.org")])
    assert verify(house, "CN=nobody", subject) == {"model-release"}


@pytest.mark.parametrize("key", [curve_key(ec.SECP384R1()), ed25519_key("leaf")])
def test_authorities_may_use_rsa_and_signers_p384_or_ed25519(key: Any) -> None:
    house = build_authorities(root={"key": rsa_key()}, between={"key": rsa_key()}, key=key)
    assert verify(house) == {"model-release"}


def test_a_certificate_without_extended_key_usage_holds_and_a_pinned_intermediate_is_enough() -> None:
    house = build_authorities(extended=None)
    assert verify(house) == {"model-release"}
    assert verify(Authorities(house.between, house.between, house.leaf), chain=(house.leaf.der,)) == {"model-release"}


def test_the_time_of_the_check_decides_and_not_the_time_of_signing() -> None:
    house = build_authorities()
    assert verify(house, at=NOW + timedelta(days=29)) == {"model-release"}
    refuse(house, at=NOW + timedelta(days=31))


def test_a_signer_may_have_several_authorities_and_each_counts() -> None:
    first, second = build_authorities(), build_authorities()
    signers = parse_signers([first.text(), second.text("CN=release,O=Example")])
    assert len(signers) == 1
    for house in (first, second):
        assert verify_manifest(MANIFEST, house.envelope(MANIFEST), signers, at=NOW).signed_by == {"model-release"}


def spoil(der: bytes, old: bytes, new: bytes) -> bytes:
    assert der.count(old) >= 1
    return der.replace(old, new, 1)


LEAF = build_authorities(extensions=[email("release@example.org")])


@pytest.mark.parametrize(
    "certificate",
    [
        spoil(LEAF.leaf.der, b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x0c"),  # version 12
        spoil(LEAF.leaf.der, b"\x0c\x07release", b"\x0c\x07\xff\xfelease"),  # a subject that is no text
        spoil(LEAF.leaf.der, b"\x06\x03\x55\x04\x03\x0c\x07release", b"\x06\x03\x55\x04\x03\x03\x07release"),  # or bits
        b"",
        b"\x30\x80",
    ],
    ids=["version", "text", "bits", "empty", "endless"],
)
def test_a_certificate_that_is_broken_inside_is_refused_like_one_that_is_none(certificate: bytes) -> None:
    signature = Signature(key_id=key_id_of(LEAF.leaf.key), value=b"value", certificates=(certificate,))
    with pytest.raises(RefusedError) as caught:
        find_signers(b"payload", (signature,), parse_signers([LEAF.text()]), at=NOW)
    assert caught.value.reason is Reason.SIGNATURE_INVALID
    assert caught.value.message.startswith("a certificate beside the signature cannot be read or cannot sign")


@pytest.mark.filterwarnings("ignore")  # of cryptography, on odd names and numbers
@settings(max_examples=300, deadline=None)
@given(st.integers(0, 1), st.integers(0, 2000), st.binary(max_size=2))
def test_no_change_of_a_certificate_does_more_than_refuse(which: int, place: int, bytes_: bytes) -> None:
    chain = [LEAF.leaf.der, LEAF.between.der]
    place %= len(chain[which])
    before = chain[which]
    chain[which] = before[:place] + bytes_ + before[place + 1 :]
    payload = statement_of(MANIFEST)
    signature = sign(LEAF.leaf.key, payload, certificates=tuple(chain))
    signers = parse_signers([LEAF.text("email:release@example.org", "CN=release,O=Example")])
    if chain[which] != before:
        with pytest.raises(RefusedError) as caught:
            find_signers(payload, (signature,), signers, at=NOW)
        assert caught.value.reason in {Reason.SIGNATURE_INVALID, Reason.SIGNER_NOT_TRUSTED}
