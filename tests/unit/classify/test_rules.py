"""What a class may do: defaults are the safest, every source may only tighten, and raising a class never widens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.api.v1alpha1.classificationpolicy import ClassificationPolicySpec
from sekisho.classify.jurisdiction import is_covered
from sekisho.classify.lattice import DataClass, Lattice
from sekisho.classify.rules import EffectiveAnswers, EffectiveRules, EffectiveTrust, EffectiveWeights, rules_of
from sekisho.errors import Reason, RefusedError
from tests.unit.classify.policies import HOUSE, HOUSE_LATTICE, classes, policies

STRICTEST_FIRST = {
    "burst": ("Never", "AfterRedaction", "Allowed"),
    "egress": ("Denied", "Declared"),
    "tenancy": ("Dedicated", "SharedByOwner", "Shared"),
    "log": ("Digest", "Metadata"),
    "opaque": ("Refused", "Allowed"),
    "prompt_attacks": ("Refuse", "Record", "Off"),
}
EXAMINED = ("Held", "Windowed", "Off")


def rules_for(level: str, *compartments: str) -> EffectiveRules:
    return rules_of(HOUSE, HOUSE_LATTICE.resolve(level, compartments, source="test"))


def is_as_strict(a: EffectiveRules, b: EffectiveRules) -> bool:
    """Whether `a` allows nothing that `b` refuses, field by field."""
    ordered = all(
        order.index(getattr(a, name)) <= order.index(getattr(b, name)) for name, order in STRICTEST_FIRST.items()
    )
    sets = a.tiers <= b.tiers and a.redact >= b.redact and is_covered_or_any(a.jurisdictions, b.jurisdictions)
    weights = (
        a.weights.sealed >= b.weights.sealed
        and a.weights.signed_by >= b.weights.signed_by
        and a.weights.evaluated >= b.weights.evaluated
        and a.weights.approved_by >= b.weights.approved_by
        and (b.weights.scan is None or a.weights.scan == b.weights.scan)
    )
    answers = (
        EXAMINED.index(a.answers.examine) <= EXAMINED.index(b.answers.examine)
        and a.answers.detect >= b.answers.detect
        and (a.answers.found == "End" or b.answers.found == "Mask")
    )
    return (
        ordered
        and sets
        and weights
        and answers
        and a.images_by_digest >= b.images_by_digest
        and trusts_less(a.trust, b.trust)
    )


def is_subset_or_any(a: frozenset[str] | None, b: frozenset[str] | None) -> bool:
    return b is None or (a is not None and a <= b)


def is_covered_or_any(a: frozenset[str] | None, b: frozenset[str] | None) -> bool:
    return b is None or (a is not None and all(is_covered(b, item) for item in a))


def trusts_less(a: EffectiveTrust | None, b: EffectiveTrust | None) -> bool:
    if b is None:
        return True
    return (
        a is not None
        and is_subset_or_any(a.any_of, b.any_of)
        and a.devices >= b.devices
        and a.max_age_seconds <= b.max_age_seconds
    )


def test_a_level_the_policy_does_not_have_has_no_rules() -> None:
    with pytest.raises(RefusedError) as refused:
        rules_of(HOUSE, DataClass(0, "secret"))
    assert refused.value.reason is Reason.UNKNOWN_LEVEL
    assert refused.value.message == 'the policy has no level "secret"; it knows public, internal, confidential'


def test_a_compartment_the_policy_does_not_have_has_no_rules() -> None:
    with pytest.raises(RefusedError) as refused:
        rules_of(HOUSE, DataClass(0, "public", frozenset({"hr"})))
    assert refused.value.reason is Reason.UNKNOWN_COMPARTMENT
    assert refused.value.message == 'the policy has no compartment "hr"; it knows gdpr, my-number'


def test_a_policy_without_compartments_says_so() -> None:
    bare = ClassificationPolicySpec.model_validate({"unlabelled": "only", "levels": [{"name": "only"}]})
    with pytest.raises(RefusedError, match="it knows none"):
        rules_of(bare, DataClass(0, "only", frozenset({"hr"})))


def test_a_level_that_says_nothing_gets_the_safest_value_of_everything() -> None:
    bare = ClassificationPolicySpec.model_validate({"unlabelled": "only", "levels": [{"name": "only"}]})
    assert rules_of(bare, DataClass(0, "only")) == EffectiveRules(
        tiers=frozenset({"Closed"}),
        jurisdictions=None,
        trust=None,
        weights=EffectiveWeights(),
        egress="Denied",
        burst="Never",
        redact=frozenset(),
        tenancy="Shared",
        images_by_digest=False,
        opaque="Refused",
        log="Digest",
        prompt_attacks="Record",
        answers=EffectiveAnswers(),
    )


def test_the_lowest_level_may_do_what_it_says() -> None:
    rules = rules_for("public")
    assert rules.tiers == {"Closed", "OwnCloud", "ManagedApi"}
    assert (rules.burst, rules.log, rules.egress) == ("Allowed", "Metadata", "Denied")


def test_a_level_keeps_what_the_levels_below_it_ask_for() -> None:
    rules = rules_for("confidential")
    assert rules.jurisdictions == {"JP", "EU"}
    assert rules.redact == {"person"}
    assert rules.tiers == {"Closed"}


def test_a_level_cannot_open_what_a_lower_level_left_closed() -> None:
    assert rules_for("internal").egress == "Denied"


def test_jurisdictions_of_level_and_compartment_are_intersected() -> None:
    assert rules_for("internal", "gdpr").jurisdictions == {"EU"}
    assert rules_for("public", "gdpr").jurisdictions == {"EU", "CH"}


def test_compartments_that_contradict_each_other_leave_no_jurisdiction() -> None:
    assert rules_for("public", "gdpr", "my-number").jurisdictions == frozenset()


def test_trust_of_level_and_compartment_is_wanted_together_at_the_younger_age() -> None:
    assert rules_for("confidential", "my-number").trust == EffectiveTrust(
        any_of=frozenset({"snp", "tdx"}), devices=frozenset({"nvidia-cc"}), max_age_seconds=600
    )
    assert rules_for("public", "my-number").trust == EffectiveTrust(None, frozenset({"nvidia-cc"}), 3600)


def test_a_trust_rule_that_names_no_hardware_asks_for_none() -> None:
    policy = ClassificationPolicySpec.model_validate(
        {"unlabelled": "only", "levels": [{"name": "only", "rules": {"trust": {"maxAgeSeconds": 5}}}]}
    )
    assert rules_of(policy, DataClass(0, "only")).trust is None


def test_what_is_looked_for_in_answers_adds_up_and_a_rule_that_is_off_adds_nothing() -> None:
    def answers(examine: str, *detect: str, found: str = "Mask") -> dict[str, object]:
        return {"answers": {"examine": examine, "detect": list(detect), "found": found}}

    policy = ClassificationPolicySpec.model_validate({
        "unlabelled": "low",
        "levels": [
            {"name": "low", "rules": answers("Windowed", "card")},
            {"name": "high", "rules": answers("Held", "email", found="End")},
        ],
        "compartments": [{"name": "off", "rules": answers("Off", "phone", found="End")}],
    })  # fmt: skip
    high = rules_of(policy, DataClass(1, "high", frozenset({"off"})))
    assert high.answers == EffectiveAnswers("Held", frozenset({"card", "email"}), "End")
    low = rules_of(policy, DataClass(0, "low", frozenset({"off"})))
    assert low.answers == EffectiveAnswers("Windowed", frozenset({"card"}), "Mask")


def test_demands_on_weights_add_up() -> None:
    assert rules_for("confidential", "my-number").weights == EffectiveWeights(
        sealed=True,
        signed_by=frozenset({"release"}),
        scan="Clean",
        evaluated=frozenset({"safety"}),
        approved_by=frozenset({"board"}),
    )
    assert rules_for("internal").weights.is_empty
    assert not rules_for("confidential").weights.is_empty


@pytest.mark.slow
@given(policy=policies(), data=st.data())
def test_the_rules_of_a_join_are_as_strict_as_those_of_each_part(
    policy: ClassificationPolicySpec, data: st.DataObject
) -> None:
    lattice = Lattice.of(policy)
    a, b = data.draw(classes(lattice)), data.draw(classes(lattice))
    joined = rules_of(policy, a.join(b))
    assert is_as_strict(joined, rules_of(policy, a))
    assert is_as_strict(joined, rules_of(policy, b))


@pytest.mark.slow
@given(policy=policies(), data=st.data())
def test_a_class_that_dominates_another_may_do_no_more_than_it(
    policy: ClassificationPolicySpec, data: st.DataObject
) -> None:
    lattice = Lattice.of(policy)
    a, b = data.draw(classes(lattice)), data.draw(classes(lattice))
    if a.dominates(b):
        assert is_as_strict(rules_of(policy, a), rules_of(policy, b))
