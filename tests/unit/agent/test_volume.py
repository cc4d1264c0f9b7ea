"""The volume of unsealed weights: in memory or not at all, and large enough."""

from dataclasses import replace
from pathlib import Path

import pytest

from sekisho.agent.volume import check_memory_backed, check_room, prepare_partials, wipe_partials
from sekisho.errors import Reason, RefusedError
from tests.unit.agent.sealed import memory_folder
from tests.unit.seal.sealing import seal


def test_a_folder_on_a_disk_is_no_volume_for_plain_weights(tmp_path: Path) -> None:
    with pytest.raises(RefusedError) as caught:
        check_memory_backed(tmp_path)
    assert caught.value.reason is Reason.VOLUME_MISSING
    assert "it lies on a file system of type 0x" in caught.value.message
    assert "mount an emptyDir of medium Memory" in caught.value.message


@pytest.mark.parametrize("kind", ["missing", "file", "link"])
def test_what_is_no_folder_is_no_volume(kind: str) -> None:
    with memory_folder() as folder:
        (folder / "file").write_text("x")
        (folder / "link").symlink_to("/nowhere")
        with pytest.raises(RefusedError) as caught:
            check_memory_backed(folder / kind)
    assert caught.value.reason is Reason.VOLUME_MISSING
    assert "what it lies on cannot be told" in caught.value.message


def test_a_tmpfs_is_a_volume() -> None:
    with memory_folder() as folder:
        check_memory_backed(folder)


def test_a_volume_that_is_too_small_is_refused_with_both_sizes() -> None:
    files = seal().manifest.files
    large = (replace(files[0], size=1 << 50),)
    with memory_folder() as folder:
        check_room(folder, files)
        with pytest.raises(RefusedError) as caught:
            check_room(folder, large)
    assert caught.value.reason is Reason.SIZE_EXCEEDED
    assert "the unsealed weights have 1073741824 MiB, the memory-backed volume has room for" in caught.value.message


@pytest.mark.parametrize("kind", ["nothing", "folder", "file", "link"])
def test_half_written_files_go_whatever_lies_in_their_place(kind: str, tmp_path: Path) -> None:
    with memory_folder() as folder:
        place = folder / ".sekisho-partial"
        outside = tmp_path / "outside"
        outside.mkdir()
        (outside / "kept").write_text("x")
        if kind == "folder":
            (place / "deep").mkdir(parents=True)
            (place / "deep" / "00000").write_text("plain")
        elif kind == "file":
            place.write_text("plain")
        elif kind == "link":
            place.symlink_to(outside)
        fresh = prepare_partials(folder)
        assert fresh.stat().st_mode & 0o777 == 0o700
        assert list(fresh.iterdir()) == []
        wipe_partials(folder)
        assert list(folder.iterdir()) == []
        assert (outside / "kept").exists()
