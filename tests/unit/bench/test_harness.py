"""The harness itself: what it refuses, what it counts and what it writes. Times are given, never measured."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from bench.__main__ import main
from bench.harness import (
    MAX_TRIES,
    MIN_REPETITIONS,
    Benchmark,
    Count,
    Direction,
    Outcome,
    Pair,
    Registry,
    Sample,
    Subject,
    WrongAnswerError,
    always,
    is_within,
    run,
    time_ratio,
)
from bench.report import draw, render_table, spell, write_json


def build_benchmark(
    subject: Subject, *, name: str = "X1", goal: float = 2.0, direction: Direction = "min"
) -> Benchmark:
    return Benchmark(name, "things/s", "a loop", goal, direction, lambda: always(subject))


def build_pair(slow_seconds: list[float], fast_seconds: list[float], **changes: object) -> Pair:
    """Sides that claim to have taken these seconds, one after another."""
    slow, fast = iter(slow_seconds), iter(fast_seconds)
    sides = {
        "reference": lambda: (Sample(10, next(slow), 0.5), "answer"),
        "candidate": lambda: (Sample(10, next(fast), 0.25), "answer"),
        "check": must_agree,
        "warm_up": False,
    }
    return Pair(**{**sides, **changes})  # type: ignore[arg-type]


def must_agree(expected: object, found: object) -> None:
    if expected != found:
        raise WrongAnswerError(f"{expected} is not {found}")


def run_quietly(benchmark: Benchmark) -> tuple[Outcome, list[str]]:
    told: list[str] = []
    return run(benchmark, tell=told.append), told


def test_a_fast_wrong_answer_fails() -> None:
    wrong = build_pair([1.0] * 9, [0.01] * 9, candidate=lambda: (10, "wrong"))
    with pytest.raises(WrongAnswerError, match="answer is not wrong"):
        run_quietly(build_benchmark(wrong))


def test_a_wrong_answer_in_the_warm_up_fails_too() -> None:
    wrong = build_pair([1.0] * 9, [0.01] * 9, candidate=lambda: (10, "wrong"), warm_up=True)
    with pytest.raises(WrongAnswerError):
        run_quietly(build_benchmark(wrong))


def test_there_is_no_verdict_where_the_reference_drifts_in_every_attempt() -> None:
    drifting = [1.0, 1.0, 1.0, 1.0, 1.16] * MAX_TRIES
    outcome, told = run_quietly(build_benchmark(build_pair(drifting, [0.1] * 15)))
    assert outcome.holds is None
    assert outcome.detail.endswith("no verdict: it drifted by more than 15% in 3 attempts")
    assert told == [f"X1: the reference drifted by 16% (attempt {number} of 3)" for number in (1, 2, 3)]


def test_a_series_that_drifted_is_measured_again() -> None:
    outcome, told = run_quietly(build_benchmark(build_pair([1.0] * 4 + [0.5] + [1.0] * 5, [0.1] * 10)))
    assert outcome.holds is True
    assert len(told) == 1
    assert outcome.ratio == pytest.approx(10)


def test_a_dear_series_that_drifted_goes_on_and_is_judged_by_its_last_repetitions() -> None:
    pair = build_pair([2.0] + [1.0] * 6, [0.5] + [0.1] * 6, is_dear=True)
    outcome, told = run_quietly(build_benchmark(pair))
    assert told == ["X1: the reference drifted by 50% (attempt 1 of 3)"]
    assert (outcome.holds, outcome.low) == (True, pytest.approx(10))
    assert "the last 5 of 6 repetitions interleaved, drift of the reference 0.0%" in outcome.detail


def test_the_ratio_is_the_median_with_its_extremes_and_both_costs_are_told() -> None:
    pair = build_pair([1.0] * 5, [0.5, 0.25, 0.2, 0.1, 1.0], notes=lambda: "warm")
    outcome, _ = run_quietly(build_benchmark(pair))
    assert (outcome.ratio, outcome.low, outcome.high, outcome.holds) == (
        pytest.approx(4), pytest.approx(1), pytest.approx(10), True,
    )  # fmt: skip
    assert outcome.detail == (
        "reference 100,000.0 µs wall and 50,000.0 µs CPU a unit; candidate 25,000.0 µs wall and 25,000.0 µs CPU a "
        "unit; 5 repetitions interleaved, drift of the reference 0.0%; warm"
    )


@pytest.mark.parametrize(("seconds", "holds"), [(1.9, True), (2.1, False)])
def test_a_goal_that_bounds_from_above_is_missed_from_above(seconds: float, *, holds: bool) -> None:
    pair = build_pair([1.0] * 5, [seconds] * 5, measure=time_ratio)
    outcome, _ = run_quietly(build_benchmark(pair, direction="max"))
    assert outcome.holds is holds
    assert outcome.ratio == pytest.approx(seconds)


def test_both_sides_take_turns_and_never_fewer_than_five_times() -> None:
    turns: list[str] = []

    def take(name: str) -> Callable[[], tuple[int, object]]:
        return lambda: (turns.append(name) or 1, None)  # type: ignore[func-returns-value]

    run_quietly(build_benchmark(Pair(take("A"), take("B"), must_agree, repetitions=1, warm_up=False)))
    assert "".join(turns).startswith("AB" * MIN_REPETITIONS)
    assert len(turns) % (2 * MIN_REPETITIONS) == 0


@pytest.mark.parametrize(("counts", "holds"), [([0, 0, 0, 0, 0], True), ([0, 0, 1, 0, 0], False)])
def test_what_is_counted_must_hold_every_time(counts: list[int], *, holds: bool) -> None:
    series = iter(counts)
    subject = Count(lambda: next(series), notes=lambda: "all of them")
    outcome, _ = run_quietly(build_benchmark(subject, goal=0, direction="max"))
    assert (outcome.ratio, outcome.high, outcome.holds) == (0, max(counts), holds)
    assert outcome.detail == "5 repetitions counted; all of them"


@pytest.mark.slow
def test_a_figure_without_a_goal_is_told_and_judged_by_nobody(tmp_path: Path) -> None:
    outcome, _ = run_quietly(Benchmark("X1", "KiB", "nobody", None, "max", lambda: always(Count(lambda: 7))))
    assert (outcome.ratio, outcome.goal, outcome.holds) == (7, None, None)
    line = next(line for line in render_table([outcome]).split("\n") if line.startswith("X1"))
    assert line.split()[-1] == "none"
    write_json([outcome], tmp_path / "bench.json")
    assert json.loads((tmp_path / "bench.json").read_text())[0]["goal"] is None
    draw([outcome], tmp_path / "ratios.png")
    assert (tmp_path / "ratios.png").stat().st_size > 0


def test_what_is_no_number_is_an_error_and_meets_no_goal() -> None:
    with pytest.raises(WrongAnswerError, match="no number"):
        run_quietly(build_benchmark(Count(lambda: float("nan")), goal=0, direction="max"))
    assert not is_within(float("nan"), 0, "max")
    assert not is_within(float("nan"), 0, "min")


def test_what_was_opened_is_closed_even_after_a_wrong_answer() -> None:
    closed: list[bool] = []

    @contextmanager
    def open_pair() -> Iterator[Subject]:
        try:
            yield build_pair([1.0], [1.0], candidate=lambda: (1, "wrong"))
        finally:
            closed.append(True)

    with pytest.raises(WrongAnswerError):
        run_quietly(Benchmark("X1", "x", "y", 1, "min", open_pair))
    assert closed == [True]


def test_an_unknown_id_is_told_with_those_that_exist() -> None:
    registry = Registry()
    for name in ("X1", "X2"):
        registry.register(build_benchmark(Count(lambda: 0), name=name))
    assert [item.id for item in registry.choose([])] == ["X1", "X2"]
    assert [item.id for item in registry.choose(["X2", "X1", "X2"])] == ["X2", "X1"]
    with pytest.raises(ValueError, match="no benchmark is called X9; there are X1, X2"):
        registry.choose(["X1", "X9"])
    with pytest.raises(ValueError, match="benchmark X1 is registered twice"):
        registry.register(build_benchmark(Count(lambda: 0)))


def test_an_unknown_id_on_the_command_line_measures_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--only", "X9"], build=tmp_path) == 2
    assert "no benchmark is called X9; there are B3, B6" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> Registry:
    """The benchmarks that the command line knows: none yet, and no picture is drawn of them."""
    registry = Registry()
    monkeypatch.setattr("bench.__main__.build_registry", lambda: registry)
    monkeypatch.setattr("bench.__main__.draw", lambda *_: None)
    return registry


def fail_to_open() -> AbstractContextManager[Subject]:
    raise OSError("the reference does not start")


def test_a_benchmark_that_is_wrong_or_breaks_has_no_figure_and_costs_no_others_theirs(
    tmp_path: Path, known: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    known.register(build_benchmark(build_pair([1.0], [0.1], candidate=lambda: (1, "wrong")), name="X1"))
    known.register(Benchmark("X2", "x", "y", 1, "min", fail_to_open))
    known.register(build_benchmark(Count(lambda: 3), name="X3"))
    assert main([], build=tmp_path) == 1
    assert [record["id"] for record in json.loads((tmp_path / "bench.json").read_text())] == ["X3"]
    said = capsys.readouterr()
    assert "X1: WRONG: answer is not wrong" in said.err
    assert "OSError: the reference does not start" in said.err
    assert "no figure for X1, X2" in said.out


def test_nothing_of_an_earlier_run_is_left_for_one_that_ends_early(tmp_path: Path, known: Registry) -> None:
    def interrupt() -> AbstractContextManager[Subject]:
        assert json.loads((tmp_path / "bench.json").read_text()) == []
        assert list((tmp_path / "bench").iterdir()) == []
        raise KeyboardInterrupt

    write_json([build_outcome()], tmp_path / "bench.json")
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench/ratios.png").touch()
    known.register(Benchmark("X1", "x", "y", 1, "min", interrupt))
    with pytest.raises(KeyboardInterrupt):
        main([], build=tmp_path)
    assert json.loads((tmp_path / "bench.json").read_text()) == []


def test_a_choice_without_an_id_does_not_run_everything(
    tmp_path: Path, known: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    known.register(build_benchmark(Count(lambda: pytest.fail("it ran"))))
    assert main(["--only", " , "], build=tmp_path) == 2
    assert "' , ' names no benchmark" in capsys.readouterr().err


def build_outcome(*, holds: bool | None = True, name: str = "X1", ratio: float = 40.12) -> Outcome:
    return Outcome(name, "things/s", "a loop", ratio, ratio - 1, ratio + 1, 15, "min", holds, "why", (ratio,) * 5)


def test_the_file_has_the_agreed_fields_and_only_this_run(tmp_path: Path) -> None:
    path = tmp_path / "build" / "bench.json"
    write_json([build_outcome(name="X2")], path)
    write_json([build_outcome(), build_outcome(name="X3", holds=None)], path)
    records = json.loads(path.read_text("utf-8"))
    assert [list(record) for record in records] == [
        ["id", "what", "reference", "ratio", "low", "high", "goal", "direction", "holds", "detail"]
    ] * 2
    assert [(record["id"], record["holds"]) for record in records] == [("X1", True), ("X3", None)]
    assert [item.name for item in path.parent.iterdir()] == ["bench.json"]


def test_the_table_names_ratio_extremes_goal_and_verdict() -> None:
    lines = render_table([build_outcome(), build_outcome(holds=False, name="X2"), build_outcome(holds=None)]).split(
        "\n"
    )
    assert lines[2].split() == ["X1", "things/s", "a", "loop", "40.1", "39.1", "41.1", "≥", "15", "yes"]
    assert lines[3] == "    why"
    assert lines[4].endswith("NO")
    assert lines[6].endswith("no verdict")


def test_numbers_are_spelled_short() -> None:
    assert [spell(value) for value in (0, 0.0, 15, 1.2345, 0.012345, 12345.6)] == [
        "0", "0", "15", "1.23", "0.0123", "12346",
    ]  # fmt: skip


@pytest.mark.slow
def test_a_picture_is_drawn_even_where_all_values_are_equal(tmp_path: Path) -> None:
    draw([build_outcome(), build_outcome(ratio=15.0, holds=None)], tmp_path / "bench" / "ratios.png")
    assert (tmp_path / "bench" / "ratios.png").read_bytes().startswith(b"\x89PNG")
