import base64
import contextlib
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from in_toto_attestation.v1 import statement as in_toto

from sekisho.errors import Reason, RefusedError
from sekisho.seal.canonical import encode_canonical
from sekisho.seal.manifest import MANIFEST_NAME, check_path, digest_of
from sekisho.seal.statement import (
    MAX_SIGNATURES,
    Envelope,
    Signature,
    add_signature,
    encode_pae,
    encode_signatures,
    parse_signatures,
)
from tests.unit.seal.sealing import FILES, seal
from tests.unit.seal.signing import ed25519_key, envelope_of, key_id_of, sign, statement_of

MANIFEST = seal().blobs[MANIFEST_NAME]
KEY = ed25519_key("owner")
DATA = envelope_of(MANIFEST, KEY)


def refuse(data: bytes) -> str:
    with pytest.raises(RefusedError) as caught:
        parse_signatures(data)
    assert caught.value.reason is Reason.SEAL_INVALID
    return caught.value.message


def changed(**fields: Any) -> bytes:
    return encode_canonical(json.loads(DATA) | fields)


def changed_signature(**fields: Any) -> bytes:
    return changed(signatures=[json.loads(DATA)["signatures"][0] | fields])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is not JSON"),
        (b"[]", "is not a JSON object"),
        (DATA + b"\n", "is not spelt canonically"),
        (changed(format="x"), 'has the field "format", which this format does not know'),
        (changed(payloadType="text/plain"), "payloadType is not application/vnd.in-toto+json"),
        (changed(payload="!"), "payload is not base64"),
        (changed(signatures=[]), "signatures is empty"),
        (changed(signatures={}), "signatures is an object, a list is needed"),
        (changed(signatures=json.loads(DATA)["signatures"] * 17), "signatures has 17 items, 16 are allowed"),
        (changed_signature(keyid="short"), "which is not spelt as this format asks"),
        (changed_signature(sig=""), "sig has 0 bytes"),
        (changed_signature(sig=base64.b64encode(bytes(257)).decode()), "sig is not base64 of 1 to 256 bytes"),
        (changed_signature(algorithm="none"), 'has the field "algorithm", which this format does not know'),
        (changed_signature(certificates=[]), "certificates is empty; a bare key leaves it out"),
        (changed_signature(certificates=["QQ=="] * 5), "certificates has 5 items, 4 are allowed"),
        (changed_signature(certificates=["?"]), "certificates[0] is not base64"),
        (b" " * (8 * 1024 * 1024 + 1), "has 8388609 bytes, 8388608 are allowed"),
    ],
)  # fmt: skip
def test_an_envelope_that_is_misspelt_is_refused(data: bytes, message: str) -> None:
    assert message in refuse(data)


def test_more_signatures_than_allowed_are_not_written() -> None:
    payload = statement_of(MANIFEST)
    many = tuple(sign(ed25519_key(str(number)), payload) for number in range(MAX_SIGNATURES + 1))
    with pytest.raises(RefusedError, match="17 items, 16 are allowed"):
        encode_signatures(Envelope(payload, many))


def test_a_signature_is_not_added_to_those_of_another_manifest() -> None:
    payload = statement_of(MANIFEST)
    with pytest.raises(RefusedError) as caught:
        add_signature(Envelope(b"another", ()), payload, sign(KEY, payload))
    assert caught.value.reason is Reason.SIGNATURE_INVALID
    assert caught.value.message == "sekisho.sig.json is there and signs another sekisho.json; remove it, then sign"


def test_a_file_with_the_name_of_the_manifest_cannot_be_sealed() -> None:
    with pytest.raises(RefusedError, match="is the manifest's own name; rename the file"):
        check_path(MANIFEST_NAME, name="the folder")
    assert check_path(f"sub/{MANIFEST_NAME}", name="the folder")


def test_the_same_key_signing_again_replaces_what_it_signed() -> None:
    payload = statement_of(MANIFEST)
    first, other = sign(KEY, payload), sign(ed25519_key("other"), payload)
    envelope = add_signature(add_signature(add_signature(None, payload, first), payload, other), payload, first)
    assert envelope.signatures == (other, first)


def test_an_envelope_survives_writing_and_reading() -> None:
    signature = Signature(key_id=key_id_of(KEY), value=b"value", certificates=(b"leaf", b"between"))
    envelope = Envelope(statement_of(MANIFEST), (signature, replace(signature, certificates=())))
    assert parse_signatures(encode_signatures(envelope)) == envelope


def test_the_statement_is_one_that_in_toto_reads_and_links_plaintext_and_ciphertext() -> None:
    value = json.loads(statement_of(MANIFEST))
    subjects = [in_toto.ResourceDescriptor(name=s["name"], digest=s["digest"]).pb for s in value["subject"]]
    in_toto.Statement(subjects, value["predicateType"], value["predicate"]).validate()
    names = {subject["name"]: f"sha256:{subject['digest']['sha256']}" for subject in value["subject"]}
    plain = {path: digest_of(b"".join(parts)) for path, parts in FILES.items()}
    assert names == plain | {MANIFEST_NAME: digest_of(MANIFEST)}
    assert value["predicate"] == {
        "format": "sekisho-seal-v1", "formatVersion": 1,
        "model": {"class": "confidential+gdpr", "name": "legal/reviewer", "version": 7},
        "table": {"digest": seal().manifest.table.digest, "size": seal().manifest.table.size},
    }  # fmt: skip


def test_the_encoding_that_is_signed_is_the_one_of_dsse() -> None:
    assert encode_pae(b"hello") == b"DSSEv1 28 application/vnd.in-toto+json 5 hello"


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(DATA) - 1), st.binary(min_size=0, max_size=3))
def test_no_change_of_an_envelope_does_more_than_refuse(place: int, bytes_: bytes) -> None:
    with contextlib.suppress(RefusedError):
        assert len(parse_signatures(DATA[:place] + bytes_ + DATA[place + 1 :]).signatures) == 1
