"""Reports of AMD SEV-SNP: what AMD did not certify for this chip, firmware and time is refused for its own reason."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.attest.certificates import parse_certificate
from sekisho.attest.claims import Claims, TcbStatus, Tee, Window
from sekisho.attest.evidence import UnverifiedEvidence
from sekisho.attest.verifiers import snp_report
from sekisho.attest.verifiers.snp import verify_snp
from sekisho.attest.verifiers.snp_endorsement import name_endorsement, name_vcek, parse_endorsement
from sekisho.attest.verifiers.snp_report import parse_report
from sekisho.errors import Reason, RefusedError
from tests.unit.attest.authorities import DAY, NOW, Holder, curve_key, issue, revoke
from tests.unit.attest.snp_material import (
    CHIP,
    TURIN_CHIP,
    Platform,
    authorities,
    build_leaf,
    build_platform,
    build_report,
    certified,
    integer,
    sign_report,
    tcb_bytes,
    text,
    versions_of,
)
from tests.unit.fuzz import attempt

MILAN = build_platform()
REPORT = build_report()


def verify(
    report: bytes = REPORT, platform: Platform = MILAN, *certificates: bytes, at: Any = NOW, **more: Any
) -> Claims:
    return verify_snp(platform.evidence(report, *certificates), platform.collateral(**more), at=at)


def refused(reason: Reason, message: str, *given: Any, **more: Any) -> None:
    with pytest.raises(RefusedError) as caught:
        verify(*given, **more)
    assert caught.value.reason is reason
    assert message in caught.value.message


def invalid(message: str, *given: Any, **more: Any) -> None:
    refused(Reason.EVIDENCE_INVALID, message, *given, **more)


def untrusted(message: str, *given: Any, **more: Any) -> None:
    refused(Reason.EVIDENCE_UNTRUSTED, message, *given, **more)


def with_leaf(leaf: Holder, platform: Platform = MILAN) -> Platform:
    return replace(platform, leaf=leaf)


# The layout


@pytest.mark.parametrize("size", [0, 1, 671, 672, 1183, 1185, 4000])
def test_a_report_of_another_size_is_refused(size: int) -> None:
    invalid(f"the SNP report has {size} bytes, not 1184", REPORT.ljust(size, b"\0")[:size])


def test_a_report_is_refused_at_every_length_short_of_its_own() -> None:
    for size in range(len(REPORT)):
        with pytest.raises(RefusedError, match=f"the SNP report has {size} bytes, not 1184"):
            parse_report(REPORT[:size])


def test_a_number_ends_where_the_next_field_begins() -> None:
    report = parse_report(build_report(at_8=b"\0\0\2\0" + bytes(4) + b"\xff" * 16, at_40=bytes(8) + b"\3"))
    assert (report.policy, report.platform_info, report.family_id) == (1 << 17, 0, b"\xff" * 16)


def test_a_chip_is_named_by_as_many_bytes_as_reports_have() -> None:
    assert len(parse_report(REPORT).chip_id) == snp_report.CHIP_ID_BYTES


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"at_0": b"\1\0\0\0"}, "the SNP report has version 1; versions 2 to 5 are known"),
        ({"at_0": b"\6\0\0\0"}, "the SNP report has version 6; versions 2 to 5 are known"),
        ({"vmpl": b"\4\0\0\0"}, "was asked for at VMPL 4, which is not the guest; a guest has VMPL 0 to 3"),
        ({"vmpl": b"\xff\xff\xff\xff"}, "was asked for at VMPL 4294967295, which is not the guest"),
        ({"algorithm": b"\0\0\0\0"}, "has signature algorithm 0; 1 (ECDSA P-384 with SHA-384) is known"),
        ({"algorithm": b"\2\0\0\0"}, "has signature algorithm 2; 1 (ECDSA P-384 with SHA-384) is known"),
        ({"policy": b"\x1f\0\1\0\0\0\0\0"}, "has policy 0x1001f, where bit 17 is not one or a bit above 25 is set"),
        ({"policy": b"\x1f\0\3\4\0\0\0\0"}, "has policy 0x403001f, where bit 17 is not one or a bit above 25 is set"),
        ({"platform_info": b"\0\1\0\0\0\0\0\0"}, "has platform info 0x100 with bits above 7 that are not known"),
        ({"flags": b"\x20\0\0\0"}, "has flags 0x20 with bits above 4 that are reserved"),
        ({"flags": b"\x08\0\0\0"}, "names signing key 2; 0 (VCEK), 1 (VLEK) and 7 (none) are known"),
        ({"flags": b"\x18\0\0\0"}, "names signing key 6; 0 (VCEK), 1 (VLEK) and 7 (none) are known"),
        ({"at_4c": b"\1"}, "has version 3 and reserved bytes 0x4c to 0x4f that are not zero"),
        ({"at_18b": b"\1"}, "has version 3 and reserved bytes 0x18b to 0x19f that are not zero"),
        ({"at_19f": b"\1"}, "has version 3 and reserved bytes 0x18b to 0x19f that are not zero"),
        ({"at_1eb": b"\1"}, "has version 3 and reserved bytes 0x1eb to 0x1eb that are not zero"),
        ({"at_1ef": b"\1"}, "has version 3 and reserved bytes 0x1ef to 0x1ef that are not zero"),
        ({"at_1f8": b"\1"}, "has version 3 and reserved bytes 0x1f8 to 0x29f that are not zero"),
        ({"at_29f": b"\1"}, "has version 3 and reserved bytes 0x1f8 to 0x29f that are not zero"),
        ({"at_0": b"\2\0\0\0"}, "has version 2 and reserved bytes 0x188 to 0x19f that are not zero"),
        (
            {"at_0": b"\5\0\0\0", "at_208": b"\1"},
            "has version 5 and reserved bytes 0x208 to 0x29f that are not zero",
        ),
        (
            {"at_0": b"\4\0\0\0", "at_207": b"\1"},
            "has version 4 and reserved bytes 0x1f8 to 0x29f that are not zero",
        ),
    ],
)
def test_what_the_specification_does_not_know_is_refused_though_it_is_signed(
    changes: dict[str, bytes], message: str
) -> None:
    invalid(message, build_report(**changes))


@pytest.mark.parametrize("offset", [0x2A0 + 144, 1183])
def test_bytes_behind_the_signature_are_refused(offset: int) -> None:
    report = bytearray(REPORT)
    report[offset] = 1
    invalid("has version 3 and reserved bytes 0x330 to 0x49f that are not zero", bytes(report))


@pytest.mark.parametrize("place", [2, 3, 4, 5])
def test_reserved_bytes_of_security_versions_are_refused(place: int) -> None:
    tcb = bytearray(tcb_bytes("Milan", versions_of("Milan")))
    tcb[place] = 1
    for name in ("reported_tcb", "current_tcb", "committed_tcb", "launch_tcb"):
        message = f"the SNP report has TCB {tcb.hex()}, where reserved bytes of Milan are not zero"
        invalid(message, build_report(**{name: bytes(tcb)}))


# Every byte counts


@pytest.mark.slow
def test_every_flipped_byte_of_a_report_is_refused() -> None:
    for offset in range(len(REPORT)):
        flipped = bytearray(REPORT)
        flipped[offset] ^= 0xFF
        outcome = attempt(lambda data=bytes(flipped): verify(data))  # type: ignore[misc]
        assert isinstance(outcome, RefusedError), f"byte {offset}"
        assert outcome.reason in {Reason.EVIDENCE_INVALID, Reason.EVIDENCE_UNTRUSTED}


@settings(max_examples=100)
@given(st.integers(0, len(REPORT) - 1), st.integers(0, 7))
def test_every_flipped_bit_of_a_report_is_refused(offset: int, bit: int) -> None:
    flipped = bytearray(REPORT)
    flipped[offset] ^= 1 << bit
    assert isinstance(attempt(lambda: verify(bytes(flipped))), RefusedError)


@settings(max_examples=60)
@given(st.integers(0, 2), st.integers(0, 2**32), st.integers(0, 7))
def test_every_flipped_bit_of_a_chain_is_refused(which: int, offset: int, bit: int) -> None:
    chain = [bytearray(der) for der in (MILAN.leaf.der, MILAN.ask.der, MILAN.ark.der)]
    chain[which][offset % len(chain[which])] ^= 1 << bit
    outcome = attempt(lambda: verify(REPORT, MILAN, *map(bytes, chain)))
    # The root that came along counts for nothing: it is the pinned one that must vouch.
    assert isinstance(outcome, RefusedError) or which == 2


# The signature


def test_a_report_signed_by_another_key_is_refused() -> None:
    message = "the signature under the SNP report is not by the key of CN=SEV-VCEK"
    untrusted(message, sign_report(REPORT, curve_key()))
    untrusted(message, sign_report(REPORT, MILAN.leaf.key, algorithm=hashes.SHA256()))


def test_a_signature_in_the_other_order_of_bytes_is_refused() -> None:
    r, s = REPORT[0x2A0 : 0x2A0 + 48], REPORT[0x2E8 : 0x2E8 + 48]
    swapped = REPORT[:0x2A0] + r[::-1] + bytes(24) + s[::-1] + bytes(24) + bytes(368)
    untrusted("the signature under the SNP report is not by the key of", swapped)


def test_a_report_without_signature_is_refused() -> None:
    untrusted("is not by the key of", REPORT[:0x2A0] + bytes(512))
    untrusted("the SNP report says that no key signed it", build_report(flags=b"\x1c\0\0\0"))


def test_the_key_that_a_report_names_must_be_the_one_of_the_certificate() -> None:
    message = "the SNP report says that a vlek signed it, its certificate is one of a vcek"
    untrusted(message, build_report(flags=b"\4\0\0\0"))
    vlek = build_platform(kind="vlek")
    message = "the SNP report says that a vcek signed it, its certificate is one of a vlek"
    untrusted(message, build_report(vlek), vlek)


def test_a_chip_whose_key_is_masked_has_signed_nothing() -> None:
    message = "the platform masks the chip's key, so no VCEK can have signed it"
    untrusted(message, build_report(flags=b"\2\0\0\0"))
    vlek = build_platform(kind="vlek")
    assert verify(build_report(vlek, flags=b"\6\0\0\0"), vlek).fact("mask-chip-key") == "true"


# The chain


def test_a_chain_to_another_root_is_refused() -> None:
    genoa = build_platform("Genoa")
    untrusted("was issued by CN=ARK-Milan, which is no pinned root", REPORT, MILAN, roots=(genoa.ark.der,))
    refused(Reason.COLLATERAL_MISSING, "no root certificate is pinned", REPORT, MILAN, roots=())


def test_only_a_certificate_for_a_signing_key_of_a_chip_signs_reports() -> None:
    untrusted("the key usage of CN=SEV-Milan lacks digital_signature", REPORT, MILAN, MILAN.ask.der)
    other = issue("SEV-Chip", MILAN.ask, key=MILAN.leaf.key)
    invalid("the certificate of CN=SEV-Chip is neither SEV-VCEK nor SEV-VLEK", REPORT, MILAN, other.der, MILAN.ask.der)


@pytest.mark.parametrize(
    ("at", "reason", "message"),
    [
        (NOW + 101 * DAY, Reason.EVIDENCE_UNTRUSTED, "the certificate of CN=SEV-VCEK is valid from 2026-08-21"),
        (NOW - 101 * DAY, Reason.EVIDENCE_UNTRUSTED, "the certificate of CN=SEV-VCEK is valid from 2026-08-21"),
    ],
)
def test_certificates_of_another_time_are_refused(at: Any, reason: Reason, message: str) -> None:
    refused(reason, message, at=at)


def test_a_revoked_issuer_is_refused() -> None:
    message = "the certificate of CN=SEV-Milan with serial number"
    refused(Reason.EVIDENCE_REVOKED, message, crls=(revoke(MILAN.ark, MILAN.ask),))


@pytest.mark.parametrize("days", [-3, 3])
def test_a_revocation_list_of_another_time_is_refused(days: int) -> None:
    refused(Reason.COLLATERAL_EXPIRED, "import a current one", crls=(revoke(MILAN.ark),), at=NOW + days * DAY)


def test_whether_revocation_was_checked_is_told() -> None:
    assert verify().fact("revocation") == "unchecked"
    claims = verify(crls=(revoke(MILAN.ark), revoke(build_platform("Genoa").ark)))
    assert claims.fact("revocation") == "checked"
    assert claims.window == Window(NOW - DAY, NOW + DAY)


def test_issuers_that_did_not_come_along_are_taken_from_the_collateral() -> None:
    assert (
        verify(REPORT, MILAN, MILAN.leaf.der, intermediates=(build_platform("Genoa").ask.der, MILAN.ask.der)).debug
        is False
    )
    untrusted(
        "the certificate of CN=SEV-VCEK was issued by CN=SEV-Milan, which is no pinned root",
        REPORT,
        MILAN,
        MILAN.leaf.der,
    )


def test_evidence_without_certificates_is_verified_by_the_known_one_of_the_chip() -> None:
    known = {name_endorsement(parse_endorsement(parse_certificate(MILAN.leaf.der))): MILAN.leaf.der}
    collateral = MILAN.collateral(vceks=known, intermediates=(MILAN.ask.der,))
    assert verify_snp(UnverifiedEvidence("snp", REPORT), collateral, at=NOW).chip_id == CHIP
    turin = build_platform("Turin")
    name = name_endorsement(parse_endorsement(parse_certificate(turin.leaf.der)))
    assert name == name_vcek(TURIN_CHIP, tcb_bytes("Turin", versions_of("Turin")))
    collateral = turin.collateral(vceks={name: turin.leaf.der}, intermediates=(turin.ask.der,))
    claims = verify_snp(UnverifiedEvidence("snp", build_report(turin)), collateral, at=NOW)
    assert claims.fact("product") == "Turin"


@pytest.mark.parametrize("report", [REPORT, build_report(chip_id=bytes(64)), build_report(flags=b"\4\0\0\0")])
def test_evidence_without_certificates_of_an_unknown_chip_is_refused(report: bytes) -> None:
    names = [name_vcek(b"", tcb_bytes("Milan", versions_of("Milan"))), name_vcek(b"\2" + CHIP[1:], bytes(8))]
    if report != REPORT:
        names.append(name_vcek(CHIP, tcb_bytes("Milan", versions_of("Milan"))))
    collateral = MILAN.collateral(vceks=dict.fromkeys(names, MILAN.leaf.der), intermediates=(MILAN.ask.der,))
    with pytest.raises(RefusedError, match="comes without certificates, and no VCEK of chip") as caught:
        verify_snp(UnverifiedEvidence("snp", report), collateral, at=NOW)
    assert caught.value.reason is Reason.COLLATERAL_MISSING
    assert "for TCB 0a010000000018db is known; import it" in caught.value.message


# What the certificate says


@pytest.mark.parametrize("product", ["Milan", "Genoa", "Turin"])
@pytest.mark.parametrize("change", [-1, 1])
def test_another_security_version_of_any_component_is_refused(product: str, change: int) -> None:
    platform = build_platform(product)
    for name, version in versions_of(product).items():
        tcb = tcb_bytes(product, versions_of(product, **{name: version + change}))
        message = (
            f"the SNP report says that the {name} has security version {version + change}, "
            f"its certificate is for {version}"
        )
        untrusted(message, build_report(platform, reported_tcb=tcb), platform)


def test_the_report_of_another_chip_is_refused() -> None:
    other = b"\2" + CHIP[1:]
    message = "is of chip 0202030405060708…, its certificate is for chip 0102030405060708…"
    untrusted(message, build_report(chip_id=other))
    untrusted("its certificate is for chip", build_report(chip_id=CHIP[:63] + b"\1"))
    turin = build_platform("Turin")
    untrusted(message, build_report(turin, chip_id=other[:8].ljust(64, b"\0")), turin)
    untrusted("its certificate is for chip", build_report(turin, chip_id=CHIP), turin)


@pytest.mark.parametrize(
    ("cpuid", "message"),
    [
        ((0x19, 0x11, 0), "is of family 0x19 model 0x11 (Genoa), its certificate is for Milan"),
        ((0x19, 0xA0, 0), "is of family 0x19 model 0xa0 (Genoa), its certificate is for Milan"),
        ((0x19, 0xAF, 0), "is of family 0x19 model 0xaf (Genoa), its certificate is for Milan"),
        ((0x19, 0xB0, 0), "is of family 0x19 model 0xb0 (not known), its certificate is for Milan"),
        ((0x19, 0x20, 0), "is of family 0x19 model 0x20 (not known), its certificate is for Milan"),
        ((0x1A, 0x01, 0), "is of family 0x1a model 0x1 (Turin), its certificate is for Milan"),
        ((0x1A, 0x11, 0), "is of family 0x1a model 0x11 (Turin), its certificate is for Milan"),
        ((0x1A, 0x12, 0), "is of family 0x1a model 0x12 (not known), its certificate is for Milan"),
        ((0x17, 0x01, 0), "is of family 0x17 model 0x1 (not known), its certificate is for Milan"),
    ],
)
def test_the_report_of_another_processor_is_refused(cpuid: tuple[int, ...], message: str) -> None:
    untrusted(message, build_report(cpuid=bytes(cpuid)))


@pytest.mark.parametrize(("product", "models"), [("Milan", (0, 15)), ("Genoa", (16, 31, 160, 175)), ("Turin", (0, 17))])
def test_every_model_of_a_product_is_known(product: str, models: tuple[int, ...]) -> None:
    platform = build_platform(product)
    for model in models:
        cpuid = bytes([0x1A if product == "Turin" else 0x19, model, 3])
        assert verify(build_report(platform, cpuid=cpuid), platform).fact("product") == product


Fields = dict[str, bytes]


def changed(change: Callable[[Fields], Any], kind: str = "vcek", product: str = "Milan") -> Fields:
    fields = certified(product, kind)
    change(fields)
    return fields


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (changed(lambda f: f.pop("1")), "lacks the extension 1.3.6.1.4.1.3704.1.1"),
        (changed(lambda f: f.update({"1": integer(2)})), "has structure version 2; 0 and 1 are known"),
        (changed(lambda f: f.pop("2")), "lacks the extension 1.3.6.1.4.1.3704.1.2"),
        (changed(lambda f: f.update({"2": text("Genoa-B1")})), 'is for product "Genoa" and issued by "SEV-Milan"'),
        (changed(lambda f: f.update({"2": text("Naples")})), 'is for product "Naples" and issued by "SEV-Milan"'),
        (changed(lambda f: f.update({"2": b"\x16\0"})), "1.3704.1.2 that is no printable text"),
        (changed(lambda f: f.update({"2": b"\x16\2\n."})), "1.3704.1.2 that is no printable text"),
        (changed(lambda f: f.update({"2": b"\x16\1\xff"})), "1.3704.1.2 that is no printable text"),
        (changed(lambda f: f.update({"2": b"\x0c\5Milan"})), "1.3704.1.2 that is not of its type"),
        (changed(lambda f: f.update({"2": b"\x16\6Milan"})), "1.3704.1.2 that is not of its type"),
        (changed(lambda f: f.update({"2": b"\x16"})), "1.3704.1.2 that is not of its type"),
        (changed(lambda f: f.update({"2": b"\x16\x80" + b"M" * 128})), "1.3704.1.2 that is not of its type"),
        (changed(lambda f: f.pop("3.8")), "lacks the extension 1.3.6.1.4.1.3704.1.3.8"),
        (changed(lambda f: f.update({"3.8": b"\2\1\xdb"})), "1.3704.1.3.8 that is no INTEGER from 0 to 255"),
        (changed(lambda f: f.update({"3.8": b"\2\2\0\x05"})), "1.3704.1.3.8 that is no INTEGER from 0 to 255"),
        (changed(lambda f: f.update({"3.8": b"\2\2\1\0"})), "1.3704.1.3.8 that is no INTEGER from 0 to 255"),
        (changed(lambda f: f.update({"3.8": b"\2\0"})), "1.3704.1.3.8 that is no INTEGER from 0 to 255"),
        (changed(lambda f: f.update({"3.8": b"\2\3\0\0\0"})), "1.3704.1.3.8 that is no INTEGER from 0 to 255"),
        (
            changed(lambda f: f.update({"3.4": integer(1)})),
            "has a security version 1.3.6.1.4.1.3704.1.3.4 that is reserved",
        ),
        (changed(lambda f: f.update({"3.5": integer(1)})), "1.3704.1.3.5 that is reserved"),
        (changed(lambda f: f.update({"3.6": integer(1)})), "1.3704.1.3.6 that is reserved"),
        (
            changed(lambda f: f.update({"3.7": integer(1)})),
            "has a security version 1.3.6.1.4.1.3704.1.3.7 that is reserved",
        ),
        (changed(lambda f: f.update({"3.9": integer(0)})), "has a security version fmc, which Milan has not"),
        (changed(lambda f: f.pop("4")), "lacks the extension 1.3.6.1.4.1.3704.1.4"),
        (changed(lambda f: f.update({"4": bytes(64)})), "names no chip by 64 bytes"),
        (changed(lambda f: f.update({"4": b"\4\x08" + TURIN_CHIP})), "names no chip by 64 bytes"),
        (changed(lambda f: f.update({"4": CHIP[:63]})), "1.3704.1.4 that is not of its type"),
        (changed(lambda f: f.update({"5": text("cloud")})), "names a provider, which a VCEK must not"),
    ],
)
def test_a_certificate_that_does_not_say_what_it_must_is_refused(fields: Fields, message: str) -> None:
    invalid(message, REPORT, with_leaf(build_leaf(fields=fields)))


def test_a_certificate_of_a_provider_must_name_it_and_no_chip() -> None:
    vlek = build_platform(kind="vlek")
    leaf = build_leaf(kind="vlek", fields=changed(lambda f: f.update({"4": CHIP}), "vlek"))
    invalid("names a chip, which a VLEK must not", build_report(vlek, kind="vlek"), with_leaf(leaf, vlek))
    leaf = build_leaf(kind="vlek", fields=changed(lambda f: f.pop("5"), "vlek"))
    invalid("lacks the extension 1.3.6.1.4.1.3704.1.5", build_report(vlek, kind="vlek"), with_leaf(leaf, vlek))


def test_turin_must_name_its_fmc_and_a_short_chip() -> None:
    turin = build_platform("Turin")
    for change, message in (
        (lambda f: f.pop("3.9"), "lacks the extension 1.3.6.1.4.1.3704.1.3.9"),
        (lambda f: f.update({"4": CHIP}), "1.3704.1.4 that is not of its type"),
    ):
        leaf = build_leaf("Turin", fields=changed(change, product="Turin"))
        invalid(message, build_report(turin), with_leaf(leaf, turin))


@pytest.mark.parametrize("key", [curve_key(ec.SECP256R1()), authorities("Milan")[0].key], ids=["p-256", "rsa"])
def test_a_certificate_with_a_key_of_another_kind_is_refused(key: Any) -> None:
    invalid("the certificate of CN=SEV-VCEK has no key on P-384", REPORT, with_leaf(build_leaf(key=key)))


@pytest.mark.parametrize("version", [0, 1, 127, 128, 254, 255])
def test_a_certificate_tells_each_security_version_that_a_byte_holds(version: int) -> None:
    leaf = build_leaf(fields=certified("Milan", microcode=version))
    assert dict(parse_endorsement(parse_certificate(leaf.der)).tcb)["microcode"] == version


def test_a_provider_may_be_named_by_as_many_letters_as_one_byte_of_length_counts() -> None:
    fields = certified("Milan", "vlek")
    leaf = build_leaf(kind="vlek", fields=fields | {"5": text("p" * 127)})
    assert parse_endorsement(parse_certificate(leaf.der)).csp_id == "p" * 127
    for size in (128, 129):
        leaf = build_leaf(kind="vlek", fields=fields | {"5": text("p" * size)})
        with pytest.raises(RefusedError, match=r"3704\.1\.5 that is not of its type") as caught:
            parse_endorsement(parse_certificate(leaf.der))
        assert caught.value.reason is Reason.EVIDENCE_INVALID


def test_a_vcek_of_the_issuer_of_vleks_is_refused() -> None:
    ark, asvk = authorities("Milan", "vlek")
    leaf = build_leaf(by=asvk)
    platform = Platform("Milan", ark, asvk, leaf)
    invalid('is for product "Milan" and issued by "SEV-VLEK-Milan"', build_report(platform), platform)


def test_a_chip_is_named_as_bytes_or_as_an_octet_string() -> None:
    leaf = build_leaf(fields=changed(lambda f: f.update({"4": b"\4\x40" + CHIP})))
    platform = with_leaf(leaf)
    assert verify(build_report(platform), platform).chip_id == CHIP
    turin = build_platform("Turin")
    turin = with_leaf(
        build_leaf("Turin", fields=changed(lambda f: f.update({"4": b"\4\x08" + TURIN_CHIP}), product="Turin")), turin
    )
    assert verify(build_report(turin), turin).fact("product") == "Turin"


# What is claimed


@pytest.mark.parametrize("product", ["Milan", "Genoa", "Turin"])
@pytest.mark.parametrize("version", [2, 3, 4, 5])
@pytest.mark.parametrize("kind", ["vcek", "vlek"])
def test_reports_of_every_product_version_and_key_are_verified(product: str, version: int, kind: str) -> None:
    platform = build_platform(product, kind)
    claims = verify(build_report(platform, version=version, kind=kind), platform)
    assert claims.tee is Tee.SNP
    assert claims.fact("product") == product
    assert claims.fact("report-version") == str(version)
    assert claims.fact("signing-key") == kind
    assert claims.fact("csp-id") == (None if kind == "vcek" else "example-cloud")
    assert claims.fact("mitigations.current") == ("0000000000000007" if version == 5 else None)
    assert claims.fact("mitigations.launch") == ("0000000000000005" if version == 5 else None)
    assert (claims.fact("cpuid") is None) == (version == 2)
    reported = {name: number for name, number in claims.tcb if "." not in name}
    assert reported == versions_of(product)
    launched = {name.removeprefix("launch."): number for name, number in claims.tcb if name.startswith("launch.")}
    assert launched == versions_of(product, microcode=220)
    assert len(claims.tcb) == 4 * len(reported)


def test_all_that_a_report_says_is_claimed() -> None:
    claims = verify()
    assert claims.debug is False
    assert claims.tcb_status is TcbStatus.UNKNOWN
    assert (claims.measurement, claims.bound_data, claims.configuration) == (b"M" * 48, b"D" * 64, b"H" * 32)
    assert claims.chip_id == CHIP
    assert claims.evidence_digest.startswith("sha256:")
    assert claims.window == Window(NOW - 100 * DAY, NOW + 100 * DAY)
    assert claims.tcb == tuple(sorted(claims.tcb))
    assert dict(claims.tcb)["committed.microcode"] == 219
    assert dict(claims.tcb)["current.microcode"] == 220
    assert claims.facts == tuple(sorted(claims.facts))
    assert dict(claims.facts) == {
        "author-key": "false",
        "author-key-digest": "41" * 48,
        "cpuid": "19-01-01",
        "family-id": "46" * 16,
        "firmware.committed": "1.55.20",
        "firmware.current": "1.55.21",
        "guest-svn": "7",
        "id-key-digest": "4b" * 48,
        "image-id": "49" * 16,
        "mask-chip-key": "false",
        "platform.alias-check": "true",
        "platform.ciphertext-hiding": "false",
        "platform.ecc": "true",
        "platform.iommu-write-safe": "false",
        "platform.rapl-disabled": "false",
        "platform.smt": "true",
        "platform.tio": "false",
        "platform.tsme": "false",
        "policy.abi": "0.31",
        "policy.aes-256-xts": "false",
        "policy.ciphertext-hiding": "false",
        "policy.cxl": "false",
        "policy.debug": "false",
        "policy.migrate": "false",
        "policy.page-swap-disabled": "false",
        "policy.rapl-disabled": "false",
        "policy.single-socket": "false",
        "policy.smt": "true",
        "product": "Milan",
        "report-id": "52" * 32,
        "report-id-ma": "ff" * 32,
        "report-version": "3",
        "revocation": "unchecked",
        "signing-key": "vcek",
        "vmpl": "0",
    }


POLICY = ("smt", 16), ("migrate", 18), ("debug", 19), ("single-socket", 20), ("cxl", 21), ("aes-256-xts", 22), (
    "rapl-disabled", 23), ("ciphertext-hiding", 24), ("page-swap-disabled", 25)  # fmt: skip
PLATFORM = ("smt", "tsme", "ecc", "rapl-disabled", "ciphertext-hiding", "alias-check", "iommu-write-safe", "tio")


@pytest.mark.parametrize(("name", "bit"), POLICY)
def test_each_bit_of_the_policy_is_told_by_its_name(name: str, bit: int) -> None:
    policy = (0x0207 | 1 << 17 | 1 << bit).to_bytes(8, "little")
    claims = verify(build_report(policy=policy))
    told = {fact: value for fact, value in claims.facts if fact.startswith("policy.") and fact != "policy.abi"}
    assert told == {f"policy.{each}": "true" if each == name else "false" for each, _ in POLICY}
    assert claims.fact("policy.abi") == "2.7"
    assert claims.debug == (name == "debug")


@pytest.mark.parametrize("bit", range(8))
def test_each_bit_of_the_platform_is_told_by_its_name(bit: int) -> None:
    claims = verify(build_report(platform_info=(1 << bit).to_bytes(8, "little")))
    told = [fact for fact, value in claims.facts if fact.startswith("platform.") and value == "true"]
    assert told == [f"platform.{PLATFORM[bit]}"]


@pytest.mark.parametrize("vmpl", [0, 1, 2, 3])
def test_the_privilege_level_is_told(vmpl: int) -> None:
    assert verify(build_report(vmpl=bytes([vmpl, 0, 0, 0]))).fact("vmpl") == str(vmpl)


def test_a_masked_chip_has_no_name() -> None:
    assert verify(build_report(chip_id=bytes(64))).chip_id is None
    assert verify(build_report(flags=b"\1\0\0\0")).fact("author-key") == "true"
