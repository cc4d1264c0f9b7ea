"""A pod that serves nobody gives its room to the one that is to follow it; one that serves does not."""

from typing import Any

import pytest

from sekisho.api import names
from sekisho.plan.inferenceservice import plan
from tests.unit.plan.worlds import build_pod, build_service, build_world, starting_pod


def of_template(pod: dict[str, Any], template: str) -> dict[str, Any]:
    pod["metadata"]["labels"] = {**pod["metadata"]["labels"], **({"pod-template-hash": template} if template else {})}
    return pod


OLD, NEW = "review-predictor-a-1", "review-predictor-b-1"
UNSCHEDULED = {"PodScheduled": {"status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}}


@pytest.mark.parametrize(
    ("pods", "unavailable"),
    [
        ([of_template(starting_pod(OLD), "a"), of_template(starting_pod(NEW, conditions=UNSCHEDULED), "b")], 1),
        ([of_template(build_pod(OLD), "a"), of_template(starting_pod(NEW, conditions=UNSCHEDULED), "b")], 0),
        ([of_template(starting_pod(OLD), "a"), of_template(build_pod(NEW), "b")], 0),
        ([of_template(starting_pod(OLD), "a"), of_template(starting_pod(NEW), "a")], 0),
        ([of_template(starting_pod(OLD), "a"), of_template(starting_pod(NEW), "")], 0),
        ([], 0),
    ],
    ids=["neither serves", "the old one serves", "the new one serves", "one template", "not told of which", "no pod"],
)
def test_the_old_pod_goes_first_only_where_none_serves(pods: list[dict[str, Any]], unavailable: int) -> None:
    decided = plan(build_service(), build_world(pods=tuple(pods)))
    deployment = next(item for item in decided.workload if item["kind"] == "Deployment")
    assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": unavailable}
    assert deployment["spec"]["template"]["metadata"]["labels"][names.SERVICE_LABEL] == "review"
