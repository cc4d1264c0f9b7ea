"""Fetching models from HTTPS servers and S3 stores: every way it can go wrong, then the ways it goes right."""

import asyncio
import contextlib
import hashlib
import os
import random
import threading
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from sekisho.depot import cache, fetches
from sekisho.depot.cache import BlobCache
from sekisho.depot.cluster import WeightsWish
from sekisho.depot.fetches import Fetches, FetchProgress, WeightsSet, name_origin
from sekisho.depot.settings import SourceEntry
from sekisho.depot.sources.listing import RemoteFile
from sekisho.errors import Reason, RefusedError, SekishoError, UnavailableError
from tests.unit.depot.artifacts import entry_of, push, sealed_blobs, uri_of
from tests.unit.depot.parts import FileServer, Keys, build_keys, check_signature, serve_files, settle

LIMIT = 64 << 20
DATA = os.urandom(3 << 20)
DIGEST = f"sha256:{hashlib.sha256(DATA).hexdigest()}"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return build_keys(tmp_path_factory.mktemp("keys"), "127.0.0.1")


class Depot:
    """Cache and fetches over one source, with a clock that only moves when told."""

    def __init__(self, folder: Path, *entries: SourceEntry, limit: int = LIMIT, anonymous: bool = False) -> None:
        self.now = 0.0
        self.cache = BlobCache(folder, limit, margin_bytes=0)
        self.cache.open()
        self.fetches = Fetches(self.cache, lambda: entries, anonymous=anonymous, clock=lambda: self.now)

    async def get(self, uri: str, *, digest: str | None = None, limit: int = LIMIT, sealed: bool = False) -> WeightsSet:
        wish = WeightsWish(uri, digest, limit, sealed)
        for _ in range(3000):
            answer = self.fetches.ask(wish)
            if isinstance(answer, WeightsSet):
                return answer
            await asyncio.sleep(0.01)
        raise TimeoutError

    def now_or_later(self, wish: WeightsWish, namespace: str) -> WeightsSet | FetchProgress | None:
        """Ask for a namespace; an old failure is waited out."""
        self.now += 100
        with contextlib.suppress(SekishoError):
            return self.fetches.ask(wish, namespace=namespace)
        return None

    async def recover(self, uri: str, *, digest: str | None = None) -> WeightsSet:
        """Wait until what failed before works; until then the old failure is told."""
        for _ in range(1000):
            with contextlib.suppress(SekishoError):
                return await self.get(uri, digest=digest)
            await asyncio.sleep(0.01)
        raise TimeoutError

    async def refuse(self, uri: str, *, digest: str | None = None, limit: int = LIMIT) -> SekishoError:
        with pytest.raises(SekishoError) as caught:
            await self.get(uri, digest=digest, limit=limit)
        return caught.value

    def files(self, kind: str) -> list[str]:
        return sorted(path.name for path in (self.cache.root / kind).iterdir())


def name_partial(folder: Path, origin: str) -> Path:
    return folder / "partial" / f"d-{DIGEST[7:]}-{hashlib.sha256(origin.encode()).hexdigest()[:32]}"


def entry(keys: Keys, host: str, **more: object) -> SourceEntry:
    return SourceEntry.model_validate({"prefix": f"https://{host}/models", "ca_file": str(keys.ca), **more})


async def test_a_source_that_nobody_configured_is_not_asked(tmp_path: Path, keys: Keys) -> None:
    with serve_files(FileServer({"/models/a.gguf": DATA}), keys) as server:
        error = await Depot(tmp_path, SourceEntry(prefix="https://other.test/")).refuse(
            f"https://{server.host}/models/a.gguf"
        )
        assert error.reason is Reason.SOURCE_NOT_ALLOWED
        assert "configured: https://other.test/" in error.message
        assert "depot.sources" in error.message
        assert server.requests == []


async def test_a_missing_file_is_not_found(tmp_path: Path, keys: Keys) -> None:
    with serve_files(FileServer(), keys) as server:
        error = await Depot(tmp_path, entry(keys, server.host)).refuse(f"https://{server.host}/models/a.gguf")
    assert error.reason is Reason.SOURCE_NOT_FOUND
    assert "was not found" in error.message


async def test_a_volume_that_cannot_be_used_is_told_and_not_tried_again_at_once(tmp_path: Path, keys: Keys) -> None:
    with serve_files(FileServer({"/models/a.gguf": DATA}), keys) as server:
        depot = Depot(tmp_path, entry(keys, server.host))
        (tmp_path / "partial").rmdir()
        (tmp_path / "partial").write_bytes(b"")
        uri = f"https://{server.host}/models/a.gguf"
        error = await depot.refuse(uri, digest=DIGEST)
        assert (error.reason, error.retry) == (Reason.DEPOT_FULL, True)
        assert error.message == "the depot's volume cannot be used: Not a directory"
        asked = len(server.requests)
        assert (await depot.refuse(uri, digest=DIGEST)).message == error.message
        assert len(server.requests) == asked


async def test_what_nobody_foresaw_is_told_and_not_tried_again_at_once(tmp_path: Path) -> None:
    depot, asked = Depot(tmp_path), list[int]()

    def fail() -> list[SourceEntry]:
        asked.append(1)
        raise ZeroDivisionError

    depot.fetches.sources = fail
    for _ in range(2):
        error = await depot.refuse("https://models.test/a.gguf", digest=DIGEST)
        assert (error.reason, error.retry) == (Reason.INTERNAL_ERROR, True)
        assert "ended with ZeroDivisionError" in error.message
    assert len(asked) == 1


async def test_a_server_whose_certificate_nobody_vouches_for_is_unreachable(tmp_path: Path, keys: Keys) -> None:
    with serve_files(FileServer({"/models/a.gguf": DATA}), keys) as server:
        untrusting = SourceEntry(prefix=f"https://{server.host}/models")
        error = await Depot(tmp_path, untrusting).refuse(f"https://{server.host}/models/a.gguf")
    assert (error.reason, error.retry) == (Reason.SOURCE_UNREACHABLE, True)


async def test_a_server_that_does_not_listen_is_unreachable(tmp_path: Path, keys: Keys) -> None:
    with serve_files(FileServer(), keys) as server:
        host = server.host
    error = await Depot(tmp_path, entry(keys, host)).refuse(f"https://{host}/models/a.gguf")
    assert (error.reason, error.retry) == (Reason.SOURCE_UNREACHABLE, True)
    assert "cannot be reached" in error.message


async def test_a_missing_secret_is_named_and_nothing_is_asked(tmp_path: Path, keys: Keys) -> None:
    with serve_files(FileServer({"/models/a.gguf": DATA}), keys) as server:
        source = entry(keys, server.host, credentials_dir=str(tmp_path / "none"), credentials_secret="hub")
        error = await Depot(tmp_path / "cache", source).refuse(f"https://{server.host}/models/a.gguf")
        assert error.reason is Reason.CREDENTIALS_MISSING
        assert 'Secret "hub"' in error.message
        assert server.requests == []


async def test_wrong_credentials_are_denied_and_appear_nowhere(tmp_path: Path, keys: Keys) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "username").write_text("reader")
    (secret / "password").write_text("a-wrong-password")
    server = FileServer({"/models/a.gguf": DATA}, allow=lambda r: r.headers.get("Authorization") == "Basic right")
    with serve_files(server, keys):
        source = entry(keys, server.host, credentials_dir=str(secret))
        error = await Depot(tmp_path / "cache", source).refuse(f"https://{server.host}/models/a.gguf")
    assert (error.reason, error.retry) == (Reason.SOURCE_DENIED, False)
    assert "check the credentials" in error.message
    assert "a-wrong-password" not in error.message


async def test_content_that_hashes_otherwise_is_thrown_away(tmp_path: Path, keys: Keys) -> None:
    wrong = f"sha256:{'0' * 64}"
    with serve_files(FileServer({"/models/a.gguf": DATA}), keys) as server:
        depot = Depot(tmp_path, entry(keys, server.host))
        error = await depot.refuse(f"https://{server.host}/models/a.gguf", digest=wrong)
    assert (error.reason, error.retry) == (Reason.DIGEST_MISMATCH, False)
    assert DIGEST in error.message
    assert wrong in error.message
    assert depot.files("blobs") == depot.files("partial") == []


async def test_weights_larger_than_their_owner_stated_are_refused_before_a_byte_is_read(
    tmp_path: Path, keys: Keys
) -> None:
    with serve_files(FileServer({"/models/a.gguf": DATA}), keys) as server:
        error = await Depot(tmp_path, entry(keys, server.host)).refuse(
            f"https://{server.host}/models/a.gguf", limit=1000
        )
        assert error.reason is Reason.SIZE_EXCEEDED
        assert f"holds {len(DATA)} bytes, 1000 allowed" in error.message
        assert [line.split()[0] for line in server.requests] == ["HEAD"]


async def test_a_file_longer_than_its_source_stated_is_cut_off(tmp_path: Path, keys: Keys) -> None:
    with serve_files(FileServer({"/models/a.gguf": DATA}, lie_about_size=1000), keys) as server:
        depot = Depot(tmp_path, entry(keys, server.host))
        error = await depot.refuse(f"https://{server.host}/models/a.gguf")
    assert error.reason is Reason.SIZE_EXCEEDED
    assert "is longer than the" in error.message
    assert depot.files("blobs") == []


async def test_a_file_that_no_cache_could_hold_says_so(tmp_path: Path, keys: Keys) -> None:
    with serve_files(FileServer({"/models/a.gguf": DATA}), keys) as server:
        depot = Depot(tmp_path, entry(keys, server.host), limit=2 << 20)
        error = await depot.refuse(f"https://{server.host}/models/a.gguf")
    assert error.reason is Reason.DEPOT_FULL
    assert "a file of 3 MiB cannot be kept" in error.message


async def test_a_full_cache_evicts_what_nobody_uses_and_refuses_when_all_is_in_use(tmp_path: Path, keys: Keys) -> None:
    files = {f"/models/{name}": os.urandom(3 << 20) for name in "abc"}
    with serve_files(FileServer(files), keys) as server:
        depot = Depot(tmp_path, entry(keys, server.host), limit=7 << 20)
        base = f"https://{server.host}/models"
        first = await depot.get(f"{base}/a")
        second = await depot.get(f"{base}/b")
        depot.cache.pin(second.digest, "pod 1")
        third = await depot.get(f"{base}/c")
        assert depot.cache.find(first.digest) is None
        assert depot.cache.find(second.digest) is not None
        depot.cache.pin(third.digest, "pod 2")
        depot.now += 1000
        error = await depot.refuse(f"{base}/a")
        assert (error.reason, error.retry) == (Reason.DEPOT_FULL, True)
        assert "3 MiB are needed, 6 of 7 MiB are in use" in error.message
        depot.cache.unpin("pod 1")
        depot.now += 1000
        assert (await depot.recover(f"{base}/a")).digest == first.digest
        assert depot.cache.used_bytes <= 7 << 20


async def test_a_transfer_that_breaks_off_goes_on_where_it_ended(tmp_path: Path, keys: Keys) -> None:
    with serve_files(FileServer({"/models/a.gguf": DATA}, cut_after=1 << 20, cuts=2), keys) as server:
        depot = Depot(tmp_path, entry(keys, server.host))
        result = await depot.get(f"https://{server.host}/models/a.gguf", digest=DIGEST)
        ranges = [line for line in server.requests if "bytes=" in line]
    assert result.digest == DIGEST
    assert ranges
    assert (tmp_path / "blobs" / DIGEST[7:]).read_bytes() == DATA


async def test_a_partial_file_of_a_former_process_is_used(tmp_path: Path, keys: Keys) -> None:
    (tmp_path / "partial").mkdir(parents=True)
    with serve_files(FileServer({"/models/a.gguf": DATA}), keys) as server:
        name_partial(tmp_path, f"https://{server.host}/models/a.gguf").write_bytes(DATA[: 2 << 20])
        await Depot(tmp_path, entry(keys, server.host)).get(f"https://{server.host}/models/a.gguf", digest=DIGEST)
        gets = [line for line in server.requests if line.startswith("GET")]
    assert gets == [f"GET /models/a.gguf bytes={2 << 20}-"]


async def test_a_partial_file_with_wrong_bytes_is_found_out(tmp_path: Path, keys: Keys) -> None:
    (tmp_path / "partial").mkdir(parents=True)
    with serve_files(FileServer({"/models/a.gguf": DATA}), keys) as server:
        name_partial(tmp_path, f"https://{server.host}/models/a.gguf").write_bytes(b"x" * 1000)
        depot = Depot(tmp_path, entry(keys, server.host))
        error = await depot.refuse(f"https://{server.host}/models/a.gguf", digest=DIGEST)
        assert error.reason is Reason.DIGEST_MISMATCH
        depot.now += 100
        assert (await depot.recover(f"https://{server.host}/models/a.gguf", digest=DIGEST)).digest == DIGEST


async def test_many_askers_cause_one_fetch(tmp_path: Path, keys: Keys) -> None:
    with serve_files(FileServer({"/models/a.gguf": DATA}), keys) as server:
        depot = Depot(tmp_path, entry(keys, server.host))
        uri = f"https://{server.host}/models/a.gguf"
        results = await asyncio.gather(*(depot.get(uri, digest=DIGEST) for _ in range(20)))
        assert {result.digest for result in results} == {DIGEST}
        assert sum(line.startswith("GET") for line in server.requests) == 1


async def test_pinned_weights_outlive_a_restart_and_the_source(tmp_path: Path, keys: Keys) -> None:
    with serve_files(FileServer({"/models/a.gguf": DATA}), keys) as server:
        uri = f"https://{server.host}/models/a.gguf"
        source = entry(keys, server.host)
        await Depot(tmp_path, source).get(uri, digest=DIGEST)
    again = Depot(tmp_path, source)
    assert (await again.get(uri, digest=DIGEST)).digest == DIGEST
    error = await again.refuse(uri)
    assert error.reason is Reason.SOURCE_UNREACHABLE


async def test_the_same_version_is_not_read_twice_but_a_new_one_is(tmp_path: Path, keys: Keys) -> None:
    with serve_files(FileServer({"/models/a.gguf": DATA}), keys) as server:
        uri, source = f"https://{server.host}/models/a.gguf", entry(keys, server.host)
        await Depot(tmp_path, source).get(uri)
        assert (await Depot(tmp_path, source).get(uri)).digest == DIGEST
        assert sum(line.startswith("GET") for line in server.requests) == 1
        server.files["/models/a.gguf"] = b"new" * 1000
        assert (await Depot(tmp_path, source).get(uri)).total_bytes == 3000


async def test_a_failure_is_remembered_and_the_source_is_not_asked_again_at_once(tmp_path: Path, keys: Keys) -> None:
    with serve_files(FileServer(), keys) as server:
        depot = Depot(tmp_path, entry(keys, server.host))
        for _ in range(20):
            await depot.refuse(f"https://{server.host}/models/a.gguf")
        assert len(server.requests) == 1
        server.files["/models/a.gguf"] = DATA
        depot.now += 11
        with pytest.raises(SekishoError):
            depot.fetches.ask(WeightsWish(f"https://{server.host}/models/a.gguf", None, LIMIT))  # still the old answer
        assert (await depot.recover(f"https://{server.host}/models/a.gguf")).digest == DIGEST


async def test_a_folder_is_fetched_by_its_list_of_sums(tmp_path: Path, keys: Keys) -> None:
    files = {"config.json": b"{}", "sub/model.safetensors": DATA}
    sums = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in sorted(files.items()))
    held = {f"/models/m/{name}": data for name, data in files.items()} | {"/models/m/SHA256SUMS": sums.encode()}
    with serve_files(FileServer(held), keys) as server:
        depot = Depot(tmp_path, entry(keys, server.host))
        result = await depot.get(f"https://{server.host}/models/m/")
        assert [file.path for file in result.files] == ["config.json", "sub/model.safetensors"]
        assert result.digest == f"sha256:{hashlib.sha256(sums.encode()).hexdigest()}"
        server.files["/models/m/config.json"] = b"[]"
        other = Depot(tmp_path / "other", entry(keys, server.host))
        error = await other.refuse(f"https://{server.host}/models/m/")
        assert error.reason is Reason.DIGEST_MISMATCH
        assert '"config.json"' in error.message


async def test_a_list_of_sums_that_climbs_is_refused(tmp_path: Path, keys: Keys) -> None:
    sums = f"{'0' * 64}  ../../etc/passwd\n".encode()
    with serve_files(FileServer({"/models/m/SHA256SUMS": sums, "/etc/passwd": b"x"}), keys) as server:
        error = await Depot(tmp_path, entry(keys, server.host)).refuse(f"https://{server.host}/models/m/")
    assert error.reason in {Reason.SOURCE_INVALID, Reason.SOURCE_UNREACHABLE}


def s3_entry(keys: Keys, server: FileServer, folder: Path, *, secret: str) -> SourceEntry:
    folder.mkdir()
    (folder / "accessKeyId").write_text("AKIDEXAMPLE")
    (folder / "secretAccessKey").write_text(secret)
    return SourceEntry(
        prefix="s3://weights/", endpoint=f"https://{server.host}", region="eu-test-1", ca_file=str(keys.ca),
        credentials_dir=str(folder), credentials_secret="s3",
    )  # fmt: skip


def s3_server(files: dict[str, bytes]) -> FileServer:
    server = FileServer(files, buckets=True)
    server.allow = lambda request: check_signature(request, key="AKIDEXAMPLE", secret="right")
    return server


async def test_an_s3_store_denies_a_wrong_key(tmp_path: Path, keys: Keys) -> None:
    with serve_files(s3_server({"/weights/m/a.gguf": DATA}), keys) as server:
        source = s3_entry(keys, server, tmp_path / "secret", secret="wrong")
        error = await Depot(tmp_path / "cache", source).refuse("s3://weights/m")
    assert (error.reason, error.retry) == (Reason.SOURCE_DENIED, False)
    assert "check the credentials" in error.message


async def test_an_s3_prefix_without_objects_is_not_found(tmp_path: Path, keys: Keys) -> None:
    with serve_files(s3_server({}), keys) as server:
        source = s3_entry(keys, server, tmp_path / "secret", secret="right")
        error = await Depot(tmp_path / "cache", source).refuse("s3://weights/m")
    assert error.reason is Reason.SOURCE_NOT_FOUND


async def test_an_s3_prefix_is_fetched_with_signed_requests_and_resumed(tmp_path: Path, keys: Keys) -> None:
    server = s3_server({"/weights/m/a.gguf": DATA, "/weights/m/sub/b.json": b"{}", "/weights/other": b"no"})
    server.cut_after, server.cuts = 1 << 20, 1
    with serve_files(server, keys):
        source = s3_entry(keys, server, tmp_path / "secret", secret="right")
        result = await Depot(tmp_path / "cache", source).get("s3://weights/m")
        assert [(file.path, file.size) for file in result.files] == [("a.gguf", len(DATA)), ("sub/b.json", 2)]
        single = await Depot(tmp_path / "cache2", source).get("s3://weights/other")
        assert [file.path for file in single.files] == ["other"]


async def test_progress_counts_in_mebibytes(tmp_path: Path, keys: Keys) -> None:
    with serve_files(FileServer({"/models/a.gguf": DATA}), keys) as server:
        depot = Depot(tmp_path, entry(keys, server.host))
        wish = WeightsWish(f"https://{server.host}/models/a.gguf", None, LIMIT)
        answer = depot.fetches.ask(wish)
        assert isinstance(answer, FetchProgress)
        assert answer.message == f"asking {wish.uri} for its files"
        await depot.get(wish.uri)


@pytest.mark.parametrize("pinned", [False, True], ids=["by tag", "by digest"])
async def test_a_sealed_model_is_refused_to_who_takes_it_for_plain_weights(tmp_path: Path, pinned: bool) -> None:
    with serve_files(FileServer(), None) as server:
        digest = push(server, sealed_blobs("release"))
        uri = f"oci://{server.host}/models/x@{digest}" if pinned else uri_of(server)
        depot = Depot(tmp_path, entry_of(server))
        error = await depot.refuse(uri)
        assert (error.reason, error.retry) == (Reason.SOURCE_INVALID, False)
        assert error.message.startswith(
            f"{uri} is a sealed model (it has sekisho.json), and the pod takes plain weights"
        )
        assert "create a Model for it and name it in modelRef" in error.message
        assert depot.files("blobs") == []
        whole = await depot.get(uri, sealed=True)
        assert "sekisho.json" in [file.path for file in whole.files]
        depot.now += 11
        assert (await depot.refuse(uri)).reason is Reason.SOURCE_INVALID


async def test_a_list_of_files_that_was_kept_is_no_way_around_that(tmp_path: Path) -> None:
    with serve_files(FileServer(), None) as server:
        uri = f"oci://{server.host}/models/x@{push(server, sealed_blobs('release'))}"
        depot = Depot(tmp_path, entry_of(server))
        await depot.get(uri, sealed=True)
        kept = depot.cache.recall_list(f"{uri}\n\n{LIMIT}\nsealed")
        assert kept is not None
        depot.cache.remember_list(f"{uri}\n\n{LIMIT}", kept)
        assert (await depot.refuse(uri)).reason is Reason.SOURCE_INVALID


async def test_a_file_of_that_name_further_below_makes_no_sealed_model(tmp_path: Path) -> None:
    with serve_files(FileServer(), None) as server:
        push(server, {"sub/sekisho.json": b"{}", "model.gguf": b"weights"})
        assert len((await Depot(tmp_path, entry_of(server)).get(uri_of(server))).files) == 2


async def test_a_source_that_drips_gives_its_place_away_and_what_came_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "_SLOWEST_SECONDS", 0.5)
    with serve_files(FileServer(), None) as server:
        push(server, {"a.gguf": DATA, "b.gguf": b"small"})
        server.drip_after = 1 << 20
        depot = Depot(tmp_path, entry_of(server))
        error = await depot.refuse(uri_of(server))
        assert (error.reason, error.retry) == (Reason.SOURCE_UNREACHABLE, True)
        assert "came too slowly: less than 1 MiB in 0 s" in error.message
        assert name_partial(tmp_path, uri_of(server).removesuffix(":1")).stat().st_size >= 1 << 20
        server.drip_after = None
        depot.now += 1000
        assert (await depot.recover(uri_of(server))).total_bytes == len(DATA) + 5


async def test_a_source_that_names_its_files_too_slowly_gives_its_place_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetches, "_LIST_SECONDS", 0.3)
    with serve_files(FileServer(), None) as server:
        push(server, {"a.gguf": DATA})
        server.drip_after = 10
        error = await Depot(tmp_path, entry_of(server)).refuse(uri_of(server))
    assert (error.reason, error.retry) == (Reason.SOURCE_UNREACHABLE, True)
    assert "did not name its files within 0 s" in error.message


async def test_a_namespace_whose_sources_drip_leaves_a_place_to_the_others(tmp_path: Path) -> None:
    with serve_files(FileServer(), None) as slow, serve_files(FileServer(), None) as server:
        slow.drip_after = 0
        push(server, {"a.gguf": DATA})
        depot = Depot(tmp_path, entry_of(slow), entry_of(server))
        for number in range(8):
            push(slow, {"a.gguf": DATA}, name=f"models/{number}")
            uri = f"oci://{slow.host}/models/{number}:1"
            depot.fetches.ask(WeightsWish(uri, None, LIMIT), namespace="a")
        for _ in range(3000):
            answer = depot.fetches.ask(WeightsWish(uri_of(server), None, LIMIT), namespace="b")
            if isinstance(answer, WeightsSet):
                break
            await asyncio.sleep(0.01)
        assert isinstance(answer, WeightsSet)
        await depot.fetches.close()


async def test_a_file_is_on_the_disk_before_it_has_the_name_that_is_believed(
    tmp_path: Path, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, bool]] = []
    real = os.fsync

    def watch(handle: int) -> None:
        place = Path(f"/proc/self/fd/{handle}").readlink()
        seen.append((place.parent.name, (tmp_path / "blobs" / DIGEST[7:]).exists()))
        real(handle)

    monkeypatch.setattr(os, "fsync", watch)
    with serve_files(FileServer({"/models/a.gguf": DATA}), keys) as server:
        await Depot(tmp_path, entry(keys, server.host)).get(f"https://{server.host}/models/a.gguf", digest=DIGEST)
    assert seen == [("partial", False)]


async def test_a_file_that_is_whole_when_its_fetch_is_given_up_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached, enough, real = threading.Event(), threading.Event(), os.fsync

    def hold(handle: int) -> None:
        reached.set()
        assert enough.wait(60)
        real(handle)

    monkeypatch.setattr(os, "fsync", hold)
    with serve_files(FileServer(), None) as server:
        push(server, {"a.gguf": DATA, "b.gguf": b"right"})
        wrong = f"/v2/models/x/blobs/sha256:{hashlib.sha256(b'right').hexdigest()}"
        server.files[wrong] = b"wrong"
        server.refuse = lambda request: 0 if request.path != wrong or reached.wait(60) else 500
        depot = Depot(tmp_path, entry_of(server))
        wish = WeightsWish(uri_of(server), None, LIMIT)
        depot.fetches.ask(wish)
        await settle(lambda: any(wrong in line for line in server.requests))
        await asyncio.sleep(0.2)
        enough.set()
        assert (await depot.refuse(uri_of(server))).reason is Reason.DIGEST_MISMATCH
    await asyncio.to_thread(lambda: None)
    assert depot.files("blobs") == [DIGEST[7:]]
    assert depot.cache.used_bytes == len(DATA)
    assert depot.cache.find(DIGEST) is not None


@pytest.mark.parametrize("seed", range(6))
async def test_however_fetches_meet_and_are_given_up_what_is_there_is_whole_and_counted(
    tmp_path: Path, seed: int
) -> None:
    dice = random.Random(seed)  # noqa: S311 - a test's dice
    contents = [dice.randbytes(dice.choice([0, 1, 1000, 5 << 20])) for _ in range(6)]
    depot = BlobCache(tmp_path, 12 << 20, margin_bytes=0)
    depot.open()

    async def read(file: RemoteFile, offset: int) -> AsyncGenerator[bytes, None]:
        data = contents[int(file.locator)]
        for place in range(offset, len(data), 1 << 20):
            await asyncio.sleep(dice.random() / 500)
            if dice.random() < 0.1:
                raise UnavailableError(Reason.SOURCE_UNREACHABLE, "it broke off")
            if dice.random() < 0.05:
                yield b"wrong"
            yield data[place : place + (1 << 20)]

    def remote(index: int) -> RemoteFile:
        data = contents[index]
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}" if dice.random() < 0.5 else None
        return RemoteFile("a", len(data), digest, dice.choice(["", '"v"']), str(index))

    async def fetch(number: int) -> None:
        with contextlib.suppress(SekishoError):
            owner = f"pod {number}"
            digest = await depot.fetch(
                remote(dice.randrange(6)), read, uri="u", owner=owner, progress=lambda _count: None
            )
            place = depot.find(digest)
            assert place is not None
            assert f"sha256:{hashlib.sha256(place.read_bytes()).hexdigest()}" == digest
            depot.unpin(owner)

    tasks = [asyncio.create_task(fetch(number)) for number in range(60)]
    for _ in tasks:
        await asyncio.sleep(dice.random() / 200)
        if dice.random() < 0.3:
            dice.choice(tasks).cancel()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert [item for item in done if item is not None and not isinstance(item, asyncio.CancelledError)] == []
    found = {f"sha256:{path.name}": path.stat().st_size for path in (tmp_path / "blobs").iterdir()}
    assert found == {digest: depot.size_of(digest) for digest in depot._blobs}
    partial = sum(path.stat().st_size for path in (tmp_path / "partial").iterdir())
    assert depot.used_bytes == sum(found.values()) + partial <= 12 << 20
    assert (depot._locks, depot._reserved) == ({}, {})


async def test_a_namespace_is_admitted_or_not_whatever_another_has_fetched(tmp_path: Path, keys: Keys) -> None:
    with serve_files(FileServer({"/models/a.gguf": DATA}), keys) as server:
        uri = f"https://{server.host}/models/a.gguf"
        depot = Depot(tmp_path, entry(keys, server.host, namespaces=("a",)))
        depot.fetches.admit(uri, namespace="a")
        error = await depot.refuse(uri, digest=DIGEST)
        assert error.reason is Reason.SOURCE_NOT_ALLOWED, "nobody asks"
        wish = WeightsWish(uri, DIGEST, LIMIT)
        await settle(lambda: isinstance(depot.now_or_later(wish, "a"), WeightsSet))
        with pytest.raises(RefusedError, match="is not for namespace b"):
            depot.fetches.admit(uri, namespace="b")


async def test_who_states_the_digest_of_a_file_that_others_brought_has_to_bring_it_too(tmp_path: Path) -> None:
    with serve_files(FileServer(), None) as owner, serve_files(FileServer(), None) as thief:
        push(owner, {"a.gguf": DATA}, name="legal/m")
        depot = Depot(tmp_path, entry_of(owner), entry_of(thief))
        first = await depot.get(f"oci://{owner.host}/legal/m:1")
        push(thief, {"a.gguf": DATA}, name="mine/m")
        for path in [path for path in thief.files if "/blobs/" in path]:
            thief.files[path] = bytes(len(DATA))
        error = await depot.refuse(f"oci://{thief.host}/mine/m:1")
        assert error.reason is Reason.DIGEST_MISMATCH
        assert depot.cache.find(first.files[0].digest) is not None
        again = Depot(tmp_path, entry_of(owner), entry_of(thief))
        error = await again.refuse(f"oci://{thief.host}/mine/m:1")
        assert error.reason is Reason.DIGEST_MISMATCH, "a new process knows as well"
        owner.requests.clear()
        push(owner, {"a.gguf": DATA, "b.txt": b"more"}, name="legal/m", tag="2")
        assert (await again.get(f"oci://{owner.host}/legal/m:2")).total_bytes == len(DATA) + 4
        assert [line for line in owner.requests if DIGEST in line] == [], "its own repository has shown it"
        push(owner, {"a.gguf": DATA}, name="other/m")
        await again.get(f"oci://{owner.host}/other/m:1")
        assert len([line for line in owner.requests if f"other/m/blobs/{DIGEST}" in line]) == 1
        assert again.files("blobs").count(DIGEST[7:]) == 1
        assert again.cache.used_bytes == len(DATA) + 4


@pytest.mark.parametrize(
    ("uri", "origin"),
    [
        ("oci://r.test:5000/a/b:v1", "oci://r.test:5000/a/b"),
        ("oci://r.test:5000/a/b", "oci://r.test:5000/a/b"),
        ("oci://r.test/b@sha256:" + "a" * 64, "oci://r.test/b"),
        ("oci://r.test/a/b:v1@sha256:" + "a" * 64, "oci://r.test/a/b"),
        ("https://h.test/a:b/", "https://h.test/a:b/"),
        ("s3://bucket/a", "s3://bucket/a"),
    ],
)
def test_a_repository_is_one_origin_and_an_address_another(uri: str, origin: str) -> None:
    assert name_origin(uri) == origin


async def test_half_a_file_of_one_origin_spoils_nothing_for_another(tmp_path: Path) -> None:
    with serve_files(FileServer(), None) as owner, serve_files(FileServer(), None) as thief:
        push(owner, {"a.gguf": DATA}, name="legal/m")
        push(thief, {"a.gguf": DATA}, name="mine/m")
        thief.files = {path: b"x" * len(data) if "/blobs/" in path else data for path, data in thief.files.items()}
        thief.cut_after, thief.cuts = 1 << 20, 99
        depot = Depot(tmp_path, entry_of(owner), entry_of(thief))
        depot.fetches.ask(WeightsWish(f"oci://{thief.host}/mine/m:1", None, LIMIT))
        await settle(lambda: any("bytes=" in line for line in thief.requests))
        assert (await depot.get(f"oci://{owner.host}/legal/m:1")).files[0].digest == DIGEST
        assert [line for line in owner.requests if "bytes=" in line] == []
        await depot.fetches.close()


async def test_whom_a_source_is_for_is_read_anew_within_seconds(tmp_path: Path) -> None:
    uri, entries = "oci://r.test/m:1", [SourceEntry(prefix="oci://r.test/")]
    depot = Depot(tmp_path)
    depot.fetches.sources = lambda: tuple(entries)
    depot.fetches.admit(uri, namespace="b")
    entries[0] = SourceEntry(prefix="oci://r.test/", namespaces=("a",))
    depot.now += 6
    with pytest.raises(RefusedError, match="is not for namespace b"):
        depot.fetches.admit(uri, namespace="b")
