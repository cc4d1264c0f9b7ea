"""A secret is sealed for the broker: the document holds nothing of it, and the broker reads it as it was meant."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from sekisho.broker.resources import parse_document
from sekisho.cli.main import cli
from sekisho.errors import RefusedError
from sekisho.kms.choose import open_key_service
from sekisho.kms.unsafe_development import create_unsafe_key
from sekisho.seal.keys import KeyContext
from sekisho.seal.resource import MAX_SECRET_BYTES, open_resource

SECRET = b"token of the registry"


@pytest.fixture
def kms(tmp_path: Path) -> str:
    key = tmp_path / "key"
    create_unsafe_key(key)
    return f"unsafe-development:{key}"


def seal(folder: Path, kms: str, secret: bytes = SECRET, **changes: str) -> Result:
    options = {
        "uri": "kbs:///default/credential/registry", "class": "confidential", "model": "legal/registry-login",
        "version": "3", "kms": kms, "out": str(folder / "login.json"),
    } | changes  # fmt: skip
    spelt = [part for name, value in options.items() for part in (f"--{name}", value)]
    return CliRunner().invoke(cli, ["seal-resource", "-", *spelt, "--allow-unsafe-key", "--json"], input=secret)


@pytest.mark.parametrize(
    ("secret", "changes", "message"),
    [
        (b"", {}, "has 0 bytes, 1 to 32768 are allowed"),
        (bytes(MAX_SECRET_BYTES + 1), {}, "has 32769 bytes, 1 to 32768 are allowed"),
        (SECRET, {"uri": "kbs:///default/credential"}, "a resource is named by repository/type/tag"),
        (SECRET, {"uri": "https://x/a/b/c"}, "a key id of a key broker is kbs:///repository/type/tag"),
        (SECRET, {"class": "confidential+b+a"}, "compartments stand in order, each once"),
    ],
    ids=["nothing", "too much", "no resource", "no address", "no class"],
)
def test_what_cannot_be_a_resource_is_refused_and_nothing_is_written(
    tmp_path: Path, kms: str, secret: bytes, changes: dict[str, str], message: str
) -> None:
    done = seal(tmp_path, kms, secret, **changes)
    assert done.exit_code != 0
    assert message in done.output
    assert not (tmp_path / "login.json").exists()


def test_a_sealed_resource_is_read_by_the_broker_and_opened_by_its_key_alone(tmp_path: Path, kms: str) -> None:
    done = seal(tmp_path, kms)
    told = json.loads(done.output)
    data = (tmp_path / "login.json").read_bytes()
    path, found = parse_document(data)
    assert (path, told["uri"]) == ("default/credential/registry", "kbs:///default/credential/registry")
    assert found.question.manifest_digest == told["digest"]
    context = KeyContext("legal/registry-login", 3, "confidential")
    assert found.question.context == context
    data_key = open_key_service(kms, {}, allow_unsafe=True).unwrap(found.question.wrapped, context=context)
    assert open_resource(found.content, data_key, path=path) == SECRET
    assert SECRET not in data
    assert base64.b64encode(SECRET) not in data
    with pytest.raises(RefusedError):
        open_resource(found.content, data_key, path="default/credential/other")


def test_the_same_secret_is_sealed_under_another_key_each_time(tmp_path: Path, kms: str) -> None:
    outs = (str(tmp_path / name) for name in ("one.json", "two.json"))
    digests: set[Any] = {json.loads(seal(tmp_path, kms, out=out).output)["digest"] for out in outs}
    assert len(digests) == 2


def test_a_file_that_is_not_there_is_told_as_by_every_command(tmp_path: Path, kms: str) -> None:
    words = ("--uri", "kbs:///a/b/c", "--class", "confidential", "--model", "legal/x", "--version", "1", "--kms", kms)
    done = CliRunner().invoke(
        cli, ["seal-resource", str(tmp_path / "none"), *words, "-o", str(tmp_path / "out"), "--json"]
    )
    assert (done.exit_code, json.loads(done.stderr)["reason"]) == (9, "LocalFailure")


def test_a_document_that_is_there_is_not_overwritten(tmp_path: Path, kms: str) -> None:
    (tmp_path / "login.json").write_text("another")
    done = seal(tmp_path, kms)
    assert done.exit_code != 0
    assert "login.json" in done.output
    assert (tmp_path / "login.json").read_text() == "another"


def test_a_file_is_read_and_the_text_tells_what_a_policy_pins(tmp_path: Path, kms: str) -> None:
    (tmp_path / "secret").write_bytes(SECRET)
    arguments = ["seal-resource", str(tmp_path / "secret"), "--uri", "kbs:///a/b/c", "--class", "internal"]
    arguments += ["--model", "m", "--version", "1", "--kms", kms, "-o", str(tmp_path / "c.json"), "--allow-unsafe-key"]
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 0, done.output
    _, found = parse_document((tmp_path / "c.json").read_bytes())
    assert f"{found.question.manifest_digest}  (content; model.digest of a KeyReleasePolicy)" in done.output
