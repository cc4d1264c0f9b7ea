"""What engines say of their load: read strictly, or not used."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.gateway.choosing.metrics import EngineLoad, parse_load

VLLM = b"""# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="legal/chat"} 3.0
vllm:num_requests_running{engine="1",model_name="legal/{chat} \\" x"} 2.0
vllm:num_requests_waiting{engine="0",model_name="legal/chat"} 4.0
vllm:num_requests_waiting_by_reason{reason="capacity"} 77.0
vllm:kv_cache_usage_perc{engine="0"} 0.5
vllm:kv_cache_usage_perc{engine="1"} 0.75
vllm:e2e_request_latency_seconds_bucket{le="0.3"} NaN
"""
LLAMA = b"llamacpp:requests_processing 1\nllamacpp:requests_deferred 2 1800000000000\nllamacpp:n_decode_total 9\n"


def test_the_load_of_both_engines_is_read_and_summed_over_engines_of_one_process() -> None:
    assert parse_load(VLLM, "vllm") == EngineLoad(5.0, 4.0, 0.75)
    assert parse_load(LLAMA, "llamacpp") == EngineLoad(1.0, 2.0)
    assert parse_load(VLLM.replace(b"kv_cache", b"gpu_cache"), "vllm") == EngineLoad(5.0, 4.0, 0.75)


@pytest.mark.parametrize(
    "value", [b"NaN", b"+Inf", b"-1", b"", b"x", b"1 2 3", b"{a=\"1\" 3", b"0x10", b"1" * 5000, b"1e999"]
)  # fmt: skip
def test_a_number_that_is_none_makes_the_whole_page_useless(value: bytes) -> None:
    assert (
        parse_load(b"llamacpp:requests_deferred 1\nllamacpp:requests_processing " + value + b"\n", "llamacpp") is None
    )


@pytest.mark.parametrize(
    ("text", "dialect"),
    [(b"", "vllm"), (LLAMA, "vllm"), (VLLM, "llamacpp"), (VLLM, "none"), (VLLM, "x"), (b"\xff\x00<html>", "vllm"),
     (b"llamacpp:requests_processing 1\n", "llamacpp"), (b" " + LLAMA.split(b"\n")[0], "llamacpp")],
)  # fmt: skip
def test_a_page_that_does_not_say_both_is_not_used(text: bytes, dialect: str) -> None:
    assert parse_load(text, dialect) is None


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200), st.integers(0, len(VLLM)))
def test_whatever_comes_is_read_or_refused_without_failing(noise: bytes, at: int) -> None:
    load = parse_load(VLLM[:at] + noise + VLLM[at:], "vllm")
    assert load is None or (load.running >= 0 and load.waiting >= 0)
