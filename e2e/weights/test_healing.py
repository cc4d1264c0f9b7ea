"""Weights that could not be had come by themselves once the cause is gone; what was fetched is not fetched again."""

import contextlib
import re
import time
from collections.abc import Iterator

from e2e.cluster.provider import Cluster
from e2e.cluster.registry import Registry
from e2e.installation import NAMESPACE, Installation
from e2e.observe import pods_of, read_numbers, wait_for
from e2e.services import model_object, small_service
from e2e.weights.conftest import PASSWORD, USER, Sources, create_secret

DEPOT = "sekisho-depot-0"
BIG_BYTES = 487e6


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
    installation.wait_condition("late", "Ready", "True", namespace=namespace)


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
    installation.wait_condition("back", "Ready", "True", namespace=namespace)


def test_a_fetch_tells_its_progress_and_goes_on_where_a_killed_registry_broke_it_off(
    sources: Sources, namespace: str
) -> None:
    installation, cluster = sources.installation, sources.installation.cluster
    uri = f"oci://{sources.frail.host}/models/big-gguf@{sources.big_digest}"
    before = _fetched_bytes(installation)
    with slowed(cluster, sources.frail):
        installation.apply(model_object("big", namespace, uri, size="600M"))
        needs = {"cpu": "20m", "memory": "1Gi"}
        installation.apply(small_service("big", namespace, {"modelRef": {"name": "big"}}, resources=needs))
        told = wait_for(lambda: _progress(installation, namespace), "progress is told")
        condition = installation.conditions("big", namespace=namespace)["WeightsAvailable"]
        wait_for(lambda: _fetched_bytes(installation) - before > 30e6, "bytes flow")
        sources.frail.kill()
        broken_at = _fetched_bytes(installation) - before
    sources.frail.start()
    assert (condition["status"], condition["reason"]) == ("False", "Fetching")
    assert "status.weights.progress" in condition["message"]
    assert broken_at < BIG_BYTES, f"nothing was broken off: {broken_at / 1e6:.0f} MB were there; progress was {told}"

    installation.wait_condition("big", "WeightsAvailable", "True", namespace=namespace)
    total = _fetched_bytes(installation) - before
    assert total < BIG_BYTES + 64e6, f"{total / 1e6:.0f} MB were read, broken off at {broken_at / 1e6:.0f} MB"
    assert len(pods_of(cluster, "big", namespace=namespace)) == 1


@contextlib.contextmanager
def slowed(cluster: Cluster, registry: Registry) -> Iterator[None]:
    """Let a registry send no more than 20 MB a second."""
    port = registry.host.rpartition(":")[2]
    rule = f"tcp sport {port} limit rate over 20 mbytes/second burst 2 mbytes drop"
    chain = f"chain output {{ type filter hook output priority 0; {rule}; }}"
    place = cluster.place("control-plane")
    place.run("nft", "-f", "-", stdin=f"table inet slowed {{\n {chain}\n}}\n")
    try:
        yield
    finally:
        place.run("nft", "delete", "table", "inet", "slowed")


def _progress(installation: Installation, namespace: str) -> str:
    status = installation.get("inferenceservice", "big", namespace=namespace).get("status", {})
    told = str(status.get("weights", {}).get("progress", ""))
    return told if re.fullmatch(r"\d+ of \d+ MiB \(\d+ %\), \d+ MiB/s", told) else ""


def _fetched_bytes(installation: Installation) -> float:
    return sum(read_numbers(installation.cluster, DEPOT, "sekisho_depot_fetched_bytes").values())
