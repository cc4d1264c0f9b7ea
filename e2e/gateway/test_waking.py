"""A model of which nothing runs while nobody asks: its user wakes it, nobody else does, and it falls asleep again."""

import ssl
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from e2e.calls import make_token
from e2e.cluster.local import LocalCluster
from e2e.cluster.namespaces import drop_namespace
from e2e.cluster.provider import Cluster
from e2e.gateway.caller import Address, Answer, Network, ask, may_use
from e2e.installation import NAMESPACE, ROOT, Installation, render_example
from e2e.observe import pods_of, wait_for
from e2e.quickstart import Quickstart
from e2e.services import API

PLACE, NAME, IDLE_SECONDS = "archive", "archive-search", 10
# No pod starts before the test has seen what a caller hears meanwhile.
NONE = {
    "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none", "namespace": PLACE},
    "spec": {"hard": {"pods": "0"}},
}  # fmt: skip


@pytest.fixture
def archive(quickstart: Quickstart, cluster: Cluster) -> Iterator[Installation]:
    """The example of a model that rests, which does so sooner, and an account that may use it."""
    installation = quickstart.installation
    installation.catch_up()
    wait_for(
        lambda: not cluster.kubectl("get", "namespace", PLACE, "--ignore-not-found"), "what a run before left ends"
    )
    text = render_example(ROOT / "examples" / "resting" / "archive.yaml", quickstart.facts)
    for item in yaml.safe_load_all(text):
        if item["kind"] == "InferenceService":
            item["spec"]["predictor"]["idleSeconds"] = IDLE_SECONDS
        installation.apply(yaml.safe_dump(item))
    for item in (*list_rights(), NONE):
        installation.apply(yaml.safe_dump(item))
    yield installation
    cluster.kubectl("delete", "clusterrole,clusterrolebinding", "use-archive")
    drop_namespace(cluster.kubeconfig, PLACE)


def list_rights() -> Iterator[dict[str, Any]]:
    """Yield an account and what lets it ask."""
    yield {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "reader", "namespace": PLACE}}
    use = {"apiGroups": [API.partition("/")[0]], "verbs": ["use"]}
    rules = [
        {**use, "resources": ["inferenceservices"], "resourceNames": [NAME]},
        {**use, "resources": ["classificationlevels"], "resourceNames": ["internal"]},
    ]
    rbac = "rbac.authorization.k8s.io"
    head = {"apiVersion": f"{rbac}/v1", "metadata": {"name": "use-archive"}}
    subject = {"kind": "ServiceAccount", "name": "reader", "namespace": PLACE}
    yield {**head, "kind": "ClusterRole", "rules": rules}
    yield {
        **head, "kind": "ClusterRoleBinding", "subjects": [subject],
        "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": "use-archive"},
    }  # fmt: skip


def address_of(installation: Installation, account: str) -> Address:
    """Return the gateway's Service as an account of the namespace asks it."""
    bundle = installation.get("configmap", "sekisho-ca", namespace=NAMESPACE)["data"]["ca.crt"]
    service = installation.get("service", "sekisho-gateway", namespace=NAMESPACE)["spec"]["clusterIP"]
    token = make_token(installation.cluster, namespace=PLACE, account=account)
    return Address(service, 443, ssl.create_default_context(cadata=bundle), token, f"{PLACE}/{NAME}")


def wake(network: Network, reader: Address, archive: Installation) -> Answer:
    """Ask, hear what is in the way of the first pod, take it away, and return the answer."""
    with network.streaming(reader, "Say one word.") as stream:
        while b"exceeded quota" not in stream.answer.body:
            network.run(stream.wait, 1)
        archive.cluster.kubectl("delete", "resourcequota", "none", "-n", PLACE)
        answer: Answer = network.run(stream.finish)
        return answer


def test_a_model_that_sleeps_is_woken_by_its_user_alone_and_falls_asleep_again(
    archive: Installation, cluster: Cluster
) -> None:
    assert isinstance(cluster, LocalCluster)
    asleep = archive.wait_condition(NAME, "Ready", "True", namespace=PLACE, reason="ScaledToZero")
    assert f"nobody has asked for {IDLE_SECONDS} s (idleSeconds): no pod runs" in asleep["message"]
    reader, stranger = address_of(archive, "reader"), address_of(archive, "default")
    with Network(cluster.local_nodes[0].netns) as network:
        wait_for(lambda: network.run(may_use, reader), "the reader's rights have arrived")
        refused = network.run(ask, stranger, "Wake up.", stream=True)
        assert (refused.status, refused.error["code"]) == (404, "model_unknown")
        assert "demand" not in archive.get("inferenceservice", NAME, namespace=PLACE)["status"]
        answer = wake(network, reader, archive)
    assert (answer.status, answer.whole) == (200, True), answer.text
    events = [item for item in answer.text.split("\n\n") if item]
    comments = [item for item in events if item.startswith(": ")]
    assert events[: len(comments)] == comments, "the answer begins once nothing is awaited any more"
    assert comments[-1].startswith(": sekisho-receipt: "), comments
    assert answer.receipt
    assert events[-1] == "data: [DONE]"
    demand = archive.get("inferenceservice", NAME, namespace=PLACE)["status"]["demand"]
    assert demand["by"].startswith("sekisho-gateway-")
    archive.wait_condition(NAME, "Ready", "True", namespace=PLACE, reason="ScaledToZero")
    wait_for(lambda: not pods_of(cluster, NAME, namespace=PLACE), "the pods are gone")
    assert archive.get("inferenceservice", NAME, namespace=PLACE)["status"]["replicas"]["summary"] == "0/0"
