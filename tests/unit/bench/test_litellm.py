"""What LiteLLM's proxy is told, and which answers of the two sides count."""

import pytest

from bench.catalogue import build_registry
from bench.gateway.litellm import check_answers, compare_cpu, render_config
from bench.gateway.streams import Heard, Place, check_stream, spell_stamp
from bench.harness import Sample, WrongAnswerError
from tests.unit.gateway.house import MODEL

GOOD = b'{"choices":[{"message":{"content":"It is so."}}]}'


def test_the_proxy_leads_to_the_engine_alone_and_tries_nothing_again() -> None:
    config = render_config(Place(8123))
    assert config["model_list"] == [
        {
            "model_name": MODEL,
            "litellm_params": {"model": "openai/m", "api_base": "http://127.0.0.1:8123/v1", "api_key": "none"},
        }
    ]
    assert config["litellm_settings"] == {"num_retries": 0, "telemetry": False}


def test_another_answer_than_the_engines_counts_for_nothing() -> None:
    with pytest.raises(WrongAnswerError, match="callers were told"):
        check_answers([GOOD], [GOOD.replace(b"so", b"not")])


def test_no_answer_at_all_counts_for_nothing() -> None:
    with pytest.raises(WrongAnswerError, match="nothing was measured"):
        check_answers([GOOD], [])
    check_answers([GOOD], [GOOD, GOOD])


def test_the_cost_of_a_request_is_compared_whatever_their_numbers() -> None:
    assert compare_cpu(Sample(10, 1.0, 0.2), Sample(40, 1.0, 0.08)) == pytest.approx(10)


@pytest.mark.parametrize("chunks", [2, 4])
def test_a_stream_that_says_nothing_where_it_ends_is_whole_and_one_of_another_length_is_not(chunks: int) -> None:
    said = [f'{{"content":"{spell_stamp(at, 7)}"}}' for at in range(3)] + ['{"content":null}']
    events = [f'data: {{"choices":[{{"delta":{delta}}}]}}\n\n' for delta in said]
    heard = Heard([(0, b"HTTP/1.1 200 OK\r\n\r\n" + "".join(events).encode() + b"data: [DONE]\n\n")])
    check_stream(heard, 3)
    with pytest.raises(WrongAnswerError, match=f"3 chunks of {chunks} came"):
        check_stream(heard, chunks)


def test_both_halves_are_registered() -> None:
    chosen = build_registry().choose(["G4", "G4b"])
    assert [(item.id, item.goal, item.direction) for item in chosen] == [("G4", 40, "min"), ("G4b", 20, "min")]
