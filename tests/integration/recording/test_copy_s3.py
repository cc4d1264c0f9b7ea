"""The copy of the ledger in a real S3 server: what is in the bucket verifies by itself, and text ends there as well."""

import asyncio
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from sekisho.errors import Reason, UnavailableError
from sekisho.ledger.handover import name_writer
from sekisho.ledger.notes import parse_key
from sekisho.ledger.verify import name_key, verify_chains, verify_log
from sekisho.recording.reading import find_logs
from sekisho.recording.record import Record, RecordLimits
from sekisho.recording.settings import RecordingSettings, Writer, build_record
from sekisho.recording.store import ObjectStore, StoreAddress

BUCKET = "ledger"


@dataclass
class Bucket:
    endpoint: str
    client: Any
    credentials: Path

    def names(self) -> list[str]:
        return [item["Key"] for item in self.client.list_objects_v2(Bucket=BUCKET).get("Contents", [])]

    def fetch(self, folder: Path) -> Path:
        """Copy the bucket into a folder, as its owner would."""
        for name in self.names():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self.client.get_object(Bucket=BUCKET, Key=name)["Body"].read())
        return folder


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[Bucket]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    endpoint = "http://{}:{}".format(*server.get_host_and_port())
    urllib.request.urlopen(f"{endpoint}/moto-api/reset", data=b"", timeout=60)  # its buckets are those of the process
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="eu-central-1",
        aws_access_key_id="owner",
        aws_secret_access_key="secret",
    )
    client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    credentials = tmp_path / "secret"
    credentials.mkdir()
    (credentials / "accessKeyId").write_text("gateway\n")
    (credentials / "secretAccessKey").write_text("secret\n")
    yield Bucket(endpoint, client, credentials)
    client.close()
    server.stop()


def build(folder: Path, bucket: Bucket, *, pod: str = "gateway-0", **more: str) -> Record:
    environ = {
        "SEKISHO_RECORD_COPY_TO": f"s3://{BUCKET}/tokyo", "SEKISHO_RECORD_COPY_ENDPOINT": bucket.endpoint,
        "SEKISHO_RECORD_COPY_REGION": "eu-central-1", "SEKISHO_RECORD_COPY_CREDENTIALS": str(bucket.credentials),
        "SEKISHO_RECORD_COPY_PLAIN_HTTP": "true", **more,
    }  # fmt: skip
    limits = RecordLimits(segment_bytes=20_000, commit_seconds=60)
    writer = Writer(folder, "gateway", pod, limits)
    return build_record(
        writer, RecordingSettings.read(environ), refusal="no", observe=lambda seconds, entries: None
    )  # fmt: skip


async def fill(record: Record, count: int) -> None:
    for number in range(count):
        await record.append({"kind": "request", "n": number})
    await record.checkpoint()


async def live(record: Record) -> None:
    """Write and copy by turns, and end as a pod does that is replaced."""
    record.open()
    for count in (3, 60, 200):
        await fill(record, count)
        await asyncio.to_thread(record._keeper.turn)
    await fill(record, 9)
    await record.close()


@pytest.mark.slow
async def test_two_replicas_that_copy_to_one_prefix_at_once_each_leave_a_whole_log(
    tmp_path: Path, bucket: Bucket
) -> None:
    pods = ("gateway-0", "gateway-1")
    await asyncio.gather(*(live(build(tmp_path / pod, bucket, pod=pod)) for pod in pods))
    keys = {key.name: key for pod in pods if (key := parse_key((tmp_path / pod / "log.pub").read_text()))}
    found = find_logs(bucket.fetch(tmp_path / "fetched"))
    chains = verify_chains(
        [verify_log(log.read, name_key(keys[name_writer(log.head.origin)], log.head.origin)) for log in found]
    )
    assert {chain.name: chain.beginnings for chain in chains} == dict.fromkeys(keys, 1)
    for pod, chain in zip(pods, chains, strict=True):
        assert [log.checkpoint for log in chain.logs] == [log.head for log in find_logs(tmp_path / pod / "logs")]


async def test_a_store_that_is_not_there_is_told_without_its_answers(tmp_path: Path, bucket: Bucket) -> None:
    address = StoreAddress("s3://nothing/here", bucket.endpoint, "eu-central-1", bucket.credentials, plain_http=True)
    with pytest.raises(UnavailableError) as refusal:
        ObjectStore(address).put("a/checkpoint", b"x")
    assert refusal.value.reason is Reason.RECORD_UNAVAILABLE
    assert refusal.value.message.startswith("a/checkpoint cannot be copied to s3://nothing/here (")
    assert bucket.endpoint not in refusal.value.message
    ObjectStore(replace(address, url=f"s3://{BUCKET}")).clear("nothing/")


@pytest.mark.slow
async def test_what_is_in_the_bucket_verifies_by_itself_and_its_text_ends_with_its_time(
    tmp_path: Path, bucket: Bucket
) -> None:
    record = build(tmp_path / "record", bucket, SEKISHO_RECORD_RETENTION_DAYS="0.0000001")
    record.open()
    try:
        for count in (5, 300):
            await fill(record, count)
            record._keeper.turn()
        for _ in range(2):  # what retention did in the first turn is recorded, and copied in the second
            record._keeper.turn()
            await record.checkpoint()
        record._keeper.turn()
        assert record.lag.problem == ""
        assert record.lag.entries == 0
        head = record.head
    finally:
        await record.close()
    assert all(name.startswith("tokyo/sekisho/gateway/gateway-0/20") for name in bucket.names())
    key = parse_key((tmp_path / "record/log.pub").read_text())
    found = find_logs(bucket.fetch(tmp_path / "fetched"))
    (chain,) = verify_chains([verify_log(log.read, name_key(key, log.head.origin)) for log in found])
    assert chain.logs[-1].checkpoint == head
    assert [bool(log.expired) for log in chain.logs] == [True] * (len(found) - 1) + [False]
    assert (len(found) > 1, chain.beginnings) == (True, 1)
    for log in found[:-1]:
        assert not list(Path(log.place).glob("tile/entries/*"))
