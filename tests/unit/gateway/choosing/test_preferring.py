"""The order of eligible replicas: only the order changes; saturation, where a conversation was, how quick they are."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.gateway.choosing.filtering import Eligible, filter_replicas
from sekisho.gateway.choosing.preferring import Load, find_affinity, prefer
from tests.unit.gateway.choosing.test_filtering import build_demand, build_now, build_replica


def build_eligible(*names: str) -> tuple[Eligible, ...]:
    eligible, excluded = filter_replicas(map(build_replica, names), build_demand(), build_now())
    assert not excluded
    return eligible


def first(eligible: tuple[Eligible, ...], loads: dict[str, Load], affinity: bytes = b"") -> str:
    return prefer(eligible, {f"uid-{name}": load for name, load in loads.items()}, affinity)[0].replica.name


LOADS = st.builds(
    Load,
    own=st.integers(0, 20),
    running=st.none() | st.floats(0, 100),
    waiting=st.none() | st.floats(0, 10),
    cache_use=st.none() | st.floats(0, 1),
    seconds=st.floats(0, 10),
)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 6), st.data(), st.binary(max_size=16))
def test_preferring_only_reorders_and_does_not_depend_on_the_order_it_is_given(
    count: int, data: Any, affinity: bytes
) -> None:
    eligible = build_eligible(*"abcdef"[:count])
    loads = {item.replica.uid: data.draw(LOADS) for item in eligible}
    ordered = prefer(eligible, loads, affinity)
    assert sorted(map(id, ordered)) == sorted(map(id, eligible))
    assert prefer(tuple(reversed(eligible)), loads, affinity) == ordered


@pytest.mark.parametrize("full", [Load(waiting=4.0, running=0.0), Load(cache_use=0.95)])
def test_a_saturated_replica_comes_last_whatever_else_speaks_for_it(full: Load) -> None:
    pair = build_eligible("a", "b")
    for number in range(20):
        assert first(pair, {"a": full, "b": Load(own=3, seconds=9.0)}, b"%d" % number) == "b"


def test_where_all_are_saturated_the_one_with_least_to_do_is_first() -> None:
    assert first(build_eligible("a", "b"), {"a": Load(waiting=9.0), "b": Load(waiting=5.0)}, b"k") == "b"


def test_without_a_conversation_the_one_with_least_to_do_is_first_then_the_quickest() -> None:
    pair = build_eligible("a", "b")
    assert first(pair, {"a": Load(own=2), "b": Load(own=1, seconds=5.0)}) == "b"
    assert first(pair, {"a": Load(running=3.0, waiting=0.0), "b": Load(own=2)}) == "b"
    assert first(pair, {"a": Load(seconds=0.4), "b": Load(seconds=0.2)}) == "b"


def test_a_conversation_stays_where_it_is_and_few_move_when_one_comes() -> None:
    two, three = build_eligible("a", "b"), build_eligible("a", "b", "c")
    keys = [b"conversation %d" % number for number in range(300)]
    before, after = [first(two, {}, key) for key in keys], [first(three, {}, key) for key in keys]
    assert before == [first(two, {}, key) for key in keys]
    assert {was for was, now in zip(before, after, strict=True) if now not in {was, "c"}} == set()
    assert all(60 <= count <= 140 for count in Counter(after).values())


def test_a_home_that_carries_more_than_its_share_passes_a_conversation_on() -> None:
    pair = build_eligible("a", "b")
    key = next(b"%d" % n for n in range(50) if first(pair, {}, b"%d" % n) == "a")
    assert first(pair, {"a": Load(own=4), "b": Load(own=4)}, key) == "a"
    assert first(pair, {"a": Load(own=8), "b": Load(own=2)}, key) == "b"


def chat(*turns: tuple[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": content} for role, content in turns]}


def test_what_leads_home_is_the_beginning_of_a_conversation_and_its_service() -> None:
    begun = chat(("system", "be brief"), ("user", "hello"))
    later = chat(("system", "be brief"), ("user", "hello"), ("assistant", "hi"), ("user", "more"))
    assert find_affinity("a/b", begun) == find_affinity("a/b", later) != b""
    assert find_affinity("a/c", begun) != find_affinity("a/b", begun)
    assert find_affinity("a/b", chat(("user", "hello"))) != find_affinity("a/b", begun)
    parts = [{"type": "text", "text": "hello"}, {"type": "image_url", "image_url": {"url": "data:"}}]
    assert find_affinity("a/b", chat(("user", parts))) == find_affinity("a/b", chat(("user", "hello")))
    assert find_affinity("a/b", {"prompt": "hello"}) != b""
    assert find_affinity("a/b", chat(("assistant", "x"), *[("assistant", "y")] * 20)) != b""


@pytest.mark.parametrize("body", [{"input": "hello"}, {"prompt": ["a", "b"]}, {"messages": [{"role": "user"}]}, {}])
def test_what_has_no_beginning_leads_nowhere(body: dict[str, Any]) -> None:
    assert find_affinity("a/b", body) == b""
