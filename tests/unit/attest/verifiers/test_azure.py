"""Azure's virtual TPM: its key is worth what the hardware's report says of it, and nothing where that does not hold."""

import base64
import hashlib
import json
import struct
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.attest.claims import Claims, Tee, Window
from sekisho.attest.evidence import UnverifiedEvidence
from sekisho.attest.verifiers.azure import AzureCollateral, verify_azure_snp, verify_azure_tdx
from sekisho.attest.verifiers.azure_hcl import SNP_REPORT, TDX_REPORT, parse_hcl_report
from sekisho.attest.verifiers.snp import SnpCollateral, verify_snp
from sekisho.errors import Reason, RefusedError
from tests.simulators.hardware.tdx import AT, DEBUG, SimulatedTdx
from tests.unit.attest.authorities import DAY, NOW, rsa_key
from tests.unit.attest.recorded import read_certificates, read_recorded
from tests.unit.attest.snp_material import build_platform, build_report
from tests.unit.attest.tpm_material import NONCE, USUAL, Banks, Tpm, build_evidence, build_quote, fill
from tests.unit.fuzz import attempt, changed

MILAN = build_platform()
TPM = Tpm()
COLLATERAL = AzureCollateral(snp=SnpCollateral((MILAN.ark.der,)))


def web_number(value: int) -> str:
    return base64.urlsafe_b64encode(value.to_bytes((value.bit_length() + 7) // 8, "big")).rstrip(b"=").decode()


def web_key(tpm: Tpm = TPM, **changes: Any) -> dict[str, Any]:
    numbers = tpm.key.public_key().public_numbers()
    key = {"kid": "HCLAkPub", "key_ops": ["sign"], "kty": "RSA", "e": web_number(numbers.e), "n": web_number(numbers.n)}
    return {name: value for name, value in (key | changes).items() if value is not None}


CONFIGURATION = {"console-enabled": False, "secure-boot": True, "vmUniqueId": "911B0EF8", "count": 7, "list": [1]}


def runtime(**changes: Any) -> bytes:
    claims = {"keys": [web_key(kid="HCLEkPub"), web_key()], "vm-configuration": CONFIGURATION, "user-data": "00" * 64}
    return json.dumps({name: value for name, value in (claims | changes).items() if value is not None}).encode()


def spell_hcl(hardware: bytes, data: bytes, *, kind: int = SNP_REPORT, hashed: int = 1, **changes: Any) -> bytes:
    head = {
        "signature": b"HCLA",
        "version": 2,
        "total": 1236 + len(data),
        "request": 2,
        "status": 0,
        "reserved": bytes(12),
    }
    tail = {"size": 20 + len(data), "data_version": 1, "kind": kind, "hashed": hashed, "length": len(data)}
    head |= {name: value for name, value in changes.items() if name in head}
    tail |= {name: value for name, value in changes.items() if name in tail}
    return (
        struct.pack("<4sIIII12s", *head.values())
        + hardware.ljust(1184, b"\0")
        + struct.pack("<5I", *tail.values())
        + data
    )


def build_hcl(
    data: bytes | None = None, *, hashed: int = 1, report: dict[str, bytes] | None = None, **changes: Any
) -> bytes:
    data = runtime() if data is None else data
    digest = hashlib.new({1: "sha256", 2: "sha384", 3: "sha512"}.get(hashed, "sha256"), data).digest()
    hardware = build_report(**{"report_data": digest.ljust(64, b"\0"), **(report or {})})
    return spell_hcl(hardware, data, hashed=hashed, **changes)


HCL = build_hcl()


def build(
    hcl: bytes = HCL, *, tpm: Tpm = TPM, banks: Banks = USUAL, kind: str = "azure-snp", **more: Any
) -> UnverifiedEvidence:
    evidence = build_evidence(tpm, banks, akPublic=None, hclReport=hcl, **more)
    return replace(evidence, kind=kind, certificates=(MILAN.leaf.der, MILAN.ask.der))


EVIDENCE = build()


def verify(evidence: UnverifiedEvidence = EVIDENCE, collateral: AzureCollateral = COLLATERAL) -> Claims:
    return verify_azure_snp(evidence, collateral, at=NOW)


def refused(reason: Reason, message: str, *given: Any, act: Callable[..., Claims] = verify) -> None:
    with pytest.raises(RefusedError) as caught:
        act(*given)
    assert caught.value.reason is reason
    assert message in caught.value.message


def invalid(message: str, hcl: bytes) -> None:
    refused(Reason.EVIDENCE_INVALID, message, build(hcl))


# The layout


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"signature": b"HCLB"}, "begins with 48434c42 version 2 request 2 status 0, not known"),
        ({"version": 0}, "begins with 48434c41 version 0 request 2 status 0, not known"),
        ({"version": 3}, "begins with 48434c41 version 3 request 2 status 0, not known"),
        ({"request": 1}, "begins with 48434c41 version 2 request 1 status 0, not known"),
        ({"status": 1}, "begins with 48434c41 version 2 request 2 status 1, not known"),
        ({"reserved": bytes(11) + b"\1"}, "begins with 48434c41 version 2 request 2 status 0, not known"),
        ({"data_version": 2}, "has data of version 2, hardware 2 and hash 1, not known"),
        ({"kind": 3}, "has data of version 1, hardware 3 and hash 1, not known"),
        ({"hashed": 0}, "has data of version 1, hardware 2 and hash 0, not known"),
        ({"hashed": 4}, "has data of version 1, hardware 2 and hash 4, not known"),
        ({"total": 1}, "bytes of runtime data end it after 1 bytes, which they do not"),
        ({"size": 1}, "bytes of runtime data end it after"),
        ({"length": 2**32 - 1}, "says that 4294967295 bytes of runtime data end it after"),
    ],
)
def test_another_layout_is_refused(changes: dict[str, Any], message: str) -> None:
    invalid(message, build_hcl(**changes))


def test_a_report_is_refused_at_every_length_short_of_its_own() -> None:
    for size in range(len(HCL)):
        with pytest.raises(RefusedError, match=r"1236 to 32768 are allowed|which they do not") as caught:
            parse_hcl_report(HCL[:size])
        assert caught.value.reason is Reason.EVIDENCE_INVALID
    invalid("has 32769 bytes, 1236 to 32768 are allowed", HCL.ljust(32769, b"\0"))


def test_zeros_may_follow_and_nothing_else() -> None:
    assert verify(build(HCL.ljust(32768, b"\0"))).bound_data == NONCE
    invalid("which they do not", HCL + b"\0\1")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "has runtime data that are not JSON"),
        (b"[" * 20000, "has runtime data that are not JSON"),
        (b"[]", "has runtime data that are not an object"),
        (b"{}", "has runtime data with 0 keys HCLAkPub, where one RSA key must be"),
        (runtime(keys={}), "has runtime data with 0 keys HCLAkPub, where one RSA key must be"),
        (runtime(keys=["HCLAkPub", web_key(kid="HCLEkPub")]), "has runtime data with 0 keys HCLAkPub"),
        (runtime(keys=[web_key(), web_key()]), "has runtime data with 2 keys HCLAkPub, where one RSA key must be"),
        (runtime(keys=[web_key(kty="EC")]), "has runtime data with 1 keys HCLAkPub, where one RSA key must be"),
        (
            runtime(keys=[web_key(e=None)]),
            'whose number "e" is not base64url of at most 1366',
        ),
        (
            runtime(keys=[web_key(n=7)]),
            'whose number "n" is not base64url of at most 1366',
        ),
        (
            runtime(keys=[web_key(n="A" * 1367)]),
            'whose number "n" is not base64url of at most 1366',
        ),
        (
            runtime(keys=[web_key(n="a+b/")]),
            'whose number "n" is not base64url of at most 1366',
        ),
        (
            runtime(keys=[web_key(n="abcde")]),
            'whose number "n" is not base64url of at most 1366',
        ),
        (runtime(keys=[web_key(n="AQAB")]), "has a key HCLAkPub of 17 bits, 2048 to 8192 are allowed"),
        (runtime(keys=[web_key(e="Ag")]), "has a key HCLAkPub that cannot be used"),
        (runtime(**{"vm-configuration": []}), "has runtime data whose vm-configuration is not an object"),
        (runtime(**{"vm-configuration": {str(n): n for n in range(129)}}), "whose vm-configuration is not an object"),
    ],
)
def test_runtime_data_without_the_key_are_refused_though_the_hardware_vouches_for_them(
    data: bytes, message: str
) -> None:
    invalid(message, build_hcl(data))


@pytest.mark.parametrize("exponent", [3, 257, 65537, 2**24 + 1, 2**32 + 1, 2**40 + 1, 2**48 + 1])
def test_numbers_of_a_key_are_read_whatever_padding_they_lack(exponent: int) -> None:
    report = parse_hcl_report(build_hcl(runtime(keys=[web_key(e=web_number(exponent))])))
    assert report.key.public_numbers().e == exponent


# What holds together


def test_the_claims_are_those_of_the_virtual_tpm_with_those_of_the_hardware_as_a_part() -> None:
    claims = verify()
    assert (claims.tee, claims.debug, claims.bound_data) == (Tee.TPM, False, NONCE)
    assert claims.window == Window(NOW - 100 * DAY, NOW + 100 * DAY)
    assert claims.registers == tuple((f"pcr{index}", fill(index)) for index in (0, 4, 7))
    der = TPM.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert claims.chip_id == hashlib.sha256(der).digest()
    assert [part.tee for part in claims.parts] == [Tee.SNP]
    assert claims.parts[0].measurement == b"M" * 48
    told = {name: value for name, value in claims.facts if name.startswith(("vm.", "ak-"))}
    assert told == {
        "ak-trust": "hardware",
        "vm.console-enabled": "false",
        "vm.count": "7",
        "vm.secure-boot": "true",
        "vm.vmUniqueId": "911B0EF8",
    }
    assert claims.facts == tuple(sorted(claims.facts))


@pytest.mark.parametrize("hashed", [1, 2, 3])
@pytest.mark.parametrize("version", [1, 2])
def test_every_hash_and_version_is_known(hashed: int, version: int) -> None:
    assert verify(build(build_hcl(hashed=hashed, version=version))).bound_data == NONCE


def test_the_largest_key_and_the_longest_configuration_are_read() -> None:
    data = runtime(
        keys=[web_key(n=web_number(2**8191 + 1))], **{"vm-configuration": {f"{n:03}": n for n in range(128)}}
    )
    hcl = parse_hcl_report(spell_hcl(b"", data))
    assert hcl.key.key_size == 8192
    assert hcl.configuration[127] == ("vm.127", "127")


def test_the_kinds_of_hardware_have_the_numbers_that_azure_gave_them() -> None:
    assert parse_hcl_report(spell_hcl(b"", runtime(), kind=2)).kind == SNP_REPORT
    assert parse_hcl_report(spell_hcl(b"", runtime(), kind=4)).kind == TDX_REPORT


def test_runtime_data_without_configuration_say_nothing_of_the_machine() -> None:
    hcl = build_hcl(runtime(**{"vm-configuration": None}))
    assert not [name for name, _ in verify(build(hcl)).facts if name.startswith("vm.")]


def test_runtime_data_that_the_hardware_does_not_vouch_for_are_refused() -> None:
    other = runtime(keys=[web_key(Tpm(key=rsa_key(2049)))])
    hcl = spell_hcl(HCL[32:1216], other)
    message = "the runtime data of Azure's paravisor have the digest"
    refused(Reason.EVIDENCE_UNTRUSTED, message, build(hcl, tpm=Tpm(key=rsa_key(2049))))
    digest = hashlib.sha256(runtime()).digest()
    for wrong in (digest.ljust(63, b"\0") + b"\1", digest[::-1].ljust(64, b"\0"), bytes(64)):
        refused(Reason.EVIDENCE_UNTRUSTED, message, build(build_hcl(report={"report_data": wrong})))


def test_a_hash_of_another_kind_than_named_is_refused() -> None:
    hcl = bytearray(HCL)
    hcl[32 + 1184 + 12] = 2
    refused(Reason.EVIDENCE_UNTRUSTED, "the hardware's report vouches for", build(bytes(hcl)))


def test_a_quote_by_another_key_is_refused() -> None:
    message = "the signature under the TPM quote is not by its attestation key"
    refused(Reason.EVIDENCE_UNTRUSTED, message, build(tpm=Tpm(key=rsa_key(2049))))
    refused(Reason.EVIDENCE_UNTRUSTED, message, build(signature=TPM.sign(build_quote(extra=b"other"))))


def test_other_values_of_pcrs_are_refused() -> None:
    pcrs = json.dumps({"sha256": {str(index): fill(99).hex() for index in (0, 4, 7)}}).encode()
    refused(Reason.EVIDENCE_UNTRUSTED, "the values of PCRs that came along are not those", build(pcrs=pcrs))


def test_a_machine_that_can_be_debugged_below_or_above_is_told() -> None:
    policy = (0x3001F | 1 << 19).to_bytes(8, "little")
    below = verify(build(build_hcl(report={"policy": policy})))
    assert (below.debug, below.parts[0].debug) == (True, True)
    above = verify(build(banks={"sha256": {0: bytes(32)}}))
    assert (above.debug, above.parts[0].debug) == (True, False)


def test_a_hardware_report_that_does_not_hold_is_refused() -> None:
    hcl = bytearray(HCL)
    hcl[32 + 0x90] ^= 1
    refused(Reason.EVIDENCE_UNTRUSTED, "the signature under the SNP report is not by the key of", build(bytes(hcl)))
    other = AzureCollateral(snp=SnpCollateral((build_platform("Genoa").ark.der,)))
    refused(Reason.EVIDENCE_UNTRUSTED, "which is no pinned root", EVIDENCE, other)


def test_without_collateral_nothing_is_believed() -> None:
    message = "Azure evidence on SNP needs the collateral of SNP; import it"
    refused(Reason.COLLATERAL_MISSING, message, EVIDENCE, AzureCollateral())
    tdx = replace(build(spell_hcl(b"", runtime(), kind=TDX_REPORT)), kind="azure-tdx")
    message = "Azure evidence on TDX needs the collateral of TDX; import it"
    refused(Reason.COLLATERAL_MISSING, message, tdx, COLLATERAL, act=lambda *args: verify_azure_tdx(*args, at=NOW))


def test_evidence_on_other_hardware_than_it_says_is_refused() -> None:
    message = "the report of Azure's paravisor is on TDX, the evidence is azure-snp"
    refused(Reason.EVIDENCE_INVALID, message, build(build_hcl(kind=TDX_REPORT)))
    message = "the report of Azure's paravisor is on SNP, the evidence is azure-tdx"
    evidence = replace(EVIDENCE, kind="azure-tdx")
    refused(Reason.EVIDENCE_INVALID, message, evidence, COLLATERAL, act=lambda *args: verify_azure_tdx(*args, at=NOW))


def vouch(simulated: SimulatedTdx, data: bytes | None = None) -> UnverifiedEvidence:
    data = runtime() if data is None else data
    quote = simulated.evidence(hashlib.sha256(data).digest().ljust(64, b"\0")).report
    hcl = spell_hcl(b"report of the module, which nobody signed", data, kind=TDX_REPORT)
    evidence = build(hcl)
    return UnverifiedEvidence("azure-tdx", evidence.report, (), (*evidence.extras, ("quote", quote)))


def verify_tdx(evidence: UnverifiedEvidence, collateral: AzureCollateral | None = None) -> Claims:
    return verify_azure_tdx(evidence, collateral or AzureCollateral(tdx=SimulatedTdx().collateral()), at=AT)


def test_a_trust_domain_vouches_for_its_virtual_tpm() -> None:
    claims = verify_tdx(vouch(SimulatedTdx()))
    assert (claims.tee, claims.debug, claims.bound_data) == (Tee.TPM, False, NONCE)
    assert [(part.tee, part.measurement) for part in claims.parts] == [(Tee.TDX, b"\x7d" * 48)]
    assert claims.window == claims.parts[0].window
    assert verify_tdx(vouch(SimulatedTdx(td_attributes=DEBUG))).debug is True


def test_a_trust_domain_that_vouches_for_another_key_is_refused() -> None:
    other = vouch(SimulatedTdx(), runtime(keys=[web_key(Tpm(key=rsa_key(2049)))]))
    extras = dict(vouch(SimulatedTdx()).extras) | {"quote": other.part("quote")}
    swapped = replace(other, extras=tuple(extras.items()))
    refused(Reason.EVIDENCE_UNTRUSTED, "the hardware's report vouches for", swapped, act=verify_tdx)
    refused(Reason.EVIDENCE_INVALID, 'comes without its part "quote"', without(other, "quote"), act=verify_tdx)


def test_an_enclave_vouches_for_no_virtual_tpm() -> None:
    enclave = SimulatedTdx(tee="SGX", version=3)
    collateral = AzureCollateral(tdx=enclave.collateral())
    message = "the quote behind azure-tdx evidence is one of sgx"
    refused(Reason.EVIDENCE_UNTRUSTED, message, vouch(enclave), collateral, act=verify_tdx)


def without(evidence: UnverifiedEvidence, name: str) -> UnverifiedEvidence:
    return replace(evidence, extras=tuple((key, value) for key, value in evidence.extras if key != name))


def test_a_missing_part_is_named() -> None:
    refused(Reason.EVIDENCE_INVALID, 'comes without its part "hclReport"', replace(EVIDENCE, extras=()))


def test_every_flipped_byte_of_the_paravisors_report_is_refused() -> None:
    for offset in range(0, len(HCL), 3):
        wrong = HCL[:offset] + bytes([HCL[offset] ^ 0xFF]) + HCL[offset + 1 :]
        assert isinstance(attempt(lambda hcl=wrong: verify(build(hcl))), RefusedError), f"byte {offset}"  # type: ignore[misc]


@settings(max_examples=80)
@given(changed(HCL))
def test_a_changed_report_of_the_paravisor_is_refused_and_never_crashes(hcl: bytes) -> None:
    outcome = attempt(lambda: verify(build(hcl)))
    assert isinstance(outcome, RefusedError) or hcl.rstrip(b"\0") == HCL


@settings(max_examples=60)
@given(st.binary(max_size=200))
def test_any_runtime_data_are_read_or_refused(data: bytes) -> None:
    assert isinstance(attempt(lambda: parse_hcl_report(spell_hcl(b"", data))), RefusedError)


# Recorded on Azure


def test_the_recorded_report_of_a_paravisor_vouches_for_its_key() -> None:
    hcl = parse_hcl_report(read_recorded("snp/azure_hcl_report.bin"))
    leaf, ask, ark = read_certificates("snp/azure_vcek_chain.pem")
    evidence = UnverifiedEvidence("snp", hcl.hardware, (leaf, ask))
    claims = verify_snp(evidence, SnpCollateral((ark,)), at=datetime(2024, 6, 1, tzinfo=UTC))
    assert claims.bound_data == hcl.report_data
    assert dict(hcl.configuration)["vm.secure-boot"] == "true"
    assert (claims.debug, claims.fact("vmpl"), hcl.key.key_size) == (False, "0", 2048)
