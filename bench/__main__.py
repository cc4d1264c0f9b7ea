"""Run benchmarks: `python -m bench --only B3,B6` (or the variable ONLY); all without a choice."""

import argparse
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from bench.catalogue import build_registry
from bench.ending import ending_in_order
from bench.harness import Benchmark, Outcome, WrongAnswerError, run
from bench.report import draw, render_table, write_json

BUILD = Path(__file__).resolve().parent.parent / "build"


def main(argv: Sequence[str] | None = None, *, build: Path = BUILD) -> int:
    """Run and report; 1 where a goal is missed, an answer is wrong or a benchmark breaks, 2 where an id is unknown."""
    parser = argparse.ArgumentParser(prog="bench", description="Measure ratios against references in the same run.")
    parser.add_argument("--only", default=os.environ.get("ONLY", ""), help="ids, comma-separated; empty: all")
    only = parser.parse_args(argv).only
    ids = [name.strip() for name in only.split(",") if name.strip()]
    try:
        if only and not ids:
            raise ValueError(f"{only!r} names no benchmark")
        chosen = build_registry().choose(ids)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    with ending_in_order():
        return _run_all(chosen, build)


def _run_all(chosen: Sequence[Benchmark], build: Path) -> int:
    outcomes: list[Outcome] = []
    failed: list[str] = []
    picture = build / "bench" / "ratios.png"
    # Nothing of an earlier run is taken for this one's, however early this one ends.
    write_json(outcomes, build / "bench.json")
    picture.unlink(missing_ok=True)
    for benchmark in chosen:
        print(f"{benchmark.id}: {benchmark.what} …", file=sys.stderr, flush=True)
        try:
            outcomes.append(run(benchmark, tell=lambda line: print(line, file=sys.stderr, flush=True)))
        except WrongAnswerError as error:
            print(f"{benchmark.id}: WRONG: {error}", file=sys.stderr)
            failed.append(benchmark.id)
        except Exception:  # noqa: BLE001 - a reference that does not start must not cost the figures of others
            traceback.print_exc()
            print(f"{benchmark.id}: FAILED, see above", file=sys.stderr)
            failed.append(benchmark.id)
        # After each, so that a run that is cut short leaves what it has.
        write_json(outcomes, build / "bench.json")
    if outcomes:
        draw(outcomes, picture)
        print(render_table(outcomes))
    if failed:
        print(f"no figure for {', '.join(failed)}: a check or the benchmark itself failed, see above")
    return 1 if failed or any(item.holds is False for item in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
