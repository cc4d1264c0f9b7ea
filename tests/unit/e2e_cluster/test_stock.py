"""What nodes begin with: made once, linked where nobody changes it, and never half."""

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from e2e.cluster import stock
from e2e.cluster.errors import ClusterError
from e2e.cluster.oci import ImageContent, read_reference, write_archive
from e2e.cluster.progress import silent
from e2e.cluster.stock import INDEX, import_commands, is_stocked, lay_stock

BLOB = "io.containerd.content.v1.content/blobs/sha256/ab"
PROGRAM = "io.containerd.snapshotter.v1.overlayfs/snapshots/1/fs/bin/program"
STATE = "io.containerd.metadata.v1.bolt/meta.db"


@pytest.fixture
def filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Move the cache, fill stocks without a containerd, and note how often."""
    monkeypatch.setenv("SEKISHO_CACHE", str(tmp_path / "cache"))
    done: list[str] = []

    def fill(folder: Path, images: Sequence[tuple[Path, str, str]]) -> None:
        done.append(folder.name)
        for name in (BLOB, PROGRAM, STATE):
            (folder / name).parent.mkdir(parents=True)
            (folder / name).write_text(name)
        (folder / INDEX).write_text("".join(f"{name} {by_digest}\n" for _, name, by_digest in images))

    monkeypatch.setattr(stock, "_fill", fill)
    return done


def pack(folder: Path, name: str, content: bytes = b"#!") -> Path:
    (folder / "program").write_bytes(content)
    archive = folder / f"{name}.tar"
    write_archive(archive, f"tests.local/{name}:1", ImageContent(["/program"], {"program": folder / "program"}, {}))
    return archive


def names(folder: Path) -> set[str]:
    return {path.name for path in (folder / "cache/stocks").iterdir() if path.is_dir()}


def test_an_archive_that_does_not_name_its_image_is_refused(tmp_path: Path, filled: list[str]) -> None:
    (tmp_path / "program").write_bytes(b"")
    archive = tmp_path / "nameless.tar"
    write_archive(archive, "", ImageContent(["/program"], {"program": tmp_path / "program"}, {}))
    with pytest.raises(ClusterError, match="does not say what its image is called"):
        lay_stock([archive], [tmp_path / "n1"], silent)
    assert filled == []


def test_nodes_share_what_nobody_changes_and_have_a_state_of_their_own(tmp_path: Path, filled: list[str]) -> None:
    first, second = tmp_path / "n1/containerd", tmp_path / "n2/containerd"
    lay_stock([pack(tmp_path, "one")], [first, second], silent)
    for name in (BLOB, PROGRAM):
        assert (first / name).samefile(second / name), name
    (first / STATE).write_text("changed")
    assert (second / STATE).read_text() == STATE
    lay_stock([tmp_path / "one.tar"], [tmp_path / "n3"], silent)
    assert (tmp_path / "n3" / STATE).read_text() == STATE
    assert len(filled) == 1


def test_a_node_that_goes_takes_nothing_from_the_others(tmp_path: Path, filled: list[str]) -> None:
    lay_stock([pack(tmp_path, "one")], [tmp_path / "n1", tmp_path / "n2"], silent)
    shutil.rmtree(tmp_path / "n1")
    assert (tmp_path / "n2" / PROGRAM).read_text() == PROGRAM


def test_another_image_makes_another_stock(tmp_path: Path, filled: list[str]) -> None:
    lay_stock([pack(tmp_path, "one")], [], silent)
    lay_stock([pack(tmp_path, "one", b"changed")], [], silent)
    assert len(set(filled)) == 2


def test_a_node_knows_what_it_began_with_by_name_and_digest(tmp_path: Path, filled: list[str]) -> None:
    archive = pack(tmp_path, "one")
    by_digest = read_reference(archive).by_digest("tests.local/one:1")
    lay_stock([archive], [tmp_path / "n1"], silent)
    assert is_stocked(tmp_path / "n1", "tests.local/one:1", by_digest)
    assert not is_stocked(tmp_path / "n1", "tests.local/one:2", by_digest)
    assert not is_stocked(tmp_path / "n1", "tests.local/one:1", "tests.local/one@sha256:0")
    assert not is_stocked(tmp_path / "none", "tests.local/one:1", by_digest)


def test_several_who_want_the_same_stock_make_it_once(tmp_path: Path, filled: list[str]) -> None:
    archive = pack(tmp_path, "one")
    nodes = [tmp_path / f"n{number}" for number in range(4)]
    threads = [threading.Thread(target=lay_stock, args=([archive], [node], silent)) for node in nodes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(filled) == 1
    assert all((node / PROGRAM).is_file() for node in nodes)


def test_only_the_stocks_that_were_used_of_late_stay(tmp_path: Path, filled: list[str]) -> None:
    for number in range(stock.KEPT_STOCKS + 2):
        lay_stock([pack(tmp_path, "one", b"%d" % number)], [], silent)
        os.utime(tmp_path / "cache/stocks" / filled[-1], (number + 1, number + 1))
    assert names(tmp_path) == set(filled[-stock.KEPT_STOCKS :])
    lay_stock([pack(tmp_path, "one", b"%d" % 2)], [], silent)  # the oldest that is there: used again, it stays
    lay_stock([pack(tmp_path, "one", b"new")], [], silent)
    assert names(tmp_path) == {filled[2], filled[-2], filled[-1]}


def test_half_a_stock_is_removed_unless_somebody_is_making_it(tmp_path: Path, filled: list[str]) -> None:
    for name in ("left.part", "made.part"):
        (tmp_path / "cache/stocks" / name / "root").mkdir(parents=True)
    with stock._alone_with(tmp_path / "cache/stocks/made"):
        lay_stock([pack(tmp_path, "one")], [], silent)
        assert names(tmp_path) == {*filled, "made.part"}
    lay_stock([tmp_path / "one.tar"], [], silent)
    assert names(tmp_path) == set(filled)


def test_who_is_killed_while_making_a_stock_holds_nobody_up(tmp_path: Path, filled: list[str]) -> None:
    script = (
        "import os, signal, sys; from pathlib import Path; from e2e.cluster import stock\n"
        "def fill(folder, images): (folder.with_suffix('.part')).mkdir(); os.kill(os.getpid(), signal.SIGKILL)\n"
        "stock._fill = fill; stock.lay_stock([Path(sys.argv[1])], [], print)"
    )
    archive = pack(tmp_path, "one")
    root = Path(__file__).parents[3]
    command = [sys.executable, "-c", script, str(archive)]
    killed = subprocess.run(command, check=False, capture_output=True, timeout=120, cwd=root)
    assert killed.returncode == -9, killed.stderr
    lay_stock([archive], [tmp_path / "n1"], silent)
    assert names(tmp_path) == set(filled)
    assert is_stocked(tmp_path / "n1", "tests.local/one:1", read_reference(archive).by_digest("tests.local/one:1"))


def test_an_image_comes_under_its_tag_and_under_its_digest() -> None:
    take, tag = import_commands(Path("/a.tar"), "host:5000/one:1", "host:5000/one@sha256:ab")
    assert take[-5:] == ["import", "--digests", "--base-name", "host:5000/one", "/a.tar"]
    assert tag[-2:] == ["host:5000/one@sha256:ab", "host:5000/one:1"]


@pytest.mark.parametrize(
    ("said", "is_damaged", "remedy"),
    [
        ("write /x: no space left on device: unknown", True, "make room, or set SEKISHO_CACHE"),
        ("content digest sha256:1: not found", True, "which is damaged, and try again"),
        ("odd", False, "read "),
    ],
)
def test_images_that_cannot_be_unpacked_are_told_with_what_helps(
    said: str, is_damaged: bool, remedy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEKISHO_CACHE", str(tmp_path / "cache"))
    archive = pack(tmp_path, "one", b"content")
    if is_damaged:
        archive.write_bytes(archive.read_bytes().replace(b"content", b"changed"))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/setpriv").write_text(f"#!/bin/sh\necho '{said}' >&2\nexit 1\n")
    (tmp_path / "bin/setpriv").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    with pytest.raises(ClusterError) as refusal:
        lay_stock([archive], [], silent)
    assert said in refusal.value.problem
    assert remedy in refusal.value.remedy
    assert not any((tmp_path / "cache/stocks").rglob("root"))
