"""Weights that could not be had come by themselves once the cause is gone; what was fetched is not fetched again."""

import re
import time

from e2e.installation import NAMESPACE, Installation
from e2e.observe import pods_of, read_numbers, wait_for
from e2e.services import model_object, small_service
from e2e.weights.conftest import PASSWORD, USER, Sources, create_secret

DEPOT = "sekisho-depot-0"
BIG_BYTES = 400e6


def test_a_secret_that_comes_later_heals_the_service(sources: Sources, namespace: str) -> None:
    installation = sources.installation
    kubectl = installation.cluster.kubectl
    kubectl("delete", "secret", "late-reader", "-n", NAMESPACE, "--ignore-not-found")
    uri = f"oci://{sources.closed.host}/late/tiny-gguf:latest"
    installation.apply(small_service("late", namespace, {"storageUri": uri}))
    told = installation.wait_condition(
        "late", "WeightsAvailable", "False", namespace=namespace, reason="CredentialsMissing"
    )
    assert 'Secret "late-reader"' in told["message"]
    create_secret(installation, "late-reader", username=USER, password=PASSWORD)
    # A kubelet looks for Secrets once a minute, and at once where anything about the pod changes.
    kubectl("annotate", "pod", DEPOT, "-n", NAMESPACE, f"test/now={time.time()}", "--overwrite")
    installation.wait_condition("late", "Ready", "True", namespace=namespace, seconds=150)


def test_a_registry_that_comes_back_heals_the_service(sources: Sources, namespace: str) -> None:
    installation = sources.installation
    sources.frail.kill()
    try:
        uri = f"oci://{sources.frail.host}/models/tiny-gguf:latest"
        installation.apply(small_service("back", namespace, {"storageUri": uri}))
        told = installation.wait_condition(
            "back", "WeightsAvailable", "False", namespace=namespace, reason="SourceUnreachable"
        )
        assert sources.frail.host in told["message"]
    finally:
        sources.frail.start()
    installation.wait_condition("back", "Ready", "True", namespace=namespace, seconds=150)


def test_a_fetch_goes_on_where_a_killed_registry_broke_it_off_and_tells_its_progress(
    sources: Sources, namespace: str
) -> None:
    installation, cluster = sources.installation, sources.installation.cluster
    uri = f"oci://{sources.frail.host}/models/big-gguf@{sources.big_digest}"
    before = _fetched_bytes(installation)
    installation.apply(model_object("big", namespace, uri, size="600M"))
    installation.apply(small_service("big", namespace, {"modelRef": {"name": "big"}}, resources={
        "cpu": "20m", "memory": "1Gi"}))  # fmt: skip
    wait_for(lambda: _fetched_bytes(installation) - before > 30e6, "bytes flow", seconds=60)
    sources.frail.kill()
    try:
        broken_at = _fetched_bytes(installation) - before
        if broken_at < BIG_BYTES:
            seen = wait_for(lambda: _progress(installation, namespace), "progress is told", seconds=30)
            assert re.match(r"\d+ of \d+ MiB", seen), seen
    finally:
        sources.frail.start()
    installation.wait_condition("big", "WeightsAvailable", "True", namespace=namespace, seconds=180)
    total = _fetched_bytes(installation) - before
    assert total < 1.3 * 490e6, (
        f"{total / 1e6:.0f} MB were read for a model of 490 MB, broken off at {broken_at / 1e6:.0f}"
    )
    assert len(pods_of(cluster, "big", namespace=namespace)) == 1


def _progress(installation: Installation, namespace: str) -> str:
    status = installation.get("inferenceservice", "big", namespace=namespace).get("status", {})
    return str(status.get("weights", {}).get("progress", ""))


def _fetched_bytes(installation: Installation) -> float:
    return sum(read_numbers(installation.cluster, DEPOT, "sekisho_depot_fetched_bytes").values())
