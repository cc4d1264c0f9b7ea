"""Changing and deleting services."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from e2e.calls import ask, gateway_open, make_token
from e2e.installation import Installation
from e2e.lifecycle.conftest import small_spec, wait_gateway
from e2e.observe import list_labelled, lives_of, pods_of, wait_for
from e2e.quickstart import Quickstart
from e2e.services import API

KINDS = ("configmap", "deployment.apps", "networkpolicy.networking.k8s.io", "pod", "poddisruptionbudget.policy",
         "replicaset.apps", "service", "serviceaccount")  # fmt: skip

REFUSED = re.compile(r"[45]\d\d ")


def test_a_deleted_service_leaves_nothing(quickstart: Quickstart, installation: Installation, namespace: str) -> None:
    cluster = installation.cluster
    quickstart.serve("brief", namespace=namespace, spec=small_spec(quickstart))
    installation.wait_condition("brief", "Ready", "True", namespace=namespace)
    found = {item.partition("/")[0] for item in list_labelled(cluster, "brief", namespace=namespace)}
    assert set(KINDS) <= found, "the list below proves nothing if it does not see what is there"

    cluster.kubectl("delete", "inferenceservice", "brief", "-n", namespace)
    wait_for(lambda: not list_labelled(cluster, "brief", namespace=namespace), "nothing is left")
    assert "brief" not in cluster.kubectl("get", "inferenceservices,networkpolicies,configmaps", "-n", namespace)


def test_more_replicas_come_beside_the_running_one(
    quickstart: Quickstart, installation: Installation, namespace: str
) -> None:
    cluster, closed = installation.cluster, {"placement": {"sites": ["tokyo-closed"]}}
    quickstart.serve("growing", namespace=namespace, spec=small_spec(quickstart) | closed)
    installation.wait_condition("growing", "Ready", "True", namespace=namespace)
    first = lives_of(pods_of(cluster, "growing", namespace=namespace))

    spec = small_spec(quickstart, minReplicas=2, maxReplicas=2) | closed
    quickstart.serve("growing", namespace=namespace, spec=spec)
    wait_for(lambda: _summary(installation, "growing", namespace) == "2/2", "two replicas are ready")
    condition = installation.wait_condition("growing", "Ready", "True", namespace=namespace)
    assert condition["reason"] == "Ready"
    second = lives_of(pods_of(cluster, "growing", namespace=namespace))
    assert len(second) == 2
    assert first.items() <= second.items(), "the first pod was touched"
    budget = installation.get("poddisruptionbudget", "growing-predictor", namespace=namespace)
    assert budget["spec"]["minAvailable"] == 1

    with caller_of(installation, "growing", namespace) as ask_growing:
        wait_for(lambda: not REFUSED.match(ask_growing()), "the caller's rights have arrived")
        cluster.kubectl("delete", "pod", min(second), "-n", namespace, "--wait=false")
        answers = [ask_growing() for _ in range(12)]
    assert not [answer for answer in answers if REFUSED.match(answer)], "the other replica was there"

    quickstart.serve("growing", namespace=namespace, spec=small_spec(quickstart, minReplicas=0) | closed)
    installation.wait_condition("growing", "Ready", "True", namespace=namespace, reason="ScaledToZero")
    wait_for(lambda: not pods_of(cluster, "growing", namespace=namespace), "the pods are gone")
    assert installation.get("networkpolicy", "growing-predictor", namespace=namespace)


@contextmanager
def caller_of(installation: Installation, name: str, namespace: str) -> Iterator[Callable[[], str]]:
    """Let the namespace's default account ask a service of class internal; yield what asks once."""
    cluster = installation.cluster
    role, group = f"use-{namespace}", API.partition("/")[0]
    rules = [
        {"apiGroups": [group], "resources": ["inferenceservices"], "resourceNames": [name], "verbs": ["use"]},
        {"apiGroups": [group], "resources": ["classificationlevels"], "resourceNames": ["internal"], "verbs": ["use"]},
    ]
    rbac = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": role}}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}
    subject = {"kind": "ServiceAccount", "name": "default", "namespace": namespace}
    installation.apply(json.dumps({**rbac, "kind": "ClusterRole", "rules": rules}))
    installation.apply(json.dumps({**rbac, "kind": "ClusterRoleBinding", "roleRef": reference, "subjects": [subject]}))
    token = make_token(cluster, namespace=namespace, account="default")
    try:
        wait_gateway(installation)
        with gateway_open(cluster) as address:
            yield lambda: ask(address, token, model=f"{namespace}/{name}", question="Say one word.")
    finally:
        cluster.kubectl("delete", "clusterrole,clusterrolebinding", role)


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
    wait_for(lambda: _spec(installation, "networkpolicy", namespace) == policy, "the policy is back")
    wait_for(lambda: _spec(installation, "service", namespace), "the Service is back")
    wait_for(lambda: _spec(installation, "poddisruptionbudget", namespace), "the budget is back")
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
