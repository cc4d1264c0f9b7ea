"""The chain of the record: whatever is done to it afterwards shows."""

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.errors import Reason, RefusedError
from sekisho.ledger.chain import Head, measure_sound, read_line, seal_line, verify_records

ENTRIES = st.lists(st.dictionaries(st.text(max_size=5), st.text(max_size=9) | st.integers(), max_size=3), min_size=2)


def build(entries: list[dict[str, object]]) -> tuple[list[bytes], Head]:
    head, lines = Head(), []
    for number, entry in enumerate(entries):
        line, head = seal_line(head, {"kind": "x", "number": number, "entry": entry})
        lines.append(line[:-1])
    return lines, head


@given(ENTRIES)
def test_what_was_written_verifies_and_ends_in_the_head(entries: list[dict[str, object]]) -> None:
    lines, head = build(entries)
    assert verify_records(lines, end=head) == head == Head(len(lines), json.loads(lines[-1])["digest"])
    assert measure_sound(b"".join(line + b"\n" for line in lines), Head()) == (sum(map(len, lines)) + len(lines), head)


@given(ENTRIES, st.data())
def test_any_changed_byte_is_detected(entries: list[dict[str, object]], data: st.DataObject) -> None:
    lines, _ = build(entries)
    at = data.draw(st.integers(0, len(lines) - 1))
    place = data.draw(st.integers(0, len(lines[at]) - 1))
    changed = bytearray(lines[at])
    changed[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(RefusedError) as refusal:
        verify_records([*lines[:at], bytes(changed), *lines[at + 1 :]])
    assert refusal.value.reason is Reason.RECORD_BROKEN
    assert refusal.value.message == f"line {at + 1} is not as it was written"


@given(ENTRIES, st.data())
def test_a_removed_repeated_or_exchanged_line_is_detected(
    entries: list[dict[str, object]], data: st.DataObject
) -> None:
    lines, head = build(entries)
    at = data.draw(st.integers(0, len(lines) - 2))
    one, two = lines[at], lines[at + 1]
    for broken in (
        [*lines[:at], two, *lines[at + 2 :]],
        [*lines[:at], two, one, *lines[at + 2 :]],
        [*lines[:at], one, one, two, *lines[at + 2 :]],
    ):
        with pytest.raises(RefusedError) as refusal:
            verify_records(broken, end=head)
        assert refusal.value.reason is Reason.RECORD_BROKEN
        assert "after record" in refusal.value.message


@given(ENTRIES)
def test_a_cut_end_is_detected_by_who_kept_the_head(entries: list[dict[str, object]]) -> None:
    lines, head = build(entries)
    verify_records(lines[:-1])
    with pytest.raises(RefusedError, match=f"the record ends with {len(lines) - 1} "):
        verify_records(lines[:-1], end=head)


@given(ENTRIES, st.data())
def test_a_torn_end_is_measured_and_only_that(entries: list[dict[str, object]], data: st.DataObject) -> None:
    lines, _ = build(entries)
    whole = b"".join(line + b"\n" for line in lines)
    cut = data.draw(st.integers(0, len(whole)))
    sound, head = measure_sound(whole[:cut], Head())
    assert whole[:sound] == b"".join(line + b"\n" for line in lines[: head.seq])
    assert cut - sound <= len(lines[min(head.seq, len(lines) - 1)])


def test_a_line_with_a_right_digest_that_is_no_record_is_none() -> None:
    text = b'{"seq":"one"'
    digest = hashlib.sha256(text).hexdigest().encode()
    assert read_line(text + b',"digest":"' + digest + b'"}') is None


def test_a_break_with_whole_lines_behind_it_is_no_torn_end() -> None:
    lines, _ = build([{}, {}, {}])
    with pytest.raises(RefusedError) as refusal:
        measure_sound(lines[0] + b"\n" + lines[1][:-9] + b"\n" + lines[2] + b"\n", Head())
    assert refusal.value.reason is Reason.RECORD_BROKEN
    assert "broken after record 1" in refusal.value.message


@pytest.mark.parametrize("line", [b"", b"{}", b"x" * 300, b'{"seq":1,"digest":"' + b"0" * 64 + b'"}'])
def test_what_is_no_line_is_none(line: bytes) -> None:
    assert read_line(line) is None
