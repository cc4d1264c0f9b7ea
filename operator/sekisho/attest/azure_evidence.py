"""Evidence of Azure's confidential machines as guest components spell it: JSON of a quote and the paravisor's report.

Origin of the shapes: guest-components `attestation-agent/attester` (az_snp_vtpm, az_tdx_vtpm), versions 1 and 2. In
version 2 the paravisor's report was asked for anew; what it must commit to is the quote's to say in both.
"""

import base64
import json
import re
import struct
from collections.abc import Mapping
from typing import Any, Final

from sekisho.attest.evidence import MAX_EVIDENCE_BYTES, UnverifiedEvidence
from sekisho.errors import Reason, RefusedError

VERSIONS: Final = (1, 2)
MAX_PCRS: Final = 24
_PCR_DIGITS: Final = 64
_MAX_SIGNATURE_BYTES: Final = 1024
_RSASSA, _SHA256 = 0x0014, 0x000B  # what the virtual TPM's key signs by; the guest sends the bare signature
_HEX: Final = re.compile(r"([0-9a-fA-F]{2})+")
_BASE64URL: Final = re.compile(r"[A-Za-z0-9_-]+={0,2}")
_FIELDS: Final = {"vcek": "azure-snp", "td_quote": "azure-tdx"}


def is_azure_evidence(body: Mapping[str, Any]) -> bool:
    """Tell evidence of Azure's machines by its shape."""
    return "hcl_report" in body and "tpm_quote" in body


def read_azure_evidence(body: Mapping[str, Any]) -> UnverifiedEvidence:
    """Read the evidence of one machine.

    Raises:
        RefusedError: EvidenceInvalid, naming what is not as it must be.
    """
    version, hardware = body.get("version"), [name for name in _FIELDS if name in body]
    if isinstance(version, bool) or version not in VERSIONS:
        raise _invalid(f"has version {str(version)[:16]!r}, {' and '.join(map(str, VERSIONS))} are read")
    if len(hardware) != 1:
        raise _invalid("has not one of vcek and td_quote")
    quote = body["tpm_quote"]
    if not isinstance(quote, Mapping):
        raise _invalid("has a tpm_quote that is not an object")
    (name,) = hardware
    proof = _decode(body[name], name)
    parts = {
        "hclReport": _decode(body["hcl_report"], "hcl_report"),
        "pcrs": _spell_pcrs(quote.get("pcrs")),
        "signature": _spell_signature(_unhex(quote.get("signature"), "signature")),
    }
    if name == "td_quote":
        parts["quote"] = proof
    return UnverifiedEvidence(
        _FIELDS[name],
        _unhex(quote.get("message"), "message"),
        certificates=(proof,) if name == "vcek" else (),
        extras=tuple(sorted(parts.items())),
    )


def _spell_signature(signature: bytes) -> bytes:
    """Spell a bare RSA signature as TPMT_SIGNATURE."""
    if len(signature) > _MAX_SIGNATURE_BYTES:
        raise _invalid(f"has a signature of {len(signature)} bytes, {_MAX_SIGNATURE_BYTES} are allowed")
    return struct.pack(">HHH", _RSASSA, _SHA256, len(signature)) + signature


def _spell_pcrs(values: Any) -> bytes:
    """Spell the values of PCRs, which come in their order from 0, by their number."""
    if not isinstance(values, list) or not 0 < len(values) <= MAX_PCRS:
        raise _invalid(f"has pcrs that are not a list of 1 to {MAX_PCRS}")
    bank = {str(index): _unhex(value, f"PCR {index}", digits=_PCR_DIGITS).hex() for index, value in enumerate(values)}
    return json.dumps({"sha256": bank}, sort_keys=True, separators=(",", ":")).encode()


def _unhex(value: Any, what: str, *, digits: int = 0) -> bytes:
    fits = isinstance(value, str) and len(value) == (digits or len(value)) and len(value) <= MAX_EVIDENCE_BYTES
    if not fits or not _HEX.fullmatch(value):
        raise _invalid(f"has a {what} that is not {f'{digits} ' if digits else ''}hexadecimal digits")
    return bytes.fromhex(value)


def _decode(value: Any, what: str) -> bytes:
    """Decode base64 of the alphabet for addresses, whether or not it is padded."""
    if not isinstance(value, str) or len(value) > MAX_EVIDENCE_BYTES * 4 // 3 or not _BASE64URL.fullmatch(value):
        raise _invalid(f"has a {what} that is not base64url of at most {MAX_EVIDENCE_BYTES} bytes")
    text = value.rstrip("=")
    if len(text) % 4 == 1:
        raise _invalid(f"has a {what} that is cut")
    return base64.b64decode(text.encode() + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)


def _invalid(what: str) -> RefusedError:
    return RefusedError(Reason.EVIDENCE_INVALID, f"the guest's evidence {what}")
