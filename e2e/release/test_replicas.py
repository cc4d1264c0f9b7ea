"""The broker's replicas die one by one under load: no request of an admitted pod fails, and leases go on."""

import threading
import time
from typing import Any

from e2e.installation import NAMESPACE
from e2e.observe import ask_engine_at, condition_of, lives_of, pods_of, read_all, wait_for
from e2e.release.conftest import LEASE_SECONDS, Grounds, grant
from e2e.release.test_release import serve

COMPONENT = "app.kubernetes.io/component=broker"


def test_no_request_fails_while_the_brokers_replicas_are_killed_one_by_one(grounds: Grounds, closed: str) -> None:
    installation, cluster = grounds.installation, grounds.installation.cluster
    grant(grounds, closed, "busy")
    serve(grounds, closed, "busy", node=grounds.nodes[0])
    installation.wait_condition("busy", "Ready", "True", namespace=closed)
    pods = pods_of(cluster, "busy", namespace=closed)
    name = pods[0]["metadata"]["name"]
    place = cluster.pod_place(closed, name)
    over, failures, answers = threading.Event(), [], []

    def ask() -> None:
        while not over.is_set():
            try:
                answers.append(ask_engine_at(place))
            except Exception as error:  # noqa: BLE001 - whatever it is, a request failed
                failures.append(repr(error))
            time.sleep(0.5)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    began = time.monotonic()
    for pod in read_all(cluster, "pods", namespace=NAMESPACE, labels=COMPONENT):
        cluster.kubectl("delete", "pod", pod["metadata"]["name"], "-n", NAMESPACE, "--grace-period=0", "--force")
        wait_for(lambda: count_ready(grounds) >= 2, "two replicas of the broker")
    time.sleep(max(0.0, began + 1.5 * LEASE_SECONDS - time.monotonic()))  # what held when it began has ended
    wait_for(lambda: failures or len(answers) > 20, "enough answers to tell")
    over.set()
    for thread in threads:
        thread.join()
    said = cluster.kubectl("logs", name, "-n", closed, "-c", "agent", "--tail=20", check=False)
    assert not failures, f"{len(failures)} requests failed, the first: {failures[0]}\nthe agent: {said}"
    after = pods_of(cluster, "busy", namespace=closed)
    assert lives_of(after) == lives_of(pods)
    wait_for(lambda: holds_key(grounds, closed), "the pod holds its key")
    installation.wait_condition("busy", "Ready", "True", namespace=closed)


def holds_key(grounds: Grounds, namespace: str) -> bool:
    (pod,) = pods_of(grounds.installation.cluster, "busy", namespace=namespace)
    return bool(condition_of(pod, "sekisho.dev/key-released").get("status") == "True")


def count_ready(grounds: Grounds) -> int:
    pods: list[dict[str, Any]] = read_all(grounds.installation.cluster, "pods", namespace=NAMESPACE, labels=COMPONENT)
    return sum(condition_of(pod, "Ready").get("status") == "True" for pod in pods)
