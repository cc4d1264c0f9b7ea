"""The authority and what it issues: renewed in time, and never written without need."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from sekisho.controller.certificates import (
    CA_LIFE,
    LEAF_LIFE,
    create_authority,
    decode,
    dns_names,
    encode,
    is_good,
    issue,
)

NOW = datetime(2026, 11, 25, tzinfo=UTC)


def test_a_fresh_certificate_is_good_until_a_third_of_its_life_is_left() -> None:
    authority = create_authority(NOW)
    leaf = issue(authority, "sekisho-depot", "system", now=NOW)
    early, late = NOW + LEAF_LIFE * 0.6, NOW + LEAF_LIFE * 0.7
    assert is_good(leaf, authority, "sekisho-depot", "system", now=early)
    assert not is_good(leaf, authority, "sekisho-depot", "system", now=late)
    assert not authority.is_due(NOW + CA_LIFE * 0.6)
    assert authority.is_due(NOW + CA_LIFE * 0.7)


def test_a_certificate_of_another_authority_or_another_service_is_not_good() -> None:
    authority, other = create_authority(NOW), create_authority(NOW)
    leaf = issue(other, "sekisho-depot", "system", now=NOW)
    assert not is_good(leaf, authority, "sekisho-depot", "system", now=NOW)
    leaf = issue(authority, "sekisho-gateway", "system", now=NOW)
    assert not is_good(leaf, authority, "sekisho-depot", "system", now=NOW)
    assert not is_good(leaf, authority, "sekisho-gateway", "elsewhere", now=NOW)


def test_a_new_authority_keeps_the_valid_ones_before_it_trusted() -> None:
    old = create_authority(NOW)
    new = create_authority(NOW + timedelta(days=1), previous=old.bundle)
    assert new.bundle == (new.certificate, old.certificate)
    assert create_authority(NOW + CA_LIFE * 2, previous=old.bundle).bundle[1:] == ()
    leaf = issue(old, "sekisho-depot", "system", now=NOW)
    assert not is_good(leaf, new, "sekisho-depot", "system", now=NOW + timedelta(days=1))


def test_what_is_written_is_read_back() -> None:
    leaf = issue(create_authority(NOW), "sekisho-depot", "system", now=NOW)
    back = decode(encode(leaf))
    assert back is not None
    assert (back.certificate, back.bundle) == (leaf.certificate, leaf.bundle)
    assert back.key.public_key() == leaf.key.public_key()


@pytest.mark.parametrize("missing", ["tls.crt", "tls.key", "ca.crt"])
def test_a_secret_that_lacks_a_part_or_holds_rubbish_counts_as_none(missing: str) -> None:
    data = encode(create_authority(NOW))
    assert decode({**data, missing: "!"}) is None
    assert decode({key: value for key, value in data.items() if key != missing}) is None


def test_a_key_that_does_not_belong_to_its_certificate_counts_as_none() -> None:
    one, other = encode(create_authority(NOW)), encode(create_authority(NOW))
    assert decode({**one, "tls.key": other["tls.key"]}) is None


def test_a_leaf_names_every_spelling_of_its_service_and_can_sign_nothing() -> None:
    leaf = issue(create_authority(NOW), "sekisho-depot", "system", now=NOW).certificate
    named = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert named.get_values_for_type(x509.DNSName) == dns_names("sekisho-depot", "system")
    assert leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False


def test_a_key_is_not_shown() -> None:
    assert "key" not in repr(create_authority(NOW)).replace("public_key", "")
