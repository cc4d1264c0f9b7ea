"""What the statuses of both sides of a key's release share: time, evidence policies, and how partners are told."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final

from sekisho.api.v1alpha1.accesspolicy import AccessPolicySpec
from sekisho.api.v1alpha1.datagrant import DataGrantSpec
from sekisho.api.v1alpha1.keyreleasepolicy import EvidenceDemand, KeyReleasePolicySpec
from sekisho.errors import Reason, Rejection
from sekisho.plan.world import GrantWorld

_MOST_TOLD: Final = 3
_LONGEST_SECONDS: Final = 3600.0


def read_now(now_at: float) -> datetime:
    """Return Unix seconds as an aware time."""
    return datetime.fromtimestamp(now_at, UTC)


def describe_partners(names: Sequence[str]) -> str:
    """Spell the first few names; the published column is short."""
    more = f" and {len(names) - _MOST_TOLD} more" if len(names) > _MOST_TOLD else ""
    return f"{', '.join(names[:_MOST_TOLD])}{more}"[:256]


def find_evidence_gap(demand: EvidenceDemand, world: GrantWorld) -> Rejection | None:
    """Return that the evidence policy is not there; None where it is."""
    if demand.policy in world.evidence:
        return None
    return Rejection(
        Reason.POLICY_MISSING,
        f'there is no EvidencePolicy "{demand.policy}" that can be read; create it or name another',
    )


def look_again(
    specs: Iterable[KeyReleasePolicySpec | DataGrantSpec | AccessPolicySpec | Rejection], now_at: float
) -> float | None:
    """Return after how long the next of some grants ends; None where none will."""
    ends = [item.expires_at for item in specs if not isinstance(item, Rejection) and item.expires_at is not None]
    left = [datetime.fromisoformat(end).timestamp() - now_at for end in ends]
    return min((min(seconds, _LONGEST_SECONDS) for seconds in left if seconds > 0), default=None)
