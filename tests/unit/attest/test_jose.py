"""Tokens: the algorithm, the key and the signature that were configured, or none."""

import base64
import hmac
import json
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings

from sekisho.attest.jose import MAX_TOKEN_BYTES, Signature, parse_token, verify_token
from sekisho.attest.jwk import TokenKey
from sekisho.errors import Reason, RefusedError
from tests.simulators.hardware.authorities import NOW, build_holder
from tests.unit.attest.token_signing import EC256, EC384, RSA2048, encode, jwk_of, sign_token, token_key
from tests.unit.fuzz import attempt, changed

CLAIMS = {"iss": "service", "exp": 7}
KEYS = (token_key(EC256, "one"), token_key(EC384), token_key(RSA2048, "rsa"))
ROOT = build_holder("Token Root")
SIGNER = build_holder("Token Signer", ROOT, authority=False, curve=ec.SECP256R1())
BUNDLE = [base64.b64encode(each.der).decode() for each in (SIGNER, ROOT)]


def verify(token: bytes, keys: tuple[TokenKey, ...] = KEYS, roots: tuple[bytes, ...] = ()) -> Signature:
    return verify_token(parse_token(token), keys, roots, at=NOW)


def refused(token: bytes, keys: tuple[TokenKey, ...] = KEYS, roots: tuple[bytes, ...] = ()) -> tuple[Reason, str]:
    with pytest.raises(RefusedError) as caught:
        verify(token, keys, roots)
    return caught.value.reason, caught.value.message


@pytest.mark.parametrize(
    ("token", "message"),
    [
        (b"", "it is not three parts of together at most 131072 bytes"),
        (b"a.b", "it is not three parts of together at most 131072 bytes"),
        (b"a.b.c.d.e", "it is not three parts of together at most 131072 bytes"),
        (b"a" * MAX_TOKEN_BYTES + b"..", "it is not three parts of together at most 131072 bytes"),
        (b"*.e30.AAAA", "a part of it is not base64url without padding"),
        (b"e30=.e30.AAAA", "a part of it is not base64url without padding"),
        (encode(b"{") + b".e30.AAAA", "its header is not JSON in which every name stands once"),
        (
            encode(b'{"alg":"none","alg":"ES256"}') + b".e30.AAAA",
            "its header is not JSON in which every name stands once",
        ),
        (b"e30." + encode(b'{"exp":NaN}') + b".AAAA", "its payload is not JSON in which every name stands once"),
        (b"e30." + encode(b"[" * 50_000) + b".AAAA", "its payload is not JSON in which every name stands once"),
        (b"e30." + encode(b"[]") + b".AAAA", "its payload is not a JSON object"),
        (encode(b"7") + b".e30.AAAA", "its header is not a JSON object"),
    ],
)
def test_what_is_no_token_is_refused(token: bytes, message: str) -> None:
    with pytest.raises(RefusedError) as caught:
        parse_token(token)
    assert caught.value.reason is Reason.EVIDENCE_INVALID
    assert caught.value.message == f"the token cannot be used: {message}"


@pytest.mark.parametrize("algorithm", ["none", "NONE", "HS256", "HS384", "ES512", "RS512", "EdDSA", 7, None, ["ES256"]])
def test_other_algorithms_are_refused_whatever_the_signature(algorithm: object) -> None:
    token = encode({"alg": algorithm}) + b"." + encode(CLAIMS) + b"."
    reason, message = refused(token)
    assert reason is Reason.EVIDENCE_UNTRUSTED
    assert message.startswith(f"the token is not believed: it is signed by {str(algorithm)[:16]!r}; ES256, ES384")


def test_a_secret_made_of_a_public_key_is_no_signature() -> None:
    signed = encode({"alg": "HS256", "kid": "rsa"}) + b"." + encode(CLAIMS)
    secret = json.dumps(jwk_of(RSA2048)).encode()
    assert refused(signed + b"." + encode(hmac.digest(secret, signed, "sha256")))[0] is Reason.EVIDENCE_UNTRUSTED


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"crit": ["exp"]}, "its header has critical parts that nobody here knows"),
        ({"kid": "two"}, 'no key may sign by ES256 under the name "two"'),
        ({"kid": "a\nb"}, "no key may sign by ES256 under the name (none)"),
        ({"kid": "rsa"}, 'no key may sign by ES256 under the name "rsa"'),
    ],
)
def test_a_header_that_asks_for_something_else_is_refused(header: dict[str, Any], message: str) -> None:
    assert refused(sign_token(CLAIMS, **header)) == (
        Reason.EVIDENCE_UNTRUSTED,
        f"the token is not believed: {message}",
    )


def test_a_name_that_is_no_text_is_refused() -> None:
    token = encode({"alg": "ES256", "kid": {"a": 1}}) + b"." + encode(CLAIMS) + b"." + encode(bytes(64))
    assert refused(token)[1].endswith("no key may sign by ES256 under the name (none)")


def test_an_embedded_key_is_not_believed() -> None:
    stranger = ec.generate_private_key(ec.SECP256R1())
    reason, message = refused(sign_token(CLAIMS, stranger, jwk=jwk_of(stranger)))
    assert reason is Reason.EVIDENCE_UNTRUSTED
    assert message == "the signature of the token does not hold under the key that should have made it"


def test_a_signature_by_none_of_several_keys_is_refused() -> None:
    stranger = ec.generate_private_key(ec.SECP256R1())
    keys = tuple(token_key(ec.generate_private_key(ec.SECP256R1())) for _ in range(3))
    for token in (sign_token(CLAIMS, stranger), sign_token(CLAIMS)):
        assert refused(token, keys)[0] is Reason.EVIDENCE_UNTRUSTED


def test_too_many_keys_are_not_tried() -> None:
    reason, message = refused(sign_token(CLAIMS), tuple(token_key(EC256) for _ in range(33)))
    assert reason is Reason.EVIDENCE_UNTRUSTED
    assert message.endswith("33 keys, at most 32, may sign by ES256 under the name (none)")


@pytest.mark.parametrize(("key", "algorithm"), [(RSA2048, "RS256"), (RSA2048, "PS256"), (EC384, "ES384")])
def test_claims_that_were_changed_are_refused(key: Any, algorithm: str) -> None:
    head, _, signature = sign_token(CLAIMS, key, algorithm).split(b".")
    reason, message = refused(b".".join((head, encode({**CLAIMS, "exp": 8}), signature)))
    assert reason is Reason.EVIDENCE_UNTRUSTED
    assert "signature" in message
    assert "does not hold" in message


def test_a_key_is_used_for_its_own_kind_alone() -> None:
    wrong = TokenKey("", EC256.public_key(), ("RS256", "ES384"))
    assert refused(sign_token(CLAIMS, RSA2048, "RS256"), (wrong,))[1].endswith(
        "it is signed by RS256, its key is not RSA"
    )
    assert "is not an ECDSA key on secp384r1" in refused(sign_token(CLAIMS, EC384, "ES384"), (wrong,))[1]


@pytest.mark.parametrize(
    ("bundle", "reason", "message"),
    [
        ("text", Reason.EVIDENCE_INVALID, "its x5c is not a list of 1 to 6 certificates"),
        (["AAAA"] * 7, Reason.EVIDENCE_INVALID, "its x5c is not a list of 1 to 6 certificates"),
        (["*"], Reason.EVIDENCE_INVALID, "a certificate of its x5c is not base64"),
        ([7], Reason.EVIDENCE_INVALID, "a certificate of its x5c is not base64"),
        (["AAAA"], Reason.EVIDENCE_INVALID, "is not an X.509 certificate in DER"),
    ],
)
def test_certificates_that_cannot_be_read_are_refused(bundle: Any, reason: Reason, message: str) -> None:
    got = refused(sign_token(CLAIMS, SIGNER.key, x5c=bundle), roots=(ROOT.der,))
    assert got[0] is reason
    assert message in got[1]


def test_certificates_of_another_root_are_refused() -> None:
    token = sign_token(CLAIMS, SIGNER.key, x5c=BUNDLE)
    assert refused(token, roots=(build_holder("Token Root").der,))[0] is Reason.EVIDENCE_UNTRUSTED


def test_without_roots_certificates_do_not_count() -> None:
    assert refused(sign_token(CLAIMS, SIGNER.key, x5c=BUNDLE))[0] is Reason.EVIDENCE_UNTRUSTED


@pytest.mark.parametrize("header", [{"x5c": BUNDLE}, {"jwk": {"x5c": BUNDLE}}])
def test_a_chain_to_a_configured_root_is_believed(header: dict[str, Any]) -> None:
    signature = verify(sign_token(CLAIMS, SIGNER.key, **header), (), (ROOT.der,))
    assert signature.who == "Token Signer"
    assert signature.window is not None
    assert signature.window.not_after == NOW + timedelta(days=365)


@pytest.mark.parametrize(
    ("key", "algorithm", "header"),
    [
        (EC256, "ES256", {"kid": "one"}),
        (EC256, "ES256", {}),
        (EC384, "ES384", {"kid": "anything, for the key has no name"}),
        (RSA2048, "RS256", {"kid": "rsa"}),
        (RSA2048, "PS256", {}),
    ],
)
def test_what_a_configured_key_signed_is_believed(key: Any, algorithm: str, header: dict[str, Any]) -> None:
    assert verify(sign_token(CLAIMS, key, algorithm, **header)) == Signature()


def test_bounds_are_included() -> None:
    keys = (*(token_key(ec.generate_private_key(ec.SECP256R1())) for _ in range(31)), token_key(EC256))
    assert verify(sign_token(CLAIMS), keys) == Signature()
    above = [ROOT]
    for number in range(4):
        above.append(build_holder(f"Issuer {number}", above[-1]))
    leaf = build_holder("Deep Signer", above[-1], authority=False, curve=ec.SECP256R1())
    bundle = [base64.b64encode(each.der).decode() for each in (leaf, *reversed(above))]
    assert len(bundle) == 6
    assert verify(sign_token(CLAIMS, leaf.key, x5c=bundle), (), (ROOT.der,)).who == "Deep Signer"
    head, signature = encode({"alg": "ES256"}), encode(bytes(64))
    room = MAX_TOKEN_BYTES - len(head) - len(signature) - 2
    filler = room * 3 // 4 - len(b'{"a":""}')
    most = b".".join((head, encode(b'{"a":"' + b"x" * filler + b'"}'), signature))
    assert len(most) == MAX_TOKEN_BYTES
    assert len(parse_token(most).claims["a"]) == filler


def test_which_of_several_keys_signed_does_not_matter() -> None:
    keys = (token_key(ec.generate_private_key(ec.SECP256R1())), token_key(EC256))
    assert verify(sign_token(CLAIMS), keys) == verify(sign_token(CLAIMS), keys[::-1]) == Signature()


@given(changed(sign_token(CLAIMS, kid="one")))
@settings(max_examples=200, deadline=None)
def test_changed_tokens_are_refused_or_the_same(data: bytes) -> None:
    original = sign_token(CLAIMS, kid="one")
    result = attempt(lambda: verify(data))
    assert isinstance(result, RefusedError) or parse_token(data).claims == parse_token(original).claims
