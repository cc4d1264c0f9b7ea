"""What placement answers: a site with its reasons, what the pods must require of nodes, and why nowhere else."""

from dataclasses import dataclass

from sekisho.errors import Reason
from sekisho.placement.requirement import Requirement

Term = tuple[Requirement, ...]


@dataclass(frozen=True, slots=True)
class SiteRejection:
    """Why one site was not chosen.

    Attributes:
        reason: The most fundamental rule that refused; Outranked where the site would do and another is better.
        detail: Which two facts disagreed, with numbers and units.
    """

    site: str
    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a service runs.

    Attributes:
        site: The chosen site; None where no site may and can run it.
        because: One sentence for users: the facts that let it run there, or why it runs nowhere.
        requirements: What every node must satisfy; never names of nodes. Empty without a site.
        rejected: Every other site, sorted by name; also wished sites that do not exist.
        nearest: Without a site, the one that came furthest through the filters.
        alternatives: Where one of several proofs will do: a node must satisfy all of `requirements` and all of at
            least one of these. Empty: `requirements` alone. Rendering uses `terms`.
        shortage: What the chosen site lacks right now, where a running service stays although nodes or room are short.
    """

    site: str | None
    because: str
    requirements: Term
    rejected: tuple[SiteRejection, ...]
    nearest: str | None
    alternatives: tuple[Term, ...] = ()
    shortage: SiteRejection | None = None

    @property
    def terms(self) -> tuple[Term, ...]:
        """The `nodeSelectorTerms` of the pods: terms are ORed, the requirements in a term are ANDed.

        Never an empty term (Kubernetes matches nothing with it): without a site there are no terms, and a site of this
        cluster always has a selector.
        """
        if self.site is None:
            return ()
        if not self.alternatives:
            return (self.requirements,)
        return tuple(tuple(sorted({*self.requirements, *option})) for option in self.alternatives)

    @property
    def reason(self) -> Reason:
        """Placed, or the reason of the nearest site, or NoSite where there is none to name."""
        if self.site is not None:
            return Reason.PLACED
        return next((item.reason for item in self.rejected if item.site == self.nearest), Reason.NO_SITE)
