"""What is said to the outside: a reason, one constant sentence for it, and whether to ask again. Details are logged.

A pod learns which kind of thing is wrong, never which two facts disagreed: those of an owner's policy or of another
pod are none of its business.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sekisho.errors import Reason, SekishoError

FINAL: Final = 403
BEGIN_ANEW: Final = 409
ASK_AGAIN: Final = 503


@dataclass(frozen=True, slots=True)
class Told:
    """One answer that is no.

    Attributes:
        status: 403 is final: at a renewal the pod drops what it has. 409: begin with a new challenge. 429 and 503: ask
            again while the lease lasts.
    """

    status: int
    reason: Reason
    sentence: str


_SENTENCES: Final[Mapping[Reason, tuple[int, str]]] = {
    Reason.REQUEST_INVALID: (400, "the request cannot be read"),
    Reason.SEAL_INVALID: (400, "the request or the key file in it cannot be read"),
    Reason.EVIDENCE_INVALID: (400, "a piece of evidence cannot be read"),
    Reason.UNAUTHENTICATED: (401, "the token is not one of a model's pod for the broker"),
    Reason.ENDPOINT_UNKNOWN: (404, "there is nothing here"),
    Reason.CHALLENGE_UNKNOWN: (BEGIN_ANEW, "the challenge is not known here any more; begin with a new one"),
    Reason.REQUEST_TOO_LARGE: (413, "the request is too large"),
    Reason.OVERLOADED: (429, "too much is asked; ask again later"),
    # for now: neither evidence nor grants have changed
    Reason.API_UNAVAILABLE: (ASK_AGAIN, "the API server does not answer the broker; ask again"),
    Reason.KMS_UNAVAILABLE: (ASK_AGAIN, "the key service gives no usable answer; ask again"),
    Reason.RECORD_UNAVAILABLE: (ASK_AGAIN, "the release cannot be recorded, so there is none; ask again"),
    Reason.BROKER_UNAVAILABLE: (ASK_AGAIN, "the broker is not ready; ask again"),
    Reason.COLLATERAL_MISSING: (ASK_AGAIN, "the broker has no collateral for this evidence; its operator imports it"),
    Reason.COLLATERAL_INVALID: (ASK_AGAIN, "the broker's collateral cannot be used; its operator imports another"),
    Reason.COLLATERAL_EXPIRED: (ASK_AGAIN, "the broker's collateral is too old; its operator imports newer"),
    Reason.ISOLATION_NOT_PROVEN: (ASK_AGAIN, "the depot does not vouch for the pod's isolation now"),
    Reason.ISOLATION_PROOF_INCOMPLETE: (ASK_AGAIN, "the proof of isolation misses something"),
    Reason.ISOLATION_PROOF_STALE: (ASK_AGAIN, "the proof of isolation is too old"),
    Reason.POLICY_MISSING: (ASK_AGAIN, "there is no ClassificationPolicy in force"),
    Reason.POLICY_INVALID: (ASK_AGAIN, "a policy that decides cannot be read"),
    # final: somebody has to change something
    Reason.POD_NOT_KNOWN: (FINAL, "the pod is not known, or is not the one the token was made for"),
    Reason.WORKLOAD_MISMATCH: (FINAL, "the pod is not what its controller made, or not where it says it is"),
    Reason.ISOLATION_LEAK: (FINAL, "the pod reached what it must not reach"),
    Reason.EVIDENCE_MISSING: (FINAL, "evidence that a policy asks for was not sent"),
    Reason.EVIDENCE_UNTRUSTED: (FINAL, "a signature or chain of the evidence does not hold"),
    Reason.EVIDENCE_REVOKED: (FINAL, "a key behind the evidence is revoked"),
    Reason.EVIDENCE_STALE: (FINAL, "the evidence is too old"),
    Reason.EVIDENCE_NOT_BOUND: (FINAL, "the evidence was made for something else than this request"),
    Reason.TCB_TOO_OLD: (FINAL, "a security version is lower than a policy allows"),
    Reason.DEBUG_ENABLED: (FINAL, "the environment can be looked into"),
    Reason.MEASUREMENT_UNKNOWN: (FINAL, "no policy knows what was launched"),
    Reason.CHIP_UNKNOWN: (FINAL, "no policy knows this machine, or its TPM is not enrolled for the node"),
    Reason.APPRAISAL_FAILED: (FINAL, "the evidence is not good enough for a policy"),
    Reason.RELEASE_NOT_GRANTED: (FINAL, "owner and tenant have not both granted this release"),
    Reason.GRANT_EXPIRED: (FINAL, "a grant has ended or is suspended"),
    Reason.CLASS_MISMATCH: (FINAL, "the class of model, service or grant does not fit"),
    Reason.VERSION_ROLLED_BACK: (FINAL, "the version of the model is older than its owner allows"),
    Reason.LEASE_EXPIRED: (FINAL, "the lease has ended"),
    Reason.NOT_ALLOWED: (FINAL, "this is not allowed"),
    Reason.KEY_MISMATCH: (FINAL, "the wrapped key does not belong to this model, version and class"),
    Reason.KEY_NOT_FOUND: (FINAL, "the key service has no such key"),
    Reason.KEY_DISABLED: (FINAL, "the key is disabled"),
    Reason.KEY_VERSION_REVOKED: (FINAL, "the version of the key is revoked"),
    Reason.KEY_DENIED: (FINAL, "the key service denies the broker this key"),
    Reason.KEY_UNSAFE: (FINAL, "the broker opens no keys that are unsafe"),
}  # fmt: skip
_ATTESTATION: Final = frozenset({
    Reason.EVIDENCE_MISSING, Reason.EVIDENCE_INVALID, Reason.EVIDENCE_UNTRUSTED, Reason.EVIDENCE_REVOKED,
    Reason.EVIDENCE_STALE, Reason.EVIDENCE_NOT_BOUND, Reason.TCB_TOO_OLD, Reason.DEBUG_ENABLED,
    Reason.MEASUREMENT_UNKNOWN, Reason.CHIP_UNKNOWN, Reason.APPRAISAL_FAILED,
})  # fmt: skip


def tell(error: SekishoError) -> Told:
    """Return what an asker learns of an error."""
    found = _SENTENCES.get(error.reason)
    if found is None:
        return Told(ASK_AGAIN if error.retry else FINAL, error.reason, "the request is refused")
    status, sentence = found
    return Told(ASK_AGAIN if error.retry and status == FINAL else status, error.reason, sentence)


def is_final(error: SekishoError) -> bool:
    """Tell whether asking again helps nothing until somebody changes something."""
    return tell(error).status in {400, FINAL}


def is_about_evidence(reason: Reason) -> bool:
    """Tell whether a refusal says that the machine or what runs on it was not proven."""
    return reason in _ATTESTATION
