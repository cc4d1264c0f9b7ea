"""A sealed model that rests holds no key; woken by its user it gets one anew, and none where that was taken back."""

import ssl
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from e2e.calls import make_token
from e2e.cluster.local import LocalCluster
from e2e.gateway.caller import Address, Network, ask, may_use
from e2e.installation import NAMESPACE
from e2e.observe import condition_of, pods_of, wait_for
from e2e.release.conftest import Grounds, grant
from e2e.services import API, model_object, small_service

NAME, ACCOUNT, IDLE_SECONDS = "vaulted", "reader", 30
RBAC = "rbac.authorization.k8s.io"


@pytest.fixture
def reader(grounds: Grounds, closed: str) -> Iterator[Address]:
    """A sealed model that rests, granted to an account which may use it; the gateway as that account asks it."""
    installation, user = grounds.installation, f"serviceaccount:{closed}:{ACCOUNT}"
    grant(grounds, closed, NAME, users=(user,))
    installation.apply("---\n".join(yaml.safe_dump(item) for item in list_rights(closed)))
    installation.apply(model_object(NAME, closed, grounds.uri))
    pinned = {"kubernetes.io/hostname": grounds.nodes[0]}
    installation.apply(small_service(
        NAME, closed, {"modelRef": {"name": NAME}}, spec={"users": [user]}, nodeSelector=pinned, minReplicas=0,
        idleSeconds=IDLE_SECONDS,
    ))  # fmt: skip
    bundle = installation.get("configmap", "sekisho-ca", namespace=NAMESPACE)["data"]["ca.crt"]
    host = installation.get("service", "sekisho-gateway", namespace=NAMESPACE)["spec"]["clusterIP"]
    token = make_token(installation.cluster, namespace=closed, account=ACCOUNT)
    yield Address(host, 443, ssl.create_default_context(cadata=bundle), token, f"{closed}/{NAME}")
    installation.cluster.kubectl("delete", "clusterrole,clusterrolebinding", closed)


def list_rights(namespace: str) -> Iterator[dict[str, Any]]:
    """Yield an account and what lets it ask for the model and its class."""
    yield {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ACCOUNT, "namespace": namespace}}
    use = {"apiGroups": [API.partition("/")[0]], "verbs": ["use"]}
    named = {"inferenceservices": NAME, "classificationlevels": "internal", "compartments": "vault"}
    rules = [{**use, "resources": [kind], "resourceNames": [name]} for kind, name in named.items()]
    head = {"apiVersion": f"{RBAC}/v1", "metadata": {"name": namespace}}
    subject = {"kind": "ServiceAccount", "name": ACCOUNT, "namespace": namespace}
    yield {**head, "kind": "ClusterRole", "rules": rules}
    reference = {"apiGroup": RBAC, "kind": "ClusterRole", "name": namespace}
    yield {**head, "kind": "ClusterRoleBinding", "roleRef": reference, "subjects": [subject]}


def fall_asleep(grounds: Grounds, namespace: str) -> None:
    grounds.installation.wait_condition(NAME, "Ready", "True", namespace=namespace, reason="ScaledToZero")


def test_a_sealed_model_that_rests_gets_its_key_when_it_is_woken_and_none_once_that_was_taken_back(
    grounds: Grounds, closed: str, reader: Address
) -> None:
    installation, cluster = grounds.installation, grounds.installation.cluster
    assert isinstance(cluster, LocalCluster)
    fall_asleep(grounds, closed)
    assert installation.conditions(NAME, namespace=closed)["KeyReleased"]["status"] == "Unknown"
    with Network(cluster.local_nodes[0].netns) as network:
        wait_for(lambda: network.run(may_use, reader), "the reader's rights have arrived")
        answer = network.run(ask, reader, "Say one word.", stream=True)
        assert (answer.status, answer.whole, answer.error) == (200, True, {}), answer.text
        (pod,) = pods_of(cluster, NAME, namespace=closed)
        for kind in ("sekisho.dev/attested", "sekisho.dev/key-released", "sekisho.dev/weights"):
            assert condition_of(pod, kind)["status"] == "True", kind
        fall_asleep(grounds, closed)
        wait_for(lambda: not pods_of(cluster, NAME, namespace=closed), "the pod is gone, and its key")
        assert installation.conditions(NAME, namespace=closed)["KeyReleased"]["status"] == "Unknown"

        grant(grounds, closed, NAME, users=(f"serviceaccount:{closed}:{ACCOUNT}",), suspended=True)
        refused = network.run(ask, reader, "Say one word.")
        assert refused.status in (403, 503), refused.text
        assert "GrantSuspended" in refused.error["message"], refused.text
    fall_asleep(grounds, closed)
