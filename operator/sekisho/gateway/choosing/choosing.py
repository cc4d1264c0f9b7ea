"""Choose who answers a request, and look again right before each try: what held a moment ago may not hold any more."""

import asyncio
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from sekisho.classify.lattice import DataClass
from sekisho.errors import SekishoError, UnavailableError
from sekisho.gateway.choosing.experience import Experience
from sekisho.gateway.choosing.filtering import (
    Demand,
    Eligible,
    Excluded,
    Now,
    Rule,
    describe_exclusions,
    filter_replicas,
    find_exclusion,
    find_misplacement,
    find_trust_age,
)
from sekisho.gateway.choosing.polling import Target, Watched
from sekisho.gateway.choosing.preferring import find_affinity, prefer
from sekisho.gateway.choosing.replicas import Replica
from sekisho.gateway.decide import (
    Backend,
    Law,
    RequestClass,
    ServiceFacts,
    check_cleared,
    check_ready,
    is_cleared,
    model_unknown,
    not_ready,
)
from sekisho.gateway.facts import Facts

_MAX_RECORDED: Final = 32
_LOOK_SECONDS: Final = 0.1
_SOME_ADDRESS: Final = "192.0.2.1"
# What a pod that has just started does not have yet, and will.
_COMING: Final = frozenset({Rule.ISOLATION, Rule.READINESS})


@dataclass(frozen=True, slots=True)
class HoldLimits:
    """How requests wait for a pod that is starting.

    Attributes:
        seconds: How long one waits; 0: not at all.
        requests: How many wait at once; whoever comes then is refused at once, so that others find room.
    """

    seconds: float = 10.0
    requests: int = 64


class Choice(NamedTuple):
    """Who may answer one request, the best first, and who may not.

    Attributes:
        value: Class of the request.
        tier: Of the site; the text was made ready for it.
        trust_age_seconds: Age of what the node of the first has proven; None where the class wants nothing proven.
        basis: What the demand was read from; while these are what they are, it is the same.
    """

    namespace: str
    service: str
    value: DataClass
    site: str
    tier: str
    order: tuple[Eligible, ...]
    excluded: tuple[Excluded, ...]
    trust_age_seconds: float | None = None
    basis: "_Basis | None" = None

    @property
    def full_name(self) -> str:
        """namespace/name of the service."""
        return f"{self.namespace}/{self.service}"

    def describe(self) -> dict[str, Any]:
        """Return what the record keeps of the choice: names, rules and digests."""
        first = self.order[0].replica
        evidence = next((held.evidence for held in (first.released, first.attested) if held and held.evidence), None)
        entry: dict[str, Any] = {
            "name": first.name, "address": first.address, "site": self.site, "tier": self.tier,
            "candidates": [item.replica.name for item in self.order[:_MAX_RECORDED]],
            "excluded": {item.replica.name: item.rule.value for item in self.excluded[:_MAX_RECORDED]},
        }  # fmt: skip
        if self.trust_age_seconds is not None:
            entry["evidenceAgeSeconds"] = round(max(0.0, self.trust_age_seconds))
        return entry if evidence is None else entry | {"evidence": evidence}


class _Basis(NamedTuple):
    """What a request asks of replicas, and what alone that depends on beside its class."""

    law: Law
    service: ServiceFacts
    demand: Demand


class NobodyError(UnavailableError):
    """Nobody may answer now.

    Args:
        refusal: What the caller is told.
        service: Of which nobody may.
        is_coming: Whether a pod of the service is starting.
        is_gone: Whether it has no pod but such as end.

    Attributes:
        is_awaited: Whether the service rests, and somebody will answer once it was woken.
    """

    def __init__(self, refusal: SekishoError, service: ServiceFacts, *, is_coming: bool, is_gone: bool) -> None:
        super().__init__(refusal.reason, refusal.message)
        self.service = service
        self.is_coming = is_coming
        self.is_awaited = service.rest is not None and (is_coming or is_gone)


def find_backend(choice: Choice, eligible: Eligible) -> Backend:
    """Say where an eligible replica's engine answers."""
    replica = eligible.replica
    return Backend(replica.address, replica.port, choice.full_name)


class Choosing:
    """Chooses among the pods of a service.

    Args:
        facts: What is known of the cluster.
        experience: What was seen of replicas.
        watched: Whose engines are asked for their load.
        proof_seconds: Oldest proof of isolation that counts.
        hold: How requests wait for a pod that is starting.
    """

    def __init__(
        self,
        facts: Facts,
        experience: Experience,
        watched: Watched,
        *,
        proof_seconds: float,
        hold: HoldLimits = HoldLimits(),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._facts = facts
        self._watched = watched
        self._proof_seconds = proof_seconds
        self._hold = hold
        self._held = 0
        self._clock = clock
        self.experience = experience

    def choose(self, law: Law, service: ServiceFacts, decided: RequestClass, body: Mapping[str, Any]) -> Choice:
        """Choose.

        Args:
            law: The policy under which everything else of the request was decided.
            service: Of which it asks.
            decided: Its class.
            body: What it holds; its first turns say where its conversation was before.

        Raises:
            UnavailableError: ModelNotReady, with the reasons why nobody is left.
        """
        check_ready(service)
        demand = self._demand(law, service, decided.value)
        replicas = self._facts.replicas_of(service.namespace, service.name)
        now = self._now(demand, replicas)
        eligible, excluded = filter_replicas(replicas, demand, now)
        if not eligible:
            # Of a service without pods it is the site alone that says whether one could answer.
            amiss = find_misplacement(demand)
            told = describe_exclusions(excluded) if excluded or amiss is None else amiss
            refusal = not_ready(service, f"{service.waits} ({told})" if service.waits else told)
            raise NobodyError(
                refusal, service, is_coming=any(_is_coming(item, demand, now) for item in excluded),
                is_gone=amiss is None and all(item.replica.ended for item in excluded),
            )  # fmt: skip
        order = self._order(service, eligible, body) if len(eligible) > 1 else eligible
        return Choice(
            service.namespace, service.name, decided.value, service.site, demand.place.tier, order, excluded,
            find_trust_age(order[0].replica, demand, now), _Basis(law, service, demand),
        )  # fmt: skip

    async def choose_soon(
        self, law: Law, service: ServiceFacts, decided: RequestClass, body: Mapping[str, Any]
    ) -> Choice:
        """Choose; where nobody is left but a pod is starting, wait for it within the limits.

        A service that rests is not waited for here: whoever asks holds the request as long as it takes to wake it.

        Raises:
            UnavailableError: ModelNotReady, as `choose` does, or because the service moved meanwhile.
        """
        try:
            return self.choose(law, service, decided, body)
        except NobodyError as error:
            if error.is_awaited or not error.is_coming or self._held >= self._hold.requests:
                raise
        self._held += 1
        try:
            return await self._wait(law, service, decided, body)
        finally:
            self._held -= 1

    async def _wait(self, law: Law, service: ServiceFacts, decided: RequestClass, body: Mapping[str, Any]) -> Choice:
        until = time.monotonic() + self._hold.seconds
        while True:
            found = self._facts.find(service.namespace, service.name)
            if found is None:
                raise model_unknown(service.namespace, service.name)
            if found.site != service.site:
                raise _moves(found, service.site)
            try:
                return self.choose(law, found, decided, body)
            except NobodyError as error:
                if not error.is_coming or time.monotonic() >= until:
                    raise
            await asyncio.sleep(_LOOK_SECONDS)

    def _order(
        self, service: ServiceFacts, eligible: tuple[Eligible, ...], body: Mapping[str, Any]
    ) -> tuple[Eligible, ...]:
        at = time.monotonic()
        self._watch(service, eligible, at)
        loads = {item.replica.uid: self.experience.load(item.replica.uid, at) for item in eligible}
        return prefer(eligible, loads, find_affinity(service.full_name, body))

    def _watch(self, service: ServiceFacts, eligible: tuple[Eligible, ...], at: float) -> None:
        metrics = self._facts.metrics_of(service.runtime)
        if metrics is None or metrics.dialect == "none":
            return
        for item in eligible:
            self._watched.note(item.replica.uid, Target(find_url(item, metrics.path), metrics.dialect), at)

    def check_again(self, choice: Choice, eligible: Eligible) -> Excluded | None:
        """Look again, right before a try, whether a replica may still answer; by what the law and the facts are now.

        Raises:
            SekishoError: Nobody of the service may answer any more.
        """
        facts, law = self._facts, self._facts.law
        service = facts.find(choice.namespace, choice.service)
        if service is None:
            raise model_unknown(choice.namespace, choice.service)
        check_ready(service)
        value = law.lattice.resolve(choice.value.level, choice.value.compartments, source="the request")
        if not is_cleared(law, service, value):
            check_cleared(law, service, RequestClass(value, (), f"the request is {value}"))
        if service.site != choice.site:
            raise _moves(service, choice.site)
        if choice.basis is not None and choice.basis.law.digest != law.digest:
            # What it looks for, takes out and refuses was asked of the law before.
            raise not_ready(service, "the policy changed since the request was decided; ask again")
        demand = self._demand_again(choice, law, service, value)
        replica = self._find(choice, eligible.replica)
        return find_exclusion(replica, demand, self._now(demand, (replica,)))

    def _demand_again(self, choice: Choice, law: Law, service: ServiceFacts, value: DataClass) -> Demand:
        """Return what a chosen request asks now; where nothing it depends on changed, what it asked before."""
        was = choice.basis
        if was is not None and was.law is law and was.service is service and value == was.demand.value:
            place = self._facts.place_of(service.site)
            if place is was.demand.place and place.tier == choice.tier:
                return was.demand
        return self._demand(law, service, value, tier=choice.tier)

    def _find(self, choice: Choice, was: Replica) -> Replica:
        """Return a replica as it is now; one that is gone counts as ended."""
        for item in self._facts.replicas_of(choice.namespace, choice.service):
            if (item.uid, item.address, item.port) == (was.uid, was.address, was.port):
                return item
        return Replica(
            was.namespace, was.name, was.uid, "", was.address, was.port, was.node, was.site, was.class_label,
            ended=True, ready=False, proven_at=0.0,
        )  # fmt: skip

    def _demand(self, law: Law, service: ServiceFacts, value: DataClass, *, tier: str | None = None) -> Demand:
        return Demand(
            namespace=service.namespace,
            service=service.name,
            value=value,
            rules=law.book.rules(value),
            lattice=law.lattice,
            site=service.site,
            place=self._facts.place_of(service.site),
            tier=tier,
            brokered=service.brokered,
        )

    def _now(self, demand: Demand, replicas: Collection[Replica]) -> Now:
        at, asked = time.monotonic(), demand.rules.trust is not None
        proofs = {item.node: self._facts.proofs_of(item.node) for item in replicas} if asked else {}
        shunned = frozenset([item.uid for item in replicas if self.experience.is_shunned(item.uid, at)])
        return Now(self._clock(), self._proof_seconds, proofs, shunned)


def _is_coming(excluded: Excluded, demand: Demand, now: Now) -> bool:
    replica = excluded.replica
    if excluded.rule is Rule.SERVICE and replica.uid and not replica.address:
        # It gets one soon after its node; what else it lacks counts already.
        placed = find_exclusion(replace(replica, address=_SOME_ADDRESS), demand, now)
        return placed is None or _is_coming(placed, demand, now)
    # A broker that has not spoken yet will; one that has said no will not change its word by itself.
    unasked = (excluded.rule is Rule.ATTESTATION and replica.attested is None) or (
        excluded.rule is Rule.KEY and replica.released is None
    )
    # The scheduler has not said yet on which node it will be; affinity asks for one that has proven itself.
    unscheduled = excluded.rule is Rule.TRUST and not replica.node
    return not replica.ended and (unasked or unscheduled or excluded.rule in _COMING)


def _moves(service: ServiceFacts, was: str) -> SekishoError:
    return not_ready(service, f"it moves from site {was} to {service.site or '(none)'}")


def find_url(eligible: Eligible, path: str) -> str:
    """Return an address of a replica's engine."""
    replica = eligible.replica
    return f"http://{Backend(replica.address, replica.port, '').authority}{path}"
