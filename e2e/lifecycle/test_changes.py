"""Changing and deleting services."""

import json
from typing import Any

from e2e.installation import Installation
from e2e.lifecycle.conftest import small_spec
from e2e.observe import list_labelled, lives_of, pods_of, wait_for
from e2e.quickstart import Quickstart

KINDS = ("configmap", "deployment.apps", "networkpolicy.networking.k8s.io", "pod", "poddisruptionbudget.policy",
         "replicaset.apps", "service", "serviceaccount")  # fmt: skip


def test_a_deleted_service_leaves_nothing(quickstart: Quickstart, installation: Installation, namespace: str) -> None:
    cluster = installation.cluster
    quickstart.serve("brief", namespace=namespace, spec=small_spec(quickstart))
    installation.wait_condition("brief", "Ready", "True", namespace=namespace)
    found = {item.partition("/")[0] for item in list_labelled(cluster, "brief", namespace=namespace)}
    assert set(KINDS) <= found, "the list below proves nothing if it does not see what is there"

    cluster.kubectl("delete", "inferenceservice", "brief", "-n", namespace)
    wait_for(lambda: not list_labelled(cluster, "brief", namespace=namespace), "nothing is left", seconds=240)
    assert "brief" not in cluster.kubectl("get", "inferenceservices,networkpolicies,configmaps", "-n", namespace)


def test_more_replicas_come_beside_the_running_one(
    quickstart: Quickstart, installation: Installation, namespace: str
) -> None:
    cluster = installation.cluster
    quickstart.serve("growing", namespace=namespace, spec=small_spec(quickstart))
    installation.wait_condition("growing", "Ready", "True", namespace=namespace)
    first = lives_of(pods_of(cluster, "growing", namespace=namespace))

    quickstart.serve("growing", namespace=namespace, spec=small_spec(quickstart, minReplicas=2, maxReplicas=2))
    wait_for(lambda: _summary(installation, "growing", namespace) == "2/2", "two replicas are ready", seconds=240)
    condition = installation.wait_condition("growing", "Ready", "True", namespace=namespace)
    assert condition["reason"] == "Ready"
    second = lives_of(pods_of(cluster, "growing", namespace=namespace))
    assert len(second) == 2
    assert first.items() <= second.items(), "the first pod was touched"
    budget = installation.get("poddisruptionbudget", "growing-predictor", namespace=namespace)
    assert budget["spec"]["minAvailable"] == 1

    quickstart.serve("growing", namespace=namespace, spec=small_spec(quickstart, minReplicas=0))
    installation.wait_condition("growing", "Ready", "True", namespace=namespace, reason="ScaledToZero", seconds=240)
    wait_for(lambda: not pods_of(cluster, "growing", namespace=namespace), "the pods are gone", seconds=240)
    assert installation.get("networkpolicy", "growing-predictor", namespace=namespace)


def test_what_others_change_or_delete_is_put_back(
    quickstart: Quickstart, installation: Installation, namespace: str
) -> None:
    cluster = installation.cluster
    quickstart.serve("steady", namespace=namespace, spec=small_spec(quickstart))
    installation.wait_condition("steady", "Ready", "True", namespace=namespace)
    before = lives_of(pods_of(cluster, "steady", namespace=namespace))
    policy = _spec(installation, "networkpolicy", namespace)

    # As the cluster's administrator, whom only this namespace's missing class lets through.
    cluster.kubectl("delete", "networkpolicy", "steady-predictor", "-n", namespace, check=False)
    cluster.kubectl("delete", "service", "steady-predictor", "-n", namespace, check=False)
    cluster.kubectl("delete", "poddisruptionbudget", "steady-predictor", "-n", namespace, check=False)
    wait_for(lambda: _spec(installation, "networkpolicy", namespace) == policy, "the policy is back", seconds=120)
    wait_for(lambda: _spec(installation, "service", namespace), "the Service is back", seconds=120)
    wait_for(lambda: _spec(installation, "poddisruptionbudget", namespace), "the budget is back", seconds=120)
    installation.wait_condition("steady", "Ready", "True", namespace=namespace)
    assert lives_of(pods_of(cluster, "steady", namespace=namespace)) == before


def _summary(installation: Installation, name: str, namespace: str) -> str:
    status = installation.get("inferenceservice", name, namespace=namespace).get("status", {})
    return str(status.get("replicas", {}).get("summary", ""))


def _spec(installation: Installation, kind: str, namespace: str) -> dict[str, Any]:
    found = installation.cluster.kubectl(
        "get", kind, "steady-predictor", "-n", namespace, "-o", "json", "--ignore-not-found"
    )
    if not found:
        return {}
    spec: dict[str, Any] = json.loads(found)["spec"]
    return spec
