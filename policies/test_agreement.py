"""The API server's rules and the operator's lattice say the same of every class: two spellings, one meaning."""

import itertools
import random
from collections.abc import Mapping
from typing import Any

import pytest
import yaml

from policies.conftest import CLASSES
from policies.example import classify_namespace, person
from sekisho.api.names import API_VERSION, CLASS_LABEL, SERVICE_LABEL
from sekisho.api.v1alpha1.classificationpolicy import ClassificationPolicySpec
from sekisho.classify.lattice import DataClass, Floor, Lattice, join_floors
from sekisho.classify.rules import rules_of
from tests.integration.api.server import ApiServer, locate

POLICY = ClassificationPolicySpec.model_validate(yaml.safe_load(CLASSES.read_text())["spec"])
LATTICE = Lattice.of(POLICY)
EVERY_CLASS = [
    LATTICE.resolve(level, held, source="test")
    for level in LATTICE.levels
    for count in range(len(LATTICE.compartments) + 1)
    for held in itertools.combinations(sorted(LATTICE.compartments), count)
]
REPLICA_SETS = person("system:serviceaccount:kube-system:replicaset-controller")
CASES_PER_ROOM = 40

Pair = tuple[DataClass | None, DataClass | None]  # what the label says, what the spec says


def service(room: str, pair: Pair) -> dict[str, Any]:
    label, spec = pair
    body: dict[str, Any] = {"predictor": {"model": {"modelRef": {"name": "small"}}}}
    if spec is not None:
        body["classification"] = {"level": spec.level, "compartments": sorted(spec.compartments)}
    labels = {} if label is None else {CLASS_LABEL: label.label()}
    metadata = {"name": "chat", "namespace": room, "labels": labels}
    return {"apiVersion": API_VERSION, "kind": "InferenceService", "metadata": metadata, "spec": body}


def joined(*floors: DataClass | None) -> DataClass:
    return join_floors(LATTICE, [Floor("test", value) for value in floors if value is not None])


@pytest.mark.parametrize("above", [None, LATTICE.resolve("internal", ["gdpr"], source="test")], ids=["bare", "classed"])
def test_an_edit_is_admitted_exactly_where_the_new_class_dominates_the_old(
    above: DataClass | None, server: ApiServer, room: str
) -> None:
    if above is not None:
        classify_namespace(server, room, above.label())
    choose = random.Random(20261125)  # noqa: S311 - the same cases every time
    outcomes = set()
    for _ in range(CASES_PER_ROOM):
        old, new = ((choose.choice([None, *EVERY_CLASS]), choose.choice([None, *EVERY_CLASS])) for _ in range(2))
        stored = server.must(server.create(service(room, old))).body
        body = {**service(room, new), "metadata": {**stored["metadata"], **service(room, new)["metadata"]}}
        answer = server.request("PUT", f"{locate(body)}?dryRun=All", body)
        server.must(server.delete(body))
        expected = joined(above, *new).dominates(joined(above, *old))
        assert answer.ok == expected, f"{old} to {new} below {above}: {answer.message}"
        assert answer.ok or "in place, not" in answer.message
        outcomes.add(expected)
    assert outcomes == {True, False}


def pod(room: str, held: DataClass, image: str) -> Mapping[str, Any]:
    labels = {SERVICE_LABEL: "chat", CLASS_LABEL: held.label()}
    spec = {"containers": [{"name": "engine", "image": image}], "automountServiceAccountToken": False}
    metadata = {"name": "chat-predictor-1", "namespace": room, "labels": labels}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


@pytest.mark.parametrize("held", EVERY_CLASS, ids=str)
def test_a_tag_is_admitted_exactly_where_the_rules_of_the_class_do_not_want_digests(
    held: DataClass, server: ApiServer, room: str
) -> None:
    tagged = server.create(pod(room, held, "registry.test/engine:1"), person=REPLICA_SETS, dry_run=True)
    assert tagged.ok != rules_of(POLICY, held).images_by_digest, tagged.message
    by_digest = f"registry.test/engine@sha256:{'a' * 64}"
    server.must(server.create(pod(room, held, by_digest), person=REPLICA_SETS, dry_run=True))
