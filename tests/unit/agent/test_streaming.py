"""Ciphertext on its way: connections that break, answers that lie, a volume that is full."""

import base64
import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from sekisho.agent import lines
from sekisho.agent.config import SealedConfig, ServerAddress, WeightsConfig
from sekisho.agent.fetch import Fetch
from sekisho.agent.release import KeyRequest
from sekisho.agent.state import AgentState
from sekisho.agent.transport import ServerAccess, ask_weights
from sekisho.agent.unseal import Order, unseal_model
from sekisho.agent.weights import WeightFile, WeightList
from sekisho.errors import Reason, RefusedError, UnavailableError
from sekisho.kms.unsafe_development import UnsafeDevelopmentKeys
from sekisho.seal.facts import MANIFEST_NAME, SEGMENT_BYTES
from tests.unit.agent.sealed import BIG, FILES, PART, PLAIN, list_files, make_keys, memory_folder, seal_model, told_of
from tests.unit.agent.test_killed import SPELT
from tests.unit.depot.parts import FileServer, build_keys, serve_files
from tests.unit.seal.sealing import KEY, Sealed


@dataclass
class Line:
    """A pod whose depot is a file server that misbehaves as told."""

    server: FileServer
    access: ServerAccess
    volume: Path
    keys: UnsafeDevelopmentKeys
    order: Order = field(init=False)
    listing: WeightList = field(init=False)
    asked: list[KeyRequest] = field(default_factory=list)

    def ask(self, wanted: KeyRequest) -> bytearray:
        self.asked.append(wanted)
        return bytearray(KEY)

    def offer(self, files: Mapping[str, tuple[bytes, ...]]) -> Sealed:
        """Seal these files, and put them into the depot."""
        sealed = seal_model(self.keys, files=files)
        digests = {name: f"sha256:{hashlib.sha256(data).hexdigest()}" for name, data in sealed.blobs.items()}
        self.server.files = {f"/v1/blobs/{digests[name]}": data for name, data in sealed.blobs.items()}
        found = tuple(WeightFile(name, len(sealed.blobs[name]), digest) for name, digest in sorted(digests.items()))
        self.listing = WeightList(sealed.trusted, sum(file.size for file in found), found)
        told: Any = {SPELT.get(name, name): value for name, value in told_of(sealed).items()}
        self.order = Order(self.access, self, SealedConfig(**told), self.volume, threading.Event())
        return sealed

    def run(self) -> dict[str, bytes]:
        unseal_model(self.order, self.listing)
        return {path: (self.order.root / path).read_bytes() for path in list_files(self.order.root)}


@pytest.fixture
def line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    monkeypatch.setattr(lines, "_PAUSE_SECONDS", 0.01)
    tls = build_keys(tmp_path / "tls", "127.0.0.1")
    (tmp_path / "token").write_text("t")
    with serve_files(FileServer(), tls) as server, memory_folder() as volume:
        address = ServerAddress("127.0.0.1", int(server.host.rpartition(":")[2]), "127.0.0.1")
        access = ServerAccess(address, token_file=tmp_path / "token", ca_file=tls.ca)
        made = Line(server, access, volume, make_keys(tmp_path / "keys"))
        made.offer(FILES)
        yield made


def wait_for(check: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not check():
        assert time.monotonic() < until
        time.sleep(0.01)


def blob_of(line: Line, name: str) -> str:
    return next(f"/v1/blobs/{file.digest}" for file in line.listing.files if file.path == name)


def test_a_connection_that_breaks_off_is_resumed_at_the_segment_that_is_missing(line: Line) -> None:
    line.server.cut_after, line.server.cuts = PART + 9999, 1
    assert line.run() == PLAIN
    big = [text for text in line.server.requests if blob_of(line, "files/00002.sealed") in text]
    assert [text.partition("bytes=")[2] for text in big] == ["", f"{PART}-"]
    assert len(line.asked) == 1


def test_a_connection_that_always_breaks_off_ends_as_an_outage_and_leaves_nothing_half_written(line: Line) -> None:
    line.server.cut_after, line.server.cuts = PART // 4, 99
    with pytest.raises(UnavailableError, match=f"the depot broke off {PART - PART // 4} bytes too early") as caught:
        line.run()
    assert caught.value.reason is Reason.DEPOT_UNREACHABLE
    assert "model.gguf" not in list_files(line.order.root)
    assert not (line.order.root / ".sekisho-partial").exists()


def test_a_small_part_that_comes_changed_is_fetched_again_and_never_believed(line: Line) -> None:
    path = blob_of(line, MANIFEST_NAME)
    right = line.server.files[path]
    line.server.files[path] = right[:-1] + b"]"
    with pytest.raises(UnavailableError, match=r"sekisho.json came with \d+ bytes that are not") as caught:
        line.run()
    assert caught.value.reason is Reason.DIGEST_MISMATCH
    assert line.asked == []
    line.server.files[path] = right
    assert line.run() == PLAIN


def test_a_manifest_that_is_too_large_is_not_even_read(line: Line) -> None:
    files = tuple(
        WeightFile(file.path, (4 << 20) + 1, file.digest) if file.path == MANIFEST_NAME else file
        for file in line.listing.files
    )
    line.listing = WeightList(line.listing.digest, line.listing.total_bytes, files)
    with pytest.raises(RefusedError, match=r"sekisho\.json has 4194305 bytes, 4194304 are allowed") as caught:
        line.run()
    assert caught.value.reason is Reason.SEAL_INVALID
    assert line.server.requests == []


def test_ciphertext_that_comes_changed_is_refused_and_everything_is_wiped(line: Line) -> None:
    path = blob_of(line, "files/00003.sealed")
    line.server.files[path] = b"x" + line.server.files[path][1:]
    with pytest.raises(RefusedError, match=r'segment 0 of 2 of "shards/b\.bin" does not open') as caught:
        line.run()
    assert caught.value.reason is Reason.SEAL_BROKEN
    assert list(line.order.root.iterdir()) == []


def test_a_depot_that_refuses_to_be_asked_condemns_no_file_that_is_whole(line: Line) -> None:
    assert line.run() == PLAIN
    (line.order.root / "model.gguf").unlink()
    line.server.allow = lambda request: blob_of(line, "files/00002.sealed") not in request.path
    with pytest.raises(RefusedError, match="the depot answered 403 without a reason") as caught:
        line.run()
    assert caught.value.reason is Reason.DEPOT_UNREACHABLE
    assert list_files(line.order.root) == sorted(set(PLAIN) - {"model.gguf"})


def test_a_volume_that_is_full_is_told_from_a_connection_that_breaks(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(_out: Any, _view: memoryview) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(lines, "_write_whole", fill)
    with pytest.raises(RefusedError, match="cannot be written to the memory-backed volume: No space left") as caught:
        line.run()
    assert caught.value.reason is Reason.SIZE_EXCEEDED
    assert list(line.order.root.iterdir()) == []


def test_a_transfer_that_is_stopped_ends_soon_and_leaves_nothing_half_written(line: Line) -> None:
    stop = line.order.stop

    def note(_count: int) -> None:
        stop.set()

    line.order = Order(line.order.depot, line, line.order.told, line.order.root, stop, note)
    with pytest.raises(UnavailableError, match="the transfer was stopped") as caught:
        line.run()
    assert caught.value.reason is Reason.WEIGHTS_PENDING
    assert "model.gguf" not in list_files(line.order.root)
    assert not (line.order.root / ".sekisho-partial").exists()


def test_a_segment_of_the_largest_size_passes_through_the_buffer(line: Line) -> None:
    large = os.urandom(SEGMENT_BYTES)
    sealed = line.offer({"a.bin": (large, b"x"), "b.bin": (b"y", large)})
    assert [file.segments for file in sealed.manifest.files] == [2, 2]
    assert line.run() == {"a.bin": large + b"x", "b.bin": b"y" + large}


def test_what_is_asked_for_names_the_model_that_was_accepted(line: Line) -> None:
    line.run()
    (wanted,) = line.asked
    assert (wanted.model, wanted.version, wanted.data_class) == ("legal/reviewer", 7, "confidential+gdpr")
    assert wanted.manifest_digest == line.order.told.manifest_digest
    assert base64.b64encode(wanted.key_file).decode() in wanted.encode().decode()


# --- a depot that neither answers nor hangs up


@pytest.mark.parametrize("sealed", [True, False], ids=["sealed", "plain"])
def test_a_fetch_ends_at_once_though_its_depot_drips(line: Line, *, sealed: bool) -> None:
    files = [{"path": file.path, "size": file.size, "digest": file.digest} for file in line.listing.files]
    listing = {"digest": line.listing.digest, "totalBytes": line.listing.total_bytes, "files": files}
    line.server.files["/v1/weights"] = json.dumps(listing).encode()
    line.server.drip_after = len(BIG) // 2
    config = WeightsConfig("depot", str(line.volume))
    if sealed:
        config = WeightsConfig("sealed", str(line.volume), line.order.told)
    fetch = Fetch(line.access, config, AgentState(), keys=line)
    fetch.thread.start()
    wait_for(lambda: any(blob_of(line, "files/00002.sealed") in text for text in line.server.requests))
    fetch.end()
    fetch.thread.join(20)
    assert not fetch.thread.is_alive()
    assert "model.gguf" not in list_files(line.volume)


def test_an_answer_that_drips_is_waited_for_no_longer_than_it_may_take(line: Line) -> None:
    line.server.files["/v1/weights"] = b" " * 4000
    line.server.drip_after = 0
    with pytest.raises(UnavailableError, match="no whole answer within 1 s"):
        ask_weights(replace(line.access, total_seconds=1.0))
