"""The two sides of a release: what the model's owner grants, and what the tenant grants. Pure.

Each side is a list of checks in a written order: whom and what it is about, whether it is in force, then code, class,
site and users. The first that does not hold is the refusal of that grant.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sekisho.api.meta import ClassRef
from sekisho.api.v1alpha1.classificationpolicy import KeyOwner
from sekisho.broker.releasefacts import OwnerPolicy, Question, TenantGrant, Workload
from sekisho.classify.lattice import DataClass, Lattice
from sekisho.errors import Reason, RefusedError, Rejection
from sekisho.plan.grants import judge_force, names_model, names_workload, owns_key

_MOST_TOLD: Final = 3


@dataclass(frozen=True, slots=True)
class Case:
    """What both sides judge.

    Attributes:
        lattice: Of the law in force.
        key_owners: Whose namespaces own which keys, by the law in force.
        service_class: Class of the service.
    """

    question: Question
    workload: Workload
    lattice: Lattice
    key_owners: tuple[KeyOwner, ...]
    service_class: DataClass
    now: datetime


@dataclass(frozen=True, slots=True)
class Shortfall:
    """Why a grant does not hold, and how many checks held before: the nearest miss is told first."""

    held: int
    rejection: Rejection


OwnerCheck = Callable[[OwnerPolicy, Case], Rejection | None]
TenantCheck = Callable[[TenantGrant, OwnerPolicy, Case], Rejection | None]


def judge_owner(policy: OwnerPolicy, case: Case) -> Shortfall | None:
    """Return why the owner's policy does not let this workload open this key; None where it does."""
    for held, check in enumerate(OWNER_CHECKS):
        if (found := check(policy, case)) is not None:
            return Shortfall(held, Rejection(found.reason, f"KeyReleasePolicy {policy.full_name}: {found.detail}"))
    return None


def judge_tenant(grant: TenantGrant, owner: OwnerPolicy, case: Case) -> Shortfall | None:
    """Return why the tenant's grant does not let this model and code see its data; None where it does."""
    for held, check in enumerate(TENANT_CHECKS):
        if (found := check(grant, owner, case)) is not None:
            return Shortfall(held, Rejection(found.reason, f"DataGrant {grant.full_name}: {found.detail}"))
    return None


def _owner_model(policy: OwnerPolicy, case: Case) -> Rejection | None:
    wanted, asked = policy.spec.model.name, case.question.model
    if wanted == asked:
        return None
    return Rejection(Reason.RELEASE_NOT_GRANTED, f'it is about model "{wanted}", asked for is "{asked}"')


def _owner_workload(policy: OwnerPolicy, case: Case) -> Rejection | None:
    if names_workload(policy.spec, case.workload.namespace, case.workload.service):
        return None
    return Rejection(
        Reason.RELEASE_NOT_GRANTED, f"workloads does not name {case.workload.full_name}; its owner adds it"
    )


def _owner_key(policy: OwnerPolicy, case: Case) -> Rejection | None:
    key, asked = policy.spec.key, case.question
    if (key.kms, key.key_id) == (asked.kms, asked.key_id):
        return None
    return Rejection(
        Reason.RELEASE_NOT_GRANTED,
        f"it is about key {key.kms}:{key.key_id}, the model is sealed under {asked.kms}:{asked.key_id}",
    )


def _owner_owns(policy: OwnerPolicy, case: Case) -> Rejection | None:
    key = policy.spec.key
    if owns_key(case.key_owners, policy.namespace, kms=key.kms, key_id=key.key_id):
        return None
    return Rejection(
        Reason.KEY_NOT_OWNED,
        f"keyOwners of the ClassificationPolicy gives key {key.kms}:{key.key_id} not to namespace {policy.namespace}",
    )


def _owner_in_force(policy: OwnerPolicy, case: Case) -> Rejection | None:
    return judge_force(policy.spec, case.now)


def _owner_version(policy: OwnerPolicy, case: Case) -> Rejection | None:
    model, asked = policy.spec.model, case.question
    if model.digest is not None and model.digest != asked.manifest_digest:
        return Rejection(
            Reason.DIGEST_MISMATCH,
            f"model.digest is {model.digest}, the pod holds manifest {asked.manifest_digest}; "
            "its owner names that one, or the pod is to serve the other",
        )
    if asked.version < (model.min_version or 1):
        return Rejection(
            Reason.VERSION_ROLLED_BACK,
            f"model.minVersion is {model.min_version}, the pod holds version {asked.version}; serve a newer one",
        )
    return None


def _owner_key_version(policy: OwnerPolicy, case: Case) -> Rejection | None:
    """Refuse early what the key file itself says; the key service holds the version that it really opens by."""
    least, said = policy.spec.key.min_version, case.question.key_version
    if not (said.isascii() and said.isdigit()) or int(said) >= least:
        return None
    return Rejection(
        Reason.KEY_VERSION_REVOKED,
        f"key.minVersion is {least}, the data key was wrapped under version {said}; wrap it anew (`sekisho rewrap`)",
    )


def _owner_images(policy: OwnerPolicy, case: Case) -> Rejection | None:
    workload = case.workload
    listed = [
        image
        for item in policy.spec.workloads
        if (item.namespace, item.service) == (workload.namespace, workload.service)
        for image in item.images
    ]
    return _judge_images(listed, workload)


def _owner_class(policy: OwnerPolicy, case: Case) -> Rejection | None:
    return _judge_class(policy.spec.classes.at_most, case)


def _owner_site(policy: OwnerPolicy, case: Case) -> Rejection | None:
    return _judge_site(policy.spec.sites, case.workload)


def _owner_users(policy: OwnerPolicy, case: Case) -> Rejection | None:
    return _judge_users(policy.spec.users, case.workload)


def _tenant_service(grant: TenantGrant, _: OwnerPolicy, case: Case) -> Rejection | None:
    workload = case.workload
    if grant.namespace == workload.namespace and workload.service in grant.spec.services:
        return None
    return Rejection(Reason.RELEASE_NOT_GRANTED, f"it is not about {workload.full_name}")


def _tenant_model(grant: TenantGrant, owner: OwnerPolicy, case: Case) -> Rejection | None:
    model = case.question.model
    if names_model(grant.spec, owner.namespace, model):
        return None
    return Rejection(Reason.RELEASE_NOT_GRANTED, f'models does not name "{model}" of owner {owner.namespace}')


def _tenant_in_force(grant: TenantGrant, _: OwnerPolicy, case: Case) -> Rejection | None:
    return judge_force(grant.spec, case.now)


def _tenant_images(grant: TenantGrant, _: OwnerPolicy, case: Case) -> Rejection | None:
    return _judge_images(grant.spec.images, case.workload)


def _tenant_class(grant: TenantGrant, _: OwnerPolicy, case: Case) -> Rejection | None:
    return _judge_class(grant.spec.classes.at_most, case)


def _tenant_site(grant: TenantGrant, _: OwnerPolicy, case: Case) -> Rejection | None:
    return None if grant.spec.sites is None else _judge_site(grant.spec.sites, case.workload)


def _tenant_users(grant: TenantGrant, _: OwnerPolicy, case: Case) -> Rejection | None:
    return _judge_users(grant.spec.users, case.workload)


def _judge_images(listed: Iterable[str], workload: Workload) -> Rejection | None:
    others = sorted(workload.images - frozenset(listed))
    if not others:
        return None
    more = f" and {len(others) - 1} more" if len(others) > 1 else ""
    return Rejection(Reason.WORKLOAD_MISMATCH, f"images does not list {others[0]}{more}, which pod {workload.pod} runs")


def _judge_class(at_most: ClassRef, case: Case) -> Rejection | None:
    try:
        highest = case.lattice.resolve_ref(at_most, source="classes.atMost")
    except RefusedError as error:
        return Rejection(error.reason, error.message)
    if highest.dominates(case.service_class):
        return None
    return Rejection(
        Reason.CLASS_ABOVE_CEILING, f"classes.atMost is {highest}, {case.workload.full_name} is {case.service_class}"
    )


def _judge_site(sites: Iterable[str], workload: Workload) -> Rejection | None:
    if workload.site in sites:
        return None
    return Rejection(Reason.SITE_NOT_SELECTED, f"sites is {', '.join(sites)}, the pod runs at {workload.site}")


def _judge_users(users: Iterable[str], workload: Workload) -> Rejection | None:
    others = sorted(workload.users - frozenset(users))
    if not others:
        return None
    told = ", ".join(others[:_MOST_TOLD])
    more = f" and {len(others) - _MOST_TOLD} more" if len(others) > _MOST_TOLD else ""
    return Rejection(
        Reason.NOT_ALLOWED, f"users does not name {told}{more}, whom spec.users of {workload.full_name} names"
    )


OWNER_CHECKS: Final[tuple[OwnerCheck, ...]] = (
    _owner_workload, _owner_model, _owner_key, _owner_owns, _owner_in_force, _owner_version, _owner_key_version,
    _owner_images, _owner_class, _owner_site, _owner_users,
)  # fmt: skip
TENANT_CHECKS: Final[tuple[TenantCheck, ...]] = (
    _tenant_service, _tenant_model, _tenant_in_force, _tenant_images, _tenant_class, _tenant_site, _tenant_users,
)  # fmt: skip
