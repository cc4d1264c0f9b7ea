"""The lattice: what is unknown is refused, and the order has the laws that everything above it relies on."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.api.meta import ClassRef
from sekisho.api.v1alpha1.classificationpolicy import ClassificationPolicySpec
from sekisho.classify.lattice import DataClass, Floor, Lattice, join_floors
from sekisho.errors import Reason, RefusedError
from tests.unit.classify.policies import HOUSE_LATTICE, classes

any_class = classes(HOUSE_LATTICE)


def resolve(level: str, *compartments: str) -> DataClass:
    return HOUSE_LATTICE.resolve(level, compartments, source="the test")


def test_a_level_the_policy_does_not_have_is_refused_with_the_ones_it_has() -> None:
    with pytest.raises(RefusedError) as refused:
        resolve("secret")
    assert refused.value.reason is Reason.UNKNOWN_LEVEL
    assert refused.value.message == (
        'the test asks for level "secret"; the policy knows public, internal, confidential'
    )


def test_a_compartment_the_policy_does_not_have_is_refused_with_the_ones_it_has() -> None:
    with pytest.raises(RefusedError) as refused:
        resolve("public", "hr")
    assert refused.value.reason is Reason.UNKNOWN_COMPARTMENT
    assert refused.value.message == 'the test asks for compartment "hr"; the policy knows gdpr, my-number'


def test_a_policy_without_compartments_says_that_it_knows_none() -> None:
    bare = Lattice.of(ClassificationPolicySpec.model_validate({"unlabelled": "a", "levels": [{"name": "a"}]}))
    with pytest.raises(RefusedError, match='asks for compartment "hr"; the policy knows none'):
        bare.resolve("a", ["hr"], source="the test")


@pytest.mark.parametrize(
    ("value", "reason", "words"),
    [
        ("", Reason.LABEL_INVALID, "the label has 0 characters; a class has 1 to 63"),
        ("x" * 64, Reason.LABEL_INVALID, "the label has 64 characters; a class has 1 to 63"),
        (".gdpr", Reason.UNKNOWN_LEVEL, 'asks for level ""'),
        ("public.", Reason.UNKNOWN_COMPARTMENT, 'asks for compartment ""'),
        ("public..gdpr", Reason.UNKNOWN_COMPARTMENT, 'asks for compartment ""'),
        ("Public", Reason.UNKNOWN_LEVEL, 'asks for level "Public"'),
        ("gdpr", Reason.UNKNOWN_LEVEL, 'asks for level "gdpr"'),
        ("public.internal", Reason.UNKNOWN_COMPARTMENT, 'asks for compartment "internal"'),
    ],
)
def test_a_label_that_spells_no_class_is_refused(value: str, reason: Reason, words: str) -> None:
    with pytest.raises(RefusedError) as refused:
        HOUSE_LATTICE.resolve_label(value, source="the label")
    assert refused.value.reason is reason
    assert words in refused.value.message


def test_a_joined_class_that_no_label_can_hold_is_refused() -> None:
    names = [letter * 30 for letter in "abc"]
    lattice = Lattice.of(
        ClassificationPolicySpec.model_validate(
            {"unlabelled": "low", "levels": [{"name": "low"}], "compartments": [{"name": name} for name in names]}
        )
    )
    floors = [Floor(name, lattice.resolve("low", [name], source="test")) for name in names]
    assert join_floors(lattice, floors[:1]).label() == f"low.{'a' * 30}"
    with pytest.raises(RefusedError) as refused:
        join_floors(lattice, floors)
    assert refused.value.reason is Reason.LABEL_INVALID
    assert "takes 96 characters as a label, 63 are possible" in refused.value.message


def test_what_nobody_labelled_has_the_class_the_policy_names() -> None:
    assert join_floors(HOUSE_LATTICE, []) == resolve("internal")


def test_a_lone_floor_may_lie_below_the_class_of_what_nobody_labelled() -> None:
    assert join_floors(HOUSE_LATTICE, [Floor("label of the service", resolve("public"))]) == resolve("public")


def test_floors_are_joined_from_everywhere() -> None:
    floors = [Floor("a", resolve("public", "gdpr")), Floor("b", resolve("confidential")), Floor("c", resolve("public"))]
    assert join_floors(HOUSE_LATTICE, floors) == resolve("confidential", "gdpr")


def test_a_reference_resolves_like_its_names() -> None:
    reference = ClassRef(level="internal", compartments=("gdpr",))
    assert HOUSE_LATTICE.resolve_ref(reference, source="spec") == resolve("internal", "gdpr")


def test_a_class_reads_as_level_plus_compartments_in_order() -> None:
    value = resolve("confidential", "my-number", "gdpr")
    assert str(value) == "confidential+gdpr+my-number"
    assert value.label() == "confidential.gdpr.my-number"


@given(a=any_class, b=any_class)
def test_join_is_commutative(a: DataClass, b: DataClass) -> None:
    assert a.join(b) == b.join(a)


@given(a=any_class, b=any_class, c=any_class)
def test_join_is_associative(a: DataClass, b: DataClass, c: DataClass) -> None:
    assert a.join(b).join(c) == a.join(b.join(c))


@given(a=any_class)
def test_join_is_idempotent(a: DataClass) -> None:
    assert a.join(a) == a


@given(a=any_class, b=any_class, c=any_class)
def test_join_is_the_least_class_that_dominates_both(a: DataClass, b: DataClass, c: DataClass) -> None:
    joined = a.join(b)
    assert joined.dominates(a)
    assert joined.dominates(b)
    assert not (c.dominates(a) and c.dominates(b)) or c.dominates(joined)


@given(a=any_class, b=any_class, c=any_class)
def test_dominates_is_a_partial_order(a: DataClass, b: DataClass, c: DataClass) -> None:
    assert a.dominates(a)
    assert not (a.dominates(b) and b.dominates(a)) or a == b
    assert not (a.dominates(b) and b.dominates(c)) or a.dominates(c)
    assert a.dominates(b) == (a.join(b) == a)


def test_neither_of_two_compartments_dominates_the_other() -> None:
    assert not resolve("confidential", "gdpr").dominates(resolve("public", "my-number"))
    assert not resolve("public", "my-number").dominates(resolve("confidential", "gdpr"))


@given(a=any_class)
def test_a_label_round_trips(a: DataClass) -> None:
    assert HOUSE_LATTICE.resolve_label(a.label(), source="label") == a


@given(value=st.text(max_size=80))
def test_any_text_as_a_label_is_a_known_class_or_refused(value: str) -> None:
    level, *compartments = value.split(".")
    if level in HOUSE_LATTICE.levels and HOUSE_LATTICE.compartments.issuperset(compartments):
        assert HOUSE_LATTICE.resolve_label(value, source="label").level == level
        return
    with pytest.raises(RefusedError) as refused:
        HOUSE_LATTICE.resolve_label(value, source="label")
    assert refused.value.reason in {Reason.LABEL_INVALID, Reason.UNKNOWN_LEVEL, Reason.UNKNOWN_COMPARTMENT}


@given(values=st.lists(any_class, min_size=1, max_size=6), data=st.data())
def test_the_joined_class_does_not_depend_on_the_order_of_floors(values: list[DataClass], data: st.DataObject) -> None:
    floors = [Floor("somewhere", value) for value in values]
    assert join_floors(HOUSE_LATTICE, floors) == join_floors(HOUSE_LATTICE, data.draw(st.permutations(floors)))


@given(
    st.lists(
        st.tuples(st.sampled_from(["public", "internal", "secret", ""]), st.sets(st.sampled_from(["gdpr", "hr"]))),
        max_size=12,
    )
)
def test_a_class_that_was_looked_up_before_is_the_one_that_would_be_looked_up_anew(
    asked: list[tuple[str, set[str]]],
) -> None:
    def tell(lattice: Lattice, level: str, names: set[str]) -> list[object]:
        told: list[object] = []
        for look in (
            lambda: lattice.resolve(level, names, source="the test"),
            lambda: lattice.resolve_label(".".join([level, *sorted(names)]), source="the test"),
        ):
            try:
                told.append(look())
            except RefusedError as error:
                told.append((error.reason, error.message))
        return told

    kept = replace(HOUSE_LATTICE)
    for level, names in asked:
        once = tell(replace(HOUSE_LATTICE), level, names)
        assert tell(kept, level, names) == once
        assert tell(kept, level, names) == once


def test_no_more_classes_than_a_bound_are_remembered() -> None:
    names = frozenset(f"c{number}" for number in range(10))
    lattice = Lattice(("a",), names, DataClass(0, "a"))
    for number in range(1 << 10):
        chosen = {f"c{bit}" for bit in range(10) if number >> bit & 1}
        assert lattice.resolve("a", chosen, source="the test") == DataClass(0, "a", frozenset(chosen))
        assert len(lattice.known) <= 256
