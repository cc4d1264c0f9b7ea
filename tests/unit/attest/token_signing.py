"""Tokens for tests, by the usual library where it will make them."""

import base64
import json
from collections.abc import Mapping
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sekisho.attest.jwk import TokenKey, parse_token_key
from tests.unit.attest.authorities import rsa_key

EC256 = ec.generate_private_key(ec.SECP256R1())
EC384 = ec.generate_private_key(ec.SECP384R1())
RSA2048 = rsa_key()
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def sign_token(claims: Mapping[str, Any], key: PrivateKey = EC256, algorithm: str = "ES256", **header: Any) -> bytes:
    return jwt.encode(dict(claims), key, algorithm=algorithm, headers=header).encode()


def token_key(key: PrivateKey, kid: str = "") -> TokenKey:
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return parse_token_key(pem, kid=kid)


def encode(data: bytes | Mapping[str, Any]) -> bytes:
    """Spell a part of a token."""
    if not isinstance(data, bytes):
        data = json.dumps(data).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def jwk_of(key: PrivateKey, **more: Any) -> dict[str, Any]:
    """Spell a public key as a JSON Web Key."""
    if isinstance(key, rsa.RSAPrivateKey):
        return {**jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True), **more}
    return {**jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True), **more}
