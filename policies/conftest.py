"""A control plane of its own: admission policies hold for the whole cluster, and other tests must not meet them."""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e.cluster.local import LocalCluster
from e2e.cluster.provider import Options
from policies.example import SENTINEL, ask_sentinel
from tests.integration.api.server import ApiServer, connect, install_crds, wait_until

HERE = Path(__file__).parent
CLASSES = HERE / "classes.yaml"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.nodeid.startswith("policies/"):
            item.add_marker(pytest.mark.integration)


@pytest.fixture(scope="package")
def control_plane() -> Iterator[LocalCluster]:
    keep = "SEKISHO_KEEP_CLUSTER" in os.environ
    name = "kept-policies" if keep else f"policies-{os.getpid()}"
    cluster = LocalCluster(Options(name=name, control_plane_only=True, audit_level="off", keep=keep))
    if keep:
        if not cluster.is_running():
            cluster.start()
        yield cluster
        return
    with cluster:
        yield cluster


@pytest.fixture(scope="package")
def server(control_plane: LocalCluster) -> Iterator[ApiServer]:
    """The API server with the CRDs, a ClassificationPolicy, and every admission policy in force."""
    with connect(control_plane.kubeconfig) as api_server:
        install_crds(api_server, HERE.parent / "crds")
        api_server.must(api_server.apply(yaml.safe_load(CLASSES.read_text())))
        for document in [*yaml.safe_load_all((HERE / "editors.yaml").read_text()), *policy_documents()]:
            api_server.must(api_server.apply(document))
        _await_enforcement(api_server)
        yield api_server


@pytest.fixture
def room(server: ApiServer) -> Iterator[str]:
    """A fresh namespace without a class, deleted afterwards."""
    name = f"t-{uuid.uuid4().hex[:10]}"
    server.must(server.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}))
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": name}}
    wait_until(lambda: server.get(account).ok, what="the namespace's default service account")
    yield name
    server.request("DELETE", f"/api/v1/namespaces/{name}")


def policy_documents() -> list[dict[str, Any]]:
    """Read the admission policies and bindings of every topic."""
    paths = sorted(HERE.glob("*/policy.yaml"))
    return [document for path in paths for document in yaml.load_all(path.read_text(), Loader=yaml.CSafeLoader)]


def _await_enforcement(server: ApiServer) -> None:
    """Wait until policies hold: the API server takes them up all at once, the last one last, and parameters later."""
    for document in _sentinel():
        server.must(server.apply(document))
    wait_until(lambda: "the sentinel" in ask_sentinel(server, "default"), what="policies to hold")
    unknown = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "x"}}
    unknown["metadata"] |= {"labels": {"sekisho.dev/classification": "nobody-knows"}}  # type: ignore[operator]
    wait_until(lambda: "the policy knows" in server.create(unknown, dry_run=True).message, what="parameters")


def _sentinel() -> Iterator[dict[str, Any]]:
    base = {"apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": SENTINEL}}
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}
    yield {
        **base,
        "kind": "ValidatingAdmissionPolicy",
        "spec": {
            "matchConstraints": {"resourceRules": [rule]},
            "validations": [
                {
                    "expression": f"object.metadata.name != '{SENTINEL}'",
                    "messageExpression": "'the sentinel sees <' + "
                    "namespaceObject.metadata.?labels[?'sekisho.dev/classification'].orValue('') + '>'",
                }
            ],
        },
    }
    yield {
        **base,
        "kind": "ValidatingAdmissionPolicyBinding",
        "spec": {"policyName": SENTINEL, "validationActions": ["Deny"]},
    }
