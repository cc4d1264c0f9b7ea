"""A key is released to the pod that was granted it, on the node that has proven itself, and to nothing like it."""

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import pytest

from e2e.cluster.errors import ClusterError
from e2e.cluster.local import LocalCluster
from e2e.cluster.patience import TIMEOUT
from e2e.installation import NAMESPACE
from e2e.observe import ask_engine, condition_of, pods_of, wait_for
from e2e.release.conftest import CALLER, LEASE_SECONDS, Grounds, grant
from e2e.services import model_object, small_service

AGENT = ("-c", "agent", "-i", "--", "/usr/bin/python3.11", "-")

# Run in an agent's container: asks the broker as the agent would, with one thing that is not as it must be.
ATTEMPT = """
import json, os, sys
from pathlib import Path
from sekisho.agent.config import read_config
from sekisho.agent.loop import Agent, AgentPaths
from sekisho.agent.probe import find_own_node, probe_canaries
from sekisho.agent.release import KeyRequest, parse_request
from sekisho.agent.state import AgentState
from sekisho.attest.isolation import IsolationProof, encode_proof
from sekisho.errors import SekishoError
import time
facts = json.loads({facts!r})
paths = AgentPaths()
if facts.get("token"):
    Path("/tmp/stolen").write_text(facts["token"])
    paths = AgentPaths(release_token=Path("/tmp/stolen"))
pod = tuple(facts.get("as_pod") or (os.environ["POD_NAME"], os.environ["POD_UID"]))
agent = Agent(paths=paths, state=AgentState(), host_ip=os.environ["HOST_IP"], pod=pod)
agent.config = config = read_config(paths.config, host_ip=agent.host_ip)
results = probe_canaries(config.canaries, own_node=find_own_node(agent.host_ip))
agent.state.keep_proof(encode_proof(IsolationProof(time.time(), results)))
broker = agent.broker()
if facts.get("replay"):
    class Old:
        def __init__(self, inner): self.kinds, self.inner, self.kept = inner.kinds, inner, None
        def collect(self, binding):
            self.kept = self.kept or self.inner.collect(binding)
            return self.kept
    import dataclasses
    broker = dataclasses.replace(broker, attesters=tuple(Old(item) for item in broker.attesters))
wanted = parse_request(facts["question"].encode())
for _ in range(2 if facts.get("replay") else 1):
    try:
        terms = broker.renew(wanted)
        print(json.dumps({{"granted": terms.seconds}}))
    except SekishoError as error:
        print(json.dumps({{"reason": error.reason, "message": error.message}}))
"""


def serve(grounds: Grounds, namespace: str, name: str, *, node: str = "") -> None:
    """Apply the model and a service of it, on one node where that is said."""
    pinned = {"nodeSelector": {"kubernetes.io/hostname": node}} if node else {}
    grounds.installation.apply(model_object(name, namespace, grounds.uri))
    grounds.installation.apply(
        small_service(name, namespace, {"modelRef": {"name": name}}, spec={"users": [CALLER]}, **pinned)
    )


def running_pod(grounds: Grounds, namespace: str, name: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        pods = [pod for pod in pods_of(grounds.installation.cluster, name, namespace=namespace) if is_up(pod)]
        return pods[0] if pods else None

    return wait_for(look, f"an agent of {name} that runs")


def is_up(pod: dict[str, Any]) -> bool:
    states = {item["name"]: item for item in pod["status"].get("initContainerStatuses", [])}
    return "running" in states.get("agent", {}).get("state", {})


def attempt(grounds: Grounds, namespace: str, pod: str, **facts: Any) -> list[dict[str, Any]]:
    """Ask the broker from within a pod's agent and return what each try came to."""
    code = ATTEMPT.format(facts=json.dumps(facts))
    text = grounds.installation.cluster.kubectl("exec", "-n", namespace, pod, *AGENT, stdin=code)
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def question_of(grounds: Grounds, namespace: str, pod: str) -> str:
    """Return the question that an agent renews its lease with; nothing in it is secret."""
    code = "print(open('/tmp/sekisho-lease.json').read())"
    text = grounds.installation.cluster.kubectl("exec", "-n", namespace, pod, *AGENT, stdin=code)
    return str(json.loads(text)["question"])


def test_a_pod_on_a_node_with_a_live_tpm_gets_its_key_and_serves(grounds: Grounds, closed: str) -> None:
    installation = grounds.installation
    grant(grounds, closed, "reviewer")
    serve(grounds, closed, "reviewer", node=grounds.nodes[0])
    installation.wait_condition("reviewer", "Ready", "True", namespace=closed)
    for kind in ("Attested", "KeyReleased"):
        installation.wait_condition("reviewer", kind, "True", namespace=closed)
    (pod,) = pods_of(installation.cluster, "reviewer", namespace=closed)
    assert ask_engine(installation.cluster, pod["metadata"]["name"], namespace=closed)
    for kind in ("sekisho.dev/attested", "sekisho.dev/key-released", "sekisho.dev/weights"):
        assert condition_of(pod, kind)["status"] == "True", kind


def test_the_same_pod_on_a_node_that_has_not_proven_itself_gets_nothing(grounds: Grounds, closed: str) -> None:
    installation = grounds.installation
    grant(grounds, closed, "elsewhere")
    serve(grounds, closed, "elsewhere", node=grounds.nodes[1])

    for kind in ("WeightsAvailable", "Attested", "KeyReleased"):  # its TPM is enrolled for no node
        installation.wait_condition("elsewhere", kind, "False", namespace=closed, reason="ChipUnknown")
    pod = running_pod(grounds, closed, "elsewhere")
    assert condition_of(pod, "sekisho.dev/key-released").get("status") != "True"
    assert condition_of(pod, "Ready").get("status") != "True"
    assert not any(state["started"] for state in pod["status"].get("containerStatuses", []))


def test_a_copied_token_and_a_replayed_quote_are_worth_nothing(grounds: Grounds, closed: str) -> None:
    installation, cluster = grounds.installation, grounds.installation.cluster
    assert isinstance(cluster, LocalCluster)
    grant(grounds, closed, "victim", "neighbour")
    for name in ("victim", "neighbour"):
        serve(grounds, closed, name, node=grounds.nodes[0])
        installation.wait_condition(name, "Ready", "True", namespace=closed)
    victim, neighbour = (running_pod(grounds, closed, name) for name in ("victim", "neighbour"))
    question = question_of(grounds, closed, victim["metadata"]["name"])
    (honest,) = attempt(grounds, closed, victim["metadata"]["name"], question=question)
    assert honest["granted"] <= LEASE_SECONDS, honest

    read = "print(open('/var/run/secrets/sekisho/release-token').read())"
    token = cluster.kubectl("exec", "-n", closed, victim["metadata"]["name"], *AGENT, stdin=read).strip()
    as_victim = [victim["metadata"]["name"], victim["metadata"]["uid"]]
    (copied,) = attempt(
        grounds, closed, neighbour["metadata"]["name"], question=question, token=token, as_pod=as_victim
    )
    assert copied["reason"] in {"PodNotKnown", "Unauthenticated", "WorkloadMismatch"}, copied

    first, second = attempt(grounds, closed, victim["metadata"]["name"], question=question, replay=True)
    assert "granted" in first
    assert second["reason"] == "EvidenceNotBound", second


def edit(grounds: Grounds, namespace: str) -> None:
    """Give the engine a variable that nobody rendered."""
    containers = [{"name": "engine", "env": [{"name": "X", "value": "y"}]}]
    patch = json.dumps({"spec": {"template": {"spec": {"containers": containers}}}})
    grounds.installation.cluster.kubectl(
        "patch", "deployment", "edited-predictor", "-n", namespace, "--type=strategic", "-p", patch
    )


def try_edit(grounds: Grounds, namespace: str) -> bool:
    try:
        edit(grounds, namespace)
    except ClusterError:
        return False
    return True


def scale_controller(grounds: Grounds, replicas: int) -> None:
    """Stop the controller, or start it, and wait until that is so: one that ends may still put back what it sees."""
    kubectl, where = grounds.installation.cluster.kubectl, ("-n", NAMESPACE, TIMEOUT)
    kubectl("scale", "deployment/sekisho-controller", "-n", NAMESPACE, f"--replicas={replicas}")
    if replicas:
        kubectl("rollout", "status", "deployment/sekisho-controller", *where)
    else:
        kubectl("wait", "--for=delete", "pod", "-l", "app.kubernetes.io/component=controller", *where)


@contextlib.contextmanager
def no_admission(grounds: Grounds) -> Iterator[None]:
    """Take away the first of the locks: that only the controller writes Deployments."""
    kubectl, name = grounds.installation.cluster.kubectl, "sekisho-pod-author-deployments"
    found = grounds.installation.get("validatingadmissionpolicybinding", name)
    kept = {key: found["metadata"][key] for key in ("name", "labels", "annotations") if key in found["metadata"]}
    kubectl("delete", "validatingadmissionpolicybinding", name)
    try:
        yield
    finally:
        kubectl("create", "-f", "-", stdin=json.dumps({**found, "metadata": kept}))


def test_an_edited_template_gets_nothing(grounds: Grounds, closed: str) -> None:
    installation, cluster = grounds.installation, grounds.installation.cluster
    grant(grounds, closed, "edited")
    serve(grounds, closed, "edited", node=grounds.nodes[0])
    installation.wait_condition("edited", "Ready", "True", namespace=closed)
    (before,) = pods_of(cluster, "edited", namespace=closed)
    with pytest.raises(ClusterError, match="may write a Deployment that carries"):
        edit(grounds, closed)
    scale_controller(grounds, 0)
    try:
        with no_admission(grounds):
            wait_for(lambda: try_edit(grounds, closed), "that admission lets the edit pass")

        def look() -> dict[str, Any] | None:
            pods = pods_of(cluster, "edited", namespace=closed)
            new = [pod for pod in pods if pod["metadata"]["uid"] != before["metadata"]["uid"]]
            told = condition_of(new[0], "sekisho.dev/key-released") if new else {}
            return told if told.get("status") == "False" else None

        told = wait_for(look, "a refusal of the edited pod")
        assert told["reason"] == "WorkloadMismatch", told
    finally:
        scale_controller(grounds, 1)


def test_a_grant_that_is_revoked_takes_the_key_back_within_the_lease(grounds: Grounds, closed: str) -> None:
    installation = grounds.installation
    grant(grounds, closed, "revoked")
    serve(grounds, closed, "revoked", node=grounds.nodes[0])
    installation.wait_condition("revoked", "Ready", "True", namespace=closed)
    grant(grounds, closed, "revoked", suspended=True)
    told = installation.wait_condition("revoked", "WeightsAvailable", "False", namespace=closed)
    assert told["reason"] in {"ReleaseNotGranted", "GrantSuspended", "KeyDenied"}, told
    installation.wait_condition("revoked", "Ready", "False", namespace=closed)
    grant(grounds, closed, "revoked")
    installation.wait_condition("revoked", "Ready", "True", namespace=closed)
