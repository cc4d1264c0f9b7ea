import gc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.errors import Reason, RefusedError
from sekisho.loader.opening import SealedModel
from sekisho.loader.tensors import fill_tensors, load_tensors, read_layout, stream_tensors
from tests.unit.loader.sealed_folders import MIB, MODEL, cut, lay_down, make_safetensors, pattern
from tests.unit.seal.sealing import Sealed

TENSORS = {"a": pattern(3000, 1), "b": pattern(5000, 2), "nothing": b"", "c": pattern(16, 3)}


def lay_tensors(
    folder: Path, lengths: list[int] | None = None, content: bytes | None = None
) -> tuple[SealedModel, Sealed]:
    data = make_safetensors(TENSORS) if content is None else content
    return lay_down(folder, {MODEL: cut(data, lengths or ())})


def break_blob(folder: Path, place: int) -> None:
    blob = folder / "files/00000.sealed"
    text = bytearray(blob.read_bytes())
    text[place] ^= 1
    blob.write_bytes(text)


def test_tensors_are_views_of_the_decrypted_file(tmp_path: Path) -> None:
    model, _ = lay_tensors(tmp_path)
    loaded = load_tensors(model, MODEL)
    assert {name: bytes(tensor.view) for name, tensor in loaded.tensors.items()} == TENSORS
    assert (loaded.tensors["b"].dtype, loaded.tensors["b"].shape) == ("U8", (5000,))
    loaded.region.view[-1] ^= 1
    assert bytes(loaded.tensors["c"].view) != TENSORS["c"], "no copy"
    loaded.region.release()
    assert not any(loaded.tensors["b"].view)


def test_the_layout_is_read_without_the_weights(tmp_path: Path) -> None:
    head = len(make_safetensors(TENSORS)) - sum(map(len, TENSORS.values()))
    model, _ = lay_tensors(tmp_path, [5, head - 5, 3000, 5016])
    break_blob(tmp_path, -1)
    assert [tensor.name for tensor in read_layout(model, MODEL).tensors] == ["a", "b", "nothing", "c"]
    break_blob(tmp_path, 2)
    with pytest.raises(RefusedError, match="segment 0 of 4"):
        read_layout(model, MODEL)


@settings(max_examples=25, deadline=None)
@given(wanted=st.sets(st.sampled_from(list(TENSORS))), segment=st.integers(50, 9000), threads=st.integers(1, 3))
def test_chosen_tensors_are_decrypted_into_memory_of_the_caller(
    tmp_path_factory: pytest.TempPathFactory, wanted: set[str], segment: int, threads: int
) -> None:
    size = len(make_safetensors(TENSORS))
    lengths = [segment] * (size // segment) + ([size % segment] if size % segment else [])
    model, _ = lay_tensors(tmp_path_factory.mktemp("model"), lengths)
    dests = {name: bytearray(len(TENSORS[name])) for name in wanted}
    fill_tensors(model, MODEL, dests, threads=threads)
    assert dests == {name: TENSORS[name] for name in wanted}


@pytest.mark.slow
@pytest.mark.parametrize("window", [1, 4000, 8000, 1 << 30])
def test_windows_hold_whole_tensors_and_are_never_used_twice(tmp_path: Path, window: int) -> None:
    model, _ = lay_tensors(tmp_path)
    kept = list(stream_tensors(model, MODEL, window_bytes=window))
    gc.collect()
    assert [(tensor.name, bytes(tensor.view)) for tensor in kept] == list(TENSORS.items())


def test_a_window_that_does_not_open_yields_none_of_its_tensors(tmp_path: Path) -> None:
    model, _ = lay_tensors(tmp_path, [len(make_safetensors(TENSORS)) - 16, 16])
    break_blob(tmp_path, -1)
    seen = []
    with pytest.raises(RefusedError, match="segment 1 of 2") as caught:
        seen.extend(tensor.name for tensor in stream_tensors(model, MODEL, window_bytes=3000))
    assert caught.value.reason is Reason.SEAL_BROKEN
    assert "c" not in seen


def test_a_tensor_that_is_not_there_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    model, _ = lay_tensors(tmp_path)
    dest = bytearray(b"\xff" * 3000)
    with pytest.raises(RefusedError, match=f'"{MODEL}" has no tensor "d"') as caught:
        fill_tensors(model, MODEL, {"a": dest, "d": bytearray(1)})
    assert caught.value.reason is Reason.SOURCE_INVALID
    assert dest == b"\xff" * 3000


@pytest.mark.parametrize("size", [0, 2999, 3001])
def test_a_destination_of_another_size_than_its_tensor_is_refused_untouched(tmp_path: Path, size: int) -> None:
    model, _ = lay_tensors(tmp_path)
    dest = bytearray(b"\xff" * size)
    with pytest.raises(RefusedError, match=f'tensor "a" has 3000 bytes, its destination {size}') as caught:
        fill_tensors(model, MODEL, {"a": dest})
    assert caught.value.reason is Reason.SIZE_EXCEEDED
    assert dest == b"\xff" * size


def test_one_broken_tensor_leaves_zeros_in_all_destinations(tmp_path: Path) -> None:
    size = len(make_safetensors(TENSORS))
    model, _ = lay_tensors(tmp_path, [size - 5016, 5000, 16])
    break_blob(tmp_path, -1)
    dests = {name: bytearray(b"\xff" * len(TENSORS[name])) for name in ("a", "c")}
    with pytest.raises(RefusedError, match="segment 2 of 3"):
        fill_tensors(model, MODEL, dests)
    assert not any(dests["a"])
    assert not any(dests["c"])


@pytest.mark.parametrize(
    "content", [b"", b"\x01", b"\xff" * 8, bytes(8), b"\x10" + bytes(7) + b"{", make_safetensors(TENSORS)[:-1]]
)
def test_what_is_no_safetensors_file_is_refused_though_it_was_sealed_well(tmp_path: Path, content: bytes) -> None:
    model, _ = lay_down(tmp_path, {MODEL: cut(content)})
    for load in (load_tensors, read_layout, lambda *of: list(stream_tensors(*of))):
        with pytest.raises(RefusedError, match="not a valid safetensors file") as caught:
            load(model, MODEL)
        assert caught.value.reason is Reason.FORMAT_INVALID


def test_tensors_larger_than_a_segment_come_whole(tmp_path: Path) -> None:
    tensors = {"big": pattern(9 * MIB, 5), "small": pattern(100, 6)}
    model, _ = lay_tensors(tmp_path, content=make_safetensors(tensors))
    big = bytearray(9 * MIB)
    fill_tensors(model, MODEL, {"big": big}, threads=2)
    assert big == tensors["big"]
    assert {t.name: bytes(t.view) for t in stream_tensors(model, MODEL, window_bytes=MIB)} == tensors
