"""Grants on the real API server: each side tells what it lacks, finds its partner, and loses it again."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.controller.conftest import API, POLICY, World
from tests.integration.controller.process import ControllerProcess, wait_for
from tests.unit.api.cases import EVIDENCE, GRANT, IMAGE, RELEASE


@pytest.fixture
def grants(world: World) -> Callable[..., None]:
    """Apply grants of one namespace for one service; the law says that the namespace owns the key."""
    law = {**POLICY["spec"], "keyOwners": [{"namespace": world.namespace, "kms": "openbao", "keyIds": ["transit/*"]}]}
    world.apply({**POLICY, "spec": law})

    def apply(kind: str, name: str, spec: dict[str, Any]) -> None:
        metadata = {"name": name} if kind == "EvidencePolicy" else {"name": name, "namespace": world.namespace}
        world.apply({"apiVersion": API, "kind": kind, "metadata": metadata, "spec": spec})

    return apply


def await_ready(world: World, kind: str, name: str, reason: str) -> dict[str, Any]:
    found: dict[str, Any] = wait_for(
        lambda: (c := world.condition(name, of=kind)) and c["reason"] == reason and c, what=f"{kind} {name} {reason}"
    )
    return found


def test_both_sides_find_each_other_and_tell_what_is_missing(
    world: World, controller: ControllerProcess, grants: Callable[..., None]
) -> None:
    assert controller is not None
    workload = {"namespace": world.namespace, "service": "chat", "images": [IMAGE]}
    owner = {
        **RELEASE, "workloads": [workload], "classes": {"atMost": {"level": "confidential"}},
        "evidence": {"policy": world.namespace}, "expiresAt": "2099-01-01T00:00:00Z",
    }  # fmt: skip
    tenant = {**GRANT, "models": [{"owner": world.namespace, "name": "legal/reviewer"}]}
    grants("KeyReleasePolicy", "reviewer", owner)
    assert await_ready(world, "keyreleasepolicy", "reviewer", "PolicyMissing")["status"] == "False"
    grants("EvidencePolicy", world.namespace, {**EVIDENCE})
    alone = await_ready(world, "keyreleasepolicy", "reviewer", "ReleaseNotGranted")
    assert "which alone releases nothing: no DataGrant in force names" in alone["message"]
    grants("DataGrant", "contracts", tenant)
    assert await_ready(world, "keyreleasepolicy", "reviewer", "Ready")["status"] == "True"
    assert await_ready(world, "datagrant", "contracts", "Ready")["status"] == "True"
    shown = world.kubectl("get", "keyreleasepolicies", "--no-headers").split()
    assert shown[:6] == [
        "reviewer", "legal/reviewer", "transit/legal", f"{world.namespace}/chat", "2099-01-01T00:00:00Z", "True",
    ]  # fmt: skip
    world.patch("datagrant", "contracts", {"spec": {"suspended": True}})
    await_ready(world, "datagrant", "contracts", "GrantSuspended")
    await_ready(world, "keyreleasepolicy", "reviewer", "ReleaseNotGranted")
    world.delete("keyreleasepolicy", "reviewer")
    world.patch("datagrant", "contracts", {"spec": {"suspended": False}})
    await_ready(world, "datagrant", "contracts", "ReleaseNotGranted")
    world.delete("evidencepolicy", world.namespace)
