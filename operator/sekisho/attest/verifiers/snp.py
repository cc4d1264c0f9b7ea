"""Verify reports of AMD SEV-SNP: signed by the key of a chip (VCEK) or of a provider (VLEK) that AMD certified."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA384

from sekisho.attest.chains import Chain, arrange, verify_chain
from sekisho.attest.claims import Claims, TcbStatus, Tee
from sekisho.attest.evidence import UnverifiedEvidence
from sekisho.attest.signatures import ecdsa_holds
from sekisho.attest.verifiers.snp_endorsement import (
    TURIN,
    TURIN_ID_BYTES,
    Endorsement,
    decode_tcb,
    name_vcek,
    parse_endorsement,
)
from sekisho.attest.verifiers.snp_report import NO_KEY, VCEK, UnverifiedReport, parse_report
from sekisho.errors import Reason, RefusedError

_DEBUG_BIT: Final = 19
_MOST_HELD: Final = 256
# Families and models of processors, by AMD's revision guides; the first and the last model count.
_MODELS: Final = (
    ("Milan", 0x19, 0x00, 0x0F),
    ("Genoa", 0x19, 0x10, 0x1F),
    ("Genoa", 0x19, 0xA0, 0xAF),
    ("Turin", 0x1A, 0x00, 0x11),
)
_POLICY_FACTS: Final = (
    ("policy.smt", 16),
    ("policy.migrate", 18),
    ("policy.debug", _DEBUG_BIT),
    ("policy.single-socket", 20),
    ("policy.cxl", 21),
    ("policy.aes-256-xts", 22),
    ("policy.rapl-disabled", 23),
    ("policy.ciphertext-hiding", 24),
    ("policy.page-swap-disabled", 25),
)
_PLATFORM_FACTS: Final = (
    ("platform.smt", 0),
    ("platform.tsme", 1),
    ("platform.ecc", 2),
    ("platform.rapl-disabled", 3),
    ("platform.ciphertext-hiding", 4),
    ("platform.alias-check", 5),
    ("platform.iommu-write-safe", 6),
    ("platform.tio", 7),
)


@dataclass(frozen=True, slots=True)
class SnpCollateral:
    """What AMD published, and what of it is trusted.

    Attributes:
        roots: DER of the pinned ARKs.
        intermediates: DER of ASKs and ASVKs, for evidence that comes without them.
        crls: DER of the revocation lists that the ARKs signed.
        vceks: DER of VCEKs by their :func:`name_vcek`, for evidence that comes without certificates.
    """

    roots: tuple[bytes, ...]
    intermediates: tuple[bytes, ...] = ()
    crls: tuple[bytes, ...] = ()
    vceks: Mapping[str, bytes] = field(default_factory=dict, repr=False)


def verify_snp(evidence: UnverifiedEvidence, collateral: SnpCollateral, *, at: datetime) -> Claims:
    """Verify a report, and the certificate of the key that signed it.

    `bound_data` is REPORT_DATA (64 bytes), `configuration` HOST_DATA, `measurement` MEASUREMENT. `tcb` has the reported
    security versions by component ("bootloader", "tee", "snp", "microcode", on Turin "fmc"), and beside them the
    versions "committed.…", "current.…" and "launch.…". `chip_id` is None where the platform masks it.

    Raises:
        RefusedError: EvidenceInvalid, EvidenceUntrusted, EvidenceRevoked; CollateralMissing where neither evidence nor
            collateral has the certificate, CollateralInvalid, CollateralExpired.
    """
    report = parse_report(evidence.report)
    chain = verify_chain(_find_chain(evidence, report, collateral), collateral.roots, at=at, crls=collateral.crls)
    endorsement = parse_endorsement(chain.leaf)
    _check_key(report, endorsement)
    _check_product(report, endorsement)
    _check_tcb(report, endorsement)
    _check_chip(report, endorsement)
    if not ecdsa_holds(endorsement.key, report.signature, report.signed, SHA384()):
        raise _untrusted(f"the signature under the SNP report is not by the key of {chain.leaf.who}")
    return _claim(report, endorsement, chain)


def _find_chain(evidence: UnverifiedEvidence, report: UnverifiedReport, collateral: SnpCollateral) -> tuple[bytes, ...]:
    """Return the chain that came along, completed by what is known; or the known one of the chip."""
    if evidence.certificates:
        return arrange(evidence.certificates[0], (*evidence.certificates[1:], *collateral.intermediates))
    leaf = collateral.vceks.get(name_vcek(report.chip_id, report.reported_tcb))
    if report.signing_key != VCEK or not any(report.chip_id) or leaf is None:
        raise RefusedError(
            Reason.COLLATERAL_MISSING,
            f"SNP evidence comes without certificates, and no VCEK of chip {report.chip_id[:8].hex()}… for TCB "
            f"{report.reported_tcb.hex()} is known; import it",
        )
    return arrange(leaf, collateral.intermediates)


def _check_key(report: UnverifiedReport, endorsement: Endorsement) -> None:
    if report.signing_key == NO_KEY:
        raise _untrusted("the SNP report says that no key signed it")
    wanted = "vcek" if report.signing_key == VCEK else "vlek"
    if endorsement.kind != wanted:
        raise _untrusted(
            f"the SNP report says that a {wanted} signed it, its certificate is one of a {endorsement.kind}"
        )
    if wanted == "vcek" and report.mask_chip_key:
        raise _untrusted("the SNP report says that the platform masks the chip's key, so no VCEK can have signed it")


def _check_product(report: UnverifiedReport, endorsement: Endorsement) -> None:
    if report.cpuid is None:  # before version 3 only the certificate tells
        return
    family, model, _ = report.cpuid
    product = next((name for name, wanted, low, high in _MODELS if family == wanted and low <= model <= high), None)
    if product != endorsement.product:
        raise _untrusted(
            f"the SNP report is of family 0x{family:x} model 0x{model:x} ({product or 'not known'}), "
            f"its certificate is for {endorsement.product}"
        )


def _check_tcb(report: UnverifiedReport, endorsement: Endorsement) -> None:
    certified = dict(endorsement.tcb)
    for name, version in decode_tcb(report.reported_tcb, endorsement.product):
        if certified[name] != version:
            raise _untrusted(
                f"the SNP report says that the {name} has security version {version}, its certificate is for "
                f"{certified[name]}"
            )


def _check_chip(report: UnverifiedReport, endorsement: Endorsement) -> None:
    if endorsement.kind == "vlek" or not any(report.chip_id):
        return
    size = TURIN_ID_BYTES if endorsement.product == TURIN else len(report.chip_id)
    if report.chip_id[:size] != endorsement.hardware_id or any(report.chip_id[size:]):
        raise _untrusted(
            f"the SNP report is of chip {report.chip_id[:8].hex()}…, its certificate is for chip "
            f"{endorsement.hardware_id[:8].hex()}…"
        )


def _claim(report: UnverifiedReport, endorsement: Endorsement, chain: Chain) -> Claims:
    return Claims(
        tee=Tee.SNP,
        debug=_bit(report.policy, _DEBUG_BIT),
        tcb_status=TcbStatus.UNKNOWN,
        measurement=report.measurement,
        bound_data=report.report_data,
        chip_id=report.chip_id if any(report.chip_id) else None,
        evidence_digest=f"sha256:{hashlib.sha256(report.signed).hexdigest()}",
        window=chain.window,
        tcb=_list_tcb(
            report.reported_tcb,
            report.committed_tcb,
            report.current_tcb,
            report.launch_tcb,
            product=endorsement.product,
        ),
        configuration=report.host_data,
        facts=tuple(sorted([*_list_facts(report), *_list_origin(report, endorsement, chain)])),
    )


@lru_cache(_MOST_HELD)
def _list_tcb(
    reported: bytes, committed: bytes, current: bytes, launch: bytes, *, product: str
) -> tuple[tuple[str, int], ...]:
    listed = list(decode_tcb(reported, product))
    for prefix, data in (("committed", committed), ("current", current), ("launch", launch)):
        listed += [(f"{prefix}.{name}", version) for name, version in decode_tcb(data, product)]
    return tuple(sorted(listed))


def _list_facts(report: UnverifiedReport) -> list[tuple[str, str]]:
    mitigations = zip(("mitigations.launch", "mitigations.current"), report.mitigations or (), strict=False)
    return [
        *_list_bits(report.policy, _POLICY_FACTS),
        *_list_bits(report.platform_info, _PLATFORM_FACTS),
        *((name, f"{vector:016x}") for name, vector in mitigations),
        ("policy.abi", f"{report.policy >> 8 & 255}.{report.policy & 255}"),
        ("vmpl", str(report.vmpl)),
        ("guest-svn", str(report.guest_svn)),
        ("family-id", report.family_id.hex()),
        ("image-id", report.image_id.hex()),
        ("id-key-digest", report.id_key_digest.hex()),
        ("author-key-digest", report.author_key_digest.hex()),
        ("author-key", _say(report.author_key)),
        ("report-id", report.report_id.hex()),
        ("report-id-ma", report.report_id_ma.hex()),
        ("report-version", str(report.version)),
        ("firmware.current", ".".join(map(str, report.current_version))),
        ("firmware.committed", ".".join(map(str, report.committed_version))),
    ]


@lru_cache(_MOST_HELD)
def _list_bits(value: int, names: tuple[tuple[str, int], ...]) -> tuple[tuple[str, str], ...]:
    return tuple((name, _say(_bit(value, bit))) for name, bit in names)


def _list_origin(report: UnverifiedReport, endorsement: Endorsement, chain: Chain) -> list[tuple[str, str]]:
    named = [("csp-id", endorsement.csp_id)] if endorsement.csp_id else []
    processor = [("cpuid", "-".join(f"{number:02x}" for number in report.cpuid))] if report.cpuid else []
    return [
        *named,
        *processor,
        ("product", endorsement.product),
        ("signing-key", endorsement.kind),
        ("mask-chip-key", _say(report.mask_chip_key)),
        ("revocation", "checked" if chain.revocation_checked else "unchecked"),
    ]


def _bit(value: int, bit: int) -> bool:
    return bool(value >> bit & 1)


def _say(value: bool) -> str:
    return "true" if value else "false"


def _untrusted(message: str) -> RefusedError:
    return RefusedError(Reason.EVIDENCE_UNTRUSTED, message)
