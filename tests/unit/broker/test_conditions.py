"""What the conditions of a pod say of its key: when they are written anew, and since when they say so."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sekisho.api.names import ATTESTED_POD_CONDITION, KEY_RELEASED_POD_CONDITION
from sekisho.broker.conditions import Grant, tell_grant, tell_refusal
from sekisho.broker.wire import Lease
from sekisho.errors import Reason
from sekisho.kube.pods import PodFacts
from tests.unit.broker.test_describing import POD

NOW = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)
EARLIER = "2026-11-29T11:00:00Z"


def grant(seconds: int = 600) -> Grant:
    return Grant(Lease(seconds, NOW + timedelta(seconds=seconds)), "sha256:p", "sha256:e")


def pod(**conditions: dict[str, Any]) -> PodFacts:
    """Return a pod whose conditions are given as `attested` and `released`."""
    kinds = {"attested": ATTESTED_POD_CONDITION, "released": KEY_RELEASED_POD_CONDITION}
    return replace(POD, conditions={kinds[name]: said for name, said in conditions.items()})


def said(left: float, *, status: str = "True") -> dict[str, Any]:
    """Return a condition that told a lease of which so many seconds are left."""
    message = Grant(Lease(600, NOW + timedelta(seconds=left)), "sha256:p", "sha256:old").spell()
    return {"status": status, "reason": "Attested", "message": message, "lastTransitionTime": EARLIER}


@pytest.mark.parametrize(("left", "count"), [(600, 0), (300, 0), (299, 2), (0, 2)])
def test_a_renewal_is_told_once_less_than_half_of_the_lease_is_left_of_what_was_told(left: float, count: int) -> None:
    there = pod(attested=said(left), released=said(left))
    assert len(tell_grant(there, grant(), now=NOW, renewal=True)) == count


def test_a_renewal_is_told_where_one_condition_is_missing_or_says_otherwise() -> None:
    for there in (pod(attested=said(600)), pod(attested=said(600), released=said(600, status="False")), pod()):
        assert len(tell_grant(there, grant(), now=NOW, renewal=True)) == 2


@pytest.mark.parametrize(("status", "since"), [("True", "2026-11-29T11:00:00"), ("False", "2026-11-29T12:00:00")])
def test_a_condition_that_stays_what_it_is_keeps_the_time_since_when(status: str, since: str) -> None:
    there = pod(attested=said(10, status=status), released=said(10, status=status))
    for each in tell_grant(there, grant(), now=NOW, renewal=False):
        assert datetime.fromtimestamp(each.since_at, UTC).replace(tzinfo=None).isoformat() == since


@pytest.mark.parametrize(
    ("status", "reason", "told"),
    [
        ("False", "DebugEnabled", False),
        ("False", "TcbTooOld", True),
        ("True", "DebugEnabled", True),
        ("True", "Attested", True),
    ],
)
def test_a_refusal_is_told_unless_it_stands_there_already(status: str, reason: str, *, told: bool) -> None:
    there = {"status": status, "reason": reason}
    found = tell_refusal(pod(attested=there, released=there), Reason.DEBUG_ENABLED, "so", now=NOW)
    assert [each.reason for each in found] == ([Reason.DEBUG_ENABLED] * 2 if told else [])
