"""One large file through several lines: stretches, each by its own range, into one destination."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.agent import lines
from sekisho.agent.lines import Target, cut_stretches
from sekisho.errors import Reason, RefusedError, UnavailableError
from sekisho.seal.facts import BlobFacts, SealedFile
from sekisho.seal.table import Segment
from tests.unit.agent.sealed import MARK, list_files
from tests.unit.agent.test_streaming import Line, blob_of
from tests.unit.agent.test_streaming import line as line  # noqa: PLC0414 - a fixture

PART = 64 << 10
BIG = MARK + os.urandom(9 * PART + 77 - len(MARK))
PARTS = tuple(BIG[start : start + PART] for start in range(0, len(BIG), PART))
NAME = "files/00000.sealed"


@pytest.fixture
def large(line: Line, monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    monkeypatch.setattr(lines, "_LEAST_STRETCH_BYTES", 2 * PART)
    line.offer({"model.gguf": PARTS})
    return line


def spans(line: Line) -> list[str]:
    found = [text.partition("bytes=")[2] for text in line.server.requests if blob_of(line, NAME) in text]
    return sorted(found, key=lambda span: int(span.partition("-")[0] or 0))


def test_a_large_file_comes_in_stretches_by_ranges_of_their_own_and_is_whole(large: Line) -> None:
    assert large.run() == {"model.gguf": BIG}
    assert spans(large) == [f"{n * 2 * PART}-{(n + 1) * 2 * PART - 1}" for n in range(4)] + [f"{8 * PART}-"]
    assert (large.order.root / "model.gguf").stat().st_mode & 0o777 == 0o444
    assert len(large.asked) == 1


def test_a_small_file_stays_one_request_without_a_range(large: Line) -> None:
    large.offer({"model.gguf": (b"x" * 100, b"y" * 100)})
    assert large.run() == {"model.gguf": b"x" * 100 + b"y" * 100}
    assert spans(large) == [""]


@pytest.mark.parametrize("segment", [0, 3, 9])
def test_one_flipped_byte_in_any_stretch_refuses_the_file_and_nothing_stays(large: Line, segment: int) -> None:
    path = blob_of(large, NAME)
    data = bytearray(large.server.files[path])
    data[segment * PART] ^= 1
    large.server.files[path] = bytes(data)
    with pytest.raises(RefusedError, match=rf'segment {segment} of 10 of "model\.gguf" does not open') as caught:
        large.run()
    assert caught.value.reason is Reason.SEAL_BROKEN
    assert list(large.order.root.iterdir()) == []


def test_stretches_that_were_swapped_do_not_open(large: Line) -> None:
    path = blob_of(large, NAME)
    data = large.server.files[path]
    large.server.files[path] = data[2 * PART : 4 * PART] + data[: 2 * PART] + data[4 * PART :]
    with pytest.raises(RefusedError, match=r"does not open: it was changed, moved or cut") as caught:
        large.run()
    assert caught.value.reason is Reason.SEAL_BROKEN
    assert list(large.order.root.iterdir()) == []


def test_a_stretch_that_breaks_off_goes_on_where_it_was_while_others_run(large: Line) -> None:
    large.server.cut_after, large.server.cuts = PART + 999, 2
    assert large.run() == {"model.gguf": BIG}
    assert len(spans(large)) == 7
    assert all(re.fullmatch(r"\d+-\d*", span) for span in spans(large))


def test_a_depot_that_ignores_ranges_is_not_believed(large: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    original = lines.open_blob

    def open_whole(access: object, digest: str, *, offset: int, end: int | None = None) -> object:
        return original(access, digest, offset=0)

    monkeypatch.setattr(lines, "open_blob", open_whole)
    with pytest.raises(UnavailableError, match=r'the depot did not resume "model\.gguf" at byte') as caught:
        large.run()
    assert caught.value.reason is Reason.DEPOT_UNREACHABLE
    assert list_files(large.order.root) == []


def test_a_file_that_fails_in_one_stretch_never_gets_its_name(large: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = 0
    original = lines._write_whole

    def fill(out: object, view: memoryview) -> None:
        nonlocal seen
        seen += 1
        if seen == 5:
            raise OSError(28, "No space left on device")
        original(out, view)  # type: ignore[arg-type]

    monkeypatch.setattr(lines, "_write_whole", fill)
    with pytest.raises(RefusedError, match="No space left on device") as caught:
        large.run()
    assert caught.value.reason is Reason.SIZE_EXCEEDED
    assert list(large.order.root.iterdir()) == []


def build_target(size: int, segments: int) -> Target:
    ciphertext = BlobFacts(size=size, digest="sha256:y")
    file = SealedFile(
        path="a", size=size, digest="sha256:x", salt=bytes(32), segments=segments, ciphertext=ciphertext, stored_as="f"
    )
    return Target(file, Path("partial"), Path("a"), bytearray(32))


@settings(deadline=None, max_examples=100)
@given(st.lists(st.integers(1, 4 << 20), min_size=1, max_size=60))
def test_stretches_hold_every_segment_once_in_order_and_none_is_needlessly_small(lengths: list[int]) -> None:
    segments, offset = [], 0
    for index, length in enumerate(lengths):
        segments.append(Segment(index, offset, length, bytes(16)))
        offset += length
    target = build_target(offset, len(segments))
    stretches = list(cut_stretches(target, segments))
    assert [segment for stretch in stretches for segment in stretch.segments] == segments
    assert target.open_stretches == len(stretches)
    for stretch in stretches[:-1]:
        assert sum(segment.length for segment in stretch.segments) >= 32 << 20


def test_an_empty_file_is_one_stretch() -> None:
    target = build_target(0, 1)
    (stretch,) = cut_stretches(target, [Segment(0, 0, 0, bytes(16))])
    assert len(stretch.segments) == 1
