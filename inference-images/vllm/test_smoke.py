"""vLLM's CPU image with a tiny model: what a Runtime of it relies on."""

import json
from pathlib import Path

import pytest
from imagebuild.probing import ask, fetch, read_stream
from imagebuild.sandbox import RunningImage, run_image

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(3600)]


def test_an_engine_without_weights_ends_and_says_so(archive: Path, tmp_path: Path) -> None:
    with run_image(archive, tmp_path) as running:
        assert running.process.wait(timeout=600) == 2
        assert "error: no config.json in /models: the weights are not there" in running.printed


def test_a_question_is_answered_at_once_and_as_a_stream(engine: tuple[RunningImage, int]) -> None:
    status, body = fetch(engine[1], "/v1/chat/completions", body=ask("demo"))
    assert status == 200, body
    whole = json.loads(body)
    assert whole["model"] == "demo"
    assert whole["usage"]["completion_tokens"] == 8
    status, body = fetch(engine[1], "/v1/chat/completions", body=ask("demo", stream=True))
    events = read_stream(body)
    text = "".join(e["choices"][0]["delta"].get("content") or "" for e in events if e["choices"])
    assert text == whole["choices"][0]["message"]["content"]
    assert events[-1]["usage"]["completion_tokens"] == 8


def test_a_model_of_another_name_is_refused(engine: tuple[RunningImage, int]) -> None:
    status, body = fetch(engine[1], "/v1/chat/completions", body=ask("other"))
    assert status == 404
    assert "`other` does not exist" in body


def test_metrics_speak_the_profiles_dialect(engine: tuple[RunningImage, int]) -> None:
    status, body = fetch(engine[1], "/metrics")
    assert status == 200
    assert "vllm:num_requests_running{" in body
    assert "vllm:num_requests_waiting{" in body
