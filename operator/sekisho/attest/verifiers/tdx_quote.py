"""Parse Intel DCAP quotes: version 3 (SGX), 4 and 5 (SGX, TDX 1.0, TDX 1.5); nothing is verified here.

Layouts: Intel TDX DCAP Quoting Library API, appendix 3 (quote formats), and SGX ECDSA Quote Library API, appendix A.
"""

from dataclasses import dataclass
from typing import Final

from sekisho.attest.pem import parse_pem
from sekisho.attest.reader import Reader
from sekisho.errors import Reason, RefusedError

MAX_QUOTE_BYTES: Final = 64 * 1024
INTEL_QE: Final = bytes.fromhex("939a7233f79c4ca9940a0db3957f0607")
_TEES: Final = {0x00: "SGX", 0x81: "TDX"}
_ECDSA_P256: Final = 2
_PCK_CHAIN: Final = 5
_QE_REPORT: Final = 6
# Body types of version 5, and how many bytes each has.
_BODIES: Final = {1: ("SGX", 384), 2: ("TDX", 584), 3: ("TDX", 648)}
_MAX_CERTIFICATES: Final = 3


@dataclass(frozen=True, slots=True)
class EnclaveReport:
    """What the processor says of an SGX enclave.

    Attributes:
        raw: All 384 bytes.
        attributes: 16 bytes; bit 1 of the first is DEBUG.
        config_id: 64 bytes that the loader of the enclave set.
    """

    raw: bytes
    cpu_svn: bytes
    misc_select: bytes
    attributes: bytes
    mr_enclave: bytes
    mr_signer: bytes
    config_id: bytes
    isv_prod_id: int
    isv_svn: int
    report_data: bytes


@dataclass(frozen=True, slots=True)
class TdReport:
    """What the TDX module says of a trust domain.

    Attributes:
        tee_tcb_svn: 16 bytes: the module's SVN, its major version, the SVN of the SEAM loader's microcode …
        rtmrs: Four of 48 bytes.
        tee_tcb_svn2: 16 bytes, of the TDX module that runs now; empty in a report of TDX 1.0.
        mr_service_td: 48 bytes; empty in a report of TDX 1.0.
    """

    tee_tcb_svn: bytes
    mr_seam: bytes
    mr_signer_seam: bytes
    seam_attributes: bytes
    td_attributes: bytes
    xfam: bytes
    mr_td: bytes
    mr_config_id: bytes
    mr_owner: bytes
    mr_owner_config: bytes
    rtmrs: tuple[bytes, ...]
    report_data: bytes
    tee_tcb_svn2: bytes
    mr_service_td: bytes


@dataclass(frozen=True, slots=True)
class UnverifiedQuote:
    """A quote as somebody sent it.

    Attributes:
        version: 3, 4 or 5.
        body: Of the enclave or trust domain that asked for the quote.
        signed: Header and body, which the attestation key signs.
        signature: By the attestation key: r and s, 32 bytes each, highest byte first.
        key: The attestation key: x and y, 32 bytes each, highest byte first.
        qe_report: Of the quoting enclave that made the key.
        qe_signature: Over it, by the PCK.
        qe_data: What the quoting enclave added to its key.
        certificates: The PCK's chain, leaf first; empty where the quote names its PCK in another way.
    """

    version: int
    body: EnclaveReport | TdReport
    signed: bytes
    signature: bytes
    key: bytes
    qe_report: EnclaveReport
    qe_signature: bytes
    qe_data: bytes
    certificates: tuple[bytes, ...]


def parse_quote(data: bytes) -> UnverifiedQuote:
    """Parse a quote of at most 64 KiB; zeros may follow it, for quotes come in buffers of fixed size.

    Raises:
        RefusedError: EvidenceInvalid, naming what is not as the format says.
    """
    if len(data) > MAX_QUOTE_BYTES:
        raise _invalid(f"has {len(data)} bytes, {MAX_QUOTE_BYTES} allowed")
    reader = Reader(data, "the quote")
    version, tee = _read_header(reader)
    body = _read_body(reader, version, tee)
    signed = data[: reader.at]
    authentication = Reader(reader.take(reader.number(4)), "the quote's signature data")
    if reader.rest().strip(b"\0"):
        raise _invalid("is followed by something that is not padding")
    signature, key = authentication.take(64), authentication.take(64)
    if version > 3:
        authentication = _open_certification(authentication)
    return UnverifiedQuote(
        version=version,
        body=body,
        signed=signed,
        signature=signature,
        key=key,
        qe_report=_read_enclave(authentication),
        qe_signature=authentication.take(64),
        qe_data=authentication.take(authentication.number(2)),
        certificates=_read_certificates(authentication),
    )


def _read_header(reader: Reader) -> tuple[int, str]:
    version, key_type, tee = reader.number(2), reader.number(2), reader.number(4)
    reader.take(4)  # SVNs of QE and PCE in version 3, reserved later; the signed reports say them again
    vendor = reader.take(16)
    reader.take(20)
    if version not in (3, 4, 5):
        raise _invalid(f"has version {version}; 3, 4 and 5 are known")
    if key_type != _ECDSA_P256:
        raise _invalid(f"has an attestation key of type {key_type}; only 2, ECDSA on P-256, is known")
    if version == 3:
        tee = 0  # version 3 is of SGX alone and keeps other things here
    if tee not in _TEES:
        raise _invalid(f"is of TEE type {tee:#x}; 0x0 (SGX) and 0x81 (TDX) are known")
    if vendor != INTEL_QE:
        raise _invalid(f"is by a quoting enclave of vendor {vendor.hex()}, not of Intel")
    return version, _TEES[tee]


def _read_body(reader: Reader, version: int, tee: str) -> EnclaveReport | TdReport:
    kind = 1 if tee == "SGX" else 2
    if version == 5:
        kind, size = reader.number(2), reader.number(4)
        if _BODIES.get(kind) != (tee, size):
            raise _invalid(f"of {tee} has a body of type {kind} with {size} bytes")
    if kind == 1:
        return _read_enclave(reader)
    return _read_domain(reader, extended=kind == 3)


def _read_enclave(reader: Reader) -> EnclaveReport:
    raw = reader.take(384)
    return EnclaveReport(
        raw=raw,
        cpu_svn=raw[:16],
        misc_select=raw[16:20],
        attributes=raw[48:64],
        mr_enclave=raw[64:96],
        mr_signer=raw[128:160],
        config_id=raw[192:256],
        isv_prod_id=int.from_bytes(raw[256:258], "little"),
        isv_svn=int.from_bytes(raw[258:260], "little"),
        report_data=raw[320:],
    )


def _read_domain(reader: Reader, *, extended: bool) -> TdReport:
    return TdReport(
        tee_tcb_svn=reader.take(16),
        mr_seam=reader.take(48),
        mr_signer_seam=reader.take(48),
        seam_attributes=reader.take(8),
        td_attributes=reader.take(8),
        xfam=reader.take(8),
        mr_td=reader.take(48),
        mr_config_id=reader.take(48),
        mr_owner=reader.take(48),
        mr_owner_config=reader.take(48),
        rtmrs=tuple(reader.take(48) for _ in range(4)),
        report_data=reader.take(64),
        tee_tcb_svn2=reader.take(16) if extended else b"",
        mr_service_td=reader.take(48) if extended else b"",
    )


def _open_certification(reader: Reader) -> Reader:
    """Return what stands in the certification data that versions 4 and 5 wrap around the QE's report."""
    kind = reader.number(2)
    if kind != _QE_REPORT:
        raise _invalid(f"has certification data of type {kind}, not {_QE_REPORT}")
    inner = reader.take(reader.number(4))
    _check_end(reader)
    return Reader(inner, "the quote's certification data")


def _read_certificates(reader: Reader) -> tuple[bytes, ...]:
    kind = reader.number(2)
    if not 1 <= kind <= _PCK_CHAIN:
        raise _invalid(f"names its PCK by data of type {kind}; 1 to {_PCK_CHAIN} are known")
    data = reader.take(reader.number(4))
    _check_end(reader)
    if kind != _PCK_CHAIN:
        return ()
    return parse_pem(data.removesuffix(b"\0"), "the quote's certificates", most=_MAX_CERTIFICATES)


def _check_end(reader: Reader) -> None:
    left = len(reader.rest())
    if left:
        raise _invalid(f"has {left} bytes more in its signature data than it tells of")


def _invalid(what: str) -> RefusedError:
    return RefusedError(Reason.EVIDENCE_INVALID, f"the quote {what}")
