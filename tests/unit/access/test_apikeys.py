"""API keys: only digests are held, and nothing of a key is ever told."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from sekisho.access.apikeys import digest_key, is_key, parse_api_keys, spell_key
from sekisho.errors import Reason, RefusedError

NOW = datetime(2026, 11, 29, tzinfo=UTC)
KEY = spell_key(bytes(32))
ENTRY: dict[str, Any] = {"name": "ci", "sha256": digest_key(KEY), "groups": ["builders"]}
BAD = {
    "no JSON": ("{", "they are not JSON of the form"),
    "no list": ('{"keys": {}}', "keys must be a list of at most 10000"),
    "no keys": ("[]", "they are not JSON of the form"),
    "a key in plain": (json.dumps({"keys": [{"name": "ci", "key": KEY}]}), "sha256: Field required"),
    "a digest that is none": (json.dumps({"keys": [{**ENTRY, "sha256": "ab"}]}), "sha256: String should match pattern"),
    "a group of the API server's": (json.dumps({"keys": [{**ENTRY, "groups": ["system:masters"]}]}), "own"),
    "two of one name": (json.dumps({"keys": [ENTRY, {**ENTRY, "sha256": "0" * 64}]}), "two of them have the same name"),
    "one key twice": (json.dumps({"keys": [ENTRY, {**ENTRY, "name": "b"}]}), "two of them have the same sha256"),
}


@pytest.mark.parametrize(("text", "why"), BAD.values(), ids=BAD)
def test_a_file_that_cannot_be_used_is_refused_without_its_content(text: str, why: str) -> None:
    with pytest.raises(RefusedError) as refused:
        parse_api_keys(text)
    assert refused.value.reason is Reason.INVALID_SPEC
    assert why in refused.value.message
    assert KEY not in refused.value.message


@pytest.mark.parametrize("text", [KEY[:-1], KEY + "A", KEY.upper(), "", f" {KEY}", KEY.replace("A", "!", 1)])
def test_what_has_not_the_shape_of_a_key_is_none(text: str) -> None:
    assert not is_key(text)


def test_a_key_of_too_few_random_bytes_is_not_made() -> None:
    with pytest.raises(ValueError, match="needs 32 random bytes, 16 were given"):
        spell_key(bytes(16))


def test_another_key_and_one_that_has_ended_are_not_found() -> None:
    keys = parse_api_keys(json.dumps({"keys": [{**ENTRY, "expiresAt": "2026-11-29T00:00:00Z"}]}))
    assert keys.find(KEY, now=NOW) is None
    assert keys.find(spell_key(bytes([1]) * 32), now=NOW) is None


def test_a_key_is_found_by_its_digest() -> None:
    keys = parse_api_keys(json.dumps({"keys": [{**ENTRY, "expiresAt": "2026-11-29T00:00:01Z"}]}))
    found = keys.find(KEY, now=NOW)
    assert found is not None
    assert (found.name, found.groups) == ("ci", ("builders",))
    assert is_key(KEY)
