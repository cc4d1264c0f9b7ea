"""The quickstart's services, applied once, and the small services that single tests make."""

from collections.abc import Iterator
from typing import Any

import pytest

from e2e.calls import GatewayAddress, gateway_open
from e2e.cluster.patience import TIMEOUT
from e2e.installation import NAMESPACE, Installation
from e2e.observe import pods_of, wait_for
from e2e.quickstart import Quickstart
from e2e.services import SMALL

SERVICES = (("legal", "contract-review"), ("web", "faq-bot"))


@pytest.fixture(scope="package", autouse=True)
def caught_up(quickstart: Quickstart) -> None:
    """Begin with the values of the quickstart."""
    quickstart.installation.catch_up()


@pytest.fixture(scope="package")
def installation(quickstart: Quickstart) -> Installation:
    """The installation that all of `e2e` shares."""
    return quickstart.installation


@pytest.fixture(scope="module")
def examples(quickstart: Quickstart, installation: Installation) -> Iterator[Installation]:
    """The quickstart's services, ready, and who may ask them; gone afterwards, for they share a node with nobody."""
    for _, text in quickstart.manifests("[345]0-*.yaml"):
        installation.apply(text)
    for namespace, name in SERVICES:
        installation.wait_condition(name, "Ready", "True", namespace=namespace)
    yield installation
    namespaces = [namespace for namespace, _ in SERVICES]
    # Pods first: a namespace with pods in it is looked at again only after half of their grace period.
    for namespace in namespaces:
        installation.cluster.kubectl("delete", "inferenceservices", "--all", "-n", namespace)
    wait_for(
        lambda: not any(pods_of(installation.cluster, name, namespace=namespace) for namespace, name in SERVICES),
        "the quickstart's pods are gone",
    )
    installation.cluster.kubectl("delete", "namespace", *namespaces, "--ignore-not-found", TIMEOUT)
    installation.cluster.kubectl("delete", "clusterrole", "cleared-confidential-gdpr", "--ignore-not-found")
    installation.cluster.kubectl("delete", "clusterrolebinding", "legal-reviewer-cleared", "--ignore-not-found")


@pytest.fixture
def gateway(examples: Installation) -> Iterator[GatewayAddress]:
    """The gateway, reachable from this machine."""
    wait_gateway(examples)
    with gateway_open(examples.cluster) as address:
        yield address


def wait_gateway(installation: Installation) -> None:
    """Wait until the gateway is ready."""
    installation.cluster.kubectl("rollout", "status", "statefulset/sekisho-gateway", "-n", NAMESPACE, TIMEOUT)


def small_spec(quickstart: Quickstart, **predictor: Any) -> dict[str, Any]:
    """Return the spec of a service on the published model that takes little of a node."""
    model = {"modelFormat": {"name": "gguf"}, "storageUri": quickstart.facts["MODEL_URI"]}
    return {"predictor": {"model": model, "resources": SMALL, **predictor}}
