"""The command line `sekisho`."""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import click

from sekisho.cli.apikey_command import api_key
from sekisho.cli.artifact import pull_model, push_model
from sekisho.cli.credentials import find_login
from sekisho.cli.declaring import declaration_options, read_declarations
from sekisho.cli.evidence_command import collateral, evidence, reference_values
from sekisho.cli.explain_command import explain
from sekisho.cli.failures import EXIT_CODES, INTERRUPTED
from sekisho.cli.key_services import open_keys, open_same
from sekisho.cli.ledger_command import ledger
from sekisho.cli.policy_command import policy
from sekisho.cli.progress import describe_bytes, open_meter
from sekisho.cli.registry import Registry, parse_reference
from sekisho.cli.resource_command import seal_resource
from sekisho.cli.running import FOLDER as _FOLDER
from sekisho.cli.running import JSON as _JSON
from sekisho.cli.running import UNSAFE as _UNSAFE
from sekisho.cli.running import fail
from sekisho.cli.running import run as _run
from sekisho.cli.scan_command import open_inspector, scan, scan_options
from sekisho.cli.sealed_folder import (
    describe_sealed,
    open_sealed,
    rewrap_key,
)
from sekisho.cli.sealing import Wish, seal_model
from sekisho.cli.signing import list_signatures, sign_folder
from sekisho.cli.signing_commands import PASSPHRASE, TRUST, approve, open_key, sign
from sekisho.cli.verify_command import read_vouched, verify
from sekisho.errors import Reason, RefusedError
from sekisho.kernel import forbid_dumps
from sekisho.kms.choose import parse_key_address
from sekisho.seal.facts import ModelIdentity, SealedManifest
from sekisho.seal.manifest import read_identity

_KMS = click.option(
    "--kms",
    required=True,
    metavar="KMS:KEY",
    help="Whose key wraps the data key: openbao:transit/legal, pkcs11:…, aws:…, gcp:…, azure:…. "
    "How it is reached stands in environment variables (BAO_ADDR, …).",
)
_PLAIN_HTTP = click.option("--plain-http", is_flag=True, help="Speak to the registry without TLS. For tests only.")
_CA = click.option("--ca-file", type=_FOLDER, help="Trust the authority in this PEM file as well.")


@click.group(epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def cli() -> None:
    """Seal a model once; registries, caches, volumes and nodes then hold ciphertext only.

    \b
    1. sekisho seal ./model --class confidential --model legal/reviewer --version 7 --kms openbao:transit/legal
    2. sekisho sign ./model.sealed --key release.pem
    3. sekisho push ./model.sealed oci://registry.closed:5000/models/reviewer:7
    4. put the digest it prints into the Model: storageUri: oci://…@sha256:…
    """  # noqa: D301 -- click looks for the sign itself


@cli.command()
@click.argument("source", type=_FOLDER)
@click.option("--class", "data_class", required=True, help="Class of the model: confidential, or confidential+gdpr.")
@click.option("--model", "name", required=True, help="Its name; every file key is bound to it.")
@click.option("--version", type=click.IntRange(min=1), required=True, help="Counts up; a lower one is refused later.")
@_KMS
@click.option("-o", "--out", type=_FOLDER, help="Folder to write; SOURCE.sealed where not given.")
@declaration_options
@scan_options
@click.option(
    "--sign", "file", type=_FOLDER, metavar="FILE.pem", help="Sign the result with this key; see sekisho sign."
)
@PASSPHRASE
@click.option(
    "--openssf", type=_FOLDER, metavar="MODEL.sig", help="Seal only what this signature of model_signing names."
)
@TRUST
@_UNSAFE
@_JSON
def seal(**given: Any) -> None:
    """Seal SOURCE: a folder as model hubs lay it out, a GGUF file or an ONNX file.

    It is scanned first, as by `sekisho scan`; the result and a CycloneDX bill of materials go under the signature.
    Each file is encrypted by AES-256-GCM in segments of at most 4 MiB. The data key exists in memory and, wrapped by
    your key service, in sekisho.key.json. The result appears as a whole: until then it is OUT.partial. After an
    interruption run the same command again: finished files are checked and kept, unfinished ones start over.
    """
    _run(lambda: _seal(**given), as_json=given["as_json"])


def _seal(**given: Any) -> tuple[dict[str, Any], str]:
    address = parse_key_address(given["kms"])
    model = _read_identity(given)
    source: Path = given["source"]
    out = given["out"] or source.absolute().with_name(f"{source.absolute().name}.sealed")
    signer = open_key(given) if given["file"] else None
    vouched = read_vouched(given)

    def finish(folder: Path, manifest: SealedManifest) -> None:
        if vouched:
            vouched.check(manifest)
        if signer:
            sign_folder(folder, signer)

    declared = read_declarations(given)
    keys = open_keys(given["kms"], given["allow_unsafe_key"])
    wish = Wish(
        model,
        keys,
        address.key_id,
        declared,
        inspector=open_inspector(given, declared),
        finish=finish,
    )
    done = seal_model(source, out, wish, meter=open_meter(as_json=given["as_json"]))
    key_id = signer.public.key_id if signer else None
    facts = describe_sealed(open_sealed(done.folder)) | {
        "folder": str(done.folder),
        "kept": done.kept,
        "signedWith": key_id,
    }
    size = describe_bytes(sum(file.size for file in done.manifest.files))
    kept = f", {done.kept} kept from before" if done.kept else ""
    signed = f"signed by key {key_id}" if key_id else "not signed yet"
    told = f"{done.folder}: {len(done.manifest.files)} files, {size}{kept}\n{done.digest}  (manifest; {signed})"
    return facts, told


def _read_identity(given: dict[str, Any]) -> ModelIdentity:
    """Check what every key is bound to before hours go into it."""
    value = {"class": given["data_class"], "name": given["name"], "version": given["version"]}
    try:
        return read_identity(value, name="the model")
    except RefusedError as error:
        told = f"{error.message}; a class is written confidential or confidential+gdpr, a name legal/reviewer"
        raise RefusedError(error.reason, told) from None


@cli.command()
@click.argument("folder", type=_FOLDER)
@_KMS
@_UNSAFE
@_JSON
def rewrap(folder: Path, kms: str, allow_unsafe_key: bool, as_json: bool) -> None:
    """Wrap the data key of FOLDER with the newest version of its key.

    Only sekisho.key.json changes; manifest, signatures and weights stay as they are. Then push again: only that file is
    sent. Raise the key's minimum version afterwards to make older copies of sekisho.key.json worthless.
    """

    def act() -> tuple[dict[str, Any], str]:
        sealed = open_sealed(folder)
        old, new = rewrap_key(sealed, open_same(kms, sealed.wrapped.key_id, allow_unsafe_key))
        facts = {"key": new.key_id, "from": old.key_version, "to": new.key_version}
        return facts, f"{folder}: key {new.key_id}, version {old.key_version} → {new.key_version}"

    _run(act, as_json=as_json)


@cli.command()
@click.argument("folder", type=_FOLDER)
@_JSON
def inspect(folder: Path, as_json: bool) -> None:
    """Show what the sealed model in FOLDER says of itself. Nothing of it is verified here."""

    def act() -> tuple[dict[str, Any], str]:
        facts = describe_sealed(open_sealed(folder)) | {"signatures": list_signatures(folder)}
        return facts, "\n".join(f"{name:<11} {_show(value)}" for name, value in facts.items())

    _run(act, as_json=as_json)


@cli.command()
@click.argument("folder", type=_FOLDER)
@click.argument("target")
@_PLAIN_HTTP
@_CA
@_JSON
def push(folder: Path, target: str, plain_http: bool, ca_file: Path | None, as_json: bool) -> None:
    """Push the sealed model in FOLDER to TARGET, oci://registry/repository:tag.

    It becomes an OCI artifact with ModelPack media types; copying it with oras or skopeo keeps it valid. Files the
    registry has are not sent again. Logins come from docker's config.json and its credential helpers.
    """

    def act() -> tuple[dict[str, Any], str]:
        registry = _open_registry(target, plain_http, ca_file)
        if registry.reference.digest:
            raise RefusedError(
                Reason.STORAGE_URI_INVALID, f"{target} names a digest; push to a tag, the digest is printed"
            )
        digest = push_model(open_sealed(folder), registry, meter=open_meter(as_json=as_json))
        place = f"oci://{registry.reference.host}/{registry.reference.repository}@{digest}"
        return {"digest": digest, "storageUri": place}, f"{digest}\nstorageUri: {place}"

    _run(act, as_json=as_json)


@cli.command()
@click.argument("origin")
@click.option("-o", "--out", type=_FOLDER, required=True, help="Folder to write.")
@_PLAIN_HTTP
@_CA
@_JSON
def pull(origin: str, out: Path, plain_http: bool, ca_file: Path | None, as_json: bool) -> None:
    """Pull a sealed model from ORIGIN, oci://registry/repository:tag or @sha256:…, into OUT.

    Every file is checked against its digest and the manifest's. After an interruption run the same command again.
    """

    def act() -> tuple[dict[str, Any], str]:
        registry = _open_registry(origin, plain_http, ca_file)
        folder, digest = pull_model(registry, out, meter=open_meter(as_json=as_json))
        return describe_sealed(folder) | {"folder": str(out), "artifact": digest}, f"{out}: {digest}"

    _run(act, as_json=as_json)


for command in (
    scan, sign, verify, approve, explain, policy, collateral, evidence, reference_values, ledger, api_key,
    seal_resource,
):  # fmt: skip
    cli.add_command(command)


def _open_registry(text: str, plain_http: bool, ca_file: Path | None) -> Registry:
    reference = parse_reference(text)
    return Registry(reference, find_login(reference.host, os.environ), plain_http, ca_file)


def _show(value: object) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)


def main() -> None:
    """Run the command line."""
    forbid_dumps()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if "--json" not in sys.argv:
        cli(prog_name="sekisho")
    try:
        code = cli(prog_name="sekisho", standalone_mode=False)
    except click.UsageError as error:
        fail("UsageInvalid", error.format_message(), error.exit_code, as_json=True)
    except click.Abort:
        fail("Interrupted", "interrupted", INTERRUPTED, as_json=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
