"""W1 to W9 as the table has them."""

import atexit
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bench.harness import Benchmark, Count, Direction, Opening, Pair, Registry, Sample, Subject, time_ratio
from bench.sealed.loads import Destination, Pace, must_hold, read_plainly, read_sealed
from bench.sealed.material import MIB, Material, Shape, SharedMaterial
from bench.sealed.memory import measure_extra_mib
from bench.sealed.workers import start_worker

THREADS: Final = 2
RATES: Final = (1.0, 2.0, 3.5, 7.0)
_LOOP_BYTES: Final = MIB
_NONCE: Final = bytes(12)


def add_to(registry: Registry) -> None:
    """Register the benchmarks of sealed weights."""
    large, small = SharedMaterial(), SharedMaterial(Shape(layers=0, vocabulary=32_768))
    disk = SharedMaterial(Shape(layers=1, vocabulary=16_000), on_disk=True)
    for material in (large, small, disk):
        atexit.register(material.close)
    beside = opening_beside

    def compare(material: Material, *, threads: int) -> Pair:
        """Compare in memory-backed storage, and tell of the page cache of a disk."""
        return replace(compare_loads(material, threads=threads), notes=lambda: spell_cached(disk.get(), threads))

    rows: list[tuple[str, str, str, float, Direction, Opening]] = [
        ("W1", "sealed load, 2 threads", "plain preadv of the same tensors", 1.2, "max",
         opening(large, partial(compare, threads=THREADS))),
        ("W2", "sealed load, 1 thread", "plain preadv, 1 thread", 1.6, "max",
         opening(large, partial(compare, threads=1))),
        ("W3", "sealed, source paced at 1 to 7 GB/s", "plain, same pace", 1.02, "max", opening(large, build_paced)),
        ("W4", "sealed load", "safetensors load_file + clone", 0.5, "max", beside(large, "safetensors", "sealed")),
        ("W5", "sealed load", "tensorizer, encrypted, 2 readers", 0.25, "max", beside(large, "tensorizer", "sealed")),
        ("W6", "sealed load", "safetensors + SHA-256", 0.2, "max", beside(large, "safetensors_hashed", "sealed")),
        ("W7", "extra peak memory, of 1 % + 64 MiB", "model size", 1, "max", opening(large, build_memory)),
        ("W8", "loader GB/s, 1 thread, page cache", "in-cache decrypt_into loop", 0.5, "min",
         opening(disk, build_bare)),
        ("W9", "sealed load, 256 MiB", "JWE of the file, A256GCM", 0.2, "max", beside(small, "jwe", "sealed_file")),
    ]  # fmt: skip
    for id_, what, reference, goal, direction, opened in rows:
        registry.register(
            Benchmark(id=id_, what=what, reference=reference, goal=goal, direction=direction, open=opened)
        )


def opening(shared: SharedMaterial, build: Callable[[Material], Subject]) -> Opening:
    """Return what opens a subject over the shared material."""

    @contextmanager
    def opened() -> Iterator[Subject]:
        yield build(shared.get())

    return opened


def opening_beside(shared: SharedMaterial, reference: str, candidate: str) -> Opening:
    """Return what opens a comparison of two ways to load, both in the process with the reference libraries."""

    @contextmanager
    def opened() -> Iterator[Subject]:
        with start_worker(shared.get()) as worker:
            if reference in {"tensorizer", "jwe"}:
                worker.ask(do=f"write_{reference}")
            yield Pair(
                reference=lambda: worker.load(reference),
                candidate=lambda: worker.load(candidate),
                check=nothing_more,
                measure=time_ratio,
                notes=lambda: spell_peaks(worker.peaks),
            )

    return opened


def spell_peaks(peaks: Mapping[str, int]) -> str:
    """Spell how much memory each way needed at most, what it loaded included."""
    return "peak memory " + ", ".join(f"{way} {peak / MIB:,.0f} MiB" for way, peak in peaks.items())


def compare_loads(material: Material, *, threads: int) -> Pair:
    """Load plain and sealed in turn into one destination, whose content is compared after each load."""
    model, to = material.open(), Destination.for_file(material.size)

    def plain() -> tuple[Sample, object]:
        to.spoil()
        sample = read_plainly(material, to, threads=threads)
        must_hold(material, to)
        return sample, None

    def sealed() -> tuple[Sample, object]:
        to.spoil()
        sample = read_sealed(material, model, to, threads=threads)
        must_hold(material, to)
        return sample, None

    return Pair(plain, sealed, check=nothing_more, measure=time_ratio, repetitions=7)


def spell_cached(material: Material, threads: int) -> str:
    """Measure the same from the page cache of a disk, where the kernel copies large pages, and spell the ratio."""
    pair, ratios = compare_loads(material, threads=threads), []
    for _ in range(6):
        plain, sealed = pair.reference()[0], pair.candidate()[0]
        ratios.append(time_ratio(plain, sealed))
    middle = statistics.median(ratios[1:])  # the first warms up
    return f"from a disk's page cache {middle:.2f} ({min(ratios[1:]):.2f} to {max(ratios[1:]):.2f})"


def build_paced(material: Material) -> Pair:
    """A source slower than the loader must decide how long a load takes."""
    sides = PacedSides(material, rates=RATES)
    return Pair(
        sides.plain, sides.sealed, check=nothing_more, measure=sides.compare, warm_up=False, notes=sides.spell_worst
    )


class PacedSides:
    """Both sides at every rate, one after the other; what is compared is the worst of the rates.

    Args:
        rates: In 10^9 bytes a second.
    """

    def __init__(self, material: Material, *, rates: tuple[float, ...]) -> None:
        self._material, self._rates = material, rates
        self._model, self._to = material.open(), Destination.for_file(material.size)
        self._walls: dict[int, tuple[Sample, list[float]]] = {}
        self._ratios: list[list[float]] = []

    def plain(self) -> tuple[Sample, object]:
        """Load the plain file at each rate."""
        return self._run(lambda pace: read_plainly(self._material, self._to, threads=THREADS, read=pace.read))

    def sealed(self) -> tuple[Sample, object]:
        """Load the sealed file at each rate."""
        return self._run(
            lambda pace: read_sealed(self._material, self._model, self._to, threads=THREADS, read=pace.read)
        )

    def compare(self, reference: Sample, candidate: Sample) -> float:
        """Return the worst ratio of the rates."""
        pairs = zip(self._walls[id(candidate)][1], self._walls[id(reference)][1], strict=True)
        self._ratios.append([sealed / plain for sealed, plain in pairs])
        return max(self._ratios[-1])

    def spell_worst(self) -> str:
        """Spell the middle ratio of each rate."""
        middles = [statistics.median(ratios) for ratios in zip(*self._ratios, strict=True)]
        told = ", ".join(f"{rate:g} GB/s {middle:.3f}" for rate, middle in zip(self._rates, middles, strict=True))
        return f"medians: {told}"

    def _run(self, load: Callable[[Pace], Sample]) -> tuple[Sample, object]:
        samples = []
        for rate in self._rates:
            self._to.spoil()
            samples.append(load(Pace(rate * 1e9)))
            must_hold(self._material, self._to)
        whole = Sample(
            sum(sample.units for sample in samples),
            sum(sample.wall_seconds for sample in samples),
            sum(sample.cpu_seconds for sample in samples),
        )
        # Kept by identity, with the sample itself so that no other gets its place.
        self._walls[id(whole)] = (whole, [sample.wall_seconds for sample in samples])
        return whole, None


def build_memory(material: Material) -> Count:
    """Count what a fresh process needs beyond the model, as a share of what it may."""
    allowed = material.mebibytes / 100 + 64
    seen: list[float] = []

    def count() -> float:
        seen.append(measure_extra_mib(material, threads=THREADS))
        return seen[-1] / allowed

    return Count(count, notes=lambda: f"{max(seen):.1f} MiB at most beyond {material.mebibytes} MiB of weights")


def build_bare(material: Material) -> Pair:
    """Compare the loader with a loop that decrypts one piece again and again, near to the core."""
    model, to = material.open(), Destination.for_file(material.size)
    cipher, plain = AESGCM(os.urandom(32)), bytearray(_LOOP_BYTES)
    text = bytearray(cipher.encrypt(_NONCE, bytes(plain), None))

    def loop() -> tuple[Sample, object]:
        cpu, wall = time.process_time(), time.perf_counter()
        for _ in range(material.mebibytes * MIB // _LOOP_BYTES):
            cipher.decrypt_into(_NONCE, text, None, plain)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        return Sample(material.mebibytes, wall, cpu), None

    def sealed() -> tuple[Sample, object]:
        to.spoil()
        sample = read_sealed(material, model, to, threads=1)
        must_hold(material, to)
        return sample, None

    return Pair(loop, sealed, check=nothing_more, repetitions=7)


def nothing_more(_expected: object, _found: object) -> None:
    """Accept: each side has compared its result with the plain file already."""
