"""A cluster with a policy, a site of simulated nodes, a runtime, a depot's Service; and the controller beside it."""

import contextlib
import threading
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from e2e.cluster.audit import Request
from e2e.cluster.errors import ClusterError
from e2e.cluster.local import LocalCluster
from e2e.cluster.patience import TIMEOUT
from e2e.cluster.writing import STRATEGIC, Writer, writer_of
from tests.integration.conftest import start_kept_or_own
from tests.integration.controller.process import OURS, REPO, ControllerProcess, wait_for

DIGEST = "0" * 64
SITE_LABEL = "site.node-restriction.kubernetes.io/name"
CHILDREN = ("networkpolicy", "serviceaccount", "configmap", "service", "pdb", "deployment")
POLICY: dict[str, Any] = {
    "apiVersion": "inference.sekisho.dev/v1alpha1",
    "kind": "ClassificationPolicy",
    "metadata": {"name": "default"},
    "spec": {
        "unlabelled": "internal",
        "levels": [
            {"name": "internal", "rules": {"tiers": ["Closed", "OwnCloud"]}},
            {"name": "confidential", "rules": {"tiers": ["Closed"]}},
        ],
    },
}


class World:
    """What tests do to the cluster, and read from it."""

    def __init__(self, cluster: LocalCluster, namespace: str) -> None:
        self.cluster = cluster
        self.namespace = namespace

    @property
    def hand(self) -> Writer:
        return writer_of(self.cluster.kubeconfig)

    def apply(self, *objects: dict[str, Any]) -> None:
        for item in objects:
            self.hand.apply(item)

    def patch(self, kind: str, name: str, body: object, **how: str) -> None:
        self.hand.patch(kind, name, body, namespace=self.namespace, **how)

    def delete(self, kind: str, name: str) -> None:
        self.hand.delete(kind, name, namespace=self.namespace)

    def drop_pods(self) -> None:
        """Remove all pods: no kubelet of a simulated node ends any."""
        self.hand.delete_all("pods", namespace=self.namespace, grace_seconds=0)

    def runs(self, service: str) -> bool:
        """Tell whether a service has a Deployment that is to stay; one that is being deleted waits for its pods."""
        found = self.children(service).get("Deployment")
        return found is not None and "deletionTimestamp" not in found["metadata"]

    def drop_ending_pods(self, service: str) -> None:
        """Remove the pods of a service once all of them are being deleted."""
        labels = f"sekisho.dev/service={service}"
        pods = self.all("pods", labels=labels)
        if pods and all("deletionTimestamp" in pod["metadata"] for pod in pods):
            self.hand.delete_all("pods", namespace=self.namespace, labels=labels, grace_seconds=0)

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        return self.cluster.kubectl("-n", self.namespace, *arguments, stdin=stdin)

    def get(self, kind: str, name: str) -> dict[str, Any] | None:
        return self.hand.get(kind, name, namespace=self.namespace)

    def all(self, kind: str, *, labels: str = "") -> list[dict[str, Any]]:
        return self.hand.list(kind, namespace=self.namespace, labels=labels)

    def children(self, service: str) -> dict[str, dict[str, Any]]:
        labels = f"sekisho.dev/service={service}"
        found = [item for kind in CHILDREN for item in self.all(kind, labels=labels)]
        return {item["kind"]: item for item in found}

    def await_end(self, service: str) -> None:
        """Wait for the garbage collector; pods that are to end end, as a kubelet would see to."""

        def is_empty() -> bool:
            self.drop_ending_pods(service)
            return not self.children(service)

        wait_for(is_empty, what=f"the end of the children of {service}")

    def condition(self, name: str, kind: str = "Ready", *, of: str = "isvc") -> dict[str, Any]:
        status = (self.get(of, name) or {}).get("status") or {}
        found: dict[str, Any] = next((c for c in status.get("conditions", ()) if c["type"] == kind), {})
        return found

    def mark(self) -> int:
        return self.cluster.audit.mark()

    def requests(self, since: int) -> list[Request]:
        """Return what the controller asked since, leases aside."""
        return [
            request
            for request in self.cluster.audit.requests(since)
            if request.user_agent.lower().startswith(OURS) and not request.resource.startswith("leases")
        ]

    def writes(self, since: int) -> list[str]:
        return [f"{r.verb} {r.resource} {r.name} {r.status}" for r in self.requests(since) if r.is_write]


def service(name: str, namespace: str, **changes: Any) -> dict[str, Any]:
    predictor = {"model": {"modelFormat": {"name": "gguf"}, "storageUri": "oci://registry.example/models/tiny:1"}}
    return {
        "apiVersion": "inference.sekisho.dev/v1alpha1",
        "kind": "InferenceService",
        "metadata": {"name": name, "namespace": namespace, "labels": changes.pop("labels", {})},
        "spec": {"predictor": {**predictor, **changes.pop("predictor", {})}, **changes},
    }


def node(name: str, *, site: str = "test-closed") -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {SITE_LABEL: site}},
    }


HAVE = {"cpu": "64", "memory": "512Gi", "pods": "500"}
NODE_STATUS: dict[str, Any] = {"allocatable": HAVE, "capacity": HAVE}


API = POLICY["apiVersion"]
SITE = {
    "tier": "Closed",
    "jurisdiction": "JP",
    "operatedBy": "own",
    "nodes": {"matchLabels": {SITE_LABEL: "test-closed"}},
}
RUNTIME = {"formats": [{"name": "gguf"}], "image": f"registry.example/engine@sha256:{DIGEST}", "args": ["{{path}}"]}
DEPOT = {"ports": [{"port": 443, "targetPort": 8443}], "selector": {"app.kubernetes.io/component": "depot"}}
FACTS: list[dict[str, Any]] = [
    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "sekisho-system"}},
    {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "sekisho-depot", "namespace": "sekisho-system"},
        "spec": DEPOT,
    },
    POLICY,
    {"apiVersion": API, "kind": "Site", "metadata": {"name": "test-closed"}, "spec": SITE},
    {"apiVersion": API, "kind": "Runtime", "metadata": {"name": "test-engine"}, "spec": RUNTIME},
]
MADE = (("classificationpolicy", "default"), ("site", "test-closed"), ("runtime", "test-engine"), ("node", "test-node"))


@pytest.fixture(scope="package")
def control_plane() -> Iterator[LocalCluster]:
    """A control plane whose garbage collector knows our kinds from the beginning, for the modules that come here."""
    yield from start_kept_or_own("it", definitions=REPO / "crds")


@pytest.fixture(scope="module")
def installed(control_plane: LocalCluster) -> Iterator[LocalCluster]:
    """The CRDs, and everything a service needs to be placed."""
    control_plane.kubectl("apply", "--server-side", "-f", str(REPO / "crds"))
    control_plane.kubectl("wait", "--for=condition=Established", TIMEOUT, "-f", str(REPO / "crds"))
    World(control_plane, "default").apply(*FACTS, node("test-node"))
    with Heartbeat(control_plane, "test-node"):
        yield control_plane
    for kind, name in MADE:
        writer_of(control_plane.kubeconfig).delete(kind, name)


class Heartbeat:
    """Reports a simulated node ready, again and again: without a kubelet it would soon count as lost."""

    def __init__(self, cluster: LocalCluster, name: str) -> None:
        self._name = name
        self._cluster = cluster
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> None:
        self._beat()
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(5.0):
            with contextlib.suppress(ClusterError):  # tests stop the API server
                self._beat()

    def _beat(self) -> None:
        at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "x", "lastHeartbeatTime": at}
        told = {"status": {**NODE_STATUS, "conditions": [ready]}}
        writer_of(self._cluster.kubeconfig).patch("node", self._name, told, subresource="status", how=STRATEGIC)


@pytest.fixture
def world(installed: LocalCluster) -> Iterator[World]:
    """A namespace of this test's own, gone afterwards with all its services."""
    namespace = f"c-{uuid.uuid4().hex[:8]}"
    made = World(installed, namespace)
    made.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    yield made
    made.hand.delete_all("isvc", namespace=namespace)
    made.drop_pods()
    made.hand.delete("namespace", namespace, wait=False)


@pytest.fixture
def new_controller(installed: LocalCluster, tmp_path: Path) -> Iterator[Callable[..., ControllerProcess]]:
    """Make controllers; every one that still runs is ended."""
    made: list[ControllerProcess] = []

    def make(**options: Any) -> ControllerProcess:
        options.setdefault("log", tmp_path / f"controller-{len(made)}.log")
        process = ControllerProcess(options.pop("kubeconfig", installed.kubeconfig), **options)
        made.append(process)
        return process

    yield make
    for process in made:
        process.kill()


@pytest.fixture(scope="module")
def lasting_controller(
    installed: LocalCluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ControllerProcess]:
    """One controller for a whole module, whose tests meet nowhere but in it: starting one takes seconds of a core."""
    log = tmp_path_factory.mktemp("controller") / "controller.log"
    with ControllerProcess(installed.kubeconfig, log, anew=True) as process:
        yield process


@pytest.fixture
def controller(new_controller: Callable[..., ControllerProcess]) -> Iterator[ControllerProcess]:
    with new_controller() as process:
        yield process
