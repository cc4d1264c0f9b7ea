"""The attestation report of AMD SEV-SNP as it is laid out, versions 2 to 5; nothing in it is believed yet.

After "SEV Secure Nested Paging Firmware ABI Specification" (AMD 56860), structure ATTESTATION_REPORT.
"""

from dataclasses import dataclass, field
from typing import Final

from sekisho.errors import Reason, RefusedError

REPORT_BYTES: Final = 1184
SIGNED_BYTES: Final = 0x2A0
CHIP_ID_BYTES: Final = 64
VCEK: Final = 0
VLEK: Final = 1
NO_KEY: Final = 7
_VERSIONS: Final = (2, 3, 4, 5)
_ECDSA_P384_SHA384: Final = 1
_NUMBER_BYTES: Final = 72
_MAX_VMPL: Final = 3
# Policy: ABI 0-15, SMT 16, always one 17, then one bit each up to PAGE_SWAP_DISABLE 25.
_POLICY_ONE: Final = 1 << 17
_POLICY_KNOWN: Final = (1 << 26) - 1
_PLATFORM_KNOWN: Final = (1 << 8) - 1
_FLAGS_KNOWN: Final = (1 << 5) - 1


@dataclass(frozen=True, slots=True)
class UnverifiedReport:
    """What a report says; who signed it is not known yet.

    Attributes:
        version: Of the layout, 2 to 5.
        policy: The guest policy's 64 bits.
        platform_info: 64 bits about the platform.
        signing_key: VCEK 0, VLEK 1 or none 7.
        mask_chip_key: Whether the platform keeps the chip's own key from signing.
        author_key: Whether the digest of an author key is in the report.
        cpuid: Family, model and stepping; None before version 3.
        reported_tcb: 8 bytes as they stand; how they read depends on the product. So the other three.
        current_version: Major, minor and build of the firmware that runs.
        committed_version: The same of what the firmware cannot be rolled back from.
        mitigations: The vectors at launch and now; None before version 5.
        signed: The bytes under the signature.
        signature: r and s.
    """

    version: int
    guest_svn: int
    policy: int
    family_id: bytes
    image_id: bytes
    vmpl: int
    platform_info: int
    signing_key: int
    mask_chip_key: bool
    author_key: bool
    report_data: bytes
    measurement: bytes
    host_data: bytes
    id_key_digest: bytes
    author_key_digest: bytes
    report_id: bytes
    report_id_ma: bytes
    reported_tcb: bytes
    current_tcb: bytes
    committed_tcb: bytes
    launch_tcb: bytes
    cpuid: tuple[int, int, int] | None
    chip_id: bytes
    current_version: tuple[int, int, int]
    committed_version: tuple[int, int, int]
    mitigations: tuple[int, int] | None
    signed: bytes = field(repr=False)
    signature: tuple[int, int] = field(repr=False)


def parse_report(data: bytes) -> UnverifiedReport:
    """Read a report of exactly 1184 bytes.

    Raises:
        RefusedError: EvidenceInvalid; another size or version, a signature of another kind, bits or bytes set that the
            specification keeps zero, or a report that the host asked for instead of the guest.
    """
    if len(data) != REPORT_BYTES:
        raise _invalid(f"has {len(data)} bytes, not {REPORT_BYTES}")
    version = _number(data, 0x00, 4)
    if version not in _VERSIONS:
        raise _invalid(f"has version {version}; versions {_VERSIONS[0]} to {_VERSIONS[-1]} are known")
    _check_numbers(data)
    _check_reserved(data, version)
    flags = _number(data, 0x48, 4)
    return UnverifiedReport(
        version=version,
        guest_svn=_number(data, 0x04, 4),
        policy=_number(data, 0x08, 8),
        family_id=data[0x10:0x20],
        image_id=data[0x20:0x30],
        vmpl=_number(data, 0x30, 4),
        platform_info=_number(data, 0x40, 8),
        signing_key=flags >> 2,
        mask_chip_key=bool(flags & 2),
        author_key=bool(flags & 1),
        report_data=data[0x50:0x90],
        measurement=data[0x90:0xC0],
        host_data=data[0xC0:0xE0],
        id_key_digest=data[0xE0:0x110],
        author_key_digest=data[0x110:0x140],
        report_id=data[0x140:0x160],
        report_id_ma=data[0x160:0x180],
        reported_tcb=data[0x180:0x188],
        current_tcb=data[0x38:0x40],
        committed_tcb=data[0x1E0:0x1E8],
        launch_tcb=data[0x1F0:0x1F8],
        cpuid=(data[0x188], data[0x189], data[0x18A]) if version >= 3 else None,
        chip_id=data[0x1A0:0x1E0],
        current_version=(data[0x1EA], data[0x1E9], data[0x1E8]),
        committed_version=(data[0x1EE], data[0x1ED], data[0x1EC]),
        mitigations=(_number(data, 0x1F8, 8), _number(data, 0x200, 8)) if version >= 5 else None,
        signed=data[:SIGNED_BYTES],
        signature=(_number(data, SIGNED_BYTES, _NUMBER_BYTES), _number(data, SIGNED_BYTES + 72, _NUMBER_BYTES)),
    )


def _check_numbers(data: bytes) -> None:
    vmpl, algorithm, policy = _number(data, 0x30, 4), _number(data, 0x34, 4), _number(data, 0x08, 8)
    if vmpl > _MAX_VMPL:
        raise _invalid(f"was asked for at VMPL {vmpl}, which is not the guest; a guest has VMPL 0 to {_MAX_VMPL}")
    if algorithm != _ECDSA_P384_SHA384:
        raise _invalid(f"has signature algorithm {algorithm}; {_ECDSA_P384_SHA384} (ECDSA P-384 with SHA-384) is known")
    if not policy & _POLICY_ONE or policy & ~_POLICY_KNOWN:
        raise _invalid(f"has policy 0x{policy:x}, where bit 17 is not one or a bit above 25 is set")


def _check_reserved(data: bytes, version: int) -> None:
    platform, flags = _number(data, 0x40, 8), _number(data, 0x48, 4)
    if platform & ~_PLATFORM_KNOWN:
        raise _invalid(f"has platform info 0x{platform:x} with bits above 7 that are not known")
    if flags & ~_FLAGS_KNOWN:
        raise _invalid(f"has flags 0x{flags:x} with bits above 4 that are reserved")
    if flags >> 2 not in (VCEK, VLEK, NO_KEY):
        raise _invalid(f"names signing key {flags >> 2}; {VCEK} (VCEK), {VLEK} (VLEK) and {NO_KEY} (none) are known")
    spans = [
        (0x4C, 0x50),
        (0x188 if version < 3 else 0x18B, 0x1A0),
        (0x1EB, 0x1EC),
        (0x1EF, 0x1F0),
        (0x1F8 if version < 5 else 0x208, SIGNED_BYTES),
        (SIGNED_BYTES + 2 * _NUMBER_BYTES, REPORT_BYTES),
    ]
    for begin, end in spans:
        if data[begin:end] != bytes(end - begin):
            raise _invalid(f"has version {version} and reserved bytes 0x{begin:x} to 0x{end - 1:x} that are not zero")


def _number(data: bytes, offset: int, size: int) -> int:
    return int.from_bytes(data[offset : offset + size], "little")


def _invalid(what: str) -> RefusedError:
    return RefusedError(Reason.EVIDENCE_INVALID, f"the SNP report {what}")
