"""Archives: what an import makes of them."""

import hashlib
import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest
from imagebuild.failure import ImageBuildError
from imagebuild.oci import name_archive, read_config, unpack_archive

TAG = "sekisho.local/demo:0123"


def build_archive(path: Path, *, mtime: int = 0, manifests: int = 1, content: bytes = b"world") -> str:
    blobs: dict[str, bytes] = {}

    def keep(blob: bytes) -> dict[str, Any]:
        digest = hashlib.sha256(blob).hexdigest()
        blobs[f"blobs/sha256/{digest}"] = blob
        return {"digest": f"sha256:{digest}", "size": len(blob)}

    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        info = tarfile.TarInfo("hello")
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
    layers = [keep(layer.getvalue()) | {"mediaType": "application/vnd.oci.image.layer.v1.tar"}]
    found = []
    for number in range(manifests):
        config = keep(json.dumps({"config": {"User": f"{number}"}}).encode())
        manifest = keep(json.dumps({"config": config, "layers": layers}).encode())
        found.append(manifest | {"mediaType": "application/vnd.oci.image.manifest.v1+json"})
    blobs["index.json"] = json.dumps({"manifests": found}).encode()
    blobs["blobs/sha256/unused"] = b"left over"
    with tarfile.open(path, "w") as tar:
        for name, blob in blobs.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(blob), mtime
            tar.addfile(info, io.BytesIO(blob))
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


def test_a_layer_that_finds_no_room_is_told_with_what_helps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build_archive(tmp_path / "in.tar", content=b"x" * (4 << 20))  # more than a pipe holds: tar ends before its input
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/tar").write_text("#!/bin/sh\necho 'tar: hello: No space left on device' >&2\nexit 2\n")
    (tmp_path / "bin/tar").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    with pytest.raises(ImageBuildError, match=r"No space left on device Make room, or choose another folder"):
        unpack_archive(tmp_path / "in.tar", tmp_path / "root")
