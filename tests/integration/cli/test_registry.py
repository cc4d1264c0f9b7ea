import base64
import hashlib
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from sekisho.depot.settings import SourceEntry
from sekisho.depot.sources.listing import check_listing
from sekisho.depot.sources.oci import open_oci
from tests.integration.depot.registry import run_registry
from tests.unit.cli.parts import build_bench, read_refusal, run_cli
from tests.unit.seal.signing import ed25519_key, pem_of

pytestmark = pytest.mark.integration


def test_a_registry_that_sends_other_bytes_is_refused_when_pulling(tmp_path: Path) -> None:
    bench = build_bench(tmp_path)
    bench.seal()
    with run_registry(tmp_path / "registry") as registry:
        place = f"oci://{registry.host}/models/reviewer:7"
        assert run_cli(["push", str(bench.out), place, "--plain-http"]).returncode == 0
        blob = bench.out / "files" / "00001.sealed"
        digest = f"sha256:{hashlib.sha256(blob.read_bytes()).hexdigest()}"
        stored = registry.blob_file(digest)
        stored.write_bytes(bytes(stored.stat().st_size))
        done = run_cli(["pull", place, "--out", str(tmp_path / "pulled"), "--plain-http", "--json"])
    assert done.returncode == 4
    reason, message = read_refusal(done)
    assert reason == "DigestMismatch"
    assert "files/00001.sealed" in message
    assert not (tmp_path / "pulled").exists()


def test_plain_http_is_spoken_only_when_asked_for(tmp_path: Path) -> None:
    bench = build_bench(tmp_path)
    bench.seal()
    with run_registry(tmp_path / "registry") as registry:
        done = run_cli(["push", str(bench.out), f"oci://{registry.host}/models/reviewer:7", "--json"])
    assert done.returncode == 8
    assert read_refusal(done)[0] == "SourceUnreachable"


def test_a_wrong_password_is_refused_and_the_right_one_is_taken_from_dockers_configuration(tmp_path: Path) -> None:
    bench = build_bench(tmp_path)
    bench.seal()
    with run_registry(tmp_path / "registry", password="right") as registry:
        place = f"oci://{registry.host}/models/reviewer:7"
        for password, code in (("wrong", 3), ("right", 0)):
            word = base64.b64encode(f"reader:{password}".encode()).decode()
            (tmp_path / "config.json").write_text(json.dumps({"auths": {registry.host: {"auth": word}}}))
            words = ["push", str(bench.out), place, "--plain-http", "--json"]
            done = run_cli(words, DOCKER_CONFIG=str(tmp_path))
            assert done.returncode == code, done.stderr
            assert password not in done.stderr


def write_signer(folder: Path) -> tuple[Path, Path]:
    """Write a signer's private key, and whom to trust."""
    secret, trust = folder / "owner.pem", folder / "trust.json"
    key = ed25519_key("owner")
    secret.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    secret.chmod(0o600)
    trust.write_text(json.dumps([{"name": "model-release", "publicKeys": [pem_of(key)]}]))
    return secret, trust


async def test_what_was_pushed_pulls_verifies_and_is_an_ordinary_model_to_the_depot(tmp_path: Path) -> None:
    bench = build_bench(tmp_path, big=40_000_000)
    bench.seal()
    key, trust = write_signer(tmp_path)
    assert run_cli(["sign", str(bench.out), "--key", str(key)]).returncode == 0
    with run_registry(tmp_path / "registry") as registry:
        done = run_cli(["push", str(bench.out), f"oci://{registry.host}/models/reviewer:7", "--plain-http", "--json"])
        assert done.returncode == 0, done.stderr
        uri = json.loads(done.stdout)["storageUri"]
        again = run_cli(["push", str(bench.out), f"oci://{registry.host}/models/reviewer:7", "--plain-http", "--json"])
        assert json.loads(again.stdout)["storageUri"] == uri
        pulled = tmp_path / "pulled"
        got = run_cli(["pull", uri, "--out", str(pulled), "--plain-http", "--json"])
        assert got.returncode == 0, got.stderr
        entry = SourceEntry(prefix=f"oci://{registry.host}/", plain_http=True)
        async with open_oci(uri, entry, None, expected=None) as source:
            files = check_listing((await source.list_files()).files, limit_bytes=1 << 30, uri=uri)
            for file in files:
                data = b"".join([chunk async for chunk in source.read(file, 0)])
                assert data == (bench.out / file.path).read_bytes()
    names = {place.relative_to(bench.out).as_posix() for place in bench.out.rglob("*") if place.is_file()}
    assert {file.path for file in files} == names
    words = ["verify", str(pulled), "--trust", str(trust), "--kms", bench.kms, "--allow-unsafe-key", "--json"]
    done = run_cli(words)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["signedBy"] == ["model-release"]
