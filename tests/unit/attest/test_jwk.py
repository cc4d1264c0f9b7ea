"""Keys of issuers of tokens: those that can verify signatures, and no others."""

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sekisho.attest.jwk import algorithms_of, decode_base64url, parse_jwks, parse_token_key
from sekisho.errors import Reason, RefusedError
from tests.unit.attest.authorities import rsa_key
from tests.unit.attest.token_signing import EC256, EC384, RSA2048, jwk_of, token_key

GOOD = jwk_of(EC256, kid="good")
P256 = bytes.fromhex("2a8648ce3d030107")


def spki(key: ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def pem_of(der: bytes) -> bytes:
    return b"-----BEGIN PUBLIC KEY-----\n" + base64.b64encode(der) + b"\n-----END PUBLIC KEY-----\n"


ED25519 = spki(ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key())


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"x", "it is not a JSON Web Key Set"),
        (b"[]", "it is not a JSON Web Key Set"),
        (b"{}", "it is not a JSON Web Key Set"),
        (b"[" * 100_000, "it is not a JSON Web Key Set"),
        (b" " * (256 * 1024 + 1), "the key set has 262145 bytes, 262144 allowed"),
        (b'{"keys": 7}', "the key set has no list of at most 32 keys"),
        (json.dumps({"keys": [GOOD] * 33}).encode(), "the key set has no list of at most 32 keys"),
        (b'{"keys": []}', "no key of the set is for ES256, ES384, RS256, PS256"),
    ],
)
def test_what_is_no_key_set_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(RefusedError) as caught:
        parse_jwks(data)
    assert caught.value.reason is Reason.COLLATERAL_INVALID
    assert caught.value.message == f"keys of an issuer of tokens cannot be used: {message}"


@pytest.mark.parametrize(
    "item",
    [
        7,
        {},
        {**GOOD, "use": "enc"},
        {**GOOD, "kid": 7},
        {**GOOD, "x": 7},
        {**GOOD, "x": "*"},
        {**GOOD, "x": GOOD["x"] + "="},
        {**GOOD, "x": GOOD["y"]},
        {**GOOD, "crv": "P-521"},
        {**GOOD, "alg": "ES384"},
        {**GOOD, "alg": ["ES256"]},
        {**GOOD, "alg": {}},
        {"kty": "oct", "k": "AAAA"},
        {"kty": "RSA", "n": "AQAB", "e": "AQAB"},
        jwk_of(rsa_key(1024)),
        jwk_of(ec.generate_private_key(ec.SECP521R1())),
    ],
)
def test_keys_that_cannot_verify_are_left_out(item: Any) -> None:
    keys = parse_jwks(json.dumps({"keys": [item, GOOD]}).encode())
    assert [key.kid for key in keys] == ["good"]


def test_as_many_keys_and_bytes_as_are_allowed_are_read() -> None:
    assert len(parse_jwks(json.dumps({"keys": [GOOD] * 32}).encode().ljust(256 * 1024))) == 32


@pytest.mark.parametrize(("bits", "algorithms"), [(8192, ("RS256", "PS256")), (8193, ())])
def test_an_rsa_key_has_up_to_8192_bits(bits: int, algorithms: tuple[str, ...]) -> None:
    assert algorithms_of(rsa.RSAPublicNumbers(65537, (1 << bits) - 1).public_key()) == algorithms


def test_keys_of_each_kind_are_read() -> None:
    items = [GOOD, jwk_of(EC384), jwk_of(RSA2048, kid="rsa", use="sig"), jwk_of(RSA2048, alg="RS256")]
    keys = parse_jwks(json.dumps({"keys": items}).encode())
    assert [(key.kid, key.algorithms) for key in keys] == [
        ("good", ("ES256",)),
        ("", ("ES384",)),
        ("rsa", ("RS256", "PS256")),
        ("", ("RS256",)),
    ]


@pytest.mark.parametrize(
    ("pem", "message"),
    [
        (b"no key", "a key is not PEM of a kind that is known"),
        (pem_of(ED25519), "a key is not for ES256, ES384, RS256, PS256"),
        # Algorithms that nobody has given these numbers to, and a curve of another name.
        (pem_of(ED25519.replace(b"\x2b\x65\x70", b"\x2b\x65\x7f")), "a key is not PEM of a kind that is known"),
        (
            pem_of(spki(EC256.public_key()).replace(P256, P256[:-1] + b"\x08")),
            "a key is not PEM of a kind that is known",
        ),
    ],
)  # fmt: skip
def test_pem_that_is_no_key_is_refused(pem: bytes, message: str) -> None:
    with pytest.raises(RefusedError) as caught:
        parse_token_key(pem)
    assert caught.value.reason is Reason.COLLATERAL_INVALID
    assert caught.value.message.endswith(message)


def test_pem_is_read_under_a_name() -> None:
    key = token_key(RSA2048, "name")
    assert (key.kid, key.algorithms) == ("name", ("RS256", "PS256"))
    assert algorithms_of("text") == ()


@pytest.mark.parametrize("part", [b"A", b"AB=", b"AA==", b"A+B/", b"AAAB\n", b"AB"])
def test_base64url_has_one_spelling(part: bytes) -> None:
    with pytest.raises(ValueError, match="base64url"):
        decode_base64url(part)


def test_base64url_is_decoded() -> None:
    assert decode_base64url(b"_-8") == b"\xff\xef"
    assert decode_base64url(b"AAAx") == b"\0\0\x31"
