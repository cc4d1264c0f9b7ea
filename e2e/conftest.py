"""Everything below this folder needs real nodes, pods and packets."""

import os
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace

import pytest

from e2e.cluster.choose import new_cluster
from e2e.cluster.namespaces import create_namespace, drop_namespace
from e2e.cluster.provider import Cluster, NodeSpec, Options
from e2e.cluster.registry import Registry
from e2e.installation import COMPONENTS, build_images
from e2e.quickstart import Quickstart

KEPT_NAME = os.environ.get("SEKISHO_KEPT_NAME", "kept-e2e")
PULL_SECRET = "mirror-credentials"
WAKE_SECONDS = 300
"""How long a gateway holds a request for a model that starts: more than a busy machine takes to start one."""
SITE = "sekisho.node-restriction.kubernetes.io/site"
TRUST = "sekisho.node-restriction.kubernetes.io/snp-attested-at"
NODES = (
    NodeSpec(labels={"topology.kubernetes.io/zone": "a", SITE: "tokyo", TRUST: str(int(time.time()))}),
    NodeSpec(labels={"topology.kubernetes.io/zone": "b", SITE: "osaka"}),
)
OPTIONS = Options(name="", nodes=NODES, kwok=True, audit_level="all")
# The same for every suite: nodes of all of them begin with the same stock.
IMAGES = (*COMPONENTS, "llamacpp", "broker", "attester", "trust", "unsafe-release")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.nodeid.startswith("e2e/"):
            item.add_marker(pytest.mark.cluster)
            # What is built and installed first is not the test's own time; each of its waits has a bound of its own.
            item.add_marker(pytest.mark.timeout(1800, func_only=True))


@pytest.fixture(scope="package")
def cluster() -> Iterator[Cluster]:
    """Two real nodes, until the last test here; with SEKISHO_KEEP_CLUSTER a cluster that stays for the next session."""
    images = tuple(build_images(IMAGES).values())
    if "SEKISHO_KEEP_CLUSTER" in os.environ:
        kept = new_cluster(replace(OPTIONS, name=KEPT_NAME, images=images, keep=True))
        if not kept.is_running():
            kept.start()
        yield kept
        return
    with new_cluster(replace(OPTIONS, name=f"e2e-{os.getpid()}", images=images)) as own:
        yield own


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """A fresh namespace, deleted afterwards."""
    name = f"t-{uuid.uuid4().hex[:10]}"
    create_namespace(cluster.kubeconfig, name)
    yield name
    drop_namespace(cluster.kubeconfig, name)


@pytest.fixture(scope="package")
def registry(cluster: Cluster) -> Registry:
    """A registry of models inside the cluster's network, without credentials."""
    registry = Registry(cluster)
    registry.start()
    return registry


@pytest.fixture(scope="package")
def quickstart(cluster: Cluster, registry: Registry) -> Iterator[Quickstart]:
    """sekisho on the cluster, with a policy, two sites, an engine and a tiny model in the registry."""
    quickstart = Quickstart.on(cluster, registry)
    quickstart.installation.values |= {"imagePullSecrets": [PULL_SECRET], "gateway": {"wakeSeconds": WAKE_SECONDS}}
    quickstart.prepare(model="tiny-gguf")
    yield quickstart
    if "SEKISHO_KEEP_CLUSTER" in os.environ:
        quickstart.installation.catch_up()
