"""What an owner declares of a model: by options, or in a file that is kept beside it."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from sekisho.cli.failures import refuse
from sekisho.scan.cards import MAX_CARD_BYTES, NoCardError, load_yaml
from sekisho.seal.manifest import read_declared

RISKS: Final = ("Minimal", "Limited", "High")
F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS: Final = (
    click.option("--licence", help="SPDX expression, kept in the signed manifest."),
    click.option(
        "--capability", "capabilities", multiple=True, help="What it may be used for; repeat for more."
    ),
    click.option("--risk", help=f"Its risk as you classify it: {', '.join(RISKS)}."),
    click.option(
        "--evaluation", "evaluations", multiple=True, metavar="NAME=SCORE@TIME",
        help="What an evaluation came to, and when: mmlu=71.4@2026-11-20T00:00:00Z; repeat for more.",
    ),
    click.option(
        "--declarations", type=click.Path(path_type=Path), metavar="FILE",
        help="YAML or JSON with licence, capabilities, risk, evaluations (name, score, at); options go before it.",
    ),
)  # fmt: skip


def declaration_options(command: F) -> F:
    """Give a command the options by which an owner declares."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def read_declarations(given: Mapping[str, Any]) -> dict[str, Any]:
    """Join what the file and the options declare; where both speak of one field, the option counts.

    Raises:
        RefusedError: Not spelt as the manifest has it, or a risk that is no word of the list.
    """
    place: Path | None = given["declarations"]
    declared = _read_file(place) if place else {}
    options = {
        "licence": given["licence"], "risk": given["risk"], "capabilities": list(given["capabilities"]),
        "evaluations": [_parse_evaluation(text) for text in given["evaluations"]],
    }  # fmt: skip
    declared |= {name: value for name, value in options.items() if value}
    read = read_declared(declared, name=str(place or "the options"))
    if (risk := read.get("risk", RISKS[0])) not in RISKS:
        raise refuse(f'risk "{risk}" is not known; one of {", ".join(RISKS)} is needed')
    names = [item["name"] for item in read.get("evaluations", ())]
    if len(set(names)) != len(names):
        raise refuse("two evaluations have one name; give each a name of its own")
    return read


def _parse_evaluation(text: str) -> dict[str, str]:
    before, _, at = text.rpartition("@")
    name, _, score = before.partition("=")
    if not (name and score and at):
        raise refuse(f'"{text[:80]}" is no evaluation; write NAME=SCORE@TIME, mmlu=71.4@2026-11-20T00:00:00Z')
    return {"name": name, "score": score, "at": at}


def _read_file(place: Path) -> dict[str, Any]:
    with place.open("rb") as file:
        data = file.read(MAX_CARD_BYTES + 1)
    try:
        text = data.decode()
        value = json.loads(text) if place.suffix == ".json" else load_yaml(text)
    except (ValueError, RecursionError, NoCardError) as error:
        raise refuse(f"{place} cannot be read as YAML or JSON: {error}") from error
    if not isinstance(value, dict):
        raise refuse(f"{place} holds no mapping; licence, capabilities, risk, evaluations are known")
    return value
