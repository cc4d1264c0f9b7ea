"""G1, G2, G3 and G5: what the gateway adds to a request and to a stream, against nginx and against itself unguarded."""

import asyncio
import itertools
import json
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from bench.gateway.stand import Server, Stand, open_stand
from bench.gateway.streams import (
    Caller,
    Heard,
    ask_many,
    check_stream,
    find_percentile,
    measure_lags,
    read_body,
    spell_request,
)
from bench.harness import Benchmark, Pair, Registry, Sample, WrongAnswerError, time_ratio

STREAMS: Final = 64
CHUNKS: Final = 100
ROUNDS: Final = 2
PAUSE_MICROSECONDS: Final = 10_000
FIRST_TOKENS: Final = 60
REQUESTS: Final = 320
LINES: Final = 16
_numbers = itertools.count()
_NGINX: Final = "nginx, 1 worker, unbuffered, same engine, TLS"


def add_to(registry: Registry) -> None:
    """Register the benchmarks of the gateway's path."""
    paced = f"{STREAMS} streams of {CHUNKS} chunks, {PAUSE_MICROSECONDS // 1000} ms apart"
    for id_, what, reference, goal, direction, opening in (
        ("G1", "added time to first token p50, guards on", _NGINX, 3.0, "max", open_first_token),
        ("G2", f"gateway CPU a stream, guards on, {paced}", _NGINX, 2.2, "max", open_stream_cost),
        ("G3", f"chunk lag p99, guards on, {paced}", _NGINX, 2.0, "max", open_lag),
        ("G5", "requests/s with guards", "own gateway without", 0.80, "min", open_guard_cost),
    ):
        registry.register(Benchmark(id_, what, reference, goal, "min" if direction == "min" else "max", opening))


@contextmanager
def open_first_token() -> Iterator[Pair]:
    """Ask one after another, directly and through each; what is added is the difference of the medians."""
    with open_stand(guarded=True, nginx=True) as stand:
        assert stand.nginx is not None
        nginx = stand.nginx
        yield Pair(
            reference=lambda: measure_added(stand, nginx),
            candidate=lambda: measure_added(stand, stand.gateway),
            check=check_all,
            measure=time_ratio,
            notes=lambda: "a unit is a first token; wall is what is added, CPU that of the process a request",
        )


def measure_added(stand: Stand, server: Server) -> tuple[Sample, list[tuple[Heard, int]]]:
    """Return what a server adds to the time to the first token."""
    direct, through = Caller(stand.engine), Caller(server.place)
    times: tuple[list[float], list[float]] = ([], [])
    answers, before = [], server.process.cpu_seconds()
    try:
        for prompt in make_prompts(stand, FIRST_TOKENS):
            for caller, seconds in zip((direct, through), times, strict=True):
                first, heard = caller.ask(spell_request(caller.place, prompt, stream=True, max_tokens=3))
                seconds.append(first)
                answers.append((heard, 3))
    finally:
        direct.close()
        through.close()
    cpu = (server.process.cpu_seconds() - before) / FIRST_TOKENS
    return Sample(1, max(statistics.median(times[1]) - statistics.median(times[0]), 1e-6), cpu), answers


@contextmanager
def open_stream_cost() -> Iterator[Pair]:
    """Compare the CPU of the two processes for the same paced streams."""
    yield from _open_paced(lambda sample: sample.cpu_seconds / sample.units, "the ratio is of CPU")


@contextmanager
def open_lag() -> Iterator[Pair]:
    """Compare how late the latest chunks are."""
    yield from _open_paced(lambda sample: sample.wall_seconds / sample.units, "wall is the lag of chunks, p99")


def _open_paced(cost: Callable[[Sample], float], notes: str) -> Iterator[Pair]:
    with open_stand(guarded=True, nginx=True) as stand:
        assert stand.nginx is not None
        nginx = stand.nginx
        yield Pair(
            reference=lambda: measure_paced(stand, nginx),
            candidate=lambda: measure_paced(stand, stand.gateway),
            check=check_all,
            measure=lambda reference, candidate: cost(candidate) / cost(reference),
            drift_of=cost,
            notes=lambda: f"{notes}; a unit is a stream, CPU that of the process",
        )


def measure_paced(stand: Stand, server: Server) -> tuple[Sample, list[tuple[Heard, int]]]:
    """Return the CPU of a server for its streams, and the lag of the latest hundredth of chunks for each of them."""
    requests = [
        spell_request(server.place, prompt, stream=True, max_tokens=CHUNKS, seed=PAUSE_MICROSECONDS)
        for prompt in make_prompts(stand, STREAMS * ROUNDS)
    ]
    before = server.process.cpu_seconds()
    # Begun one after another, as callers do: a burst of requests would be all that the latest chunks tell of.
    stagger = CHUNKS * PAUSE_MICROSECONDS / 1e6 / STREAMS
    _, answers = asyncio.run(ask_many(server.place, requests, lines=STREAMS, stagger=stagger))
    cpu = server.process.cpu_seconds() - before
    lags = [lag for heard in answers for lag in measure_lags(heard)]
    if len(lags) < 0.99 * len(requests) * CHUNKS:
        raise WrongAnswerError(f"{len(lags)} chunks of {len(requests) * CHUNKS} could be timed")
    lag = find_percentile(lags, 0.99)
    return Sample(len(requests), lag * len(requests), cpu), [(heard, CHUNKS) for heard in answers]


@contextmanager
def open_guard_cost() -> Iterator[Pair]:
    """Compare two gateways, one whose policy asks for nothing and one whose policy asks for every guard."""
    with open_stand(guarded=False, nginx=False) as plain, open_stand(guarded=True, nginx=False) as guarded:
        yield Pair(
            reference=lambda: measure_requests(plain),
            candidate=lambda: measure_requests(guarded),
            check=check_same,
            notes=lambda: f"prompts of 1,000 signs, {LINES} connections; CPU is the gateway's a request",
        )


def measure_requests(stand: Stand) -> tuple[Sample, list[bytes]]:
    """Return how fast a gateway answers requests that want no stream, and what it answered."""
    server = stand.gateway
    requests = [spell_request(server.place, prompt) for prompt in make_prompts(stand, REQUESTS)]
    before = server.process.cpu_seconds()
    seconds, answers = asyncio.run(ask_many(server.place, requests, lines=LINES))
    cpu = server.process.cpu_seconds() - before
    return Sample(len(requests), seconds, cpu), [read_body(heard.raw) for heard in answers]


def make_prompts(stand: Stand, count: int) -> list[str]:
    """Return prompts of which none came before: where something stands in a text is remembered by its digest."""
    return [f"{next(_numbers)}. {stand.prompts[at % len(stand.prompts)]}" for at in range(count)]


def check_all(*sides: object) -> None:
    """Demand every chunk of every stream.

    Raises:
        WrongAnswerError: One is missing, doubled, changed or out of turn.
    """
    for side in sides:
        if not isinstance(side, list) or not side:
            raise WrongAnswerError("nothing was measured")
        for heard, chunks in side:
            check_stream(heard, chunks)


def check_same(*sides: object) -> None:
    """Demand that both told the engine's words to every request.

    Raises:
        WrongAnswerError: One was told something else.
    """
    for side in sides:
        if not isinstance(side, list) or len(side) != REQUESTS:
            raise WrongAnswerError("an answer is missing")
        told = {json.loads(body)["choices"][0]["message"]["content"] for body in side}
        if told != {"It is so."}:
            raise WrongAnswerError(f"callers were told {sorted(told)}")
