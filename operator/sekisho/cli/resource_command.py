"""The command `sekisho seal-resource`: a secret that guests of Confidential Containers ask a broker for by its name."""

import base64
import json
import secrets
from pathlib import Path
from typing import Any

import click

from sekisho.cli.key_services import open_keys
from sekisho.cli.running import FOLDER, JSON, UNSAFE, run
from sekisho.kms.choose import parse_key_address
from sekisho.seal import resource
from sekisho.seal.facts import KEY_BYTES
from sekisho.seal.keys import KeyContext, encode_wrapped
from sekisho.seal.manifest import check_class


@click.command("seal-resource")
@click.argument("source", type=FOLDER)
@click.option("--uri", required=True, metavar="URI", help="What guests ask for: kbs:///repository/type/tag.")
@click.option("--class", "data_class", required=True, help="Class of the secret: confidential, or confidential+gdpr.")
@click.option("--model", "name", required=True, help="The name that KeyReleasePolicies and DataGrants grant.")
@click.option("--version", type=click.IntRange(min=1), required=True, help="Counts up; policies name the lowest.")
@click.option(
    "--kms", required=True, metavar="KMS:KEY", help="Whose key wraps the secret's data key, as for sekisho seal."
)
@click.option("-o", "--out", type=FOLDER, required=True, help="The document to write, NAME.json.")
@UNSAFE
@JSON
def seal_resource(**given: Any) -> None:
    """Seal SOURCE, a file or - for standard input, as a resource of the broker.

    The document holds nothing secret: the content is encrypted under a data key of its own, which your key service
    wraps. Put it into a ConfigMap of the chart's value broker.kbs.configMaps. Only guests whose pod a KeyReleasePolicy
    and a DataGrant name for this model get it, on evidence; model.digest in the policy pins this very content.
    """
    run(lambda: _seal(given), as_json=given["as_json"])


def _seal(given: dict[str, Any]) -> tuple[dict[str, Any], str]:
    out: Path = given["out"]
    path, address = resource.parse_resource_uri(given["uri"]), parse_key_address(given["kms"])
    check_class(given["data_class"], name="--class")
    context = KeyContext(given["name"], given["version"], given["data_class"])
    data_key = secrets.token_bytes(KEY_BYTES)
    with click.open_file(str(given["source"]), "rb") as source:
        secret = source.read(resource.MAX_SECRET_BYTES + 1)
    content = resource.seal_resource(secret, data_key, path=path, nonce=secrets.token_bytes(resource.NONCE_BYTES))
    keys = open_keys(given["kms"], given["allow_unsafe_key"])
    wrapped = keys.wrap(data_key, key_id=address.key_id, context=context)
    digest = resource.digest_content(content)
    question = {
        "class": context.data_class, "keyFile": _spell(encode_wrapped(wrapped)), "manifestDigest": digest,
        "model": context.model, "version": context.version,
    }  # fmt: skip
    document = {"content": _spell(content), "question": question, "uri": f"kbs:///{path}"}
    with out.open("x") as file:
        file.write(json.dumps(document, indent=1, sort_keys=True) + "\n")
    facts = {"document": str(out), "digest": digest, "keyVersion": wrapped.key_version, "uri": document["uri"]}
    return facts, f"{out}: {document['uri']}\n{digest}  (content; model.digest of a KeyReleasePolicy)"


def _spell(data: bytes) -> str:
    return base64.b64encode(data).decode()
