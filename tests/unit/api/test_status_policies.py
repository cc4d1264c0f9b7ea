"""Admission compares a status field by field: one that it does not name could be written by anybody."""

from pathlib import Path
from typing import Any

import pytest

from sekisho.api.schema import render_schema
from sekisho.api.v1alpha1 import KINDS

POLICIES = Path(__file__).parents[3] / "policies"


@pytest.mark.parametrize(("topic", "kind"), [("service-status", "InferenceService"), ("model-status", "Model")])
def test_the_policy_of_a_status_compares_every_field_of_it(topic: str, kind: str) -> None:
    model: Any = next(item["status"] for item in KINDS if item["kind"] == kind)
    said = (POLICIES / topic / "policy.yaml").read_text()
    for field in render_schema(model)["properties"]:
        assert f"object.?status.?{field} == oldObject.?status.?{field}" in said, field
