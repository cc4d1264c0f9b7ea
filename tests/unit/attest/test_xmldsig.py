"""Signatures of manifests: one profile, and nothing beside it."""

import base64
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from lxml import etree
from signxml import (
    CanonicalizationMethod,
    DigestAlgorithm,
    SignatureConfiguration,
    SignatureMethod,
    XMLSigner,
    XMLVerifier,
)

from sekisho.attest.xmldsig import DSIG, verify_enveloped
from sekisho.attest.xmltree import parse_xml
from sekisho.errors import Reason, RefusedError
from tests.simulators.hardware.authorities import NOW, build_holder
from tests.simulators.hardware.manifests import SIGNED_INFO, Publisher, render, sign

PUBLISHER = Publisher()
XML = render("550.90.07", {1: [b"x" * 48]})
SIGNED = sign(XML, PUBLISHER.chain)
ROOTS = (PUBLISHER.root.der,)


def refused(data: bytes, roots: tuple[bytes, ...] = ROOTS, days: int = 0) -> tuple[Reason, str]:
    with pytest.raises(RefusedError) as caught:
        verify_enveloped(parse_xml(data), roots, at=NOW + timedelta(days=days))
    return caught.value.reason, caught.value.message


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("/2006/12/xml-c14n11", "/2001/10/xml-exc-c14n#", "its CanonicalizationMethod is not http"),
        ("#ecdsa-sha384", "#rsa-sha256", "its SignatureMethod is not http"),
        ("#ecdsa-sha384", "#hmac-sha384", "its SignatureMethod is not http"),
        ('URI=""', 'URI="#part"', "its signature is not over the whole document"),
        ('URI=""', "", "its signature is not over the whole document"),
        ("#enveloped-signature", "#base64", "its signature is not enveloped and in canonical form 1.1"),
        (
            "<ds:Transforms>",
            '<ds:Transforms><ds:Transform Algorithm="http://www.w3.org/TR/1999/REC-xslt-19991116"/>',
            "its signature is not enveloped and in canonical form 1.1",
        ),
        ("xmldsig-more#sha384", "xmldsig#sha1", "its DigestMethod is not http"),
        ("<ds:DigestValue>DIGEST", "<ds:DigestValue>AAAA", "its content is not what was signed"),
        ("<ds:DigestValue>DIGEST", "<ds:DigestValue>*", "its DigestValue is not base64"),
        ("</ds:Reference>", '</ds:Reference><ds:Reference URI=""/>', "it has 2 Reference in its SignedInfo, not one"),
        ("ecdsa-sha384\"/>", "ecdsa-sha384\"><ds:X/></ds:SignatureMethod>", "its SignatureMethod is not http"),
        ("ds:SignedInfo>", "ds:Other>", "it has 0 SignedInfo in its Signature, not one"),
    ],
)  # fmt: skip
def test_a_signature_of_another_profile_is_refused(old: str, new: str, message: str) -> None:
    assert old in SIGNED_INFO
    reason, text = refused(sign(XML, PUBLISHER.chain, info=SIGNED_INFO.replace(old, new)))
    assert reason is Reason.COLLATERAL_INVALID
    assert message in text


def test_content_that_was_changed_is_refused() -> None:
    assert refused(SIGNED.replace(b"550.90.07", b"550.90.08")) == (
        Reason.COLLATERAL_INVALID,
        "the manifest cannot be used: its content is not what was signed",
    )


def test_a_signature_that_was_changed_is_refused() -> None:
    start = SIGNED.index(b"<ds:SignatureValue>") + 19
    value = bytearray(base64.b64decode(SIGNED[start : start + 128]))
    value[5] ^= 1
    reason, message = refused(SIGNED[:start] + base64.b64encode(bytes(value)) + SIGNED[start + 128 :])
    assert reason is Reason.COLLATERAL_INVALID
    assert "the signature of the manifest's signed part does not hold" in message


def test_a_document_without_a_signature_or_with_two_is_refused() -> None:
    assert refused(XML.encode())[1].endswith("it has 0 Signature in its SoftwareIdentity, not one")
    twice = sign(XML, PUBLISHER.chain, tail=f'<ds:Signature xmlns:ds="{DSIG}"/>')
    assert refused(twice)[1].endswith("it has 2 Signature in its SoftwareIdentity, not one")


def test_a_signed_document_inside_another_is_refused() -> None:
    wrapped = b"<Evil>" + SIGNED + b"</Evil>"
    assert refused(wrapped)[1].endswith("it has 0 Signature in its Evil, not one")


def test_a_signer_of_another_root_is_refused() -> None:
    reason, message = refused(SIGNED, (build_holder("Manifest Root CA").der,))
    assert reason is Reason.COLLATERAL_INVALID
    assert "Manifest" in message


def test_a_signer_that_is_not_valid_any_more_is_told_as_such() -> None:
    reason, message = refused(SIGNED, days=366)
    assert reason is Reason.COLLATERAL_EXPIRED
    assert message == (
        "a manifest is signed by CN=Manifest Signer, valid from 2026-05-02 to 2027-06-01, it is 2027-06-02; import a "
        "newer one"
    )


def test_without_pinned_roots_nothing_is_believed() -> None:
    assert refused(SIGNED, ())[0] is Reason.COLLATERAL_MISSING


@pytest.mark.parametrize("count", [0, 7])
def test_too_few_and_too_many_certificates_are_refused(count: int) -> None:
    reason, message = refused(sign(XML, [PUBLISHER.signer] * count))
    assert reason is Reason.COLLATERAL_INVALID
    assert message.endswith(f"its signature comes with {count} certificates, 1 to 6 are allowed")


def test_chains_of_one_and_of_six_certificates_are_taken() -> None:
    above = [PUBLISHER.root]
    for number in range(4):
        above.append(build_holder(f"Issuer {number}", above[-1]))
    deep = (build_holder("Deep Signer", above[-1], authority=False), *reversed(above))
    assert len(deep) == 6
    verify_enveloped(parse_xml(sign(XML, deep)), ROOTS, at=NOW)
    direct = (build_holder("Signer", PUBLISHER.root, authority=False),)
    verify_enveloped(parse_xml(sign(XML, direct)), ROOTS, at=NOW)


def test_what_holds_is_valid_as_long_as_its_signer() -> None:
    window = verify_enveloped(parse_xml(SIGNED), ROOTS, at=NOW)
    assert window.not_after == NOW + timedelta(days=365)


def test_what_another_implementation_signed_is_verified() -> None:
    signer = XMLSigner(
        signature_algorithm=SignatureMethod.ECDSA_SHA384,
        digest_algorithm=DigestAlgorithm.SHA384,
        c14n_algorithm=CanonicalizationMethod.CANONICAL_XML_1_1,
    )
    certificates = [each.certificate for each in PUBLISHER.chain]
    signed = signer.sign(etree.fromstring(XML), key=PUBLISHER.signer.key, cert=certificates)
    verify_enveloped(parse_xml(etree.tostring(signed)), ROOTS, at=NOW)


def test_another_implementation_verifies_what_the_simulator_signs() -> None:
    pem = PUBLISHER.signer.certificate.public_bytes(Encoding.PEM).decode()
    expect = SignatureConfiguration(
        signature_methods=frozenset({SignatureMethod.ECDSA_SHA384}),
        digest_algorithms=frozenset({DigestAlgorithm.SHA384}),
    )
    assert XMLVerifier().verify(SIGNED, x509_cert=pem, expect_config=expect).signed_xml is not None
