"""The command `sekisho policy test`: a release decision replayed offline, as it was or under other rules.

What decides is imported where it is wanted: it takes longer to load than everything else that a command needs.
"""

from typing import Any

import click

from sekisho.cli.running import FOLDER, JSON, run


@click.group()
def policy() -> None:
    """Try the rules by which keys are released."""


@policy.command("test")
@click.argument("facts", type=FOLDER)
@click.option(
    "--with", "changed", type=FOLDER, multiple=True, metavar="FILE.yaml",
    help="Decide as if these objects were in force; each takes the place of the one of its kind and name.",
)  # fmt: skip
@click.option(
    "--without", "removed", multiple=True, metavar="KIND/NAME",
    help="Decide as if this object were gone; KIND/NAMESPACE/NAME where it stands in a namespace.",
)  # fmt: skip
@click.option("--at", metavar="TIME", help="Decide as if it were this time: 2026-12-01T00:00:00Z.")
@click.option(
    "--expect", metavar="REASON", help="Succeed only where this comes of it: Released, or the reason of a refusal."
)
@JSON
def test_policy(**given: Any) -> None:
    """Decide again about the release in FACTS, a JSON file as the broker's record has them.

    Nothing is asked of a cluster or a key service, and no key is opened. The exit code is 0 where the key would be
    released, and another where it would be refused; with --expect, 0 where that came of it.
    """
    from sekisho.cli.replaying import replay  # noqa: PLC0415 - see above

    run(lambda: replay(given), as_json=given["as_json"])
