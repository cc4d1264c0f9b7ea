"""Evidence as Confidential Containers' guest components spell it, turned into pieces that verifiers read; pure.

Shapes after guest-components (attestation-agent/attester) and the serde forms of virtee/sev: an SNP report travels as
named numbers, and is packed again into the bytes that were signed. Nothing is believed here.
"""

import base64
import binascii
import json
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from sekisho.attest.evidence import MAX_CERTIFICATES, MAX_EVIDENCE_BYTES, MAX_PIECES, UnverifiedEvidence
from sekisho.errors import Reason, RefusedError

_TURIN: Final = 0x1A  # CPU family from which on the order of the TCB's components is another
_SIGNED_BY: Final = ("VCEK", "VLEK")
_ABOVE: Final = ("ASK", "ASVK", "ARK")
_GPUS: Final = frozenset({"HOPPER", "BLACKWELL"})
_SWITCHES: Final = frozenset({"LS10"})
_REPORT_BYTES: Final = 1184


def parse_primary(tee: str, value: Any) -> UnverifiedEvidence:
    """Read the evidence of the guest itself.

    Raises:
        RefusedError: EvidenceInvalid; spelt otherwise, or of a kind that is not taken: sample evidence never is.
    """
    reader = _PRIMARY.get(tee)
    if reader is None:
        raise _invalid(f"evidence of {tee[:32]!r} is not taken here; {', '.join(_PRIMARY)} are")
    if not isinstance(value, dict):
        raise _invalid(f"{tee} evidence is not an object")
    return reader(value)


def parse_additional(text: str) -> tuple[UnverifiedEvidence, ...]:
    """Read the evidence of devices: a JSON object by kind, spelt as text; empty text where there are none.

    Raises:
        RefusedError: EvidenceInvalid; spelt otherwise, or of a kind that is not taken.
    """
    if not text:
        return ()
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _invalid("additional evidence is not JSON") from error
    if not isinstance(value, dict) or set(value) != {"nvidia"} or not isinstance(value["nvidia"], dict):
        raise _invalid("additional evidence is not an object of nvidia evidence and nothing else")
    devices = value["nvidia"].get("device_evidence_list")
    if not isinstance(devices, list) or not 1 <= len(devices) < MAX_PIECES:
        raise _invalid(f"device_evidence_list is not a list of 1 to {MAX_PIECES - 1}")
    return tuple(_read_device(device) for device in devices)


def pack_snp_report(report: Mapping[str, Any]) -> bytes:
    """Pack the named numbers of an SNP report into its 1184 bytes.

    Raises:
        RefusedError: EvidenceInvalid; a number is missing, or does not fit where it belongs.
    """
    try:
        packed = _pack_head(report) + _pack_tail(report)
    except (KeyError, TypeError, ValueError, struct.error) as error:
        raise _invalid("the SNP report lacks a number, or one does not fit") from error
    if len(packed) != _REPORT_BYTES:
        raise _invalid(f"the SNP report has {len(packed)} bytes, not {_REPORT_BYTES}")
    return packed


def _pack_head(report: Mapping[str, Any]) -> bytes:
    family = _family(report)
    blocks = (
        "report_data",
        "measurement",
        "host_data",
        "id_key_digest",
        "author_key_digest",
        "report_id",
        "report_id_ma",
    )
    return b"".join(
        (
            struct.pack("<IIQ", report["version"], report["guest_svn"], report["policy"]),
            bytes(report["family_id"]) + bytes(report["image_id"]),
            struct.pack("<II", report["vmpl"], report["sig_algo"]),
            _pack_tcb(report["current_tcb"], family),
            struct.pack("<QII", report["plat_info"], report["key_info"], 0),
            *(bytes(report[name]) for name in blocks),
            _pack_tcb(report["reported_tcb"], family),
        )
    )


def _pack_tail(report: Mapping[str, Any]) -> bytes:
    family, version = _family(report), report["version"]
    names = ("cpuid_fam_id", "cpuid_mod_id", "cpuid_step")
    cpu = bytes(report.get(name) or 0 for name in names) if version >= 3 else bytes(3)
    vectors = struct.pack("<QQ", report.get("launch_mit_vector") or 0, report.get("current_mit_vector") or 0)
    signature = report["signature"]
    return b"".join(
        (
            cpu.ljust(24, b"\0"),
            bytes(report["chip_id"]),
            _pack_tcb(report["committed_tcb"], family),
            _pack_version(report["current"]) + _pack_version(report["committed"]),
            _pack_tcb(report["launch_tcb"], family),
            (vectors if version >= 5 else b"").ljust(168, b"\0"),
            (bytes(signature["r"]) + bytes(signature["s"])).ljust(512, b"\0"),
        )
    )


def _family(report: Mapping[str, Any]) -> int:
    """Return the CPU's family; reports before version 3 do not tell, but only Turin masks most of a chip's id."""
    if report["version"] >= 3:
        return int(report.get("cpuid_fam_id") or 0)
    chip = bytes(report["chip_id"])
    return _TURIN if any(chip[:8]) and not any(chip[8:]) else 0


def _pack_tcb(tcb: Mapping[str, Any], family: int) -> bytes:
    low = (tcb["bootloader"], tcb["tee"])
    if family >= _TURIN:
        return bytes((tcb["fmc"] or 0, *low, tcb["snp"], 0, 0, 0, tcb["microcode"]))
    return bytes((*low, 0, 0, 0, 0, tcb["snp"], tcb["microcode"]))


def _pack_version(version: Mapping[str, Any]) -> bytes:
    return bytes((version["build"], version["minor"], version["major"], 0))


def _read_snp(value: Mapping[str, Any]) -> UnverifiedEvidence:
    report = value.get("attestation_report")
    if not isinstance(report, dict):
        raise _invalid("snp evidence has no attestation_report")
    return UnverifiedEvidence("snp", pack_snp_report(report), _read_table(value.get("cert_chain")))


def _read_table(table: Any) -> tuple[bytes, ...]:
    """Put the certificates of AMD's table in order, the chip's first; other entries are left out."""
    if table is None:
        return ()
    if not isinstance(table, list) or len(table) > MAX_CERTIFICATES:
        raise _invalid(f"cert_chain is not a list of at most {MAX_CERTIFICATES}")
    found: dict[str, bytes] = {}
    for entry in table:
        if isinstance(entry, dict) and isinstance(entry.get("cert_type"), str):
            found[entry["cert_type"]] = _bytes(entry.get("data"), "a certificate of cert_chain")
    return tuple(found[kind] for kind in (*_SIGNED_BY, *_ABOVE) if kind in found)


def _read_tdx(value: Mapping[str, Any]) -> UnverifiedEvidence:
    log = value.get("cc_eventlog")
    extras = () if log is None else (("eventLog", _decode(log, "cc_eventlog")),)
    return UnverifiedEvidence("tdx", _decode(value.get("quote"), "the quote"), extras=extras)


def _read_device(value: Any) -> UnverifiedEvidence:
    if not isinstance(value, dict) or not isinstance(value.get("arch"), str):
        raise _invalid("a device of device_evidence_list is not an object with an arch")
    arch = value["arch"].upper()
    if arch not in _GPUS | _SWITCHES:
        raise _invalid(f"arch {arch[:16]!r} is not one of {', '.join(sorted(_GPUS | _SWITCHES))}")
    return UnverifiedEvidence(
        "nvidia-gpu" if arch in _GPUS else "nvidia-switch",
        _decode_report(value.get("evidence")),
        _read_pem(_decode(value.get("certificate"), "the certificate of a device")),
    )


def _decode_report(value: Any) -> bytes:
    """Decode the report of a device: base64, or hexadecimal digits as older guests spell it."""
    if isinstance(value, str):
        try:
            return bytes.fromhex(value)
        except ValueError:
            pass
    return _decode(value, "the evidence of a device")


def _read_pem(data: bytes) -> tuple[bytes, ...]:
    try:
        certificates = x509.load_pem_x509_certificates(data)
    except ValueError as error:
        raise _invalid("the certificates of a device are not PEM") from error
    if len(certificates) > MAX_CERTIFICATES:
        raise _invalid(f"a device comes with {len(certificates)} certificates, {MAX_CERTIFICATES} are allowed")
    return tuple(each.public_bytes(Encoding.DER) for each in certificates)


def _bytes(value: Any, what: str) -> bytes:
    if not isinstance(value, list) or not all(type(each) is int and 0 <= each < 256 for each in value):
        raise _invalid(f"{what} is not a list of bytes")
    return bytes(value)


def _decode(value: Any, what: str) -> bytes:
    if not isinstance(value, str) or len(value) > MAX_EVIDENCE_BYTES * 4 // 3:
        raise _invalid(f"{what} is not base64 of at most {MAX_EVIDENCE_BYTES} bytes")
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _invalid(f"{what} is not base64") from error


_PRIMARY: Final[Mapping[str, Callable[[Mapping[str, Any]], UnverifiedEvidence]]] = {"snp": _read_snp, "tdx": _read_tdx}
PRIMARY_KINDS: Final[Sequence[str]] = tuple(_PRIMARY)


def _invalid(message: str) -> RefusedError:
    return RefusedError(Reason.EVIDENCE_INVALID, message)
