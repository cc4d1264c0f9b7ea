"""Decide about a caller under the AccessPolicies: let in by which, up to which class, at whose cost.

RBAC was asked before. Policies only narrow: a model that one of them names answers those alone whom one of them lets
in. The class is an input; no expression sees or changes it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple

from sekisho.access.dictionaries import Dictionary, check_dictionaries
from sekisho.access.policies import Policy
from sekisho.access.references import list_references
from sekisho.api.v1alpha1.accesspolicy import Budgets
from sekisho.classify.lattice import DataClass, Lattice
from sekisho.errors import Reason, RefusedError, Rejection

_MAX_NAMED: Final = 5
_MAX_KNOWN: Final = 256


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks, as far as it was verified.

    Attributes:
        username: As RBAC knows the caller.
        groups: As RBAC knows them.
        issuer: Who vouches for it: "kubernetes", or the configured name of an issuer.
        claims: Of its token; may hold anything that the issuer signed. Not to be logged.
        known: Which policies name the caller for which model, by their identity; each stands beside, so that no other
            gets it.
    """

    username: str
    groups: tuple[str, ...]
    issuer: str
    claims: Mapping[str, Any] = field(default_factory=dict, repr=False)
    known: dict[tuple[int, str], tuple[Policy, bool]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )


class Question(NamedTuple):
    """What is asked for.

    Attributes:
        model: namespace/name.
        value: Class of the request, with everything that raised it.
        site: Where the model runs; None where that is not known.
    """

    model: str
    value: DataClass
    site: str | None


@dataclass(frozen=True, slots=True)
class Access:
    """What lets a caller in.

    Attributes:
        policy: namespace/name of the policy that does, None where no policy names the model.
        budgets: What its use is charged to.
        redact: Categories that every policy meaning this caller wants taken out.
    """

    policy: str | None = None
    budgets: Budgets | None = None
    redact: frozenset[str] = frozenset()


# What lets in whom no policy narrows.
OPEN: Final = Access()


def is_let_in(policies: Iterable[Policy], asker: Asker, model: str, *, now: datetime) -> bool:
    """Tell whether a caller may know of a model and ask it something."""
    governing = [item for item in policies if item.governs(model)]
    return not governing or bool(_meaning(governing, asker, model, now))


def check_let_in(policies: Iterable[Policy], asker: Asker, model: str, *, now: datetime) -> None:
    """Refuse a caller who may not know of a model.

    Raises:
        RefusedError: NotAllowed.
    """
    governing = [item for item in policies if item.governs(model)]
    if governing and not _meaning(governing, asker, model, now):
        raise _nobody(governing, asker, model, now)


def find_dictionaries(policies: Iterable[Policy], model: str) -> tuple[Dictionary, ...]:
    """Return the dictionaries of the policies that name a model, by the names of their policies.

    Raises:
        UnavailableError: PolicyInvalid, they are too many, or one cannot be read.
    """
    found = [item.dictionary for item in policies if item.dictionary is not None and item.governs(model)]
    dictionaries = tuple(sorted(found, key=lambda item: item.policy))
    check_dictionaries(dictionaries, model)
    return dictionaries


def decide_access(
    policies: Iterable[Policy], asker: Asker, question: Question, *, lattice: Lattice, now: datetime
) -> Access:
    """Return what lets a caller in.

    Raises:
        RefusedError: NotAllowed where no policy means the caller or the site; ClassAboveCeiling.
    """
    governing = [item for item in policies if item.governs(question.model)]
    if not governing:
        return OPEN
    meaning = _meaning(governing, asker, question.model, now)
    if not meaning:
        raise _nobody(governing, asker, question.model, now)
    refused: list[Rejection] = []
    for policy in meaning:
        gap = _find_gap(policy, question, lattice)
        if gap is None:
            redact = frozenset().union(*(item.redact for item in meaning))
            return Access(policy.full_name, policy.budgets, redact)
        refused.append(gap)
    # The class tells a caller more than the site: whoever sends less gets further.
    first = next((item for item in refused if item.reason is Reason.CLASS_ABOVE_CEILING), refused[0])
    raise RefusedError(first.reason, first.detail)


def _meaning(policies: Iterable[Policy], asker: Asker, model: str, now: datetime) -> list[Policy]:
    """Return the policies in force that mean a caller, in the order of their names."""
    found = [policy for policy in policies if is_in_force(policy, now) and _means(policy, asker, model)]
    return sorted(found, key=lambda policy: (policy.namespace, policy.name))


def _means(policy: Policy, asker: Asker, model: str) -> bool:
    """Tell whether a policy names a caller; of these three alone it depends, and a request asks twice."""
    kept = asker.known.get((id(policy), model))
    if kept is not None:
        return kept[1]
    facts = {
        "claims": asker.claims, "user": asker.username, "groups": list(asker.groups), "issuer": asker.issuer,
        "model": model,
    }  # fmt: skip
    named = not policy.users.isdisjoint(list_references(asker.username, asker.groups))
    said = named or any(item.is_true(facts) for item in policy.expressions)
    if len(asker.known) >= _MAX_KNOWN:
        asker.known.clear()
    asker.known[id(policy), model] = policy, said
    return said


def is_in_force(policy: Policy, now: datetime) -> bool:
    """Tell whether a policy can let anybody in now."""
    return policy.problem is None and (policy.expires_at is None or now < policy.expires_at)


def _find_gap(policy: Policy, question: Question, lattice: Lattice) -> Rejection | None:
    if policy.ceiling is not None:
        try:
            most = lattice.resolve_ref(policy.ceiling, source=f"ceiling of AccessPolicy {policy.full_name}")
        except RefusedError as error:
            return Rejection(Reason.NOT_ALLOWED, error.message)
        if not most.dominates(question.value):
            return Rejection(
                Reason.CLASS_ABOVE_CEILING,
                f"the request is {question.value}; AccessPolicy {policy.full_name} lets you ask {question.model} up to "
                f"{most}. Send less, or ask who answers for the policy",
            )
    if policy.sites is not None and question.site not in policy.sites:
        where = f"at site {question.site}" if question.site else "at no site that is known"
        return Rejection(
            Reason.NOT_ALLOWED,
            f"{question.model} runs {where}; AccessPolicy {policy.full_name} lets you ask models at "
            f"{', '.join(sorted(policy.sites)[:_MAX_NAMED])} alone",
        )
    return None


def _nobody(policies: Iterable[Policy], asker: Asker, model: str, now: datetime) -> RefusedError:
    """Refuse a caller whom no policy means; which policies there are is theirs to know who may read them."""
    broken = [item for item in policies if not is_in_force(item, now)]
    hint = f" ({len(broken)} of the policies that name it are suspended, expired or cannot be read)" if broken else ""
    return RefusedError(
        Reason.NOT_ALLOWED,
        f"{model} answers those alone whom an AccessPolicy names, and none in force names you "
        f"({asker.username[:256]}){hint}; who answers for the model adds you, where it should be so",
    )
