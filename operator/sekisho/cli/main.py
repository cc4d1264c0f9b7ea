"""The command line `sekisho`."""

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import click

from sekisho.cli.artifact import pull_model, push_model
from sekisho.cli.credentials import find_login
from sekisho.cli.failures import EXIT_CODES, INTERRUPTED, LOCAL, choose_exit_code, describe_local
from sekisho.cli.progress import describe_bytes, open_meter
from sekisho.cli.registry import Registry, parse_reference
from sekisho.cli.sealed_folder import (
    describe_sealed,
    open_sealed,
    rewrap_key,
    unwrap_key,
    verify_digests,
    verify_tags,
)
from sekisho.cli.sealing import Wish, seal_model
from sekisho.errors import Reason, RefusedError, SekishoError
from sekisho.kms.choose import open_key_service, parse_key_address
from sekisho.kms.service import KeyService
from sekisho.seal.facts import ModelIdentity

_FOLDER = click.Path(path_type=Path)
_JSON = click.option(
    "--json", "as_json", is_flag=True, help="Result as JSON on stdout, progress as JSON lines on stderr."
)
_UNSAFE = click.option("--allow-unsafe-key", is_flag=True, help="Take an unsafe-development: key. For tests only.")
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
    r"""Seal a model once; registries, caches, volumes and nodes then hold ciphertext only.

    \b
    1. sekisho seal ./model --class confidential --model legal/reviewer --version 7 --kms openbao:transit/legal
    2. sekisho push ./model.sealed oci://registry.closed:5000/models/reviewer:7
    3. put the digest it prints into the Model: storageUri: oci://…@sha256:…
    """


@cli.command()
@click.argument("source", type=_FOLDER)
@click.option("--class", "data_class", required=True, help="Class of the model: confidential, or confidential+gdpr.")
@click.option("--model", "name", required=True, help="Its name; every file key is bound to it.")
@click.option("--version", type=click.IntRange(min=1), required=True, help="Counts up; a lower one is refused later.")
@_KMS
@click.option("-o", "--out", type=_FOLDER, help="Folder to write; SOURCE.sealed where not given.")
@click.option("--licence", help="SPDX expression, kept in the signed manifest.")
@click.option("--capability", "capabilities", multiple=True, help="What it may be used for; repeat for more.")
@click.option("--risk", help="Its risk as you classify it: Minimal, Limited, High.")
@_UNSAFE
@_JSON
def seal(**given: Any) -> None:
    """Seal SOURCE: a folder as model hubs lay it out, a GGUF file or an ONNX file.

    Each file is encrypted by AES-256-GCM in segments of at most 4 MiB. The data key exists in memory and, wrapped by
    your key service, in sekisho.key.json. The result appears as a whole: until then it is OUT.partial. After an
    interruption run the same command again: finished files are checked and kept, unfinished ones start over.
    """
    _run(lambda: _seal(**given), as_json=given["as_json"])


def _seal(**given: Any) -> tuple[dict[str, Any], str]:
    address = parse_key_address(given["kms"])
    model = ModelIdentity(name=given["name"], version=given["version"], data_class=given["data_class"])
    source: Path = given["source"]
    out = given["out"] or source.absolute().with_name(f"{source.absolute().name}.sealed")
    declared = {"licence": given["licence"], "capabilities": list(given["capabilities"]), "risk": given["risk"]}
    keys = _open_keys(given["kms"], given["allow_unsafe_key"])
    wish = Wish(model, keys, address.key_id, {name: value for name, value in declared.items() if value})
    done = seal_model(source, out, wish, meter=open_meter(as_json=given["as_json"]))
    facts = describe_sealed(open_sealed(done.folder)) | {"folder": str(done.folder), "kept": done.kept}
    size = describe_bytes(sum(file.size for file in done.manifest.files))
    kept = f", {done.kept} kept from before" if done.kept else ""
    return (
        facts,
        f"{done.folder}: {len(done.manifest.files)} files, {size}{kept}\n{done.digest}  (manifest; not signed yet)",
    )


@cli.command()
@click.argument("folder", type=_FOLDER)
@click.option("--kms", metavar="KMS:KEY", help="Unwrap the data key there and open every segment; without it, digests.")
@click.option(
    "--unsafe-skip-signatures", is_flag=True, help="Check the bytes only; tells nothing about who sealed them."
)
@_UNSAFE
@_JSON
def verify(folder: Path, kms: str | None, unsafe_skip_signatures: bool, allow_unsafe_key: bool, as_json: bool) -> None:
    """Verify the sealed model in FOLDER; no plaintext is written.

    Without a key: names, sizes and the digest of every ciphertext. With --kms: every segment is opened in memory, which
    proves that key, model, version, class, order and bytes belong together.
    """

    def act() -> tuple[dict[str, Any], str]:
        if not unsafe_skip_signatures:
            raise RefusedError(
                Reason.SIGNATURE_MISSING,
                "this build cannot check signatures yet, and bytes alone do not tell who sealed them; "
                "pass --unsafe-skip-signatures to check the bytes only",
            )
        sealed, meter = open_sealed(folder), open_meter(as_json=as_json)
        if kms is None:
            verify_digests(sealed, meter=meter)
        else:
            verify_tags(
                sealed, unwrap_key(sealed, _open_same(kms, sealed.wrapped.key_id, allow_unsafe_key)), meter=meter
            )
        checked = "every tag" if kms else "every digest"
        facts = {"folder": str(folder), "digest": sealed.digest, "checked": checked, "signatures": "skipped"}
        return facts, f"{folder}: {len(sealed.manifest.files)} files, {checked} holds; signatures were not checked"

    _run(act, as_json=as_json)


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
        old, new = rewrap_key(sealed, _open_same(kms, sealed.wrapped.key_id, allow_unsafe_key))
        facts = {"key": new.key_id, "from": old.key_version, "to": new.key_version}
        return facts, f"{folder}: key {new.key_id}, version {old.key_version} → {new.key_version}"

    _run(act, as_json=as_json)


@cli.command()
@click.argument("folder", type=_FOLDER)
@_JSON
def inspect(folder: Path, as_json: bool) -> None:
    """Show what the sealed model in FOLDER says of itself. Nothing of it is verified here."""

    def act() -> tuple[dict[str, Any], str]:
        facts = describe_sealed(open_sealed(folder))
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


def _open_keys(kms: str, allow_unsafe: bool) -> KeyService:
    return open_key_service(kms, os.environ, allow_unsafe=allow_unsafe)


def _open_same(kms: str, key_id: str, allow_unsafe: bool) -> KeyService:
    named = parse_key_address(kms).key_id
    if named != key_id:
        raise RefusedError(Reason.KEY_MISMATCH, f"the model is sealed with key {key_id}, --kms names {named}")
    return _open_keys(kms, allow_unsafe)


def _open_registry(text: str, plain_http: bool, ca_file: Path | None) -> Registry:
    reference = parse_reference(text)
    return Registry(reference, find_login(reference.host, os.environ), plain_http, ca_file)


def _show(value: object) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)


def _run(act: Callable[[], tuple[dict[str, Any], str]], *, as_json: bool) -> None:
    """Do one command and turn what it came to into output and exit code."""
    try:
        facts, text = act()
    except SekishoError as error:
        _fail(error.reason.value, error.message, choose_exit_code(error), as_json=as_json)
    except KeyboardInterrupt:
        _fail("Interrupted", "interrupted; run the same command again to go on", INTERRUPTED, as_json=as_json)
    except OSError as error:
        _fail("LocalFailure", describe_local(error), LOCAL, as_json=as_json)
    click.echo(json.dumps(facts, ensure_ascii=False) if as_json else text)


def _fail(reason: str, message: str, code: int, *, as_json: bool) -> NoReturn:
    text = json.dumps({"reason": reason, "message": message}, ensure_ascii=False) if as_json else f"{reason}: {message}"
    click.echo(text, err=True)
    sys.exit(code)


def main() -> None:
    """Run the command line."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    cli(prog_name="sekisho")


if __name__ == "__main__":
    main()
