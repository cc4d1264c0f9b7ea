"""Every place that a caller can fill is found, and replaced where it stands; words of the dialect stay."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.gateway.dialects.strict import FieldError
from sekisho.gateway.guards import texts
from sekisho.gateway.guards.texts import Text, find_opaque, find_texts, replace_texts
from sekisho.redact.fold import fold

MARK = "taro@example.co.jp"
SCHEMA = {"type": "object", "properties": {"a": {"type": "string", "description": "of a", "enum": ["x", "y"]}}}
BODY: dict[str, Any] = {
    "model": "legal/review",
    "messages": [
        {"role": "system", "content": "be brief"},
        {"role": "user", "name": "taro", "content": [{"type": "text", "text": "hello"}]},
        {
            "role": "assistant",
            "content": None,
            "refusal": "no",
            "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "not {json"},
        {"role": "tool", "tool_call_id": "call_2", "content": '[{"a": "b"}]'},
    ],
    "tools": [
        {"type": "function", "function": {"name": "f", "description": "does", "parameters": SCHEMA, "strict": True}}
    ],
    "tool_choice": {"type": "function", "function": {"name": "f"}},
    "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": SCHEMA}},
    "stop": ["end", "halt"],
    "metadata": {"ticket": "t"},
    "logit_bias": {"50256": -100},
    "temperature": 0.5,
    "seed": 7,
    "stream": True,
    "new_field": {"deep": ["unheard of"]},
}


def strings(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield where every string, and every name of an object, stands."""
    if isinstance(value, str):
        yield path
    for key, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from strings(item, (*path, key))


def plant(path: tuple[Any, ...]) -> dict[str, Any]:
    body = json.loads(json.dumps(BODY))
    place = body
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = MARK
    return dict(body)


def test_whatever_string_a_caller_fills_is_found_and_replaced() -> None:
    for path in strings(BODY):
        if path != ("model",):
            body = plant(path)
            assert any(MARK in text.value for text in find_texts(body)), path
            assert MARK not in json.dumps(replace_texts(body, lambda text: text.value.replace(MARK, "X"))), path


def test_names_of_properties_are_a_callers_too() -> None:
    for where in ("tools", "response_format", "metadata", "logit_bias", "new_field"):
        body = {"messages": [], where: json.loads(json.dumps(BODY[where]).replace('"a"', f'"{MARK}"'))}
        body[where] = body[where] if MARK in json.dumps(body[where]) else {**body[where], MARK: 1}
        assert any(MARK in text.value and text.in_json for text in find_texts(body)), where
        assert MARK not in json.dumps(replace_texts(body, lambda text: text.value.replace(MARK, "X"))), where


def test_words_of_the_dialect_are_nobodys_text() -> None:
    values = {text.value for text in find_texts(BODY)}
    assert values.isdisjoint({"user", "system", "tool", "assistant", "function", "text", "json_schema", "legal/review"})


def test_a_body_whose_texts_stay_is_the_same_body() -> None:
    assert replace_texts(BODY, lambda text: text.value) == BODY


def test_a_text_says_where_it_stands_in_words_of_the_dialect_alone() -> None:
    found = {text.path: text for text in find_texts(BODY)}
    assert found["messages[2].tool_calls[0].function.arguments"] == Text(
        "messages[2].tool_calls[0].function.arguments", '{"a": 1}', in_json=True, role="assistant"
    )
    assert found["messages[3].content"].in_json is False
    assert found["messages[4].content"].in_json is True
    assert found["tools[0].function.description"].role == "tools"
    assert found["new_field"].value == '{"deep": ["unheard of"]}'
    assert not any("ticket" in path or "deep" in path for path in found)


def test_long_numbers_are_looked_at_wherever_a_number_may_stand() -> None:
    body = {"seed": 9012345678, "messages": [{"role": "user", "content": "x", "tool_calls": [{"id": 9012345678}]}]}
    assert [text.value for text in find_texts(body)].count("9012345678") == 2
    without = replace_texts(body, lambda text: "[[X]]" if text.value.isdigit() else text.value)
    assert "seed" not in without
    assert without["messages"][0]["tool_calls"] == [{"id": "[[X]]"}]


def test_images_sounds_files_and_tokens_are_opaque() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    body = {"messages": [{"role": "user", "content": [{"type": "text", "text": "see"}, image]}]}
    assert find_opaque(body) == ("messages[0].content[1]",)
    assert [text.value for text in find_texts(body)] == ["see"]
    assert find_opaque({"prompt": [1, 2]}) == ("prompt",)
    assert find_opaque({"input": [[1], [2]]}) == ("input",)
    assert find_opaque({"input": ["a", "b"], "messages": [{"role": "user", "content": "x"}, "odd"]}) == ()


def test_what_stands_inline_is_passed_over_in_opaque_parts_alone() -> None:
    inline = f"data:text/plain,{MARK}"
    places: list[dict[str, Any]] = [
        {"tool_choice": {"url": inline}},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "s", "url": inline}}},
        {"tools": [{"type": "function", "function": {"name": "f", "file_data": inline}}]},
        {"tools": [{"content": [{"type": "file", "url": inline}]}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "url": inline}]}]},
        {
            "messages": [
                {"role": "user", "content": "x", "tool_calls": [{"content": [{"type": "file", "url": inline}]}]}
            ]
        },
    ]
    for body in places:
        assert any(MARK in text.value for text in find_texts(body)), body
        assert MARK not in json.dumps(replace_texts(body, lambda text: text.value.replace(MARK, "X")))


def test_an_address_of_an_image_elsewhere_is_a_text() -> None:
    part = {"type": "image_url", "image_url": {"url": f"https://example.com/{MARK}"}}
    body = {"messages": [{"role": "user", "content": [part]}]}
    assert any(MARK in text.value for text in find_texts(body))


def test_strings_that_hold_escapes_are_read_inside_of_the_document_they_stand_in() -> None:
    inner = json.dumps({"a": MARK, "b": "\\u0041 \n"})
    outer = json.dumps({"list": [inner, 1, None], inner: "x", "plain": "y"})
    body = {"prompt": outer}
    paths = [text.path for text in find_texts(body)]
    assert paths[-1] == "prompt"
    assert set(paths) == {"prompt", "prompt/", "prompt//"}
    said = replace_texts(body, lambda text: text.value.replace(MARK, "X"))["prompt"]
    assert json.loads(said) == json.loads(outer.replace(MARK, "X"))


def test_a_find_that_takes_a_string_apart_which_is_read_inside_refuses() -> None:
    outer = json.dumps({"a": json.dumps({"b": "\n", "c": MARK})})

    def swallow(text: Text) -> str:
        return '{"a": "gone"}' if text.path == "prompt" else text.value

    with pytest.raises(FieldError, match="prompt cannot be taken apart"):
        replace_texts({"prompt": outer}, swallow)


@pytest.mark.parametrize("beside", [r"\\", r"\u005c", r"\u005C"])
def test_a_name_that_stands_twice_in_a_document_hides_nothing(beside: str) -> None:
    document = f'{{"a": "{MARK}", "a": "{beside}", "n": 4111.1111111111111111e30}}'
    found = find_texts({"prompt": document})
    assert any(MARK in text.value and "4111.1111111111111111e30" in text.value for text in found)
    said = replace_texts({"prompt": document}, lambda text: text.value.replace(MARK, "X"))["prompt"]
    assert said == document.replace(MARK, "X").replace(beside, r"\\")
    assert replace_texts({"prompt": document}, lambda text: text.value) == {"prompt": document}


@pytest.mark.parametrize("spelt", ["\\\\", "\\u005c", "\\u005C"])
def test_escapes_in_strings_of_documents_are_read_however_a_backslash_is_spelt(spelt: str) -> None:
    escaped = "".join(f"{spelt}u{ord(sign):04x}" for sign in MARK)
    document = f'{{"a": "{{\\"b\\": \\"{escaped}\\"}}", "marks": "\ue000\U00100000\U00100001"}}'
    assert json.loads(json.loads(document)["a"]) == {"b": MARK}
    assert any(MARK in fold(text.value).text for text in find_texts({"prompt": document}))
    said = replace_texts({"prompt": document}, lambda text: '{"b": "X"}' if text.path == "prompt/" else text.value)
    assert json.loads(said["prompt"]) == {"a": '{"b": "X"}', "marks": "\ue000\U00100000\U00100001"}


def test_documents_in_strings_are_read_as_deep_as_a_body_can_hold_them() -> None:
    document = json.dumps({"a": MARK, "b": "\n"})
    for _ in range(14):
        document = json.dumps({"a": document})
    found = [text.path for text in find_texts({"prompt": document}) if MARK in text.value]
    assert found == [f"prompt{'/' * 14}"]


def test_a_document_that_cannot_be_taken_apart_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    signs = "".join(map(chr, range(0x100000, 0x100040)))
    with pytest.raises(FieldError, match="prompt holds documents in strings that cannot be taken apart"):
        find_texts({"prompt": json.dumps({"a": "\\", "b": signs}, ensure_ascii=False)})
    monkeypatch.setattr(texts, "_MAX_INSIDE", 1)
    with pytest.raises(FieldError, match="prompt/ holds documents in strings that cannot be taken apart"):
        find_texts({"prompt": json.dumps({"a": json.dumps({"b": json.dumps({"c": "\n"})})})})


def test_nesting_without_end_is_a_plain_text() -> None:
    (text,) = find_texts({"prompt": "[" * 100_000})
    assert text.in_json is False


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from(["messages", "tools", "stop", "prompt", "x"]), _JSON, max_size=4))
def test_any_body_can_be_walked(body: dict[str, Any]) -> None:
    find_texts(body)
    find_opaque(body)
    assert replace_texts(body, lambda text: text.value) == body
