import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sekisho.errors import Reason, RefusedError
from sekisho.loader.opening import (
    derive_keys,
    list_folder,
    open_model,
    open_source,
    read_file,
    read_file_into,
)
from sekisho.seal.facts import TABLE_NAME
from sekisho.seal.keys import commit_key
from sekisho.seal.manifest import digest_of
from sekisho.seal.table import ROW_BYTES
from tests.unit.loader.sealed_folders import cut, lay_down, pattern, write
from tests.unit.seal.sealing import FILES, KEY, seal

BLOB = "files/00002.sealed"  # model.safetensors: 4 + 12 + 4 bytes
PLAIN = b"headfirst tensorlast"


def change(folder: Path, name: str, edit: Callable[[bytes], bytes]) -> None:
    (folder / name).write_bytes(edit((folder / name).read_bytes()))


def refuse_reading(folder: Path, message: str, *, reason: Reason = Reason.SEAL_BROKEN) -> None:
    """Open the folder as sealed and read model.safetensors into memory that is then all zeros."""
    sealed = seal()
    dest = bytearray(b"\xff" * len(PLAIN))

    def read() -> None:
        model = open_model(folder, sealed.manifest, derive_keys(KEY, sealed.manifest))
        read_file_into(model, "model.safetensors", dest, threads=2)

    with pytest.raises(RefusedError, match=message) as caught:
        read()
    assert caught.value.reason is reason
    assert PLAIN[:4] not in dest
    assert not any(dest) or dest == b"\xff" * len(PLAIN)


@pytest.mark.parametrize("place", range(len(PLAIN)))
def test_a_flipped_byte_is_refused_and_the_destination_is_zeros(tmp_path: Path, place: int) -> None:
    model, _ = lay_down(tmp_path, FILES)
    change(tmp_path, BLOB, lambda data: data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
    dest = bytearray(b"\xff" * len(PLAIN))
    with pytest.raises(RefusedError, match=r'of 3 of "model.safetensors" does not open') as caught:
        read_file_into(model, "model.safetensors", dest, threads=2)
    assert caught.value.reason is Reason.SEAL_BROKEN
    assert not any(dest)


def test_a_file_cut_before_opening_is_refused_by_its_size(tmp_path: Path) -> None:
    write(seal(), tmp_path)
    change(tmp_path, BLOB, lambda data: data[:-1])
    refuse_reading(tmp_path, f'"{BLOB}" has 19 bytes, the manifest says 20')


def test_a_file_that_grew_after_the_listing_is_refused_by_its_size(tmp_path: Path) -> None:
    model, _ = lay_down(tmp_path, FILES)
    change(tmp_path, BLOB, lambda data: data + b"x")
    dest = bytearray(b"\xff" * len(PLAIN))
    with pytest.raises(
        RefusedError, match=f'{BLOB}, the ciphertext of "model.safetensors", has 21 bytes, the manifest says 20'
    ) as caught:
        read_file_into(model, "model.safetensors", dest)
    assert caught.value.reason is Reason.SEAL_BROKEN


def test_a_file_cut_while_it_is_read_is_refused_and_the_destination_is_zeros(tmp_path: Path) -> None:
    model, _ = lay_down(tmp_path, FILES)

    def read(descriptor: int, buffers: object, offset: int) -> int:
        return 0 if offset >= 4 else os.preadv(descriptor, buffers, offset)  # type: ignore[arg-type]

    dest = bytearray(b"\xff" * len(PLAIN))
    with pytest.raises(RefusedError, match="ends at byte 4, where its segments go on; fetch it again") as caught:
        read_file_into(replace(model, read=read), "model.safetensors", dest, threads=1)
    assert caught.value.reason is Reason.SEAL_BROKEN
    assert not any(dest)


def test_a_file_that_a_failing_disk_cannot_give_is_refused_with_the_disks_words(tmp_path: Path) -> None:
    model, _ = lay_down(tmp_path, FILES)

    def read(descriptor: int, buffers: object, offset: int) -> int:
        raise OSError(5, "Input/output error")

    dest = bytearray(b"\xff" * len(PLAIN))
    with pytest.raises(RefusedError, match="cannot be read at byte 0: Input/output error; fetch it again") as caught:
        read_file_into(replace(model, read=read), "model.safetensors", dest, threads=1)
    assert caught.value.reason is Reason.SEAL_BROKEN
    assert not any(dest)


def test_swapped_segments_are_refused(tmp_path: Path) -> None:
    write(seal(), tmp_path)
    change(tmp_path, BLOB, lambda data: data[16:] + data[4:16] + data[:4])  # the first and the last, of one length
    refuse_reading(tmp_path, "does not open")


def test_a_repeated_segment_is_refused(tmp_path: Path) -> None:
    write(seal(), tmp_path)
    change(tmp_path, BLOB, lambda data: data[:16] + data[:4])
    refuse_reading(tmp_path, "segment 2 of 3 .* does not open")


def test_swapped_files_of_one_size_are_refused(tmp_path: Path) -> None:
    files = {"a.bin": (b"same size one",), "b.bin": (b"same size two",)}
    model, _ = lay_down(tmp_path, files)
    first, second = (tmp_path / f"files/0000{n}.sealed" for n in (0, 1))
    one, two = first.read_bytes(), second.read_bytes()
    first.write_bytes(two)
    second.write_bytes(one)
    for path in files:
        dest = bytearray(b"\xff" * 13)
        with pytest.raises(RefusedError, match=f'segment 0 of 1 of "{path}" does not open') as caught:
            read_file_into(model, path, dest)
        assert caught.value.reason is Reason.SEAL_BROKEN
        assert not any(dest)


def test_a_table_without_its_last_row_is_refused(tmp_path: Path) -> None:
    write(seal(), tmp_path)
    change(tmp_path, TABLE_NAME, lambda data: data[:-ROW_BYTES])
    refuse_reading(tmp_path, f'"{TABLE_NAME}" has 120 bytes, the manifest says 140')


def test_a_table_with_another_tag_is_refused(tmp_path: Path) -> None:
    write(seal(), tmp_path)
    change(tmp_path, TABLE_NAME, lambda data: data[:-1] + bytes([data[-1] ^ 1]))
    refuse_reading(tmp_path, f'"{TABLE_NAME}" has 140 bytes and digest sha256:')


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    write(seal(), tmp_path)
    (tmp_path / BLOB).unlink()
    refuse_reading(tmp_path, f'1 files of the manifest are missing: "{BLOB}"; fetch them again')


def test_a_file_that_vanishes_after_the_listing_is_refused(tmp_path: Path) -> None:
    model, _ = lay_down(tmp_path, FILES)
    (tmp_path / BLOB).unlink()
    with pytest.raises(RefusedError, match="cannot be opened: No such file or directory; fetch it again") as caught:
        read_file(model, "model.safetensors")
    assert caught.value.reason is Reason.SEAL_BROKEN


@pytest.mark.parametrize("name", ["pytorch_model.bin", "files/00004.sealed", ".hidden"])
def test_a_file_that_the_manifest_does_not_name_is_refused(tmp_path: Path, name: str) -> None:
    write(seal(), tmp_path)
    (tmp_path / name).write_bytes(b"plain")
    refuse_reading(tmp_path, f'1 files are not in the manifest: "{name}"', reason=Reason.NOT_SEALED)


def test_a_link_in_place_of_ciphertext_is_refused(tmp_path: Path) -> None:
    write(seal(), tmp_path)
    (tmp_path / BLOB).rename(tmp_path.with_name("elsewhere"))
    (tmp_path / BLOB).symlink_to(tmp_path.with_name("elsewhere"))
    refuse_reading(tmp_path, f'"{BLOB}" is no regular file', reason=Reason.NOT_SEALED)


def test_a_link_that_appears_after_the_listing_is_not_followed(tmp_path: Path) -> None:
    model, _ = lay_down(tmp_path / "model", FILES)
    blob = tmp_path / "model" / BLOB
    blob.rename(tmp_path / "elsewhere")
    blob.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RefusedError, match="cannot be opened: Too many levels of symbolic links"):
        read_file(model, "model.safetensors")


def test_a_folder_that_no_sealed_model_has_is_refused(tmp_path: Path) -> None:
    write(seal(), tmp_path)
    (tmp_path / "more").mkdir()
    refuse_reading(tmp_path, '"more" is no regular file; a sealed model has no other', reason=Reason.NOT_SEALED)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="cannot be listed: No such file or directory; fetch the model again"):
        list_folder(tmp_path / "none")


def test_far_too_many_files_are_refused_before_they_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(seal(), tmp_path)
    monkeypatch.setattr("sekisho.loader.opening.MAX_FILES", 3)
    monkeypatch.setattr("sekisho.loader.opening._MOST_BESIDE", 2)
    with pytest.raises(RefusedError, match="holds more than 3 files, no sealed model does") as caught:
        list_folder(tmp_path)
    assert caught.value.reason is Reason.NOT_SEALED


def test_another_data_key_is_refused_by_the_commitment() -> None:
    manifest = seal().manifest
    with pytest.raises(RefusedError) as caught:
        derive_keys(bytes(32), manifest)
    assert caught.value.reason is Reason.KEY_MISMATCH


def test_another_file_key_opens_nothing_and_the_destination_is_zeros(tmp_path: Path) -> None:
    model, _ = lay_down(tmp_path, FILES)
    keys = dict(model.keys) | {"model.safetensors": model.keys["config.json"]}
    dest = bytearray(b"\xff" * len(PLAIN))
    with pytest.raises(RefusedError, match="does not open") as caught:
        read_file_into(replace(model, keys=keys), "model.safetensors", dest, threads=3)
    assert caught.value.reason is Reason.SEAL_BROKEN
    assert not any(dest)


def test_a_file_key_of_another_length_is_refused(tmp_path: Path) -> None:
    model, _ = lay_down(tmp_path, FILES)
    with pytest.raises(RefusedError, match="the file key has 16 bytes, 32 are needed") as caught:
        read_file(replace(model, keys={"config.json": bytes(16)}), "config.json")
    assert caught.value.reason is Reason.KEY_MISMATCH


def test_a_file_whose_key_was_not_handed_over_is_not_opened(tmp_path: Path) -> None:
    model, sealed = lay_down(tmp_path, FILES)
    some = replace(model, keys=derive_keys(sealed.key, sealed.manifest, ["config.json"]))
    with read_file(some, "config.json") as region:
        assert bytes(region.view) == b'{"layers":2}'
    with pytest.raises(RefusedError, match=r'no key for "model.safetensors" was handed over') as caught:
        read_file(some, "model.safetensors")
    assert caught.value.reason is Reason.KEY_MISMATCH


def test_a_path_outside_the_manifest_is_not_opened(tmp_path: Path) -> None:
    model, _ = lay_down(tmp_path, FILES)
    for path in ("../secrets", "files/00000.sealed", ""):
        with pytest.raises(RefusedError, match='is not in the manifest of model "legal/reviewer"') as caught:
            read_file(model, path)
        assert caught.value.reason is Reason.NOT_SEALED


@pytest.mark.parametrize("size", [0, len(PLAIN) - 1, len(PLAIN) + 1])
def test_a_destination_of_another_size_is_refused_untouched(tmp_path: Path, size: int) -> None:
    model, _ = lay_down(tmp_path, FILES)
    dest = bytearray(b"\xff" * size)
    with pytest.raises(
        RefusedError, match=f'"model.safetensors" has 20 bytes, its destination {size}; both must be equal'
    ) as caught:
        read_file_into(model, "model.safetensors", dest)
    assert caught.value.reason is Reason.SIZE_EXCEEDED
    assert dest == b"\xff" * size


def test_the_manifest_of_another_version_opens_nothing(tmp_path: Path) -> None:
    write(seal(), tmp_path)
    sealed = seal()
    other = replace(sealed.manifest, model=replace(sealed.manifest.model, version=6))
    assert other.commitment == commit_key(KEY)
    model = open_model(tmp_path, other, derive_keys(KEY, other))
    dest = bytearray(b"\xff" * len(PLAIN))
    with pytest.raises(RefusedError, match="belongs to another model, version, class, file or key"):
        read_file_into(model, "model.safetensors", dest)
    assert not any(dest)


def test_every_file_opens_to_what_was_sealed_also_an_empty_one(tmp_path: Path) -> None:
    model, _ = lay_down(tmp_path, FILES)
    for path, parts in FILES.items():
        with read_file(model, path) as region:
            assert bytes(region.view) == b"".join(parts)
            assert region.size == len(b"".join(parts))


def test_an_empty_file_with_a_changed_tag_is_refused(tmp_path: Path) -> None:
    sealed = seal({"empty.txt": (b"",)})
    table = bytearray(sealed.blobs[TABLE_NAME])
    table[-1] ^= 1
    sealed.blobs[TABLE_NAME] = bytes(table)
    manifest = replace(sealed.manifest, table=replace(sealed.manifest.table, digest=digest_of(bytes(table))))
    model = open_model(write(sealed, tmp_path), manifest, derive_keys(sealed.key, manifest))
    with pytest.raises(RefusedError, match=r'segment 0 of 1 of "empty.txt" does not open'):
        read_file(model, "empty.txt")


def test_a_refused_file_leaves_its_mapping_zeroed_before_it_is_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = pattern(100_000)
    model, _ = lay_down(tmp_path, {"a.bin": cut(data, [60_000, 40_000])})
    change(tmp_path, "files/00000.sealed", lambda text: text[:-1] + bytes([text[-1] ^ 1]))
    seen: list[bytes] = []
    monkeypatch.setattr("sekisho.loader.opening.Region.release", lambda self: seen.append(bytes(self.view)))
    with pytest.raises(RefusedError, match="segment 1 of 2"):
        read_file(model, "a.bin", threads=1)
    assert seen[-1] == bytes(100_000), "the last to go is the destination; before it went the scratch"


def test_keys_and_content_are_not_shown(tmp_path: Path) -> None:
    model, _ = lay_down(tmp_path, FILES)
    key = model.keys["config.json"]
    with read_file(model, "config.json") as region, open_source(model, "config.json") as source:
        for shown in (repr(model), repr(region), repr(source)):
            assert repr(key) not in shown
            assert "layers" not in shown
