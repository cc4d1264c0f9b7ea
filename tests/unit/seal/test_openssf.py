"""Bundles of OpenSSF model signing: everything that is refused, then the way there and back.

tests/contract/openssf has the real library on the other side.
"""

import base64
import contextlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.errors import Reason, RefusedError
from sekisho.seal.manifest import digest_of
from sekisho.seal.openssf import check_payload, encode_bundle, encode_openssf_payload, verify_bundle_signature
from sekisho.seal.publickey import take_public_key
from sekisho.seal.trust import SignerText, parse_signers
from tests.unit.seal.sealing import FILES, seal
from tests.unit.seal.signing import NOW, build_authorities, curve_key, key_id_of, pem_of, sign

MANIFEST = seal().manifest
KEY, STRANGER = curve_key(), curve_key()
SIGNERS = parse_signers([SignerText("model-release", (pem_of(KEY),))])
PAYLOAD = encode_openssf_payload(MANIFEST)
BUNDLE = encode_bundle(PAYLOAD, sign(KEY, PAYLOAD), take_public_key(KEY.public_key(), name="key"))


def refusal(work: Callable[..., object], *words: Any, **more: Any) -> tuple[Reason, str]:
    with pytest.raises(RefusedError) as caught:
        work(*words, **more)
    return caught.value.reason, caught.value.message


def changed(change: Callable[[Any], object]) -> bytes:
    value = json.loads(BUNDLE)
    change(value)
    return json.dumps(value).encode()


def put(place: str, value: object) -> bytes:
    """Change one field of the bundle; dots lead down."""

    def change(target: Any) -> None:
        *folders, last = place.split(".")
        for folder in folders:
            target = target[int(folder) if folder.isdigit() else folder]
        target[last] = value

    return changed(change)


@pytest.mark.parametrize(
    ("bundle", "told"),
    [
        (b"", "the bundle is not JSON with each key once"),
        (b"[]", "the bundle is no object"),
        (b'{"a":1,"a":1}', "the bundle is not JSON with each key once"),
        (b"[" * 100_000, "the bundle is not JSON with each key once"),
        (b" " * (8 * 1024 * 1024 + 1), "the bundle has 8388609 bytes, 8388608 are allowed"),
        (put("mediaType", "text/plain"), "the bundle is of type text/plain"),
        (put("dsseEnvelope", None), "dsseEnvelope is no object"),
        (
            put("dsseEnvelope.payloadType", "text/plain"),
            "does not hold one signature over application/vnd",
        ),
        (put("dsseEnvelope.signatures", []), "does not hold one signature"),
        (put("dsseEnvelope.signatures", {}), "does not hold one signature"),
        (put("dsseEnvelope.payload", "?"), "payload is not base64"),
        (put("dsseEnvelope.payload", None), "payload is not base64"),
        (put("dsseEnvelope.payload", ""), "payload has 0 bytes"),
        (
            put("dsseEnvelope.signatures.0.sig", base64.b64encode(bytes(257)).decode()),
            "sig has 257 bytes",
        ),
        (put("verificationMaterial", []), "verificationMaterial is no object"),
        (put("verificationMaterial.publicKey", None), "publicKey is no object"),
        (
            put("verificationMaterial.tlogEntries", [{}]),
            "by way of a transparency log, which cannot be",
        ),
        (put("verificationMaterial.certificate", {}), "by way of a transparency log, which cannot be"),
        (put("verificationMaterial.x509CertificateChain", {"certificates": []}), "does not hold 1 to 5 certificates"),
        (put("verificationMaterial.x509CertificateChain", {}), "does not hold 1 to 5 certificates"),
        (
            put("verificationMaterial.x509CertificateChain", {"certificates": [{"rawBytes": "?"}]}),
            "rawBytes is not base64",
        ),
    ],
    ids=range(21),
)
def test_a_bundle_that_is_misspelt_is_refused(bundle: bytes, told: str) -> None:
    reason, message = refusal(verify_bundle_signature, bundle, SIGNERS, at=NOW)
    assert reason is Reason.SEAL_INVALID
    assert told in message


def test_a_bundle_by_a_stranger_is_refused() -> None:
    bundle = encode_bundle(PAYLOAD, sign(STRANGER, PAYLOAD), take_public_key(STRANGER.public_key(), name="key"))
    reason, message = refusal(verify_bundle_signature, bundle, SIGNERS, at=NOW)
    assert reason is Reason.SIGNER_NOT_TRUSTED
    assert "key with hint" in message


def test_a_bundle_whose_payload_was_changed_is_refused() -> None:
    bundle = put("dsseEnvelope.payload", base64.b64encode(PAYLOAD + b" ").decode())
    reason, message = refusal(verify_bundle_signature, bundle, SIGNERS, at=NOW)
    assert reason is Reason.SIGNATURE_INVALID
    assert f'the signature by key {key_id_of(KEY)} of "model-release" does not hold' in message


def statement(**change: Any) -> bytes:
    return json.dumps(json.loads(PAYLOAD) | change).encode()


def predicate(**change: Any) -> bytes:
    return statement(predicate=json.loads(PAYLOAD)["predicate"] | change)


def hashing(**change: Any) -> bytes:
    return predicate(serialization=json.loads(PAYLOAD)["predicate"]["serialization"] | change)


def resources(change: Callable[[list[Any]], object]) -> bytes:
    """Change the resources and let the subject fit them."""
    import hashlib  # noqa: PLC0415

    items = json.loads(PAYLOAD)["predicate"]["resources"]
    change(items)
    root = hashlib.sha256(b"".join(bytes.fromhex(item["digest"]) for item in items)).hexdigest()
    value = json.loads(predicate(resources=items)) | {"subject": [{"name": "m", "digest": {"sha256": root}}]}
    return json.dumps(value).encode()


def swap(items: list[Any]) -> None:
    items[0]["digest"], items[2]["digest"] = items[2]["digest"], items[0]["digest"]


@pytest.mark.parametrize(
    ("payload", "told"),
    [
        (statement(_type="x"), "a https://model_signing/signature/v1.0 is needed"),
        (statement(predicateType="https://model_signing/Digests/v0.1"), "is a https://model_signing/Digests/v0.1, a"),
        (statement(subject=[]), "has not one subject"),
        (statement(subject=None), "has not one subject"),
        (
            statement(subject=[{"name": "m", "digest": {"sha256": "0" * 64}}]),
            "do not come to the digest of",
        ),
        (
            hashing(method="shards"),
            "was hashed by shards with sha256, which no digest of a manifest can",
        ),
        (hashing(hash_type="blake3"), "was hashed by files with blake3"),
        (predicate(resources=None), "lists no resources"),
        (predicate(resources=[{"name": 1, "digest": "0" * 64, "algorithm": "sha256"}]), "misspelt or there twice"),
        (predicate(resources=[{"name": "a", "digest": "0" * 63, "algorithm": "sha256"}]), "misspelt or there twice"),
        (predicate(resources=[{"name": "a", "digest": "G" * 64, "algorithm": "sha256"}]), "misspelt or there twice"),
        (predicate(resources=[{"name": "a", "digest": "0" * 64, "algorithm": "md5"}]), "misspelt or there twice"),
        (resources(lambda items: items.append(items[0])), "misspelt or there twice"),
        (resources(lambda items: items.pop()), '1 files of the model are not named: "shards/b.bin"'),
        (
            resources(lambda items: items.append(items[0] | {"name": "more"})),
            "1 files of the model are named but not there",
        ),
        (resources(swap), '2 files of the model are other than signed: "config.json", "model.safetensors"'),
    ],
    ids=range(16),
)
def test_a_signed_statement_that_does_not_name_this_plaintext_is_refused(payload: bytes, told: str) -> None:
    reason, message = refusal(check_payload, payload, MANIFEST, bundle=BUNDLE)
    assert reason is Reason.SIGNATURE_INVALID
    assert told in message


@pytest.mark.parametrize(
    "payload", [b"no JSON", statement(predicate=[]), predicate(serialization=1), predicate(resources=[1])]
)
def test_a_signed_statement_that_cannot_be_read_is_refused(payload: bytes) -> None:
    assert refusal(check_payload, payload, MANIFEST, bundle=BUNDLE)[0] is Reason.SEAL_INVALID


def test_the_signature_itself_may_lie_in_the_model_and_no_other_file_that_is_called_so() -> None:
    with_own = seal({**FILES, "model.sig": (BUNDLE,)}).manifest
    check_payload(PAYLOAD, with_own, bundle=BUNDLE)
    other = seal({**FILES, "model.sig": (b"other",)}).manifest
    assert '1 files of the model are not named: "model.sig"' in refusal(check_payload, PAYLOAD, other, bundle=BUNDLE)[1]
    assert digest_of(BUNDLE) in {file.digest for file in with_own.files}


def test_a_bundle_by_a_trusted_key_holds_for_its_own_plaintext() -> None:
    payload, signed_by = verify_bundle_signature(BUNDLE, SIGNERS, at=NOW)
    assert signed_by == {"model-release"}
    check_payload(payload, MANIFEST, bundle=BUNDLE)


def test_a_bundle_by_a_certificate_holds_also_where_it_brings_its_root() -> None:
    house = build_authorities()
    chain = (house.leaf.der, house.between.der, house.root.der)
    public = take_public_key(house.leaf.key.public_key(), name="key")
    bundle = encode_bundle(PAYLOAD, sign(house.leaf.key, PAYLOAD, certificates=chain), public)
    signers = parse_signers([house.text()])
    assert verify_bundle_signature(bundle, signers, at=NOW)[1] == {"model-release"}
    assert refusal(verify_bundle_signature, bundle, SIGNERS, at=NOW)[0] is Reason.SIGNER_NOT_TRUSTED


@settings(max_examples=150, deadline=None)
@given(st.integers(0, len(BUNDLE) - 1), st.binary(max_size=3), st.booleans())
def test_no_change_of_a_bundle_does_more_than_refuse(place: int, bytes_: bytes, inside: bool) -> None:
    if inside:
        place %= len(PAYLOAD)
        with contextlib.suppress(RefusedError):
            check_payload(PAYLOAD[:place] + bytes_ + PAYLOAD[place + 1 :], MANIFEST, bundle=BUNDLE)
    else:
        with contextlib.suppress(RefusedError):
            payload, _ = verify_bundle_signature(BUNDLE[:place] + bytes_ + BUNDLE[place + 1 :], SIGNERS, at=NOW)
            assert payload == PAYLOAD
