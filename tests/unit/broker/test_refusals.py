"""Everything that gets no key, each with its reason: evidence, pod, isolation, grants, key service."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from sekisho.attest.binding import Binding
from sekisho.errors import Reason, UnavailableError
from sekisho.kms import failures
from tests.unit.broker.parts import NAMESPACE, Agent, World, refuse
from tests.unit.broker.release_cases import (
    IMAGE,
    build_evidence,
    build_law,
    build_owner,
    build_rules,
    build_site,
    build_tenant,
)
from tests.unit.fuzz import flip_last

Spoil = Callable[[World, Agent], object]


def _image_of_node(world: World, value: str) -> None:
    world.pod()["status"]["containerStatuses"][0]["imageID"] = value


OTHER = "sha256:" + "9" * 64


def _bind(**changes: Any) -> Callable[[Binding], Binding]:
    return lambda binding: replace(binding, **changes)


def _grants(**changes: Any) -> Spoil:
    return lambda world, _agent: setattr(world, "rules", build_rules(**changes))


REFUSALS: dict[str, tuple[Spoil, Reason, str]] = {
    # evidence that was made for something else
    "another nonce": (
        lambda _w, a: setattr(a, "bind", _bind(nonce=bytes(32))),
        Reason.EVIDENCE_NOT_BOUND,
        "not made for",
    ),
    "another key": (
        lambda _w, a: setattr(a, "bind", _bind(public_key=bytes(32))),
        Reason.EVIDENCE_NOT_BOUND,
        "not made for",
    ),
    "another pod": (lambda _w, a: setattr(a, "bind", _bind(pod="x")), Reason.EVIDENCE_NOT_BOUND, "not made for"),
    "another uid": (lambda _w, a: setattr(a, "bind", _bind(uid="x")), Reason.EVIDENCE_NOT_BOUND, "not made for"),
    "another namespace": (
        lambda _w, a: setattr(a, "bind", _bind(namespace="x")),
        Reason.EVIDENCE_NOT_BOUND,
        "not made for",
    ),
    "another purpose": (
        lambda _w, a: setattr(a, "bind", _bind(purpose="renew")),
        Reason.EVIDENCE_NOT_BOUND,
        "not made for",
    ),
    "another policy": (
        lambda _w, a: setattr(a, "bind", _bind(policy_digest="x")),
        Reason.EVIDENCE_NOT_BOUND,
        "not made for",
    ),
    "another proof of isolation": (
        lambda _w, a: setattr(a, "bind", _bind(isolation_digest="x")),
        Reason.EVIDENCE_NOT_BOUND,
        "not made for",
    ),
    "another question": (
        lambda _w, a: setattr(a, "bind", _bind(question_digest="x")),
        Reason.EVIDENCE_NOT_BOUND,
        "not made for",
    ),
    # who signed
    "a machine nobody made": (lambda w, _a: w.maker.machines.clear(), Reason.EVIDENCE_UNTRUSTED, "no machine of ours"),
    "a debug guest": (lambda w, _a: setattr(w.machine, "debug", True), Reason.DEBUG_ENABLED, "debug"),
    "other code": (lambda w, _a: setattr(w.machine, "measurement", b"\x99" * 48), Reason.MEASUREMENT_UNKNOWN, "99"),
    "a measurement of nothing": (
        lambda w, _a: setattr(w.machine, "measurement", bytes(48)),
        Reason.MEASUREMENT_UNKNOWN,
        "zero",
    ),
    "another chip": (lambda w, _a: setattr(w.machine, "chip", b"\x01" * 64), Reason.CHIP_UNKNOWN, "01"),
    # the pod
    "another image on the node": (
        lambda w, _a: _image_of_node(w, f"r.test/engine@{OTHER}"),
        Reason.WORKLOAD_MISMATCH,
        f"the node runs {OTHER}",
    ),
    "an image of which the node tells no digest": (
        lambda w, _a: _image_of_node(w, OTHER),
        Reason.WORKLOAD_MISMATCH,
        "tells no digest",
    ),
    "an image by tag that has not started": (
        lambda w, _a: w.pod()["spec"]["containers"][0].update(image="r.test/engine:1"),
        Reason.WORKLOAD_MISMATCH,
        "by a tag",
    ),
    "an edited template": (
        lambda w, _a: w.pod()["spec"]["containers"][0].update(args=["--dump"]),
        Reason.WORKLOAD_MISMATCH,
        "the operator made",
    ),
    "a debug container": (
        lambda w, _a: w.pod()["spec"].update(ephemeralContainers=[{"name": "x"}]),
        Reason.WORKLOAD_MISMATCH,
        "debug container",
    ),
    "no published template": (
        lambda w, _a: w.service().update(status={}),
        Reason.WORKLOAD_MISMATCH,
        "the operator made none",
    ),
    "a pod of nobody": (
        lambda w, _a: w.pod()["metadata"].pop("ownerReferences"),
        Reason.WORKLOAD_MISMATCH,
        "controlled by nothing",
    ),
    "a ReplicaSet that is gone": (
        lambda w, _a: w.api.objects.pop(("replicasets", NAMESPACE, "chat-predictor-x")),
        Reason.WORKLOAD_MISMATCH,
        "ReplicaSet legal/chat-predictor-x, which made the pod, does not exist",
    ),
    "a Deployment of the same name": (
        lambda w, _a: w.api.objects["deployments", NAMESPACE, "chat-predictor"]["metadata"].update(uid="d-2"),
        Reason.WORKLOAD_MISMATCH,
        "does not exist any more",
    ),
    "a Deployment of somebody": (
        lambda w, _a: w.api.objects["deployments", NAMESPACE, "chat-predictor"]["metadata"].update(ownerReferences=[]),
        Reason.WORKLOAD_MISMATCH,
        "Deployment legal/chat-predictor is controlled by nothing",
    ),
    "an InferenceService of the same name": (
        lambda w, _a: w.service()["metadata"].update(uid="is-2"),
        Reason.WORKLOAD_MISMATCH,
        "which is not the one called chat",
    ),
    "an InferenceService that ends": (
        lambda w, _a: w.service()["metadata"].update(deletionTimestamp="now"),
        Reason.WORKLOAD_MISMATCH,
        "being deleted",
    ),
    "a node that is gone": (
        lambda w, _a: w.api.objects.pop(("nodes", "", "tk-1")),
        Reason.WORKLOAD_MISMATCH,
        "node tk-1, which does not exist",
    ),
    "a node of another site": (
        lambda w, _a: w.api.objects["nodes", "", "tk-1"]["metadata"].update(labels={}),
        Reason.WORKLOAD_MISMATCH,
        'does not have the labels of site "tokyo"',
    ),
    "no list of canaries": (
        lambda w, _a: w.api.objects.pop(("configmaps", NAMESPACE, "chat-predictor")),
        Reason.INVALID_SPEC,
        "no agent.json",
    ),
    # isolation
    "a leak": (lambda _w, a: setattr(a, "outcome", "reached"), Reason.ISOLATION_LEAK, "node"),
    "an old proof": (
        lambda _w, a: setattr(a, "proof_age", 120.0),
        Reason.ISOLATION_PROOF_STALE,
        "120 s old, 90 s allowed",
    ),
    "a proof that misses something": (
        lambda _w, a: setattr(a, "outcome", "error"),
        Reason.ISOLATION_PROOF_INCOMPLETE,
        "could not be tried",
    ),
    "a pod the depot does not vouch for": (
        lambda w, _a: w.pod()["status"]["conditions"].clear(),
        Reason.ISOLATION_NOT_PROVEN,
        "does not vouch",
    ),
    # grants
    "another model": (lambda _w, a: a.question.update(model="legal/other"), Reason.RELEASE_NOT_GRANTED, "legal/other"),
    "an old version": (lambda _w, a: a.question.update(version=6), Reason.VERSION_ROLLED_BACK, "version 6"),
    "a higher class": (
        lambda _w, a: a.question.update({"class": "restricted"}),
        Reason.CLASS_MISMATCH,
        "sealed for class restricted",
    ),
    "another manifest": (
        _grants(owners=(build_owner(model={"name": "legal/reviewer", "digest": OTHER}),)),
        Reason.DIGEST_MISMATCH,
        OTHER,
    ),
    "an image the owner does not list": (
        _grants(owners=(build_owner(workloads=[{"namespace": "legal", "service": "chat", "images": [IMAGE]}]),)),
        Reason.WORKLOAD_MISMATCH,
        "images does not list",
    ),
    "an image the tenant does not list": (
        _grants(tenants=(build_tenant(images=[IMAGE]),)),
        Reason.WORKLOAD_MISMATCH,
        "images does not list",
    ),
    "another site": (_grants(owners=(build_owner(sites=["osaka"]),)), Reason.SITE_NOT_SELECTED, "osaka"),
    "another jurisdiction": (
        _grants(sites={"tokyo": build_site(jurisdiction="US")}),
        Reason.JURISDICTION_NOT_ALLOWED,
        "US",
    ),
    "users beyond the owner's": (
        lambda w, _a: w.service()["spec"].update(users=["group:legal", "group:audit"]),
        Reason.NOT_ALLOWED,
        "group:audit",
    ),
    "nobody's users": (lambda w, _a: w.service()["spec"].update(users=[]), Reason.NOT_ALLOWED, "names nobody"),
    "no tenant": (_grants(tenants=()), Reason.RELEASE_NOT_GRANTED, "no DataGrant"),
    "an owner's policy that ended": (
        _grants(owners=(build_owner(expiresAt="2026-11-29T11:59:59Z"),)),
        Reason.GRANT_EXPIRED,
        "it ended at",
    ),
    "a suspended grant": (_grants(tenants=(build_tenant(suspended=True),)), Reason.GRANT_SUSPENDED, "suspended"),
    "a key of another owner": (_grants(law=build_law(keyOwners=[])), Reason.KEY_NOT_OWNED, "not to namespace owners"),
    "an old version of the key": (
        _grants(owners=(build_owner(key={"kms": "openbao", "keyId": "transit/legal", "minVersion": 5}),)),
        Reason.KEY_VERSION_REVOKED,
        "key.minVersion is 5",
    ),
    "a lower security version": (
        _grants(evidence={"genoa": build_evidence(minimumTcb=[{"component": "microcode", "version": 85}])}),
        Reason.TCB_TOO_OLD,
        "85",
    ),
    "no law": (_grants(law=None), Reason.POLICY_MISSING, "no ClassificationPolicy"),
    # the key service
    "a wrapped key of something else": (
        lambda w, _a: setattr(w, "wrapped", replace(w.wrapped, wrapped=flip_last(w.wrapped.wrapped))),
        Reason.KEY_MISMATCH,
        "does not fit",
    ),
    "a key version below the service's own minimum": (
        lambda w, _a: setattr(w.vault, "least", 5),
        Reason.KEY_VERSION_REVOKED,
        "5 is the minimum",
    ),
    "a disabled key": (
        lambda w, _a: setattr(w.vault, "trouble", failures.disabled("openbao", "transit/legal", "x")),
        Reason.KEY_DISABLED,
        "does not use the key",
    ),
    "a key service that denies us": (
        lambda w, _a: setattr(w.vault, "trouble", failures.denied("openbao", "transit/legal", "y")),
        Reason.KEY_DENIED,
        "denied us",
    ),
    "a key service that is down": (
        lambda w, _a: setattr(w.vault, "trouble", failures.unavailable("openbao", "none")),
        Reason.KMS_UNAVAILABLE,
        "none",
    ),
    # knowledge
    "grants that are not known well enough": (
        lambda w, _a: setattr(w, "rules_trouble", UnavailableError(Reason.API_UNAVAILABLE, "31 s old, 30 s allowed")),
        Reason.API_UNAVAILABLE,
        "31 s old",
    ),
    "an API server that denies us": (
        lambda w, _a: setattr(w.api, "denies", True),
        Reason.API_UNAVAILABLE,
        "the broker is refused",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
async def test_whatever_does_not_hold_releases_nothing_and_says_why(case: str) -> None:
    world = World()
    agent = Agent(world)
    spoil, reason, message = REFUSALS[case]
    spoil(world, agent)
    error = await refuse(world, agent)
    assert error.reason is reason, error.message
    assert message in error.message
    assert world.vault.unwrapped == 0
