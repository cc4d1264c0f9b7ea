"""What every command shares: how it is run, and how what it came to leaves the process."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import click

from sekisho.cli.failures import INTERRUPTED, LOCAL, choose_exit_code, describe_local
from sekisho.errors import SekishoError

FOLDER = click.Path(path_type=Path)
JSON = click.option(
    "--json", "as_json", is_flag=True, help="Result as JSON on stdout, progress as JSON lines on stderr."
)

UNSAFE = click.option("--allow-unsafe-key", is_flag=True, help="Take an unsafe-development: key. For tests only.")


def run(act: Callable[[], tuple[dict[str, Any], str]], *, as_json: bool) -> None:
    """Do one command and turn what it came to into output and exit code."""
    try:
        facts, text = act()
    except SekishoError as error:
        fail(error.reason.value, error.message, choose_exit_code(error), as_json=as_json)
    except KeyboardInterrupt:
        fail("Interrupted", "interrupted; run the same command again to go on", INTERRUPTED, as_json=as_json)
    except OSError as error:
        fail("LocalFailure", describe_local(error), LOCAL, as_json=as_json)
    click.echo(json.dumps(facts, ensure_ascii=False) if as_json else text)


def fail(reason: str, message: str, code: int, *, as_json: bool) -> NoReturn:
    """Tell a refusal on stderr and end with its exit code."""
    text = json.dumps({"reason": reason, "message": message}, ensure_ascii=False) if as_json else f"{reason}: {message}"
    click.echo(text, err=True)
    sys.exit(code)


def warn(message: str, *, as_json: bool) -> None:
    """Tell on stderr what does not stop the command."""
    click.echo(json.dumps({"event": "warning", "message": message}) if as_json else f"Warning: {message}", err=True)
