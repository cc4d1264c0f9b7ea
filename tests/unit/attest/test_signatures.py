"""Signatures as two numbers."""

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384

from sekisho.attest.signatures import ecdsa_holds
from tests.unit.attest.authorities import curve_key

KEY = curve_key()
MESSAGE = b"what was signed"
ORDER = int("f" * 48 + "c7634d81f4372ddf581a0db248b0a77aecec196accc52973", 16)


def test_only_the_pair_that_was_signed_holds() -> None:
    r, s = decode_dss_signature(KEY.sign(MESSAGE, ec.ECDSA(SHA384())))
    assert ecdsa_holds(KEY.public_key(), (r, s), MESSAGE, SHA384())
    assert not ecdsa_holds(KEY.public_key(), (r, s), MESSAGE + b".", SHA384())
    assert not ecdsa_holds(KEY.public_key(), (s, r), MESSAGE, SHA384())
    assert not ecdsa_holds(curve_key().public_key(), (r, s), MESSAGE, SHA384())


def test_numbers_out_of_range_are_no_signature() -> None:
    r, s = decode_dss_signature(KEY.sign(MESSAGE, ec.ECDSA(SHA384())))
    for pair in [(0, 0), (0, s), (r, 0), (r + ORDER, s), (r, s + ORDER), (2**576 - 1, 2**576 - 1)]:
        assert not ecdsa_holds(KEY.public_key(), pair, MESSAGE, SHA384())
