"""Evidence of guests and their devices as the key broker protocol carries it; pure.

Shapes after guest-components (attestation-agent/attester). Nothing is believed here.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from sekisho.attest.evidence import MAX_CERTIFICATES, MAX_EVIDENCE_BYTES, MAX_PIECES, UnverifiedEvidence
from sekisho.attest.guest_evidence import read_guest_evidence
from sekisho.errors import Reason, RefusedError

PRIMARY_KINDS: Final[Mapping[str, str]] = {
    "snp": "snp", "tdx": "tdx", "az-snp-vtpm": "azure-snp", "az-tdx-vtpm": "azure-tdx",
}  # fmt: skip
"""What guests run in, in the protocol's words, and the kind of evidence that they bring."""
_GPUS: Final = frozenset({"HOPPER", "BLACKWELL"})
_SWITCHES: Final = frozenset({"LS10"})


def parse_primary(tee: str, value: Any) -> UnverifiedEvidence:
    """Read the evidence of the guest itself.

    Raises:
        RefusedError: EvidenceInvalid; spelt otherwise, or of a kind that is not taken: sample evidence never is.
    """
    if tee not in PRIMARY_KINDS:
        raise _invalid(f"evidence of {tee[:32]!r} is not taken here; {', '.join(PRIMARY_KINDS)} are")
    piece = read_guest_evidence(value)
    if piece.kind != PRIMARY_KINDS[tee]:
        raise _invalid(f"the session is one of {tee}, the evidence is of {piece.kind}")
    return piece


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


def _decode(value: Any, what: str) -> bytes:
    if not isinstance(value, str) or len(value) > MAX_EVIDENCE_BYTES * 4 // 3:
        raise _invalid(f"{what} is not base64 of at most {MAX_EVIDENCE_BYTES} bytes")
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _invalid(f"{what} is not base64") from error


def _invalid(message: str) -> RefusedError:
    return RefusedError(Reason.EVIDENCE_INVALID, message)
