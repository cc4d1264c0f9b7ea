"""Signatures in the fixed form: the right key, the right length, or none."""

import itertools

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from sekisho.attest.ecdsa import verify_ecdsa
from sekisho.errors import Reason, RefusedError
from tests.simulators.hardware.nitro import raw_signature
from tests.unit.attest.authorities import rsa_key

KEY = ec.generate_private_key(ec.SECP384R1())
OTHER = ec.generate_private_key(ec.SECP384R1())
SIGNATURE = raw_signature(KEY, b"message")


@pytest.mark.parametrize(
    ("key", "signature", "message", "why"),
    [
        (KEY, SIGNATURE, b"another", "the signature of it does not hold under the key that should have made it"),
        (OTHER, SIGNATURE, b"message", "the signature of it does not hold"),
        (KEY, bytes(96), b"message", "the signature of it does not hold"),
        (KEY, b"\xff" * 96, b"message", "the signature of it does not hold"),
        (KEY, SIGNATURE[:95], b"message", "the signature of it has 95 bytes, 96 belong to secp384r1"),
        (KEY, SIGNATURE + b"\0", b"message", "the signature of it has 97 bytes, 96 belong to secp384r1"),
        (ec.generate_private_key(ec.SECP256R1()), SIGNATURE, b"message", "is not an ECDSA key on secp384r1"),
        (rsa_key(), SIGNATURE, b"message", "is not an ECDSA key on secp384r1"),
    ],
    ids=itertools.count(),  # keys and signatures are made anew by each process
)
def test_what_does_not_hold_is_refused(key: object, signature: bytes, message: bytes, why: str) -> None:
    with pytest.raises(RefusedError) as caught:
        verify_ecdsa(key.public_key(), signature, message, name="it")  # type: ignore[attr-defined]
    assert caught.value.reason is Reason.EVIDENCE_UNTRUSTED
    assert why in caught.value.message


def test_what_holds_is_passed() -> None:
    verify_ecdsa(KEY.public_key(), SIGNATURE, b"message", name="it")


def test_the_smaller_curve_goes_with_its_own_hash_and_length() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    r, s = decode_dss_signature(key.sign(b"message", ec.ECDSA(SHA256())))
    signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    verify_ecdsa(key.public_key(), signature, b"message", name="it", curve="secp256r1")
    with pytest.raises(RefusedError, match="has 96 bytes, 64 belong to secp256r1"):
        verify_ecdsa(key.public_key(), SIGNATURE, b"message", name="it", curve="secp256r1")
    with pytest.raises(RefusedError, match="is not an ECDSA key on secp256r1"):
        verify_ecdsa(KEY.public_key(), signature, b"message", name="it", curve="secp256r1")
