"""The cache: what counts as changed, what counts as finished."""

import os
from pathlib import Path

import pytest
from imagebuild.store import (
    BuiltImage,
    archive_path,
    cache_folder,
    drop_halves,
    find_built,
    hash_inputs,
    keep_built,
    locked,
)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEKISHO_CACHE", str(tmp_path / "cache"))
    return cache_folder()


def finish(name: str, inputs: str, content: bytes = b"image") -> BuiltImage:
    archive = archive_path(name, inputs)
    archive.parent.mkdir(parents=True, exist_ok=True)
    archive.write_bytes(content)
    image = BuiltImage(name=name, tag=f"sekisho.local/{name}:{inputs}", digest="sha256:" + "a" * 64, bytes=len(content))
    keep_built(image, inputs)
    return image


def test_an_image_that_was_never_built_is_not_found(cache: Path) -> None:
    assert find_built("agent", "0" * 16) is None


def test_an_archive_cut_short_is_not_taken_for_finished(cache: Path) -> None:
    finish("agent", "0" * 16)
    archive_path("agent", "0" * 16).write_bytes(b"im")
    assert find_built("agent", "0" * 16) is None


def test_a_sidecar_that_is_no_json_is_not_taken_for_finished(cache: Path) -> None:
    finish("agent", "0" * 16)
    archive_path("agent", "0" * 16).with_suffix(".json").write_text("{")
    assert find_built("agent", "0" * 16) is None


def test_a_finished_image_is_found_and_named_by_digest(cache: Path) -> None:
    image = finish("agent", "0" * 16)
    assert find_built("agent", "0" * 16) == image
    assert image.reference == "sekisho.local/agent@sha256:" + "a" * 64
    assert (cache / "images/agent.json").is_file()


def test_only_the_newest_three_archives_of_a_name_are_kept(cache: Path) -> None:
    finish("agent-x", "f" * 16)
    for number in range(5):
        finish("agent", f"{number:016x}")
        os.utime(archive_path("agent", f"{number:016x}"), (number, number))
    kept = sorted(p.stem for p in (cache / "images").glob("agent-0*.tar"))
    assert kept == [f"agent-{number:016x}" for number in (2, 3, 4)]
    assert archive_path("agent-x", "f" * 16).is_file()


def test_the_archive_that_another_checkout_still_uses_is_not_dropped_for_newer_ones(cache: Path) -> None:
    for number in range(3):
        finish("agent", f"{number:016x}")
        os.utime(archive_path("agent", f"{number:016x}"), (number, number))
    assert find_built("agent", "0" * 16)
    finish("agent", "f" * 16)
    kept = sorted(p.stem[-1] for p in (cache / "images").glob("agent-*.tar"))
    assert kept == ["0", "2", "f"]


def test_halves_of_archives_that_killed_builds_left_are_dropped_and_no_others(cache: Path) -> None:
    finish("agent", "0" * 16)
    mine, other = f".agent-{'1' * 16}.tar.77", f".agent-x-{'1' * 16}.tar.78"
    for name in (mine, other):
        (cache / "images" / name).touch()
    drop_halves("agent")
    assert sorted(p.name for p in (cache / "images").glob(".*")) == [other]
    assert find_built("agent", "0" * 16)


def test_inputs_change_with_a_name_a_content_and_a_word_but_not_with_byte_code(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.py").write_text("1")
    first = hash_inputs(["x"], [tmp_path / "in"])
    (tmp_path / "in/__pycache__").mkdir()
    (tmp_path / "in/__pycache__/a.pyc").write_text("x")
    (tmp_path / "in/.hidden").write_text("x")
    assert hash_inputs(["x"], [tmp_path / "in"]) == first
    assert hash_inputs(["y"], [tmp_path / "in"]) != first
    (tmp_path / "in/a.py").write_text("2")
    second = hash_inputs(["x"], [tmp_path / "in"])
    (tmp_path / "in/a.py").rename(tmp_path / "in/b.py")
    assert len({first, second, hash_inputs(["x"], [tmp_path / "in"])}) == 3


def test_a_lock_is_free_again_after_its_block_failed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="broken"), locked(tmp_path / "lock", "x"):
        raise ValueError("broken")
    with locked(tmp_path / "lock", "x"):
        assert (tmp_path / "lock").exists()
