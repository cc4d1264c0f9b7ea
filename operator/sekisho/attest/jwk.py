"""Read the public keys of issuers of tokens: JSON Web Keys (RFC 7517) and PEM; for ES256, ES384, RS256 and PS256."""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from sekisho.errors import Reason, RefusedError

MAX_KEYS: Final = 32
MAX_SET_BYTES: Final = 256 * 1024
MIN_RSA_BITS: Final = 2048
MAX_RSA_BITS: Final = 8192
CURVES: Final[Mapping[str, str]] = {"ES256": "secp256r1", "ES384": "secp384r1"}
ALGORITHMS: Final = ("ES256", "ES384", "RS256", "PS256")
_NAMES: Final[Mapping[str, type[ec.EllipticCurve]]] = {"P-256": ec.SECP256R1, "P-384": ec.SECP384R1}
TokenPublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey


@dataclass(frozen=True, slots=True)
class TokenKey:
    """A key of an issuer of tokens, as configured.

    Attributes:
        kid: Its name; a token that names another is not checked with it. Empty: it has none.
        algorithms: What may be signed with it, of ES256, ES384, RS256 and PS256.
    """

    kid: str
    key: object = field(repr=False)
    algorithms: tuple[str, ...]


def algorithms_of(key: object) -> tuple[str, ...]:
    """Return what a key can sign by; nothing where it is too small or of another kind."""
    match key:
        case ec.EllipticCurvePublicKey():
            return tuple(name for name, curve in CURVES.items() if curve == key.curve.name)
        case rsa.RSAPublicKey() if MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
            return ("RS256", "PS256")
        case _:
            return ()


def parse_jwks(data: bytes) -> tuple[TokenKey, ...]:
    """Read the keys of a JSON Web Key Set that can verify signatures, 1 to 32; others are left out.

    Raises:
        RefusedError: CollateralInvalid; not a key set, or none of its keys can be used.
    """
    if len(data) > MAX_SET_BYTES:
        raise _invalid(f"the key set has {len(data)} bytes, {MAX_SET_BYTES} allowed")
    try:
        items = json.loads(data)["keys"]
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise _invalid("it is not a JSON Web Key Set") from error
    if not isinstance(items, list) or len(items) > MAX_KEYS:
        raise _invalid(f"the key set has no list of at most {MAX_KEYS} keys")
    keys = tuple(key for item in items if isinstance(item, dict) and (key := _parse_jwk(item)) is not None)
    if not keys:
        raise _invalid(f"no key of the set is for {', '.join(ALGORITHMS)}")
    return keys


def parse_token_key(pem: bytes, *, kid: str = "") -> TokenKey:
    """Read one public key from PEM.

    Raises:
        RefusedError: CollateralInvalid; not a key that can be used.
    """
    try:
        key = load_pem_public_key(pem)
    except (TypeError, ValueError, UnsupportedAlgorithm) as error:
        raise _invalid("a key is not PEM of a kind that is known") from error
    algorithms = algorithms_of(key)
    if not algorithms:
        raise _invalid(f"a key is not for {', '.join(ALGORITHMS)}")
    return TokenKey(kid, key, algorithms)


def decode_base64url(part: bytes) -> bytes:
    """Decode base64url without padding, in its one canonical spelling.

    Raises:
        ValueError: Spelt in any other way.
    """
    try:
        data = base64.b64decode(part + b"=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError("not base64url") from error
    if base64.urlsafe_b64encode(data).rstrip(b"=") != part:
        raise ValueError("not the canonical spelling of base64url")
    return data


def _parse_jwk(item: Mapping[str, Any]) -> TokenKey | None:
    """Read one key of a set; None where it is for something else or cannot be used."""
    kid = item.get("kid", "")
    if item.get("use", "sig") != "sig" or not isinstance(kid, str):
        return None
    try:
        key = _build_key(item)
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
    wanted = item.get("alg")
    algorithms = tuple(name for name in algorithms_of(key) if wanted is None or wanted == name)
    return TokenKey(kid, key, algorithms) if algorithms else None


def _build_key(item: Mapping[str, Any]) -> TokenPublicKey:
    def number(name: str) -> int:
        return int.from_bytes(decode_base64url(item[name].encode()), "big")

    if item["kty"] == "RSA":
        return rsa.RSAPublicNumbers(number("e"), number("n")).public_key()
    return ec.EllipticCurvePublicNumbers(number("x"), number("y"), _NAMES[item["crv"]]()).public_key()


def _invalid(what: str) -> RefusedError:
    return RefusedError(Reason.COLLATERAL_INVALID, f"keys of an issuer of tokens cannot be used: {what}")
