"""JSON of callers is read without doubt about what it says."""

import pytest

from sekisho.gateway.dialects.strict import BodyLimits, FieldError, Kind, check_kind, parse_json


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"\xff", "the body is not UTF-8 (byte 0)"),
        (b"{", "the body is not JSON (character 1)"),
        (b"[]", "the body must be a JSON object"),
        (b'{"a":NaN}', "the body holds NaN, which JSON does not know"),
        (b'{"a":-Infinity}', "the body holds -Infinity"),
        (b'{"a":' + b"9" * 5000 + b"}", "the body holds a number that is too long"),
        (b'{"planted":1,"b":{"c":1,"c":2}}', 'the body has the key "c" twice in one object'),
        (b'{"a":' + b"[" * 40 + b"]" * 40 + b"}", "the body is nested deeper than 32 levels"),
        (b'{"a":' + b"[" * 100_000, "the body is nested deeper than 32 levels"),
    ],
    ids=range(9),
)
def test_a_body_of_which_anything_is_in_doubt_is_refused(body: bytes, said: str) -> None:
    with pytest.raises(FieldError) as refusal:
        parse_json(body, BodyLimits())
    assert said in refusal.value.message
    assert "planted" not in refusal.value.message


@pytest.mark.parametrize("items", [b"[],[],0,0", b"{},{},{},{}", b"[0,[0]],0", b'"a","b","c","d"'])
def test_more_items_in_lists_than_allowed_are_refused(items: bytes) -> None:
    body = b'{"a":{"b":[%b]}}' % items
    with pytest.raises(FieldError, match="the body has more than 3 items in lists"):
        parse_json(body, BodyLimits(max_items=3))
    parse_json(body, BodyLimits(max_items=5))


def test_of_many_names_the_one_that_stands_twice_is_told() -> None:
    names = ",".join(f'"n{number}":1' for number in range(49_000))
    with pytest.raises(FieldError, match='the body has the key "n48000" twice in one object') as refusal:
        parse_json(f'{{{names},"n48000":1}}'.encode(), BodyLimits())
    assert refusal.value.param == "n48000"


def test_a_truth_value_is_no_number() -> None:
    with pytest.raises(FieldError, match="n must be a whole number"):
        check_kind("n", True, Kind("a whole number", (int,)))
    check_kind("n", True, Kind("a boolean", (bool,)))
