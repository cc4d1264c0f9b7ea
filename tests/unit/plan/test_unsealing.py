"""A service whose weights are sealed: where it keeps them, and what it waits for."""

from typing import Any

import pytest

from sekisho.errors import Reason
from sekisho.plan import inferenceservice
from sekisho.plan.inferenceservice import plan
from sekisho.plan.world import World
from tests.unit.plan.seals import sealed_model
from tests.unit.plan.worlds import build_pod, build_service, build_world, condition
from tests.unit.render.blueprints import RELEASED


def sealed_world(**changes: Any) -> World:
    return build_world(model=sealed_model(), **changes)


def test_without_a_release_of_keys_no_pod_starts_and_the_condition_names_the_next_step() -> None:
    decided = plan(build_service(), sealed_world())
    assert decided.workload == decided.prune == ()
    assert decided.isolation
    weights = condition(decided, "WeightsAvailable")
    assert (weights["status"], weights["reason"]) == ("False", Reason.KMS_UNAVAILABLE)
    assert "install a release of keys in namespace sekisho-system" in weights["message"]
    assert "unsafeDevelopmentRelease.enabled" in weights["message"]


def test_a_release_that_vanishes_touches_nothing_that_runs() -> None:
    decided = plan(build_service(), sealed_world(pods=(build_pod(),)))
    assert decided.workload == decided.prune == ()
    assert condition(decided, "WeightsAvailable")["status"] == "True"


def test_weights_that_are_unsealed_lie_in_memory_and_count_as_memory_of_the_pod() -> None:
    decided = plan(build_service(), sealed_world(settings=RELEASED))
    template = decided.workload[-1]["spec"]["template"]["spec"]
    volume = next(item for item in template["volumes"] if item["name"] == "weights")
    assert volume["emptyDir"]["medium"] == "Memory"
    limit = int(volume["emptyDir"]["sizeLimit"].removesuffix("Mi"))
    agent = next(item for item in template["initContainers"] if item["name"] == "agent")
    assert agent["resources"]["requests"]["memory"] == f"{64 + limit}Mi"
    assert agent["resources"]["limits"]["memory"] == f"{256 + limit}Mi"


def test_placement_counts_the_memory_of_unsealed_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    world = sealed_world(settings=RELEASED)
    demands = []
    original = inferenceservice.place
    monkeypatch.setattr(inferenceservice, "place", lambda demand, *more, **named: (
        demands.append(demand), original(demand, *more, **named))[1])  # fmt: skip
    sealed_plan = plan(build_service(), world)
    plan(build_service(), build_world())
    template = sealed_plan.workload[-1]["spec"]["template"]["spec"]
    volume = next(item for item in template["volumes"] if item["name"] == "weights")
    limit = int(volume["emptyDir"]["sizeLimit"].removesuffix("Mi"))
    assert demands[0].memory_mib == demands[1].memory_mib + limit
