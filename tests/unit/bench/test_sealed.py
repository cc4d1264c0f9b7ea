"""What the benchmarks of sealed weights compute and check. Nothing is measured here."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.catalogue import build_registry
from bench.harness import Pair, Sample, WrongAnswerError
from bench.sealed.benchmarks import PacedSides, compare_loads, spell_peaks
from bench.sealed.loads import Destination, Pace, must_hold, read_plainly, read_sealed
from bench.sealed.material import MIB, Material, Shape, SharedMaterial, open_material
from bench.sealed.memory import measure_extra_mib, read_status
from tests.unit.fuzz import flip_last

TINY = Shape(hidden=256, inner=1024, narrow=64, layers=2, vocabulary=4096)


@pytest.fixture(scope="module")
def material() -> Iterator[Material]:
    with open_material(TINY) as made:
        yield made


def test_every_benchmark_of_sealed_weights_is_registered_with_the_bound_of_the_table() -> None:
    ids = [f"W{number}" for number in range(1, 10)]
    found = build_registry().choose(ids)
    assert [(item.id, item.goal) for item in found] == list(
        zip(ids, (1.2, 1.6, 1.02, 0.5, 0.25, 0.2, 1, 0.5, 0.2), strict=True)
    )
    assert {item.id for item in found if item.direction == "min"} == {"W8"}


def test_both_sides_load_the_same_bytes_and_an_earlier_load_is_no_result(material: Material) -> None:
    to = Destination.for_file(material.size)
    with pytest.raises(WrongAnswerError, match="differ from the plain file near byte 0"):
        must_hold(material, to)
    for load in (
        lambda: read_plainly(material, to, threads=2),
        lambda: read_sealed(material, material.open(), to, threads=2),
    ):
        to.spoil()
        sample = load()
        must_hold(material, to)
        assert sample.units == material.mebibytes
        assert sample.wall_seconds > 0
        to.spoil()
        with pytest.raises(WrongAnswerError):
            must_hold(material, to)


def test_a_changed_byte_in_the_sealed_folder_ends_a_benchmark() -> None:
    with open_material(TINY) as material:
        pair = compare_loads(material, threads=1)
        assert isinstance(pair, Pair)
        pair.reference()
        pair.candidate()
        blob = material.sealed / "files/00000.sealed"
        blob.write_bytes(flip_last(blob.read_bytes()))
        with pytest.raises(Exception, match="does not open"):
            pair.candidate()


def test_a_paced_source_gives_its_last_byte_when_its_rate_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(100_000))
    descriptor = os.open(tmp_path / "file", os.O_RDONLY)
    try:
        pace, started = Pace(1e6), time.perf_counter()
        for offset in (0, 50_000):
            assert pace.read(descriptor, [memoryview(bytearray(50_000))], offset) == 50_000
        assert 0.1 <= time.perf_counter() - started < 60  # and not a second for each byte
    finally:
        os.close(descriptor)


def test_the_worst_of_the_rates_counts(material: Material) -> None:
    sides = PacedSides(material, rates=(0.2, 0.4))
    (plain, _), (sealed, _) = sides.plain(), sides.sealed()
    assert isinstance(plain, Sample)
    assert isinstance(sealed, Sample)
    assert sides.compare(plain, sealed) > 0
    assert sides.spell_worst().startswith("medians: 0.2 GB/s ")


def test_memory_is_counted_in_a_process_of_its_own(material: Material) -> None:
    assert 0 < measure_extra_mib(material, threads=2) < 64
    assert read_status("VmRSS") > MIB


def test_peaks_are_told_in_mebibytes() -> None:
    assert spell_peaks({"jwe": 1280 * MIB, "sealed_file": 266 * MIB}) == (
        "peak memory jwe 1,280 MiB, sealed_file 266 MiB"
    )


def test_material_is_made_once_and_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = SharedMaterial(TINY)
    made = shared.get()
    assert shared.get() is made
    assert made.plain.is_file()
    shared.close()
    assert not made.plain.exists()


def test_what_a_killed_run_left_is_removed_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    dead, alive = (tmp_path / f"sekisho-bench-weights-{pid}-x" for pid in ("4194399", os.getpid()))
    for folder in (dead, alive):
        folder.mkdir()
    with open_material(Shape(hidden=16, layers=0, vocabulary=16), on_disk=True) as made:
        assert made.plain.is_relative_to(tmp_path)
        assert not dead.exists()
        assert alive.exists()
