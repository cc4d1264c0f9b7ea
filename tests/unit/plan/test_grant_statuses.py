"""The status of evidence policies, key release policies and data grants: what holds, for whom, and what is missing."""

from dataclasses import replace
from typing import Any

import pytest

from sekisho.api.times import format_time
from sekisho.api.v1alpha1.evidencepolicy import EvidencePolicySpec
from sekisho.errors import Reason
from sekisho.plan.datagrant import plan_datagrant
from sekisho.plan.evidencepolicy import plan_evidencepolicy
from sekisho.plan.keyreleasepolicy import plan_keyreleasepolicy
from sekisho.plan.matching import describe_partners
from sekisho.plan.world import ClusterObject, GrantObject, GrantWorld, Published
from tests.unit.api.cases import EVIDENCE, IMAGE, SNP
from tests.unit.plan.test_conditions import check_laws
from tests.unit.plan.test_users import BROKEN, KEYS, build_owner, build_tenant
from tests.unit.plan.worlds import NOW, build_policy, refused

SPEC = EvidencePolicySpec.model_validate(EVIDENCE)
POLICY = build_policy().model_validate({**build_policy().model_dump(by_alias=True, mode="json"), "keyOwners": KEYS})
GENOA = {"policy": "genoa"}


def build_grants(**changes: Any) -> GrantWorld:
    made = GrantWorld(
        policy=POLICY, evidence={"genoa": SPEC}, owners=(build_owner(),), tenants=(build_tenant(),), now_at=NOW
    )
    return replace(made, **changes)


def ready(told: Published) -> tuple[str, str, str]:
    check_laws(dict(told.status), 1)
    found = next(item for item in told.status["conditions"] if item["type"] == "Ready")
    return found["status"], found["reason"], found["message"]


OWNER_GAPS: dict[str, tuple[Any, dict[str, Any], Reason, str]] = {
    "a policy that cannot be read": (
        GrantObject("owners", "o", 1, BROKEN, {}), {}, Reason.INVALID_SPEC, "spec: x",
    ),
    "a suspended one": (
        build_owner(suspended=True), {}, Reason.GRANT_SUSPENDED,
        "it is suspended; set suspended to false to put it in force",
    ),
    "one that has ended": (
        build_owner(expiresAt=format_time(NOW)), {}, Reason.GRANT_EXPIRED,
        f"it ended at {format_time(NOW)}, now is {format_time(NOW)}",
    ),
    "no law": (build_owner(), {"policy": None}, Reason.POLICY_MISSING, "everything is refused; create it"),
    "a law that cannot be read": (
        build_owner(), {"policy": refused("InvalidSpec", "y")}, Reason.POLICY_INVALID, "cannot be used: y",
    ),
    "a highest class that nobody knows": (
        build_owner(classes={"atMost": {"level": "secret"}}), {}, Reason.UNKNOWN_LEVEL,
        'classes.atMost asks for level "secret"',
    ),
    "a key of somebody else's": (
        build_owner(namespace="strangers"), {}, Reason.KEY_NOT_OWNED,
        "gives key openbao:transit/legal not to namespace strangers, so the policy releases nothing",
    ),
    "an evidence policy that is not there": (
        build_owner(), {"evidence": {}}, Reason.POLICY_MISSING,
        'there is no EvidencePolicy "genoa" that can be read; create it or name another',
    ),
    "no tenant": (
        build_owner(), {"tenants": ()}, Reason.RELEASE_NOT_GRANTED,
        'which alone releases nothing: no DataGrant in force names model "legal/smollm2" for legal/review',
    ),
}  # fmt: skip


@pytest.mark.parametrize(("owner", "world", "reason", "message"), OWNER_GAPS.values(), ids=OWNER_GAPS)
def test_a_key_release_policy_that_releases_nothing_says_why(
    owner: Any, world: dict[str, Any], reason: Reason, message: str
) -> None:
    status, found, text = ready(plan_keyreleasepolicy(owner, build_grants(**world)))
    assert (status, found) == ("False", reason)
    assert message.removeprefix("spec: ") in text


NO_TENANT: dict[str, Any] = {
    "of another namespace": replace(build_tenant(), namespace="web"),
    "of another service": build_tenant(services=["other"]),
    "of another model": build_tenant(models=[{"owner": "owners", "name": "other"}]),
    "of another owner": build_tenant(models=[{"owner": "strangers", "name": "legal/smollm2"}]),
    "suspended": build_tenant(suspended=True),
    "unreadable": GrantObject("legal", "t", 1, BROKEN, {}),
}


@pytest.mark.parametrize("tenant", NO_TENANT.values(), ids=NO_TENANT)
def test_a_grant_that_is_not_in_force_or_about_something_else_is_no_partner(tenant: Any) -> None:
    world = build_grants(tenants=(tenant,))
    told = plan_keyreleasepolicy(build_owner(), world)
    assert ready(told)[1] == Reason.RELEASE_NOT_GRANTED
    assert told.status["services"] == []
    assert "summary" not in told.status
    if tenant.spec is not BROKEN:
        assert ready(plan_datagrant(tenant, build_grants(tenants=(tenant,))))[0] == "False"


def test_a_key_release_policy_lists_the_services_that_may_open_the_key() -> None:
    workloads = [{"namespace": "legal", "service": name, "images": [IMAGE]} for name in ("review", "chat", "other")]
    world = build_grants(tenants=(build_tenant("a"), build_tenant("b", services=["chat", "elsewhere"])))
    told = plan_keyreleasepolicy(build_owner(workloads=workloads), world)
    assert told.status["services"] == ["legal/chat", "legal/review"]
    assert told.status["summary"] == "legal/chat, legal/review"
    assert ready(told) == ("True", Reason.READY, "legal/chat, legal/review may open the key, given evidence")
    again = plan_keyreleasepolicy(replace(build_owner(workloads=workloads), status=told.status), world)
    assert (again.status, again.announcements) == (told.status, ())


def test_what_is_suspended_or_ended_waits_for_a_change_and_what_lacks_a_partner_for_others() -> None:
    for owner, kind in ((build_owner(suspended=True), "Stalled"), (build_owner(), "Reconciling")):
        told = plan_keyreleasepolicy(owner, build_grants(tenants=()))
        assert kind in [item["type"] for item in told.status["conditions"]]
    for tenant, kind in ((build_tenant(suspended=True), "Stalled"), (build_tenant(), "Reconciling")):
        told = plan_datagrant(tenant, build_grants(owners=()))
        assert kind in [item["type"] for item in told.status["conditions"]]


TENANT_GAPS: dict[str, tuple[Any, dict[str, Any], Reason, str]] = {
    "a grant that cannot be read": (GrantObject("legal", "t", 1, BROKEN, {}), {}, Reason.INVALID_SPEC, "x"),
    "a suspended one": (build_tenant(suspended=True), {}, Reason.GRANT_SUSPENDED, "it is suspended"),
    "one that has ended": (
        build_tenant(expiresAt="2020-01-01T00:00:00Z"), {}, Reason.GRANT_EXPIRED, "it ended at 2020-01-01T00:00:00Z",
    ),
    "no law": (build_tenant(), {"policy": None}, Reason.POLICY_MISSING, "everything is refused; create it"),
    "a highest class that nobody knows": (
        build_tenant(classes={"atMost": {"level": "internal", "compartments": ["x"]}}), {}, Reason.UNKNOWN_COMPARTMENT,
        'classes.atMost asks for compartment "x"',
    ),
    "an evidence policy that is not there": (
        build_tenant(evidence={"policy": "mine"}), {}, Reason.POLICY_MISSING, 'there is no EvidencePolicy "mine"',
    ),
    "no owner": (
        build_tenant(), {"owners": ()}, Reason.RELEASE_NOT_GRANTED,
        'no KeyReleasePolicy in force names a service of this grant for model "legal/smollm2" of owners',
    ),
    "an owner who suspended it": (
        build_tenant(), {"owners": (build_owner(suspended=True),)}, Reason.RELEASE_NOT_GRANTED,
        "alone releases nothing",
    ),
    "an owner whose policy cannot be read": (
        build_tenant(), {"owners": (GrantObject("owners", "o", 1, BROKEN, {}),)}, Reason.RELEASE_NOT_GRANTED,
        "alone releases nothing",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("tenant", "world", "reason", "message"), TENANT_GAPS.values(), ids=TENANT_GAPS)
def test_a_data_grant_that_lets_nothing_see_the_data_says_why(
    tenant: Any, world: dict[str, Any], reason: Reason, message: str
) -> None:
    status, found, text = ready(plan_datagrant(tenant, build_grants(**world)))
    assert (status, found) == ("False", reason)
    assert message in text


def test_a_data_grant_lists_the_policies_it_meets() -> None:
    world = build_grants(
        owners=(build_owner("b"), build_owner("a"), build_owner("c", model={"name": "x", "minVersion": 1}))
    )
    told = plan_datagrant(build_tenant(evidence=GENOA), world)
    assert told.status["policies"] == ["owners/a", "owners/b"]
    assert ready(told) == ("True", Reason.READY, "meets KeyReleasePolicy owners/a, owners/b")


def test_a_grant_is_looked_at_again_when_it_or_a_partner_ends() -> None:
    soon, later = format_time(NOW + 30), format_time(NOW + 100_000)
    world = build_grants(tenants=(build_tenant(expiresAt=soon),))
    assert plan_keyreleasepolicy(build_owner(expiresAt=later), world).check_after_seconds == 30
    assert plan_datagrant(build_tenant(expiresAt=later), build_grants()).check_after_seconds == 3600
    assert plan_datagrant(build_tenant(), build_grants()).check_after_seconds is None
    past = build_tenant(expiresAt=format_time(NOW - 5))
    assert plan_datagrant(past, build_grants()).check_after_seconds is None
    assert plan_keyreleasepolicy(GrantObject("owners", "o", 1, BROKEN, {}), build_grants()).check_after_seconds is None


def test_many_partners_are_told_within_bounds() -> None:
    assert describe_partners(["a/b"]) == "a/b"
    assert describe_partners(["a", "b", "c"]) == "a, b, c"
    assert describe_partners(["a", "b", "c", "d", "e"]) == "a, b, c and 2 more"
    assert len(describe_partners(["n" * 127] * 5)) == 256


def test_an_evidence_policy_tells_its_kinds_its_digest_and_who_names_it() -> None:
    spec = EvidencePolicySpec.model_validate(
        {"anyOf": [*EVIDENCE["anyOf"], {"name": "b", "evidence": [SNP]}, {"name": "c", "evidence": [
            {"tee": "tpm", "measurements": ["ab" * 32]}, {**SNP, "tee": "tdx"}]}]}
    )  # fmt: skip
    world = build_grants(
        tenants=(build_tenant(evidence=GENOA), build_tenant("b"), build_tenant("c", evidence={"policy": "x"}))
    )
    told = plan_evidencepolicy(ClusterObject("genoa", 1, spec, {}), world)
    assert ready(told) == ("True", Reason.READY, "evidence can be appraised by it")
    assert told.status["kinds"] == "snp or tpm+tdx"
    assert told.status["policies"] == 2
    other = plan_evidencepolicy(ClusterObject("genoa", 1, SPEC, {}), world)
    assert other.status["digest"] != told.status["digest"]


def test_an_evidence_policy_that_cannot_be_read_is_refused() -> None:
    unread = (GrantObject("owners", "o", 1, BROKEN, {}), GrantObject("legal", "t", 1, BROKEN, {}))
    world = build_grants(owners=unread[:1], tenants=unread[1:])
    told = plan_evidencepolicy(ClusterObject("genoa", 1, BROKEN, {}), world)
    assert ready(told)[:2] == ("False", Reason.INVALID_SPEC)
    assert told.status["policies"] == 0
