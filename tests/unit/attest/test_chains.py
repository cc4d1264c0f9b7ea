"""Chains of certificates: what does not lead to a pinned root now is refused for its own reason."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.attest.chains import Chain, Purpose, arrange, parse_certificate, verify_chain
from sekisho.attest.claims import Window
from sekisho.errors import Reason, RefusedError
from tests.unit.attest.authorities import (
    DAY,
    NOW,
    Holder,
    curve_key,
    issue,
    issue_authority,
    name_of,
    revoke,
    rsa_key,
    usage_of,
)
from tests.unit.fuzz import attempt, changed

ROOT = issue_authority("root", ends=NOW + 300 * DAY)
BETWEEN = issue_authority("between", ROOT, begins=NOW - 50 * DAY)
LEAF = issue("leaf", BETWEEN, usage=usage_of("digital_signature"), ends=NOW + 20 * DAY)
OTHER = issue_authority("other root")
SECOND = timedelta(seconds=1)


def verify(*leaf_first: Holder, roots: tuple[Holder, ...] = (ROOT,), **more: Any) -> Chain:
    return verify_chain([each.der for each in leaf_first], [root.der for root in roots], **{"at": NOW, **more})


def refused(reason: Reason, message: str, *leaf_first: Holder, **more: Any) -> None:
    with pytest.raises(RefusedError) as caught:
        verify(*leaf_first, **more)
    assert caught.value.reason is reason
    assert message in caught.value.message


def untrusted(message: str, *leaf_first: Holder, **more: Any) -> None:
    refused(Reason.EVIDENCE_UNTRUSTED, message, *leaf_first, **more)


def test_an_empty_or_endless_chain_is_refused() -> None:
    untrusted("a chain has 0 certificates, 1 to 8 are allowed")
    untrusted("a chain has 9 certificates, 1 to 8 are allowed", *[LEAF] * 9)


def test_the_longest_chain_and_the_most_roots_lists_and_certificates_are_taken() -> None:
    issuers = [ROOT]
    for index in range(7):
        issuers.append(issue_authority(f"issuer {index}", issuers[-1]))
    leaf = issue("leaf", issuers[-1])
    chain = [leaf, *issuers[:0:-1]]
    assert len(chain) == 8
    assert verify(*chain).leaf.who == "CN=leaf"
    assert verify(*chain, roots=(OTHER,) * 63 + (ROOT,), crls=[revoke(OTHER)] * 64).leaf.who == "CN=leaf"
    assert arrange(leaf.der, [OTHER.der] * 25 + [each.der for each in issuers[1:]]) == tuple(each.der for each in chain)
    untrusted("a chain has 9 certificates", *chain, ROOT)


def test_without_a_root_nothing_is_believed() -> None:
    message = "no root certificate is pinned for this evidence; import one"
    refused(Reason.COLLATERAL_MISSING, message, LEAF, BETWEEN, roots=())
    message = "65 root certificates are pinned, 64 are allowed"
    refused(Reason.COLLATERAL_INVALID, message, LEAF, BETWEEN, roots=(ROOT,) * 65)


def test_a_root_that_cannot_be_read_is_a_fault_of_the_collateral() -> None:
    with pytest.raises(RefusedError) as caught:
        verify_chain([LEAF.der], [b"not a certificate"], at=NOW)
    assert caught.value.reason is Reason.COLLATERAL_INVALID
    assert caught.value.message == "a pinned root certificate is not an X.509 certificate in DER"


@pytest.mark.parametrize(
    ("der", "message"),
    [
        (b"", "a certificate of the evidence is not an X.509 certificate in DER"),
        (LEAF.der + b"\0", "a certificate of the evidence is not an X.509 certificate in DER"),
        (bytes(16384), "a certificate of the evidence is not an X.509 certificate in DER"),
        (bytes(16385), "a certificate of the evidence has 16385 bytes, 16384 are allowed"),
    ],
)
def test_a_certificate_that_cannot_be_read_is_refused(der: bytes, message: str) -> None:
    with pytest.raises(RefusedError) as caught:
        verify_chain([der], [ROOT.der], at=NOW)
    assert caught.value.reason is Reason.EVIDENCE_INVALID
    assert caught.value.message == message


@pytest.mark.parametrize(
    "key", [rsa_key(1024), curve_key(ec.SECP192R1()), ed25519.Ed25519PrivateKey.generate()], ids=["rsa", "curve", "ed"]
)
def test_keys_that_are_weak_or_of_another_kind_are_refused(key: Any) -> None:
    message = "a certificate of the evidence, of CN=weak, has 0 extensions or a key that cannot be used"
    refused(Reason.EVIDENCE_INVALID, message, issue("weak", BETWEEN, key=key), BETWEEN)


@dataclass(frozen=True)
class PublicAlone:
    """The public part of an RSA key that nobody has to make."""

    bits: int

    def public_key(self) -> rsa.RSAPublicKey:
        return rsa.RSAPublicNumbers(65537, 2 ** (self.bits - 1) + 1).public_key()


def test_rsa_keys_are_taken_up_to_their_largest_size() -> None:
    assert verify(issue("large", BETWEEN, key=PublicAlone(8192)), BETWEEN).leaf.who == "CN=large"
    refused(
        Reason.EVIDENCE_INVALID, "a key that cannot be used", issue("huge", BETWEEN, key=PublicAlone(8193)), BETWEEN
    )


def test_names_are_told_in_part_where_they_are_long() -> None:
    long = name_of("c" * 60, organization_name="o" * 60, locality_name="l" * 60, state_or_province_name="s" * 60)
    assert len(parse_certificate(issue("", name=long).der).who) == 200


def test_a_certificate_of_too_many_extensions_is_refused() -> None:
    def extended(count: int) -> Holder:
        parts = [(x509.UnrecognizedExtension(x509.ObjectIdentifier(f"1.2.3.{n}"), b"x"), False) for n in range(count)]
        return issue("wide", BETWEEN, extensions=parts)

    refused(Reason.EVIDENCE_INVALID, "of CN=wide, has 65 extensions", extended(65), BETWEEN)
    assert verify(extended(64), BETWEEN).leaf.who == "CN=wide"


def test_a_chain_to_another_root_is_refused() -> None:
    untrusted(
        "the certificate of CN=between was issued by CN=root, which is no pinned root", LEAF, BETWEEN, roots=(OTHER,)
    )
    untrusted("the certificate of CN=leaf was issued by CN=between, which is no pinned root", LEAF)


def test_a_root_of_the_same_name_with_another_key_vouches_for_nothing() -> None:
    twin = issue_authority("root")
    message = "the signature of CN=root under the certificate of CN=between does not hold"
    untrusted(message, LEAF, BETWEEN, roots=(twin,))
    untrusted(message, LEAF, BETWEEN, twin, roots=(twin,))
    assert verify(LEAF, BETWEEN, roots=(twin, ROOT)).leaf.who == "CN=leaf"


def test_a_root_that_came_along_is_not_trusted_for_that() -> None:
    twin = issue_authority("root")
    forged = issue("leaf", twin)
    untrusted("the signature of CN=root under the certificate of CN=root does not hold", forged, twin)
    untrusted("the signature of CN=root under the certificate of CN=leaf does not hold", forged)
    untrusted("the signature of CN=root under the certificate of CN=root does not hold", twin)


def test_a_root_does_not_sign_evidence_by_itself() -> None:
    untrusted("CN=root is a pinned root, which vouches for others and signs no evidence by itself", ROOT)


def test_certificates_in_another_order_are_refused() -> None:
    untrusted(
        "the certificate of CN=leaf was issued by CN=between, not by CN=second", LEAF, issue_authority("second", ROOT)
    )


def test_a_certificate_that_another_issuer_signed_is_refused() -> None:
    forged = issue("leaf", OTHER, issuer=BETWEEN.certificate.subject)
    untrusted("the signature of CN=between under the certificate of CN=leaf does not hold", forged, BETWEEN)


def test_a_signature_by_a_weak_hash_does_not_hold() -> None:
    weak = issue("leaf", BETWEEN, hashed=hashes.SHA224())
    untrusted("the signature of CN=between under the certificate of CN=leaf does not hold", weak, BETWEEN)


@pytest.mark.parametrize(
    ("at", "who", "span"),
    [
        (NOW + 20 * DAY + SECOND, "leaf", "2026-08-21T12:00:00Z to 2026-12-19T12:00:00Z, it is 2026-12-19T12:00:01Z"),
        (
            NOW - 50 * DAY - SECOND,
            "between",
            "2026-10-10T12:00:00Z to 2027-03-09T12:00:00Z, it is 2026-10-10T11:59:59Z",
        ),
    ],
)
def test_a_certificate_outside_its_time_is_refused(at: Any, who: str, span: str) -> None:
    untrusted(f"the certificate of CN={who} is valid from {span}", LEAF, BETWEEN, at=at)


@pytest.mark.parametrize("at", [NOW - 200 * DAY, NOW + 200 * DAY])
def test_a_root_outside_its_time_is_a_fault_of_the_collateral(at: Any) -> None:
    leaf = issue("leaf", ROOT, begins=NOW - 300 * DAY, ends=NOW + 300 * DAY)
    root = issue_authority("root", key=ROOT.key)
    refused(Reason.COLLATERAL_EXPIRED, "the pinned root CN=root is valid from", leaf, roots=(root,), at=at)


def test_the_window_is_where_all_certificates_are_valid() -> None:
    chain = verify(LEAF, BETWEEN, ROOT)
    assert chain.window == Window(NOW - 50 * DAY, NOW + 20 * DAY)
    assert verify(LEAF, BETWEEN, at=NOW - 50 * DAY).window == chain.window
    assert verify(LEAF, BETWEEN, at=NOW + 20 * DAY).window == chain.window
    assert not chain.revocation_checked


@pytest.mark.parametrize(
    "constraints", [None, x509.BasicConstraints(ca=False, path_length=None)], ids=["silent", "no authority"]
)
def test_a_leaf_cannot_issue_others(constraints: Any) -> None:
    between = issue("between", ROOT, constraints=constraints)
    untrusted("the certificate of CN=between may not issue certificates", issue("leaf", between), between)


def test_an_issuer_whose_key_is_for_other_things_is_refused() -> None:
    between = issue_authority("between", ROOT, usage=usage_of("crl_sign"))
    untrusted("the key usage of CN=between lacks keyCertSign", issue("leaf", between), between)
    silent = issue_authority("between", ROOT, usage=None)
    assert verify(issue("leaf", silent), silent).leaf.who == "CN=leaf"


def test_a_root_need_not_say_that_it_is_one_but_what_it_says_holds() -> None:
    silent, no_authority = issue("silent"), issue("none", constraints=x509.BasicConstraints(ca=False, path_length=None))
    assert verify(issue("leaf", silent), roots=(silent,)).leaf.who == "CN=leaf"
    untrusted(
        "the certificate of CN=none may not issue certificates", issue("leaf", no_authority), roots=(no_authority,)
    )


def test_more_issuers_than_one_allows_are_refused() -> None:
    first = issue_authority("first", ROOT, length=0)
    second = issue_authority("second", first)
    assert verify(issue("leaf", first), first).leaf.who == "CN=leaf"
    untrusted("1 certificates of issuers stand below CN=first, 0 are allowed", issue("leaf", second), second, first)
    root = issue_authority("strict", length=1)
    first = issue_authority("first", root)
    again = issue_authority("first", first, name=first.certificate.subject)
    assert verify(issue("leaf", again), again, first, roots=(root,)).leaf.who == "CN=leaf"
    root = issue_authority("strict", length=0)
    first = issue_authority("first", root)
    untrusted(
        "1 certificates of issuers stand below CN=strict, 0 are allowed", issue("leaf", first), first, roots=(root,)
    )


def test_a_critical_extension_that_nobody_understands_is_refused() -> None:
    strange = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    leaf = issue("leaf", BETWEEN, extensions=[(strange, True)])
    untrusted("the certificate of CN=leaf has the critical extension 1.2.3.4, not known here", leaf, BETWEEN)
    chain = verify(leaf, BETWEEN, purpose=Purpose(understood=frozenset({"1.2.3.4"})))
    assert chain.leaf.extension("1.2.3.4") == b"\x05\x00"
    between = issue_authority("between", ROOT, extensions=[(strange, True)])
    untrusted("the certificate of CN=between has the critical extension 1.2.3.4", issue("leaf", between), between)


def test_extensions_are_told_by_their_number_alone() -> None:
    strange = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"raw")
    leaf = parse_certificate(issue("leaf", extensions=[(strange, False)], usage=usage_of("crl_sign")).der)
    assert leaf.extension("1.2.3.4") == b"raw"
    assert leaf.extension("1.2.3.5") is None
    assert leaf.extension("2.5.29.15") is None


def test_a_leaf_whose_key_is_for_other_things_is_refused() -> None:
    leaf = issue("leaf", BETWEEN, usage=usage_of("key_encipherment"))
    untrusted("the key usage of CN=leaf lacks digital_signature", leaf, BETWEEN)
    assert verify(leaf, BETWEEN, purpose=Purpose("key_encipherment")).leaf.who == "CN=leaf"
    untrusted("the key usage of CN=leaf lacks key_agreement", leaf, BETWEEN, purpose=Purpose("key_agreement"))


@pytest.mark.parametrize(
    "more",
    [
        {"key": rsa_key(), "pss": True},
        {"key": rsa_key()},
        {"key": curve_key(ec.SECP256R1()), "hashed": hashes.SHA256()},
        {"key": curve_key(ec.SECP521R1()), "hashed": hashes.SHA512()},
    ],
    ids=["rsa pss", "rsa", "p-256", "p-521"],
)
def test_the_kinds_of_signatures_that_hardware_uses_are_verified(more: dict[str, Any]) -> None:
    root = issue_authority("root", **more)
    signing = {name: value for name, value in more.items() if name != "key"}
    leaf = issue("leaf", root, **signing)
    assert verify(leaf, roots=(root,)).leaf.who == "CN=leaf"
    forged = issue(
        "leaf", issue_authority("root", **{**more, "key": rsa_key(3072) if "pss" in more else None}), hashed=None
    )
    untrusted("the signature of CN=root under the certificate of CN=leaf does not hold", forged, roots=(root,))


def test_an_intermediate_certificate_can_be_pinned_as_such() -> None:
    assert verify(LEAF, BETWEEN, ROOT, roots=(BETWEEN,)).leaf.who == "CN=leaf"
    assert verify(LEAF, roots=(BETWEEN,)).leaf.who == "CN=leaf"


def test_names_are_told_where_there_is_exactly_one() -> None:
    leaf = parse_certificate(LEAF.der)
    assert (leaf.common_name(), leaf.issuer_common_name()) == ("leaf", "between")
    double = x509.Name([*name_of("one"), *name_of("two")])
    twin = parse_certificate(issue("", name=double).der)
    assert (twin.common_name(), twin.issuer_common_name()) == ("", "")
    nobody = parse_certificate(issue("", name=x509.Name([])).der)
    assert (nobody.who, nobody.issuer, nobody.common_name()) == ("(no name)", "(no name)", "")


# Revocation


def test_a_revoked_certificate_is_refused() -> None:
    message = (
        f"the certificate of CN=leaf with serial number {LEAF.certificate.serial_number:x} was revoked by CN=between"
    )
    refused(Reason.EVIDENCE_REVOKED, message, LEAF, BETWEEN, crls=[revoke(BETWEEN, LEAF)])
    message = (
        f"the certificate of CN=between with serial number {BETWEEN.certificate.serial_number:x} was revoked by CN=root"
    )
    refused(Reason.EVIDENCE_REVOKED, message, LEAF, BETWEEN, crls=[revoke(BETWEEN), revoke(ROOT, OTHER, BETWEEN)])


def test_lists_of_all_issuers_make_revocation_checked_and_shorten_the_window() -> None:
    both = verify(LEAF, BETWEEN, crls=[revoke(ROOT, OTHER, begins=NOW - 2 * DAY), revoke(BETWEEN, ends=NOW + 2 * DAY)])
    assert both.revocation_checked
    assert both.window == Window(NOW - DAY, NOW + DAY)
    one = verify(LEAF, BETWEEN, crls=[revoke(ROOT, ends=NOW + 3 * DAY), revoke(OTHER, begins=NOW - SECOND)])
    assert not one.revocation_checked
    assert one.window == Window(NOW - DAY, NOW + 3 * DAY)
    assert not verify(LEAF, BETWEEN, crls=[revoke(BETWEEN)]).revocation_checked


def test_an_issuer_that_may_sign_no_lists_needs_none() -> None:
    between = issue_authority("between", ROOT, usage=usage_of("key_cert_sign"))
    leaf = issue("leaf", between)
    assert verify(leaf, between, crls=[revoke(ROOT)]).revocation_checked
    assert not verify(leaf, between).revocation_checked
    silent = issue_authority("between", ROOT, usage=None)
    assert not verify(issue("leaf", silent), silent, crls=[revoke(ROOT)]).revocation_checked


@pytest.mark.parametrize("at", [NOW - DAY - SECOND, NOW + DAY + SECOND])
def test_a_list_outside_its_time_is_refused(at: Any) -> None:
    span = f"from 2026-11-28T12:00:00Z to 2026-11-30T12:00:00Z, it is {at:%Y-%m-%dT%H:%M:%SZ}"
    message = f"the revocation list of CN=root is valid {span}; import a current one"
    refused(Reason.COLLATERAL_EXPIRED, message, LEAF, BETWEEN, crls=[revoke(ROOT)], at=at)


def test_a_list_that_its_issuer_did_not_sign_is_refused() -> None:
    message = "the signature under the revocation list of CN=root does not hold; import it anew"
    refused(Reason.COLLATERAL_INVALID, message, LEAF, BETWEEN, crls=[revoke(ROOT, key=OTHER.key)])
    refused(Reason.COLLATERAL_INVALID, message, LEAF, BETWEEN, crls=[revoke(ROOT, key=rsa_key())])
    weak = revoke(ROOT, hashed=hashes.SHA224())
    refused(Reason.COLLATERAL_INVALID, message, LEAF, BETWEEN, crls=[weak])


def test_a_list_of_an_issuer_that_may_sign_none_says_nothing() -> None:
    between = issue_authority("between", ROOT, usage=usage_of("key_cert_sign"))
    message = "the key usage of CN=between lacks cRLSign, so its revocation list says nothing"
    refused(Reason.COLLATERAL_INVALID, message, issue("leaf", between), between, crls=[revoke(between)])
    silent = issue_authority("between", ROOT, usage=None)
    leaf = issue("leaf", silent)
    refused(Reason.EVIDENCE_REVOKED, "was revoked by CN=between", leaf, silent, crls=[revoke(silent, leaf)])


def place(**more: Any) -> tuple[x509.ExtensionType, bool]:
    where = [x509.UniformResourceIdentifier("https://example.test/crl")]
    given: dict[str, Any] = {
        "full_name": where, "relative_name": None, "only_contains_user_certs": False, "only_contains_ca_certs": False,
        "only_some_reasons": None, "indirect_crl": False, "only_contains_attribute_certs": False,
    }  # fmt: skip
    return x509.IssuingDistributionPoint(**given | more), True


@pytest.mark.parametrize(
    "extension",
    [
        place(only_contains_user_certs=True),
        place(only_contains_ca_certs=True),
        place(only_contains_attribute_certs=True),
        place(indirect_crl=True),
        place(only_some_reasons=frozenset({x509.ReasonFlags.key_compromise})),
    ],
    ids=["users", "authorities", "attributes", "indirect", "reasons"],
)
def test_a_list_that_leaves_certificates_out_is_refused(extension: Any) -> None:
    message = "a revocation list has the critical extension 2.5.29.28, not known here"
    refused(Reason.COLLATERAL_INVALID, message, LEAF, BETWEEN, crls=[revoke(ROOT, extensions=[extension])])


def test_a_list_that_says_where_it_comes_from_or_counts_is_used() -> None:
    lists = [revoke(ROOT, BETWEEN, extensions=[place(), (x509.CRLNumber(7), False)])]
    refused(Reason.EVIDENCE_REVOKED, "was revoked by CN=root", LEAF, BETWEEN, crls=lists)
    delta = revoke(ROOT, extensions=[(x509.DeltaCRLIndicator(3), True)])
    message = "a revocation list has the critical extension 2.5.29.27, not known here"
    refused(Reason.COLLATERAL_INVALID, message, LEAF, BETWEEN, crls=[delta])


def test_lists_are_bounded_and_must_be_readable() -> None:
    message = "a revocation list is not an X.509 CRL in DER"
    refused(Reason.COLLATERAL_INVALID, message, LEAF, BETWEEN, crls=[b"no list"])
    refused(Reason.COLLATERAL_INVALID, message, LEAF, BETWEEN, crls=[bytes(4 * 1024 * 1024)])
    message = "a revocation list has 4194305 bytes, 4194304 are allowed"
    refused(Reason.COLLATERAL_INVALID, message, LEAF, BETWEEN, crls=[bytes(4 * 1024 * 1024 + 1)])
    message = "there are 65 revocation lists, 64 are allowed"
    refused(Reason.COLLATERAL_INVALID, message, LEAF, BETWEEN, crls=[revoke(OTHER)] * 65)


def sequence(content: bytes) -> bytes:
    return b"\x30" + (b"" if len(content) < 128 else b"\x81") + bytes([len(content)]) + content


def content_of(der: bytes) -> tuple[bytes, bytes]:
    """Return what the first DER element holds, and what follows it."""
    size, begin = der[1], 2
    if size > 127:
        begin += size & 127
        size = int.from_bytes(der[2:begin], "big")
    return der[begin : begin + size], der[begin + size :]


def test_a_list_that_does_not_say_when_it_ends_is_refused() -> None:
    inner, rest = content_of(content_of(revoke(ROOT))[0])
    ends = f"{NOW + DAY:%y%m%d%H%M%SZ}".encode()
    shorter = inner.replace(b"\x17\x0d" + ends, b"")
    endless = sequence(sequence(shorter) + rest)
    message = "the revocation list of CN=root does not say when it ends"
    refused(Reason.COLLATERAL_INVALID, message, LEAF, BETWEEN, crls=[endless])


def test_a_list_signed_in_an_unknown_way_does_not_hold() -> None:
    known = bytes.fromhex("2a8648ce3d040303")  # ecdsa-with-SHA384
    strange = revoke(ROOT).replace(known, known[:-1] + b"\x09")
    message = "the signature under the revocation list of CN=root does not hold; import it anew"
    refused(Reason.COLLATERAL_INVALID, message, LEAF, BETWEEN, crls=[strange])


# Order


def test_a_bag_of_certificates_is_put_in_order() -> None:
    pool = [OTHER.der, ROOT.der, LEAF.der, BETWEEN.der]
    assert arrange(LEAF.der, pool) == (LEAF.der, BETWEEN.der, ROOT.der)
    assert arrange(LEAF.der, [OTHER.der]) == (LEAF.der,)
    with pytest.raises(RefusedError, match="there are 33 certificates, 32 are allowed") as caught:
        arrange(LEAF.der, [OTHER.der] * 33)
    assert caught.value.reason is Reason.EVIDENCE_INVALID


def test_certificates_that_issue_each_other_end() -> None:
    first, second = curve_key(), curve_key()
    one = issue_authority("one", Holder(second, issue_authority("two", key=second).certificate), key=first)
    two = issue_authority("two", one, key=second)
    pool = [one.der, two.der]
    assert arrange(issue("leaf", two).der, pool)[1:] == (two.der, one.der)
    copies = [
        issue_authority("one" if n % 2 else "two", two if n % 2 else one, key=first if n % 2 else second)
        for n in range(20)
    ]
    assert len(arrange(issue("leaf", two).der, [each.der for each in copies])) == 8


# Properties


@settings(max_examples=60)
@given(changed(LEAF.der))
def test_a_changed_leaf_is_never_trusted(der: bytes) -> None:
    outcome = attempt(lambda: verify_chain([der, BETWEEN.der], [ROOT.der], at=NOW))
    assert isinstance(outcome, RefusedError) or der == LEAF.der


LIST = revoke(ROOT, OTHER)
DIRECT = issue("direct", ROOT)


@settings(max_examples=60)
@given(changed(LIST))
def test_a_changed_list_is_never_used(crl: bytes) -> None:
    outcome = attempt(lambda: verify(DIRECT, crls=[crl]))
    if isinstance(outcome, Chain):
        assert outcome.revocation_checked == (crl == LIST)


@given(st.integers(0, len(LEAF.der) - 1))
def test_a_truncated_leaf_is_refused(end: int) -> None:
    assert isinstance(attempt(lambda: verify_chain([LEAF.der[:end]], [BETWEEN.der], at=NOW)), RefusedError)
