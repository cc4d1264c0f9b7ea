"""What the real API server makes of the CRDs: it takes them, refuses what is wrong in words, and fills in defaults."""

import uuid
from pathlib import Path
from string import Template
from typing import Any

import pytest
import yaml

from e2e.cluster.local import LocalCluster
from sekisho.api.names import API_VERSION
from sekisho.api.v1alpha1 import KINDS
from tests.integration.api.conftest import REPOSITORY
from tests.integration.api.server import MERGE, ApiServer, locate, wait_until
from tests.unit.api.cases import BAD, GOOD, Bad, manifest

SPECS = {kind["kind"]: kind["spec"] for kind in KINDS}
PLACEHOLDERS = {"MODEL_URI": GOOD["Model"]["storageUri"]}
EXAMPLES = sorted(
    [*(REPOSITORY / "examples").rglob("*.yaml"), *(REPOSITORY / "inference-images").glob("*/runtime*.yaml")]
)


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_a_bad_object_is_refused_in_words(bad: Bad, server: ApiServer, namespace: str) -> None:
    answer = server.create(manifest(bad.kind, bad.spec, namespace=namespace), dry_run=True)
    assert answer.status == 422
    assert bad.server in answer.message


@pytest.mark.parametrize("kind", GOOD)
def test_an_unknown_field_is_refused_where_it_is_applied(kind: str, server: ApiServer, namespace: str) -> None:
    answer = server.create(manifest(kind, {**GOOD[kind], "podSpec": {}}, namespace=namespace), dry_run=True)
    assert answer.status == 400
    assert 'unknown field "spec.podSpec"' in answer.message


def test_a_second_policy_is_refused(server: ApiServer) -> None:
    second = manifest("ClassificationPolicy", GOOD["ClassificationPolicy"])
    second["metadata"]["name"] = "other"
    answer = server.create(second, dry_run=True)
    assert answer.status == 422
    assert "the policy that rules the cluster is named default; no other is read" in answer.message


@pytest.mark.parametrize(
    ("kind", "name", "most"),
    [
        ("InferenceService", "a" * 51, 50), ("InferenceService", "a.b", 50), ("InferenceService", "1a", 50),
        ("Model", "a" * 64, 63), ("Site", "a.b", 63), ("Runtime", "a.b", 63), ("EvidencePolicy", "a.b", 63),
        ("KeyReleasePolicy", "a" * 64, 63), ("DataGrant", "1a", 63), ("AccessPolicy", "a" * 64, 63),
    ],
)  # fmt: skip
def test_a_name_that_children_cannot_carry_is_refused(
    kind: str, name: str, most: int, server: ApiServer, namespace: str
) -> None:
    answer = server.create(manifest(kind, GOOD[kind], name=name, namespace=namespace), dry_run=True)
    assert answer.status == 422
    assert f"the name must be at most {most} of a-z, 0-9 and -" in answer.message


@pytest.mark.parametrize("kind", GOOD)
def test_a_good_object_is_taken_and_reads_back_into_its_model(kind: str, server: ApiServer, namespace: str) -> None:
    fresh = manifest(kind, GOOD[kind], name=f"n{uuid.uuid4().hex[:10]}", namespace=namespace)
    stored = server.must(server.create(fresh, dry_run=True)).body
    definition = next(item for item in KINDS if item["kind"] == kind)
    assert definition["spec"].model_validate(stored["spec"]) == definition["spec"].model_validate(fresh["spec"])
    assert stored["status"]["observedGeneration"] == -1


@pytest.mark.parametrize("kind", GOOD)
def test_a_status_is_written_only_through_its_subresource(kind: str, server: ApiServer, namespace: str) -> None:
    name = f"n{uuid.uuid4().hex[:10]}"
    item = manifest(kind, GOOD[kind], name=name, namespace=namespace)
    server.must(server.create({**item, "status": {"observedGeneration": 7}}))
    try:
        assert server.get(item).body["status"]["observedGeneration"] == -1
        condition = {
            "type": "Ready", "status": "True", "reason": "Ready", "lastTransitionTime": "2026-01-01T00:00:00Z",
        }  # fmt: skip
        patch = {"status": {"observedGeneration": 1, "conditions": [condition]}}
        answer = server.request("PATCH", f"{locate(item)}/status", patch, content_type=MERGE)
        stored = server.must(answer).body["status"]
        assert stored["observedGeneration"] == 1
        assert stored["conditions"][0] == {**condition, "message": "", "observedGeneration": -1}
    finally:
        server.delete(item)


def test_defaults_that_say_something_are_filled_in(server: ApiServer, namespace: str) -> None:
    runtime = server.must(server.create(manifest("Runtime", GOOD["Runtime"]), dry_run=True)).body["spec"]
    assert runtime["port"] == 8080
    assert runtime["probes"] == {"healthPath": "/health", "startupSeconds": 600}
    service = manifest("InferenceService", GOOD["InferenceService"], namespace=namespace)
    stored = server.must(server.create(service, dry_run=True)).body["spec"]
    assert stored["predictor"] == {"minReplicas": 1, "idleSeconds": 600, "model": {"modelRef": {"name": "small"}}}
    release = manifest("KeyReleasePolicy", GOOD["KeyReleasePolicy"], namespace=namespace)
    granted = server.must(server.create(release, dry_run=True)).body["spec"]
    assert (granted["leaseSeconds"], granted["suspended"]) == (900, False)
    assert granted["evidence"] == {"policy": "genoa", "maxAgeSeconds": 300}


def test_a_field_can_be_explained(server: ApiServer, control_plane: LocalCluster) -> None:
    # The server writes its OpenAPI document after it serves a resource: who comes at once reads the old one.
    resource = f"/apis/{API_VERSION}/namespaces/{{namespace}}/inferenceservices"
    wait_until(
        lambda: resource in server.request("GET", f"/openapi/v3/apis/{API_VERSION}").body.get("paths", {}),
        what="the OpenAPI document of our group",
    )
    text = control_plane.kubectl("explain", "inferenceservice.spec.predictor.minReplicas")
    assert "Replicas that always run." in text


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_an_example_is_taken_by_the_server_and_read_by_the_models(
    path: Path, server: ApiServer, namespace: str
) -> None:
    text = Template(path.read_text()).substitute(PLACEHOLDERS)
    documents: list[dict[str, Any]] = [item for item in yaml.load_all(text, Loader=yaml.CSafeLoader) if item]
    assert documents, "an example holds at least one object"
    for document in documents:
        if "namespace" in document["metadata"]:
            document["metadata"]["namespace"] = namespace
        if document["apiVersion"] == API_VERSION:
            SPECS[document["kind"]].model_validate(document["spec"])
        answer = server.create(document, dry_run=True)
        # Another test, or the server, may already have an object of the name: it was valid enough to be compared.
        assert answer.ok or answer.status == 409, f"{document['kind']} {document['metadata']['name']}: {answer.message}"
