"""Choose a site for a service: law, trust, hardware, room; then price, room and name."""

from collections.abc import Mapping

from sekisho.api.v1alpha1.site import SiteSpec
from sekisho.placement.outcome import Placement, SiteRejection
from sekisho.placement.requirement import Demand
from sekisho.placement.snapshot import Snapshot

__all__ = ["Placement", "SiteRejection", "place"]


def place(demand: Demand, sites: Mapping[str, SiteSpec], snapshot: Snapshot, *, now_at: float) -> Placement:
    """Choose a site."""
    raise NotImplementedError
