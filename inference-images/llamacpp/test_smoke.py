"""llama.cpp's image with a tiny model: what a Runtime of it relies on."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from imagebuild.main import build_image
from imagebuild.probing import ask, fetch, read_stream, wait_until_healthy
from imagebuild.sandbox import RunningImage, run_image
from imagebuild.unpacked import lend_root
from models.shelf import make_model

from e2e.ports import free_port

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def archive(need_root: None) -> Iterator[Path]:
    built = build_image("llamacpp").archive
    with lend_root(built):
        yield built


@pytest.fixture
def engine(need_root: None, archive: Path, tmp_path: Path) -> Iterator[tuple[RunningImage, int]]:
    port = free_port()
    arguments = ["--model", "/models", "--alias", "demo", "--host", "127.0.0.1", "--port", str(port)]
    with run_image(archive, tmp_path, arguments=arguments, models=make_model("tiny-gguf")) as running:
        assert wait_until_healthy(port, seconds=240, is_alive=lambda: running.process.poll() is None), running.printed
        yield running, port


def test_an_engine_without_weights_ends_and_says_so(need_root: None, archive: Path, tmp_path: Path) -> None:
    with run_image(archive, tmp_path) as running:
        assert running.process.wait(timeout=240) == 2
        assert "error: no .gguf file under /models" in running.printed


def test_nothing_is_left_of_an_image_that_was_run(need_root: None, archive: Path, tmp_path: Path) -> None:
    port = free_port()
    arguments = ["--host", "127.0.0.1", "--port", str(port)]
    with run_image(archive, tmp_path, arguments=arguments, models=make_model("tiny-gguf")) as running:
        assert wait_until_healthy(port, seconds=240, is_alive=lambda: running.process.poll() is None), running.printed
    with pytest.raises(ConnectionRefusedError):
        fetch(port, "/health")
    assert str(running.root) not in Path("/proc/self/mounts").read_text()


def test_other_callers_prompts_cannot_be_read(engine: tuple[RunningImage, int]) -> None:
    status, body = fetch(engine[1], "/slots")
    assert status == 501
    assert "does not support slots endpoint" in body


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


def test_metrics_speak_the_profiles_dialect(engine: tuple[RunningImage, int]) -> None:
    status, body = fetch(engine[1], "/metrics")
    assert status == 200
    assert "llamacpp:requests_processing 0" in body
    assert "llamacpp:requests_deferred 0" in body


def test_a_terminated_engine_finishes_its_answer_first(engine: tuple[RunningImage, int]) -> None:
    running, port = engine
    answers: list[tuple[int, str]] = []
    question = ask("demo", tokens=300, stream=True)
    caller = threading.Thread(target=lambda: answers.append(fetch(port, "/v1/chat/completions", body=question)))
    caller.start()
    while "processing task" not in running.printed and caller.is_alive():
        time.sleep(0.005)
    running.terminate()
    caller.join(timeout=240)
    assert running.process.wait(timeout=240) == 0
    assert read_stream(answers[0][1])[-1]["usage"]["completion_tokens"] == 300
    assert "drained" in running.printed
