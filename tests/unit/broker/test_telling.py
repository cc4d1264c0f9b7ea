"""What an asker learns: a status by which it knows what to do, and a sentence without facts."""

import pytest

from sekisho.broker.telling import is_about_evidence, is_final, tell
from sekisho.errors import Reason, RefusedError, UnavailableError

STATUSES = {
    400: {Reason.REQUEST_INVALID, Reason.SEAL_INVALID, Reason.EVIDENCE_INVALID},
    401: {Reason.UNAUTHENTICATED},
    404: {Reason.ENDPOINT_UNKNOWN},
    409: {Reason.CHALLENGE_UNKNOWN},
    413: {Reason.REQUEST_TOO_LARGE},
    429: {Reason.OVERLOADED},
    503: {
        Reason.API_UNAVAILABLE, Reason.KMS_UNAVAILABLE, Reason.RECORD_UNAVAILABLE, Reason.BROKER_UNAVAILABLE,
        Reason.COLLATERAL_MISSING, Reason.COLLATERAL_INVALID, Reason.COLLATERAL_EXPIRED, Reason.ISOLATION_NOT_PROVEN,
        Reason.ISOLATION_PROOF_INCOMPLETE, Reason.ISOLATION_PROOF_STALE, Reason.POLICY_MISSING, Reason.POLICY_INVALID,
    },
}  # fmt: skip
SPOKEN = {reason: status for status, reasons in STATUSES.items() for reason in reasons}


@pytest.mark.parametrize("reason", sorted(Reason))
def test_what_is_not_told_otherwise_is_final_and_what_is_final_tells_no_facts(reason: Reason) -> None:
    error = RefusedError(reason, "secret: 4711")
    told = tell(error)
    assert (told.status, told.reason) == (SPOKEN.get(reason, 403), reason)
    assert "4711" not in told.sentence
    assert told.sentence
    assert is_final(error) is (told.status in {400, 403})


def test_what_may_pass_by_itself_is_final_for_nobody() -> None:
    assert tell(UnavailableError(Reason.KEY_NOT_FOUND, "x")).status == 503
    assert tell(UnavailableError(Reason.OVERLOADED, "x")).status == 429
    assert tell(UnavailableError(Reason.ISOLATION_PROVEN, "x")).status == 503
    assert not is_final(UnavailableError(Reason.KEY_NOT_FOUND, "x"))


@pytest.mark.parametrize("reason", [Reason.EVIDENCE_INVALID, Reason.TCB_TOO_OLD, Reason.APPRAISAL_FAILED])
def test_some_refusals_speak_of_the_machine(reason: Reason) -> None:
    assert is_about_evidence(reason)
    assert not is_about_evidence(Reason.RELEASE_NOT_GRANTED)
