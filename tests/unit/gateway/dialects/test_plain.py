"""Completions and embeddings are read strictly: texts that something can examine, fields that are known."""

import json
from typing import Any

import pytest

from sekisho.gateway.dialects.form import Endpoint, parse_request
from sekisho.gateway.dialects.strict import BodyLimits, FieldError

LIMITS = BodyLimits()
COMPLETION = {"model": "legal/review", "prompt": "once"}
EMBEDDING = {"model": "legal/review", "input": ["a", "b"]}


@pytest.mark.parametrize(
    ("fields", "param", "said"),
    [
        ({"prompt": None}, "prompt", "must be a string or a list of 1 to 2048 strings"),
        ({"prompt": []}, "prompt", "must be a string or a list of 1 to 2048 strings"),
        ({"prompt": ["a"] * 2049}, "prompt", "must be a string or a list of 1 to 2048 strings"),
        ({"prompt": [7, 8]}, "prompt[0]", "numbers of tokens are not served, for nothing can examine them"),
        ({"prompt": ["a", [7]]}, "prompt[1]", "numbers of tokens are not served"),
        ({"best_of": 2}, "best_of", 'the field "best_of" is not served by this gateway'),
        ({"suffix": "x"}, "suffix", "not served"),
        ({"messages": []}, "messages", "not served"),
        ({"n": 9}, "n", "n is 9, 1 to 8 are possible"),
        ({"logprobs": True}, "logprobs", "logprobs must be a whole number from 0 to 20"),
        ({"stream_options": {"x": 1}}, "stream_options.x", 'the field "x" of stream_options is not served'),
    ],
)
def test_a_completion_that_holds_what_is_not_known_is_refused_by_name(
    fields: dict[str, Any], param: str, said: str
) -> None:
    with pytest.raises(FieldError) as refusal:
        parse_request(Endpoint.COMPLETIONS, json.dumps(COMPLETION | fields).encode(), LIMITS)
    assert refusal.value.param == param
    assert said in refusal.value.message


@pytest.mark.parametrize(
    ("fields", "param", "said"),
    [
        ({"input": None}, "input", "input must be a string or a list of 1 to 2048 strings"),
        ({"input": {"a": 1}}, "input", "input must be a string or a list of strings"),
        ({"input": [[1, 2]]}, "input[0]", "numbers of tokens are not served"),
        ({"encoding_format": "int8"}, "encoding_format", "must be float or base64"),
        ({"dimensions": 0}, "dimensions", "must be a whole number"),
        ({"stream": True}, "stream", "not served"),
        ({"truncate_prompt_tokens": 5}, "truncate_prompt_tokens", "not served"),
    ],
)
def test_a_request_for_embeddings_that_holds_what_is_not_known_is_refused_by_name(
    fields: dict[str, Any], param: str, said: str
) -> None:
    with pytest.raises(FieldError) as refusal:
        parse_request(Endpoint.EMBEDDINGS, json.dumps(EMBEDDING | fields).encode(), LIMITS)
    assert refusal.value.param == param
    assert said in refusal.value.message


def test_what_is_known_goes_on_without_telling_who_asks() -> None:
    body = COMPLETION | {"user": "alice", "max_tokens": 7, "stream": True, "echo": None, "stop": ["a"]}
    asked = parse_request(Endpoint.COMPLETIONS, json.dumps(body).encode(), LIMITS)
    assert asked.engine_path == "/v1/completions"
    sent = json.loads(asked.render("served"))
    assert sent == {"model": "served", "stream": True, "prompt": "once", "max_tokens": 7, "stop": ["a"]}
    body = EMBEDDING | {"user": "alice", "dimensions": 8}
    asked = parse_request(Endpoint.EMBEDDINGS, json.dumps(body).encode(), LIMITS)
    assert json.loads(asked.render("served")) == {"model": "served", "input": ["a", "b"], "dimensions": 8}
    replaced = json.loads(asked.render("served", {"input": ["x"]}))
    assert replaced == {"model": "served", "input": ["x"]}
