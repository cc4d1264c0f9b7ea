"""The command `sekisho scan`, and the options by which `sekisho seal` scans first.

What scans is imported where it is wanted: it takes longer to load than everything else that a command needs.
"""

import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

from sekisho.cli.declaring import declaration_options, read_declarations
from sekisho.cli.failures import SCAN
from sekisho.cli.progress import open_meter
from sekisho.cli.running import FOLDER, JSON, run

if TYPE_CHECKING:
    from sekisho.cli.scanning import Inspector

F = TypeVar("F", bound=Callable[..., Any])


def scan_options(command: F) -> F:
    """Give a command the options by which it scans first."""
    skip = click.option("--no-scan", is_flag=True, help="Do not scan; classes that demand a scan refuse the model.")
    allow = click.option(
        "--allow-findings", is_flag=True, help="Seal in spite of findings; they are kept in the manifest."
    )
    return allow(skip(command))


def open_inspector(given: Mapping[str, Any], declared: Mapping[str, Any]) -> "Inspector | None":
    """Choose how a model is scanned before it is sealed; None where it is not."""
    if given["no_scan"]:
        return None
    from sekisho.cli.scanning import Inspector  # noqa: PLC0415 - see above

    return Inspector(declared.get("licence"), given["allow_findings"])


@click.command()
@click.argument("source", type=FOLDER)
@declaration_options
@click.option("--bom", type=FOLDER, metavar="FILE", help="Write a CycloneDX bill of materials; reads every file whole.")
@JSON
def scan(**given: Any) -> None:
    """Scan SOURCE for what must not be in a model: code, pickles that run, broken headers, unsafe chat templates.

    Nothing of it is run or rendered. Of large weights the header is read and the end, so it takes seconds. The exit
    code is 7 where something is found.
    """
    from sekisho.cli.scanning import scan_source  # noqa: PLC0415 - see above

    facts: dict[str, Any] = {}

    def act() -> tuple[dict[str, Any], str]:
        meter = open_meter(as_json=given["as_json"])
        found, text = scan_source(given["source"], read_declarations(given), given["bom"], meter)
        facts.update(found)
        return found, text

    run(act, as_json=given["as_json"])
    if facts["counted"]:
        sys.exit(SCAN)
