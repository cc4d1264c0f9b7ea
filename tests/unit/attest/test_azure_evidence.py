"""Evidence of Azure's machines as guests spell it: made into what the verifier reads, or refused by name."""

import base64
import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings

from sekisho.attest.evidence import MAX_EVIDENCE_BYTES, UnverifiedEvidence
from sekisho.attest.guest_evidence import parse_guest_evidence, read_guest_evidence
from sekisho.attest.verifiers.azure import AzureCollateral, verify_azure_snp, verify_azure_tdx
from sekisho.attest.verifiers.snp import SnpCollateral
from sekisho.errors import Reason, RefusedError
from tests.simulators.hardware.tdx import AT, SimulatedTdx
from tests.unit.attest.authorities import NOW
from tests.unit.attest.tpm_material import Tpm, build_quote, fill
from tests.unit.attest.verifiers.test_azure import HCL, MILAN, TPM, runtime, spell_hcl
from tests.unit.fuzz import JSON, attempt

BOUND = bytes(range(48))
BANK = {index: fill(index) for index in range(24)}
NOT_WEB = f"is not base64url of at most {MAX_EVIDENCE_BYTES} bytes"


def web(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode()


def spell_quote(bound: bytes = BOUND, *, tpm: Tpm = TPM) -> dict[str, Any]:
    """Spell a quote as guests do: the bare signature, and every PCR in its order."""
    message = build_quote(tpm, {"sha256": BANK}, extra=bound)
    return {
        "signature": tpm.sign(message)[6:].hex(), "message": message.hex(), "pcrs": [BANK[i].hex() for i in range(24)],
    }  # fmt: skip


def body(**changes: Any) -> dict[str, Any]:
    usual = {"version": 2, "tpm_quote": spell_quote(), "hcl_report": web(HCL), "vcek": web(MILAN.leaf.der)}
    return {name: value for name, value in (usual | changes).items() if value is not None}


def refused(value: Any) -> str:
    with pytest.raises(RefusedError) as caught:
        read_guest_evidence(value)
    assert caught.value.reason is Reason.EVIDENCE_INVALID
    return caught.value.message.removeprefix("the guest's evidence ")


def with_quote(**changes: Any) -> dict[str, Any]:
    return body(tpm_quote=spell_quote() | changes)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (body(version=0), "has version '0', 1 and 2 are read"),
        (body(version=3), "has version '3', 1 and 2 are read"),
        (body(version=True), "has version 'True', 1 and 2 are read"),
        (body(version=None), "has version 'None', 1 and 2 are read"),
        (body(vcek=None), "has not one of vcek and td_quote"),
        (body(td_quote="AA"), "has not one of vcek and td_quote"),
        (body(tpm_quote=[]), "has a tpm_quote that is not an object"),
        (body(vcek="+/+/"), f"has a vcek that {NOT_WEB}"),
        (body(vcek="A"), "has a vcek that is cut"),
        (body(vcek="AAAAAAAAA"), "has a vcek that is cut"),
        (body(vcek=""), f"has a vcek that {NOT_WEB}"),
        (body(hcl_report=7), f"has a hcl_report that {NOT_WEB}"),
        (body(hcl_report="A" * 699_052), f"has a hcl_report that {NOT_WEB}"),
        (with_quote(message=None), "has a message that is not hexadecimal digits"),
        (with_quote(message="abc"), "has a message that is not hexadecimal digits"),
        (with_quote(message=""), "has a message that is not hexadecimal digits"),
        (with_quote(message="aa" * MAX_EVIDENCE_BYTES), "has a message that is not hexadecimal digits"),
        (with_quote(signature="zz"), "has a signature that is not hexadecimal digits"),
        (with_quote(signature="aa" * 1025), "has a signature of 1025 bytes, 1024 are allowed"),
        (with_quote(pcrs={}), "has pcrs that are not a list of 1 to 24"),
        (with_quote(pcrs=[]), "has pcrs that are not a list of 1 to 24"),
        (with_quote(pcrs=["00" * 32] * 25), "has pcrs that are not a list of 1 to 24"),
        (with_quote(pcrs=["00" * 32, "00" * 31]), "has a PCR 1 that is not 64 hexadecimal digits"),
        (with_quote(pcrs=[7]), "has a PCR 0 that is not 64 hexadecimal digits"),
    ],
)  # fmt: skip
def test_what_is_spelt_otherwise_is_refused(value: Any, message: str) -> None:
    assert refused(value) == message


def test_parts_of_the_largest_size_are_read_and_values_stand_by_their_number() -> None:
    most = MAX_EVIDENCE_BYTES
    piece = read_guest_evidence(body(hcl_report="A" * (most * 4 // 3)))
    assert len(piece.part("hclReport")) == most - 1
    assert len(read_guest_evidence(with_quote(message="ab" * (most // 2))).report) == most // 2
    assert len(read_guest_evidence(with_quote(signature="ab" * 1024)).part("signature")) == 6 + 1024
    values = ["00" * 32, "11" * 32, "22" * 32]
    spelt = read_guest_evidence(with_quote(pcrs=values)).part("pcrs")
    assert spelt == f'{{"sha256":{{"0":"{values[0]}","1":"{values[1]}","2":"{values[2]}"}}}}'.encode()
    eleven = read_guest_evidence(with_quote(pcrs=["00" * 32] * 11)).part("pcrs")
    assert eleven.index(b'"10"') < eleven.index(b'"2"')


@pytest.mark.parametrize(
    ("text", "data"), [("AAAx", b"\0\0\x31"), ("AAx", b"\0\x0c"), ("Ax==", b"\x03"), ("Ax", b"\x03")]
)
def test_letters_at_the_end_are_no_padding(text: str, data: bytes) -> None:
    assert read_guest_evidence(body(vcek=text)).certificates == (data,)


def test_what_has_neither_of_the_two_parts_is_no_such_evidence() -> None:
    for name in ("tpm_quote", "hcl_report"):
        message = "is neither a report of SNP nor a quote of TDX, nor of Azure's virtual TPM"
        assert refused(body(**{name: None})) == message


def verify(piece: UnverifiedEvidence) -> Any:
    collateral = AzureCollateral(snp=SnpCollateral((MILAN.ark.der,), (MILAN.ask.der,)))
    return verify_azure_snp(piece, collateral, at=NOW)


@pytest.mark.parametrize("version", [1, 2])
def test_evidence_of_snp_is_what_the_verifier_takes(version: int) -> None:
    piece = parse_guest_evidence(json.dumps(body(version=version)).encode())
    assert (piece.kind, piece.certificates) == ("azure-snp", (MILAN.leaf.der,))
    claims = verify(piece)
    assert (claims.bound_data, claims.fact("ak-trust"), claims.register("pcr11")) == (BOUND, "hardware", BANK[11])
    assert claims.parts[0].tee == "snp"


def test_the_alphabet_of_addresses_is_read_with_and_without_padding() -> None:
    bare = read_guest_evidence(body(hcl_report=web(HCL).rstrip("="), vcek=web(MILAN.leaf.der).rstrip("=")))
    assert bare == read_guest_evidence(body())


def test_evidence_of_tdx_brings_its_quote() -> None:
    data = runtime()
    simulated = SimulatedTdx()
    quote = simulated.evidence(hashlib.sha256(data).digest().ljust(64, b"\0")).report
    piece = read_guest_evidence(body(vcek=None, td_quote=web(quote), hcl_report=web(spell_hcl(b"", data, kind=4))))
    assert (piece.kind, piece.certificates, piece.part("quote")) == ("azure-tdx", (), quote)
    claims = verify_azure_tdx(piece, AzureCollateral(tdx=simulated.collateral()), at=AT)
    assert (claims.bound_data, claims.parts[0].tee) == (BOUND, "tdx")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda quote: quote | {"pcrs": [*quote["pcrs"][:-1], "00" * 32]},
        lambda quote: quote | {"pcrs": quote["pcrs"][:-1]},
        lambda quote: quote | {"signature": "00" + quote["signature"][2:]},
        lambda quote: quote | {"message": quote["message"][:-2] + "00"},
        lambda _quote: spell_quote(b"another") | {"signature": spell_quote()["signature"]},
    ],
    ids=["another value", "too few values", "another signature", "another digest", "another quote's signature"],
)
def test_a_quote_that_is_spoiled_reads_and_does_not_verify(spoil: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    piece = read_guest_evidence(body(tpm_quote=spoil(spell_quote())))
    with pytest.raises(RefusedError) as caught:
        verify(piece)
    assert caught.value.reason in {Reason.EVIDENCE_UNTRUSTED, Reason.EVIDENCE_INVALID}


@settings(max_examples=30, deadline=None)
@given(JSON)
def test_anything_else_is_refused_or_read(value: Any) -> None:
    for name in ("version", "tpm_quote", "hcl_report", "vcek"):
        attempt(lambda name=name: read_guest_evidence(body(**{name: value})))  # type: ignore[misc]
    for name in ("signature", "message", "pcrs"):
        attempt(lambda name=name: read_guest_evidence(with_quote(**{name: value})))  # type: ignore[misc]
