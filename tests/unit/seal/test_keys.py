import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.errors import Reason, RefusedError
from sekisho.seal.canonical import encode_canonical
from sekisho.seal.keys import (
    MAX_KEY_FILE_BYTES,
    KeyContext,
    WrappedKey,
    check_commitment,
    commit_key,
    encode_wrapped,
    parse_wrapped,
)
from tests.unit.seal.sealing import IDENTITY, KEY

WRAPPED = WrappedKey(kms="openbao", key_id="transit/legal", key_version="4", wrapped=b"vault:v4:abc")


def test_another_key_does_not_meet_the_commitment() -> None:
    with pytest.raises(RefusedError, match="is not the one this manifest was sealed with") as caught:
        check_commitment(bytes(32), commit_key(KEY))
    assert caught.value.reason is Reason.KEY_MISMATCH
    assert KEY.hex() not in caught.value.message


@pytest.mark.parametrize("length", [0, 16, 31, 33, 64])
def test_a_key_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(RefusedError, match=f"the data key has {length} bytes, 32 are needed") as caught:
        check_commitment(bytes(length), commit_key(KEY))
    assert caught.value.reason is Reason.KEY_MISMATCH


@pytest.mark.parametrize("commitment", [b"", commit_key(KEY)[:31], commit_key(KEY) + b"x"])
def test_a_commitment_of_another_length_is_never_met(commitment: bytes) -> None:
    with pytest.raises(RefusedError, match="commitment differs"):
        check_commitment(KEY, commitment)


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("format", "other", "format is not sekisho-seal-v1"),
        ("kms", "", "kms has 0 bytes"),
        ("kms", "a b", 'kms is "a b"'),
        ("keyId", "x" * 2049, "keyId has 2049 bytes, 1 to 2048 are allowed"),
        ("keyVersion", 4, "keyVersion is a number, text is needed"),
        ("wrapped", "", "wrapped has 0 bytes"),
        ("wrapped", "!", "wrapped is not base64"),
        ("wrapped", "QQ", "wrapped is not base64"),
        ("wrapped", "QR==", "wrapped is not base64 of 1 to 16384 bytes in its one spelling"),
        ("wrapped", base64.b64encode(bytes(16385)).decode(), "wrapped is not base64 of 1 to 16384"),
        ("extra", 1, 'has the field "extra"'),
    ],
)
def test_a_key_file_out_of_its_bounds_is_refused(field: str, value: object, text: str) -> None:
    data = encode_canonical(json.loads(encode_wrapped(WRAPPED)) | {field: value})
    with pytest.raises(RefusedError, match=text) as caught:
        parse_wrapped(data)
    assert caught.value.reason is Reason.SEAL_INVALID


def test_a_key_file_that_is_too_long_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(RefusedError, match=r"sekisho\.key\.json has 65537 bytes, 65536 are allowed"):
        parse_wrapped(b"x" * (MAX_KEY_FILE_BYTES + 1))


def test_a_wrapped_key_that_could_not_be_read_is_not_written() -> None:
    with pytest.raises(RefusedError, match="wrapped has 0 bytes"):
        encode_wrapped(WrappedKey("openbao", "a", "1", b""))


def test_a_wrapped_key_is_read_as_it_was_written() -> None:
    assert parse_wrapped(encode_wrapped(WRAPPED)) == WRAPPED


def test_the_context_is_all_text_and_has_one_spelling() -> None:
    context = KeyContext.of(IDENTITY)
    assert context.to_dict() == {"model": "legal/reviewer", "version": "7", "class": "confidential+gdpr"}
    assert context.encode() == b'{"class":"confidential+gdpr","model":"legal/reviewer","version":"7"}'


def test_the_right_key_meets_its_commitment() -> None:
    check_commitment(KEY, commit_key(KEY))


@given(st.binary(max_size=200))
def test_bytes_that_are_no_key_file_are_refused_and_never_crash(data: bytes) -> None:
    with pytest.raises(RefusedError):
        parse_wrapped(data)
