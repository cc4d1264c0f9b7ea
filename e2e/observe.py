"""What tests look at on a cluster beside conditions: pods, children, writes, numbers, and the engine itself."""

import json
import time
from collections.abc import Callable
from typing import Any, TypeVar

from e2e.cluster.audit import Request
from e2e.cluster.netns import Place
from e2e.cluster.patience import PATIENCE_SECONDS
from e2e.cluster.provider import Cluster
from e2e.cluster.reading import reader_of
from e2e.installation import NAMESPACE

CONTROLLER = f"system:serviceaccount:{NAMESPACE}:sekisho-controller"
SERVICE_LABEL = "sekisho.dev/service"
BUSYBOX = "/bin/busybox"
T = TypeVar("T")


def wait_for(look: Callable[[], T | None], what: str, *, seconds: float = PATIENCE_SECONDS, pause: float = 0.5) -> T:
    """Look again and again until what is seen is true, and return it.

    Raises:
        TimeoutError: It never was within `seconds`; the message shows what was seen last.
    """
    deadline = time.monotonic() + seconds
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:.0f} s: {what}; last seen: {seen!r}")
        time.sleep(pause)


def read_all(
    cluster: Cluster, kind: str, *, namespace: str = "", labels: str = "", fields: str = ""
) -> list[dict[str, Any]]:
    """Return the objects of a kind that labels and fields select."""
    return reader_of(cluster.kubeconfig).list(kind, namespace=namespace, labels=labels, fields=fields)


def pods_of(cluster: Cluster, name: str, *, namespace: str) -> list[dict[str, Any]]:
    """Return the pods of a service, by name."""
    pods = read_all(cluster, "pods", namespace=namespace, labels=f"{SERVICE_LABEL}={name}")
    return sorted(pods, key=lambda pod: str(pod["metadata"]["name"]))


def condition_of(pod: dict[str, Any], kind: str) -> dict[str, Any]:
    """Return a condition of a pod; empty where it has none of that type."""
    found = (item for item in pod["status"].get("conditions", []) if item["type"] == kind)
    condition: dict[str, Any] = next(found, {})
    return condition


def lives_of(pods: list[dict[str, Any]]) -> dict[str, tuple[str, dict[str, int]]]:
    """Return of each pod its uid and how often each container was restarted: what must not change."""
    lives = {}
    for pod in pods:
        status = pod["status"]
        states = [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]
        lives[pod["metadata"]["name"]] = (
            pod["metadata"]["uid"],
            {state["name"]: state["restartCount"] for state in states},
        )
    return lives


def list_labelled(cluster: Cluster, name: str, *, namespace: str) -> list[str]:
    """Return everything in the namespace, of whatever kind, that carries the service's label."""
    kinds = cluster.kubectl("api-resources", "--namespaced", "--verbs=list,delete", "-o", "name").split()
    found = cluster.kubectl(
        "get", ",".join(kinds), "-n", namespace, "-l", f"{SERVICE_LABEL}={name}", "-o", "name", "--ignore-not-found"
    )
    return sorted(found.split())


def writes_of_controller(cluster: Cluster, since: int, *, namespaces: tuple[str, ...] = ()) -> list[Request]:
    """Return the controller's writes but for its lease, optionally those into some namespaces alone."""
    return [
        request
        for request in cluster.audit.writes(since, user=CONTROLLER)
        if request.resource != "leases.coordination.k8s.io" and (not namespaces or request.namespace in namespaces)
    ]


def fetch(place: Place, port: int, path: str, *, post: dict[str, Any] | None = None) -> str:
    """Ask something that listens in a pod, from within the pod's own network."""
    body = () if post is None else (f"--post-data={json.dumps(post)}", "--header=Content-Type: application/json")
    return place.run("timeout", "240", BUSYBOX, "wget", "-q", "-O", "-", *body, f"http://127.0.0.1:{port}{path}")


def ask_engine(cluster: Cluster, pod: str, *, namespace: str) -> str:
    """Ask the engine of a pod one question, past the gateway: from within the pod's own network."""
    return ask_engine_at(cluster.pod_place(namespace, pod))


def ask_engine_at(place: Place) -> str:
    """Ask the engine in a pod's network one question."""
    question = {"messages": [{"role": "user", "content": "Say something."}], "max_tokens": 8, "temperature": 0}
    answer = json.loads(fetch(place, 8080, "/v1/chat/completions", post=question))
    return str(answer["choices"][0]["message"]["content"])


def read_numbers(cluster: Cluster, pod: str, metric: str) -> dict[str, float]:
    """Return the values of a metric of a process of ours, by their labels."""
    text = fetch(cluster.pod_place(NAMESPACE, pod), 8080, "/metrics")
    numbers = {}
    for line in text.splitlines():
        name, _, rest = line.partition("{")
        if name.split(" ")[0] in (metric, f"{metric}_total"):
            labels, _, value = rest.rpartition("} ") if rest else ("", "", line.rpartition(" ")[2])
            numbers[labels] = float(value)
    return numbers


def find_pod(cluster: Cluster, component: str) -> str:
    """Return the running pod of one of our processes, as soon as there is one."""
    labels = f"app.kubernetes.io/component={component}"

    def look() -> str:
        pods = read_all(cluster, "pods", namespace=NAMESPACE, labels=labels, fields="status.phase=Running")
        names = (str(pod["metadata"]["name"]) for pod in pods if not pod["metadata"].get("deletionTimestamp"))
        return next(names, "")

    return wait_for(look, f"a {component} that runs")


def kill_process(cluster: Cluster, pod: dict[str, Any]) -> None:
    """Kill the process of a pod's only container from its node, as the kernel would.

    Raises:
        ClusterError: Its node knows of no such process any more.
    """
    task = str(pod["status"]["containerStatuses"][0]["containerID"]).partition("://")[2]
    cluster.place(pod["spec"]["nodeName"]).run("ctr", "-n", "k8s.io", "tasks", "kill", "-s", "SIGKILL", task)


def tell_story(cluster: Cluster, name: str, *, namespace: str) -> str:
    """Return what explains a service's pods: how containers ended, events, the last lines of their agents."""
    lines = []
    for pod in pods_of(cluster, name, namespace=namespace):
        found = pod["metadata"]["name"]
        lines += [
            f"{found} {state['name']}: {state['restartCount']} restarts, before: {state['lastState']}"
            for state in pod["status"].get("containerStatuses", [])
        ]
        lines.append(cluster.kubectl("logs", found, "-n", namespace, "-c", "agent", "--tail=40", check=False))
    lines.append(cluster.kubectl("get", "events", "-n", namespace, "--sort-by=.lastTimestamp"))
    return "\n".join(lines)
