"""The commands `sekisho ledger …`: what the ledger says is verified from files alone; nothing is asked of a cluster.

What verifies is imported where it is wanted, as for evidence.
"""

from typing import Any

import click

from sekisho.cli.running import FOLDER, JSON, run

_KEY = click.option(
    "--key", "keys", required=True, multiple=True, type=FOLDER, metavar="FILE",
    help="Whose logs count: verifier keys (log.pub), or an Ed25519 public key in PEM, whatever its logs are called.",
)  # fmt: skip
_WITNESS = click.option(
    "--witness", "witnesses", multiple=True, type=FOLDER, metavar="FILE",
    help="Verifier keys of witnesses; each must have cosigned a checkpoint of every writer.",
)  # fmt: skip
_SOURCES = click.argument("sources", nargs=-1, required=True, type=FOLDER)
_OUT = click.option("-o", "--out", required=True, type=FOLDER, help="File to write.")
_LOG = click.option("--log", "origin", metavar="ORIGIN", help="Which log, where there are several.")


@click.group()
def ledger() -> None:
    """Verify, prove, export and search what gateway and broker recorded.

    SOURCE is the folder `logs` of a pod, a copy of it from a bucket, or an export.
    """


@ledger.command("verify")
@_SOURCES
@_KEY
@_WITNESS
@click.option(
    "--checkpoint", "checkpoints", multiple=True, type=FOLDER, metavar="FILE",
    help="A checkpoint kept from before, cosigned or not: nothing it speaks of may be gone or changed.",
)  # fmt: skip
@click.option(
    "--receipt", "receipts", multiple=True, type=FOLDER, metavar="FILE",
    help="A receipt that a caller kept (header sekisho-receipt): its entry must be there.",
)  # fmt: skip
@JSON
def verify_ledger(**given: Any) -> None:
    """Verify every entry of SOURCE, or one proof that `sekisho ledger prove` wrote.

    Each entry must be under its log's signed checkpoint, each log must go on from the one before. That nothing was cut
    off, and that no other history was signed, shows by what was kept elsewhere: --checkpoint, --witness, --receipt.
    """
    from sekisho.cli.ledger_verifying import verify  # noqa: PLC0415 - see above

    run(lambda: verify(given), as_json=given["as_json"])


@ledger.command("search")
@_SOURCES
@_KEY
@click.option("--class", "data_class", metavar="CLASS", help="confidential, confidential+gdpr, or '>=confidential'.")
@click.option("--levels", default="public,internal,confidential,restricted", help="Levels of the policy, lowest first.")
@click.option("--since", metavar="TIME", help="2026-10-01 or 2026-10-01T09:00:00Z.")
@click.option("--until", metavar="TIME", help="Before this time.")
@click.option("--service", metavar="NAMESPACE/NAME", help="The service that was asked.")
@click.option("--decision", metavar="WORD", help="relayed, refused, granted, ….")
@click.option("--left-closed-network", is_flag=True, help="Relayed to a site that is not of tier Closed.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=100, show_default=True, help="Entries to show.")
@JSON
def search_ledger(**given: Any) -> None:
    """Search the entries of SOURCE, earliest first; everything is verified, and what could not be examined is told.

    A line has time, kind, decision, class, model, caller, site with its tier, and the place in the log.
    """
    from sekisho.cli.ledger_searching import search  # noqa: PLC0415 - see above

    run(lambda: search(given), as_json=given["as_json"])


@ledger.command("prove")
@_SOURCES
@_KEY
@_LOG
@click.option("--index", type=click.IntRange(min=0), help="Place of the entry in its log, from 0.")
@click.option("--id", "request_id", metavar="ID", help="The request whose first entry is to be proven.")
@click.option("--receipt", type=FOLDER, metavar="FILE", help="The receipt whose entry is to be proven.")
@click.option("--since", type=click.IntRange(min=0), metavar="SIZE", help="For a witness: that the log only grew.")
@_OUT
@JSON
def prove_ledger(**given: Any) -> None:
    """Prove one entry, or for a witness (--since) that a log goes on from what it saw.

    The proof holds the entry and the signed checkpoint (c2sp.org/tlog-proof): `sekisho ledger verify PROOF` needs the
    log's key and nothing else. A request to a witness is what c2sp.org/tlog-witness posts.
    """
    from sekisho.cli.ledger_proving import prove  # noqa: PLC0415 - see above

    run(lambda: prove(given), as_json=given["as_json"])


@ledger.command("export")
@_SOURCES
@_KEY
@click.option("--cosigned", multiple=True, type=FOLDER, metavar="FILE", help="What witnesses cosigned, to go with it.")
@_OUT
@JSON
def export_ledger(**given: Any) -> None:
    """Verify the logs of SOURCE and write them into one file OUT.tar, or into a folder.

    Everything that verification needs is in it but keys. What is recorded after the newest checkpoint is not.
    """
    from sekisho.cli.ledger_proving import export  # noqa: PLC0415 - see above

    run(lambda: export(given), as_json=given["as_json"])


@ledger.command("key")
@click.argument("key", type=FOLDER)
@click.option("--name", required=True, help="Of the log's writer (sekisho/NAMESPACE/gateway), or of the witness.")
@click.option("--witness", "is_witness", is_flag=True, help="The key of a witness.")
@JSON
def show_key(**given: Any) -> None:
    """Print the verifier key of an Ed25519 key in PEM, private or public."""
    from sekisho.cli.ledger_keys import describe_key  # noqa: PLC0415 - see above

    run(lambda: describe_key(given), as_json=given["as_json"])


@ledger.command("rotate")
@click.argument("folder", type=FOLDER)
@click.option(
    "--key", type=FOLDER, metavar="OLD.pem", help="The key that signs by now; FOLDER/log.key where not given."
)
@click.option("--new", type=FOLDER, metavar="NEW.pem", help="The key to sign from now on; made in FOLDER if not given.")
@JSON
def rotate_key(**given: Any) -> None:
    """Hand the logs of FOLDER over to a new key, while their writer is stopped.

    FOLDER is a pod's record: it holds logs and log.pub. The last log ends with an entry that names the new key; both
    keys sign its end, and the next log is the new key's. A writer that is given both keys does the same at its start.
    Run it again after a crash.
    """
    from sekisho.cli.ledger_rotating import rotate  # noqa: PLC0415 - see above

    run(lambda: rotate(given), as_json=given["as_json"])


@ledger.group("witness")
def witness() -> None:
    """Vouch for logs of others, across an air gap: files come in, files go out."""


@witness.command("cosign")
@click.argument("request", type=FOLDER)
@click.option("--log-key", "keys", required=True, multiple=True, type=FOLDER, metavar="FILE", help="Keys of the logs.")
@click.option(
    "--key", required=True, type=FOLDER, metavar="FILE.pem", help="The witness's private key, Ed25519 in PEM."
)
@click.option("--name", required=True, help="The witness's name: a host and path without scheme.")
@click.option("--state", required=True, type=FOLDER, metavar="FILE", help="What this witness has seen; made at first.")
@_OUT
@JSON
def cosign_checkpoint(**given: Any) -> None:
    """Cosign the checkpoint of REQUEST, if it goes on from what this witness cosigned before.

    What it has seen now is on disk before it signs. OUT is the checkpoint with the cosignature: carry it back, and give
    it to `sekisho ledger verify --checkpoint` or `export --cosigned`.
    """
    from sekisho.cli.ledger_witness import cosign_request  # noqa: PLC0415 - see above

    run(lambda: cosign_request(given), as_json=given["as_json"])
