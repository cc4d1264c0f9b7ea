"""Properties of the release decision: it agrees with brute force, taking away never adds, and order decides nothing."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sekisho.attest.isolation import Verdict
from sekisho.broker.decide import Decision, ReleaseFacts, decide_release
from sekisho.broker.replay import suppose_rules
from sekisho.errors import Reason, RefusedError
from tests.unit.attest.claims import MEASUREMENT, NOW, SNP
from tests.unit.broker.release_cases import (
    AGENT,
    IMAGE,
    SITE_KEY,
    build_evidence,
    build_facts,
    build_owner,
    build_rules,
    build_site,
    build_tenant,
)

OTHER = "sha256:" + "9" * 64
LEVELS = ("public", "internal", "confidential", "restricted")
PAST, FUTURE = "2026-11-29T11:00:00Z", "2026-11-29T12:30:00Z"
OPEN = Verdict(ok=False, reason=Reason.ISOLATION_LEAK, message="a canary answered")
Raw = dict[str, Any]
FEW = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])


SIDE: Raw = {
    "images": [IMAGE, AGENT], "users": ["group:legal"], "level": "restricted", "sites": ["tokyo", "osaka"],
    "expiresAt": None, "suspended": False, "model": "legal/reviewer",
}  # fmt: skip
OWNER: Raw = {
    **SIDE, "namespace": "owners", "service": "chat", "minVersion": 7, "keyMin": 4, "keyId": "transit/legal",
    "lease": 900, "age": 120,
}  # fmt: skip
TENANT: Raw = {**SIDE, "namespace": "legal", "services": ["chat"], "owner": "owners"}
GOOD: Raw = {
    "owners": [OWNER], "tenants": [TENANT], "images": [IMAGE, AGENT], "users": ["group:legal"], "site": "tokyo",
    "node": "tokyo", "level": "confidential", "sealed": "internal", "template": True, "isolated": True, "age": 2,
    "measurement": MEASUREMENT, "microcode": 84, "debug": False, "claimed": True,
}  # fmt: skip
# What differs from what is good, for better or worse; two of them may make up for each other.
OF_FACTS: Raw = {
    "images": [[IMAGE], [IMAGE, OTHER]], "users": [[], ["group:legal", "user:ann"]], "site": ["osaka"],
    "node": ["osaka"], "level": ["public", "internal", "restricted"],
    "sealed": ["public", "confidential", "restricted"],
    "template": [False], "isolated": [False], "age": [4, 200], "measurement": [b"\x12" * 48], "microcode": [83, 85],
    "debug": [True], "claimed": [False],
}  # fmt: skip
OF_SIDE: Raw = {
    "images": [[IMAGE], [AGENT], [IMAGE, AGENT, OTHER]], "users": [["user:ann"], ["group:legal", "user:ann"]],
    "level": ["confidential", "internal", "public"], "sites": [["tokyo"], ["osaka"]], "expiresAt": [PAST, FUTURE],
    "suspended": [True], "model": ["legal/other"],
}  # fmt: skip
OF_OWNER: Raw = {
    **OF_SIDE, "namespace": ["strangers"], "service": ["other"], "minVersion": [1, 8], "keyMin": [1, 5],
    "keyId": ["transit/web"], "lease": [30, 601], "age": [3, 300],
}  # fmt: skip
OF_TENANT: Raw = {**OF_SIDE, "namespace": ["web"], "services": [["other"], ["other", "chat"]], "owner": ["strangers"]}


def differ(draw: st.DrawFn, raw: Raw, choices: Raw, *, most: int) -> Raw:
    """Change some fields of what is good."""
    for key in draw(st.lists(st.sampled_from(sorted(choices)), max_size=most, unique=True)):
        raw = {**raw, key: draw(st.sampled_from(choices[key]))}
    return raw


@st.composite
def cases(draw: st.DrawFn) -> Raw:
    """Draw facts that are good but for a few differences, with up to three grants of each side, some of them off."""
    raw = differ(draw, GOOD, OF_FACTS, most=2)
    for kind, good, choices in (("owners", OWNER, OF_OWNER), ("tenants", TENANT, OF_TENANT)):
        count = draw(st.sampled_from([1, 1, 1, 2, 3, 0]))
        raw = {**raw, kind: [differ(draw, good, choices, most=2) for _ in range(count)]}
    return raw


FACTS = cases()


def spell_owner(raw: Raw, index: int) -> Any:
    return build_owner(
        f"o{index}",
        namespace=raw["namespace"],
        model={"name": raw["model"], "minVersion": raw["minVersion"]},
        key={"kms": "openbao", "keyId": raw["keyId"], "minVersion": raw["keyMin"]},
        workloads=[{"namespace": "legal", "service": raw["service"], "images": raw["images"]}],
        classes={"atMost": {"level": raw["level"]}},
        sites=raw["sites"],
        users=raw["users"],
        evidence={"policy": "genoa", "maxAgeSeconds": raw["age"]},
        leaseSeconds=raw["lease"],
        expiresAt=raw["expiresAt"],
        suspended=raw["suspended"],
    )


def spell_tenant(raw: Raw, index: int) -> Any:
    return build_tenant(
        f"t{index}",
        namespace=raw["namespace"],
        services=raw["services"],
        models=[{"owner": raw["owner"], "name": raw["model"]}],
        images=raw["images"],
        classes={"atMost": {"level": raw["level"]}},
        sites=raw["sites"],
        users=raw["users"],
        expiresAt=raw["expiresAt"],
        suspended=raw["suspended"],
    )


def spell(raw: Raw) -> ReleaseFacts:
    sites = {name: build_site(nodes={"matchLabels": {SITE_KEY: name}}) for name in ("tokyo", "osaka")}
    rules = build_rules(
        sites=sites,
        owners=tuple(spell_owner(item, index) for index, item in enumerate(raw["owners"])),
        tenants=tuple(spell_tenant(item, index) for index, item in enumerate(raw["tenants"])),
        evidence={"genoa": build_evidence()},
    )
    tcb = tuple((name, raw["microcode"] if name == "microcode" else version) for name, version in SNP.tcb)
    piece = replace(SNP, measurement=raw["measurement"], tcb=tcb, debug=raw["debug"])
    workload: Mapping[str, Any] = {
        "images": frozenset(raw["images"]),
        "users": frozenset(raw["users"]),
        "site": raw["site"],
        "node_labels": {SITE_KEY: raw["node"]},
        "service_class": raw["level"],
        "expected_template_digest": "sha256:" + ("d" if raw["template"] else "0") * 64,
    }
    facts = build_facts(
        rules=rules,
        claims=(piece,) if raw["claimed"] else (),
        question={"data_class": raw["sealed"]},
        workload=workload,
        challenged_at=NOW - timedelta(seconds=raw["age"]),
    )
    return facts if raw["isolated"] else replace(facts, isolation=OPEN)


def side_holds(side: Raw, raw: Raw) -> bool:
    return (
        side["model"] == "legal/reviewer"
        and not side["suspended"]
        and side["expiresAt"] != PAST
        and set(raw["images"]) <= set(side["images"])
        and set(raw["users"]) <= set(side["users"])
        and raw["site"] in side["sites"]
        and LEVELS.index(raw["level"]) <= LEVELS.index(side["level"])
    )


def owner_holds(side: Raw, raw: Raw) -> bool:
    return (
        side_holds(side, raw)
        and (side["namespace"], side["service"]) == ("owners", "chat")
        and (side["keyId"], side["minVersion"] <= 7, side["keyMin"] <= 4) == ("transit/legal", True, True)
    )


def tenant_holds(side: Raw, raw: Raw) -> bool:
    return (
        side_holds(side, raw)
        and (side["namespace"], side["owner"]) == ("legal", "owners")
        and "chat" in side["services"]
    )


def may_release(raw: Raw) -> bool:
    """Say by brute force whether every single condition holds, for one owner and one tenant at once."""
    of_pod = raw["template"] and raw["isolated"] and raw["site"] == raw["node"] and bool(raw["users"])
    of_class = LEVELS.index(raw["sealed"]) <= LEVELS.index(raw["level"])
    of_evidence = raw["claimed"] and not raw["debug"] and raw["microcode"] >= 84 and raw["measurement"] == MEASUREMENT
    owners = [item for item in raw["owners"] if owner_holds(item, raw) and raw["age"] <= item["age"]]
    tenants = [item for item in raw["tenants"] if tenant_holds(item, raw)]
    return bool(of_pod and of_class and of_evidence and owners and tenants)


def try_release(facts: ReleaseFacts) -> Decision | None:
    try:
        return decide_release(facts)
    except RefusedError:
        return None


def is_released(raw: Raw) -> bool:
    return try_release(spell(raw)) is not None


@pytest.mark.slow
@FEW
@given(FACTS)
def test_a_release_is_every_single_condition_and_nothing_less(raw: Raw) -> None:
    assert is_released(raw) == may_release(raw)


@pytest.mark.slow
def test_what_is_drawn_is_sometimes_released() -> None:
    released = []

    @settings(max_examples=100, deadline=None, database=None, derandomize=True)
    @given(FACTS)
    def draw(raw: Raw) -> None:
        released.append(may_release(raw))

    draw()
    assert 10 <= sum(released) <= 90


@pytest.mark.slow
@FEW
@given(FACTS)
def test_a_lease_is_never_longer_than_what_it_rests_on(raw: Raw) -> None:
    decision = try_release(spell(raw))
    if decision is None:
        return
    assert decision.lease_seconds >= 1
    owner = raw["owners"][int(decision.owner.rpartition("/o")[2])]
    tenant = raw["tenants"][int(decision.tenant.rpartition("/t")[2])]
    assert owner_holds(owner, raw)
    assert tenant_holds(tenant, raw)
    assert decision.lease_seconds <= owner["lease"]
    assert raw["level"] not in ("confidential", "restricted") or decision.lease_seconds <= 600
    if FUTURE in (owner["expiresAt"], tenant["expiresAt"]):
        assert decision.lease_seconds <= 1800


Step = Callable[[Raw, st.DataObject], Raw]


def _change_side(raw: Raw, data: st.DataObject, change: Callable[[Raw], Raw]) -> Raw:
    kind = data.draw(st.sampled_from(["owners", "tenants"]))
    if not raw[kind]:
        return raw
    index = data.draw(st.integers(0, len(raw[kind]) - 1))
    return {**raw, kind: [change(item) if at == index else item for at, item in enumerate(raw[kind])]}


def _drop_grant(raw: Raw, data: st.DataObject) -> Raw:
    kind = data.draw(st.sampled_from(["owners", "tenants"]))
    return {**raw, kind: raw[kind][1:]}


def _drop_item(raw: Raw, data: st.DataObject) -> Raw:
    name = data.draw(st.sampled_from(["images", "users", "sites"]))
    return _change_side(raw, data, lambda side: {**side, name: side[name][1:] or side[name]})


def _stop(raw: Raw, data: st.DataObject) -> Raw:
    change = data.draw(st.sampled_from([{"suspended": True}, {"expiresAt": PAST}, {"level": "public"}]))
    return _change_side(raw, data, lambda side: {**side, **change})


def _weaken(raw: Raw, data: st.DataObject) -> Raw:
    weaker = [
        {"isolated": False}, {"template": False}, {"debug": True}, {"microcode": 0}, {"claimed": False},
        {"measurement": bytes(48)}, {"node": "nowhere"}, {"age": 200}, {"users": []},
        {"images": [*raw["images"], "sha256:" + "8" * 64]}, {"users": [*raw["users"], "user:eve"]},
    ]  # fmt: skip
    return {**raw, **data.draw(st.sampled_from(weaker))}


STEPS: tuple[Step, ...] = (_drop_grant, _drop_item, _stop, _weaken)


@pytest.mark.slow
@FEW
@given(FACTS, st.data())
def test_taking_away_a_grant_or_a_fact_never_releases_what_was_refused(raw: Raw, data: st.DataObject) -> None:
    for step in data.draw(st.lists(st.sampled_from(STEPS), min_size=1, max_size=3)):
        less = step(raw, data)
        assert is_released(raw) or not is_released(less)
        raw = less


@pytest.mark.slow
@FEW
@given(FACTS, st.randoms(use_true_random=False))
def test_the_order_of_grants_decides_nothing(raw: Raw, random: Any) -> None:
    facts = spell(raw)
    owners, tenants = list(facts.rules.owners), list(facts.rules.tenants)
    random.shuffle(owners)
    random.shuffle(tenants)
    mixed = replace(facts.rules, owners=tuple(owners), tenants=tuple(tenants))
    again = replace(facts, rules=mixed)
    assert suppose_rules(facts, mixed).binding == facts.binding, "the digest of the rules is the same"
    try:
        assert decide_release(facts) == decide_release(again)
    except RefusedError as refused:
        try:
            decide_release(again)
        except RefusedError as same:
            assert (same.reason, same.message) == (refused.reason, refused.message)  # noqa: PT017 - either is right
        else:
            raise AssertionError("one order releases what another refuses") from None
