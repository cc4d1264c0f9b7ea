"""Entries have one spelling, whether their members were spelt before or not."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.errors import Reason, RefusedError
from sekisho.ledger.entry import LINK, OPENED, Spelt, encode_entry, parse_entry, spell
from sekisho.ledger.tiles import MAX_ENTRY

NAMES = st.text(max_size=4)
VALUES = st.text(max_size=9) | st.integers() | st.dictionaries(NAMES, st.integers(), max_size=2)
MEMBERS = st.dictionaries(NAMES, VALUES)


@given(MEMBERS, st.data())
def test_members_that_were_spelt_before_make_the_same_entry(members: dict[str, object], data: st.DataObject) -> None:
    before = data.draw(st.sets(st.sampled_from(sorted(members)))) if members else set()
    plain = json.dumps(members, sort_keys=True, separators=(",", ":"))
    given = {
        name: Spelt(json.dumps(value, sort_keys=True, separators=(",", ":"))) if name in before else value
        for name, value in members.items()
    }
    assert spell(given) == plain
    assert encode_entry(given) == plain.encode()
    assert parse_entry(encode_entry(given)) == members


def test_an_entry_without_members_is_an_empty_object() -> None:
    assert encode_entry({}) == b"{}"


@pytest.mark.parametrize("extra", [0, 1])
def test_a_member_that_was_spelt_before_counts_for_the_length(extra: int) -> None:
    text = '"' + "x" * (MAX_ENTRY - len('{"a":""}') + extra) + '"'
    if not extra:
        assert len(encode_entry({"a": Spelt(text)})) == MAX_ENTRY
        return
    with pytest.raises(RefusedError, match=f"has {MAX_ENTRY + 1} bytes, {MAX_ENTRY} are allowed") as caught:
        encode_entry({"a": Spelt(text)})
    assert caught.value.reason is Reason.RECORD_UNAVAILABLE


@pytest.mark.parametrize("value", [float("nan"), {1, 2}, b"bytes"])
def test_what_json_has_no_spelling_for_is_refused(value: object) -> None:
    with pytest.raises(RefusedError, match="has no spelling as JSON") as caught:
        encode_entry({"a": Spelt("1"), "b": value})
    assert caught.value.reason is Reason.RECORD_UNAVAILABLE


def test_what_holds_itself_is_refused() -> None:
    endless: dict[str, object] = {}
    endless["a"] = [endless]
    with pytest.raises(RefusedError, match="has no spelling as JSON"):
        encode_entry(endless)


@given(st.dictionaries(NAMES, st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=9,
)))  # fmt: skip
def test_an_entry_is_spelt_as_the_standard_library_spells_it(entry: dict[str, object]) -> None:
    assert spell(entry) == json.dumps(entry, sort_keys=True, separators=(",", ":"), allow_nan=False)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"7", b"null", b"\xff", b"[" * 100_000])
def test_whatever_is_no_object_is_an_entry_without_fields(data: bytes) -> None:
    assert parse_entry(data) == {}


def test_records_that_were_written_before_name_their_links_so() -> None:
    assert (LINK, OPENED) == ("previous", "opened")
