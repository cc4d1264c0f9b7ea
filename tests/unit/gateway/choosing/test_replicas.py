"""What is read of pods and nodes: whatever is not plainly said is empty."""

import json
from typing import Any

import pytest

from sekisho.gateway.choosing.replicas import Held, read_proofs, read_replica
from sekisho.render.workload import render_template
from tests.unit.gateway.house import build_pod, build_service
from tests.unit.render.blueprints import build_blueprint

DIGEST = f"sha256:{'a' * 64}"


def build(**how: Any) -> Any:
    return read_replica(build_pod(build_service(), port=8080, **how))


def test_a_pod_is_read_as_operator_depot_and_kubelet_leave_it() -> None:
    replica = build(address="fd00:0::7")
    assert (replica.namespace, replica.name, replica.service) == (
        "legal", "contract-review-predictor-0", "contract-review"
    )  # fmt: skip
    assert (replica.address, replica.port, replica.site) == ("fd00::7", 8080, "closed")
    assert (replica.class_label, replica.ready, replica.ended) == ("confidential.gdpr", True, False)
    assert replica.proven_at > 1_700_000_000
    assert (replica.attested, replica.released) == (None, None)


def test_a_pod_of_the_template_that_the_operator_renders_says_all_but_its_address() -> None:
    blueprint = build_blueprint()
    template = render_template(blueprint)
    replica = read_replica({"metadata": {**template["metadata"], "namespace": "legal"}, "spec": template["spec"]})
    assert (replica.service, replica.site, replica.class_label) == ("review", "tokyo-closed", "confidential.gdpr")
    assert replica.port == blueprint.runtime.port


def test_an_object_without_anything_is_read_as_nothing() -> None:
    replica = read_replica({})
    assert (replica.uid, replica.address, replica.port, replica.site, replica.class_label) == ("", "", 0, "", "")
    assert (replica.ready, replica.proven_at) == (False, 0.0)


@pytest.mark.parametrize("address", ["", "evil.example", "10.0.0.1:80", "10.0.0.1/x", "127.1"])
def test_only_an_ip_address_is_an_address(address: str) -> None:
    assert build(address=address).address == ""


@pytest.mark.parametrize(
    "ports",
    [None, [], [{"name": "other", "containerPort": 1}], [{"name": "http", "containerPort": "80"}],
     [{"name": "http", "containerPort": 65536}], [{"name": "http", "containerPort": 1}] * 2],
)  # fmt: skip
def test_only_one_port_that_is_called_http_is_the_port(ports: Any) -> None:
    pod = build_pod(build_service(), port=1)
    pod["spec"]["containers"][0]["ports"] = ports
    assert read_replica(pod).port == 0


@pytest.mark.parametrize("proof", [
    None, {"status": "False", "lastProbeTime": "2026-11-29T12:00:00Z"}, {"status": "True"},
    {"status": "True", "lastProbeTime": "soon"},
])  # fmt: skip
def test_a_proof_that_is_not_good_or_has_no_time_is_none(proof: Any) -> None:
    assert build(conditions={"sekisho.dev/isolated": proof}).proven_at == 0.0


def test_a_pod_that_is_being_deleted_has_ended() -> None:
    pod = build_pod(build_service(), port=1)
    pod["metadata"]["deletionTimestamp"] = "2026-11-29T12:00:00Z"
    assert read_replica(pod).ended


@pytest.mark.parametrize(
    ("condition", "held"),
    [
        ({"status": "True", "message": json.dumps({"leaseEndsAt": "2027-01-15T08:00:00Z", "evidenceDigest": DIGEST})},
         Held(1_800_000_000.0, DIGEST)),
        ({"status": "True", "message": json.dumps({"leaseEndsAt": "2027-01-15T08:00:00Z", "evidenceDigest": "x"})},
         Held(1_800_000_000.0)),
        ({"status": "True", "message": json.dumps({"leaseEndsAt": "later"})}, Held(0.0)),
        ({"status": "True", "message": "[]"}, Held(0.0)),
        ({"status": "True", "message": "ok"}, Held(0.0)),
        ({"status": "True", "message": "[" * 9999}, Held(0.0)),
        ({"status": "True"}, Held(0.0)),
        ({"status": "Unknown", "message": json.dumps({"leaseEndsAt": "2027-01-15T08:00:00Z"})}, Held(0.0)),
    ],
)  # fmt: skip
def test_what_the_broker_says_holds_only_until_when_it_says(condition: Any, held: Held) -> None:
    replica = build(conditions={"sekisho.dev/attested": condition, "sekisho.dev/key-released": condition})
    assert replica.attested == replica.released == held


def test_proofs_of_a_node_are_seconds_below_the_prefix_that_kubelets_cannot_write() -> None:
    prefix = "sekisho.node-restriction.kubernetes.io/"
    labels = {
        f"{prefix}tdx-attested-at": "1800000000", f"{prefix}tpm-attested-at": "soon", f"{prefix}other": "1",
        f"{prefix}snp-attested-at": "1" * 13, "sekisho.dev/tdx-attested-at": "1800000000",
    }  # fmt: skip
    assert read_proofs({"metadata": {"labels": labels}}) == {"tdx": 1_800_000_000}
    assert read_proofs({}) == {}
