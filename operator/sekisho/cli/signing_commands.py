"""The commands `sign` and `approve`, and the options by which a key and the trusted signers are named."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
import yaml

from sekisho.cli.failures import refuse
from sekisho.cli.running import FOLDER, JSON, run, warn
from sekisho.cli.signing import approve_folder, export_openssf, read_trust, sign_folder
from sekisho.cli.signing_keys import KeyWish, SigningKey, open_signing_key
from sekisho.errors import Reason
from sekisho.seal.facts import SIGNATURES_NAME

Command = TypeVar("Command", bound=Callable[..., Any])

PASSPHRASE = click.option(
    "--passphrase-file", type=FOLDER, help="Holds the passphrase of an encrypted key; else it is asked for."
)
TRUST = click.option(
    "--trust",
    type=FOLDER,
    metavar="FILE",
    help="Whose signatures count: YAML or JSON with signers as in a ClassificationPolicy, or the policy itself.",
)


def _key_options(command: Command) -> Command:
    for option in (
        PASSPHRASE,
        click.option(
            "--pkcs11",
            "label",
            metavar="LABEL",
            help="Key pair in a token; SEKISHO_PKCS11_MODULE, …_TOKEN and …_PIN_FILE name it.",
        ),
        click.option(
            "--cert",
            "chain",
            type=FOLDER,
            metavar="CHAIN.pem",
            help="Certificate of the key, then those between it and the root.",
        ),
        click.option(
            "--key", "file", type=FOLDER, metavar="FILE.pem", help="Private key: Ed25519, ECDSA P-256 or P-384."
        ),
    ):
        command = option(command)
    return command


def open_key(given: dict[str, Any]) -> SigningKey:
    """Open the key that options name; asks for a passphrase where somebody sits at a terminal."""

    def ask(text: str) -> str | None:
        return str(click.prompt(text, hide_input=True, err=True)) if sys.stdin.isatty() else None

    return open_signing_key(
        KeyWish(
            file=given.get("file"), label=given.get("label"), chain=given.get("chain"),
            passphrase_file=given["passphrase_file"], ask=ask,
            warn=lambda text: warn(text, as_json=given["as_json"]),
        )
    )  # fmt: skip


@click.command()
@click.argument("folder", type=FOLDER)
@_key_options
@TRUST
@click.option(
    "--as",
    "name",
    metavar="NAME",
    help="With --trust: refuse to sign unless the signature will count as this signer's.",
)
@click.option(
    "--openssf",
    type=FOLDER,
    metavar="MODEL.sig",
    help="Write a signature on the plaintext for `model_signing verify` instead.",
)
@JSON
def sign(**given: Any) -> None:
    """Sign the sealed model in FOLDER: adds to its sekisho.sig.json.

    The signature covers the manifest, and so every plaintext digest and every byte of ciphertext. Signing again with
    the same key replaces its signature; others stay. Before you sign what others sealed: sekisho verify.

    \b
    Make a key:      openssl genpkey -algorithm ed25519 -aes256 -out release.pem
    Its public key:  openssl pkey -in release.pem -pubout
    """  # noqa: D301 -- click looks for the sign itself

    def act() -> tuple[dict[str, Any], str]:
        folder: Path = given["folder"]
        signers = _find_named(given["trust"], given["name"])
        key = open_key(given)
        if given["openssf"] is not None:
            export_openssf(folder, key, given["openssf"])
            facts: dict[str, Any] = {"keyId": key.public.key_id, "openssf": str(given["openssf"])}
            return facts, f"{given['openssf']}: signed by key {key.public.key_id}"
        done = sign_folder(folder, key, counting_as=signers)
        facts = {"folder": str(folder), "digest": done.digest, "keyId": done.key_id, "signatures": done.signatures}
        return facts, f"{folder / SIGNATURES_NAME}: signed by key {done.key_id}, number of signatures {done.signatures}"

    run(act, as_json=given["as_json"])


def _find_named(trust: Path | None, name: str | None) -> Any:
    if (trust is None) != (name is None):
        raise refuse("--as and --trust go together: the name of a signer, and the file that says who that is")
    if trust is None:
        return None
    named = [signer for signer in read_trust(trust) if signer.name == name]
    if not named:
        raise refuse(f'{trust} has no signer "{name}"', reason=Reason.SIGNER_NOT_TRUSTED)
    return named


@click.command()
@click.argument("folder", type=FOLDER)
@click.option("--role", required=True, help="Name of a signer of the policy, in whose role you approve.")
@click.option("--by", required=True, help="Who approves; covered by the signature.")
@_key_options
@TRUST
@JSON
def approve(**given: Any) -> None:
    """Approve the sealed model in FOLDER; prints what belongs into the Model's spec.

    The approval holds for this manifest alone, so for no other version. With --trust the model must be signed by a
    signer of the policy, and the approval must count in its role, or nothing is printed.
    """

    def act() -> tuple[dict[str, Any], str]:
        signers = None if given["trust"] is None else read_trust(given["trust"])
        key = open_key(given)
        approval, digest = approve_folder(given["folder"], key, role=given["role"], by=given["by"], signers=signers)
        facts = {"role": approval.role, "by": approval.by, "at": approval.at, "signature": approval.signature}
        snippet = yaml.safe_dump({"approvals": [facts]}, sort_keys=False, allow_unicode=True, width=10**6)
        return facts | {"manifestDigest": digest}, f"# {digest}\n{snippet}".rstrip()

    run(act, as_json=given["as_json"])
