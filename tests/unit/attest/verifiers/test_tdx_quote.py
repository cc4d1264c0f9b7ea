"""Quotes: read as Intel's formats say, bounded, and nothing believed."""

import dataclasses
import itertools
import struct
from typing import Any

import pytest
from hypothesis import given, settings

from sekisho.attest.verifiers.tdx_quote import MAX_QUOTE_BYTES, EnclaveReport, TdReport, parse_quote
from sekisho.errors import Reason, RefusedError
from tests.simulators.hardware.tdx import SimulatedTdx
from tests.unit.fuzz import MIB, attempt, changed, measure_peak

FOUR = SimulatedTdx()
FIVE = SimulatedTdx(version=5, body=3, tee_tcb_svn2=b"\x09" * 16, mr_service_td=b"\x5d" * 48)
THREE = SimulatedTdx(tee="SGX", version=3)
QUOTE = FOUR.quote()
SIGNED = 48 + 584


def edit(quote: bytes, place: int, form: str, *values: int) -> bytes:
    """Put numbers at a place of a quote."""
    new = struct.pack(form, *values)
    return quote[:place] + new + quote[place + len(new) :]


INNER = SIGNED + 4 + 128 + 6  # where the quoting enclave's report begins
QE_DATA = INNER + 448
CERTIFICATES = QE_DATA + 2 + 32


@pytest.mark.parametrize(
    ("quote", "message"),
    [
        (bytes(MAX_QUOTE_BYTES + 1), "the quote has 65537 bytes, 65536 allowed"),
        (b"", "the quote has 0 bytes and ends within 2 that begin at byte 0"),
        (edit(QUOTE, 0, "<H", 2), "the quote has version 2; 3, 4 and 5 are known"),
        (edit(QUOTE, 0, "<H", 6), "the quote has version 6; 3, 4 and 5 are known"),
        (edit(QUOTE, 2, "<H", 3), "the quote has an attestation key of type 3; only 2, ECDSA on P-256, is known"),
        (edit(QUOTE, 4, "<I", 1), "the quote is of TEE type 0x1; 0x0 (SGX) and 0x81 (TDX) are known"),
        (FOUR.evidence(vendor=b"\1" * 16).report, f"by a quoting enclave of vendor {'01' * 16}, not of Intel"),
        (edit(FIVE.quote(), 48, "<H", 1), "the quote of TDX has a body of type 1 with 648 bytes"),
        (edit(FIVE.quote(), 48, "<H", 2), "the quote of TDX has a body of type 2 with 648 bytes"),
        (edit(FIVE.quote(), 48, "<H", 4), "the quote of TDX has a body of type 4 with 648 bytes"),
        (edit(FIVE.quote(), 50, "<I", 584), "the quote of TDX has a body of type 3 with 584 bytes"),
        (edit(FIVE.quote(), 4, "<I", 0), "the quote of SGX has a body of type 3 with 648 bytes"),
        (edit(QUOTE, SIGNED, "<I", 1 << 31), f"the quote has {len(QUOTE)} bytes and ends within 2147483648 that begin"),
        (edit(QUOTE, SIGNED + 132, "<H", 5), "the quote has certification data of type 5, not 6"),
        (edit(QUOTE, CERTIFICATES, "<H", 0), "the quote names its PCK by data of type 0; 1 to 5 are known"),
        (edit(QUOTE, CERTIFICATES, "<H", 6), "the quote names its PCK by data of type 6; 1 to 5 are known"),
        (QUOTE + b"\1", "the quote is followed by something that is not padding"),
        (FOUR.evidence(padding=bytes(9) + b"\1").report, "the quote is followed by something that is not padding"),
        (edit(QUOTE, SIGNED, "<I", 100), "the quote is followed by something that is not padding"),
        (
            edit(FOUR.evidence(padding=bytes(9)).report[: SIGNED + 104], SIGNED, "<I", 100),
            "the quote's signature data has",
        ),
        (
            FOUR.evidence(certificates=(FOUR.ca,) * 4).report,
            "the quote's certificates have 4 in PEM, 1 to 3 are allowed",
        ),
        (edit(QUOTE, QE_DATA, "<H", 40000), "the quote's certification data has"),
        (edit(QUOTE, CERTIFICATES + 2, "<I", 10), "bytes more in its signature data than it tells of"),
        (edit(QUOTE, SIGNED + 134, "<I", 600), "bytes more in its signature data than it tells of"),
        (edit(QUOTE, CERTIFICATES + 6, "<B", 0), "the quote's certificates have something in them that is no certif"),
    ],
    ids=itertools.count(),  # quotes are made anew by each process
)
def test_what_is_no_quote_is_refused_by_name(quote: bytes, message: str) -> None:
    with pytest.raises(RefusedError) as caught:
        parse_quote(quote)
    assert caught.value.reason is Reason.EVIDENCE_INVALID
    assert message in caught.value.message


@pytest.mark.parametrize("platform", [THREE, FOUR, FIVE], ids=["3", "4", "5"])
def test_a_quote_cut_at_any_length_is_refused(platform: SimulatedTdx) -> None:
    quote = platform.quote()
    for length in range(len(quote)):
        cut = attempt(lambda length=length: parse_quote(quote[:length]))
        assert isinstance(cut, RefusedError), length
        assert cut.reason is Reason.EVIDENCE_INVALID


@pytest.mark.parametrize("platform", [FOUR, FIVE, SimulatedTdx(version=5, body=2)], ids=["4", "5 of 1.5", "5 of 1.0"])
def test_every_field_of_a_trust_domain_is_where_the_format_has_it(platform: SimulatedTdx) -> None:
    quote = parse_quote(platform.quote())
    assert isinstance(quote.body, TdReport)
    told: dict[str, Any] = {each.name: getattr(quote.body, each.name) for each in dataclasses.fields(quote.body)}
    if platform is not FIVE:
        assert told.pop("tee_tcb_svn2") == told.pop("mr_service_td") == b""
    assert told == {name: getattr(platform, name) for name in told}
    assert quote.version == platform.version
    assert quote.signed == platform.header() + platform.quoted_body()
    assert quote.qe_data == platform.qe_data
    assert quote.qe_report.raw == platform.qe_report(quote.key)
    assert quote.certificates == (platform.pck, platform.ca, platform.root) or len(quote.certificates) == 3


@pytest.mark.parametrize("version", [3, 4, 5])
def test_every_field_of_an_enclave_is_where_the_format_has_it(version: int) -> None:
    platform = SimulatedTdx(tee="SGX", version=version, qe_misc=b"\1\2\3\4")
    quote = parse_quote(platform.quote())
    assert isinstance(quote.body, EnclaveReport)
    body, qe = quote.body, quote.qe_report
    assert (body.mr_enclave, body.config_id, body.isv_prod_id, body.isv_svn) == (
        b"\x51" * 0 + b"\xee" * 32,
        b"\xcf" * 64,
        7,
        9,
    )
    assert (body.mr_signer, body.report_data) == (b"\x51" * 32, platform.report_data)
    assert (body.cpu_svn, body.attributes) == (b"\x03" * 16, platform.enclave_attributes)
    assert (qe.misc_select, qe.mr_signer) == (b"\1\2\3\4", platform.qe_signer)
    assert (qe.isv_prod_id, qe.isv_svn, qe.attributes) == (2, 4, platform.qe_attributes)


def test_numbers_of_an_enclave_have_two_bytes() -> None:
    qe = parse_quote(FOUR.evidence(qe_product=0x0102, qe_svn=0x0304).report).qe_report
    assert (qe.isv_prod_id, qe.isv_svn) == (0x0102, 0x0304)


def test_version_3_keeps_other_things_where_later_ones_name_the_tee() -> None:
    quote = parse_quote(edit(THREE.quote(), 4, "<I", 0x81))
    assert isinstance(quote.body, EnclaveReport)


def test_zeros_may_follow_a_quote() -> None:
    assert parse_quote(QUOTE + bytes(3000)) == parse_quote(QUOTE)
    assert parse_quote(QUOTE + bytes(MAX_QUOTE_BYTES - len(QUOTE))) == parse_quote(QUOTE)


def test_nothing_else_may() -> None:
    for byte in range(1, 256):
        assert isinstance(attempt(lambda byte=byte: parse_quote(QUOTE + bytes((0, byte)))), RefusedError), byte


@pytest.mark.parametrize("kind", [1, 2, 3, 4])
def test_a_quote_that_names_its_pck_otherwise_brings_no_certificates(kind: int) -> None:
    assert parse_quote(FOUR.evidence(certification=kind).report).certificates == ()


@settings(max_examples=150)
@given(changed(QUOTE))
def test_any_bytes_are_read_or_refused_in_bounds(quote: bytes) -> None:
    answer, peak = measure_peak(lambda: parse_quote(quote))
    assert not isinstance(answer, Exception) or isinstance(answer, RefusedError)
    assert peak < MIB
