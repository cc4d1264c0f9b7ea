"""The status of an AccessPolicy: expressions are checked when it is applied."""

from dataclasses import replace
from typing import Any

import pytest

from sekisho.api.times import format_time
from sekisho.api.v1alpha1.accesspolicy import AccessPolicySpec
from sekisho.errors import Reason
from sekisho.plan.accesspolicy import plan_accesspolicy
from sekisho.plan.world import AccessWorld, GrantObject, Published
from tests.unit.api.cases import ACCESS
from tests.unit.plan.test_conditions import check_laws
from tests.unit.plan.test_users import BROKEN
from tests.unit.plan.worlds import NOW, build_policy, refused

WORLD = AccessWorld(build_policy(), frozenset({"tokyo"}), "sekisho-system", NOW)


def plan(world: AccessWorld = WORLD, **changes: Any) -> Published:
    spec = AccessPolicySpec.model_validate({**ACCESS, "expiresAt": None, **changes})
    return plan_accesspolicy(GrantObject("x", "team", 1, spec, {}), world)


def told(published: Published, kind: str = "Ready") -> tuple[str, str, str]:
    check_laws(dict(published.status), 1)
    found = next(item for item in published.status["conditions"] if item["type"] == kind)
    return found["status"], found["reason"], found["message"]


WRONG: dict[str, tuple[dict[str, Any], Reason, str]] = {
    "an expression that cannot be computed": (
        {"subjects": [{"cel": "clams.x == 1"}]}, Reason.INVALID_SPEC, "undeclared reference to 'clams.x'"
    ),
    "the same while suspended": (
        {"subjects": [{"cel": "clams.x == 1"}], "suspended": True}, Reason.INVALID_SPEC, "undeclared reference"
    ),
    "a neighbour's model": ({"models": ["hr/*"]}, Reason.INVALID_SPEC, 'names "hr/*", which is not of namespace x'),
    "a category that nobody knows": ({"redact": ["colour"]}, Reason.POLICY_INVALID, "the category 'colour'"),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "reason", "words"), WRONG.values(), ids=WRONG)
def test_what_only_a_change_mends_is_not_accepted(changes: dict[str, Any], reason: Reason, words: str) -> None:
    planned = plan(**changes)
    status, why, message = told(planned, "Accepted")
    assert (status, why) == ("False", reason)
    assert words in message
    assert told(planned)[0] == "False"


GAPS: dict[str, tuple[AccessWorld, dict[str, Any], Reason, str]] = {
    "suspended": (WORLD, {"suspended": True}, Reason.GRANT_SUSPENDED, "set suspended to false"),
    "ended": (WORLD, {"expiresAt": format_time(NOW)}, Reason.GRANT_EXPIRED, f"it ended at {format_time(NOW)}"),
    "no law": (replace(WORLD, policy=None), {}, Reason.POLICY_MISSING, "everything is refused"),
    "a law that cannot be read": (
        replace(WORLD, policy=refused("InvalidSpec", "y")), {}, Reason.POLICY_INVALID, "cannot be used: y"
    ),
    "a level that nobody knows": (WORLD, {"ceiling": {"level": "secret"}}, Reason.UNKNOWN_LEVEL, 'level "secret"'),
    "a site that is not there": (WORLD, {"sites": ["osaka"]}, Reason.NO_SITE, 'there is no Site "osaka"'),
}  # fmt: skip


@pytest.mark.parametrize(("world", "changes", "reason", "words"), GAPS.values(), ids=GAPS)
def test_what_is_missing_is_told(world: AccessWorld, changes: dict[str, Any], reason: Reason, words: str) -> None:
    planned = plan(world, **changes)
    status, why, message = told(planned)
    assert (status, why) == ("False", reason)
    assert words in message
    assert told(planned, "Accepted")[0] == "True"


def test_a_policy_that_cannot_be_read_is_refused() -> None:
    planned = plan_accesspolicy(GrantObject("x", "team", 1, BROKEN, {}), WORLD)
    assert told(planned)[:2] == ("False", Reason.INVALID_SPEC)
    assert "summary" not in planned.status


def test_a_policy_in_force_is_ready_and_looked_at_again_when_it_ends() -> None:
    planned = plan(expiresAt=format_time(NOW + 90))
    assert told(planned) == ("True", "Ready", "its expressions can be computed; the gateway decides by it")
    assert planned.status["summary"] == "x/*, x/chat up to confidential+gdpr"
    assert planned.check_after_seconds == 90
    assert plan(expiresAt=format_time(NOW + 10**6)).check_after_seconds == 3600
    assert plan(expiresAt=None, ceiling=None, sites=None).check_after_seconds is None
