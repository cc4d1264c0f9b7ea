"""Archives: what an import makes of them."""

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from imagebuild.failure import ImageBuildError
from imagebuild.oci import name_archive, read_config, unpack_archive

TAG = "sekisho.local/demo:0123"


def build_archive(path: Path, *, mtime: int = 0, manifests: int = 1) -> str:
    blobs: dict[str, bytes] = {}

    def keep(content: bytes) -> dict[str, Any]:
        digest = hashlib.sha256(content).hexdigest()
        blobs[f"blobs/sha256/{digest}"] = content
        return {"digest": f"sha256:{digest}", "size": len(content)}

    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        info = tarfile.TarInfo("hello")
        info.size = 5
        tar.addfile(info, io.BytesIO(b"world"))
    layers = [keep(layer.getvalue()) | {"mediaType": "application/vnd.oci.image.layer.v1.tar"}]
    found = []
    for number in range(manifests):
        config = keep(json.dumps({"config": {"User": f"{number}"}}).encode())
        manifest = keep(json.dumps({"config": config, "layers": layers}).encode())
        found.append(manifest | {"mediaType": "application/vnd.oci.image.manifest.v1+json"})
    blobs["index.json"] = json.dumps({"manifests": found}).encode()
    blobs["blobs/sha256/unused"] = b"left over"
    with tarfile.open(path, "w") as tar:
        for name, content in blobs.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(content), mtime
            tar.addfile(info, io.BytesIO(content))
    return str(found[0]["digest"])


def test_an_archive_of_an_old_docker_engine_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "in.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("manifest.json"))
    with pytest.raises(ImageBuildError, match=r"in\.tar is no OCI layout; Docker writes one from version 25 on"):
        name_archive(tmp_path / "in.tar", tmp_path / "out.tar", tag=TAG)
    assert not (tmp_path / "out.tar").exists()


def test_an_archive_of_two_images_is_refused(tmp_path: Path) -> None:
    build_archive(tmp_path / "in.tar", manifests=2)
    with pytest.raises(ImageBuildError, match="the archive holds 2 images, one was expected"):
        name_archive(tmp_path / "in.tar", tmp_path / "out.tar", tag=TAG)


def test_an_import_makes_the_image_by_tag_and_by_digest(tmp_path: Path) -> None:
    digest = build_archive(tmp_path / "in.tar")
    assert name_archive(tmp_path / "in.tar", tmp_path / "out.tar", tag=TAG) == digest
    with tarfile.open(tmp_path / "out.tar") as tar:
        index = json.load(tar.extractfile("index.json"))  # type: ignore[arg-type]
        assert "blobs/sha256/unused" not in tar.getnames()
    names = [m["annotations"]["io.containerd.image.name"] for m in index["manifests"]]
    assert names == [TAG, f"sekisho.local/demo@{digest}"]
    assert {m["digest"] for m in index["manifests"]} == {digest}


def test_the_same_image_gives_the_same_bytes(tmp_path: Path) -> None:
    for number in (1, 2):
        build_archive(tmp_path / "in.tar", mtime=number)
        name_archive(tmp_path / "in.tar", tmp_path / f"out{number}.tar", tag=TAG)
    assert (tmp_path / "out1.tar").read_bytes() == (tmp_path / "out2.tar").read_bytes()


def test_a_finished_archive_unpacks_to_its_files(tmp_path: Path) -> None:
    build_archive(tmp_path / "in.tar")
    name_archive(tmp_path / "in.tar", tmp_path / "out.tar", tag=TAG)
    unpack_archive(tmp_path / "out.tar", tmp_path / "root")
    assert (tmp_path / "root/hello").read_text() == "world"
    assert read_config(tmp_path / "out.tar")["config"]["User"] == "0"
