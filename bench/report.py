"""What a run leaves: a table on the terminal, `bench.json`, and a picture of ratios against their goals."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.harness import Outcome

_VERDICT = {True: "yes", False: "NO", None: "no verdict"}
_COLOUR = {True: "#2a7f62", False: "#b3261e", None: "#8a8a8a"}


def render_table(outcomes: Sequence[Outcome]) -> str:
    """Lay the outcomes out in columns, with the detail of each below its line."""
    head = ("id", "what", "against", "ratio", "low", "high", "goal", "holds")
    rows = [
        (
            item.id,
            item.what,
            item.reference,
            spell(item.ratio),
            spell(item.low),
            spell(item.high),
            spell_goal(item),
            "" if item.goal is None else _VERDICT[item.holds],
        )
        for item in outcomes
    ]
    widths = [max(len(row[index]) for row in (head, *rows)) for index in range(len(head))]
    lines = [_lay_out(head, widths), _lay_out(tuple("─" * width for width in widths), widths)]
    for row, item in zip(rows, outcomes, strict=True):
        lines += [_lay_out(row, widths), f"    {item.detail}"]
    return "\n".join(lines)


def spell(value: float) -> str:
    """Spell a number with three digits that matter."""
    return f"{value:.0f}" if value == int(value) or abs(value) >= 1000 else f"{value:.3g}"


def spell_goal(item: Outcome) -> str:
    """Spell a goal and its direction."""
    return "none" if item.goal is None else f"{'≥' if item.direction == 'min' else '≤'} {spell(item.goal)}"


def write_json(outcomes: Sequence[Outcome], path: Path) -> None:
    """Write the file, whole or not at all: this run's outcomes and nothing of earlier ones."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    records = [item.record() for item in outcomes]
    partial.write_text(json.dumps(records, indent=2, ensure_ascii=False) + "\n", "utf-8")
    partial.replace(path)


def draw(outcomes: Sequence[Outcome], path: Path) -> None:
    """Draw one row a benchmark: every repetition, the median, and the goal, with the side that holds shaded."""
    import matplotlib as mpl  # noqa: PLC0415 - slow to import, and wanted only here

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    figure, axes = plt.subplots(
        len(outcomes), 1, figsize=(9, 0.7 + 1.35 * len(outcomes)), squeeze=False, layout="constrained"
    )
    for axis, item in zip(axes[:, 0], outcomes, strict=True):
        _draw_row(axis, item)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _draw_row(axis: Any, item: Outcome) -> None:
    values = item.ratios if item.goal is None else (*item.ratios, item.goal)
    margin = 0.12 * (max(values) - min(values)) or 1.0
    low, high = min(values) - margin, max(values) + margin
    if item.goal is not None:
        holds_from, holds_to = (item.goal, high) if item.direction == "min" else (low, item.goal)
        axis.axvspan(holds_from, holds_to, color="#2a7f62", alpha=0.10, lw=0)
        axis.axvline(item.goal, color="#444444", lw=1.2, ls="--")
    axis.scatter(item.ratios, [0.0] * len(item.ratios), s=46, color=_COLOUR[item.holds], alpha=0.55, zorder=3, lw=0)
    axis.scatter([item.ratio], [0.0], s=190, marker="|", color=_COLOUR[item.holds], zorder=4, lw=2.5)
    axis.set(xlim=(low, high), ylim=(-1, 1), yticks=[])
    axis.set_title(
        f"{item.id}   {item.what} against {item.reference}: {spell(item.ratio)} (goal {spell_goal(item)})",
        loc="left", fontsize=9,
    )  # fmt: skip
    axis.spines[["top", "left", "right"]].set_visible(False)


def _lay_out(row: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
