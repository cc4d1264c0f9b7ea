"""Whatever a sealed model says of itself, reading it costs what its bytes allow, and ends in a value or a refusal."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.errors import Reason, RefusedError
from sekisho.seal.canonical import encode_canonical
from sekisho.seal.certificates import parse_chain
from sekisho.seal.facts import MAX_MANIFEST_BYTES, MAX_SIGNATURES_BYTES, SEGMENT_BYTES
from sekisho.seal.keys import MAX_KEY_FILE_BYTES, WrappedKey, encode_wrapped, parse_wrapped
from sekisho.seal.manifest import MANIFEST_NAME, TABLE_NAME, BlobFacts, digest_of, parse_manifest
from sekisho.seal.statement import parse_signatures
from sekisho.seal.table import ROW_BYTES, SegmentTable
from tests.unit.fuzz import JSON, MIB, attempt, changed, measure_peak
from tests.unit.seal.sealing import seal
from tests.unit.seal.signing import certify, ed25519_key, envelope_of

SEALED = seal()
MANIFEST = SEALED.blobs[MANIFEST_NAME]
TABLE = SEALED.blobs[TABLE_NAME]
KEY_FILE = encode_wrapped(WrappedKey("openbao", "transit/legal", "3", b"vault:v3:opaque"))
ENVELOPE = envelope_of(MANIFEST, ed25519_key("a"))
CERTIFICATE = certify("CN=release,O=Example").der
PARTS: dict[str, tuple[Callable[[bytes], object], bytes, int]] = {
    "manifest": (parse_manifest, MANIFEST, MAX_MANIFEST_BYTES),
    "key": (parse_wrapped, KEY_FILE, MAX_KEY_FILE_BYTES),
    "signatures": (parse_signatures, ENVELOPE, MAX_SIGNATURES_BYTES),
}


@pytest.mark.slow
@settings(max_examples=150)
@given(st.data())
@pytest.mark.parametrize("part", PARTS)
def test_any_changes_end_in_a_value_or_a_refusal(part: str, data: st.DataObject) -> None:
    parse, good, _ = PARTS[part]
    found, peak = measure_peak(lambda: parse(data.draw(changed(good))))
    assert not isinstance(found, RefusedError) or found.reason in {Reason.SEAL_INVALID, Reason.SIGNATURE_INVALID}
    assert peak < 2 * MIB


@given(st.sampled_from(["format", "keyId", "keyVersion", "kms", "wrapped"]), JSON)
def test_any_value_in_any_field_of_a_key_file_is_read_whole_or_refused(field: str, value: object) -> None:
    data = attempt(lambda: encode_canonical(json.loads(KEY_FILE) | {field: value}))
    if isinstance(data, bytes):
        found = attempt(lambda: encode_wrapped(parse_wrapped(data)))
        assert found == data or (isinstance(found, RefusedError) and found.reason is Reason.SEAL_INVALID)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize(
    "filling", [b"[" * 50_000, b'{"a":' * 20_000, b'{"a":[' + b"0," * 50_000, b'{"' + "あ".encode() * 20_000 + b'":"']
)
def test_deep_wide_and_open_json_is_refused_at_a_bounded_cost(part: str, filling: bytes) -> None:
    parse, _, most = PARTS[part]
    data = filling[:most]
    found, peak = measure_peak(lambda: parse(data))
    assert isinstance(found, RefusedError)
    assert peak < 32 * len(data) + MIB


@pytest.mark.parametrize("part", PARTS)
def test_one_byte_too_many_is_refused_before_it_is_parsed(part: str) -> None:
    parse, _, most = PARTS[part]
    data = b"{" * (most + 1)
    found, peak = measure_peak(lambda: parse(data))
    assert isinstance(found, RefusedError)
    assert f"{most + 1} bytes" in found.message
    assert peak < MIB


def with_table(data: bytes, **file: Any) -> Any:
    """Let the manifest name this table, as whoever may sign could; `file` changes its first file."""
    manifest = SEALED.manifest
    files = (replace(manifest.files[0], **file), *manifest.files[1:])
    return replace(manifest, files=files, table=BlobFacts(len(data), digest_of(data)))


@given(changed(TABLE))
def test_a_table_of_any_rows_fits_its_files_exactly_or_is_refused(data: bytes) -> None:
    manifest = with_table(data)
    table = attempt(lambda: SegmentTable.parse(data, manifest))
    if isinstance(table, RefusedError):
        assert table.reason is Reason.SEAL_INVALID
        return
    assert isinstance(table, SegmentTable)
    for index, file in enumerate(manifest.files):
        rows = table.segments(index)
        assert sum(row.length for row in rows) == file.size
        assert all(0 < row.length <= SEGMENT_BYTES for row in rows) or file.size == 0
        assert all(row.offset + row.length <= file.size for row in rows)


@pytest.mark.parametrize("segments", [2**32, 2**31, 3])
def test_segments_that_the_table_does_not_have_are_refused_and_cost_nothing(segments: int) -> None:
    manifest = with_table(TABLE, segments=segments, size=2**45)
    found, peak = measure_peak(lambda: SegmentTable.parse(TABLE, manifest))
    assert isinstance(found, RefusedError)
    assert f"{segments + len(TABLE) // ROW_BYTES - 1} segments need {ROW_BYTES} each" in found.message
    assert peak < MIB // 4


@given(changed(CERTIFICATE))
def test_any_changes_to_a_certificate_end_in_a_chain_or_none(data: bytes) -> None:
    found, peak = measure_peak(lambda: parse_chain((data, CERTIFICATE)))
    assert not isinstance(found, RefusedError)
    assert peak < MIB
