"""What the depot published about the weights of a Model, read back; depot and controller judge alike what counts."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from sekisho.api.v1alpha1.model import Inspection


def read_inspection(status: Mapping[str, Any]) -> Inspection | None:
    """Read what the depot published; None for nothing, for garbage, and for a sealed model that lacks a fact."""
    try:
        found = Inspection.model_validate(status.get("inspection"))
    except ValidationError:
        return None
    facts = (found.manifest_digest, found.model, found.version, found.class_)
    key = (found.kms, found.key_id, found.key_version)
    if found.sealed and found.refusal is None and (None in (*facts, *key) or not found.signed_by):
        return None
    return found


def read_accepted(status: Mapping[str, Any]) -> int:
    """Read the highest version that was accepted; 0 where there is none."""
    value = status.get("acceptedVersion")
    return value if type(value) is int and value > 0 else 0


def explain_wait(last: Inspection | None, *, uri: str, digest: str | None, signers: str) -> str:
    """Return why what the depot last saw does not count; empty where it does.

    Args:
        last: What it last saw.
        uri: The storageUri of the Model.
        digest: The digest that the Model expects; None where it states none.
        signers: Digest of the policy's signers in force.
    """
    if last is None:
        return f"the depot has not inspected {uri} yet"
    if last.uri != uri:
        return f"the depot inspects {uri}; what it last saw was somewhere else"
    if last.policy_digest != signers:
        return f"the depot inspects {uri} again: the signers of the ClassificationPolicy are others now"
    if digest is not None and last.artifact_digest not in (None, digest):
        return f"the depot inspects {uri} again: spec.digest asks for another artifact than it last saw"
    return ""
