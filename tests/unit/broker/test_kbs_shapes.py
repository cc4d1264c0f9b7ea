"""Messages of the key broker protocol: this version, these fields, and what evidence must commit to."""

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.broker.kbs_shapes import (
    AuthRequest,
    encode_challenge,
    encode_error,
    pad_data,
    parse_attest,
    parse_auth,
)
from sekisho.errors import Reason, RefusedError
from sekisho.seal.resource import parse_resource_path, parse_resource_uri
from tests.unit.broker.guest import Guest
from tests.unit.broker.test_kbs_evidence import TDX
from tests.unit.fuzz import JSON, attempt

# As guest-components' client builds it (attestation-agent/kbs_protocol/src/client/rcar_client.rs).
AUTH: dict[str, Any] = {
    "version": "0.4.0",
    "tee": "tdx",
    "extra-params": {"supported-hash-algorithms": ["sha256", "sha384", "sha512"]},
}
GUEST = Guest()
NONCE = "bm9uY2U="


def refused(act: Any, *args: Any, **options: Any) -> tuple[Reason, str]:
    with pytest.raises(RefusedError) as caught:
        act(*args, **options)
    return caught.value.reason, caught.value.message.removeprefix(
        "the message of the key broker protocol cannot be used: "
    )


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"x", "it is not JSON"),
        (b"[" * 100_000, "it is not JSON"),
        (b"[]", "it is not an object"),
        (b" " * (2**20 + 1), "it has 1048577 bytes, 1048576 allowed"),
        (AUTH | {"version": "0.3.0"}, "version '0.3.0' of the protocol is not spoken here, 0.4.0 is"),
        (AUTH | {"version": None}, "version 'None' of the protocol is not spoken here, 0.4.0 is"),
        (AUTH | {"tee": "sample"}, "tee 'sample' is not one of snp, tdx"),
        (AUTH | {"tee": ["tdx"]}, "tee \"['tdx']\" is not one of snp, tdx"),
        (AUTH | {"extra-params": {"supported-hash-algorithms": ["md5"]}}, "none of sha384, sha512, sha256 is among"),
        (AUTH | {"extra-params": {"supported-hash-algorithms": "sha384"}}, "none of sha384, sha512, sha256 is among"),
    ],
)
def test_a_beginning_that_is_spelt_otherwise_is_refused(body: Any, message: str) -> None:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    reason, text = refused(parse_auth, data)
    assert reason is Reason.REQUEST_INVALID
    assert text.startswith(message)


@pytest.mark.parametrize(
    ("extra", "algorithm"),
    [
        (AUTH["extra-params"], "sha384"),
        ("", "sha384"),
        ({}, "sha384"),
        (None, "sha384"),
        ({"supported-hash-algorithms": ["SHA256", 7]}, "sha256"),
        ({"supported-hash-algorithms": ["sha256", "sha512"]}, "sha512"),
    ],
)
def test_the_hash_is_one_that_the_guest_offers(extra: Any, algorithm: str) -> None:
    assert parse_auth(json.dumps(AUTH | {"extra-params": extra}).encode()) == AuthRequest("tdx", algorithm)


def test_a_challenge_says_by_which_hash_to_commit() -> None:
    assert encode_challenge(NONCE, "sha384") == {
        "nonce": NONCE,
        "extra-params": {"selected-hash-algorithm": "sha384"},
    }


def attestation(**changes: Any) -> bytes:
    return json.dumps(GUEST.attestation(NONCE, TDX, **changes)).encode()


def keyed(**changes: Any) -> bytes:
    return attestation(**{"runtime-data": {"nonce": NONCE, "tee-pubkey": GUEST.jwk() | changes}})


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (attestation(**{"runtime-data": None}), "runtime-data is not an object of nonce and tee-pubkey"),
        (attestation(**{"runtime-data": {"nonce": NONCE}}), "runtime-data is not an object of nonce and tee-pubkey"),
        (attestation(**{"runtime-data": {"nonce": 7, "tee-pubkey": {}}}), "the nonce is not text"),
        (attestation(**{"runtime-data": {"nonce": "", "tee-pubkey": {}}}), "the nonce is not text"),
        (attestation(**{"tee-evidence": {}}), "tee-evidence is not an object of primary_evidence and"),
        (
            attestation(**{"tee-evidence": {"primary_evidence": TDX, "additional_evidence": {}}}),
            "additional_evidence is not text",
        ),
        (keyed(kty="OKP"), "tee-pubkey is not a JSON Web Key of kty EC or RSA with its fields and alg"),
        (keyed(kty=["EC"]), "tee-pubkey is not a JSON Web Key of kty EC or RSA with its fields and alg"),
        (keyed(d="secret"), "tee-pubkey is not a JSON Web Key of kty EC or RSA with its fields and alg"),
        (keyed(x=7), "a field of tee-pubkey is not text"),
        (keyed(x="A" * 1025), "a field of tee-pubkey is not text"),
        (
            attestation(**{"runtime-data": {"nonce": NONCE, "tee-pubkey": []}}),
            "tee-pubkey is not a JSON Web Key of kty EC or RSA with its fields and alg",
        ),
    ],
)
def test_an_answer_that_is_spelt_otherwise_is_refused(body: bytes, message: str) -> None:
    reason, text = refused(parse_attest, body, tee="tdx")
    assert reason is Reason.REQUEST_INVALID
    assert text.startswith(message)


def test_evidence_of_another_kind_than_was_begun_with_is_refused() -> None:
    reason, text = refused(parse_attest, attestation(), tee="snp")
    assert reason is Reason.EVIDENCE_INVALID
    assert text == "the session is one of snp, the evidence is of tdx"


@pytest.mark.parametrize("kind", ["P-256", "RSA"])
@pytest.mark.parametrize("algorithm", ["sha256", "sha384", "sha512"])
def test_evidence_commits_to_nonce_key_and_devices(kind: str, algorithm: str) -> None:
    guest = Guest(kind)
    parsed = parse_attest(json.dumps(guest.attestation(NONCE, TDX)).encode(), tee="tdx")
    assert parsed.primary_data(algorithm) == guest.primary_data(NONCE, "", algorithm)
    assert parsed.device_data(algorithm) == guest.device_data(NONCE, algorithm)
    assert parsed.key == guest.jwk()
    assert parsed.devices == ()


@given(st.text(max_size=40).filter(str.strip), st.text(max_size=20))
@settings(max_examples=100, deadline=None)
def test_whatever_text_stands_there_is_hashed_as_the_guest_hashes_it(nonce: str, field: str) -> None:
    key = GUEST.jwk() | {"alg": field}
    body = GUEST.attestation(nonce, TDX, **{"runtime-data": {"nonce": nonce, "tee-pubkey": key}})
    parsed = attempt(lambda: parse_attest(json.dumps(body).encode(), tee="tdx"))
    canonical = json.dumps(
        {"nonce": nonce, "tee-pubkey": key}, sort_keys=True, separators=(",", ":"), ensure_ascii=False
    )
    expected = hashlib.sha384(canonical.encode("utf-8", "surrogatepass")).digest()
    assert parsed.device_data("sha384") == expected  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "path", ["", "a/b", "a/b/c/d", "a//c", "../a/b", "a/b/..", "a/b/c?d", "a/b/" + "c" * 129, "é/b/c"]
)
def test_what_is_no_resource_is_refused(path: str) -> None:
    assert refused(parse_resource_path, path) == (
        Reason.ENDPOINT_UNKNOWN,
        "a resource is named by repository/type/tag",
    )


@pytest.mark.parametrize(
    "uri", ["", "kbs:/a/b/c", "http:///a/b/c", "kbs://host", f"kbs://{'h' * 254}/a/b/c", "kbs:///a/b"]
)
def test_what_is_no_key_id_of_a_key_broker_is_refused(uri: str) -> None:
    assert refused(parse_resource_uri, uri)[0] is Reason.ENDPOINT_UNKNOWN


@pytest.mark.parametrize("uri", ["kbs:///default/key/1", "kbs://broker.example:8080/default/key/1"])
def test_a_key_id_of_a_key_broker_names_a_resource(uri: str) -> None:
    assert parse_resource_uri(uri) == "default/key/1"


@pytest.mark.parametrize(("size", "padded"), [(64, b"\1" * 48 + bytes(16)), (48, b"\1" * 48), (32, b"\1" * 32)])
def test_what_is_committed_to_is_brought_to_the_size_of_its_field(size: int, padded: bytes) -> None:
    assert pad_data(b"\1" * 48, size) == padded


def test_a_refusal_is_spelt_as_the_protocol_wants_it() -> None:
    assert encode_error("PolicyDeny", "no") == {
        "type": "https://github.com/confidential-containers/kbs/errors/PolicyDeny",
        "detail": "no",
    }


@given(JSON)
@settings(max_examples=100, deadline=None)
def test_anything_else_is_refused_or_read(value: Any) -> None:
    attempt(lambda: parse_auth(json.dumps(AUTH | {"extra-params": value}).encode()))
    attempt(lambda: parse_attest(json.dumps({"runtime-data": value, "tee-evidence": value}).encode(), tee="snp"))
    body = GUEST.attestation(NONCE, value, **{"runtime-data": {"nonce": NONCE, "tee-pubkey": value}})
    attempt(lambda: parse_attest(json.dumps(body).encode(), tee="snp"))


def test_bounds_are_included() -> None:
    nonce, field = "n" * 1024, "A" * 1024
    key = GUEST.jwk() | {"alg": field}
    body = attestation(**{"runtime-data": {"nonce": nonce, "tee-pubkey": key}})
    parsed = parse_attest(body + b" " * (2**20 - len(body)), tee="tdx")
    assert (parsed.nonce, parsed.key["alg"]) == (nonce, field)
    longer = attestation(**{"runtime-data": {"nonce": nonce + "n", "tee-pubkey": key}})
    assert refused(parse_attest, longer, tee="tdx")[1] == "the nonce is not text"
    assert parse_resource_uri(f"kbs://{'h' * 253}/a/b/c") == "a/b/c"


def test_text_that_is_no_unicode_is_hashed_and_matches_nothing_that_a_guest_can_spell() -> None:
    body = attestation(**{"runtime-data": {"nonce": "\ud800", "tee-pubkey": GUEST.jwk()}})
    assert len(parse_attest(body, tee="tdx").device_data("sha384")) == 48
