"""Answers that only the guest can open."""

import json

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.broker import jwe
from sekisho.broker.jwe import derive_wrapping_key, encrypt, parse_guest_key
from sekisho.errors import Reason, RefusedError
from tests.unit.attest.authorities import rsa_key
from tests.unit.broker.guest import Guest, derive, spell, unspell

GUESTS = {kind: Guest(kind) for kind in ("P-256", "P-521", "RSA")}
GOOD = GUESTS["P-256"].jwk()
SMALL = rsa_key(1024).public_key().public_numbers()


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ({**GOOD, "x": "*"}, "it cannot be read"),
        ({**GOOD, "x": GOOD["x"] + "="}, "it cannot be read"),
        ({**GOOD, "x": GOOD["y"]}, "it cannot be read"),
        ({**GOOD, "x": spell(int.from_bytes(unspell(GOOD["x"]), "big"), 33)}, "it cannot be read"),
        ({**GOOD, "crv": "P-384"}, "it cannot be read"),
        ({**GOOD, "alg": "ECDH-ES"}, "its algorithm is 'ECDH-ES', ECDH-ES+A256KW is spoken"),
        ({**GUESTS["RSA"].jwk(), "alg": "RSA1_5"}, "its algorithm is 'RSA1_5', RSA-OAEP-256 is spoken"),
        (
            {"kty": "RSA", "alg": "RSA-OAEP-256", "n": spell(SMALL.n, 128), "e": spell(SMALL.e, 3)},
            "it has 1024 bits, 2048 to 8192 can be used",
        ),
    ],
)
def test_a_key_that_cannot_be_used_is_refused(key: dict[str, str], message: str) -> None:
    with pytest.raises(RefusedError) as caught:
        parse_guest_key(key)
    assert caught.value.reason is Reason.REQUEST_INVALID
    assert caught.value.message == f"the guest's public key cannot be used: {message}"


@pytest.mark.parametrize("kind", GUESTS)
def test_the_guest_opens_its_answer(kind: str) -> None:
    guest = GUESTS[kind]
    assert guest.open(encrypt(b"data key", parse_guest_key(guest.jwk()))) == b"data key"


@pytest.mark.parametrize(("bits", "right"), [(8192, True), (8193, False)])
def test_a_guests_key_has_up_to_8192_bits(bits: int, right: bool) -> None:
    size = (bits + 7) // 8
    key = {"kty": "RSA", "alg": "RSA-OAEP-256", "n": spell((1 << bits) - 1, size), "e": spell(65537, 3)}
    if right:
        assert isinstance(parse_guest_key(key), RSAPublicKey)
        return
    with pytest.raises(RefusedError, match="it has 8193 bits, 2048 to 8192 can be used"):
        parse_guest_key(key)


def test_parts_of_an_answer_have_the_sizes_of_the_standard() -> None:
    for _ in range(8):  # whatever letters they end in
        answer = encrypt(b"k" * 32, parse_guest_key(GOOD))
        sizes = {part: len(unspell(answer[part])) for part in ("encrypted_key", "iv", "ciphertext", "tag")}
        assert sizes == {"encrypted_key": 40, "iv": 12, "ciphertext": 32, "tag": 16}
    assert jwe._spell(b"\0\0\x31") == "AAAx"


@pytest.mark.parametrize("kind", ["P-256", "P-521"])
def test_another_guest_does_not(kind: str) -> None:
    answer = encrypt(b"data key", parse_guest_key(GUESTS[kind].jwk()))
    with pytest.raises(InvalidUnwrap):
        Guest(kind).open(answer)


@given(st.sampled_from(["iv", "ciphertext", "tag", "protected"]), st.integers(0, 11), st.integers(1, 255))
@settings(max_examples=40, deadline=None)
def test_a_changed_answer_is_not_opened(part: str, place: int, mask: int) -> None:
    guest = GUESTS["P-256"]
    answer = encrypt(bytes(32), parse_guest_key(guest.jwk()))
    if part == "protected":
        header = json.loads(unspell(answer[part])) | {"more": "x"}
        answer[part] = spell(int.from_bytes(json.dumps(header).encode(), "big"), len(json.dumps(header)))
    else:
        data = bytearray(unspell(answer[part]))
        data[place] ^= mask
        answer[part] = spell(int.from_bytes(bytes(data), "big"), len(data))
    with pytest.raises(InvalidTag):
        guest.open(answer)


def test_no_two_answers_are_alike() -> None:
    key = parse_guest_key(GOOD)
    first, second = encrypt(b"data key", key), encrypt(b"data key", key)
    assert all(first[name] != second[name] for name in first)


def test_the_wrapping_key_is_derived_as_the_standard_says() -> None:
    """RFC 7518, appendix C holds the guest's own derivation, and the guest's derivation holds ours."""
    alice = ec.derive_private_key(
        int.from_bytes(unspell("0_NxaRPUMQoAJt50Gz8YiTr8gRTwyEaCumd-MToTmIo"), "big"), ec.SECP256R1()
    )
    x, y = (
        unspell("weNJy2HscCSM6AEDTDg04biOvhFhyyWvOHQfeF_PxMQ"),
        unspell("e8lnCO-AlStT-NJVX-crhB7QRYhiix03illJOVAOyck"),
    )
    bob = ec.EllipticCurvePublicNumbers(int.from_bytes(x, "big"), int.from_bytes(y, "big"), ec.SECP256R1()).public_key()
    shared = alice.exchange(ec.ECDH(), bob)
    assert derive(shared, "A128GCM", 16, b"Alice", b"Bob") == unspell("VqqN6vgjbSBcIijNcacQGg")
    assert derive_wrapping_key(shared) == derive(shared, "ECDH-ES+A256KW", 32)
