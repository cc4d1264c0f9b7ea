"""Weights from a real registry: what is wrong is refused with a reason, what is right arrives verified."""

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from sekisho.depot.settings import SourceEntry
from sekisho.errors import Reason
from tests.integration.depot.registry import MANIFEST, Registry, run_registry
from tests.unit.depot.parts import Keys, build_keys
from tests.unit.depot.test_fetches import Depot

INDEX = "application/vnd.oci.image.index.v1+json"
PASSWORD = "a-long-password"
FILES = {"config.json": b'{"a": 1}', "model.gguf": os.urandom(3 << 20)}


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return build_keys(tmp_path_factory.mktemp("keys"), "127.0.0.1")


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory, keys: Keys) -> Iterator[Registry]:
    with run_registry(tmp_path_factory.mktemp("registry"), keys=keys, password=PASSWORD) as registry:
        yield registry


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with run_registry(tmp_path_factory.mktemp("plain")) as registry:
        yield registry


def build_entry(registry: Registry, folder: Path, *, password: str = PASSWORD) -> SourceEntry:
    folder.mkdir()
    (folder / "username").write_text("reader")
    (folder / "password").write_text(password)
    assert registry.keys is not None
    return SourceEntry(
        prefix=f"oci://{registry.host}/", credentials_dir=str(folder), credentials_secret="registry",
        ca_file=str(registry.keys.ca),
    )  # fmt: skip


async def test_a_registry_denies_a_wrong_password(closed: Registry, tmp_path: Path) -> None:
    closed.push("models/a", "v1", FILES)
    depot = Depot(tmp_path / "cache", build_entry(closed, tmp_path / "secret", password="wrong-password"))
    error = await depot.refuse(f"oci://{closed.host}/models/a:v1")
    assert (error.reason, error.retry) == (Reason.SOURCE_DENIED, False)
    assert "status 401; check the credentials" in error.message
    assert "wrong-password" not in error.message


async def test_a_registry_that_wants_credentials_gets_none_it_was_not_given(closed: Registry, tmp_path: Path) -> None:
    assert closed.keys is not None
    entry = SourceEntry(prefix=f"oci://{closed.host}/", ca_file=str(closed.keys.ca))
    error = await Depot(tmp_path, entry).refuse(f"oci://{closed.host}/models/a:v1")
    assert error.reason is Reason.SOURCE_DENIED
    assert "it needs credentials" in error.message


async def test_a_tag_that_does_not_exist_is_not_found(closed: Registry, tmp_path: Path) -> None:
    depot = Depot(tmp_path / "cache", build_entry(closed, tmp_path / "secret"))
    error = await depot.refuse(f"oci://{closed.host}/models/none:v9")
    assert error.reason is Reason.SOURCE_NOT_FOUND
    assert "(status 404)" in error.message


async def test_a_registry_without_trusted_certificate_is_unreachable(closed: Registry, tmp_path: Path) -> None:
    error = await Depot(tmp_path, SourceEntry(prefix=f"oci://{closed.host}/")).refuse(
        f"oci://{closed.host}/models/a:v1"
    )
    assert (error.reason, error.retry) == (Reason.SOURCE_UNREACHABLE, True)
    assert "its certificate is not trusted" in error.message


async def test_plain_http_is_spoken_only_where_it_is_configured(plain: Registry, tmp_path: Path) -> None:
    plain.push("models/a", "v1", FILES)
    uri = f"oci://{plain.host}/models/a:v1"
    error = await Depot(tmp_path / "a", SourceEntry(prefix=f"oci://{plain.host}/")).refuse(uri)
    assert error.reason is Reason.SOURCE_UNREACHABLE
    result = await Depot(tmp_path / "b", SourceEntry(prefix=f"oci://{plain.host}/", plain_http=True)).get(uri)
    assert [file.path for file in result.files] == sorted(FILES)


async def test_a_digest_that_the_model_does_not_expect_is_refused(closed: Registry, tmp_path: Path) -> None:
    digest = closed.push("models/a", "v1", FILES)
    depot = Depot(tmp_path / "cache", build_entry(closed, tmp_path / "secret"))
    wrong = f"sha256:{'2' * 64}"
    error = await depot.refuse(f"oci://{closed.host}/models/a@{digest}", digest=wrong)
    assert error.reason is Reason.DIGEST_MISMATCH
    assert digest in error.message
    assert wrong in error.message


async def test_a_tag_of_another_digest_than_the_model_expects_is_refused(closed: Registry, tmp_path: Path) -> None:
    digest = closed.push("models/a", "v1", FILES)
    depot = Depot(tmp_path / "cache", build_entry(closed, tmp_path / "secret"))
    wrong = f"sha256:{'2' * 64}"
    error = await depot.refuse(f"oci://{closed.host}/models/a:v1", digest=wrong)
    assert error.reason is Reason.DIGEST_MISMATCH
    assert f"has digest {digest}, the Model expects {wrong}" in error.message


async def test_a_blob_that_was_changed_in_the_registry_is_thrown_away(closed: Registry, tmp_path: Path) -> None:
    data = os.urandom(1 << 20)
    digest = closed.push("models/spoiled", "v1", {"model.gguf": data})
    closed.blob_file(f"sha256:{hashlib.sha256(data).hexdigest()}").write_bytes(b"x" * len(data))
    depot = Depot(tmp_path / "cache", build_entry(closed, tmp_path / "secret"))
    error = await depot.refuse(f"oci://{closed.host}/models/spoiled@{digest}")
    assert error.reason is Reason.DIGEST_MISMATCH
    assert '"model.gguf" has digest' in error.message
    assert depot.files("blobs") == depot.files("partial") == []


async def test_layers_without_names_are_refused_with_the_next_step(closed: Registry, tmp_path: Path) -> None:
    closed.push("models/image", "v1", FILES, titles=False)
    depot = Depot(tmp_path / "cache", build_entry(closed, tmp_path / "secret"))
    error = await depot.refuse(f"oci://{closed.host}/models/image:v1")
    assert error.reason is Reason.SOURCE_INVALID
    assert "as `oras push` does" in error.message


async def test_a_layer_that_climbs_out_of_the_folder_is_refused(closed: Registry, tmp_path: Path) -> None:
    closed.push("models/climb", "v1", {"../../etc/passwd": b"x"})
    depot = Depot(tmp_path / "cache", build_entry(closed, tmp_path / "secret"))
    error = await depot.refuse(f"oci://{closed.host}/models/climb:v1")
    assert error.reason is Reason.SOURCE_INVALID
    assert "climbs" in error.message


async def test_weights_larger_than_allowed_are_refused_before_a_blob_is_read(closed: Registry, tmp_path: Path) -> None:
    closed.push("models/a", "v1", FILES)
    depot = Depot(tmp_path / "cache", build_entry(closed, tmp_path / "secret"))
    error = await depot.refuse(f"oci://{closed.host}/models/a:v1", limit=1 << 20)
    assert error.reason is Reason.SIZE_EXCEEDED
    assert "1048576 allowed" in error.message
    assert depot.files("partial") == []


async def test_an_artifact_arrives_whole_by_tag_by_digest_and_through_an_index(
    closed: Registry, tmp_path: Path
) -> None:
    digest = closed.push("models/a", "v1", FILES)
    size = int(closed.request("HEAD", f"/v2/models/a/manifests/{digest}", Accept=MANIFEST).headers["Content-Length"])
    index = {
        "schemaVersion": 2,
        "mediaType": INDEX,
        "manifests": [{"mediaType": MANIFEST, "digest": digest, "size": size}],
    }
    top = closed.put_manifest("models/a", "indexed", index, INDEX)
    depot = Depot(tmp_path / "cache", build_entry(closed, tmp_path / "secret"))
    for reference, expected in ((":v1", digest), (f"@{digest}", digest), (":indexed", top)):
        result = await depot.get(f"oci://{closed.host}/models/a{reference}", digest=expected)
        assert result.digest == expected
        assert result.total_bytes == sum(len(data) for data in FILES.values())
    for file in result.files:
        path = depot.cache.find(file.digest)
        assert path is not None
        assert path.read_bytes() == FILES[file.path]


async def test_docker_config_json_serves_as_credentials(closed: Registry, tmp_path: Path) -> None:
    closed.push("models/a", "v1", FILES)
    entry = build_entry(closed, tmp_path / "secret")
    for name in ("username", "password"):
        (tmp_path / "secret" / name).unlink()
    auths = {"auths": {closed.host: {"username": "reader", "password": PASSWORD}}}
    (tmp_path / "secret" / ".dockerconfigjson").write_text(json.dumps(auths))
    assert len((await Depot(tmp_path / "cache", entry).get(f"oci://{closed.host}/models/a:v1")).files) == 2


async def test_a_pinned_artifact_is_served_while_the_registry_is_gone(tmp_path: Path, keys: Keys) -> None:
    with run_registry(tmp_path / "registry", keys=keys, password=PASSWORD) as registry:
        digest = registry.push("models/a", "v1", FILES)
        entry = build_entry(registry, tmp_path / "secret")
        uri = f"oci://{registry.host}/models/a"
        await Depot(tmp_path / "cache", entry).get(f"{uri}@{digest}")
    again = Depot(tmp_path / "cache", entry)
    assert (await again.get(f"{uri}@{digest}")).digest == digest
    error = await again.refuse(f"{uri}:v1")
    assert error.reason is Reason.SOURCE_UNREACHABLE
    assert "Connection refused" in error.message
