"""The entry point of llama.cpp's image, as far as it does without the engine."""

import itertools
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import pytest
from llamacpp import serve


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=f"no .gguf file under {tmp_path}"):
        serve.find_model(tmp_path)


def test_a_folder_with_two_models_is_refused_and_names_them(tmp_path: Path) -> None:
    for name in ("a.gguf", "b.gguf"):
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match=r"2 \.gguf files .* \(a\.gguf, b\.gguf\): name one with --model"):
        serve.find_model(tmp_path)


def test_parts_without_the_first_one_are_refused(tmp_path: Path) -> None:
    for number in (2, 3):
        (tmp_path / f"m-0000{number}-of-00003.gguf").touch()
    with pytest.raises(ValueError, match="name one with --model"):
        serve.find_model(tmp_path)


def test_the_only_model_below_a_folder_is_taken_and_hidden_ones_do_not_count(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/m.gguf").touch()
    (tmp_path / ".m.gguf").touch()
    assert serve.find_model(tmp_path) == tmp_path / "deep/m.gguf"
    assert serve.find_model(tmp_path / "deep/m.gguf") == tmp_path / "deep/m.gguf"


def test_of_a_model_in_parts_the_first_is_taken(tmp_path: Path) -> None:
    for number in (3, 1, 2):
        (tmp_path / f"m-0000{number}-of-00003.gguf").touch()
    assert serve.find_model(tmp_path).name == "m-00001-of-00003.gguf"


def test_a_missing_model_ends_with_code_2_and_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert serve.main(["--model", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"error: no .gguf file under {tmp_path}\n"


@pytest.mark.parametrize(
    ("file", "text", "threads"),
    [
        ("cpu.max", "100000 100000", 1),
        ("cpu.max", "50000 100000", 1),
        ("none", "", None),
        ("cpu.max", "max 100000", None),
    ],
)
def test_threads_follow_the_containers_limit(tmp_path: Path, file: str, text: str, threads: int | None) -> None:
    (tmp_path / file).write_text(text)
    unlimited = serve.count_threads(tmp_path / "empty")
    assert serve.count_threads(tmp_path) == (threads or unlimited)


def test_threads_follow_the_older_cgroups_limit_too(tmp_path: Path) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu/cpu.cfs_quota_us").write_text("100000\n")
    (tmp_path / "cpu/cpu.cfs_period_us").write_text("100000\n")
    assert serve.count_threads(tmp_path) == 1


@pytest.mark.parametrize(("processing", "deferred", "busy"), [(0, 0, False), (1, 0, True), (0, 3, True), (2, 2, True)])
def test_running_and_waiting_requests_make_the_server_busy(processing: int, deferred: int, busy: bool) -> None:
    text = f"# HELP x\nllamacpp:requests_processing {processing}\nllamacpp:requests_deferred {deferred}\n"
    assert serve.is_busy(text) is busy


class _Server:
    """Stands for the engine: busy or not at each look, and at rest from then on."""

    def __init__(self, looks: Iterable[bool]) -> None:
        self.looks = iter(looks)

    def handle_metrics(self) -> tuple[int, str]:
        busy = next(self.looks, False)
        return 200, f"llamacpp:requests_processing {int(busy)}\nllamacpp:requests_deferred 0\n"


def test_a_server_that_stays_busy_is_left_after_the_time_is_over() -> None:
    assert serve.drain(_Server(itertools.repeat(True)), 0.3) is False


def test_a_server_that_comes_to_rest_is_drained() -> None:
    assert serve.drain(_Server([True]), 30) is True


def test_a_server_that_rests_for_a_moment_only_is_not_drained_yet() -> None:
    looks = iter([False, True, False, False, False, True, *[False] * 100])
    assert serve.drain(_Server(looks), 30) is True
    assert sum(1 for _ in looks) == 95


_BEGINNING = """
import os, signal, sys
from llamacpp import serve


class Idle:
    def handle_metrics(self):
        return 200, "llamacpp:requests_processing 0\\nllamacpp:requests_deferred 0\\n"


class Signal:
    left, begun = int(sys.argv[2]), False

    def start(self, options, model):
        self.begun = True
        return Idle()

    def trace(self, frame, event, argument):
        if self.begun and event == "line":
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGTERM)
        return self.trace


made = Signal()
serve.start_server = made.start
sys.settrace(made.trace)
serve.main(["--model", sys.argv[1]])
"""


@pytest.mark.parametrize("line", range(4, 12))
def test_a_signal_before_any_line_with_which_the_wait_begins_ends_the_server(tmp_path: Path, line: int) -> None:
    model = tmp_path / "m.gguf"
    model.touch()
    words = [sys.executable, "-c", _BEGINNING, str(model), str(line)]
    environment = {**os.environ, "PYTHONPATH": str(Path(serve.__file__).parents[1])}
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "serving m.gguf as model on port 8080\n"
            until = time.monotonic() + 60
            while process.poll() is None and time.monotonic() < until:
                # It waits, by fewer lines than that, or for its rest: a second signal changes nothing then.
                if Path(f"/proc/{process.pid}/stat").read_text().rpartition(") ")[2].startswith("S"):
                    process.terminate()
                time.sleep(0.01)
            assert process.poll() == 0
            assert process.stdout.read() == "drained\n"
        finally:
            process.kill()
