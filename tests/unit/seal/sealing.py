"""Seal a model in memory and open it again, the way a sealer and a loader use the package."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from sekisho.errors import Reason, RefusedError
from sekisho.seal.keys import check_commitment, commit_key
from sekisho.seal.manifest import (
    MANIFEST_NAME,
    TABLE_NAME,
    BlobFacts,
    ModelIdentity,
    SealedFile,
    SealedManifest,
    digest_of,
    encode_manifest,
    name_stored,
    parse_manifest,
)
from sekisho.seal.segments import SegmentOpener, SegmentSealer, SegmentTable, derive_file_key
from sekisho.seal.verify import check_listing, check_version

KEY = bytes(range(32))
IDENTITY = ModelIdentity(name="legal/reviewer", version=7, data_class="confidential+gdpr")
FILES: Mapping[str, tuple[bytes, ...]] = {
    "config.json": (b'{"layers":2}',),
    "empty.txt": (b"",),
    "model.safetensors": (b"head", b"first tensor", b"last"),
    "shards/b.bin": (b"same size one", b"same size two"),
}


@dataclass
class Sealed:
    """A sealed folder in memory, and what opening it needs."""

    blobs: dict[str, bytes]
    trusted: str
    key: bytes = KEY
    tags: dict[str, list[bytes]] = field(default_factory=dict)

    @property
    def manifest(self) -> SealedManifest:
        return parse_manifest(self.blobs[MANIFEST_NAME])


def seal(
    files: Mapping[str, tuple[bytes, ...]] = FILES, *, identity: ModelIdentity = IDENTITY, key: bytes = KEY
) -> Sealed:
    """Seal files given as their segments; salts are derived from the path so that a run can be repeated."""
    blobs: dict[str, bytes] = {}
    rows, facts = [], []
    for place, (path, parts) in enumerate(sorted(files.items())):
        salt = hashlib.sha256(path.encode()).digest()
        sealer = SegmentSealer(derive_file_key(key, identity, path=path, salt=salt), len(parts))
        sealed = [sealer.seal(index, part) for index, part in enumerate(parts)]
        plain, cipher = b"".join(parts), b"".join(text for text, _ in sealed)
        rows.append([(len(text), tag) for text, tag in sealed])
        blobs[name_stored(place)] = cipher
        facts.append(
            SealedFile(
                path=path,
                size=len(plain),
                digest=digest_of(plain),
                salt=salt,
                segments=len(parts),
                ciphertext=BlobFacts(len(cipher), digest_of(cipher)),
                stored_as=name_stored(place),
            )
        )
    table = SegmentTable.of(rows).encode()
    manifest = encode_manifest(
        SealedManifest(
            model=identity,
            files=tuple(facts),
            table=BlobFacts(len(table), digest_of(table)),
            commitment=commit_key(key),
            sealed_at="2026-11-25T06:00:00Z",
            declared={},
        )
    )
    blobs |= {MANIFEST_NAME: manifest, TABLE_NAME: table}
    return Sealed(blobs, digest_of(manifest), key)


def unseal(sealed: Sealed, *, accepted_version: int = 0, emitted: list[bytes] | None = None) -> dict[str, bytes]:
    """Open every file; `trusted` stands for the signature, and `emitted` gets each segment that was let out."""
    if digest_of(sealed.blobs.get(MANIFEST_NAME, b"")) != sealed.trusted:
        raise RefusedError(Reason.SIGNATURE_INVALID, "the manifest is not the one that was signed")
    manifest = sealed.manifest
    check_version(manifest, accepted_version)
    check_listing(manifest, {path: len(data) for path, data in sealed.blobs.items()})
    check_commitment(sealed.key, manifest.commitment)
    table = SegmentTable.parse(sealed.blobs[TABLE_NAME], manifest)
    opened = {}
    for place, file in enumerate(manifest.files):
        key = derive_file_key(sealed.key, manifest.model, path=file.path, salt=file.salt)
        opener = SegmentOpener(key, file.segments, name=f'"{file.path}"')
        cipher = sealed.blobs[file.stored_as]
        parts = []
        for row in table.segments(place):
            parts.append(opener.open(row.index, cipher[row.offset : row.offset + row.length], row.tag))
            if emitted is not None:
                emitted.append(parts[-1])
        opened[file.path] = b"".join(parts)
    return opened
