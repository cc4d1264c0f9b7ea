"""Write vectors.json anew: `PYTHONPATH=operator:. python tests/vectors/seal/make.py` (same bytes on every run)."""

import json
from pathlib import Path
from typing import Any

from sekisho.seal.keys import KeyContext, WrappedKey, commit_key, encode_wrapped
from sekisho.seal.manifest import MANIFEST_NAME, TABLE_NAME
from sekisho.seal.segments import SegmentTable, build_nonce, cut_segments, derive_file_key
from tests.unit.seal.sealing import FILES, IDENTITY, KEY, Sealed, seal

CUTS = [
    (0, []),
    (1, []),
    (4194304, []),
    (4194305, []),
    (3145728, [1048576, 2097152]),
    (5242880, [3145728]),
    (10485760, [1048576]),
    (7340032, [5242880, 6291456]),
]


def describe(sealed: Sealed) -> list[dict[str, Any]]:
    manifest = sealed.manifest
    table = SegmentTable.parse(sealed.blobs[TABLE_NAME], manifest)
    return [
        {
            "path": file.path,
            "salt": file.salt.hex(),
            "fileKey": derive_file_key(KEY, manifest.model, path=file.path, salt=file.salt).hex(),
            "segments": [
                {
                    "nonce": build_nonce(row.index, last=row.index == file.segments - 1).hex(),
                    "plaintext": part.hex(),
                    "ciphertext": sealed.blobs[file.stored_as][row.offset : row.offset + row.length].hex(),
                    "tag": row.tag.hex(),
                }
                for row, part in zip(table.segments(place), FILES[file.path], strict=True)
            ],
        }
        for place, file in enumerate(manifest.files)
    ]


def build_refused(sealed: Sealed) -> list[dict[str, Any]]:
    """List changes to one blob each; every one of them must be refused, by the reason given."""
    manifest, table = sealed.blobs[MANIFEST_NAME], sealed.blobs[TABLE_NAME]
    last = sealed.blobs["files/00003.sealed"]
    unsigned = [
        ("a space after the manifest", MANIFEST_NAME, manifest + b" ", "SealInvalid"),
        ("an unknown field", MANIFEST_NAME, manifest[:-1] + b',"zzz":1}', "SealInvalid"),
        ("a path that climbs", MANIFEST_NAME, manifest.replace(b"config.json", b"../fig.json"), "SealInvalid"),
        ("a version that is a fraction", MANIFEST_NAME, manifest.replace(b'sion":7', b'sion":7.0'), "SealInvalid"),
        ("a table with a flipped bit", TABLE_NAME, bytes([table[0], table[1] ^ 1]) + table[2:], "SealBroken"),
        ("a table that was cut", TABLE_NAME, table[:-20], "SealBroken"),
        ("a ciphertext with a flipped bit", "files/00003.sealed", bytes([last[0] ^ 1]) + last[1:], "SealBroken"),
        ("two segments swapped", "files/00003.sealed", last[13:] + last[:13], "SealBroken"),
        ("a segment repeated", "files/00003.sealed", last[:13] * 2, "SealBroken"),
        ("a file that was cut", "files/00003.sealed", last[:-1], "SealBroken"),
        ("a file that is not in the manifest", "files/00004.sealed", b"", "NotSealed"),
    ]
    return [{"what": what, "blob": blob, "hex": data.hex(), "reason": reason} for what, blob, data, reason in unsigned]


def make() -> str:
    sealed = seal()
    context = KeyContext.of(IDENTITY)
    wrapped = WrappedKey(kms="openbao", key_id="transit/legal", key_version="4", wrapped=b"vault:v4:example")
    vectors = {
        "dataKey": KEY.hex(),
        "commitment": commit_key(KEY).hex(),
        "keyContext": context.encode().decode(),
        "keyFile": encode_wrapped(wrapped).decode(),
        "cuts": [
            {"size": size, "boundaries": edges, "lengths": list(cut_segments(size, edges))} for size, edges in CUTS
        ],
        "files": describe(sealed),
        "blobs": {path: data.hex() for path, data in sorted(sealed.blobs.items())},
        "refused": build_refused(sealed),
    }
    return json.dumps(vectors, indent=1) + "\n"


if __name__ == "__main__":
    (Path(__file__).parent / "vectors.json").write_text(make())
