"""What a pod says of the unsealing of its weights: one small body, one closed set of reasons."""

import json
from dataclasses import dataclass
from typing import Final

from sekisho.errors import Reason, RefusedError

MAX_REPORT_BYTES: Final = 4096
MAX_MESSAGE: Final = 1024
REPORTABLE: Final = frozenset(
    {
        Reason.WEIGHTS_AVAILABLE,
        Reason.FETCHING,
        Reason.NOT_SEALED,
        Reason.FORMAT_NOT_SERVED,
        Reason.SEAL_BROKEN,
        Reason.SEAL_INVALID,
        Reason.VERSION_ROLLED_BACK,
        Reason.CLASS_MISMATCH,
        Reason.KEY_MISMATCH,
        Reason.KEY_NOT_FOUND,
        Reason.KEY_DISABLED,
        Reason.KEY_VERSION_REVOKED,
        Reason.KEY_DENIED,
        Reason.KEY_UNSAFE,
        Reason.KMS_UNAVAILABLE,
        Reason.DIGEST_MISMATCH,
        Reason.SIZE_EXCEEDED,
        Reason.SOURCE_INVALID,
        Reason.VOLUME_MISSING,
        Reason.EVIDENCE_MISSING,
        Reason.EVIDENCE_INVALID,
        Reason.EVIDENCE_UNTRUSTED,
        Reason.EVIDENCE_REVOKED,
        Reason.EVIDENCE_STALE,
        Reason.EVIDENCE_NOT_BOUND,
        Reason.COLLATERAL_MISSING,
        Reason.COLLATERAL_INVALID,
        Reason.COLLATERAL_EXPIRED,
        Reason.TCB_TOO_OLD,
        Reason.DEBUG_ENABLED,
        Reason.MEASUREMENT_UNKNOWN,
        Reason.CHIP_UNKNOWN,
        Reason.APPRAISAL_FAILED,
        Reason.RELEASE_NOT_GRANTED,
        Reason.GRANT_EXPIRED,
        Reason.GRANT_SUSPENDED,
        Reason.KEY_NOT_OWNED,
        Reason.WORKLOAD_MISMATCH,
        Reason.LEASE_EXPIRED,
        Reason.BROKER_UNAVAILABLE,
    }
)
"""What a pod may say; the isolation of a pod, for instance, is not for the pod to report."""


@dataclass(frozen=True, slots=True)
class UnsealReport:
    """How unsealing goes in one pod; `ready` exactly where the reason is WeightsAvailable."""

    reason: Reason
    message: str
    ready: bool


def encode_report(report: UnsealReport) -> bytes:
    """Spell a report within its bounds: its message is cut where it is too long, and holds no control characters."""
    body = {"reason": report.reason, "message": _clip(report.message), "ready": report.ready}
    return json.dumps(body, ensure_ascii=True, separators=(",", ":")).encode()


def parse_report(data: bytes) -> UnsealReport:
    """Read a report that a pod sent.

    Raises:
        RefusedError: RequestInvalid, naming what is wrong.
    """
    if len(data) > MAX_REPORT_BYTES:
        raise _invalid(f"it has {len(data)} bytes, {MAX_REPORT_BYTES} allowed")
    try:
        body = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _invalid("it is not JSON") from error
    if not isinstance(body, dict) or set(body) != {"reason", "message", "ready"}:
        raise _invalid("it is not an object of reason, message and ready")
    message, ready = body["message"], body["ready"]
    if not isinstance(message, str) or len(message) > MAX_MESSAGE or not message.isprintable():
        raise _invalid(f"its message is not printable text of at most {MAX_MESSAGE} characters")
    known = {reason.value: reason for reason in REPORTABLE}
    reason = known.get(body["reason"]) if isinstance(body["reason"], str) else None
    if reason is None:
        raise _invalid("its reason is none that a pod may give")
    if not isinstance(ready, bool) or ready != (reason is Reason.WEIGHTS_AVAILABLE):
        raise _invalid(f"ready is {str(ready)[:16]}, which does not go with reason {reason}")
    return UnsealReport(reason, message, ready)


def _clip(message: str) -> str:
    """Cut a message so that it fits even where every sign of it is escaped in JSON."""
    text = "".join(sign if sign.isprintable() else "?" for sign in message)[:MAX_MESSAGE]
    while len(json.dumps(text)) > MAX_REPORT_BYTES - 128:
        text = text[: len(text) // 2]
    return text


def _invalid(what: str) -> RefusedError:
    return RefusedError(Reason.REQUEST_INVALID, f"the report on weights cannot be used: {what}")
