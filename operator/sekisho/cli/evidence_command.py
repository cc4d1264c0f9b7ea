"""The commands `sekisho collateral`, `sekisho evidence` and `sekisho reference-values`: nothing is asked of a cluster.

What verifies is imported where it is wanted: it takes longer to load than everything else that a command needs.
"""

from typing import Any

import click

from sekisho.cli.running import FOLDER, JSON, run

_COLLATERAL = click.option(
    "--collateral", required=True, type=FOLDER, metavar="FOLDER", help="Folder of collateral, as the broker has it."
)
_AT = click.option("--at", metavar="TIME", help="Verify as of this time, 2026-12-01T00:00:00Z, instead of now.")
_ENROLLED = click.option(
    "--enrolled", multiple=True, metavar="HEX", help="TPM name of an attestation key that is enrolled."
)


@click.group()
def collateral() -> None:
    """Look at collateral, and carry it into closed networks."""


@collateral.command("list")
@click.argument("folder", type=FOLDER)
@_AT
@JSON
def list_collateral(**given: Any) -> None:
    """List what FOLDER holds, when each ends, and what of it cannot be used.

    The exit code is 3 where a file cannot be used or has ended.
    """
    from sekisho.cli.collateral_bundle import list_folder  # noqa: PLC0415 - see above

    run(lambda: list_folder(given), as_json=given["as_json"])


@collateral.command("export")
@click.argument("folder", type=FOLDER)
@click.argument("bundle", type=FOLDER)
@JSON
def export_collateral(**given: Any) -> None:
    """Write all of FOLDER that can be used into one file BUNDLE, and print its digest."""
    from sekisho.cli.collateral_bundle import export_bundle  # noqa: PLC0415 - see above

    run(lambda: export_bundle(given), as_json=given["as_json"])


@collateral.command("import")
@click.argument("bundle", type=FOLDER)
@click.argument("folder", type=FOLDER)
@click.option("--digest", metavar="sha256:…", help="Refuse another bundle than the one that was exported.")
@JSON
def import_collateral(**given: Any) -> None:
    """Lay the files of BUNDLE into FOLDER; none of them replaces a newer one of the same name.

    Everything is checked as the broker checks it before a file is written.
    """
    from sekisho.cli.collateral_bundle import import_bundle  # noqa: PLC0415 - see above

    run(lambda: import_bundle(given), as_json=given["as_json"])


@click.group()
def evidence() -> None:
    """Look at evidence of hardware and code."""


@evidence.command("verify")
@click.argument("file", type=FOLDER)
@_COLLATERAL
@_AT
@_ENROLLED
@JSON
def verify_evidence(**given: Any) -> None:
    """Verify the pieces of evidence in FILE, a JSON list as an agent sends it, and print what they claim.

    Whether they were made for a release is not looked at: that a challenge alone can tell.
    """
    from sekisho.cli.evidence_files import verify_file  # noqa: PLC0415 - see above

    run(lambda: verify_file(given), as_json=given["as_json"])


@evidence.command("explain")
@click.argument("file", type=FOLDER)
@click.option(
    "--policy", required=True, type=FOLDER, metavar="FILE.yaml", help="An EvidencePolicy; the first of the file."
)
@click.option("--site", default="", help="Name of the site the machine stands at.")
@_COLLATERAL
@_AT
@_ENROLLED
@JSON
def explain_evidence(**given: Any) -> None:
    """Verify the evidence in FILE, hold it against a policy, and say which rule refuses it, or that none does."""
    from sekisho.cli.evidence_files import explain_file  # noqa: PLC0415 - see above

    run(lambda: explain_file(given), as_json=given["as_json"])


@click.command("reference-values")
@click.argument("files", type=FOLDER, nargs=-1, required=True)
@click.option("--name", default="recorded", help="Name of the alternative that is printed.")
@click.option("--registers", default="", metavar="NAME,…", help="Registers to demand too: pcr4,rtmr1.")
@_COLLATERAL
@_AT
@_ENROLLED
@JSON
def reference_values(**given: Any) -> None:
    """Print the values to expect, as an EvidencePolicy has them, from evidence that was recorded on good machines.

    Give evidence of the running and of the next version: both values are listed, which is what an upgrade needs. Of
    security versions the lowest that was seen is demanded.
    """
    from sekisho.cli.evidence_files import print_reference_values  # noqa: PLC0415 - see above

    run(lambda: print_reference_values(given), as_json=given["as_json"])
