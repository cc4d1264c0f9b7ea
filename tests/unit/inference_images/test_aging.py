"""Folders that are kept between builds: the old ones go, none that somebody is at, and never is half of one whole."""

import os
from pathlib import Path

import pytest
from imagebuild import aging
from imagebuild.aging import drop_unused, half_of, lock_of
from imagebuild.store import locked


def make(folder: Path, *, date: float | None = None) -> Path:
    (folder / "usr").mkdir(parents=True)
    if date is not None:
        os.utime(folder, (date, date))
    return folder


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_dir())


def test_half_a_folder_that_somebody_unpacks_stays_however_old_it_looks(tmp_path: Path) -> None:
    half = make(half_of(tmp_path / "a"), date=0)
    with locked(lock_of(tmp_path / "a"), "root"):
        drop_unused(tmp_path.iterdir())
        assert (half / "usr").is_dir()


def test_a_folder_that_somebody_copies_stays_however_old_it_looks(tmp_path: Path) -> None:
    whole = make(tmp_path / "a", date=0)
    with locked(lock_of(whole), "root"):
        drop_unused([whole])
        assert (whole / "usr").is_dir()


def test_what_nobody_used_for_long_goes_with_halves_and_what_was_used_stays(tmp_path: Path) -> None:
    make(tmp_path / "old", date=0)
    make(half_of(tmp_path / "killed"))
    make(tmp_path / "used")
    drop_unused([path for path in tmp_path.iterdir() if path.is_dir()])
    assert left(tmp_path) == ["used"]


def test_who_is_killed_while_it_removes_a_folder_leaves_nothing_that_looks_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = make(tmp_path / "old", date=0)

    def remove(path: Path) -> None:
        if path.exists():
            (path / "usr").rmdir()
            raise KeyboardInterrupt

    monkeypatch.setattr(aging, "remove", remove)
    with pytest.raises(KeyboardInterrupt):
        drop_unused([old])
    assert left(tmp_path) == ["old.part"]
