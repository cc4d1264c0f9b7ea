import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.errors import Reason, RefusedError
from sekisho.seal.canonical import encode_canonical
from sekisho.seal.manifest import (
    MANIFEST_NAME,
    MAX_MANIFEST_BYTES,
    BlobFacts,
    ScanSummary,
    SealedManifest,
    check_path,
    encode_manifest,
    parse_manifest,
)
from tests.unit.seal.sealing import seal

AT = "2026-11-25T06:00:00Z"
FULL: SealedManifest = replace(
    seal().manifest,
    scan=ScanSummary(result="Findings", scanner="sekisho 0.1", at=AT, findings=("custom code: model.py",)),
    bom=BlobFacts(3, "sha256:" + "0" * 64),
    declared={
        "licence": "Apache-2.0",
        "capabilities": ["summarise"],
        "risk": "Limited",
        "evaluations": [{"at": AT, "name": "jp-legal-qa", "score": "0.81"}],
    },
)
DATA = encode_manifest(FULL)


def refused(data: bytes, text: str) -> None:
    with pytest.raises(RefusedError, match=text) as caught:
        parse_manifest(data)
    assert caught.value.reason is Reason.SEAL_INVALID


def change(*path: str | int, to: object) -> bytes:
    value = json.loads(DATA)
    place = value
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = to
    return encode_canonical(value)


def drop(*path: str | int) -> bytes:
    value = json.loads(DATA)
    place = value
    for step in path[:-1]:
        place = place[step]
    del place[path[-1]]
    return encode_canonical(value)


@pytest.mark.parametrize(
    ("spell", "text"),
    [
        pytest.param(lambda v: json.dumps(v, sort_keys=True).encode(), "not spelt canonically", id="spaces"),
        pytest.param(
            lambda v: json.dumps(dict(reversed(v.items())), separators=(",", ":")).encode(),
            "not spelt canonically",
            id="unsorted",
        ),
        pytest.param(lambda v: encode_canonical(v) + b"\n", "not spelt canonically", id="newline"),
        pytest.param(lambda v: b"\xef\xbb\xbf" + encode_canonical(v), "is not JSON", id="mark"),
        pytest.param(lambda v: b'{"bom":null,' + encode_canonical(v)[1:], "not spelt canonically", id="twice"),
        pytest.param(
            lambda v: encode_canonical(v).replace(b'"version":7', b'"version":7.0'),
            "is not JSON of the kind",
            id="float",
        ),
        pytest.param(
            lambda v: encode_canonical(v).replace(b'"version":7', b'"version":NaN'), "is not JSON of the kind", id="nan"
        ),
        pytest.param(
            lambda v: encode_canonical(v).replace(b'"version":7', b'"version":9007199254740992'),
            "up to 2\\^53 - 1",
            id="over2to53",
        ),
        pytest.param(
            lambda v: encode_canonical(v).replace(b'"version":7', b'"version":1' + b"0" * 5000),
            "up to 2\\^53 - 1",
            id="long",
        ),
        pytest.param(
            lambda v: encode_canonical(v).replace(b"summarise", b"\\ud800"), "no canonical spelling", id="surrogate"
        ),
        pytest.param(
            lambda v: encode_canonical(v).replace(b"summarise", b"\\u0041"), "not spelt canonically", id="escape"
        ),
        pytest.param(lambda v: encode_canonical(v).replace(b"summarise", b"\xff"), "is not JSON", id="latin"),
        pytest.param(lambda v: encode_canonical(v)[:-1], "is not JSON", id="cut"),
        pytest.param(lambda _: b"[" * 100_000, "is not JSON", id="deep"),
        pytest.param(lambda _: b"[]", "is not a JSON object", id="list"),
        pytest.param(lambda _: b"", "is not JSON", id="empty"),
        pytest.param(lambda _: b" " * (MAX_MANIFEST_BYTES + 1), "has 4194305 bytes, 4194304 are allowed", id="huge"),
    ],
)
def test_any_other_spelling_than_the_one_that_is_signed_is_refused(spell: Callable[[Any], bytes], text: str) -> None:
    refused(spell(json.loads(DATA)), text)


@pytest.mark.parametrize("field", sorted(set(json.loads(DATA))))
def test_a_missing_field_is_refused(field: str) -> None:
    refused(drop(field), f'{field} is None, this release|lacks the field "{field}"')


@pytest.mark.parametrize(
    ("path", "value", "text"),
    [
        (("extra",), 1, 'has the field "extra", which this format does not know'),
        (("files", 0, "extra"), 1, r'files\[0\] has the field "extra"'),
        (("model", "extra"), 1, "model has the field"),
        (("declared", "extra"), 1, "declared has the field"),
        (("format",), "sekisho-seal-v2", "is sekisho-seal-v2, this release reads sekisho-seal-v1"),
        (("formatVersion",), 2, "formatVersion is 2, this release reads 1"),
        (("formatVersion",), True, "formatVersion is True"),
        (("algorithm",), "AES-128-GCM", "algorithm is AES-128-GCM, this release reads AES-256-GCM"),
        (("derivation",), "none", "derivation is none"),
        (("segmentBytes",), 1, "segmentBytes is 1"),
        (("commitment",), "00", "commitment is"),
        (("commitment",), "A" * 64, "is not spelt|which is not spelt"),
        (("sealedAt",), "2026-11-25 06:00:00", "sealedAt is"),
        (("sealedAt",), "2026-13-25T06:00:00Z", "which is no time"),
        (("model",), [], "model is a list, an object is needed"),
        (("model", "name"), "../x", "model.name is"),
        (("model", "name"), "", "has 0 bytes, 1 to 255 are allowed"),
        (("model", "version"), 0, "version is 0, 1 to 9007199254740991 is allowed"),
        (("model", "version"), "7", "version is text, a whole number is needed"),
        (("model", "version"), True, "version is true or false"),
        (("model", "class"), "secret+b+a", "compartments stand in order, each once"),
        (("model", "class"), "secret+a+a", "compartments stand in order, each once"),
        (("model", "class"), "", "class has 0 bytes"),
        (("files",), [], "a model has at least one file"),
        (("files",), {}, "files is an object, a list is needed"),
        (("files", 0), None, r"files\[0\] is null, an object is needed"),
        (("files", 0, "path"), 3, "path is a number, text is needed"),
        (("files", 0, "path"), "zzz", "does not come after the one before"),
        (("files", 1, "path"), "config.json", '"config.json" does not come after the one before'),
        (("files", 2, "path"), "shards", "is a file here and a folder elsewhere"),
        (("files", 0, "path"), "/etc/passwd", "a relative path that stays inside"),
        (("files", 0, "path"), "../a", "a relative path that stays inside"),
        (("files", 0, "path"), "a/./b", "a relative path that stays inside"),
        (("files", 0, "path"), "a//b", "a relative path that stays inside"),
        (("files", 0, "path"), "a\\b", "a relative path that stays inside"),
        (("files", 0, "path"), "c:a", "a relative path that stays inside"),
        (("files", 0, "path"), "a\nb", "has a control character"),
        (("files", 0, "path"), "a" * 256, "has a part longer than 255 bytes"),
        (("files", 0, "path"), "e\u0301", "not in Unicode's form NFC"),
        (("files", 0, "storedAs"), "files/00001.sealed", '"files/00000.sealed" is needed'),
        (("files", 0, "salt"), "00", r"files\[0\].salt is"),
        (("files", 0, "digest"), "md5:0", r"files\[0\].digest is"),
        (("files", 0, "size"), -1, "size is -1, 0 to"),
        (("files", 0, "size"), 99, "99 bytes of plaintext and 12 of ciphertext"),
        (("files", 0, "segments"), 0, "segments is 0, 1 to 12 is allowed"),
        (("files", 0, "segments"), 13, "segments is 13, 1 to 12 is allowed"),
        (("files", 1, "segments"), 2, "segments is 2, 1 to 1 is allowed"),
        (("table", "size"), 64 * 1024 * 1024 + 1, "table.size is"),
        (("bom", "size"), 16 * 1024 * 1024 + 1, "bom.size is"),
        (("scan", "result"), "Clean", 'is "Clean" with 1 findings'),
        (("scan", "findings"), [], 'is "Findings" with 0 findings'),
        (("scan", "findings"), ["x"] * 257, "has 257 items, 256 are allowed"),
        (("scan", "findings"), [1], r"scan.findings\[0\] is a number, text is needed"),
        (("declared", "risk"), "very high!", "declared.risk is"),
        (("declared", "evaluations", 0, "score"), 1, r"evaluations\[0\].score is a number"),
        (("declared", "capabilities"), "all", "capabilities is text, a list is needed"),
    ],
)
def test_a_field_out_of_its_bounds_is_refused(path: tuple[str | int, ...], value: object, text: str) -> None:
    refused(change(*path, to=value), text)


def test_more_files_than_are_allowed_are_refused() -> None:
    refused(change("files", to=[0] * 8193), "has 8193 items, 8192 are allowed")


def test_a_manifest_that_breaks_a_rule_is_not_written() -> None:
    with pytest.raises(RefusedError, match="a model has at least one file"):
        encode_manifest(replace(FULL, files=()))
    with pytest.raises(RefusedError, match="no canonical spelling"):
        encode_manifest(replace(FULL, declared={"licence": b"x"}))


def test_fractions_are_never_written() -> None:
    for number in (0.5, 2**53, -(2**53)):
        with pytest.raises(RefusedError, match="no canonical spelling"):
            encode_manifest(replace(FULL, declared={"licence": [number]}))


def test_a_manifest_is_read_as_it_was_written() -> None:
    assert parse_manifest(DATA) == FULL
    assert encode_manifest(parse_manifest(DATA)) == DATA
    assert DATA.startswith(b'{"algorithm":"AES-256-GCM","bom":{"digest":')
    plain = seal().manifest
    assert parse_manifest(encode_manifest(plain)) == plain
    assert MANIFEST_NAME == "sekisho.json"


@given(st.binary(max_size=300))
def test_bytes_that_are_no_manifest_are_refused_and_never_crash(data: bytes) -> None:
    with pytest.raises(RefusedError):
        parse_manifest(data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
PLACES = [
    *((field,) for field in json.loads(DATA)),
    *(("files", 0, field) for field in json.loads(DATA)["files"][0]),
    *(("scan", field) for field in json.loads(DATA)["scan"]),
    *(("model", field) for field in json.loads(DATA)["model"]),
    *(("declared", field) for field in json.loads(DATA)["declared"]),
]


@given(st.sampled_from(PLACES), JSON)
def test_any_value_in_any_field_is_read_whole_or_refused(path: tuple[str | int, ...], value: object) -> None:
    try:
        data = change(*path, to=value)
        manifest = parse_manifest(data)
    except RefusedError:
        return
    assert encode_manifest(manifest) == data


@given(st.integers(0, len(DATA) - 1), st.integers(1, 255))
def test_a_flipped_byte_gives_another_manifest_or_none(place: int, mask: int) -> None:
    data = bytearray(DATA)
    data[place] ^= mask
    try:
        manifest = parse_manifest(bytes(data))
    except RefusedError:
        return
    assert manifest != FULL


@given(st.text(max_size=40))
def test_a_path_that_passes_stays_inside_its_folder(path: str) -> None:
    try:
        check_path(path, name="path")
    except RefusedError:
        return
    assert not path.startswith("/")
    assert not set(path.split("/")) & {"", ".", ".."}
