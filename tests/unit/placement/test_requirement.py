import pytest

from sekisho.api.meta import LabelSelector
from sekisho.placement.requirement import Requirement, is_met, requirements_of_selector
from sekisho.placement.wording import MAX_LISTED, count, join_names
from tests.unit.placement.build import build_demand


@pytest.mark.parametrize(
    ("operator", "values", "met", "unmet"),
    [
        ("In", ("a", "b"), ["a", "b"], ["c", "", None]),
        ("NotIn", ("a", "b"), ["c", "", None], ["a", "b"]),
        ("Exists", (), ["", "a"], [None]),
        ("DoesNotExist", (), [None], ["", "a"]),
        ("Gt", ("40959",), ["40960", "+40960"], ["40959", "-1", "", "4e9", "４０９６０", "9" * 40, None]),
        ("Lt", ("10",), ["9", "-9"], ["10", "", "x", None]),
    ],
)
def test_a_requirement_means_what_it_means_in_kubernetes(
    operator: str, values: tuple[str, ...], met: list[str | None], unmet: list[str | None]
) -> None:
    requirement = Requirement("key", operator, values)
    assert [value for value in (*met, *unmet) if requirement.is_met_by(value)] == met


def test_an_unknown_operator_is_an_error_and_never_a_match() -> None:
    with pytest.raises(ValueError, match='"Like" is not an operator of a label requirement'):
        Requirement("key", "Like", ("a",)).is_met_by("a")


def test_all_requirements_must_be_met() -> None:
    both = (Requirement("a", "Exists"), Requirement("b", "In", ("1",)))
    assert is_met(both, {"a": "", "b": "1"})
    assert not is_met(both, {"a": ""})


@pytest.mark.parametrize(
    ("requirement", "spelling"),
    [
        (Requirement("a", "In", ("x",)), "a=x"),
        (Requirement("a", "In", ("x", "y")), "a In (x, y)"),
        (Requirement("a", "NotIn", ("x",)), "a NotIn (x)"),
        (Requirement("a", "Exists"), "a Exists"),
        (Requirement("a", "Gt", ("5",)), "a Gt 5"),
    ],
)
def test_a_requirement_spells_itself(requirement: Requirement, spelling: str) -> None:
    assert str(requirement) == spelling


def test_the_order_and_repetition_in_a_selector_decide_nothing() -> None:
    one = {"key": "zone", "operator": "In", "values": ["b", "a", "b"]}
    two = {"key": "disk", "operator": "Exists"}
    first = LabelSelector.model_validate({"matchLabels": {"x": "1", "a": "2"}, "matchExpressions": [one, two]})
    second = LabelSelector.model_validate({"matchLabels": {"a": "2", "x": "1"}, "matchExpressions": [two, one, two]})
    assert requirements_of_selector(first) == requirements_of_selector(second)
    assert requirements_of_selector(first)[-1] == Requirement("zone", "In", ("a", "b"))


def test_memory_on_gpus_is_split_over_them_and_rounded_up() -> None:
    assert build_demand(gpus=3, gpu_memory_mib=100).mib_per_gpu == 34
    assert build_demand(gpus=0, gpu_memory_mib=100).gpu_count == 1
    assert build_demand().mib_per_gpu == 0


def test_what_is_listed_is_cut() -> None:
    assert [join_names(items, "or") for items in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == [
        "", "a", "a or b", "a, b or c",
    ]  # fmt: skip
    many = [str(number) for number in range(MAX_LISTED + 3)]
    assert join_names(many, "and") == "0, 1, 2, 3, 4, 5, 6, 7 and 3 more"
    assert (count(1, "node"), count(0, "node"), count(2, "node")) == ("1 node", "0 nodes", "2 nodes")
