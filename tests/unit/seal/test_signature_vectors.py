"""The committed vectors of signatures: refused ones first, then checked by a second implementation."""

import base64
import hashlib
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from sekisho.errors import RefusedError
from sekisho.seal.trust import Approval, SignerText, parse_signers, verify_approval, verify_manifest
from tests.vectors.seal.make_signatures import make

PLACE = Path(__file__).parents[2] / "vectors/seal/signatures.json"
VECTORS = json.loads(PLACE.read_text())
SIGNERS = parse_signers(
    [
        SignerText(
            name,
            tuple(text.get("publicKeys", ())),
            certificates=tuple(text.get("certificates", ())),
            subjects=tuple(text.get("subjects", ())),
        )
        for name, text in VECTORS["signers"].items()
    ]
)
AT = datetime.fromisoformat(VECTORS["at"])


@pytest.mark.parametrize("case", VECTORS["refused"], ids=lambda case: case["what"])
def test_what_nobody_trusted_signed_is_refused_for_its_own_reason(case: dict[str, str]) -> None:
    signatures = case["signatures"].encode() or None
    with pytest.raises(RefusedError) as caught:
        verify_manifest(case["manifest"].encode(), signatures, SIGNERS, at=datetime.fromisoformat(case["at"]))
    assert caught.value.reason == case["reason"]
    assert caught.value.message


def test_every_signature_of_the_vectors_holds() -> None:
    manifest, signatures = VECTORS["manifest"].encode(), VECTORS["signatures"].encode()
    assert verify_manifest(manifest, signatures, SIGNERS, at=AT).signed_by == set(VECTORS["signedBy"])


def test_the_approval_of_the_vectors_holds() -> None:
    digest = f"sha256:{hashlib.sha256(VECTORS['manifest'].encode()).hexdigest()}"
    verify_approval(Approval(**VECTORS["approval"]), manifest_digest=digest, signers=SIGNERS, at=AT)


def second_pae(payload: bytes) -> bytes:
    kind = b"application/vnd.in-toto+json"
    return b" ".join([b"DSSEv1", str(len(kind)).encode(), kind, str(len(payload)).encode(), payload])


def test_a_second_implementation_makes_and_checks_the_same_statement_and_signature() -> None:
    manifest = json.loads(VECTORS["manifest"])
    named = [("sekisho.json", hashlib.sha256(VECTORS["manifest"].encode()).hexdigest())]
    named += [(file["path"], file["digest"].removeprefix("sha256:")) for file in manifest["files"]]
    statement: dict[str, Any] = {
        "_type": "https://in-toto.io/Statement/v1",
        "predicate": {
            "format": manifest["format"], "formatVersion": 1, "model": manifest["model"], "table": manifest["table"],
        },
        "predicateType": "https://sekisho.dev/attestations/sealed-model/v1",
        "subject": [{"digest": {"sha256": digest}, "name": name} for name, digest in named],
    }  # fmt: skip
    payload = json.dumps(statement, sort_keys=True, separators=(",", ":")).encode()
    assert payload.decode() == VECTORS["statement"]
    assert second_pae(payload).decode() == VECTORS["signed"]
    envelope = json.loads(VECTORS["signatures"])
    assert base64.b64decode(envelope["payload"]) == payload
    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(VECTORS["ed25519PrivateKey"]))
    assert base64.b64encode(key.sign(second_pae(payload))).decode() == envelope["signatures"][0]["sig"]
    approval = json.loads(base64.b64decode(VECTORS["approval"]["signature"]))
    board = load_pem_public_key(VECTORS["signers"]["model-board"]["publicKeys"][0].encode())
    assert isinstance(board, Ed25519PublicKey)
    board.verify(base64.b64decode(approval["sig"]), second_pae(VECTORS["approvalStatement"].encode()))


def test_the_vectors_are_what_their_script_writes() -> None:
    assert make() == PLACE.read_text()
