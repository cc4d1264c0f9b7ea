"""The same image under another digest: what a node that has both calls it is up to the node."""

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any, Final

_MOST_TRIES: Final = 1_000_000


def repack(source: Path, target: Path, *, below: str = "sha256:g") -> None:
    """Copy an image's archive with a note in its manifest: the same image under another digest, one below `below`."""
    with tarfile.open(source) as old, tarfile.open(target, "w") as new:
        index = _read_json(old, "index.json")
        name = index["manifests"][0]["digest"].partition(":")[2]
        data = _annotate(_read_json(old, f"blobs/sha256/{name}"), below)
        digest = _digest(data)
        described = {**index["manifests"][0], "digest": digest, "size": len(data)}
        described.pop("annotations", None)
        for member in old.getmembers():
            plain = member.name.removeprefix("./")
            if member.isfile() and plain not in {"index.json", f"blobs/sha256/{name}"}:
                new.addfile(member, old.extractfile(member))
        for path, content in (
            ("index.json", json.dumps({**index, "manifests": [described]}).encode()),
            (f"blobs/sha256/{digest[7:]}", data),
        ):
            entry = tarfile.TarInfo(path)
            entry.size = len(content)
            new.addfile(entry, io.BytesIO(content))


def _annotate(manifest: dict[str, Any], below: str) -> bytes:
    for number in range(_MOST_TRIES):
        note = f"the same image under another digest, try {number}"
        data = json.dumps({**manifest, "annotations": {**manifest.get("annotations", {}), "test": note}}).encode()
        if _digest(data) < below:
            return data
    raise ValueError(f"no manifest of {_MOST_TRIES} has a digest below {below}")


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _read_json(archive: tarfile.TarFile, path: str) -> dict[str, Any]:
    member = next(item for item in archive.getmembers() if item.name.removeprefix("./") == path)
    file = archive.extractfile(member)
    assert file is not None
    content: dict[str, Any] = json.loads(file.read())
    return content
