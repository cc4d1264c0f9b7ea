"""What a machine refuses is told with what to do about it; what nobody foresaw stays as it is."""

import errno
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from imagebuild import main as building
from imagebuild.failure import ImageBuildError, run_program, told_failures
from imagebuild.main import main

from e2e.cluster.processes import ProcessId, poll

FOLDER = Path(__file__).parents[3] / "inference-images"
FULL, CLOSED = os.strerror(errno.ENOSPC), os.strerror(errno.EROFS)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEKISHO_CACHE", str(tmp_path))


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (OSError(errno.ENOSPC, FULL, "/cache/x"), ("/cache/x", "Make room, or choose another folder than")),
        (OSError(errno.EROFS, CLOSED, "/cache/x"), ("/cache/x", "Choose a folder that this user may write to")),
        (shutil.Error([("/from", "/to", f"[Errno 28] {FULL}")]), ("/to could not be written", "Make room")),
    ],
)
def test_a_disk_that_is_full_or_closed_is_told_with_the_variable_that_helps(
    failure: OSError, words: tuple[str, ...], tmp_path: Path
) -> None:
    with pytest.raises(ImageBuildError) as told, told_failures():
        raise failure
    assert [word for word in (*words, str(tmp_path), "SEKISHO_CACHE") if word not in str(told.value)] == []


@pytest.mark.parametrize("failure", [OSError(errno.ENOENT, "gone"), shutil.Error([("/from", "/to", "odd")])])
def test_anything_else_is_not_taken_for_a_full_disk(failure: OSError) -> None:
    with pytest.raises(type(failure)) as seen, told_failures():
        raise failure
    assert seen.value is failure


def test_a_program_that_meets_a_full_disk_is_told_with_what_helps() -> None:
    with pytest.raises(ImageBuildError, match="Make room, or choose another folder"):
        run_program(["sh", "-c", f"echo 'write: {FULL}' >&2; exit 1"], remedy="Is the mirror reachable?")


def test_all_that_a_program_started_ends_with_an_interrupted_build(tmp_path: Path) -> None:
    (tmp_path / "deep.sh").write_text("sleep 1000 & echo $! > began; mv began told; wait")
    # A shell has what it starts in the background ignore the signal, and that is inherited.
    script = (
        "import signal; from imagebuild.failure import run_program\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler); run_program(['sh', 'deep.sh'])"
    )
    environment = {**os.environ, "PYTHONPATH": str(FOLDER)}
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL
    ) as build:
        assert poll((tmp_path / "told").exists, seconds=60)
        sleeper = ProcessId.of(int((tmp_path / "told").read_text()))
        assert sleeper is not None
        build.send_signal(signal.SIGINT)
        try:
            build.wait(timeout=60)
        finally:
            build.kill()
    assert poll(lambda: not sleeper.is_alive(), seconds=60)


def test_an_interrupted_build_ends_with_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def build(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(building, "build_image", build)
    assert main(["agent"]) == 130
    assert capsys.readouterr().err == "interrupted; what is built is kept, the rest begins anew\n"


def test_the_command_line_ends_with_one_line_where_the_cache_is_closed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def build(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, CLOSED, "/cache/images")

    monkeypatch.setattr(building, "build_image", build)
    assert main(["agent"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: [Errno 30]")
    assert said.count("\n") == 1
