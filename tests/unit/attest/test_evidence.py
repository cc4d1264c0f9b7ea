"""Evidence on the wire: bounded, exact, and believed in nothing."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.attest import evidence
from sekisho.attest.evidence import (
    KINDS,
    MAX_EVIDENCE_BYTES,
    UnverifiedEvidence,
    encode_evidence,
    parse_evidence,
)
from sekisho.errors import Reason, RefusedError

GOOD = {"kind": "snp", "report": base64.b64encode(b"report").decode(), "certificates": [], "extras": {}}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("text", "evidence is not a list of 1 to 24 pieces"),
        ([], "evidence is not a list of 1 to 24 pieces"),
        ([GOOD] * 25, "evidence is not a list of 1 to 24 pieces"),
        (["text"], "a piece of evidence is not an object of certificates, extras, kind, report"),
        ([{**GOOD, "more": 1}], "a piece of evidence is not an object of certificates, extras, kind, report"),
        ([{**GOOD, "kind": "sample"}], "the kind of a piece of evidence is not one of snp, tdx"),
        ([{**GOOD, "certificates": {}}], "certificates of snp evidence are not a list of at most 16"),
        ([{**GOOD, "certificates": [""] * 17}], "certificates of snp evidence are not a list of at most 16"),
        ([{**GOOD, "extras": []}], "extras of snp evidence are not an object of at most 16"),
        ([{**GOOD, "extras": {str(n): "" for n in range(17)}}], "extras of snp evidence are not an object of at most"),
        ([{**GOOD, "extras": {"x" * 65: ""}}], "an extra of snp evidence has no name of 1 to 64 characters"),
        ([{**GOOD, "extras": {"": ""}}], "an extra of snp evidence has no name of 1 to 64 characters"),
        ([{**GOOD, "report": 7}], "the report of snp evidence is not base64 of at most 524288 bytes"),
        ([{**GOOD, "report": "*"}], "the report of snp evidence is not base64"),
        ([{**GOOD, "certificates": ["é"]}], "the certificate of snp evidence is not base64"),
    ],
)
def test_what_is_not_evidence_is_refused_by_name(value: object, message: str) -> None:
    with pytest.raises(RefusedError) as caught:
        parse_evidence(value)
    assert caught.value.reason is Reason.EVIDENCE_INVALID
    assert message in caught.value.message


def test_evidence_beyond_its_size_is_refused() -> None:
    half = base64.b64encode(bytes(MAX_EVIDENCE_BYTES // 2 + 1)).decode()
    with pytest.raises(RefusedError, match=r"evidence has 524290 bytes, 524288 allowed"):
        parse_evidence([{**GOOD, "report": half}, {**GOOD, "report": half}])


def test_evidence_may_be_as_much_as_is_allowed() -> None:
    assert len(parse_evidence([GOOD] * 24)) == 24
    (piece,) = parse_evidence(
        [{**GOOD, "certificates": ["AAAA"] * 16, "extras": {f"{n:x>64}": "AAAA" for n in range(16)}}]
    )
    assert (len(piece.certificates), len(piece.extras), piece.size) == (16, 16, len(b"report") + 32 * 3)
    (piece,) = parse_evidence([{**GOOD, "report": base64.b64encode(bytes(MAX_EVIDENCE_BYTES)).decode()}])
    assert piece.size == MAX_EVIDENCE_BYTES


@pytest.mark.parametrize(
    ("letters", "message"),
    [(699_054, "the report of snp evidence is not base64"), (699_055, "is not base64 of at most 524288 bytes")],
)
def test_a_text_that_is_too_long_is_not_even_decoded(letters: int, message: str) -> None:
    with pytest.raises(RefusedError) as caught:
        parse_evidence([{**GOOD, "report": "A" * letters}])
    assert caught.value.message.endswith(message)


def test_a_part_is_counted_wherever_it_came_along() -> None:
    assert UnverifiedEvidence("snp", b"12345", (b"123", b"1"), (("a", b"12"), ("b", b"1"))).size == 12


@pytest.mark.parametrize(("letters", "held"), [(4096, 1), (4100, 0)])
def test_only_texts_up_to_4096_letters_are_remembered(letters: int, held: int) -> None:
    evidence._decode_once.cache_clear()
    assert parse_evidence([{**GOOD, "certificates": ["A" * letters]}])[0].certificates == (bytes(letters // 4 * 3),)
    assert evidence._decode_once.cache_info().currsize == held


def test_certificates_are_read_alike_whether_they_are_remembered_or_too_long_for_it() -> None:
    short, long = b"\x01" * 1500, b"\x02" * 4000
    for _ in range(2):
        texts = [base64.b64encode(der).decode() for der in (short, long, short)]
        assert parse_evidence([{**GOOD, "certificates": texts}])[0].certificates == (short, long, short)
        with pytest.raises(RefusedError, match="the certificate of snp evidence is not base64"):
            parse_evidence([{**GOOD, "certificates": [texts[0][:-2] + "=x"]}])


def test_a_part_that_did_not_come_along_is_named() -> None:
    piece = UnverifiedEvidence("tpm", b"quote", extras=(("signature", b"s"),))
    assert piece.part("signature") == b"s"
    with pytest.raises(RefusedError, match='tpm evidence comes without its part "akPublic"'):
        piece.part("akPublic")


@given(
    st.lists(
        st.builds(
            UnverifiedEvidence,
            kind=st.sampled_from(KINDS),
            report=st.binary(max_size=64),
            certificates=st.lists(st.binary(max_size=16), max_size=3).map(tuple),
            extras=st.dictionaries(st.text("abc", min_size=1, max_size=3), st.binary(max_size=8), max_size=3).map(
                lambda extras: tuple(sorted(extras.items()))
            ),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_evidence_survives_the_wire(pieces: list[UnverifiedEvidence]) -> None:
    assert parse_evidence(encode_evidence(pieces)) == tuple(pieces)
