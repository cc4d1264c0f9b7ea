"""Sealed models below a prefix of a real S3 server: looked at, unsealed, and refused where they are not as sealed."""

import asyncio
import contextlib
import json
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sekisho.agent import fetch
from sekisho.api.v1alpha1.model import Inspection
from sekisho.depot.cluster import WeightsWish
from sekisho.depot.inspection import Question, inspect_source
from sekisho.depot.settings import SourceEntry
from sekisho.errors import Reason, RefusedError
from sekisho.seal.facts import BOM_NAME, KEY_NAME, MANIFEST_NAME, SIGNATURES_NAME, TABLE_NAME
from tests.unit.agent.sealed import PLAIN, SealedStage, make_keys, run_stage, seal_model
from tests.unit.agent.test_unsealing import expect, find_plain
from tests.unit.depot.artifacts import sealed_blobs
from tests.unit.depot.parts import NAMESPACE, SERVICE, settle
from tests.unit.depot.test_inspection import POLICY, trusted
from tests.unit.seal.sealing import IDENTITY

BUCKET, PREFIX = "weights", "legal/reviewer"
URI = f"s3://{BUCKET}/{PREFIX}"
Blobs = dict[str, bytes]


class Store:
    """A bucket, as its owner and as the depot see it."""

    def __init__(self, endpoint: str, folder: Path) -> None:
        import boto3  # noqa: PLC0415 - takes seconds, and every worker collects every test

        self.endpoint = endpoint
        self.client = boto3.client(
            "s3", endpoint_url=endpoint, region_name="eu-central-1", aws_access_key_id="owner",
            aws_secret_access_key="secret",
        )  # fmt: skip
        self.client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
        self.folder = folder
        folder.mkdir()
        (folder / "accessKeyId").write_text("depot")
        (folder / "secretAccessKey").write_text("secret")

    @property
    def entry(self) -> dict[str, Any]:
        return {
            "prefix": f"s3://{BUCKET}/", "endpoint": self.endpoint, "region": "eu-central-1", "plainHttp": True,
            "credentialsDir": str(self.folder), "credentialsSecret": "s3",
        }  # fmt: skip

    def put(self, blobs: Blobs, *, prefix: str = PREFIX) -> None:
        """Make the prefix hold these objects and no others."""
        for item in self.client.list_objects_v2(Bucket=BUCKET, Prefix=f"{prefix}/").get("Contents", []):
            self.client.delete_object(Bucket=BUCKET, Key=item["Key"])
        for name, data in blobs.items():
            self.client.put_object(Bucket=BUCKET, Key=f"{prefix}/{name}", Body=data)

    async def look(self, uri: str = URI) -> Inspection:
        question = Question(uri, None, POLICY, "a")
        entry = SourceEntry.model_validate(self.entry)
        return await inspect_source(question, entry, trusted("release"), most_bytes=1 << 30)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    from moto.server import ThreadedMotoServer  # noqa: PLC0415 - takes seconds, and every worker collects every test

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    endpoint = "http://{}:{}".format(*server.get_host_and_port())
    urllib.request.urlopen(f"{endpoint}/moto-api/reset", data=b"", timeout=60)  # its buckets are those of the process
    yield Store(endpoint, tmp_path / "secret")
    server.stop()


async def test_a_sealed_model_is_the_objects_below_a_prefix_and_nothing_beside_it(store: Store) -> None:
    store.put(sealed_blobs("release"))
    store.client.put_object(Bucket=BUCKET, Key=f"{PREFIX}-older/plain.bin", Body=b"of another prefix")
    store.client.put_object(Bucket=BUCKET, Key="legal/plain.bin", Body=b"beside it")
    for uri in (URI, f"{URI}/"):
        found = await store.look(uri)
        assert found.refusal is None, found.refusal
        assert (found.sealed, found.model, found.version) == (True, IDENTITY.name, IDENTITY.version)
        assert found.signed_by == ("release",)
        assert found.artifact_digest is None


def without(name: str) -> Callable[[Blobs], Blobs]:
    return lambda blobs: {key: data for key, data in blobs.items() if key != name}


def largest(blobs: Blobs) -> str:
    return max((name for name in blobs if name.startswith("files/")), key=lambda name: len(blobs[name]))


SPOILT: dict[str, tuple[Callable[[Blobs], Blobs], Reason, str]] = {
    "the manifest was changed": (
        lambda b: {**b, MANIFEST_NAME: b[MANIFEST_NAME].replace(b'"version":7', b'"version":9')},
        Reason.SIGNATURE_INVALID, MANIFEST_NAME,
    ),
    "nobody signed": (without(SIGNATURES_NAME), Reason.SIGNATURE_MISSING, "there is no sekisho.sig.json"),
    "a file is missing": (without("files/00001.sealed"), Reason.SEAL_BROKEN, "files of the manifest are missing"),
    "the table is missing": (without(TABLE_NAME), Reason.SEAL_BROKEN, "missing"),
    "the wrapped key is missing": (without(KEY_NAME), Reason.SEAL_BROKEN, "sekisho.key.json is missing"),
    "a plain file lies beside": (lambda b: {**b, "model.bin": b"plain"}, Reason.NOT_SEALED, '"model.bin"'),
    "a file lies among the sealed ones": (
        lambda b: {**b, "files/99999.sealed": b"more"}, Reason.NOT_SEALED, '"files/99999.sealed"'
    ),
    "a file was cut": (lambda b: {**b, largest(b): b[largest(b)][:-1]}, Reason.SEAL_BROKEN, "bytes"),
    "a file has more": (lambda b: {**b, largest(b): b[largest(b)] + b"x"}, Reason.SEAL_BROKEN, "bytes"),
}  # fmt: skip


@pytest.mark.parametrize("name", SPOILT)
async def test_what_is_not_as_it_was_sealed_is_refused_at_the_look(store: Store, name: str) -> None:
    spoil, reason, words = SPOILT[name]
    store.put(spoil(sealed_blobs("release")))
    found = await store.look()
    assert found.refusal is not None
    assert (found.sealed, found.refusal.reason) == (True, reason)
    assert words in found.refusal.message
    assert found.manifest_digest is None, "nothing of it is believed"


async def test_an_object_whose_name_climbs_is_refused(store: Store) -> None:
    store.put(sealed_blobs("release"))
    store.client.put_object(Bucket=BUCKET, Key=f"{PREFIX}/.hidden", Body=b"x")
    with pytest.raises(RefusedError, match="is absolute, climbs, is hidden or unusual") as caught:
        await store.look()
    assert caught.value.reason is Reason.SOURCE_INVALID


async def test_a_prefix_that_holds_nothing_is_not_found(store: Store) -> None:
    with pytest.raises(RefusedError, match="was not found") as caught:
        await store.look(f"s3://{BUCKET}/nothing/here")
    assert caught.value.reason is Reason.SOURCE_NOT_FOUND


@contextlib.asynccontextmanager
async def pod(store: Store, folder: Path) -> AsyncIterator[SealedStage]:
    """A pod whose depot has the model from the bucket."""
    folder.mkdir()
    async with run_stage(folder) as stage:
        (folder / "sources.json").write_text(json.dumps([store.entry]))
        stage.cluster.wishes[NAMESPACE, SERVICE] = WeightsWish(URI, None, 1 << 30)
        store.put(stage.sealed.blobs)
        yield stage


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "_POLL_SECONDS", 0.05)


async def test_a_pod_unseals_from_a_bucket(store: Store, tmp_path: Path) -> None:
    async with pod(store, tmp_path / "pod") as stage:
        await stage.step()
        await settle(lambda: stage.condition.get("status") == "True")
        assert {path: (stage.volume / path).read_bytes() for path in stage.models} == PLAIN
        assert find_plain(tmp_path) == []


def flip(blobs: Blobs) -> Blobs:
    name = largest(blobs)
    return {**blobs, name: bytes([blobs[name][0] ^ 1]) + blobs[name][1:]}


def swap(blobs: Blobs) -> Blobs:
    return {
        **blobs,
        "files/00000.sealed": blobs["files/00003.sealed"],
        "files/00003.sealed": blobs["files/00000.sealed"],
    }


AFTER_THE_LOOK: dict[str, tuple[Callable[[Blobs], Blobs], Reason, str]] = {
    "a byte was flipped": (flip, Reason.SEAL_BROKEN, "has digest sha256:"),
    "two files were swapped": (swap, Reason.SEAL_BROKEN, "files/00000.sealed"),
    "a file is gone": (without("files/00002.sealed"), Reason.SEAL_BROKEN, "files of the manifest are missing"),
    "a plain file came": (lambda b: {**b, "model.bin": b"plain"}, Reason.NOT_SEALED, '"model.bin"'),
    "everything is plain": (lambda _b: {"model.gguf": b"plain"}, Reason.NOT_SEALED, "it is not sealed"),
    "the table is another": (
        lambda b: {**b, TABLE_NAME: bytes(len(b[TABLE_NAME]))}, Reason.SEAL_BROKEN, "is not the table that the manifest"
    ),
    "the bill of materials came": (lambda b: {**b, BOM_NAME: b"{}"}, Reason.NOT_SEALED, BOM_NAME),
}  # fmt: skip


@pytest.mark.parametrize("name", AFTER_THE_LOOK)
async def test_what_was_changed_in_the_bucket_after_the_look_is_refused_by_the_pod(
    store: Store, tmp_path: Path, name: str
) -> None:
    change, reason, words = AFTER_THE_LOOK[name]
    async with pod(store, tmp_path / "pod") as stage:
        store.put(change(dict(stage.sealed.blobs)))
        await expect(stage, reason, words)


async def test_an_older_version_that_was_put_back_is_refused_by_the_pod(store: Store, tmp_path: Path) -> None:
    async with pod(store, tmp_path / "pod") as stage:
        older = seal_model(make_keys(stage.keys_dir), identity=type(IDENTITY)(
            name=IDENTITY.name, version=IDENTITY.version - 1, data_class=IDENTITY.data_class
        ))  # fmt: skip
        store.put(older.blobs)
        await expect(stage, Reason.VERSION_ROLLED_BACK, "version 7 was accepted")


async def test_an_object_that_changes_while_it_is_read_is_read_anew(store: Store, tmp_path: Path) -> None:
    async with pod(store, tmp_path / "pod") as stage:
        whole = dict(stage.sealed.blobs)
        store.put(flip(whole))
        await expect(stage, Reason.SEAL_BROKEN, "has digest sha256:")
        store.put(whole)
        stage.depot.api.fetches._jobs.clear()
        stage.agent.stop.set()
        await asyncio.to_thread(stage.agent.run)
        stage.agent = stage.make_agent()
        await stage.step()
        await settle(lambda: stage.condition.get("status") == "True")
