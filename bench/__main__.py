"""Run benchmarks: `python -m bench --only B3,B6` (or the variable ONLY); all without a choice."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.catalogue import build_registry
from bench.ending import ending_in_order
from bench.harness import Benchmark, Outcome, WrongAnswerError, run
from bench.report import draw, render_table, write_json

BUILD = Path(__file__).resolve().parent.parent / "build"


def main(argv: Sequence[str] | None = None, *, build: Path = BUILD) -> int:
    """Run and report; 1 where a goal is missed or an answer is wrong, 2 where an id is unknown."""
    parser = argparse.ArgumentParser(prog="bench", description="Measure ratios against references in the same run.")
    parser.add_argument("--only", default=os.environ.get("ONLY", ""), help="ids, comma-separated; empty: all")
    ids = [name.strip() for name in parser.parse_args(argv).only.split(",") if name.strip()]
    try:
        chosen = build_registry().choose(ids)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    with ending_in_order():
        return _run_all(chosen, build)


def _run_all(chosen: Sequence[Benchmark], build: Path) -> int:
    outcomes: list[Outcome] = []
    wrong = 0
    for benchmark in chosen:
        print(f"{benchmark.id}: {benchmark.what} …", file=sys.stderr, flush=True)
        try:
            outcomes.append(run(benchmark, tell=lambda line: print(line, file=sys.stderr, flush=True)))
        except WrongAnswerError as error:
            print(f"{benchmark.id}: WRONG: {error}", file=sys.stderr)
            wrong += 1
        # After each, so that a run that is cut short leaves what it has.
        write_json(outcomes, build / "bench.json")
    if outcomes:
        draw(outcomes, build / "bench" / "ratios.png")
        print(render_table(outcomes))
    return 1 if wrong or any(item.holds is False for item in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
