"""Image archives: written the same twice, and refused where they do not say what they hold."""

import io
import json
import tarfile
from pathlib import Path

import pytest

from e2e.cluster.errors import ClusterError
from e2e.cluster.oci import ImageContent, is_undamaged, read_reference, split_name, write_archive


@pytest.fixture
def content(tmp_path: Path) -> ImageContent:
    (tmp_path / "program").write_bytes(b"#!")
    return ImageContent(["/bin/program"], {"bin/program": tmp_path / "program"}, {"bin/alias": "program"})


def archive_with(path: Path, index: object) -> Path:
    with tarfile.open(path, "w") as archive:
        data = json.dumps(index).encode()
        entry = tarfile.TarInfo("index.json")
        entry.size = len(data)
        archive.addfile(entry, io.BytesIO(data))
    return path


def test_a_file_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_text("nothing")
    with pytest.raises(ClusterError, match="cannot be read as an OCI image archive") as refusal:
        read_reference(tmp_path / "x.tar")
    assert "oci-archive" in refusal.value.remedy


def test_an_archive_without_an_index_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w"):
        pass
    with pytest.raises(ClusterError, match=r"has no index\.json"):
        read_reference(tmp_path / "x.tar")


@pytest.mark.parametrize("count", [0, 2])
def test_an_archive_of_no_or_several_images_is_refused(tmp_path: Path, count: int) -> None:
    archive = archive_with(tmp_path / "x.tar", {"manifests": [{"digest": f"sha256:0{i}"} for i in range(count)]})
    with pytest.raises(ClusterError, match=f"holds {count} images, not one"):
        read_reference(archive)


def test_one_image_may_stand_in_its_archive_under_several_names(tmp_path: Path) -> None:
    archive = archive_with(tmp_path / "x.tar", {"manifests": [{"digest": "sha256:00"}, {"digest": "sha256:00"}]})
    assert read_reference(archive).digest == "sha256:00"


def test_an_archive_that_carries_only_a_tag_has_no_name(tmp_path: Path) -> None:
    annotations = {"org.opencontainers.image.ref.name": "latest"}
    manifests = [{"digest": "sha256:00", "annotations": annotations}]
    assert read_reference(archive_with(tmp_path / "x.tar", {"manifests": manifests})).name is None


def test_what_is_written_reads_back_with_its_name_and_is_the_same_twice(tmp_path: Path, content: ImageContent) -> None:
    for name in ("a.tar", "b.tar"):
        write_archive(tmp_path / name, "registry.test:5000/own/image:1", content)
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()
    reference = read_reference(tmp_path / "a.tar")
    assert reference.name == "registry.test:5000/own/image:1"
    assert reference.by_digest(reference.name) == f"registry.test:5000/own/image@{reference.digest}"


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("a.test/b:1", ("a.test/b", "1")),
        ("a.test:5000/b:1", ("a.test:5000/b", "1")),
        ("a.test:5000/b", ("a.test:5000/b", "latest")),
        ("a.test/b", ("a.test/b", "latest")),
    ],
)
def test_a_port_is_not_taken_for_a_tag(name: str, parts: tuple[str, str]) -> None:
    assert split_name(name) == parts


def test_an_archive_that_cannot_be_written_leaves_nothing(
    tmp_path: Path, content: ImageContent, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("no room")

    monkeypatch.setattr(tarfile.TarFile, "close", fail)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(OSError, match="no room"):
        write_archive(tmp_path / "x.tar", "tests.local/x:1", content)
    assert sorted(tmp_path.iterdir()) == before


def test_an_archive_with_a_changed_blob_or_cut_short_is_found_damaged(tmp_path: Path, content: ImageContent) -> None:
    archive = tmp_path / "x.tar"
    write_archive(archive, "tests.local/x:1", content)
    assert is_undamaged(archive)
    whole = archive.read_bytes()
    archive.write_bytes(whole.replace(b"/bin/program", b"/bin/changed", 1))
    assert not is_undamaged(archive)
    archive.write_bytes(whole[: len(whole) // 2])
    assert not is_undamaged(archive)
