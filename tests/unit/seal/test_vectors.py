"""The committed vectors: refused ones first, then opened by a second implementation and made anew by the first."""

import hashlib
import hmac
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sekisho.errors import RefusedError
from sekisho.seal.manifest import MANIFEST_NAME, digest_of
from sekisho.seal.segments import cut_segments
from tests.unit.seal.sealing import Sealed, unseal
from tests.vectors.seal.make import make

PLACE = Path(__file__).parents[2] / "vectors/seal/vectors.json"
VECTORS = json.loads(PLACE.read_text())


def expand(key: bytes, *, salt: bytes, info: bytes) -> bytes:
    """HKDF-SHA256 for one block of output, as RFC 5869 writes it."""
    extracted = hmac.digest(salt or bytes(32), key, hashlib.sha256)
    return hmac.digest(extracted, info + b"\x01", hashlib.sha256)


@pytest.mark.parametrize("case", VECTORS["refused"], ids=lambda case: case["what"])
def test_a_changed_blob_is_refused_for_its_own_reason(case: dict[str, str]) -> None:
    blobs = {path: bytes.fromhex(data) for path, data in VECTORS["blobs"].items()} | {
        case["blob"]: bytes.fromhex(case["hex"])
    }
    with pytest.raises(RefusedError) as caught:
        unseal(Sealed(blobs, digest_of(blobs[MANIFEST_NAME])))
    assert caught.value.reason == case["reason"]
    assert caught.value.message


def test_a_second_implementation_opens_every_segment() -> None:
    data_key = bytes.fromhex(VECTORS["dataKey"])
    blobs = {path: bytes.fromhex(data) for path, data in VECTORS["blobs"].items()}
    manifest = json.loads(blobs["sekisho.json"])
    table = blobs["sekisho.table"]
    assert hashlib.sha256(table).hexdigest() == manifest["table"]["digest"].removeprefix("sha256:")
    assert expand(data_key, salt=b"", info=b"sekisho-seal-v1 commitment").hex() == manifest["commitment"]
    row = 0
    for file, expected in zip(manifest["files"], VECTORS["files"], strict=True):
        model = manifest["model"]
        info = (
            f'{{"class":"{model["class"]}","format":"sekisho-seal-v1","model":"{model["name"]}",'
            f'"path":"{file["path"]}","version":{model["version"]}}}'
        )
        key = expand(data_key, salt=bytes.fromhex(file["salt"]), info=info.encode())
        assert key.hex() == expected["fileKey"]
        offset = 0
        for index, segment in enumerate(expected["segments"]):
            length = int.from_bytes(table[20 * row : 20 * row + 4], "big")
            tag = table[20 * row + 4 : 20 * row + 20]
            ciphertext = blobs[file["storedAs"]][offset : offset + length]
            nonce = bytes(7) + index.to_bytes(4, "big") + bytes([index == file["segments"] - 1])
            assert (nonce.hex(), tag.hex(), ciphertext.hex()) == (
                segment["nonce"],
                segment["tag"],
                segment["ciphertext"],
            )
            assert AESGCM(key).decrypt(nonce, ciphertext + tag, None).hex() == segment["plaintext"]
            offset, row = offset + length, row + 1
        assert offset == file["size"]
    assert 20 * row == len(table)


def test_files_are_cut_as_the_vectors_say() -> None:
    for case in VECTORS["cuts"]:
        assert list(cut_segments(case["size"], case["boundaries"])) == case["lengths"]


def test_the_vectors_are_what_their_script_writes() -> None:
    assert make() == PLACE.read_text()
