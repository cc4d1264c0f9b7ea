"""Two replicas of the gateway whose records outlive their pods on small disks, and an engine that fails on demand."""

import base64
import json
import ssl
import uuid
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e.calls import make_token
from e2e.cluster.local import LocalCluster
from e2e.cluster.namespaces import drop_namespace
from e2e.cluster.patience import TIMEOUT
from e2e.cluster.provider import Cluster
from e2e.conftest import WAKE_SECONDS
from e2e.gateway.caller import Address, Network
from e2e.installation import NAMESPACE, Installation
from e2e.observe import BUSYBOX, condition_of, pods_of, read_all, wait_for
from e2e.quickstart import Quickstart
from e2e.services import API, SMALL, namespace_object, runtime_object

GATEWAY = "app.kubernetes.io/component=gateway"
PODS = ("sekisho-gateway-0", "sekisho-gateway-1")
CLASS, RUNTIME, NAME, PORT = "sekisho-faults", "faulty", "faulty", 8080
# Longer than a busy machine lets any process of these rest: a gateway tells of its callers every third of the first.
RESTING, RESTING_SECONDS = "resting", 30
SILENCE_SECONDS = 30
_UNPACK = "import base64,sys,zlib;exec(zlib.decompress(base64.b64decode(''.join(sys.argv[1:-1]))))"


@dataclass(frozen=True, slots=True)
class Stage:
    """What the tests of faults play on.

    Attributes:
        address: The gateway's Service, asked as somebody who may use the failing service.
        network: Threads in a node's network, from where the Service and pods can be reached.
        disks: By a replica's name the node it is on, and the folder of its record there.
    """

    installation: Installation
    namespace: str
    address: Address
    network: Network
    disks: dict[str, tuple[str, Path]]

    @property
    def cluster(self) -> Cluster:
        """The cluster."""
        return self.installation.cluster

    def pod(self, name: str) -> dict[str, Any]:
        """Read a replica; empty while there is none."""
        items = read_all(self.cluster, "pods", namespace=NAMESPACE, labels=GATEWAY)
        found: dict[str, Any] = next((item for item in items if item["metadata"]["name"] == name), {})
        return found

    def is_ready(self, name: str) -> bool:
        """Tell whether requests may reach a replica."""
        pod = self.pod(name)
        gone = not pod or "deletionTimestamp" in pod["metadata"]
        return not gone and bool(condition_of(pod, "Ready").get("status") == "True")

    def wait_ready(self) -> None:
        """Wait until both replicas are ready."""
        for name in PODS:
            wait_for(partial(self.is_ready, name), f"{name} is ready")

    def replica(self, name: str) -> Address:
        """Return where one replica alone is asked."""
        return self.address.at(self.pod(name)["status"]["podIP"], 8443)

    def seen(self, path: str = "/seen", *, of: str = NAME) -> dict[str, dict[str, int]]:
        """Return how often the engine of a service was asked what, and which callers left it."""
        (engine,) = pods_of(self.cluster, of, namespace=self.namespace)
        place = self.cluster.pod_place(self.namespace, engine["metadata"]["name"])
        said: dict[str, dict[str, int]] = json.loads(
            place.run(BUSYBOX, "wget", "-q", "-O", "-", f"http://127.0.0.1:{PORT}{path}")
        )
        return said

    def task(self, name: str) -> str:
        """Return the id of a replica's container, as its node's runtime has it."""
        return str(self.pod(name)["status"]["containerStatuses"][0]["containerID"]).partition("://")[2]

    def on_node(self, name: str, *command: str, check: bool = True) -> str:
        """Run a command on the node of a replica's disk."""
        return self.cluster.place(self.disks[name][0]).run(*command, check=check)


@pytest.fixture(scope="module")
def stage(quickstart: Quickstart, cluster: Cluster) -> Iterator[Stage]:
    """Give the gateway its disks and a second replica, and serve what fails; all as before afterwards."""
    assert isinstance(cluster, LocalCluster)
    installation, before = quickstart.installation, quickstart.installation.values
    folder = cluster.directory / f"faults-{uuid.uuid4().hex[:6]}"
    namespace = f"faults-{uuid.uuid4().hex[:8]}"
    make_disks(cluster, folder)
    replace_gateway(installation, {**before, "gateway": gateway_values()})
    serve_faults(quickstart, namespace)
    node = cluster.local_nodes[0]
    with Network(node.netns) as network:
        address = find_address(installation, namespace)
        stage = Stage(installation, namespace, address, network, find_disks(cluster, folder))
        installation.wait_condition(NAME, "Ready", "True", namespace=namespace)
        yield stage
    drop_namespace(cluster.kubeconfig, namespace)
    cluster.kubectl("delete", "clusterrole,clusterrolebinding", namespace)
    cluster.kubectl("delete", "runtime", RUNTIME, "--wait=false")
    remove_gateway(cluster)
    remove_disks(cluster, folder)
    installation.leave(before)


def gateway_values() -> dict[str, Any]:
    """Return the chart's values of the gateway: engines may be silent for short only, names are of no matter."""
    seconds = {name: str(SILENCE_SECONDS) for name in ("FIRST_BYTE", "ANSWER", "IDLE")}
    return {
        "replicas": 2, "names": False, "wakeSeconds": WAKE_SECONDS,
        "record": {"storageClass": CLASS, "size": "24Mi", "max": "64Mi"},
        "extraEnv": [{"name": f"SEKISHO_{name}_SECONDS", "value": value} for name, value in seconds.items()]
        + [{"name": "SEKISHO_MAX_STREAM", "value": "24Mi"}],
    }  # fmt: skip


def replace_gateway(installation: Installation, values: dict[str, Any]) -> None:
    """Install with other values; what volumes a StatefulSet has cannot be changed, so it is made anew."""
    remove_gateway(installation.cluster)
    installation.upgrade(values)


def remove_gateway(cluster: Cluster) -> None:
    """Remove the gateway's pods and what makes them."""
    named = ("statefulset", "sekisho-gateway", "-n", NAMESPACE)
    cluster.kubectl("delete", *named, "--cascade=foreground", TIMEOUT, "--ignore-not-found")


def make_disks(cluster: LocalCluster, folder: Path) -> None:
    """Make a disk on each node that a test can fill, and offer it to pods."""
    items = []
    for node in cluster.nodes:
        path = folder / node.name
        path.mkdir(parents=True)
        cluster.place(node.name).run("mount", "-t", "tmpfs", "-o", "size=16m,mode=0770", "none", str(path))
        terms = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node.name]}
        spec = {
            "capacity": {"storage": "24Mi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": CLASS,
            "persistentVolumeReclaimPolicy": "Retain", "local": {"path": str(path)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [terms]}]}},
        }  # fmt: skip
        name = f"{folder.name}-{node.name}"
        items.append({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec})
    cluster.kubectl("create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))


def find_disks(cluster: LocalCluster, folder: Path) -> dict[str, tuple[str, Path]]:
    """Return which replica has which disk."""
    found = {}
    for volume in read_all(cluster, "persistentvolumes"):
        claim = str(volume["spec"].get("claimRef", {}).get("name", ""))
        path = Path(volume["spec"].get("local", {}).get("path", "/"))
        if path.parent == folder and claim.startswith("record-"):
            found[claim.removeprefix("record-")] = (path.name, path)
    assert set(found) == set(PODS)
    return found


def remove_disks(cluster: LocalCluster, folder: Path) -> None:
    """Take the disks away again, as soon as no pod has them."""
    cluster.kubectl("delete", "pvc", *(f"record-{name}" for name in PODS), "-n", NAMESPACE, TIMEOUT)
    for node in cluster.nodes:
        cluster.kubectl("delete", "persistentvolume", f"{folder.name}-{node.name}", TIMEOUT)
        cluster.place(node.name).run("umount", str(folder / node.name), check=False)


def serve_faults(quickstart: Quickstart, namespace: str) -> None:
    """Serve an engine that fails on demand, and let an account use it."""
    installation = quickstart.installation
    source = base64.b64encode(zlib.compress((Path(__file__).parent / "engine.py").read_bytes(), 9)).decode()
    parts = [source[at : at + 1000] for at in range(0, len(source), 1000)]
    runtime = runtime_object(
        RUNTIME, installation.images["gateway"].reference, *parts, str(PORT), port=PORT,
        command=["/usr/bin/python3.11", "-c", _UNPACK],
    )  # fmt: skip
    use = {"apiGroups": [API.partition("/")[0]], "verbs": ["use"]}
    models = {**use, "resources": ["inferenceservices"], "resourceNames": [NAME, RESTING]}
    levels = {**use, "resources": ["classificationlevels"], "resourceNames": ["public"]}
    items = [*grant("", models, namespace), *grant("Cluster", levels, namespace)]
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "caller", "namespace": namespace}}
    installation.apply(namespace_object(namespace, "public"))
    installation.apply("---\n".join(yaml.safe_dump(item) for item in (account, *items)))
    installation.apply(runtime)
    model = {"modelFormat": {"name": "gguf"}, "storageUri": quickstart.facts["MODEL_URI"], "runtime": RUNTIME}
    predictor = {"model": model, "resources": SMALL}
    quickstart.serve(NAME, namespace=namespace, spec={"predictor": predictor})
    rests = {"minReplicas": 0, "idleSeconds": RESTING_SECONDS}
    quickstart.serve(RESTING, namespace=namespace, spec={"predictor": {**predictor, **rests}})


def grant(scope: str, rule: dict[str, Any], namespace: str) -> list[dict[str, Any]]:
    """Return a role, of the cluster or of the namespace, and its binding to the caller."""
    rbac = "rbac.authorization.k8s.io"
    metadata = {"name": namespace, **({} if scope else {"namespace": namespace})}
    head = {"apiVersion": f"{rbac}/v1", "metadata": metadata}
    subject = {"kind": "ServiceAccount", "name": "caller", "namespace": namespace}
    reference = {"apiGroup": rbac, "kind": f"{scope}Role", "name": namespace}
    role = {**head, "kind": f"{scope}Role", "rules": [rule]}
    return [role, {**head, "kind": f"{scope}RoleBinding", "roleRef": reference, "subjects": [subject]}]


def find_address(installation: Installation, namespace: str) -> Address:
    """Return the gateway's Service as the caller asks it."""
    cluster = installation.cluster
    bundle = installation.get("configmap", "sekisho-ca", namespace=NAMESPACE)["data"]["ca.crt"]
    service = installation.get("service", "sekisho-gateway", namespace=NAMESPACE)["spec"]["clusterIP"]
    token = make_token(cluster, namespace=namespace, account="caller")
    return Address(service, 443, ssl.create_default_context(cadata=bundle), token, f"{namespace}/{NAME}")
