"""Facts of a release as JSON: what is read back decides as the original did; what is not whole is refused."""

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sekisho.broker.decide import decide_release
from sekisho.broker.replay import encode_facts, parse_facts, spell_facts, suppose_rules
from sekisho.errors import Reason, RefusedError
from tests.unit.attest.claims import AK, SNP, TPM, build_gpu
from tests.unit.broker.release_cases import IMAGE, build_evidence, build_facts, build_owner, build_rules, build_tenant

GOOD = encode_facts(build_facts())


def refuse(value: Any) -> str:
    with pytest.raises(RefusedError) as refused:
        parse_facts(value)
    assert refused.value.reason == Reason.REQUEST_INVALID
    prefix = "the facts of the release cannot be read: "
    assert refused.value.message.startswith(prefix)
    return refused.value.message.removeprefix(prefix)


def changed(change: Callable[[Any], Any]) -> Any:
    value = copy.deepcopy(GOOD)
    change(value)
    return value


@pytest.mark.parametrize("value", [None, [], "x", {}, {"format": "sekisho-release-facts-v2"}], ids=repr)
def test_what_is_no_such_object_is_refused(value: Any) -> None:
    assert refuse(value) == '"format" is not "sekisho-release-facts-v1"'


@pytest.mark.parametrize("key", [key for key in GOOD if key != "format"])
def test_a_part_that_is_missing_or_of_another_shape_is_refused(key: str) -> None:
    assert refuse({name: part for name, part in GOOD.items() if name != key}) == f"'{key}' is missing"
    for wrong in (7, None, "x"):
        assert refuse({**GOOD, key: wrong})


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda v: v["workload"].pop("users"), "'users' is missing"),
        (lambda v: v["claims"][0].pop("debug"), "'debug' is missing"),
        (lambda v: v["claims"][0].update(tee="abacus"), "'abacus' is not a valid Tee"),
        (lambda v: v["claims"][0].update(measurement="xyz"), "non-hexadecimal number"),
        (lambda v: v["isolation"].update(reason="Sunspots"), "'Sunspots' is not a valid Reason"),
        (lambda v: v.update(now="2026-11-29T12:00:00"), '"2026-11-29T12:00:00" has no time zone'),
        (
            lambda v: v["rules"]["keyReleasePolicies"][0]["spec"].update(sites=[]),
            "KeyReleasePolicySpec: sites: Tuple should have at least 1 item",
        ),
        (
            lambda v: v["rules"]["keyReleasePolicies"][0]["spec"]["workloads"][0].update(images=[]),
            "KeyReleasePolicySpec: workloads.0.images: ",
        ),
    ],
)  # fmt: skip
def test_a_detail_that_is_wrong_is_named(change: Callable[[Any], Any], told: str) -> None:
    assert told in refuse(changed(change))


def test_claims_may_stand_behind_claims_but_not_without_end() -> None:
    value = copy.deepcopy(GOOD)
    for _ in range(5):
        value["claims"] = [{**GOOD["claims"][0], "parts": value["claims"]}]
    assert refuse(value) == "claims stand behind claims too deep"
    assert parse_facts({**value, "claims": value["claims"][0]["parts"]}).claims[0].parts


@pytest.mark.parametrize("value", [1, "no", None, 0])
def test_what_is_not_plainly_no_debugging_is_debugging(value: Any) -> None:
    assert parse_facts(changed(lambda v: v["claims"][0].update(debug=value))).claims[0].debug


@pytest.mark.parametrize("value", [1, "yes", None])
def test_what_is_not_plainly_isolated_is_not(value: Any) -> None:
    assert not parse_facts(changed(lambda v: v["isolation"].update(ok=value))).isolation.ok


CASES = {
    "released": build_facts(),
    "of a masked chip": build_facts(claims=(replace(SNP, chip_id=None),)),
    "behind a virtual TPM": build_facts(claims=(replace(TPM, parts=(SNP,)),), workload={"node_key": AK}),
    "of devices": build_facts(claims=(SNP, build_gpu(1)), workload={"service_class": "confidential.gpu", "gpus": 1}),
    "without a law": build_facts(rules=build_rules(law=None)),
    "with advisories": build_facts(claims=(replace(SNP, advisories=("A-1",)),)),
}


@pytest.mark.parametrize("facts", CASES.values(), ids=CASES)
def test_what_is_read_back_is_what_was_written_and_decides_the_same(facts: Any) -> None:
    again = parse_facts(json.loads(json.dumps(encode_facts(facts))))
    assert again == facts
    try:
        expected = decide_release(facts)
    except RefusedError as refused:
        with pytest.raises(RefusedError) as same:
            decide_release(again)
        assert same.value.message == refused.message  # noqa: PT017 - either outcome is right
    else:
        assert decide_release(again) == expected


def test_rules_are_written_in_the_words_of_their_resources_without_what_nobody_said() -> None:
    rules = GOOD["rules"]
    assert rules["keyReleasePolicies"][0]["spec"]["leaseSeconds"] == 900
    assert rules["keyReleasePolicies"][0]["spec"]["evidence"] == {"policy": "genoa", "maxAgeSeconds": 120}
    assert rules["sites"]["tokyo"]["operatedBy"] == "own"
    assert "null" not in json.dumps(rules)
    assert json.loads(spell_facts(build_facts())) == GOOD


def test_only_grants_that_can_decide_are_written() -> None:
    elsewhere = [{"namespace": "web", "service": "chat", "images": [IMAGE]}]
    rules = build_rules(
        owners=(build_owner(), build_owner("b", workloads=elsewhere)),
        tenants=(build_tenant(), build_tenant(namespace="web")),
    )
    facts = build_facts(rules=rules)
    again = parse_facts(encode_facts(facts))
    assert [item.full_name for item in again.rules.owners] == ["owners/reviewer"]
    assert [item.full_name for item in again.rules.tenants] == ["legal/contracts"]
    assert decide_release(again) == decide_release(facts)


@pytest.mark.parametrize("form", [64, 32, "padded", "hex"])
def test_other_rules_are_supposed_to_have_been_in_force_at_the_challenge(form: int | str) -> None:
    facts = build_facts()
    short = facts.binding.digest(32)
    data = {64: facts.binding.digest(64), 32: short, "padded": short + bytes(32), "hex": short.hex().encode()}[form]
    facts = replace(facts, claims=(replace(facts.claims[0], bound_data=data),))
    rules = build_rules(owners=(build_owner(leaseSeconds=60),))
    assert decide_release(suppose_rules(facts, rules)).lease_seconds == 60


def test_evidence_that_was_not_bound_stays_unbound_under_other_rules() -> None:
    facts = build_facts()
    stranger = replace(facts, claims=(replace(facts.claims[0], bound_data=b"x" * 64),))
    supposed = suppose_rules(stranger, build_rules(evidence={"genoa": build_evidence(least=1, chips=None)}))
    with pytest.raises(RefusedError) as refused:
        decide_release(supposed)
    assert refused.value.reason == Reason.EVIDENCE_NOT_BOUND


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.slow
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_whatever_stands_in_the_place_of_a_part_is_read_or_refused(data: st.DataObject) -> None:
    value = copy.deepcopy(GOOD)
    place: Any = value
    while True:
        keys = sorted(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys))
        inner = place[key]
        if not isinstance(inner, dict | list) or not inner or data.draw(st.booleans()):
            place[key] = data.draw(JSON)
            break
        place = inner
    try:
        facts = parse_facts(value)
    except RefusedError as refused:
        assert refused.reason == Reason.REQUEST_INVALID  # noqa: PT017 - either outcome is right
    else:
        spelt = encode_facts(facts)  # without the grants of what is another service now
        assert encode_facts(parse_facts(json.loads(json.dumps(spelt)))) == spelt
