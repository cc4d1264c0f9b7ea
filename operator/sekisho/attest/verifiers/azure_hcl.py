"""The attestation report of Azure's paravisor (HCL), as its virtual TPM keeps it at NV index 0x01400001.

A header, room for the report of the hardware, and runtime data as JSON, which that report commits to. Nothing in it is
believed before the hardware's report is verified.
"""

import base64
import hashlib
import json
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import rsa

from sekisho.attest.certificates import MAX_RSA_BITS, MIN_RSA_BITS
from sekisho.errors import Reason, RefusedError

MAX_REPORT_BYTES: Final = 32 * 1024
SNP_REPORT: Final = 2
TDX_REPORT: Final = 4
HARDWARE_BYTES: Final = 1184
_HEADER: Final = struct.Struct("<4sIIII12s")
_DATA: Final = struct.Struct("<IIIII")
_JSON_AT: Final = _HEADER.size + HARDWARE_BYTES + _DATA.size
_HEADER_VERSIONS: Final = (1, 2)
_DATA_VERSION: Final = 1
_REQUEST_TYPE: Final = 2
_HASHES: Final[Mapping[int, str]] = {1: "sha256", 2: "sha384", 3: "sha512"}
_REPORT_DATA_BYTES: Final = 64
_AK: Final = "HCLAkPub"
_MAX_TEXT: Final = 128
_MAX_NUMBER: Final = MAX_RSA_BITS // 6 + 1
_BASE64URL: Final = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class UnverifiedHclReport:
    """What the paravisor wrote.

    Attributes:
        kind: SNP_REPORT or TDX_REPORT, the kind of hardware.
        hardware: The room for its report, 1184 bytes.
        report_data: What the hardware's report must carry, if the runtime data are the paravisor's: 64 bytes.
        key: The attestation key of the virtual TPM, by the runtime data.
        configuration: What the runtime data say of the virtual machine, by name as text, sorted.
    """

    kind: int
    hardware: bytes = field(repr=False)
    report_data: bytes
    key: rsa.RSAPublicKey = field(repr=False, compare=False)
    configuration: tuple[tuple[str, str], ...]


def parse_hcl_report(data: bytes) -> UnverifiedHclReport:
    """Read the paravisor's report; zeros may follow, as in an NV index.

    Raises:
        RefusedError: EvidenceInvalid; another layout, cut off, or runtime data without the key of the virtual TPM.
    """
    if not _JSON_AT <= len(data) <= MAX_REPORT_BYTES:
        raise _invalid(f"has {len(data)} bytes, {_JSON_AT} to {MAX_REPORT_BYTES} are allowed")
    signature, version, total, request, status, reserved = _HEADER.unpack_from(data)
    if (
        signature != b"HCLA"
        or version not in _HEADER_VERSIONS
        or (request, status) != (_REQUEST_TYPE, 0)
        or any(reserved)
    ):
        raise _invalid(f"begins with {signature.hex()} version {version} request {request} status {status}, not known")
    size, data_version, kind, hashed, length = _DATA.unpack_from(data, _JSON_AT - _DATA.size)
    if data_version != _DATA_VERSION or kind not in {SNP_REPORT, TDX_REPORT} or hashed not in _HASHES:
        raise _invalid(f"has data of version {data_version}, hardware {kind} and hash {hashed}, not known")
    end = _JSON_AT + length
    if end > len(data) or size != length + _DATA.size or total != end or any(data[end:]):
        raise _invalid(f"says that {length} bytes of runtime data end it after {total} bytes, which they do not")
    runtime = data[_JSON_AT:end]
    claims = _parse_runtime(runtime)
    return UnverifiedHclReport(
        kind=kind,
        hardware=data[_HEADER.size : _HEADER.size + HARDWARE_BYTES],
        report_data=hashlib.new(_HASHES[hashed], runtime).digest().ljust(_REPORT_DATA_BYTES, bytes(1)),
        key=_parse_key(claims.get("keys")),
        configuration=_parse_configuration(claims.get("vm-configuration", {})),
    )


def _parse_runtime(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _invalid("has runtime data that are not JSON") from error
    if not isinstance(value, dict):
        raise _invalid("has runtime data that are not an object")
    return value


def _parse_key(keys: Any) -> rsa.RSAPublicKey:
    mine = [key for key in keys if isinstance(key, dict) and key.get("kid") == _AK] if isinstance(keys, list) else []
    if len(mine) != 1 or mine[0].get("kty") != "RSA":
        raise _invalid(f"has runtime data with {len(mine)} keys {_AK}, where one RSA key must be")
    exponent, modulus = (_parse_number(mine[0].get(name), name) for name in ("e", "n"))
    if not MIN_RSA_BITS <= modulus.bit_length() <= MAX_RSA_BITS:
        raise _invalid(f"has a key {_AK} of {modulus.bit_length()} bits, {MIN_RSA_BITS} to {MAX_RSA_BITS} are allowed")
    try:
        return rsa.RSAPublicNumbers(exponent, modulus).public_key()
    except ValueError as error:
        raise _invalid(f"has a key {_AK} that cannot be used") from error


def _parse_number(text: Any, name: str) -> int:
    """Read a number of a JSON Web Key, base64url without padding."""
    if not isinstance(text, str) or len(text) > _MAX_NUMBER or not _BASE64URL.fullmatch(text) or len(text) % 4 == 1:
        raise _invalid(f'has a key {_AK} whose number "{name}" is not base64url of at most {_MAX_NUMBER} characters')
    return int.from_bytes(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), "big")


def _parse_configuration(value: Any) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, dict) or len(value) > _MAX_TEXT:
        raise _invalid("has runtime data whose vm-configuration is not an object")
    told = {f"vm.{name[:_MAX_TEXT]}": _tell(item) for name, item in value.items()}
    return tuple(sorted((name, text) for name, text in told.items() if text is not None))


def _tell(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)[:_MAX_TEXT] if isinstance(value, str | int) else None


def _invalid(what: str) -> RefusedError:
    return RefusedError(Reason.EVIDENCE_INVALID, f"the report of Azure's paravisor {what}")
