"""The health script for Argo CD, run by a real Lua."""

from pathlib import Path
from typing import Any

import lupa
import pytest

SCRIPT = (Path(__file__).parent.parent / "docs" / "argocd-health.lua").read_text()


def condition(kind: str, status: str, *, generation: int = 2) -> dict[str, Any]:
    return {
        "type": kind,
        "status": status,
        "reason": f"{kind}Reason",
        "message": "both facts",
        "observedGeneration": generation,
    }


def judge(status: dict[str, Any] | None, *, deleting: bool = False) -> tuple[str, str]:
    metadata: dict[str, Any] = {"generation": 2}
    if deleting:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    lua = lupa.LuaRuntime(unpack_returned_tuples=True)
    lua.globals().obj = lua.table_from({"metadata": metadata, "status": status}, recursive=True)
    health = lua.execute(SCRIPT)
    return health.status, health.message


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ([], "Progressing"),
        ([condition("Ready", "True")], "Healthy"),
        ([condition("Ready", "True", generation=1)], "Progressing"),
        ([condition("Ready", "False"), condition("Reconciling", "True")], "Progressing"),
        ([condition("Ready", "False"), condition("Stalled", "True")], "Degraded"),
        ([condition("Ready", "False")], "Degraded"),
        ([condition("Ready", "False"), condition("Stalled", "True", generation=1)], "Degraded"),
        ([condition("Ready", "False", generation=1), condition("Stalled", "True", generation=1)], "Progressing"),
        ([condition("Ready", "Unknown")], "Progressing"),
    ],
)
def test_health_follows_the_conditions_of_the_newest_generation(
    conditions: list[dict[str, Any]], expected: str
) -> None:
    assert judge({"observedGeneration": 2, "conditions": conditions})[0] == expected


def test_a_fresh_object_is_on_its_way() -> None:
    assert judge(None) == ("Progressing", "waiting for the controller")


def test_a_refusal_shows_its_reason_and_message() -> None:
    status = {"conditions": [condition("Ready", "False"), condition("Stalled", "True")]}
    assert judge(status) == ("Degraded", "StalledReason: both facts")


def test_an_object_that_ends_is_on_its_way_even_if_ready() -> None:
    assert judge({"conditions": [condition("Ready", "True")]}, deleting=True) == ("Progressing", "being deleted")
