"""Evidence as the guest components of Confidential Containers spell it: JSON around a report of SNP or a quote of TDX.

That of Azure's virtual TPM is read beside, in `azure_evidence`.

Their SNP evidence may spell the report field by field; from these the signed bytes are made again (SEV-SNP firmware
ABI, ATTESTATION_REPORT). Where a field is lost the bytes differ, and the signature no longer holds.
"""

import base64
import binascii
import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any, Final

from sekisho.attest.azure_evidence import is_azure_evidence, read_azure_evidence
from sekisho.attest.evidence import MAX_CERTIFICATES, MAX_EVIDENCE_BYTES, UnverifiedEvidence
from sekisho.errors import Reason, RefusedError

_REPORT_BYTES: Final = 0x4A0
_SIGNED_BYTES: Final = 0x2A0
_CERTIFICATES: Final = ("VCEK", "VLEK", "ASK", "ARK")
_TURIN: Final = 0x1A


def parse_guest_evidence(data: bytes) -> UnverifiedEvidence:
    """Read one piece of evidence; its kind is known by its shape. Nothing in it is believed.

    Raises:
        RefusedError: EvidenceInvalid, naming what is not as it must be.
    """
    if len(data) > MAX_EVIDENCE_BYTES:
        raise _invalid(f"has {len(data)} bytes, {MAX_EVIDENCE_BYTES} allowed")
    try:
        body = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _invalid("is not JSON") from error
    return read_guest_evidence(body)


def read_guest_evidence(body: Any) -> UnverifiedEvidence:
    """Read one piece of evidence that was part of a larger JSON.

    Raises:
        RefusedError: EvidenceInvalid, naming what is not as it must be.
    """
    if isinstance(body, Mapping) and "attestation_report" in body:
        return _parse_snp(body)
    if isinstance(body, Mapping) and "quote" in body:
        return _parse_tdx(body)
    if isinstance(body, Mapping) and is_azure_evidence(body):
        return read_azure_evidence(body)
    raise _invalid("is neither a report of SNP nor a quote of TDX, nor of Azure's virtual TPM")


def _parse_tdx(body: Mapping[str, Any]) -> UnverifiedEvidence:
    log = body.get("cc_eventlog")
    extras = () if log is None else (("eventLog", _decode(log, "cc_eventlog")),)
    return UnverifiedEvidence("tdx", _decode(body["quote"], "quote"), extras=extras)


def _parse_snp(body: Mapping[str, Any]) -> UnverifiedEvidence:
    found = body["attestation_report"]
    report = _decode(found, "attestation_report") if isinstance(found, str) else _spell_report(found)
    chain = body.get("cert_chain")
    chain = [] if chain is None else chain
    if not isinstance(chain, list) or len(chain) > MAX_CERTIFICATES:
        raise _invalid(f"has a cert_chain that is not a list of at most {MAX_CERTIFICATES}")
    by_type = dict(_read_certificate(item) for item in chain)
    return UnverifiedEvidence("snp", report, tuple(by_type[name] for name in _CERTIFICATES if name in by_type))


def _read_certificate(item: Any) -> tuple[str, bytes]:
    if not isinstance(item, Mapping) or not isinstance(item.get("cert_type"), str | Mapping):
        raise _invalid("has a certificate without a cert_type")
    kind = item["cert_type"]
    return kind if isinstance(kind, str) else "other", _bytes(item.get("data"), "data of a certificate")


def _spell_report(value: Any) -> bytes:
    if not isinstance(value, Mapping):
        raise _invalid("has an attestation_report that is neither base64 nor an object")
    fields = _Fields(value)
    version = fields.number("version")
    turin = fields.number("cpuid_fam_id", optional=True) >= _TURIN
    cpuid = bytes(fields.number(name, most=0xFF, optional=version < 3) for name in _CPUID)
    mitigations = [fields.number(name, optional=True, most=2**64 - 1) for name in _MITIGATIONS]
    body = b"".join((
        struct.pack("<IIQ", version, fields.number("guest_svn"), fields.number("policy", most=2**64 - 1)),
        fields.blob("family_id", 16), fields.blob("image_id", 16),
        struct.pack("<II", fields.number("vmpl"), fields.number("sig_algo")), fields.tcb("current_tcb", turin),
        struct.pack("<QII", fields.number("plat_info", most=2**64 - 1), _read_flags(fields), 0),
        *(fields.blob(name, size) for name, size in _MIDDLE),
        fields.tcb("reported_tcb", turin), cpuid, bytes(21), fields.blob("chip_id", 64),
        fields.tcb("committed_tcb", turin), fields.build("current"), fields.build("committed"),
        fields.tcb("launch_tcb", turin), struct.pack("<QQ", *mitigations),
    ))  # fmt: skip
    signature = _Fields(fields.object("signature"))
    whole = body.ljust(_SIGNED_BYTES, b"\0") + signature.blob("r", 72) + signature.blob("s", 72)
    return whole.ljust(_REPORT_BYTES, b"\0")


def _read_flags(fields: "_Fields") -> int:
    return fields.number("key_info", optional=True) or fields.number("_author_key_en", optional=True)


_CPUID: Final = ("cpuid_fam_id", "cpuid_mod_id", "cpuid_step")
_MITIGATIONS: Final = ("launch_mit_vector", "current_mit_vector")
_MIDDLE: Final = (
    ("report_data", 64), ("measurement", 48), ("host_data", 32), ("id_key_digest", 48), ("author_key_digest", 48),
    ("report_id", 32), ("report_id_ma", 32),
)  # fmt: skip


class _Fields:
    """An object of JSON, read field by field."""

    def __init__(self, value: Mapping[str, Any]) -> None:
        self._value = value

    def number(self, name: str, *, most: int = 2**32 - 1, optional: bool = False) -> int:
        value = self._value.get(name)
        if value is None and optional:
            return 0
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
            raise _invalid(f"has a {name} that is not a number from 0 to {most}")
        return value

    def blob(self, name: str, size: int) -> bytes:
        data = _bytes(self._value.get(name), name)
        if len(data) != size:
            raise _invalid(f"has a {name} of {len(data)} bytes, {size} are needed")
        return data

    def object(self, name: str) -> Mapping[str, Any]:
        value = self._value.get(name)
        if not isinstance(value, Mapping):
            raise _invalid(f"has a {name} that is not an object")
        return value

    def build(self, name: str) -> bytes:
        version = _Fields(self.object(name))
        return bytes((*(version.number(part, most=0xFF) for part in ("build", "minor", "major")), 0))

    def tcb(self, name: str, turin: bool) -> bytes:
        parts = _Fields(self.object(name))
        loader, tee, snp, microcode = (
            parts.number(part, most=0xFF) for part in ("bootloader", "tee", "snp", "microcode")
        )
        if turin:
            fmc = parts.number("fmc", most=0xFF, optional=True)
            return bytes((fmc, loader, tee, snp, 0, 0, 0, microcode))
        return bytes((loader, tee, 0, 0, 0, 0, snp, microcode))


def _bytes(value: Any, name: str) -> bytes:
    if isinstance(value, str):
        return _decode(value, name)
    if not isinstance(value, Sequence) or len(value) > MAX_EVIDENCE_BYTES:
        raise _invalid(f"has a {name} that is neither base64 nor a list of bytes")
    if not all(isinstance(item, int) and not isinstance(item, bool) and 0 <= item <= 0xFF for item in value):
        raise _invalid(f"has a {name} with an item that is no byte")
    return bytes(value)


def _decode(value: Any, name: str) -> bytes:
    if not isinstance(value, str):
        raise _invalid(f"has a {name} that is not base64")
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _invalid(f"has a {name} that is not base64") from error


def _invalid(what: str) -> RefusedError:
    return RefusedError(Reason.EVIDENCE_INVALID, f"the guest's evidence {what}")
