"""How the demo ends where it cannot go on: with a word on what is left, and never under another's feet."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from e2e.cluster.errors import ClusterError
from e2e.cluster.paths import run_dir
from e2e.demo import __main__ as demo
from e2e.demo import story
from e2e.installation import build_images


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEKISHO_CACHE", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["demo", "up"])


def test_a_second_demo_does_not_begin_while_one_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told: list[int] = []
    (run_dir() / "demo").mkdir(parents=True)
    monkeypatch.setattr(story, "_tell", lambda: told.append(demo.main()) or 0)
    assert demo.main() == 0
    assert told == [1]
    said = capsys.readouterr().err
    assert "another `make demo` is at the cluster demo" in said
    assert "make demo-down" not in said


@pytest.mark.parametrize("is_left", [True, False])
@pytest.mark.parametrize(
    ("failure", "code", "words"),
    [
        (KeyboardInterrupt(), 130, "interrupted; "),
        (TimeoutError("legal/contract-review: Ready is not True"), 1, "error: legal/contract-review: Ready is not"),
        (ClusterError("no room", remedy="make some"), 1, "what to do: make some"),
    ],
)
def test_a_demo_that_ends_early_says_what_removes_what_is_left_and_only_then(
    failure: BaseException,
    code: int,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    is_left: bool,
) -> None:
    def fail() -> int:
        if is_left:
            (run_dir() / "demo").mkdir()
        raise failure

    monkeypatch.setattr(story, "_tell", fail)
    assert demo.main() == code
    said = capsys.readouterr().err
    assert words in said
    assert ("make demo-down" in said) == is_left


def test_an_image_that_cannot_be_built_is_told_after_the_builders_own_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run: Callable[..., object] = subprocess.run
    monkeypatch.setattr(subprocess, "run", lambda _, **how: run(["sh", "-c", "exit 3"], **how))
    with pytest.raises(ClusterError) as refusal:
        build_images(["agent"])
    assert refusal.value.problem == "inference-images/build.py --json agent ended with 3"
    assert "above" in refusal.value.remedy
