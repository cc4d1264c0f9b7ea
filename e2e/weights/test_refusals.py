"""Weights that cannot be had: each service says why, with both facts and the next step, and nothing of it serves."""

import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from e2e.cluster.namespaces import create_namespace, drop_namespace
from e2e.cluster.registry import Registry
from e2e.observe import condition_of, pods_of, read_numbers, wait_for, writes_of_controller
from e2e.services import model_object, small_service
from e2e.weights.conftest import PASSWORD, Sources

NOWHERE = "203.0.113.10:5000"
WRONG = "sha256:" + "0" * 64
DEPOT = "sekisho-depot-0"
REASONS = {
    "missing-secret": "CredentialsMissing",
    "wrong-password": "SourceDenied",
    "not-there": "SourceNotFound",
    "not-configured": "SourceNotAllowed",
    "wrong-digest": "DigestMismatch",
    "wrong-tag-digest": "DigestMismatch",
    "too-big": "SizeExceeded",
    "silent": "SourceUnreachable",
    "no-object": "SourceNotFound",
    "no-claim": "VolumeMissing",
}


@dataclass(frozen=True, slots=True)
class Broken:
    """A namespace with one service for every kind of failure; `silent` asks a registry that was killed."""

    sources: Sources
    namespace: str

    def told(self, name: str) -> dict[str, Any]:
        """Return the condition WeightsAvailable once it has the reason that is expected."""
        return self.sources.installation.wait_condition(
            name, "WeightsAvailable", "False", namespace=self.namespace, reason=REASONS[name]
        )

    def assert_nothing_serves(self, name: str) -> None:
        """Assert that the engine never started."""
        assert self.sources.installation.conditions(name, namespace=self.namespace)["Ready"]["status"] == "False"
        for pod in pods_of(self.sources.installation.cluster, name, namespace=self.namespace):
            assert condition_of(pod, "Ready").get("status") != "True"
            for state in pod["status"].get("containerStatuses", []):
                assert not state["started"], f"{state['name']} of {name} runs"


@pytest.fixture(scope="module")
def broken(sources: Sources, registry: Registry) -> Iterator[Broken]:
    installation, namespace = sources.installation, f"w-{uuid.uuid4().hex[:8]}"
    create_namespace(installation.cluster.kubeconfig, namespace)
    sources.frail.kill()
    tiny = f"oci://{registry.host}/models/tiny-gguf"
    uris = {
        "missing-secret": f"oci://{sources.closed.host}/vault/tiny-gguf:latest",
        "wrong-password": f"oci://{sources.closed.host}/denied/tiny-gguf:latest",
        "not-there": f"oci://{registry.host}/models/none:1",
        "not-configured": f"oci://{NOWHERE}/models/tiny-gguf:1",
        "wrong-digest": f"{tiny}@{sources.digest}",
        "wrong-tag-digest": f"{tiny}:latest",
        "too-big": f"{tiny}:latest",
        "silent": f"oci://{sources.frail.host}/models/tiny-gguf@{sources.digest}",
        "no-object": "s3://weights/none",
        "no-claim": "pvc://nowhere/models",
    }
    models = {
        "wrong-digest": {"digest": WRONG},
        "wrong-tag-digest": {"digest": WRONG},
        "too-big": {"size": "1k"},
    }
    manifests = [model_object(name, namespace, uris[name], **spec) for name, spec in models.items()]
    for name, uri in uris.items():
        model = {"modelRef": {"name": name}} if name in models else {"storageUri": uri}
        manifests.append(small_service(name, namespace, model))
    try:
        installation.apply("---\n".join(manifests))
        yield Broken(sources, namespace)
    finally:
        sources.frail.start()
        drop_namespace(installation.cluster.kubeconfig, namespace)


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("missing-secret", ['Secret "vault-reader"', "oci://", "/vault/", "create it in the depot's namespace"]),
        ("wrong-password", ["denied", "401", "check the credentials in its Secret"]),
        ("not-there", ["models/none:1", "404"]),
        ("not-configured", [NOWHERE, "is below no source of the depot", "adds it to depot.sources"]),
        ("wrong-digest", [WRONG, "sha256:", "expects"]),
        ("wrong-tag-digest", [WRONG, "has digest sha256:", "the Model expects"]),
        ("too-big", ["bytes, 1000 allowed", "state the true size"]),
        ("silent", ["cannot be reached", "Connection refused"]),
        ("no-object", ["s3://weights/none was not found"]),
        ("no-claim", ["nowhere", "create it in the service's namespace"]),
    ],
)
def test_weights_that_cannot_be_had_are_told_with_facts_and_nothing_serves(
    broken: Broken, name: str, facts: list[str]
) -> None:
    condition = broken.told(name)
    for fact in facts:
        assert fact in condition["message"]
    assert PASSWORD not in condition["message"]
    broken.assert_nothing_serves(name)


def test_failing_fetches_are_tried_again_without_haste(broken: Broken) -> None:
    cluster = broken.sources.installation.cluster
    for name in REASONS:
        broken.told(name)
    time.sleep(3)
    mark, before = cluster.audit.mark(), _fetches(broken)
    time.sleep(10)
    writes = writes_of_controller(cluster, mark, namespaces=(broken.namespace,))
    told = [item for item in cluster.audit.writes(mark) if item.resource == "pods/status" and "depot" in item.user
            and item.namespace == broken.namespace]  # fmt: skip
    assert len(writes) <= len(REASONS), writes
    assert len(told) <= 2 * len(REASONS), told
    assert _fetches(broken) - before <= 3 * len(REASONS)


def _fetches(broken: Broken) -> float:
    numbers = wait_for(
        lambda: read_numbers(broken.sources.installation.cluster, DEPOT, "sekisho_depot_fetches"), "metrics"
    )
    return sum(numbers.values())
