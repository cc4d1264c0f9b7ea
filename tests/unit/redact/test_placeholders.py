"""Placeholders: what is unsafe is refused; what is equal is equal everywhere."""

import base64
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.errors import Reason, RefusedError
from sekisho.redact.categories import MEANINGS, Category
from sekisho.redact.placeholders import LENGTH, PLACEHOLDER, derive_key, held_back, make_placeholder

MASTER = bytes(range(32))


def test_a_short_master_key_is_refused() -> None:
    with pytest.raises(RefusedError) as refusal:
        derive_key(MASTER[:31], tenant="a", conversation="b")
    assert refusal.value.reason is Reason.KEY_UNSAFE
    assert refusal.value.message == "the key of placeholders has 31 bytes; give at least 32"


@pytest.mark.parametrize(
    ("tenant", "conversation", "what"),
    [("", "b", "tenant"), ("a", "", "conversation"), ("a", "x" * 1025, "conversation")],
)
def test_names_that_are_empty_or_too_long_are_refused(tenant: str, conversation: str, what: str) -> None:
    with pytest.raises(RefusedError) as refusal:
        derive_key(MASTER, tenant=tenant, conversation=conversation)
    assert refusal.value.reason is Reason.REQUEST_INVALID
    assert refusal.value.message.startswith(f"the name of the {what} has ")


def test_the_key_is_not_told() -> None:
    assert "secret" not in repr(derive_key(MASTER, tenant="a", conversation="b"))


def test_tenants_conversations_and_categories_are_not_linked() -> None:
    keys = [derive_key(MASTER, tenant=t, conversation=c) for t, c in [("a", "bc"), ("ab", "c"), ("b", "c"), ("a", "b")]]
    made = {make_placeholder(key, Category.EMAIL, "x@example.com")[6:] for key in keys}
    made.add(make_placeholder(keys[0], Category.PHONE, "x@example.com")[6:])
    assert len(made) == 5


@given(st.text(), st.sampled_from(Category))
def test_a_value_keeps_its_placeholder_of_one_length(value: str, category: Category) -> None:
    one, two = (make_placeholder(derive_key(MASTER, tenant="a", conversation="b"), category, value) for _ in range(2))
    assert one == two
    assert len(one) == LENGTH
    assert PLACEHOLDER.fullmatch(one)
    for cut in range(1, LENGTH):
        assert held_back("あ" + one[:cut]) == cut
    assert held_back(one) == 0


@pytest.mark.parametrize("text", ["", "[[eml", "[[1", "[[EML-A]", "[[EML-000000000000]]", "[ ", "[[EML_", "[[EMLX-"])
def test_what_cannot_become_one_is_not_held(text: str) -> None:
    assert held_back(text) == 0


@given(st.text(max_size=20), st.sampled_from(Category))
def test_a_placeholder_is_sixty_bits_of_its_codes_and_values_hmac(value: str, category: Category) -> None:
    key = derive_key(MASTER, tenant="a", conversation="b")
    code = MEANINGS[category].code
    tag = hmac.digest(key.secret, f"{code}\0{value}".encode(), "sha256")
    assert make_placeholder(key, category, value) == f"[[{code}-{spell_crockford(tag)}]]"


def spell_crockford(tag: bytes) -> str:
    plain, crockford = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
    return base64.b32encode(tag[:8]).decode()[:12].translate(str.maketrans(plain, crockford))
