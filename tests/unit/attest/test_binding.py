"""A binding changes with every fact it is made of."""

import dataclasses
import hashlib

import pytest

from sekisho.attest.binding import Binding, digest_bytes

BINDING = Binding("release", b"n" * 32, b"k" * 32, "legal", "pod-1", "uid-1", "sha256:p", "sha256:i", "sha256:q")


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Binding)])
@pytest.mark.parametrize("size", [32, 64])
def test_another_fact_is_another_binding(field: str, size: int) -> None:
    value = getattr(BINDING, field)
    other = dataclasses.replace(BINDING, **{field: value + value[:1]})
    assert other.digest(size) != BINDING.digest(size)
    assert len(other.digest(size)) == size


def test_facts_cannot_flow_into_each_other() -> None:
    one = dataclasses.replace(BINDING, namespace="a", pod='b","uid":"c')
    other = dataclasses.replace(BINDING, namespace="a", pod="b", uid="c")
    assert one.encode() != other.encode()


def test_a_size_that_no_hardware_signs_is_an_error() -> None:
    with pytest.raises(ValueError, match="32 or 64 bytes, not 48"):
        BINDING.digest(48)


def test_the_encoding_is_domain_separated_and_agents_and_brokers_of_every_version_spell_it_alike() -> None:
    assert BINDING.encode().startswith(b"sekisho evidence binding v1\n{")
    other = dataclasses.replace(BINDING, pod="pod-é")
    assert other.encode() == (
        b'sekisho evidence binding v1\n{"isolation":"sha256:i","key":"' + b"6b" * 32 + b'","namespace":"legal",'
        b'"nonce":"' + b"6e" * 32 + b'","pod":"pod-\\u00e9","policy":"sha256:p","purpose":"release",'
        b'"question":"sha256:q","uid":"uid-1"}'
    )  # fmt: skip
    assert digest_bytes(b"x") == "sha256:" + hashlib.sha256(b"x").hexdigest()


def test_evidence_is_matched_by_either_digest_and_by_two_more_spellings_of_the_short_one() -> None:
    short = BINDING.digest(32)
    for bound in (BINDING.digest(64), short, short + bytes(32), short.hex().encode()):
        assert BINDING.matches(bound)


@pytest.mark.parametrize(
    "bound",
    [
        b"",
        bytes(32),
        bytes(64),
        BINDING.digest(64)[:32],
        BINDING.digest(32)[:31],
        BINDING.digest(32) + bytes(31),
        BINDING.digest(32) + b"\1" + bytes(31),
        BINDING.digest(32).hex().upper().encode(),
        dataclasses.replace(BINDING, purpose="renew").digest(64),
        dataclasses.replace(BINDING, nonce=b"m" * 32).digest(32),
    ],
)
def test_evidence_that_was_made_for_anything_else_does_not_match(bound: bytes) -> None:
    assert not BINDING.matches(bound)
