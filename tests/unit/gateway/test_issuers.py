"""Tokens of configured issuers: every way not to be accepted, then the one to be."""

import base64
import hmac
import json
from collections.abc import Mapping
from functools import cache
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.errors import Reason, RefusedError
from sekisho.gateway.issuers import (
    IssuerSpec,
    UnknownKeyError,
    find_issuer,
    parse_issuers,
    parse_keys,
    verify_token,
)
from tests.unit.attest.authorities import rsa_key

NOW = 1_800_000_000.0
AUDIENCE = "sekisho-gateway"
CLAIMS: Mapping[str, Any] = {
    "iss": "https://id.example.test", "aud": AUDIENCE, "sub": "4711", "email": "ann@example.test",
    "groups": ["legal", "all"], "iat": NOW - 10, "exp": NOW + 300,
}  # fmt: skip


@cache
def private(kind: str) -> Any:
    if kind == "RS256":
        return rsa_key()
    return ec.generate_private_key(ec.SECP256R1()) if kind == "ES256" else ed25519.Ed25519PrivateKey.generate()


def jwk(kind: str, **more: Any) -> dict[str, Any]:
    algorithm = jwt.get_algorithm_by_name(kind)
    return {**json.loads(algorithm.to_jwk(private(kind).public_key())), "kid": kind, "use": "sig", **more}


SET = {"keys": [jwk(kind) for kind in ("RS256", "ES256", "EdDSA")]}
KEYS = parse_keys(SET)


def issuer(**changes: Any) -> IssuerSpec:
    spec = {"name": "corp", "issuer": CLAIMS["iss"], "audiences": [AUDIENCE], "jwks": SET, **changes}
    return IssuerSpec.model_validate(spec)


def sign(kind: str = "ES256", *, headers: Mapping[str, Any] | None = None, key: Any = None, **changes: Any) -> str:
    claims = {name: value for name, value in {**CLAIMS, **changes}.items() if value is not None}
    return jwt.encode(claims, key or private(kind), algorithm=kind, headers={"kid": kind, **(headers or {})})


def refusal(token: str, spec: IssuerSpec | None = None, keys: Any = None) -> str:
    with pytest.raises(RefusedError) as refused:
        verify_token(token, spec or issuer(), keys or KEYS, now=NOW)
    assert refused.value.reason is Reason.UNAUTHENTICATED
    assert "ann@" not in refused.value.message
    return refused.value.message


def unsigned() -> str:
    parts = [{"alg": "none", "typ": "JWT"}, dict(CLAIMS)]
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts) + "."


def signed_by_the_public_key() -> str:
    """Make the old forgery: an HMAC under the public key, which is no secret."""
    pem = (
        private("RS256")
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    head, body = ({"alg": "HS256", "kid": "RS256"}, dict(CLAIMS))
    text = b".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (head, body))
    tag = base64.urlsafe_b64encode(hmac.digest(pem, text, "sha256")).rstrip(b"=")
    return (text + b"." + tag).decode()


REFUSED = {
    "no signature": (unsigned(), "it must be signed by RS256 or ES256 or EdDSA"),
    "an HMAC under the public key": (signed_by_the_public_key(), "it must be signed by"),
    "another's signature": (sign(key=ec.generate_private_key(ec.SECP256R1())), "it is not a token that it signed"),
    "another audience": (sign(aud="other"), "it is for another audience"),
    "no audience": (sign(aud=None), "it lacks one of"),
    "another issuer": (sign(iss="https://evil.test"), "it is of another issuer"),
    "no end": (sign(exp=None), "it lacks one of"),
    "no subject": (sign(sub=None), "it lacks one of"),
    "an end that is past": (sign(exp=NOW - 31), "it has expired"),
    "an end that is no time": (sign(exp="soon"), 'its claim "exp" is no time'),
    "an end that is true": (sign(exp=True), 'its claim "exp" is no time'),
    "an end that never comes": (sign(exp=float("inf")), 'its claim "exp" is no time'),
    "an end beyond all numbers": (sign(exp=10**400), 'its claim "exp" is no time'),
    "a beginning that is no number": (sign(nbf=float("nan")), 'its claim "nbf" is no time'),
    "a beginning to come": (sign(nbf=NOW + 31), "it is not valid yet"),
    "made in the future": (sign(iat=NOW + 31), "it is not valid yet"),
    "a critical extension": (sign(headers={"crit": ["x"], "x": 1}), "it is not a token that it signed"),
    "a key for another algorithm": (sign(headers={"kid": "EdDSA"}), "its key is for another algorithm"),
    "groups that are no list": (sign(groups={"a": 1}), 'its claim "groups" is no list'),
    "groups that are no names": (sign(groups=[1]), 'its claim "groups" holds what is no name'),
    "a group with a line break": (sign(groups=["a\nb"]), "holds what is no name"),
    "too many groups": (sign(groups=[str(at) for at in range(257)]), "no list of at most 256"),
    "garbage": ("a.b.c", "it is not a token that it signed"),
}


@pytest.mark.parametrize(("token", "why"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_right_is_not_accepted(token: str, why: str) -> None:
    assert why in refusal(token)


@pytest.mark.parametrize("name", [None, "", 7, "a\x00b", "x" * 257])
def test_a_username_that_is_none_is_not_accepted(name: Any) -> None:
    assert 'its claim "email" is no name' in refusal(sign(email=name), issuer(usernameClaim="email"))


def test_a_key_that_is_not_known_is_told_apart() -> None:
    with pytest.raises(UnknownKeyError, match='"corp" has no key as it names'):
        verify_token(sign(headers={"kid": "new"}), issuer(), KEYS, now=NOW)
    token = jwt.encode(dict(CLAIMS), private("ES256"), algorithm="ES256")
    with pytest.raises(UnknownKeyError):
        verify_token(token, issuer(), KEYS, now=NOW)


def test_an_algorithm_that_is_not_allowed_is_not_accepted_whatever_its_key() -> None:
    assert "it must be signed by EdDSA" in refusal(sign("RS256"), issuer(algorithms=["EdDSA"]))


@pytest.mark.parametrize("kind", ["RS256", "ES256", "EdDSA"])
def test_a_token_speaks_of_its_caller(kind: str) -> None:
    found = verify_token(sign(kind), issuer(usernameClaim="email"), KEYS, now=NOW)
    assert (found.username, found.uid, found.groups) == ("corp:ann@example.test", "4711", ("corp:legal", "corp:all"))
    assert found.claims["email"] == "ann@example.test"
    assert found.left_seconds == 330


def test_one_key_alone_needs_no_name_and_one_group_no_list() -> None:
    only = parse_keys({"keys": [jwk("ES256")]})
    token = jwt.encode({**CLAIMS, "groups": "legal"}, private("ES256"), algorithm="ES256")
    assert verify_token(token, issuer(), only, now=NOW).groups == ("corp:legal",)
    without = jwt.encode({k: v for k, v in CLAIMS.items() if k != "groups"}, private("ES256"), algorithm="ES256")
    assert verify_token(without, issuer(), only, now=NOW).groups == ()


@settings(deadline=None, max_examples=60)
@given(at=st.integers(0, 10_000), flip=st.integers(1, 63))
def test_a_token_that_was_touched_anywhere_is_not_accepted(at: int, flip: int) -> None:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    token = sign("EdDSA")
    spot = at % (len(token) - 1)  # the last character holds bits that decoding drops
    if token[spot] == ".":
        return
    other = alphabet[(alphabet.index(token[spot]) + flip) % 64]
    with pytest.raises(RefusedError):
        verify_token(token[:spot] + other + token[spot + 1 :], issuer(), KEYS, now=NOW)


WEAK = rsa_key(1024)  # to be refused
BAD_KEYS = {
    "no set": ([], "a set of at most 64 keys is needed"),
    "too many": ({"keys": [jwk("ES256")] * 65}, "a set of at most 64 keys is needed"),
    "none": ({"keys": []}, "none of its keys is a public one"),
    "only others": ({"keys": [{"kty": "oct", "k": "c2VjcmV0"}, jwk("ES256", use="enc"), "x"]}, "none of its keys"),
    "only broken ones": ({"keys": [{"kty": "EC", "crv": "P-256", "x": "!", "y": "!"}]}, "none of its keys"),
    "a key for another algorithm": ({"keys": [jwk("RS256", alg="RS512")]}, "none of its keys"),
    "a private key": ({"keys": [{**jwk("EdDSA"), "d": "AAAA"}]}, "none of its keys"),
    "two of one name": ({"keys": [jwk("ES256"), jwk("EdDSA", kid="ES256")]}, "two keys go by 'ES256'"),
    "a weak one": (
        {"keys": [{**json.loads(jwt.get_algorithm_by_name("RS256").to_jwk(WEAK.public_key())), "kid": "w"}]},
        "a key has 1024 bits, at least 2048 are needed",
    ),
}


@pytest.mark.parametrize(("raw", "why"), BAD_KEYS.values(), ids=BAD_KEYS)
def test_keys_that_cannot_be_used_are_refused(raw: Any, why: str) -> None:
    with pytest.raises(RefusedError) as refused:
        parse_keys(raw)
    assert refused.value.reason is Reason.COLLATERAL_INVALID
    assert why in refused.value.message


GOOD = {"name": "corp", "issuer": "https://id.example.test", "audiences": ["a"], "jwks": SET}
BAD_ISSUERS = {
    "no JSON": ("{", "they are not JSON"),
    "no list": ("{}", "issuers must be a list of at most 16"),
    "a name of others": (json.dumps([{**GOOD, "name": "apikey"}]), '"apikey" is a name that others go by'),
    "the API server's name": (json.dumps([{**GOOD, "name": "system"}]), '"system" is a name that others go by'),
    "no keys": (json.dumps([{**GOOD, "jwks": None}]), "either jwks, its pinned keys, or jwksUrl"),
    "keys over plain HTTP": (json.dumps([{**GOOD, "jwks": None, "jwksUrl": "http://a"}]), "jwksUrl"),
    "any audience": (json.dumps([{**GOOD, "audiences": []}]), "audiences"),
    "a shared secret": (json.dumps([{**GOOD, "algorithms": ["HS256"]}]), "algorithms"),
    "two of one name": (json.dumps([GOOD, {**GOOD, "issuer": "b"}]), "two of them have the same name"),
    "two of one issuer": (json.dumps([GOOD, {**GOOD, "name": "b"}]), "two of them have the same issuer"),
}


@pytest.mark.parametrize(("text", "why"), BAD_ISSUERS.values(), ids=BAD_ISSUERS)
def test_issuers_that_cannot_be_used_are_refused(text: str, why: str) -> None:
    with pytest.raises(RefusedError) as refused:
        parse_issuers(text)
    assert refused.value.reason is Reason.INVALID_SPEC
    assert why in refused.value.message


def test_issuers_are_found_by_what_a_token_says() -> None:
    (found,) = parse_issuers(json.dumps([GOOD]))
    assert find_issuer([found], "https://id.example.test") is found
    assert find_issuer([found], "https://other.test") is None
    assert find_issuer([found], {"a": 1}) is None
