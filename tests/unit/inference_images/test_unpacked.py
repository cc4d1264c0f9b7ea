"""Roots that are lent: unpacked once, kept while anybody has them, gone afterwards even if someone was killed."""

import io
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from imagebuild import unpacked
from imagebuild.failure import ImageBuildError
from imagebuild.unpacked import lend_root, unpacked_folder

Count = Callable[[], int]


@pytest.fixture(autouse=True)
def count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Count:
    """Move the cache, unpack plain archives, and count how often."""
    monkeypatch.setenv("SEKISHO_CACHE", str(tmp_path / "cache"))
    done: list[Path] = []

    def unpack(archive: Path, root: Path) -> None:
        done.append(root)
        root.mkdir(parents=True)
        with tarfile.open(archive) as tar:
            tar.extractall(root)  # noqa: S202 - our own archive; the first Pythons 3.11 have no filters

    monkeypatch.setattr(unpacked, "unpack_archive", unpack)
    return lambda: len(done)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return pack(tmp_path / "engine-0123456789abcdef.tar")


def pack(path: Path) -> Path:
    with tarfile.open(path, "w") as tar:
        member = tarfile.TarInfo("app/run")
        member.size = 4
        tar.addfile(member, io.BytesIO(b"data"))
    return path


def left() -> list[str]:
    return sorted(path.name for path in unpacked_folder().iterdir() if path.is_dir())


def test_nothing_is_left_once_the_last_gave_it_back(archive: Path, count: Count) -> None:
    with lend_root(archive) as outer:
        with lend_root(archive) as inner:
            assert inner == outer
        assert (outer / "app/run").read_bytes() == b"data"
    assert (left(), count()) == ([], 1)


def test_nothing_is_left_of_a_test_that_failed(archive: Path) -> None:
    with pytest.raises(ZeroDivisionError), lend_root(archive):
        raise ZeroDivisionError
    assert left() == []


def test_an_archive_that_cannot_be_unpacked_leaves_nothing_that_looks_whole(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Path, root: Path) -> None:
        (root / "half").mkdir(parents=True)
        raise ImageBuildError("a layer could not be unpacked")

    monkeypatch.setattr(unpacked, "unpack_archive", fail)
    with pytest.raises(ImageBuildError, match="a layer could not be unpacked"), lend_root(archive):
        pass
    assert left() == [f"{archive.stem}.part"]
    with pytest.raises(ImageBuildError, match="a layer could not be unpacked"), lend_root(archive):
        pass


def test_half_a_root_is_unpacked_anew(archive: Path) -> None:
    (unpacked_folder() / f"{archive.stem}.part" / "half").mkdir(parents=True)
    with lend_root(archive) as root:
        assert [path.name for path in root.iterdir()] == ["app"]
    assert left() == []


def test_many_at_once_have_one_root_and_leave_none(archive: Path, count: Count) -> None:
    begin, seen = threading.Barrier(8, timeout=60), list[bytes]()

    def run() -> None:
        begin.wait()
        with lend_root(archive) as root:
            begin.wait()  # nobody gives it back before all have it
            seen.append((root / "app/run").read_bytes())

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (seen, left(), count()) == ([b"data"] * 8, [], 1)


def test_what_a_killed_process_had_is_removed_by_the_next_and_not_before(archive: Path, tmp_path: Path) -> None:
    other = pack(tmp_path / "other-0123456789abcdef.tar")
    script = (
        f"import fcntl, sys; handle = open({str(unpacked_folder() / f'{archive.stem}.lock')!r}, 'w')\n"
        "fcntl.flock(handle, fcntl.LOCK_SH); print('held', flush=True); sys.stdin.read()"
    )
    (unpacked_folder() / archive.stem).mkdir(parents=True)
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with lend_root(other):
            assert archive.stem in left()
        holder.kill()
        holder.wait()
    with lend_root(other):
        assert left() == [other.stem]
    assert left() == []
