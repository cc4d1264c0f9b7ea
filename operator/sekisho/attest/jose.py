"""Verify JSON Web Tokens (RFC 7515, 7519) that attestation services sign.

A token says which key it wants to be checked with; that is a choice among configured keys, or a certificate of its own
that leads to a configured root. Nothing else in a header counts: no embedded key, no address, no "none".
"""

import base64
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from sekisho.attest.chains import verify_chain
from sekisho.attest.claims import Window
from sekisho.attest.ecdsa import verify_ecdsa
from sekisho.attest.jwk import ALGORITHMS, CURVES, MAX_KEYS, TokenKey, algorithms_of, decode_base64url
from sekisho.errors import Reason, RefusedError

MAX_TOKEN_BYTES: Final = 128 * 1024
MAX_CHAIN: Final = 6


@dataclass(frozen=True, slots=True)
class Token:
    """A token as it was spelt; unverified.

    Attributes:
        header: How it wants to be checked.
        claims: What it says.
        signed: The bytes that are signed.
        signature: What signs them.
    """

    header: Mapping[str, Any]
    claims: Mapping[str, Any]
    signed: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class Signature:
    """Who signed a token, where the signature holds.

    Attributes:
        who: Common name of the certificate; empty where a configured key signed.
        window: Of the certificates that were relied on; None where a configured key signed.
    """

    who: str = ""
    window: Window | None = None


def parse_token(data: bytes) -> Token:
    """Parse a token in compact form: three parts of base64url with dots between, at most 128 KiB.

    Raises:
        RefusedError: EvidenceInvalid.
    """
    parts = data.split(b".") if len(data) <= MAX_TOKEN_BYTES else []
    if len(parts) != 3:
        raise _invalid(f"it is not three parts of together at most {MAX_TOKEN_BYTES} bytes")
    try:
        head, payload, signature = (decode_base64url(part) for part in parts)
    except ValueError as error:
        raise _invalid("a part of it is not base64url without padding") from error
    return Token(_parse_object(head, "header"), _parse_object(payload, "payload"), b".".join(parts[:2]), signature)


def verify_token(token: Token, keys: Sequence[TokenKey], roots: Sequence[bytes], *, at: datetime) -> Signature:
    """Verify the signature of a token.

    Args:
        token: As parsed.
        keys: Configured keys, at most 32.
        roots: Configured roots, DER; with some, a token may bring the chain of its key in `x5c`.
        at: For when such a chain must hold.

    Raises:
        RefusedError: EvidenceUntrusted where algorithm, key or signature are not what is configured; EvidenceInvalid
            and what :func:`verify_chain` raises where its chain does not hold.
    """
    algorithm = token.header.get("alg")
    if algorithm not in ALGORITHMS:
        raise _untrusted(f"it is signed by {str(algorithm)[:16]!r}; {', '.join(ALGORITHMS)} can be used")
    if "crit" in token.header:
        raise _untrusted("its header has critical parts that nobody here knows")
    candidates, signature = _choose_keys(token.header, keys, roots, at=at)
    fitting = [each for each in candidates if algorithm in each.algorithms]
    if not 1 <= len(fitting) <= MAX_KEYS:
        count = f"{len(fitting)} keys, at most {MAX_KEYS}," if fitting else "no key"
        raise _untrusted(f"{count} may sign by {algorithm} under the name {_name_key(token.header)}")
    *others, last = fitting
    for each in others:
        with suppress(RefusedError):
            _check(each.key, algorithm, token)
            return signature
    _check(last.key, algorithm, token)
    return signature


def _choose_keys(
    header: Mapping[str, Any], keys: Sequence[TokenKey], roots: Sequence[bytes], *, at: datetime
) -> tuple[Sequence[TokenKey], Signature]:
    """Return what a token may be checked with: a certificate that leads to a root, or configured keys by name."""
    embedded = header.get("jwk")
    bundle = header.get("x5c") or (embedded.get("x5c") if isinstance(embedded, dict) else None)
    if roots and bundle:
        chain = verify_chain(_parse_bundle(bundle), roots, at=at)
        key = TokenKey("", chain.leaf.key, algorithms_of(chain.leaf.key))
        return [key], Signature(chain.leaf.common_name() or "(no name)", chain.window)
    kid = header.get("kid")
    return [each for each in keys if kid is None or each.kid in ("", kid)], Signature()


def _parse_bundle(bundle: object) -> tuple[bytes, ...]:
    if not isinstance(bundle, list) or len(bundle) > MAX_CHAIN:
        raise _invalid(f"its x5c is not a list of 1 to {MAX_CHAIN} certificates")
    try:
        return tuple(base64.b64decode(item, validate=True) for item in bundle)
    except (TypeError, ValueError) as error:
        raise _invalid("a certificate of its x5c is not base64") from error


def _check(key: object, algorithm: str, token: Token) -> None:
    if algorithm in CURVES:
        verify_ecdsa(key, token.signature, token.signed, name="the token", curve=CURVES[algorithm])
        return
    if not isinstance(key, rsa.RSAPublicKey):
        raise _untrusted(f"it is signed by {algorithm}, its key is not RSA")
    scheme = padding.PKCS1v15() if algorithm == "RS256" else padding.PSS(padding.MGF1(hashes.SHA256()), 32)
    try:
        key.verify(token.signature, token.signed, scheme, hashes.SHA256())
    except InvalidSignature as error:
        raise _untrusted("its signature does not hold under the key that should have made it") from error


def _parse_object(data: bytes, part: str) -> dict[str, Any]:
    """Parse a JSON object in which no name stands twice, so that two readers cannot read two things."""
    try:
        value = json.loads(data, object_pairs_hook=_take_once, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise _invalid(f"its {part} is not JSON in which every name stands once") from error
    if not isinstance(value, dict):
        raise _invalid(f"its {part} is not a JSON object")
    return value


def _take_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a name stands twice")
    return result


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")


def _name_key(header: Mapping[str, Any]) -> str:
    kid = header.get("kid")
    return f'"{kid[:64]}"' if isinstance(kid, str) and kid.isprintable() else "(none)"


def _invalid(what: str) -> RefusedError:
    return RefusedError(Reason.EVIDENCE_INVALID, f"the token cannot be used: {what}")


def _untrusted(what: str) -> RefusedError:
    return RefusedError(Reason.EVIDENCE_UNTRUSTED, f"the token is not believed: {what}")
