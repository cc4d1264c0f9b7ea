"""Folders of builds that run: they go with their build, and with no other's."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from imagebuild.store import cache_folder
from imagebuild.working import work_folder

FOLDER = Path(__file__).parents[3] / "inference-images"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEKISHO_CACHE", str(tmp_path / "cache"))
    return cache_folder()


def left(cache: Path) -> list[str]:
    return [path.name.partition("-")[0] for path in (cache / "building").iterdir()]


def test_the_folder_of_a_build_that_runs_stays_however_old_it_looks(cache: Path) -> None:
    with work_folder("agent") as work:
        os.utime(work, (0, 0))  # as a clock makes it that was set meanwhile
        with work_folder("probe"):
            assert sorted(left(cache)) == ["agent", "probe"]
    assert left(cache) == []


def test_nothing_is_left_of_a_build_that_failed(cache: Path) -> None:
    with pytest.raises(FileExistsError), work_folder("agent") as work:
        work.mkdir()
    assert left(cache) == []


def test_what_a_killed_build_left_goes_with_the_next_and_not_before_its_end(cache: Path) -> None:
    script = (
        "import sys; from imagebuild.working import work_folder\n"
        "with work_folder('killed') as work: (work / 'root').mkdir(); print('held', flush=True); sys.stdin.read()"
    )
    environment = {**os.environ, "PYTHONPATH": str(FOLDER)}
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with work_folder("next"):
            assert sorted(left(cache)) == ["killed", "next"]
        holder.kill()
        holder.wait()
    assert left(cache) == ["killed"]
    with work_folder("next"):
        assert left(cache) == ["next"]
