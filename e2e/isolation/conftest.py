"""sekisho with proofs at short intervals, attacking engines, and plain pods beside them as positive controls."""

import uuid
from collections.abc import Iterator

import pytest

from e2e.cluster.build import binaries_dir
from e2e.cluster.images import ensure_images
from e2e.cluster.namespaces import create_namespace, drop_namespace
from e2e.cluster.patience import TIMEOUT
from e2e.cluster.provider import Cluster
from e2e.isolation.attack import render_runtime
from e2e.isolation.scene import Pod, Scene, render_tools_pod
from e2e.isolation.targets import find_targets
from e2e.quickstart import Quickstart

PROOF_INTERVAL_SECONDS = 5
PROOF_MAX_AGE_SECONDS = 30  # far more than two rounds: a busy machine delays one


@pytest.fixture(scope="package")
def short_proofs(quickstart: Quickstart) -> Iterator[Quickstart]:
    """Let proofs come and grow old quickly, so that their end can be waited for."""
    installation = quickstart.installation
    before = installation.values
    isolation = {
        **before["isolation"],
        "proofIntervalSeconds": PROOF_INTERVAL_SECONDS,
        "proofMaxAgeSeconds": PROOF_MAX_AGE_SECONDS,
    }
    installation.values = {**before, "isolation": isolation}
    installation.upgrade(installation.values)
    yield quickstart
    installation.leave(before)


@pytest.fixture(scope="package")
def scene(cluster: Cluster, short_proofs: Quickstart) -> Iterator[Scene]:
    """Plain pods that reach everything, and the profile of an engine that tries to."""
    namespace = f"others-{uuid.uuid4().hex[:8]}"
    create_namespace(cluster.kubeconfig, namespace)
    listen = ["serve", "-http", ":8080", "-udp-echo", ":9999"]
    own, other = cluster.nodes[0].name, cluster.nodes[1].name
    pods = [render_tools_pod("stranger", namespace=namespace, args=listen, node=own, port=8080)]
    pods += [render_tools_pod(f"control-{n}", namespace=namespace, args=["pause"], node=n) for n in (own, other)]
    for pod in pods:
        cluster.kubectl("create", "-f", "-", stdin=pod)
    cluster.kubectl("wait", "--for=condition=Ready", "pod", "--all", "-n", namespace, TIMEOUT)
    targets = find_targets(cluster, stranger=(namespace, "stranger"))
    archive = next(path for path in ensure_images(binaries_dir()) if path.name == "tools.tar")
    short_proofs.installation.apply(render_runtime(cluster.load_image(archive), targets))
    yield Scene(cluster, short_proofs, namespace, targets)
    cluster.kubectl("delete", "runtime", "attacker", "--wait=false")
    drop_namespace(cluster.kubeconfig, namespace)


@pytest.fixture(scope="package")
def models(cluster: Cluster, scene: Scene) -> Iterator[str]:
    """A namespace with one attacking service, `attack`, that many tests share and leave ready."""
    namespace = f"models-{uuid.uuid4().hex[:8]}"
    create_namespace(cluster.kubeconfig, namespace)
    scene.serve_attackers("attack", namespace=namespace)
    yield namespace
    drop_namespace(cluster.kubeconfig, namespace)


@pytest.fixture
def pod(scene: Scene, models: str) -> Pod:
    """The one pod of the shared service, once it serves and its first attack is over."""
    scene.wait_ready("attack", namespace=models)
    (found,) = scene.wait_pods("attack", namespace=models, count=1)
    scene.wait_attacked(found)
    return found
