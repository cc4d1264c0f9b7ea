"""Judge the security versions of a platform by Intel's statements, as Intel's own verification library does.

Order and convergence: Intel SGX and TDX Provisioning Certification Service API, version 4, "Get TDX TCB Info" and "Get
TDX QE Identity", and Intel's quote verification library, steps 4.1.2.4.11 to 4.1.2.4.17.
"""

from dataclasses import dataclass, replace
from typing import Final

from sekisho.attest.claims import TcbStatus
from sekisho.attest.verifiers.tdx_pck import Platform
from sekisho.attest.verifiers.tdx_quote import EnclaveReport, TdReport
from sekisho.attest.verifiers.tdx_statements import ModuleIdentity, QeIdentity, Standing, SvnLevel, TcbInfo, TcbLevel
from sekisho.errors import Reason, RefusedError

_SGX_DEBUG: Final = 0x02
_CURRENT: Final = frozenset({TcbStatus.UP_TO_DATE, TcbStatus.SW_HARDENING_NEEDED})
_MISCONFIGURED: Final = frozenset({TcbStatus.CONFIGURATION_NEEDED, TcbStatus.CONFIGURATION_AND_SW_HARDENING_NEEDED})
_OUT_OF_DATE: Final = frozenset({TcbStatus.OUT_OF_DATE, TcbStatus.OUT_OF_DATE_CONFIGURATION_NEEDED})


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a platform, its TDX module and its quoting enclave stand together.

    Attributes:
        advisories: Of all three, each once, in that order.
        date: Of the platform's level.
        relaunch: Whether the TDX module was updated since, so that launching the trust domain anew would mend it.
    """

    status: TcbStatus
    advisories: tuple[str, ...]
    date: str
    relaunch: bool = False


def judge_enclave(info: TcbInfo, platform: Platform, qe: Standing) -> Verdict:
    """Judge the platform of an SGX enclave.

    Raises:
        RefusedError: TcbTooOld where it is below every level; EvidenceRevoked.
    """
    level = _find_level(info, platform, None)
    return _conclude(info, (level.standing, qe))


def judge_domain(info: TcbInfo, platform: Platform, report: TdReport, qe: Standing) -> Verdict:
    """Judge the platform and the TDX module of a trust domain.

    Raises:
        RefusedError: EvidenceUntrusted where the module is not Intel's; TcbTooOld where something is below every level;
            EvidenceRevoked.
    """
    check_module(info, report)
    launched = _conclude(info, (*_find_standings(info, platform, report.tee_tcb_svn), qe))
    if not report.tee_tcb_svn2:
        return launched
    # The module that runs now must be known and good as well; the domain was measured by the one at its launch.
    now = _conclude(info, (*_find_standings(info, platform, report.tee_tcb_svn2), qe))
    return replace(launched, relaunch=launched.status in _OUT_OF_DATE and now.status not in _OUT_OF_DATE)


def check_module(info: TcbInfo, report: TdReport) -> ModuleIdentity:
    """Return the identity of the TDX module that made a report, if it is one of Intel's.

    Raises:
        RefusedError: EvidenceUntrusted.
    """
    module = _find_module(info, report.tee_tcb_svn[1])
    if report.mr_signer_seam != module.mr_signer:
        raise _untrusted(
            f"TDX module is signed by {report.mr_signer_seam.hex()}, the TCB information says {module.mr_signer.hex()}"
        )
    if any(report.seam_attributes) or any(a & m for a, m in zip(module.attributes, module.mask, strict=True)):
        raise _untrusted(
            f"TDX module has attributes {report.seam_attributes.hex()}, the TCB information {module.attributes.hex()};"
            " only zeros are production"
        )
    return module


def check_quoting_enclave(identity: QeIdentity, report: EnclaveReport) -> Standing:
    """Hold a quoting enclave against its identity and say how its version stands.

    Raises:
        RefusedError: EvidenceUntrusted where it is another enclave or a debug one; TcbTooOld where it is below every
            level.
    """
    told: tuple[tuple[str, bytes, bytes], ...] = (
        ("MRSIGNER", report.mr_signer, identity.mr_signer),
        ("ISVPRODID", report.isv_prod_id.to_bytes(2, "big"), identity.isv_prod_id.to_bytes(2, "big")),
        ("MISCSELECT", _mask(report.misc_select, identity.misc_mask), identity.misc_select),
        ("ATTRIBUTES", _mask(report.attributes, identity.attributes_mask), identity.attributes),
    )
    for name, found, wanted in told:
        if found != wanted:
            raise _untrusted(f"quoting enclave has {name} {found.hex()}, the identity {identity.name} {wanted.hex()}")
    if report.attributes[0] & _SGX_DEBUG:
        raise _untrusted("quoting enclave runs in debug mode")
    return _find_standing(identity.levels, report.isv_svn, f"quoting enclave {identity.name}")


def _find_standings(info: TcbInfo, platform: Platform, tee_tcb_svn: bytes) -> tuple[Standing, Standing]:
    """Return how a platform stands with a TDX module, and how that module stands by itself."""
    level = _find_level(info, platform, tee_tcb_svn)
    module = _find_module(info, tee_tcb_svn[1])
    if not module.name:
        return level.standing, Standing(TcbStatus.UP_TO_DATE, "")  # version 0 has no levels of its own
    return level.standing, _find_standing(module.levels, tee_tcb_svn[0], f"TDX module {module.name}")


def _find_level(info: TcbInfo, platform: Platform, tee_tcb_svn: bytes | None) -> TcbLevel:
    """Return the highest level that a platform reaches in every component."""
    for level in info.levels:
        if platform.pce_svn < level.pce_svn or not _reaches(platform.components, level.sgx):
            continue
        if tee_tcb_svn is None:
            return level
        # Where the module has a version, its own levels judge the first two components.
        first = 2 if tee_tcb_svn[1] else 0
        if _reaches(tuple(tee_tcb_svn)[first:], level.tdx[first:]):
            return level
    reported = f"SGX components {list(platform.components)}, PCESVN {platform.pce_svn}"
    if tee_tcb_svn is not None:
        reported = f"TDX components {list(tee_tcb_svn)} with {reported}"
    raise RefusedError(
        Reason.TCB_TOO_OLD,
        f"no TCB level of FMSPC {info.fmspc.hex()} covers the platform: it reports {reported},"
        f" and is below each of {len(info.levels)} levels; update its firmware",
    )


def _find_module(info: TcbInfo, version: int) -> ModuleIdentity:
    wanted = f"TDX_{version:02X}" if version else ""
    for module in info.modules:
        if module.name == wanted:
            return module
    raise _untrusted(f"TDX module of version {version} is none that the TCB information knows")


def _find_standing(levels: tuple[SvnLevel, ...], svn: int, name: str) -> Standing:
    for level in levels:
        if svn >= level.svn:
            return level.standing
    raise RefusedError(
        Reason.TCB_TOO_OLD, f"the {name} has SVN {svn}, the least that Intel knows is {levels[-1].svn}; update it"
    )


def _conclude(info: TcbInfo, standings: tuple[Standing, ...]) -> Verdict:
    status = standings[0].status
    for standing in standings[1:]:
        status = _converge(status, standing.status)
    advisories = dict.fromkeys(name for standing in standings for name in standing.advisories)
    if status is TcbStatus.REVOKED:
        raise RefusedError(
            Reason.EVIDENCE_REVOKED,
            f"Intel revoked the security version of the platform, its TDX module or its quoting enclave"
            f" (FMSPC {info.fmspc.hex()}, {', '.join(advisories) or 'no advisory named'})",
        )
    return Verdict(status, tuple(advisories), standings[0].date)


def _converge(platform: TcbStatus, part: TcbStatus) -> TcbStatus:
    """Join the status of a platform with that of its module or quoting enclave."""
    if part is TcbStatus.REVOKED:
        return part
    if part is not TcbStatus.UP_TO_DATE:
        if platform in _CURRENT:
            return TcbStatus.OUT_OF_DATE
        if platform in _MISCONFIGURED:
            return TcbStatus.OUT_OF_DATE_CONFIGURATION_NEEDED
    return platform


def _reaches(reported: tuple[int, ...], least: tuple[int, ...]) -> bool:
    return all(have >= need for have, need in zip(reported, least, strict=True))


def _mask(value: bytes, mask: bytes) -> bytes:
    return bytes(a & b for a, b in zip(value, mask, strict=True))


def _untrusted(what: str) -> RefusedError:
    return RefusedError(Reason.EVIDENCE_UNTRUSTED, f"the {what}")
