"""Verify attestation results that others signed: EAR tokens of Trustee and tokens of Google's Confidential Space.

Such a service verified the evidence itself; what is believed of it is its word, signed by a key that somebody
configured. EAR: draft-ietf-rats-ear, with the annotated evidence that Trustee adds. Google: "Attestation token
claims".
"""

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sekisho.attest.binding import digest_bytes
from sekisho.attest.claims import Claims, TcbStatus, Tee, Window
from sekisho.attest.evidence import UnverifiedEvidence
from sekisho.attest.jose import Token, parse_token, verify_token
from sekisho.attest.jwk import TokenKey
from sekisho.errors import Reason, RefusedError

MAX_FACTS: Final = 1024
_MAX_DEPTH: Final = 8
_MAX_VALUE: Final = 4096
_CLOCKS_APART: Final = timedelta(seconds=60)
_LATEST: Final = 253_402_300_799
_TIERS: Final[Mapping[object, str]] = {0: "none", 2: "affirming", 32: "warning", 96: "contraindicated"}
_PRIMARY: Final = "cpu0"
_ANNOTATED: Final = "ear.veraison.annotated-evidence"
_SAMPLES: Final = frozenset({"sample", "sampledevice"})
_DEBUG_FLAGS: Final = ("debug", "policy_debug_allowed")
_SGX_FLAGS: Final = "sgx.body.attributes.flags"
_SGX_DEBUG: Final = 0x02
_SPACE: Final = "CONFIDENTIAL_SPACE"


@dataclass(frozen=True, slots=True)
class TokenIssuer:
    """A service whose word counts.

    Attributes:
        issuer: What its tokens say in `iss`; empty for a service that says nothing there.
        keys: Its keys.
        roots: Roots to which a chain in `x5c` may lead, DER.
        subjects: Common names that such a chain may have at its end; empty: every certificate under the roots.
        audiences: For whom a token may have been made; empty: the token must name nobody.
        statuses: How well an EAR must speak of every part it appraised: "affirming", "warning", "none", …
    """

    issuer: str
    keys: tuple[TokenKey, ...] = ()
    roots: tuple[bytes, ...] = ()
    subjects: tuple[str, ...] = ()
    audiences: tuple[str, ...] = ()
    statuses: frozenset[str] = frozenset({"affirming"})


@dataclass(frozen=True, slots=True)
class TokenCollateral:
    """Whose tokens count; one issuer at most for each name."""

    issuers: tuple[TokenIssuer, ...]


def verify_ear_token(evidence: UnverifiedEvidence, collateral: TokenCollateral, *, at: datetime) -> Claims:
    """Verify an EAR and say what it claims.

    It is bound to `eat_nonce`, or to the report data of its part "cpu0". Facts are its claims by path, as
    "cpu0.snp.measurement"; a result about sample evidence counts as debug, for anybody can make such evidence.

    Raises:
        RefusedError: EvidenceInvalid, EvidenceUntrusted, EvidenceStale, EvidenceNotBound; AppraisalFailed where it does
            not speak well enough of a part.
    """
    token, issuer, window = _verify(evidence, collateral, at=at)
    parts = _take_parts(token.claims)
    for name, part in parts.items():
        status = _status(part)
        if status not in issuer.statuses:
            wanted = ", ".join(sorted(issuer.statuses))
            raise RefusedError(Reason.APPRAISAL_FAILED, f'the token calls "{name}" {status}, {wanted} is wanted')
    annotated = {name: _annotated(part) for name, part in parts.items()}
    facts = _flatten({**_vectors(parts), **annotated, "issuer": issuer.issuer})
    primary = annotated[_PRIMARY]
    nonce = token.claims.get("eat_nonce")
    return Claims(
        tee=Tee.RESULT,
        debug=_is_debug(facts) or any(_SAMPLES.intersection(each) for each in annotated.values()),
        tcb_status=_tcb_status(facts),
        measurement=b"",
        bound_data=_take_nonce(nonce) if nonce is not None else _take_bytes(primary.get("report_data")),
        chip_id=None,
        evidence_digest=digest_bytes(token.signed),
        window=window,
        configuration=_take_bytes(primary.get("init_data")),
        advisories=tuple(sorted(set(filter(None, facts.get(f"{_PRIMARY}.tdx.advisory_ids", "").split(","))))),
        facts=tuple(sorted(facts.items())),
    )


def verify_gcs_token(evidence: UnverifiedEvidence, collateral: TokenCollateral, *, at: datetime) -> Claims:
    """Verify a token of Google's Confidential Space and say what it claims.

    Its measurement is the digest of the workload's image. It is bound to `eat_nonce`, of which there must be one. All
    but "disabled-since-boot" counts as debug.

    Raises:
        RefusedError: EvidenceInvalid, EvidenceUntrusted, EvidenceStale, EvidenceNotBound; CollateralInvalid where no
            audience is configured.
    """
    token, issuer, window = _verify(evidence, collateral, at=at)
    if not issuer.audiences:
        raise RefusedError(
            Reason.COLLATERAL_INVALID, f'no audience is configured for tokens of "{issuer.issuer}", so any would do'
        )
    if token.claims.get("swname") != _SPACE:
        raise _invalid(f"its swname is {str(token.claims.get('swname'))[:64]!r}, not {_SPACE}")
    facts = _flatten(token.claims)
    return Claims(
        tee=Tee.RESULT,
        debug=facts.get("dbgstat") != "disabled-since-boot",
        tcb_status=TcbStatus.UNKNOWN,
        measurement=_take_digest(facts.get("submods.container.image_digest", "")),
        bound_data=_take_nonce(token.claims.get("eat_nonce")),
        chip_id=None,
        evidence_digest=digest_bytes(token.signed),
        window=window,
        facts=tuple(sorted(facts.items())),
    )


def _verify(
    evidence: UnverifiedEvidence, collateral: TokenCollateral, *, at: datetime
) -> tuple[Token, TokenIssuer, Window]:
    token = parse_token(evidence.report)
    said = token.claims.get("iss", "")
    issuer = next((each for each in collateral.issuers if each.issuer == said), None)
    if issuer is None:
        raise RefusedError(Reason.EVIDENCE_UNTRUSTED, f"nobody configured the issuer {str(said)[:128]!r} of the token")
    signature = verify_token(token, issuer.keys, issuer.roots, at=at)
    if signature.who and issuer.subjects and signature.who not in issuer.subjects:
        raise RefusedError(
            Reason.EVIDENCE_UNTRUSTED,
            f'"{signature.who[:128]}" signed the token, {", ".join(issuer.subjects)} may for "{issuer.issuer}"',
        )
    _check_audience(token.claims.get("aud"), issuer)
    window = _check_times(token.claims, at=at)
    if signature.window is not None:
        window = Window(
            max(window.not_before, signature.window.not_before), min(window.not_after, signature.window.not_after)
        )
    return token, issuer, window


def _check_audience(audience: object, issuer: TokenIssuer) -> None:
    named = audience if isinstance(audience, list) else [] if audience is None else [audience]
    if named and not any(each in issuer.audiences for each in named):
        raise RefusedError(
            Reason.EVIDENCE_NOT_BOUND,
            f"the token is for {str(named[0])[:128]!r}, {', '.join(issuer.audiences) or 'nobody'} is configured",
        )
    if issuer.audiences and not named:
        raise RefusedError(
            Reason.EVIDENCE_NOT_BOUND, f"the token is for nobody, one for {', '.join(issuer.audiences)} is wanted"
        )


def _check_times(claims: Mapping[str, Any], *, at: datetime) -> Window:
    end = _take_time(claims, "exp")
    begins = [_take_time(claims, name) for name in ("nbf", "iat") if name in claims]
    if end is None or None in begins:
        raise _invalid("exp, nbf and iat are not the seconds of times, or exp is missing")
    if at >= end:
        raise RefusedError(Reason.EVIDENCE_STALE, f"the token expired at {_spell(end)}, it is {_spell(at)}")
    begin = max(filter(None, begins), default=at)
    if at + _CLOCKS_APART < begin:
        raise RefusedError(Reason.EVIDENCE_STALE, f"the token is valid from {_spell(begin)}, it is {_spell(at)}")
    return Window(min(begin, at), end)


def _take_time(claims: Mapping[str, Any], name: str) -> datetime | None:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LATEST:
        return None
    return datetime.fromtimestamp(int(value), UTC)


def _take_parts(claims: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    parts = claims.get("submods")
    if not isinstance(parts, dict) or not all(isinstance(part, dict) for part in parts.values()):
        raise _invalid("its submods are not an object of objects")
    if _PRIMARY not in parts:
        raise _invalid(f'it says nothing about "{_PRIMARY}"')
    return parts


def _status(part: Mapping[str, Any]) -> str:
    value = part.get("ear.status", "none")
    return str(_TIERS.get(value, value) if isinstance(value, int | str) else "none")[:32]


def _annotated(part: Mapping[str, Any]) -> Mapping[str, Any]:
    value = part.get(_ANNOTATED, {})
    if not isinstance(value, dict):
        raise _invalid("its annotated evidence is not an object")
    return value


def _vectors(parts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return status, policy and trustworthiness vector of each part, under names of their own."""
    names = ("ear.status", "ear.appraisal-policy-id", "ear.trustworthiness-vector")
    return {
        f"{name}.{key}": _status(part) if key == "ear.status" else part[key]
        for name, part in parts.items()
        for key in names
        if key in part
    }


def _flatten(value: Mapping[str, Any]) -> dict[str, str]:
    """Spell claims as text by path; lists of plain values are joined, lists of objects are left out.

    Raises:
        RefusedError: EvidenceInvalid; more than 1024, deeper than 8 levels or longer than 4096 characters, or two
            claims that have one path.
    """
    facts: dict[str, str] = {}
    for path, text in _walk(value, "", 0):
        if path in facts or len(facts) == MAX_FACTS or len(path) + len(text) > _MAX_VALUE:
            raise _invalid(f'it has more than {MAX_FACTS} claims, or "{path[:128]}" stands twice or is too long')
        facts[path] = text
    return facts


def _walk(value: Any, path: str, depth: int) -> Iterator[tuple[str, str]]:
    if depth > _MAX_DEPTH:
        raise _invalid(f"its claims are deeper than {_MAX_DEPTH} levels")
    match value:
        case dict():
            for name, each in value.items():
                yield from _walk(each, f"{path}.{name}" if path else name, depth + 1)
        case list():
            if not any(isinstance(each, dict | list) for each in value):
                yield path, ",".join(map(_text, value))
        case None:
            return
        case _:
            yield path, _text(value)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) or value is None else str(value)


def _is_debug(facts: Mapping[str, str]) -> bool:
    for path, text in facts.items():
        if path.rpartition(".")[2] in _DEBUG_FLAGS and text not in {"false", "0"}:
            return True
        if path.endswith(_SGX_FLAGS):
            flags = _take_bytes(text)
            if not flags or flags[0] & _SGX_DEBUG:
                return True
    return False


def _tcb_status(facts: Mapping[str, str]) -> TcbStatus:
    known = {status.value: status for status in TcbStatus}
    return known.get(facts.get(f"{_PRIMARY}.tdx.tcb_status", ""), TcbStatus.UNKNOWN)


def _take_nonce(value: object) -> bytes:
    """Read the one nonce of a token: hexadecimal digits of 32 bytes, base64 of others, or the text itself."""
    if isinstance(value, list):
        if len(value) != 1:
            raise _invalid(f"it commits to {len(value)} nonces, one is wanted")
        value = value[0]
    if not isinstance(value, str) or not 8 <= len(value) <= 128:
        raise _invalid("it has no nonce of 8 to 128 characters")
    return _take_bytes(value) or value.encode(errors="replace")


def _take_bytes(value: object) -> bytes:
    """Read bytes that are spelt in hexadecimal digits or base64; empty where they are neither."""
    if not isinstance(value, str):
        return b""
    try:
        return bytes.fromhex(value)
    except ValueError:
        pass
    try:
        return base64.b64decode(value.replace("-", "+").replace("_", "/") + "=" * (-len(value) % 4), validate=True)
    except ValueError:
        return b""


def _take_digest(text: str) -> bytes:
    kind, _, digits = text.partition(":")
    data = _take_bytes(digits) if kind == "sha256" else b""
    return data if len(data) == 32 else b""


def _spell(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def _invalid(what: str) -> RefusedError:
    return RefusedError(Reason.EVIDENCE_INVALID, f"the token cannot be used: {what}")
