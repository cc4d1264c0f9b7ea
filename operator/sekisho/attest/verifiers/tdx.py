"""Verify Intel DCAP quotes of trust domains (TDX) and enclaves (SGX).

The chain of trust: Intel's pinned root → PCK certificate of the platform → report of the quoting enclave → its
attestation key → the quote. Beside it, signed by Intel under the same root: which security versions and which quoting
enclaves are good.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, TypeVar

from cryptography.hazmat.primitives.asymmetric import ec

from sekisho.attest.chains import Chain, intersect
from sekisho.attest.claims import Claims, Tee, Window
from sekisho.attest.eventlog import LoggedEvent, parse_dstack_log, parse_tcg_log, replay_rtmrs
from sekisho.attest.evidence import UnverifiedEvidence
from sekisho.attest.verifiers.tdx_collateral import (
    TdxCollateral,
    holds,
    holds_raw,
    pick_qe_identity,
    pick_tcb_info,
    verify_issued,
)
from sekisho.attest.verifiers.tdx_facts import (
    describe_domain,
    describe_enclave,
    describe_events,
    describe_platform,
)
from sekisho.attest.verifiers.tdx_pck import EXTENSION, Platform, parse_platform
from sekisho.attest.verifiers.tdx_quote import EnclaveReport, TdReport, UnverifiedQuote, parse_quote
from sekisho.attest.verifiers.tdx_statements import QeIdentity, TcbInfo
from sekisho.attest.verifiers.tdx_tcb import Verdict, check_quoting_enclave, judge_domain, judge_enclave
from sekisho.errors import Reason, RefusedError

_PCK: Final = "Intel SGX PCK Certificate"
_EVENT_LOG: Final = "eventLog"
_Value = TypeVar("_Value", int, str)


@dataclass(frozen=True, slots=True)
class VerifiedQuote:
    """A quote whose signatures hold up to the pinned root; how its platform stands is not judged yet.

    Attributes:
        quote: What it says.
        platform: What Intel certified of the platform.
        window: When the certificates and revocation lists are valid.
    """

    quote: UnverifiedQuote
    platform: Platform
    window: Window


def verify_tdx(evidence: UnverifiedEvidence, collateral: TdxCollateral, *, at: datetime) -> Claims:
    """Verify a quote of a trust domain or of an SGX enclave.

    A part "eventLog" (the CCEL, or dstack's JSON) is replayed where it came along; certificates are looked at only
    where the quote does not bring its own. `chip_id` is the PPID of the PCK certificate.

    Args:
        evidence: Its report is the quote.
        collateral: Roots, revocation lists and Intel's statements.
        at: Aware time for which everything must be valid.

    Raises:
        RefusedError: EvidenceInvalid, EvidenceUntrusted, EvidenceRevoked, TcbTooOld (below every level that Intel
            knows), CollateralMissing (DebugEnabled, where it is a debug environment besides), CollateralInvalid,
            CollateralExpired.
    """
    verified = verify_signatures(evidence, collateral, at=at)
    body, platform = verified.quote.body, verified.platform
    (identity, identity_window), (info, info_window) = _pick_statements(verified, collateral, at=at)
    qe = check_quoting_enclave(identity, verified.quote.qe_report)
    window = intersect([verified.window, identity_window, info_window])
    numbers = [("qe-identity-number", identity.number), ("tcb-evaluation-number", info.number)]
    if isinstance(body, EnclaveReport):
        return _claim_enclave(verified, body, judge_enclave(info, platform, qe), window, numbers)
    claims = _claim_domain(verified, body, judge_domain(info, platform, body, qe), window, numbers)
    return replace(claims, facts=_sort([*claims.facts, *_read_log(evidence, claims)]))


def verify_signatures(evidence: UnverifiedEvidence, collateral: TdxCollateral, *, at: datetime) -> VerifiedQuote:
    """Verify the chain of trust from the root to the quote; TCB information and QE identity are not looked at.

    Raises:
        RefusedError: EvidenceInvalid, EvidenceUntrusted, EvidenceRevoked, and what collateral lacks.
    """
    quote = parse_quote(evidence.report)
    certificates = quote.certificates or evidence.certificates
    if not certificates:
        raise RefusedError(
            Reason.EVIDENCE_INVALID, "the quote comes without its PCK certificate; send the chain along, leaf first"
        )
    chain = verify_issued(certificates, collateral, "PCK certificate", at=at)
    _check_signatures(quote, chain)
    extension = chain.leaf.extension(EXTENSION)
    if chain.leaf.common_name() != _PCK or extension is None:
        raise _untrusted(f'the quote is certified by "{chain.leaf.who}", which is no PCK certificate')
    return VerifiedQuote(quote, parse_platform(extension), chain.window)


def _pick_statements(
    verified: VerifiedQuote, collateral: TdxCollateral, *, at: datetime
) -> tuple[tuple[QeIdentity, Window], tuple[TcbInfo, Window]]:
    """Return Intel's statements about a platform; of a debug domain without any, say the more fundamental reason."""
    tee = "TDX" if isinstance(verified.quote.body, TdReport) else "SGX"
    try:
        return pick_qe_identity(collateral, tee, at=at), pick_tcb_info(collateral, verified.platform, tee, at=at)
    except RefusedError as error:
        if error.reason is Reason.COLLATERAL_MISSING and _is_debug(verified.quote.body):
            raise RefusedError(
                Reason.DEBUG_ENABLED,
                f"the quote is of a debug environment, which no policy takes; also, {error.message}",
            ) from error
        raise


def _is_debug(body: EnclaveReport | TdReport) -> bool:
    if isinstance(body, EnclaveReport):
        return body.attributes[0] & 0x02 != 0
    return body.td_attributes[0] != 0  # bits 7:0: the trust domain is debugged or profiled from outside


def _check_signatures(quote: UnverifiedQuote, chain: Chain) -> None:
    if not holds(chain.leaf, quote.qe_signature, quote.qe_report.raw):
        raise _untrusted("the report of the quoting enclave is not signed by the platform's PCK")
    made = hashlib.sha256(quote.key + quote.qe_data).digest() + bytes(32)
    if quote.qe_report.report_data != made:
        raise _untrusted("the attestation key is not the one that the quoting enclave reported")
    try:
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + quote.key)
    except ValueError as error:
        raise _untrusted("the attestation key is no point of P-256") from error
    if not holds_raw(key, quote.signature, quote.signed):
        raise _untrusted("the quote is not signed by its attestation key")


def _claim_domain(
    verified: VerifiedQuote, body: TdReport, verdict: Verdict, window: Window, numbers: list[tuple[str, int]]
) -> Claims:
    quote = verified.quote
    versions = [(f"tdx-{index:02d}", svn) for index, svn in enumerate(body.tee_tcb_svn, 1)]
    versions += [(f"tdx-now-{index:02d}", svn) for index, svn in enumerate(body.tee_tcb_svn2, 1)]
    facts = [*describe_platform(verified.platform, verdict), *describe_domain(body, verdict)]
    return Claims(
        tee=Tee.TDX,
        debug=_is_debug(body),
        tcb_status=verdict.status,
        measurement=body.mr_td,
        bound_data=body.report_data,
        chip_id=verified.platform.ppid,
        evidence_digest=f"sha256:{hashlib.sha256(quote.signed).hexdigest()}",
        window=window,
        tcb=_sort([*_list_versions(verified), *versions, *numbers]),
        registers=tuple((f"rtmr{index}", value) for index, value in enumerate(body.rtmrs)),
        configuration=body.mr_config_id,
        advisories=verdict.advisories,
        facts=_sort([*facts, ("quote-version", str(quote.version))]),
    )


def _claim_enclave(
    verified: VerifiedQuote, body: EnclaveReport, verdict: Verdict, window: Window, numbers: list[tuple[str, int]]
) -> Claims:
    quote = verified.quote
    facts = [*describe_platform(verified.platform, verdict), *describe_enclave(body)]
    return Claims(
        tee=Tee.SGX,
        debug=_is_debug(body),
        tcb_status=verdict.status,
        measurement=body.mr_enclave,
        bound_data=body.report_data,
        chip_id=verified.platform.ppid,
        evidence_digest=f"sha256:{hashlib.sha256(quote.signed).hexdigest()}",
        window=window,
        tcb=_sort([*_list_versions(verified), ("isv", body.isv_svn), *numbers]),
        configuration=body.config_id,
        advisories=verdict.advisories,
        facts=_sort([*facts, ("quote-version", str(quote.version))]),
    )


def _list_versions(verified: VerifiedQuote) -> list[tuple[str, int]]:
    platform = verified.platform
    components = [(f"sgx-{index:02d}", svn) for index, svn in enumerate(platform.components, 1)]
    return [*components, ("pce", platform.pce_svn), ("qe", verified.quote.qe_report.isv_svn)]


def _read_log(evidence: UnverifiedEvidence, claims: Claims) -> list[tuple[str, str]]:
    """Hold the event log, where one came along, against the registers that the quote signs, and tell of it."""
    log = dict(evidence.extras).get(_EVENT_LOG)
    if log is None:
        return [("event-log", "absent")]
    events = parse_log(log)
    for (name, value), (_, signed) in zip(replay_rtmrs(events), claims.registers, strict=True):
        if value != signed:
            raise _untrusted(f"the event log gives {name} {value.hex()}, the quote signs {signed.hex()}")
    return [("event-log", "replayed"), *describe_events(events)]


def parse_log(log: bytes) -> tuple[LoggedEvent, ...]:
    """Parse the event log of a trust domain: dstack's JSON where it begins as a list, else the CCEL's format.

    Raises:
        RefusedError: EvidenceInvalid.
    """
    return parse_dstack_log(log) if log.lstrip()[:1] == b"[" else parse_tcg_log(log)


def _sort(items: Iterable[tuple[str, _Value]]) -> tuple[tuple[str, _Value], ...]:
    return tuple(sorted(items))


def _untrusted(message: str) -> RefusedError:
    return RefusedError(Reason.EVIDENCE_UNTRUSTED, message)
