"""K1 to K3 as the table has them."""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA384

from bench.harness import Benchmark, Opening, Pair, Registry, Sample, WrongAnswerError
from bench.release.stand import Stand, open_stand

_RELEASES: Final = 192
_VERIFICATIONS: Final = 600
_ALONE: Final = 41
_MESSAGE: Final = bytes(range(256)) * 2 + bytes(160)  # as long as what an SNP report signs


def add_to(registry: Registry) -> None:
    """Register the benchmarks of the release of keys."""
    bare = "bare P-384 verifications a second and core"
    rows = [
        ("K1", "key releases a second and core, known chain", bare, 0.40, False),
        ("K2", "key releases a second and core, chain never seen", bare, 0.20, True),
    ]
    for id_, what, reference, goal, cold in rows:
        registry.register(
            Benchmark(id=id_, what=what, reference=reference, goal=goal, direction="min", open=_opening(cold=cold))
        )
    registry.register(
        Benchmark(
            id="K3",
            what="evidence to key, median of one pod alone",
            reference="one P-384 verification",
            goal=8,
            direction="max",
            open=_open_alone,
        )
    )


def _opening(*, cold: bool) -> Opening:
    @contextmanager
    def opened() -> Iterator[Pair]:
        verifier = Verifications()
        with open_stand(cold=cold, pods=_RELEASES) as stand:
            yield Pair(
                reference=verifier.run, candidate=lambda: stand.measure(_RELEASES), check=_expect, measure=_by_core,
                drift_of=lambda sample: sample.cpu_seconds / sample.units,
            )  # fmt: skip

    return opened


@contextmanager
def _open_alone() -> Iterator[Pair]:
    verifier = Verifications()
    with open_stand(cold=False, pods=1) as stand:
        yield Pair(reference=verifier.median, candidate=lambda: _median(stand), check=_expect, measure=_by_wall)


class Verifications:
    """Verifications of one ECDSA signature on P-384, and nothing else."""

    def __init__(self) -> None:
        key = ec.generate_private_key(ec.SECP384R1())
        self._public = key.public_key()
        self._signature = key.sign(_MESSAGE, ec.ECDSA(SHA384()))

    def run(self) -> tuple[int, object]:
        """Verify again and again."""
        for _ in range(_VERIFICATIONS):
            self._once()
        return _VERIFICATIONS, _VERIFICATIONS

    def median(self) -> tuple[Sample, object]:
        """Return the median time of one."""
        seconds = statistics.median(_time(self._once) for _ in range(_VERIFICATIONS))
        return Sample(1, seconds, seconds), 1

    def _once(self) -> None:
        self._public.verify(self._signature, _MESSAGE, ec.ECDSA(SHA384()))


def _median(stand: Stand) -> tuple[Sample, object]:
    seconds = statistics.median(stand.one() for _ in range(_ALONE))
    return Sample(1, seconds, seconds), 1


def _time(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _expect(expected: object, found: object) -> None:
    """What pods opened was compared by the stand; here that all of them were served."""
    if found not in {_RELEASES, 1} or not expected:
        raise WrongAnswerError(f"{found} pods got their key")


def _by_core(reference: Sample, candidate: Sample) -> float:
    return (candidate.units / candidate.cpu_seconds) / (reference.units / reference.cpu_seconds)


def _by_wall(reference: Sample, candidate: Sample) -> float:
    return candidate.wall_seconds / reference.wall_seconds
