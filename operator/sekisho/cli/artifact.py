"""A sealed model as an OCI artifact: ModelPack media types, titles that are paths, our facts as annotations.

Annotations only inform: whoever verifies takes model, version and class from the signed manifest.
"""

import hashlib
import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final

from sekisho.api.names import CLASS_LABEL
from sekisho.cli.failures import refuse
from sekisho.cli.progress import Meter
from sekisho.cli.registry import ATTEMPTS, MANIFEST_TYPE, Registry, pause
from sekisho.cli.sealed_folder import SealedFolder, check_files, open_sealed
from sekisho.cli.sealing import HASH_CHUNK, hash_file
from sekisho.errors import Reason, RefusedError, UnavailableError
from sekisho.seal.facts import (
    BOM_NAME,
    FILES_FOLDER,
    FORMAT,
    KEY_NAME,
    MANIFEST_NAME,
    MAX_BOM_BYTES,
    MAX_FILES,
    MAX_MANIFEST_BYTES,
    MAX_SIGNATURES_BYTES,
    MAX_TABLE_BYTES,
    SIGNATURES_NAME,
    TABLE_NAME,
)
from sekisho.seal.keys import MAX_KEY_FILE_BYTES
from sekisho.seal.manifest import digest_of

ARTIFACT_TYPE: Final = "application/vnd.cncf.model.manifest.v1+json"
CONFIG_TYPE: Final = "application/vnd.cncf.model.config.v1+json"
WEIGHT_TYPE: Final = "application/vnd.cncf.model.weight.v1.raw"
CONFIG_FILE_TYPE: Final = "application/vnd.cncf.model.weight.config.v1.raw"
DOC_TYPE: Final = "application/vnd.cncf.model.doc.v1.raw"
TITLE: Final = "org.opencontainers.image.title"
FILEPATH: Final = "org.cncf.model.filepath"
_PROGRESS_BYTES: Final = 1024 * 1024
_TYPES: Final[Mapping[str, str]] = {
    MANIFEST_NAME: CONFIG_FILE_TYPE,
    KEY_NAME: CONFIG_FILE_TYPE,
    SIGNATURES_NAME: DOC_TYPE,
    TABLE_NAME: CONFIG_FILE_TYPE,
    BOM_NAME: DOC_TYPE,
}
_MOST: Final[Mapping[str, int]] = {
    MANIFEST_NAME: MAX_MANIFEST_BYTES,
    KEY_NAME: MAX_KEY_FILE_BYTES,
    SIGNATURES_NAME: MAX_SIGNATURES_BYTES,
    TABLE_NAME: MAX_TABLE_BYTES,
    BOM_NAME: MAX_BOM_BYTES,
}
_STORED: Final = re.compile(rf"{FILES_FOLDER}/[0-9]{{5}}\.sealed")
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Layer:
    """One file of the artifact."""

    path: str
    size: int
    digest: str

    def spell(self) -> dict[str, Any]:
        """Spell its descriptor."""
        kind = _TYPES.get(self.path, WEIGHT_TYPE)
        names = {TITLE: self.path, FILEPATH: self.path}
        return {"mediaType": kind, "digest": self.digest, "size": self.size, "annotations": names}


def push_model(folder: SealedFolder, registry: Registry, *, meter: Meter) -> str:
    """Push a sealed folder and return the digest of the artifact; what the registry has is not sent again."""
    check_files(folder)
    layers = _list_layers(folder)
    meter.start("pushing", sum(layer.size for layer in layers))
    try:
        for layer in layers:
            if registry.has_blob(layer.digest):
                meter.advance(layer.size)
                continue
            with (folder.place / layer.path).open("rb") as source:
                registry.push_blob(source, layer.size, layer.digest, advance=meter.advance)
    finally:
        meter.finish()
    config = _spell({"descriptor": _describe(folder), "config": {}, "modelfs": _list_diffs(layers)})
    if not registry.has_blob(digest_of(config)):
        registry.push_blob(io.BytesIO(config), len(config), digest_of(config), advance=lambda _: None)
    data = _spell(_build_manifest(folder, layers, config))
    registry.push_manifest(data, registry.reference.tag)
    return digest_of(data)


def pull_model(registry: Registry, out: Path, *, meter: Meter) -> tuple[SealedFolder, str]:
    """Pull a sealed model into a new folder, which appears only when everything is in it; returns the digest too.

    Raises:
        RefusedError: Not a sealed model, a file other than its digest, ciphertext that the manifest does not name.
    """
    if out.exists():
        raise refuse(f"{out} exists; name another folder with --out, or remove it first")
    manifest, digest = registry.read_manifest()
    layers = _read_layers(manifest, str(registry.reference))
    small = tuple(layer for layer in layers if layer.path in _TYPES)
    blobs = tuple(layer for layer in layers if layer.path not in _TYPES)
    partial = out.with_name(f"{out.name}.partial")
    (partial / FILES_FOLDER).mkdir(parents=True, exist_ok=True)
    meter.start("pulling", sum(layer.size for layer in layers))
    try:
        for layer in small:
            _pull_layer(registry, layer, partial / layer.path, meter=meter)
        _check_blobs(open_sealed(partial), blobs)
        for layer in blobs:
            _pull_layer(registry, layer, partial / layer.path, meter=meter)
    finally:
        meter.finish()
    check_files(open_sealed(partial))
    partial.rename(out)
    return open_sealed(out), digest


def _check_blobs(folder: SealedFolder, blobs: tuple[Layer, ...]) -> None:
    """Refuse ciphertext that the manifest does not name, before any of it is fetched."""
    wanted = {f.stored_as: Layer(f.stored_as, f.ciphertext.size, f.ciphertext.digest) for f in folder.manifest.files}
    offered = {blob.path: blob for blob in blobs}
    for path in sorted(wanted.keys() | offered.keys()):
        if wanted.get(path) != offered.get(path):
            raise RefusedError(
                Reason.SEAL_BROKEN,
                f"{path} is {_tell(offered.get(path))} in the artifact, and {_tell(wanted.get(path))} in the manifest",
            )


def _tell(blob: Layer | None) -> str:
    return f"{blob.digest} of {blob.size} bytes" if blob else "missing"


def _pull_layer(registry: Registry, layer: Layer, place: Path, *, meter: Meter) -> None:
    if place.is_symlink() or (place.exists() and place.stat().st_size > layer.size):
        place.unlink()
    with place.open("ab+") as file:
        arrival = _Arrival(layer, file, meter)
        arrival.read_what_is_there()
        failures = 0
        while arrival.count < layer.size:
            before = arrival.count
            error = _pull_once(registry, arrival)
            failures = 1 if arrival.count - before >= _PROGRESS_BYTES else failures + 1
            if arrival.count < layer.size:
                if failures >= ATTEMPTS:
                    raise error or _broke_off(registry, arrival)
                pause(failures)
    if arrival.count != layer.size or arrival.spell_digest() != layer.digest:
        place.unlink()
        raise RefusedError(
            Reason.DIGEST_MISMATCH,
            f"{registry.reference} sent other bytes for {layer.path} than {layer.digest} of {layer.size} bytes",
        )


@dataclass(slots=True)
class _Arrival:
    """What of a layer has come: in the file, counted and hashed. It may become larger than the layer by one read."""

    layer: Layer
    file: BinaryIO
    meter: Meter
    count: int = 0
    _digest: Any = field(default_factory=hashlib.sha256)

    def read_what_is_there(self) -> None:
        self.file.seek(0)
        while chunk := self.file.read(HASH_CHUNK):
            self._note(chunk)

    def take(self, chunk: bytes) -> None:
        self.file.write(chunk)
        self._note(chunk)

    def spell_digest(self) -> str:
        return f"sha256:{self._digest.hexdigest()}"

    def _note(self, chunk: bytes) -> None:
        self._digest.update(chunk)
        self.count += len(chunk)
        self.meter.advance(len(chunk))


def _pull_once(registry: Registry, arrival: _Arrival) -> UnavailableError | None:
    """Take what one answer brings, which may break off."""
    try:
        for chunk in registry.read_blob(arrival.layer.digest, arrival.count):
            arrival.take(chunk)
            if arrival.count > arrival.layer.size:
                break
    except UnavailableError as error:
        return error
    return None


def _broke_off(registry: Registry, arrival: _Arrival) -> UnavailableError:
    return UnavailableError(
        Reason.SOURCE_UNREACHABLE,
        f"{registry.reference} broke off {arrival.layer.path} at {arrival.count} of {arrival.layer.size} bytes "
        f"{ATTEMPTS} times; run the same command again: what came is kept",
    )


def _list_layers(folder: SealedFolder) -> tuple[Layer, ...]:
    small = [name for name in _TYPES if (folder.place / name).is_file()]
    layers = [Layer(name, (folder.place / name).stat().st_size, hash_file(folder.place / name)) for name in small]
    blobs = [Layer(file.stored_as, file.ciphertext.size, file.ciphertext.digest) for file in folder.manifest.files]
    return (*layers, *blobs)


def _read_layers(manifest: Mapping[str, Any], name: str) -> tuple[Layer, ...]:
    layers = manifest.get("layers")
    if not isinstance(layers, list) or not 1 <= len(layers) <= MAX_FILES + len(_TYPES):
        raise RefusedError(Reason.NOT_SEALED, f"{name} has no list of layers of a sealed model")
    read = [_read_layer(layer, name) for layer in layers]
    if len({layer.path for layer in read}) != len(read):
        raise RefusedError(Reason.SOURCE_INVALID, f"{name} names a file twice")
    if not {MANIFEST_NAME, KEY_NAME, TABLE_NAME} <= {layer.path for layer in read}:
        raise RefusedError(Reason.NOT_SEALED, f"{name} is no sealed model: it lacks {MANIFEST_NAME} or its companions")
    return tuple(read)


def _read_layer(layer: Any, name: str) -> Layer:
    value = layer if isinstance(layer, dict) else {}
    annotations = value.get("annotations")
    path = annotations.get(TITLE) if isinstance(annotations, dict) else None
    size, digest = value.get("size"), value.get("digest")
    if not isinstance(path, str) or not (path in _TYPES or _STORED.fullmatch(path)):
        raise RefusedError(Reason.NOT_SEALED, f"{name} holds {str(path)[:80]!r}, which is no part of a sealed model")
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest) or type(size) is not int or size < 0:
        raise RefusedError(Reason.SOURCE_INVALID, f"layer {path} of {name} has no sha256 digest and size")
    if size > _MOST.get(path, size):
        raise RefusedError(Reason.SIZE_EXCEEDED, f"{path} of {name} has {size} bytes, {_MOST[path]} are allowed")
    return Layer(path, size, digest)


def _build_manifest(folder: SealedFolder, layers: tuple[Layer, ...], config: bytes) -> dict[str, Any]:
    model = folder.manifest.model
    return {
        "schemaVersion": 2, "mediaType": MANIFEST_TYPE, "artifactType": ARTIFACT_TYPE,
        "config": {"mediaType": CONFIG_TYPE, "digest": digest_of(config), "size": len(config)},
        "layers": [layer.spell() for layer in layers],
        "annotations": {
            CLASS_LABEL: model.data_class, "sekisho.dev/sealed": FORMAT, "sekisho.dev/model": model.name,
            "sekisho.dev/model-version": str(model.version), "sekisho.dev/manifest-digest": folder.digest,
        },
    }  # fmt: skip


def _describe(folder: SealedFolder) -> dict[str, Any]:
    manifest = folder.manifest
    facts = {"name": manifest.model.name, "version": str(manifest.model.version), "createdAt": manifest.sealed_at}
    licence = manifest.declared.get("licence")
    return facts | ({"licenses": [licence]} if licence else {})


def _list_diffs(layers: tuple[Layer, ...]) -> dict[str, Any]:
    return {"type": "layers", "diffIds": [layer.digest for layer in layers]}


def _spell(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
