"""What the two sides of a key's release are about, and whether each is in force; the broker decides by the same."""

from collections.abc import Iterable
from datetime import datetime

from sekisho.api.v1alpha1.accesspolicy import AccessPolicySpec
from sekisho.api.v1alpha1.classificationpolicy import KeyOwner
from sekisho.api.v1alpha1.datagrant import DataGrantSpec
from sekisho.api.v1alpha1.keyreleasepolicy import KeyReleasePolicySpec
from sekisho.errors import Reason, Rejection


def names_workload(spec: KeyReleasePolicySpec, namespace: str, service: str) -> bool:
    """Tell whether an owner's policy is about a service."""
    return any((item.namespace, item.service) == (namespace, service) for item in spec.workloads)


def names_model(spec: DataGrantSpec, owner: str, model: str) -> bool:
    """Tell whether a tenant's grant lets a model of an owner's namespace see the data."""
    return any((item.owner, item.name) == (owner, model) for item in spec.models)


def owns_key(owners: Iterable[KeyOwner], namespace: str, *, kms: str, key_id: str) -> bool:
    """Tell whether the law says that a namespace owns a key."""
    return any(
        _fits(pattern, key_id)
        for item in owners
        if (item.namespace, item.kms) == (namespace, kms)
        for pattern in item.key_ids
    )


def _fits(pattern: str, key_id: str) -> bool:
    return key_id.startswith(pattern[:-1]) if pattern.endswith("*") else key_id == pattern


def judge_force(spec: KeyReleasePolicySpec | DataGrantSpec | AccessPolicySpec, now: datetime) -> Rejection | None:
    """Return why a grant is not in force; None where it is."""
    if spec.suspended:
        return Rejection(Reason.GRANT_SUSPENDED, "it is suspended; set suspended to false to put it in force")
    if spec.expires_at is not None and now >= datetime.fromisoformat(spec.expires_at):
        return Rejection(
            Reason.GRANT_EXPIRED, f"it ended at {spec.expires_at}, now is {now:%FT%TZ}; set a later expiresAt"
        )
    return None
