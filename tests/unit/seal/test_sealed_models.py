"""A whole sealed model: what was touched does not open, what was not touched does."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.errors import Reason, RefusedError
from sekisho.seal.manifest import (
    MANIFEST_NAME,
    TABLE_NAME,
    BlobFacts,
    ModelIdentity,
    SealedManifest,
    digest_of,
    encode_manifest,
    name_stored,
)
from sekisho.seal.segments import SegmentTable
from tests.unit.seal.sealing import FILES, IDENTITY, KEY, Sealed, seal, unseal

PLAIN = {path: b"".join(parts) for path, parts in FILES.items()}
SEGMENTS = {part for parts in FILES.values() for part in parts}
CIPHERTEXT = [name_stored(place) for place in (0, 2, 3)]


def refused(sealed: Sealed, reason: Reason, text: str, **options: int) -> None:
    emitted: list[bytes] = []
    with pytest.raises(RefusedError, match=text) as caught:
        unseal(sealed, emitted=emitted, **options)
    assert caught.value.reason is reason
    assert set(emitted) <= SEGMENTS


def sign_anew(sealed: Sealed, **changes: object) -> None:
    """Let an owner (or a thief of the signing key) sign other facts over the same ciphertext."""
    manifest: SealedManifest = replace(sealed.manifest, **changes)  # type: ignore[arg-type]
    sealed.blobs[MANIFEST_NAME] = encode_manifest(manifest)
    sealed.trusted = digest_of(sealed.blobs[MANIFEST_NAME])


def set_table(sealed: Sealed, table: bytes) -> None:
    sealed.blobs[TABLE_NAME] = table
    sign_anew(sealed, table=BlobFacts(len(table), digest_of(table)))


@pytest.mark.parametrize("blob", CIPHERTEXT)
def test_a_flipped_bit_of_any_ciphertext_does_not_open(blob: str) -> None:
    for place in range(len(seal().blobs[blob])):
        sealed = seal()
        data = bytearray(sealed.blobs[blob])
        data[place] ^= 1
        sealed.blobs[blob] = bytes(data)
        refused(sealed, Reason.SEAL_BROKEN, "does not open: it was changed, moved or cut")


def test_a_flipped_byte_anywhere_in_the_table_is_refused() -> None:
    for place in range(len(seal().blobs[TABLE_NAME])):
        sealed = seal()
        data = bytearray(sealed.blobs[TABLE_NAME])
        data[place] ^= 0x80
        sealed.blobs[TABLE_NAME] = bytes(data)
        refused(sealed, Reason.SEAL_BROKEN, "is not the table that the manifest names")


def test_a_tag_that_was_changed_and_signed_anew_does_not_open() -> None:
    sealed = seal()
    data = bytearray(sealed.blobs[TABLE_NAME])
    data[4] ^= 1
    set_table(sealed, bytes(data))
    refused(sealed, Reason.SEAL_BROKEN, 'segment 0 of 1 of "config.json" does not open')


def test_a_file_that_was_cut_is_refused_by_its_size() -> None:
    sealed = seal()
    sealed.blobs[CIPHERTEXT[1]] = sealed.blobs[CIPHERTEXT[1]][:-1]
    refused(sealed, Reason.SEAL_BROKEN, 'files/00002.sealed" has 19 bytes, the manifest says 20')


def test_a_file_that_grew_is_refused_by_its_size() -> None:
    sealed = seal()
    sealed.blobs[CIPHERTEXT[1]] += b"x"
    refused(sealed, Reason.SEAL_BROKEN, "has 21 bytes, the manifest says 20")


def test_a_file_whose_last_segment_was_cut_off_and_signed_anew_does_not_open() -> None:
    sealed = seal()
    manifest = sealed.manifest
    table = SegmentTable.parse(sealed.blobs[TABLE_NAME], manifest)
    rows = [list(zip(table.lengths(i), table.tags(i), strict=True)) for i in range(4)]
    rows[3].pop()
    cut = sealed.blobs[name_stored(3)][:13]
    sealed.blobs[name_stored(3)] = cut
    facts = replace(manifest.files[3], size=13, segments=1, ciphertext=BlobFacts(13, digest_of(cut)))
    sign_anew(sealed, files=(*manifest.files[:3], facts))
    set_table(sealed, SegmentTable.of(rows).encode())
    refused(sealed, Reason.SEAL_BROKEN, 'segment 0 of 1 of "shards/b.bin" does not open')


def test_two_segments_of_one_size_that_change_places_do_not_open_even_with_their_tags() -> None:
    sealed = seal()
    manifest = sealed.manifest
    table = SegmentTable.parse(sealed.blobs[TABLE_NAME], manifest)
    rows = [list(zip(table.lengths(i), table.tags(i), strict=True)) for i in range(4)]
    rows[3].reverse()
    data = sealed.blobs[name_stored(3)]
    sealed.blobs[name_stored(3)] = data[13:] + data[:13]
    set_table(sealed, SegmentTable.of(rows).encode())
    refused(sealed, Reason.SEAL_BROKEN, 'segment 0 of 2 of "shards/b.bin"')


def test_a_segment_that_is_repeated_in_place_of_the_next_does_not_open() -> None:
    sealed = seal()
    data = sealed.blobs[name_stored(3)]
    sealed.blobs[name_stored(3)] = data[:13] * 2
    refused(sealed, Reason.SEAL_BROKEN, 'segment 1 of 2 of "shards/b.bin"')


def test_two_files_of_one_size_that_change_places_do_not_open() -> None:
    files = {"a": (b"one",), "b": (b"two",)}
    sealed = seal(files)
    first, second = name_stored(0), name_stored(1)
    sealed.blobs[first], sealed.blobs[second] = sealed.blobs[second], sealed.blobs[first]
    refused(sealed, Reason.SEAL_BROKEN, 'segment 0 of 1 of "a"')


def test_a_file_that_got_another_path_does_not_open_even_when_signed_anew() -> None:
    sealed = seal()
    first, *rest = sealed.manifest.files
    sign_anew(sealed, files=(replace(first, path="a.json"), *rest))
    refused(sealed, Reason.SEAL_BROKEN, 'segment 0 of 1 of "a.json"')


@pytest.mark.parametrize("change", [{"name": "legal/other"}, {"version": 8}, {"data_class": "confidential"}])
def test_weights_do_not_open_as_another_model_version_or_class(change: dict[str, object]) -> None:
    sealed = seal()
    sign_anew(sealed, model=replace(IDENTITY, **change))  # type: ignore[arg-type]
    refused(sealed, Reason.SEAL_BROKEN, "belongs to another model, version, class, file or key")


def test_another_salt_does_not_open() -> None:
    sealed = seal()
    first, *rest = sealed.manifest.files
    sign_anew(sealed, files=(replace(first, salt=bytes(32)), *rest))
    refused(sealed, Reason.SEAL_BROKEN, 'segment 0 of 1 of "config.json"')


def test_another_key_is_told_by_its_commitment_before_anything_is_opened() -> None:
    sealed = seal()
    sealed.key = bytes(32)
    refused(sealed, Reason.KEY_MISMATCH, "its commitment differs")


def test_another_key_does_not_open_even_where_the_commitment_was_signed_for_it() -> None:
    sealed, other = seal(), seal(key=bytes(32))
    sign_anew(sealed, commitment=other.manifest.commitment)
    sealed.key = bytes(32)
    refused(sealed, Reason.SEAL_BROKEN, "does not open")


def test_a_manifest_that_differs_from_the_signed_one_is_refused() -> None:
    sealed = seal()
    sealed.blobs[MANIFEST_NAME] = seal(identity=replace(IDENTITY, version=6)).blobs[MANIFEST_NAME]
    refused(sealed, Reason.SIGNATURE_INVALID, "not the one that was signed")


def test_a_version_lower_than_one_accepted_before_is_refused() -> None:
    refused(seal(), Reason.VERSION_ROLLED_BACK, "is version 7, version 8 was accepted before", accepted_version=8)


@pytest.mark.parametrize("path", ["evil.py", "files/00004.sealed", "config.json", "files/00000.sealed.part"])
def test_a_file_that_is_not_in_the_manifest_is_refused(path: str) -> None:
    sealed = seal()
    sealed.blobs[path] = b""
    refused(sealed, Reason.NOT_SEALED, f'1 files are not in the manifest: "{path}"')


def test_a_bill_of_materials_that_the_manifest_does_not_name_is_an_extra_file() -> None:
    sealed = seal()
    sealed.blobs["bom.cdx.json"] = b"{}"
    refused(sealed, Reason.NOT_SEALED, "bom.cdx.json")


@pytest.mark.parametrize("path", [name_stored(1), TABLE_NAME])
def test_a_missing_file_is_refused(path: str) -> None:
    sealed = seal()
    del sealed.blobs[path]
    refused(sealed, Reason.SEAL_BROKEN, f'1 files of the manifest are missing: "{path}"')


def test_many_extra_files_are_counted_and_five_are_named() -> None:
    sealed = seal()
    sealed.blobs |= {f"x{place}": b"" for place in range(7)}
    refused(sealed, Reason.NOT_SEALED, '7 files are .*"x4" and 2 more')


@given(st.data())
def test_whatever_is_done_to_a_blob_nothing_but_true_plaintext_comes_out(data: st.DataObject) -> None:
    sealed = seal()
    path = data.draw(st.sampled_from(sorted(sealed.blobs)))
    blob = sealed.blobs[path]
    start = data.draw(st.integers(0, len(blob)))
    end = data.draw(st.integers(start, len(blob)))
    part = data.draw(st.one_of(st.binary(max_size=64), st.just(blob[start:end] * 2), st.just(blob[start:end][::-1])))
    sealed.blobs[path] = changed = blob[:start] + part + blob[end:]
    emitted: list[bytes] = []
    if changed == blob:
        assert unseal(sealed) == PLAIN
        return
    with pytest.raises(RefusedError):
        unseal(sealed, emitted=emitted)
    assert set(emitted) <= SEGMENTS


@given(st.permutations(range(4)))
def test_files_in_any_other_order_do_not_open(order: list[int]) -> None:
    files = {name: (name.encode() * 8,) for name in "abcd"}
    sealed = seal(files)
    blobs = [sealed.blobs[name_stored(place)] for place in order]
    sealed.blobs |= {name_stored(place): blob for place, blob in enumerate(blobs)}
    if order == list(range(4)):
        assert unseal(sealed) == {path: parts[0] for path, parts in files.items()}
    else:
        with pytest.raises(RefusedError) as caught:
            unseal(sealed)
        assert caught.value.reason is Reason.SEAL_BROKEN


@given(
    st.dictionaries(
        st.text("abcxyz", min_size=1, max_size=6),
        st.one_of(st.just((b"",)), st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=5).map(tuple)),
        min_size=1,
        max_size=5,
    ),
    st.integers(1, 2**53 - 1),
)
def test_what_was_sealed_opens_to_the_same_bytes(files: dict[str, tuple[bytes, ...]], version: int) -> None:
    identity = ModelIdentity(name="m", version=version, data_class="internal")
    sealed = seal(files, identity=identity)
    assert unseal(sealed, accepted_version=version) == {path: b"".join(parts) for path, parts in files.items()}
    assert sealed.key == KEY
