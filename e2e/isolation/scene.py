"""sekisho with attacking engines on it, and the pods of others around them."""

import json
from dataclasses import dataclass
from typing import Any

from e2e.cluster.images import TOOLS_IMAGE
from e2e.cluster.netns import Place
from e2e.cluster.patience import TIMEOUT
from e2e.cluster.provider import Cluster
from e2e.cluster.reading import reader_of
from e2e.installation import NAMESPACE, Installation
from e2e.isolation.attack import RUNTIME, Attempt, attack_from, read_attempts
from e2e.isolation.targets import FarEnds, Target
from e2e.observe import read_all, wait_for
from e2e.quickstart import Quickstart

Pod = dict[str, Any]
CTR = ("ctr", "--namespace", "k8s.io")


@dataclass(frozen=True, slots=True)
class Scene:
    """A cluster with sekisho, plain pods that reach everything, and targets.

    Attributes:
        namespace: Of the plain pods: `control-NODE` on each node, and `stranger`, which listens.
    """

    cluster: Cluster
    quickstart: Quickstart
    namespace: str
    targets: tuple[Target, ...]

    @property
    def installation(self) -> Installation:
        """The installation of sekisho."""
        return self.quickstart.installation

    def far_ends(self) -> FarEnds:
        """Return counters at the far ends of all targets."""
        return FarEnds(self.cluster, self.targets)

    def serve_attackers(self, name: str, *, namespace: str, replicas: int = 1) -> None:
        """Apply a service whose engine attacks every target from its first instruction."""
        model = {
            "modelFormat": {"name": "gguf"},
            "storageUri": self.quickstart.facts["MODEL_URI"],
            "runtime": RUNTIME,
        }
        spec = {"predictor": {"minReplicas": replicas, "maxReplicas": replicas, "model": model}}
        self.quickstart.serve(name, namespace=namespace, spec=spec)

    def wait_ready(self, name: str, *, namespace: str) -> list[Pod]:
        """Wait until a service is ready and return its pods."""
        self.installation.wait_condition(name, "Ready", "True", namespace=namespace)
        return self.pods(name, namespace=namespace)

    def pods(self, name: str, *, namespace: str) -> list[Pod]:
        """Return the pods of a service that are not on their way out."""
        selector = f"sekisho.dev/service={name}"
        found = read_all(self.cluster, "pods", namespace=namespace, labels=selector)
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def wait_pods(self, name: str, *, namespace: str, count: int, but: str = "") -> list[Pod]:
        """Wait until a service has that many ready pods and no other, none of them the one named, and return them."""

        def read() -> list[Pod]:
            pods = self.pods(name, namespace=namespace)
            fine = (
                len(pods) == count and all(map(is_ready, pods)) and but not in (pod["metadata"]["name"] for pod in pods)
            )
            return pods if fine else []

        found: list[Pod] = wait_for(read, f"{count} ready pods of {namespace}/{name}")
        return found

    def attack_from_engine(self, pod: Pod) -> list[Attempt]:
        """Attack every target once from a running engine."""
        metadata = pod["metadata"]
        return attack_from(
            self.cluster, metadata["namespace"], metadata["name"], targets=self.targets, container="engine"
        )

    def wait_attacked(self, pod: Pod) -> list[Attempt]:
        """Wait until the attack with which an engine began is over, and return what came of it."""
        metadata, wanted = pod["metadata"], 3 * len(self.targets)
        reader = reader_of(self.cluster.kubeconfig)

        def read() -> list[Attempt]:
            attempts = read_attempts(reader.log(metadata["name"], "engine", namespace=metadata["namespace"]))
            return attempts if len(attempts) == wanted else []

        found: list[Attempt] = wait_for(read, f"{metadata['name']} made its {wanted} attempts")
        return found

    def prove_controls(self, ends: FarEnds) -> None:
        """Show that plain pods, one on each node, reach by every protocol what the models must not."""
        for node in self.cluster.nodes:
            pod = f"control-{node.name}"
            attempts = attack_from(self.cluster, self.namespace, pod, targets=self.targets)
            assert len(attempts) == 3 * len(self.targets)
            assert ends.deaf(self.address(pod)) == [], f"{pod} does not reach everything, so nothing is proven"

    def address(self, pod: str, *, namespace: str = "") -> str:
        """Return the address of a pod, one of the scene's own unless a namespace is given."""
        return str(self.installation.get("pod", pod, namespace=namespace or self.namespace)["status"]["podIP"])

    def wait_gone(self, name: str, *, namespace: str) -> None:
        """Wait until no pod of a service is left, not even one on its way out."""
        selector = f"sekisho.dev/service={name}"
        self.cluster.kubectl("wait", "--for=delete", "pod", "-n", namespace, "-l", selector, TIMEOUT)

    def kill_container(self, pod: Pod, container: str) -> None:
        """Kill a container of a pod from its node, as running out of memory would."""
        identity = container_id(pod, container)
        self.cluster.place(pod["spec"]["nodeName"]).run(*CTR, "tasks", "kill", "--signal", "SIGKILL", identity)

    def kill_sandbox(self, pod: Pod) -> None:
        """Kill what holds the pod's network: its node makes a new one, and begins with the init containers again."""
        place = self.cluster.place(pod["spec"]["nodeName"])
        kind, uid = (
            'labels."io.cri-containerd.kind"==sandbox',
            f'labels."io.kubernetes.pod.uid"=={pod["metadata"]["uid"]}',
        )
        sandbox = place.run(*CTR, "containers", "ls", "-q", f"{kind},{uid}").split()[0]
        place.run(*CTR, "tasks", "kill", "--signal", "SIGKILL", sandbox)

    def process_id(self, pod: Pod, container: str) -> str:
        """Return the id of a container's process 1, as its node counts."""
        identity = container_id(pod, container)
        tasks = self.cluster.place(pod["spec"]["nodeName"]).run(*CTR, "tasks", "ls")
        return next(line.split()[1] for line in tasks.splitlines() if line.startswith(identity))

    def within(self, pod: Pod) -> Place:
        """Return the network of a pod, to be entered from its node with root's rights."""
        return self.cluster.pod_place(pod["metadata"]["namespace"], pod["metadata"]["name"])

    def scale_operator(self, replicas: int) -> None:
        """Stop the operator, or start it, and wait until that is so."""
        self.cluster.kubectl("scale", "deployment", "sekisho-controller", "-n", NAMESPACE, f"--replicas={replicas}")
        if replicas:
            self.cluster.kubectl("rollout", "status", "deployment/sekisho-controller", "-n", NAMESPACE, TIMEOUT)
            return
        selector = "app.kubernetes.io/component=controller"
        self.cluster.kubectl("wait", "--for=delete", "pod", "-n", NAMESPACE, "-l", selector, TIMEOUT)


def container_id(pod: Pod, container: str) -> str:
    """Return the id of a running container."""
    return str(container_status(pod, container)["containerID"]).removeprefix("containerd://")


def container_status(pod: Pod, container: str) -> dict[str, Any]:
    """Return what the kubelet says of a container, an init container too."""
    status = pod["status"]
    states = [*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())]
    found: dict[str, Any] = next(state for state in states if state["name"] == container)
    return found


def is_ready(pod: Pod) -> bool:
    """Tell whether requests may reach a pod."""
    conditions = pod["status"].get("conditions", ())
    return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)


def addresses(pods: list[Pod]) -> list[str]:
    """Return the addresses of pods."""
    return [pod["status"]["podIP"] for pod in pods]


def answered(attempts: list[Attempt]) -> list[Attempt]:
    """Return the attempts that were answered."""
    return [attempt for attempt in attempts if attempt.answers]


def render_tools_pod(
    name: str,
    *,
    namespace: str,
    args: list[str],
    node: str = "",
    labels: dict[str, str] | None = None,
    port: int = 0,
) -> str:
    """Render a pod of the tools image; it may ping as models' pods may, and is Ready once its `port` answers."""
    ready = {"readinessProbe": {"tcpSocket": {"port": port}, "periodSeconds": 1}} if port else {}
    return json.dumps({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": labels or {}},
        "spec": {
            "containers": [{"name": "tools", "image": TOOLS_IMAGE, "args": args, **ready}],
            "terminationGracePeriodSeconds": 0,
            "nodeSelector": {"kubernetes.io/hostname": node} if node else {},
        },
    })  # fmt: skip
