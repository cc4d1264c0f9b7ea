"""Which replicas may answer a request of a class: law, then trust, then health. What is not known excludes. Pure.

Everything that prefers, tries again or waits sees what passed here and nothing else.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import inf
from types import MappingProxyType
from typing import Final, NamedTuple

from sekisho.classify.jurisdiction import is_covered
from sekisho.classify.lattice import DataClass, Lattice
from sekisho.classify.rules import EffectiveRules
from sekisho.errors import RefusedError
from sekisho.gateway.choosing.replicas import Held, Replica

CLOCK_SKEW_SECONDS: Final = 60
_PASSED: Final = object()
_NOTHING: Final[Mapping[str, Mapping[str, int]]] = MappingProxyType({})


class Rule(StrEnum):
    """Why a replica is no candidate; in the order in which they are asked."""

    SERVICE = "service"
    CLASS = "class"
    SITE = "site"
    TIER = "tier"
    JURISDICTION = "jurisdiction"
    TRUST = "trust"
    ATTESTATION = "attestation"
    KEY = "key"
    ISOLATION = "isolation"
    ENDING = "ending"
    READINESS = "readiness"
    HEALTH = "health"


@dataclass(frozen=True, slots=True)
class Place:
    """What is known of a site.

    Attributes:
        tier: Empty where it is not known.
        jurisdiction: Likewise.
    """

    tier: str = ""
    jurisdiction: str = ""


class Demand(NamedTuple):
    """What a request asks of whoever answers it.

    Attributes:
        value: Class of the request, with everything that raised it.
        rules: Of that class.
        site: Where the service was placed, and what was looked at when its caller was let in; empty: unknown.
        place: Of that site.
        tier: The tier for which the text was made ready; None before that: any that the class allows.
        brokered: Whether a broker releases the key of the service's weights.
    """

    namespace: str
    service: str
    value: DataClass
    rules: EffectiveRules
    lattice: Lattice
    site: str
    place: Place
    tier: str | None = None
    brokered: bool = False


class Now(NamedTuple):
    """What holds at this moment.

    Attributes:
        at: Unix seconds.
        proof_seconds: Oldest proof of isolation that counts.
        proofs: What nodes have proven, and when.
        shunned: Uids of replicas that failed just now; they are left alone where others are left.
    """

    at: float
    proof_seconds: float
    proofs: Mapping[str, Mapping[str, int]] = _NOTHING
    shunned: frozenset[str] = frozenset()


class Eligible:
    """A replica that passed every filter. Only `filter_replicas` makes one."""

    __slots__ = ("replica",)

    def __init__(self, replica: Replica, passed: object) -> None:
        if passed is not _PASSED:
            raise TypeError("only the filters say who is eligible")
        self.replica: Final = replica


@dataclass(frozen=True, slots=True)
class Excluded:
    """A replica that may not answer, by which rule, and the two facts that disagree."""

    replica: Replica
    rule: Rule
    detail: str


def filter_replicas(
    replicas: Iterable[Replica], demand: Demand, now: Now
) -> tuple[tuple[Eligible, ...], tuple[Excluded, ...]]:
    """Tell the replicas that may answer from those that may not, each with its first reason.

    Replicas that failed just now are left out last, and only where others are left.
    """
    passed: list[Eligible] = []
    excluded: list[Excluded] = []
    for replica in replicas:
        why = find_exclusion(replica, demand, now)
        if why is None:
            passed.append(Eligible(replica, _PASSED))
        else:
            excluded.append(why)
    well = [item for item in passed if item.replica.uid not in now.shunned]
    if well and len(well) < len(passed):
        shunned = [item.replica for item in passed if item.replica.uid in now.shunned]
        excluded += [Excluded(item, Rule.HEALTH, "it failed a moment ago") for item in shunned]
        passed = well
    return tuple(passed), tuple(excluded)


def find_exclusion(replica: Replica, demand: Demand, now: Now) -> Excluded | None:
    """Return the first rule that keeps a replica from answering; None where it may."""
    for rule, look in _RULES:
        detail = look(replica, demand, now)
        if detail is not None:
            return Excluded(replica, rule, detail)
    return None


def find_misplacement(demand: Demand) -> str | None:
    """Return why no pod at the service's site could answer, whichever came to be; None where one could."""
    if not demand.site:
        return "the site of the service is not known"
    return _find_tier_problem(demand) or _find_jurisdiction_problem(demand)


def describe_exclusions(excluded: Sequence[Excluded]) -> str:
    """Say in one sentence why nobody is left, each reason once with how many it keeps out."""
    if not excluded:
        return "it has no pod"
    counts: dict[str, int] = {}
    for item in excluded:
        counts[item.detail] = counts.get(item.detail, 0) + 1
    return "; ".join(f"{count} of {len(excluded)}: {detail}" for detail, count in sorted(counts.items())[:_MAX_TOLD])


_MAX_TOLD: Final = 4


def _lacks_service(replica: Replica, demand: Demand, _: Now) -> str | None:
    if (replica.namespace, replica.service) != (demand.namespace, demand.service) or not replica.uid:
        return f"the pod is not one of {demand.namespace}/{demand.service}"
    return None if replica.address and replica.port else "the pod has no address yet"


def _lacks_class(replica: Replica, demand: Demand, _: Now) -> str | None:
    try:
        made_for = demand.lattice.resolve_label(replica.class_label, source="the pod")
    except RefusedError:
        return "the class that the pod was made for is not known"
    if made_for.dominates(demand.value):
        return None
    return f"the pod was made for {made_for}, the request is {demand.value}"


def _lacks_site(replica: Replica, demand: Demand, _: Now) -> str | None:
    if not demand.site:
        return "the site of the service is not known"
    if replica.site != demand.site:
        return f"the pod is at another site than {demand.site}"
    return None


def _lacks_tier(_: Replica, demand: Demand, __: Now) -> str | None:
    return _find_tier_problem(demand)


def _find_tier_problem(demand: Demand) -> str | None:
    tier = demand.place.tier
    if tier not in demand.rules.tiers:
        return f"class {demand.value} does not allow tier {tier or '(not known)'} of site {demand.site}"
    if demand.tier is not None and tier != demand.tier:
        return f"the tier of site {demand.site} changed from {demand.tier} to {tier} meanwhile"
    return None


def _lacks_jurisdiction(_: Replica, demand: Demand, __: Now) -> str | None:
    return _find_jurisdiction_problem(demand)


def _find_jurisdiction_problem(demand: Demand) -> str | None:
    allowed, law = demand.rules.jurisdictions, demand.place.jurisdiction
    if allowed is None or (law and is_covered(allowed, law)):
        return None
    return f"class {demand.value} does not allow jurisdiction {law or '(not known)'} of site {demand.site}"


def find_trust_age(replica: Replica, demand: Demand, now: Now) -> float | None:
    """Return the age in seconds of the oldest proof among those that the class wants of a replica's node.

    None where it wants none; infinite where one is missing, comes from the future, or none would do.
    """
    trust = demand.rules.trust
    if trust is None:
        return None
    groups = [trust.any_of] if trust.any_of is not None else []
    groups += [frozenset({device}) for device in trust.devices]
    if not groups or not all(groups):
        return inf
    proven, latest = now.proofs.get(replica.node, {}), now.at + CLOCK_SKEW_SECONDS
    return max(
        now.at - max((at for name in group if (at := proven.get(name, -inf)) <= latest), default=-inf)
        for group in groups
    )


def _lacks_trust(replica: Replica, demand: Demand, now: Now) -> str | None:
    trust, age = demand.rules.trust, find_trust_age(replica, demand, now)
    if trust is None or age is None or age <= trust.max_age_seconds:
        return None
    return f"its node has not proven within {trust.max_age_seconds} s what class {demand.value} wants proven"


def _lacks_attestation(replica: Replica, demand: Demand, now: Now) -> str | None:
    return _lacks(replica.attested, demand, now, what="it has not proven to the broker what it is")


def _lacks_key(replica: Replica, demand: Demand, now: Now) -> str | None:
    return _lacks(replica.released, demand, now, what="its lease of the key has ended, or it has none")


def _lacks(held: Held | None, demand: Demand, now: Now, *, what: str) -> str | None:
    if held is None:
        return what if demand.brokered else None
    return None if now.at < held.ends_at else what


def _lacks_isolation(replica: Replica, _: Demand, now: Now) -> str | None:
    if not replica.proven_at:
        return "it has not proven that it is isolated"
    age = now.at - replica.proven_at
    if -CLOCK_SKEW_SECONDS <= age <= now.proof_seconds:
        return None
    if age < 0:
        most = f"{CLOCK_SKEW_SECONDS} are allowed"
        return f"its last proof of isolation is {-age:.0f} s ahead of this gateway's clock, {most}"
    return f"its last proof of isolation is older than {now.proof_seconds:.0f} s"


def _is_ending(replica: Replica, _: Demand, __: Now) -> str | None:
    return "it is ending" if replica.ended else None


def _lacks_readiness(replica: Replica, _: Demand, __: Now) -> str | None:
    return None if replica.ready else "it is not ready"


_RULES: Final[tuple[tuple[Rule, Callable[[Replica, Demand, Now], str | None]], ...]] = (
    (Rule.SERVICE, _lacks_service),
    (Rule.CLASS, _lacks_class),
    (Rule.SITE, _lacks_site),
    (Rule.TIER, _lacks_tier),
    (Rule.JURISDICTION, _lacks_jurisdiction),
    (Rule.TRUST, _lacks_trust),
    (Rule.ATTESTATION, _lacks_attestation),
    (Rule.KEY, _lacks_key),
    (Rule.ISOLATION, _lacks_isolation),
    (Rule.ENDING, _is_ending),
    (Rule.READINESS, _lacks_readiness),
)
