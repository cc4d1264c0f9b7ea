"""Which of the sites that may and can: the current one, then the cheapest, then the roomiest, then by name."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from sekisho.errors import Reason
from sekisho.placement.columns import Rows
from sekisho.placement.filters import Case
from sekisho.placement.outcome import SiteRejection
from sekisho.placement.room import Room
from sekisho.placement.wording import count


@dataclass(frozen=True, slots=True)
class Candidate:
    """A site at which the service may run and fits.

    Attributes:
        rows: The nodes that are left.
        cost: Of one replica for an hour, in the currency of the site.
    """

    case: Case
    rows: Rows
    room: Room
    cost: Decimal

    @property
    def currency(self) -> str:
        """The currency of the cost; empty where the site is free."""
        price = self.case.site.price
        return price.currency if price is not None and self.cost else ""


def cost_of(case: Case) -> Decimal:
    """Return what one replica costs for an hour; a site without a price is free."""
    price, demand = case.site.price, case.demand
    if price is None:
        return Decimal(0)
    gpus = Decimal(price.gpu_hour or 0) * demand.gpu_count
    return gpus + Decimal(price.cpu_hour or 0) * demand.cpu_millis / 1000


def order(candidates: Iterable[Candidate], *, current: str | None) -> list[Candidate]:
    """Order candidates, best first: the current site, the cheapest, the roomiest, the first by name.

    Amounts in different currencies say nothing about each other: where they differ, only free and not free do.
    """
    listed = list(candidates)
    comparable = len({item.currency for item in listed if item.currency}) <= 1

    def rank(item: Candidate) -> tuple[bool, Decimal, int, str]:
        cost = item.cost if comparable else Decimal(bool(item.currency))
        return item.case.name != current, cost, -item.room.replicas, item.case.name

    return sorted(listed, key=rank)


def explain_outranked(candidates: Iterable[Candidate], chosen: Case, winner: Candidate | None) -> list[SiteRejection]:
    """Say of every other candidate why the chosen site is better.

    Args:
        candidates: Those that would do.
        chosen: The service at the chosen site.
        winner: The chosen site as a candidate; None where a running service stays at a site that is no candidate.
    """
    return [
        SiteRejection(item.case.name, Reason.OUTRANKED, f"would do, but {_compare(item, chosen, winner)}")
        for item in candidates
        if item.case.name != chosen.name
    ]


def _compare(item: Candidate, chosen: Case, winner: Candidate | None) -> str:
    if winner is None or chosen.name == chosen.demand.current_site:
        return f"the service runs at {chosen.name} already"
    comparable = item.currency == winner.currency or not (item.currency and winner.currency)
    if comparable and item.cost != winner.cost:
        return f"a replica costs {_spell_cost(item)} an hour here and {_spell_cost(winner)} at {chosen.name}"
    if item.room.replicas != winner.room.replicas:
        return f"has room for {count(item.room.replicas, 'replica')}, {chosen.name} for {winner.room.replicas}"
    return f"{chosen.name}, which is as good, comes first by name"


def _spell_cost(item: Candidate) -> str:
    return f"{item.cost.normalize():f} {item.currency}" if item.currency else "nothing"
