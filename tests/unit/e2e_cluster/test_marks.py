"""The search for plaintext: it finds every copy, passes over what is none, and reads what nodes share once."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from e2e.sealed.marks import find_on_disk

MARK = bytes(range(64))


def test_every_copy_is_found_and_one_with_several_names_once(tmp_path: Path) -> None:
    (tmp_path / "n1").mkdir()
    (tmp_path / "n2").mkdir()
    (tmp_path / "n1/layer").write_bytes(b"before" + MARK)
    (tmp_path / "n2/layer").hardlink_to(tmp_path / "n1/layer")
    (tmp_path / "n2/copy").write_bytes(MARK + b"after")
    (tmp_path / "n2/other").write_bytes(MARK[:-1])
    (tmp_path / "n2/empty").write_bytes(b"")
    (tmp_path / "n2/link").symlink_to(tmp_path / "n2/copy")
    cluster: Any = SimpleNamespace(directory=tmp_path)
    assert sorted(path.name for path in find_on_disk(cluster, MARK)) == ["copy", "layer"]


def test_what_was_written_before_the_mark_was_drawn_is_not_read_whatever_it_calls_its_age(tmp_path: Path) -> None:
    cluster: Any = SimpleNamespace(directory=tmp_path)
    file = tmp_path / "old"
    file.write_bytes(MARK)
    assert find_on_disk(cluster, MARK, since=file.stat().st_ctime + 60) == []
    os.utime(file, (0, 0))
    assert find_on_disk(cluster, MARK, since=file.stat().st_ctime) == [file]
