"""What owner and tenant grant: each check refuses in its own words, in the written order."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from sekisho.broker.decide import ReleaseFacts, decide_release
from sekisho.broker.grants import OWNER_CHECKS, TENANT_CHECKS, Case, judge_owner, judge_tenant
from sekisho.classify.lattice import Lattice
from sekisho.errors import Reason, RefusedError
from tests.unit.attest.claims import NOW
from tests.unit.broker.release_cases import (
    AGENT,
    IMAGE,
    MANIFEST,
    QUESTION,
    WORKLOAD,
    build_facts,
    build_law,
    build_owner,
    build_rules,
    build_tenant,
)

OTHER = "sha256:" + "e" * 64
KEY = {"kms": "openbao", "keyId": "transit/legal"}
LAW = build_law()
LATTICE = Lattice.of(LAW)


def build_case(*, question: Mapping[str, Any] | None = None, **workload: Any) -> Case:
    pod = replace(WORKLOAD, **workload)
    cleared = LATTICE.resolve_label(pod.service_class, source="test")
    return Case(replace(QUESTION, **(question or {})), pod, LATTICE, LAW.key_owners, cleared, NOW)


def refuse(facts: ReleaseFacts) -> tuple[Reason, str]:
    with pytest.raises(RefusedError) as refused:
        decide_release(facts)
    return refused.value.reason, refused.value.message


def at_most(level: str, *compartments: str) -> dict[str, Any]:
    return {"atMost": {"level": level, "compartments": list(compartments)}}


def workloads(*images: str) -> list[dict[str, Any]]:
    return [{"namespace": "legal", "service": "chat", "images": list(images)}]


# In the order in which they are judged.
OWNER: dict[str, tuple[dict[str, Any], Reason, str]] = {
    "another service": (
        {"workloads": [{"namespace": "legal", "service": "other", "images": [IMAGE]}]}, Reason.RELEASE_NOT_GRANTED,
        "workloads does not name legal/chat; its owner adds it",
    ),
    "another model": (
        {"model": {"name": "legal/other", "minVersion": 1}}, Reason.RELEASE_NOT_GRANTED,
        'it is about model "legal/other", asked for is "legal/reviewer"',
    ),
    "another key service": (
        {"key": {"kms": "aws", "keyId": "transit/legal"}}, Reason.RELEASE_NOT_GRANTED,
        "it is about key aws:transit/legal, the model is sealed under openbao:transit/legal",
    ),
    "another key": (
        {"key": {"kms": "openbao", "keyId": "transit/web"}}, Reason.RELEASE_NOT_GRANTED,
        "it is about key openbao:transit/web, the model is sealed under openbao:transit/legal",
    ),
    "a key of somebody else's": (
        {"namespace": "strangers"}, Reason.KEY_NOT_OWNED,
        "keyOwners of the ClassificationPolicy gives key openbao:transit/legal not to namespace strangers",
    ),
    "a suspended grant": (
        {"suspended": True}, Reason.GRANT_SUSPENDED, "it is suspended; set suspended to false to put it in force",
    ),
    "a grant that ends now": (
        {"expiresAt": "2026-11-29T12:00:00Z"}, Reason.GRANT_EXPIRED,
        "it ended at 2026-11-29T12:00:00Z, now is 2026-11-29T12:00:00Z; set a later expiresAt",
    ),
    "another manifest": (
        {"model": {"name": "legal/reviewer", "digest": OTHER}}, Reason.DIGEST_MISMATCH,
        (
            f"model.digest is {OTHER}, the pod holds manifest {MANIFEST}; its owner names that one, or the pod is to "
            "serve the other"
        ),
    ),
    "an older version of the model": (
        {"model": {"name": "legal/reviewer", "minVersion": 8}}, Reason.VERSION_ROLLED_BACK,
        "model.minVersion is 8, the pod holds version 7; serve a newer one",
    ),
    "an older version of a model whose manifest fits": (
        {"model": {"name": "legal/reviewer", "digest": MANIFEST, "minVersion": 8}}, Reason.VERSION_ROLLED_BACK,
        "model.minVersion is 8, the pod holds version 7; serve a newer one",
    ),
    "an older version of the key": (
        {"key": {**KEY, "minVersion": 5}}, Reason.KEY_VERSION_REVOKED,
        "key.minVersion is 5, the data key was wrapped under version 4; wrap it anew (`sekisho rewrap`)",
    ),
    "an image that is not listed": (
        {"workloads": workloads(IMAGE)}, Reason.WORKLOAD_MISMATCH,
        f"images does not list {AGENT}, which pod chat-predictor-1 runs",
    ),
    "images that are not listed": (
        {"workloads": workloads(OTHER)}, Reason.WORKLOAD_MISMATCH,
        f"images does not list {IMAGE} and 1 more, which pod chat-predictor-1 runs",
    ),
    "images that are listed for another service": (
        {"workloads": [*workloads(IMAGE), {"namespace": "web", "service": "chat", "images": [AGENT]}]},
        Reason.WORKLOAD_MISMATCH, f"images does not list {AGENT}, which pod chat-predictor-1 runs",
    ),
    "a higher class": (
        {"classes": at_most("internal", "gdpr")}, Reason.CLASS_ABOVE_CEILING,
        "classes.atMost is internal+gdpr, legal/chat is confidential+gdpr",
    ),
    "another compartment": (
        {"classes": at_most("restricted", "gpu")}, Reason.CLASS_ABOVE_CEILING,
        "classes.atMost is restricted+gpu, legal/chat is confidential+gdpr",
    ),
    "a highest class that the law does not know": (
        {"classes": at_most("secret")}, Reason.UNKNOWN_LEVEL,
        'classes.atMost asks for level "secret"; the policy knows public, internal, confidential, restricted',
    ),
    "another site": (
        {"sites": ["osaka", "kyoto"]}, Reason.SITE_NOT_SELECTED, "sites is osaka, kyoto, the pod runs at tokyo",
    ),
    "other users": (
        {"users": ["group:web"]}, Reason.NOT_ALLOWED,
        "users does not name group:legal, whom spec.users of legal/chat names",
    ),
}  # fmt: skip
TENANT: dict[str, tuple[dict[str, Any], Reason, str]] = {
    "another service": (
        {"services": ["other"]}, Reason.RELEASE_NOT_GRANTED, "it is not about legal/chat",
    ),
    "another namespace": ({"namespace": "web"}, Reason.RELEASE_NOT_GRANTED, "it is not about legal/chat"),
    "another model": (
        {"models": [{"owner": "owners", "name": "legal/other"}]}, Reason.RELEASE_NOT_GRANTED,
        'models does not name "legal/reviewer" of owner owners',
    ),
    "a model of that name of another owner": (
        {"models": [{"owner": "strangers", "name": "legal/reviewer"}]}, Reason.RELEASE_NOT_GRANTED,
        'models does not name "legal/reviewer" of owner owners',
    ),
    "a suspended grant": (
        {"suspended": True}, Reason.GRANT_SUSPENDED, "it is suspended; set suspended to false to put it in force",
    ),
    "a grant that has ended": (
        {"expiresAt": "2026-11-29T11:59:59Z"}, Reason.GRANT_EXPIRED,
        "it ended at 2026-11-29T11:59:59Z, now is 2026-11-29T12:00:00Z; set a later expiresAt",
    ),
    "an image that is not listed": (
        {"images": [AGENT]}, Reason.WORKLOAD_MISMATCH,
        f"images does not list {IMAGE}, which pod chat-predictor-1 runs",
    ),
    "a higher class": (
        {"classes": at_most("confidential")}, Reason.CLASS_ABOVE_CEILING,
        "classes.atMost is confidential, legal/chat is confidential+gdpr",
    ),
    "another site": ({"sites": ["osaka"]}, Reason.SITE_NOT_SELECTED, "sites is osaka, the pod runs at tokyo"),
    "other users": (
        {"users": ["group:audit"]}, Reason.NOT_ALLOWED,
        "users does not name group:legal, whom spec.users of legal/chat names",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "reason", "message"), OWNER.values(), ids=OWNER)
def test_the_owners_side_refuses(changes: dict[str, Any], reason: Reason, message: str) -> None:
    owner = build_owner(**changes)
    found = judge_owner(owner, build_case())
    assert found is not None
    told = f"KeyReleasePolicy {owner.full_name}: {message}"
    assert (found.rejection.reason, found.rejection.detail) == (reason, told)
    if "other" not in str(changes.get("workloads", "")):
        assert refuse(build_facts(rules=build_rules(owners=(owner,)))) == (reason, told)


@pytest.mark.parametrize(("changes", "reason", "message"), TENANT.values(), ids=TENANT)
def test_the_tenants_side_refuses(changes: dict[str, Any], reason: Reason, message: str) -> None:
    tenant = build_tenant(**changes)
    found = judge_tenant(tenant, build_owner(), build_case())
    assert found is not None
    told = f"DataGrant {tenant.full_name}: {message}"
    assert (found.rejection.reason, found.rejection.detail) == (reason, told)
    if message != "it is not about legal/chat":
        assert refuse(build_facts(rules=build_rules(tenants=(tenant,)))) == (reason, told)


def test_the_order_of_refusals_is_written() -> None:
    owners = [judge_owner(build_owner(**changes), build_case()) for changes, _, _ in OWNER.values()]
    tenants = [judge_tenant(build_tenant(**item), build_owner(), build_case()) for item, _, _ in TENANT.values()]
    for found, checks in ((owners, OWNER_CHECKS), (tenants, TENANT_CHECKS)):
        held = [item.held for item in found if item is not None]
        assert held == sorted(held)
        assert set(held) == set(range(len(checks)))


@pytest.mark.parametrize(
    ("side", "changes"),
    [
        ("owner", {}),
        ("owner", {"model": {"name": "legal/reviewer", "digest": MANIFEST}}),
        ("owner", {"model": {"name": "legal/reviewer", "minVersion": 7}}),
        ("owner", {"key": {**KEY, "minVersion": 4}}),
        ("owner", {"expiresAt": "2026-11-29T12:00:01Z"}),
        ("owner", {"classes": at_most("confidential", "gdpr")}),
        ("tenant", {}),
        ("tenant", {"sites": ["osaka", "tokyo"]}),
        ("tenant", {"expiresAt": "2026-11-29T12:00:01Z"}),
        ("tenant", {"classes": at_most("confidential", "gdpr", "gpu")}),
    ],
)
def test_what_just_fits_is_granted(side: str, changes: dict[str, Any]) -> None:
    if side == "owner":
        assert judge_owner(build_owner(**changes), build_case()) is None
    else:
        assert judge_tenant(build_tenant(**changes), build_owner(), build_case()) is None


def test_a_policy_for_one_manifest_takes_it_whatever_its_version() -> None:
    owner = build_owner(model={"name": "legal/reviewer", "digest": MANIFEST})
    assert judge_owner(owner, build_case(question={"version": 1})) is None


def test_a_key_version_that_is_no_number_is_left_to_the_key_service() -> None:
    for version in ("a1b2", "", "٤", "-1"):
        case = build_case(question={"key_version": version})
        assert judge_owner(build_owner(key={**KEY, "minVersion": 9}), case) is None
    assert judge_owner(build_owner(key={**KEY, "minVersion": 9}), build_case(question={"key_version": "9"})) is None


def test_many_users_are_told_within_bounds() -> None:
    case = build_case(users=frozenset(f"group:g{number}" for number in range(5)))
    found = judge_owner(build_owner(), case)
    assert found is not None
    assert found.rejection.detail.endswith(
        "users does not name group:g0, group:g1, group:g2 and 2 more, whom spec.users of legal/chat names"
    )
    three = judge_owner(build_owner(), build_case(users=frozenset({"group:a", "group:b", "group:c", "group:legal"})))
    assert three is not None
    assert "users does not name group:a, group:b, group:c, whom" in three.rejection.detail


def test_a_grant_ends_when_its_time_comes_and_not_before() -> None:
    rules = build_rules(owners=(build_owner(expiresAt="2026-11-29T12:00:02Z"),))
    facts = build_facts(rules=rules)
    assert decide_release(facts).lease_seconds == 2
    assert refuse(replace(facts, now=NOW + timedelta(seconds=2)))[0] == Reason.GRANT_EXPIRED
