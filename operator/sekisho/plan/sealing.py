"""What is known of the weights of a Model: what the depot found, whether that still holds, and who approved it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sekisho.api.v1alpha1.classificationpolicy import ClassificationPolicySpec
from sekisho.api.v1alpha1.model import Approval as ApprovalSpec
from sekisho.api.v1alpha1.model import Inspection, ModelSpec
from sekisho.errors import RefusedError
from sekisho.plan.inspection import explain_wait, read_accepted, read_inspection
from sekisho.plan.signers import digest_signers, read_instant, read_signers
from sekisho.plan.world import ModelObject
from sekisho.render.settings import SealedFacts
from sekisho.render.storage import parse_storage_uri
from sekisho.seal.trust import Approval, Signer, verify_approval

_NEVER: Final = "1970-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True)
class Seen:
    """The weights of a Model, as far as they are known.

    Attributes:
        name: Of the Model.
        uri: Where the weights are.
        found: What the depot found there; None while what it found does not count.
        waits: Why it does not count yet; empty where it does.
        last: What the depot last found, whether it counts or not; None where there is nothing, or nothing readable.
        accepted_version: Highest version accepted before, of this Model object or in its namespace of a model of this
            name from one of these signers; 0 where none was.
        to_record: Whether the version that was found is still to be remembered before it is served.
        approvals: For each role that approved: why that does not count, empty where it does.
    """

    name: str
    uri: str
    found: Inspection | None
    waits: str
    last: Inspection | None
    accepted_version: int
    approvals: Mapping[str, str]
    to_record: bool = False

    @property
    def is_sealed(self) -> bool:
        """Whether the depot last found a sealed model."""
        return self.last is not None and self.last.sealed


def see_weights(model: ModelObject, spec: ModelSpec, policy: ClassificationPolicySpec, *, now_at: float) -> Seen:
    """Judge what of the status of a Model counts for its spec under this policy.

    Raises:
        RefusedError: StorageUriInvalid.
    """
    signers = digest_signers(policy)
    last = read_inspection(model.status)
    if parse_storage_uri(spec.storage_uri).is_mounted:
        # A claim is mounted as it is; the depot never sees it, and whatever a status says of it is not true.
        last = Inspection(uri=spec.storage_uri, policy_digest=signers, inspected_at=_NEVER)
    # Whose signatures count makes no difference to what is plain, so other signers make no plain service wait.
    against = last.policy_digest if last is not None and _is_plain(last) else signers
    waits = explain_wait(last, uri=spec.storage_uri, digest=spec.digest, signers=against)
    found = last if not waits else None
    return Seen(
        name=model.name,
        uri=spec.storage_uri,
        found=found,
        waits=waits,
        last=last,
        accepted_version=max(read_accepted(model.status), model.versions.floor(found) if model.versions else 0),
        to_record=model.versions is not None and model.versions.lacks(found),
        approvals=_judge_approvals(spec.approvals, found, policy, now_at=now_at),
    )


def _is_plain(last: Inspection) -> bool:
    return not last.sealed and last.refusal is None


def _judge_approvals(
    approvals: tuple[ApprovalSpec, ...], found: Inspection | None, policy: ClassificationPolicySpec, *, now_at: float
) -> dict[str, str]:
    """Return for each role why its approval does not count for the manifest that was found; empty where it does."""
    if not approvals or found is None or found.refusal is not None or found.manifest_digest is None:
        return {}
    try:
        signers = read_signers(policy)
    except RefusedError as error:
        return {item.role: error.message for item in approvals}
    return {item.role: _judge(item, found.manifest_digest, signers, now_at=now_at) for item in approvals}


def _judge(item: ApprovalSpec, manifest_digest: str, signers: tuple[Signer, ...], *, now_at: float) -> str:
    approval = Approval(item.role, item.by, item.at, item.signature)
    try:
        verify_approval(approval, manifest_digest=manifest_digest, signers=signers, at=read_instant(now_at))
    except RefusedError as error:
        return error.message
    return ""


def take_facts(found: Inspection | None) -> SealedFacts | None:
    """Return what a pod is told that unseals what was found; None where that is plain, or was refused."""
    if found is None or not found.sealed or found.refusal is not None:
        return None
    return SealedFacts(
        manifest_digest=str(found.manifest_digest),
        model=str(found.model),
        version=found.version or 0,
        data_class=str(found.class_),
        kms=str(found.kms),
        key_id=str(found.key_id),
        key_version=str(found.key_version),
    )
