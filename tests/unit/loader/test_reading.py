import os
import signal
import threading
import time
import tracemalloc
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.errors import Reason, RefusedError
from sekisho.loader.opening import open_source, read_file, read_file_into
from sekisho.loader.reading import MAX_THREADS, Part, count_threads, open_parts
from sekisho.seal.facts import SEGMENT_BYTES
from tests.unit.fuzz import flip_last
from tests.unit.loader.sealed_folders import MIB, cut, lay_down, pattern

DATA = pattern(50_000)


@st.composite
def cuts(draw: st.DrawFn) -> tuple[bytes, list[int], list[tuple[int, int]]]:
    """A file, the lengths of its segments, and parts of it that ascend."""
    data = pattern(draw(st.integers(1, 3000)), draw(st.integers(0, 255)))
    places = sorted(draw(st.sets(st.integers(1, len(data)), max_size=12)) | {len(data)})
    lengths = [end - start for start, end in zip([0, *places], places, strict=False)]
    ends = sorted(draw(st.lists(st.integers(0, len(data)), max_size=12)))
    return data, lengths, list(zip(ends[::2], ends[1::2], strict=False))


@settings(max_examples=60, deadline=None)
@given(cuts(), st.integers(1, 3))
def test_any_parts_of_any_cuts_are_the_bytes_that_were_sealed(
    drawn: tuple[bytes, list[int], list[tuple[int, int]]], threads: int
) -> None:
    data, lengths, wanted = drawn
    with TemporaryDirectory() as place:
        model, _ = lay_down(Path(place), {"a.bin": cut(data, lengths)})
        dests = [bytearray(end - start) for start, end in wanted]
        parts = [Part(start, memoryview(dest)) for (start, _), dest in zip(wanted, dests, strict=True)]
        with open_source(model, "a.bin") as source:
            open_parts(source, parts, threads=threads)
        assert dests == [data[start:end] for start, end in wanted]
        with read_file(model, "a.bin", threads=threads) as region:
            assert bytes(region.view) == data


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_flipped_bit_of_any_cut_is_refused_and_nothing_stays(data: st.DataObject) -> None:
    plain, lengths, _ = data.draw(cuts())
    with TemporaryDirectory() as place:
        model, _ = lay_down(Path(place), {"a.bin": cut(plain, lengths)})
        blob = Path(place) / "files/00000.sealed"
        text = bytearray(blob.read_bytes())
        text[data.draw(st.integers(0, len(text) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        blob.write_bytes(text)
        dest = bytearray(b"\xff" * len(plain))
        with pytest.raises(RefusedError, match="does not open"):
            read_file_into(model, "a.bin", dest, threads=data.draw(st.integers(1, 3)))
        assert not any(dest)


def test_segments_that_no_part_touches_are_not_read(tmp_path: Path) -> None:
    model, _ = lay_down(tmp_path, {"a.bin": cut(DATA, [10_000] * 5)})
    asked: list[int] = []

    def read(descriptor: int, buffers: object, offset: int) -> int:
        asked.append(offset)
        return os.preadv(descriptor, buffers, offset)  # type: ignore[arg-type]

    dest = bytearray(15_000)
    with open_source(replace(model, read=read), "a.bin") as source:
        open_parts(source, [Part(15_000, memoryview(dest)[:5_000]), Part(40_000, memoryview(dest)[5_000:])], threads=1)
    assert asked == [10_000, 40_000]
    assert dest == DATA[15_000:20_000] + DATA[40_000:50_000]


def test_a_source_that_gives_little_at_a_time_is_asked_again(tmp_path: Path) -> None:
    model, _ = lay_down(tmp_path, {"a.bin": cut(DATA, [20_000, 30_000])})

    def read(descriptor: int, buffers: object, offset: int) -> int:
        return os.preadv(descriptor, [buffers[0][:777]], offset)  # type: ignore[index]

    with read_file(replace(model, read=read), "a.bin") as region:
        assert bytes(region.view) == DATA


def test_a_part_that_straddles_a_changed_segment_gets_nothing_though_it_begins_in_a_good_one(tmp_path: Path) -> None:
    model, _ = lay_down(tmp_path, {"a.bin": cut(DATA, [10_000] * 5)})
    blob = tmp_path / "files/00000.sealed"
    blob.write_bytes(flip_last(blob.read_bytes()))
    first, last = bytearray(b"\xff" * 10_000), bytearray(b"\xff" * 15_000)
    with open_source(model, "a.bin") as source:
        open_parts(source, [Part(0, memoryview(first))], threads=1)
        assert first == DATA[:10_000]
        with pytest.raises(RefusedError, match="segment 4 of 5"):
            open_parts(source, [Part(0, memoryview(first)), Part(35_000, memoryview(last))], threads=1)
    assert not any(first)
    assert not any(last)


@pytest.mark.parametrize("threads", [0, -1, MAX_THREADS + 1])
def test_a_number_of_threads_that_makes_no_sense_is_refused(tmp_path: Path, threads: int) -> None:
    model, _ = lay_down(tmp_path, {"a.bin": (DATA,)})
    with pytest.raises(ValueError, match=f"{threads} threads; 1 to 64 are possible"):
        read_file(model, "a.bin", threads=threads)


def test_there_is_a_thread_for_each_core_and_eight_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    for cores, threads in ((1, 1), (2, 2), (96, 8)):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, n=cores: set(range(n)))
        assert count_threads() == threads


def test_parts_that_overlap_or_pass_the_end_or_cannot_be_written_are_a_mistake_of_the_caller(tmp_path: Path) -> None:
    model, _ = lay_down(tmp_path, {"a.bin": (b"0123456789",)})
    with open_source(model, "a.bin") as source:
        for parts in (
            [Part(0, memoryview(bytearray(6))), Part(5, memoryview(bytearray(2)))],
            [Part(0, memoryview(b"123"))],
        ):
            with pytest.raises(ValueError, match="parts must be writable, ascend and not overlap"):
                open_parts(source, parts)
        with pytest.raises(ValueError, match="a part passes the end of the file"):
            open_parts(source, [Part(8, memoryview(bytearray(3)))])


def test_many_callers_may_read_one_model_at_once(tmp_path: Path) -> None:
    files = {f"{name}.bin": cut(pattern(30_000, ord(name)), [7_000] * 4 + [2_000]) for name in "abcd"}
    model, _ = lay_down(tmp_path, files)
    wrong: list[str] = []

    def check(path: str) -> None:
        for _ in range(10):
            with read_file(model, path, threads=2) as region:
                if bytes(region.view) != b"".join(files[path]):
                    wrong.append(path)

    threads = [threading.Thread(target=check, args=(path,)) for path in files for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_refusal_in_one_thread_stops_the_others_and_waits_for_them_before_wiping(tmp_path: Path) -> None:
    model, _ = lay_down(tmp_path, {"a.bin": cut(DATA, [1_000] * 50)})
    blob = tmp_path / "files/00000.sealed"
    blob.write_bytes(b"?" + blob.read_bytes()[1:])
    reads: list[int] = []

    def read(descriptor: int, buffers: object, offset: int) -> int:
        reads.append(offset)
        if offset:
            time.sleep(0.1)  # still at work when the first segment is refused
        return os.preadv(descriptor, buffers, offset)  # type: ignore[arg-type]

    dest = bytearray(b"\xff" * len(DATA))
    with pytest.raises(RefusedError, match="segment 0 of 50") as caught:
        read_file_into(replace(model, read=read), "a.bin", dest, threads=4)
    assert caught.value.reason is Reason.SEAL_BROKEN
    assert not any(dest)
    assert len(reads) < 50
    mine = [thread for thread in threading.enumerate() if thread.name.startswith("unseal-")]
    for thread in mine:
        thread.join(60)
    assert not any(thread.is_alive() for thread in mine)


def test_an_interrupt_leaves_no_plaintext(tmp_path: Path) -> None:
    model, _ = lay_down(tmp_path, {"a.bin": cut(DATA, [1_000] * 50)})
    main, came = threading.get_ident(), threading.Event()

    def read(descriptor: int, buffers: object, offset: int) -> int:
        if threading.get_ident() != main:
            came.wait(60)  # the others are at work when it comes
            time.sleep(0.002)
        elif offset:
            came.set()
            raise KeyboardInterrupt
        return os.preadv(descriptor, buffers, offset)  # type: ignore[arg-type]

    dest = bytearray(b"\xff" * len(DATA))
    with pytest.raises(KeyboardInterrupt):
        read_file_into(replace(model, read=read), "a.bin", dest, threads=3)
    assert not any(dest)
    time.sleep(0.1)
    assert not any(dest), "nothing was written behind the wiping"


def test_an_interrupt_while_waiting_for_another_thread_wipes_only_after_that_has_ended(tmp_path: Path) -> None:
    model, _ = lay_down(tmp_path, {"a.bin": cut(DATA, [25_000] * 2)})
    main, taken = threading.get_ident(), threading.Event()

    def read(descriptor: int, buffers: object, offset: int) -> int:
        count = os.preadv(descriptor, buffers, offset)  # type: ignore[arg-type]
        if threading.get_ident() == main:
            taken.wait(60)  # each thread has a segment
        else:
            taken.set()
            time.sleep(0.1)  # the first has ended and waits
            signal.pthread_kill(main, signal.SIGINT)
            time.sleep(0.1)
        return count

    dest = bytearray(b"\xff" * len(DATA))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # other tests may have left theirs
    try:
        with pytest.raises(KeyboardInterrupt):
            read_file_into(replace(model, read=read), "a.bin", dest, threads=2)
    finally:
        signal.signal(signal.SIGINT, before)
    assert not any(dest)
    time.sleep(0.3)
    assert not any(dest), "nothing was written behind the wiping"


def test_an_interrupt_while_threads_are_started_wipes_only_after_those_that_run_have_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _ = lay_down(tmp_path, {"a.bin": cut(DATA, [1_000] * 50)})
    start, begun = threading.Thread.start, threading.Event()

    def start_one(thread: threading.Thread) -> None:
        if begun.is_set():
            raise KeyboardInterrupt
        begun.set()
        start(thread)

    def read(descriptor: int, buffers: object, offset: int) -> int:
        time.sleep(0.02)
        return os.preadv(descriptor, buffers, offset)  # type: ignore[arg-type]

    monkeypatch.setattr(threading.Thread, "start", start_one)
    dest = bytearray(b"\xff" * len(DATA))
    with pytest.raises(KeyboardInterrupt):
        read_file_into(replace(model, read=read), "a.bin", dest, threads=3)
    assert not any(dest)
    time.sleep(0.1)
    assert not any(dest), "nothing was written behind the wiping"


def test_a_large_file_needs_no_more_memory_than_a_scratch_for_each_thread(tmp_path: Path) -> None:
    data = pattern(24 * MIB)
    model, _ = lay_down(tmp_path, {"a.bin": cut(data)})
    dest = bytearray(len(data))
    tracemalloc.start()
    try:
        read_file_into(model, "a.bin", dest, threads=2)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert dest == data
    assert peak < MIB, "Python's own memory; scratches are mappings of 4 MiB a thread"
    assert SEGMENT_BYTES == 4 * MIB
