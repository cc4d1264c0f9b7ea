"""A secret under its name: opened whole, by its own key and under its own path, or not at all."""

import pytest
from hypothesis import given, settings

from sekisho.errors import Reason, RefusedError
from sekisho.seal.resource import (
    MAX_CONTENT_BYTES,
    MAX_SECRET_BYTES,
    digest_content,
    open_resource,
    seal_resource,
)
from tests.unit.fuzz import attempt, changed

KEY, NONCE, PATH = bytes(range(32)), bytes(range(12)), "default/credential/registry"
SECRET = b'{"auths": {}}'
CONTENT = seal_resource(SECRET, KEY, path=PATH, nonce=NONCE)


def refused(content: bytes, key: bytes = KEY, path: str = PATH) -> tuple[Reason, str]:
    with pytest.raises(RefusedError) as caught:
        open_resource(content, key, path=path)
    return caught.value.reason, caught.value.message


BROKEN = "was changed, or sealed for another path or under another key"


def test_content_under_another_name_key_or_changed_is_refused() -> None:
    told = (Reason.SEAL_INVALID, f"the content of resource {PATH} {BROKEN}")
    assert refused(CONTENT, bytes(32)) == told
    assert refused(CONTENT[:-1]) == told
    assert refused(CONTENT + b"x") == told
    other = "default/credential/other"
    assert refused(CONTENT, path=other) == (Reason.SEAL_INVALID, f"the content of resource {other} {BROKEN}")


@pytest.mark.parametrize("size", [0, 28, MAX_CONTENT_BYTES + 1])
def test_content_of_no_possible_size_is_refused(size: int) -> None:
    assert refused(bytes(size)) == (
        Reason.SEAL_INVALID,
        f"the content of resource {PATH} has {size} sealed bytes, at most {MAX_CONTENT_BYTES} are allowed",
    )


@pytest.mark.parametrize("size", [0, MAX_SECRET_BYTES + 1])
def test_nothing_and_too_much_are_not_sealed(size: int) -> None:
    with pytest.raises(RefusedError) as caught:
        seal_resource(bytes(size), KEY, path=PATH, nonce=NONCE)
    assert (caught.value.reason, caught.value.message) == (
        Reason.SEAL_INVALID,
        f"the content of resource {PATH} has {size} bytes, 1 to {MAX_SECRET_BYTES} are allowed",
    )


def test_a_key_of_another_length_is_refused() -> None:
    assert refused(CONTENT, KEY[:16])[0] is Reason.KEY_MISMATCH


@settings(max_examples=60, deadline=None)
@given(changed(CONTENT))
def test_any_change_is_refused(content: bytes) -> None:
    outcome = attempt(lambda: open_resource(content, KEY, path=PATH))
    assert isinstance(outcome, RefusedError) or content == CONTENT


def test_what_was_sealed_is_opened_and_the_layout_is_as_told() -> None:
    assert open_resource(CONTENT, KEY, path=PATH) == SECRET
    assert (CONTENT[:12], len(CONTENT)) == (NONCE, 12 + len(SECRET) + 16)
    assert open_resource(seal_resource(b"1", KEY, path=PATH, nonce=NONCE), KEY, path=PATH) == b"1"
    most = bytes(MAX_SECRET_BYTES)
    assert open_resource(seal_resource(most, KEY, path=PATH, nonce=NONCE), KEY, path=PATH) == most
    assert digest_content(b"") == "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
