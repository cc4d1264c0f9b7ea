"""Every refusal of the product: one closed set of reasons, one family of exceptions.

A reason travels unchanged from the place that found it to conditions, events, logs, metrics, HTTP bodies and the
command line. Standard library only: the agent in the pod imports this module.
"""

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Name why something holds or does not; the value is what users and alerts match on."""

    # Acceptance: what the object says
    ACCEPTED = "Accepted"
    INVALID_SPEC = "InvalidSpec"
    POLICY_MISSING = "PolicyMissing"
    POLICY_INVALID = "PolicyInvalid"
    UNKNOWN_LEVEL = "UnknownLevel"
    UNKNOWN_COMPARTMENT = "UnknownCompartment"
    LABEL_INVALID = "LabelInvalid"
    MODEL_NOT_FOUND = "ModelNotFound"
    RUNTIME_NOT_FOUND = "RuntimeNotFound"
    FORMAT_NOT_SERVED = "FormatNotServed"
    STORAGE_URI_INVALID = "StorageUriInvalid"
    EGRESS_NOT_ALLOWED = "EgressNotAllowed"
    SEALED_WEIGHTS_REQUIRED = "SealedWeightsRequired"
    IMAGE_NOT_BY_DIGEST = "ImageNotByDigest"
    IMAGE_BY_DIGEST = "ImageByDigest"
    SELECTOR_PROTECTED = "SelectorProtected"
    SELECTOR_NOT_PROTECTED = "SelectorNotProtected"

    # Placement: law, then trust, then hardware, then room
    PLACED = "Placed"
    NO_SITE = "NoSite"
    OUTRANKED = "Outranked"
    SITE_NOT_SELECTED = "SiteNotSelected"
    TIER_NOT_ALLOWED = "TierNotAllowed"
    JURISDICTION_NOT_ALLOWED = "JurisdictionNotAllowed"
    SITE_KIND_NOT_SERVED = "SiteKindNotServed"
    TRUST_MISSING = "TrustMissing"
    TRUST_TOO_OLD = "TrustTooOld"
    TRUST_IMPOSSIBLE = "TrustImpossible"
    NO_NODES = "NoNodes"
    NODES_NOT_READY = "NodesNotReady"
    NODE_SELECTOR_MISMATCH = "NodeSelectorMismatch"
    TAINT_NOT_TOLERATED = "TaintNotTolerated"
    TENANCY_CONFLICT = "TenancyConflict"
    ACCELERATOR_MISSING = "AcceleratorMissing"
    GPU_MEMORY_SHORT = "GpuMemoryShort"
    GPU_SHORT = "GpuShort"
    CPU_SHORT = "CpuShort"
    MEMORY_SHORT = "MemoryShort"
    POD_SLOTS_SHORT = "PodSlotsShort"

    # Isolation: policy, and the proof from inside the pod
    ISOLATION_PROVEN = "IsolationProven"
    ISOLATION_PENDING = "IsolationPending"
    ISOLATION_LEAK = "IsolationLeak"
    ISOLATION_PROOF_INCOMPLETE = "IsolationProofIncomplete"
    ISOLATION_PROOF_STALE = "IsolationProofStale"
    ISOLATION_NOT_PROVEN = "IsolationNotProven"
    DEPOT_UNREACHABLE = "DepotUnreachable"
    FENCE_FAILED = "FenceFailed"
    FOREIGN_NETWORK_POLICY = "ForeignNetworkPolicy"
    POD_ALTERED = "PodAltered"
    NETWORK_POLICY_NOT_OBSERVED = "NetworkPolicyNotObserved"

    # Weights
    WEIGHTS_AVAILABLE = "WeightsAvailable"
    WEIGHTS_MOUNTED = "WeightsMounted"
    WEIGHTS_PENDING = "WeightsPending"
    FETCHING = "Fetching"
    CREDENTIALS_MISSING = "CredentialsMissing"
    SOURCE_DENIED = "SourceDenied"
    SOURCE_NOT_FOUND = "SourceNotFound"
    SOURCE_NOT_ALLOWED = "SourceNotAllowed"
    SOURCE_UNREACHABLE = "SourceUnreachable"
    SOURCE_INVALID = "SourceInvalid"
    DIGEST_MISMATCH = "DigestMismatch"
    SIZE_EXCEEDED = "SizeExceeded"
    DEPOT_FULL = "DepotFull"
    DEPOT_OVERLOADED = "DepotOverloaded"
    POD_NOT_KNOWN = "PodNotKnown"
    VOLUME_MISSING = "VolumeMissing"

    # Sealed weights: format, signatures, keys, scan, approvals
    SEALED = "Sealed"
    NOT_SEALED = "NotSealed"
    SEAL_BROKEN = "SealBroken"
    SEAL_INVALID = "SealInvalid"
    FORMAT_INVALID = "FormatInvalid"
    SIGNED = "Signed"
    SIGNATURE_MISSING = "SignatureMissing"
    SIGNATURE_INVALID = "SignatureInvalid"
    SIGNER_NOT_TRUSTED = "SignerNotTrusted"
    VERSION_ROLLED_BACK = "VersionRolledBack"
    CLASS_MISMATCH = "ClassMismatch"
    KEY_MISMATCH = "KeyMismatch"
    KEY_NOT_FOUND = "KeyNotFound"
    KEY_ENABLED = "KeyEnabled"
    KEY_DISABLED = "KeyDisabled"
    KEY_VERSION_REVOKED = "KeyVersionRevoked"
    KEY_DENIED = "KeyDenied"
    KEY_UNSAFE = "KeyUnsafe"
    KMS_UNAVAILABLE = "KmsUnavailable"
    SCANNED = "Scanned"
    SCAN_MISSING = "ScanMissing"
    SCAN_FINDINGS = "ScanFindings"
    EVALUATED = "Evaluated"
    EVALUATION_MISSING = "EvaluationMissing"
    APPROVED = "Approved"
    APPROVAL_MISSING = "ApprovalMissing"

    # Attestation and the release of keys
    ATTESTED = "Attested"
    EVIDENCE_MISSING = "EvidenceMissing"
    EVIDENCE_INVALID = "EvidenceInvalid"
    EVIDENCE_UNTRUSTED = "EvidenceUntrusted"
    EVIDENCE_REVOKED = "EvidenceRevoked"
    EVIDENCE_STALE = "EvidenceStale"
    EVIDENCE_NOT_BOUND = "EvidenceNotBound"
    COLLATERAL_MISSING = "CollateralMissing"
    COLLATERAL_INVALID = "CollateralInvalid"
    COLLATERAL_EXPIRED = "CollateralExpired"
    TCB_TOO_OLD = "TcbTooOld"
    DEBUG_ENABLED = "DebugEnabled"
    MEASUREMENT_UNKNOWN = "MeasurementUnknown"
    CHIP_UNKNOWN = "ChipUnknown"
    APPRAISAL_FAILED = "AppraisalFailed"
    CHALLENGE_UNKNOWN = "ChallengeUnknown"
    KEY_RELEASED = "KeyReleased"
    RELEASE_NOT_GRANTED = "ReleaseNotGranted"
    GRANT_EXPIRED = "GrantExpired"
    GRANT_SUSPENDED = "GrantSuspended"
    KEY_NOT_OWNED = "KeyNotOwned"
    WORKLOAD_MISMATCH = "WorkloadMismatch"
    LEASE_EXPIRED = "LeaseExpired"
    BROKER_UNAVAILABLE = "BrokerUnavailable"

    # Serving
    SERVING = "Serving"
    READY = "Ready"
    ENGINE_STARTING = "EngineStarting"
    ENGINE_CRASHING = "EngineCrashing"
    IMAGE_PULL_FAILED = "ImagePullFailed"
    UNSCHEDULABLE = "Unschedulable"
    POD_REFUSED = "PodRefused"
    SCALED_TO_ZERO = "ScaledToZero"
    STOPPED = "Stopped"
    PENDING = "Pending"

    # The loop
    APPLY_REFUSED = "ApplyRefused"
    NOT_OURS = "NotOurs"
    API_UNAVAILABLE = "ApiUnavailable"
    TERMINATING = "Terminating"

    # Requests
    UNAUTHENTICATED = "Unauthenticated"
    NOT_ALLOWED = "NotAllowed"
    CLASS_ABOVE_CEILING = "ClassAboveCeiling"
    CLASS_ABOVE_SERVICE = "ClassAboveService"
    OPAQUE_NOT_ALLOWED = "OpaqueNotAllowed"
    MODEL_UNKNOWN = "ModelUnknown"
    MODEL_NOT_READY = "ModelNotReady"
    RECORD_UNAVAILABLE = "RecordUnavailable"
    RECORD_BROKEN = "RecordBroken"
    RECORD_TRUNCATED = "RecordTruncated"
    RECORD_REWRITTEN = "RecordRewritten"
    RECORD_FORKED = "RecordForked"
    OVERLOADED = "Overloaded"
    BUDGET_EXHAUSTED = "BudgetExhausted"
    PRICE_UNKNOWN = "PriceUnknown"
    REQUEST_INVALID = "RequestInvalid"
    REQUEST_TOO_LARGE = "RequestTooLarge"
    ENDPOINT_UNKNOWN = "EndpointUnknown"
    PROMPT_ATTACK = "PromptAttack"
    CLASSIFIER_UNAVAILABLE = "ClassifierUnavailable"
    ANSWER_REFUSED = "AnswerRefused"
    REDACTION_UNAVAILABLE = "RedactionUnavailable"
    UPSTREAM_FAILED = "UpstreamFailed"
    UPSTREAM_TIMEOUT = "UpstreamTimeout"
    INTERNAL_ERROR = "InternalError"


@dataclass(frozen=True, slots=True)
class Rejection:
    """Say why an ordinary candidate does not fit; a value, never raised.

    Attributes:
        reason: The rule that refused.
        detail: Who, and which two facts disagreed, with numbers and units; safe to show to users.
    """

    reason: Reason
    detail: str


class SekishoError(Exception):
    """Carry a reason and a message that users may read; never anything secret.

    Args:
        reason: The rule that refused.
        message: One sentence: who, which two facts disagreed, and what to do next.
        retry: Whether the same call can succeed later without a change by the user.
    """

    def __init__(self, reason: Reason, message: str, *, retry: bool = False) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.retry = retry

    @classmethod
    def of(cls, rejection: Rejection) -> "SekishoError":
        """Turn a rejection into an exception where no other candidate is left."""
        return cls(rejection.reason, rejection.detail)


class RefusedError(SekishoError):
    """Refuse because a rule says so; only a change of the object or of the rules helps."""


class UnavailableError(SekishoError):
    """Fail for now: a dependency did not answer; the same call may succeed later."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(reason, message, retry=True)
