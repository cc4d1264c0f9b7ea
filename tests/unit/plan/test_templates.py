"""What a service's status says of the pods that may be given its key."""

from dataclasses import replace
from typing import Any

from sekisho.plan.inferenceservice import plan
from sekisho.plan.world import Plan
from sekisho.render.podspec import digest_template
from tests.unit.plan.test_sealed_services import strict_world
from tests.unit.plan.worlds import build_service, build_world
from tests.unit.render.blueprints import RELEASED


def decide(status: dict[str, Any] | None = None, **changes: Any) -> Plan:
    world = replace(strict_world(accepted=7), settings=replace(RELEASED, **changes))
    return plan(replace(build_service(), status=status or {}), world)


def rendered(decided: Plan) -> str:
    return digest_template(next(item for item in decided.workload if item["kind"] == "Deployment")["spec"]["template"])


def told(digest: str, *earlier: str) -> dict[str, Any]:
    return {"template": {"digest": digest, "earlier": list(earlier)}}


def test_the_digest_of_what_new_pods_run_is_published() -> None:
    decided = decide()
    assert decided.status["template"] == {"digest": rendered(decided), "earlier": []}


def test_pods_of_the_last_three_templates_stay_known_newest_first() -> None:
    decided = decide(told("sha256:3", "sha256:2", "sha256:1", "sha256:0"))
    assert decided.status["template"]["earlier"] == ["sha256:3", "sha256:2", "sha256:1"]


def test_a_template_that_stays_changes_nothing_and_one_that_returns_is_named_once() -> None:
    now = rendered(decide())
    assert decide(told(now, "sha256:1")).status["template"] == {"digest": now, "earlier": ["sha256:1"]}
    assert decide(told("sha256:1", now, "sha256:0")).status["template"] == {
        "digest": now,
        "earlier": ["sha256:1", "sha256:0"],
    }


def test_while_nothing_new_is_rendered_running_pods_stay_known() -> None:
    assert decide(told("sha256:1"), depot_host="").status["template"] == {"digest": "sha256:1", "earlier": []}
    assert decide(told("sha256:1"), release=None).status["template"] == {"digest": "sha256:1", "earlier": []}
    assert "template" not in decide(depot_host="").status


def test_a_service_that_may_not_run_any_more_has_no_template() -> None:
    world = replace(strict_world(accepted=7), settings=RELEASED, sites=())
    assert "template" not in plan(replace(build_service(), status=told("sha256:1")), world).status


def test_pods_that_unseal_nothing_need_none() -> None:

    decided = plan(build_service(), build_world())
    assert any(item["kind"] == "Deployment" for item in decided.workload)
    assert "template" not in decided.status
