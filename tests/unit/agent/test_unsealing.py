"""A pod unseals what was accepted, into memory, or says why not; depot and release are real servers over TLS."""

import asyncio
import contextlib
import json
import socket
import ssl
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sekisho.agent import fetch, lines, loop, unseal
from sekisho.errors import Reason
from sekisho.kms.unsafe_development import rotate_unsafe_key
from sekisho.seal.facts import KEY_NAME, MANIFEST_NAME, TABLE_NAME, BlobFacts
from sekisho.seal.keys import encode_wrapped, parse_wrapped
from sekisho.seal.manifest import digest_of
from tests.unit.agent.sealed import (
    BIG,
    FILES,
    MARK,
    PART,
    PLAIN,
    SILENT,
    SealedStage,
    make_keys,
    rebuild,
    run_stage,
    seal_model,
)
from tests.unit.depot.parts import build_pod, settle
from tests.unit.fuzz import flip_last
from tests.unit.seal.sealing import IDENTITY

Change = Callable[[SealedStage], None]


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "_POLL_SECONDS", 0.05)


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[SealedStage]:
    async with run_stage(tmp_path) as running:
        yield running


async def expect(stage: SealedStage, reason: Reason, message: str) -> None:
    """Step once; the refusal must reach the pod's state and its condition, and nothing may be unsealed."""
    await stage.step()
    await settle(lambda: stage.condition.get("reason") == reason)
    health = stage.agent.state.startup()
    assert (health.ok, health.reason) == (False, reason)
    assert message in health.message
    assert stage.condition["status"] == "False"
    assert message in stage.condition["message"]
    assert stage.models == []
    assert find_plain(stage.folder) == []


def find_plain(folder: Path) -> list[str]:
    """Find plaintext anywhere on the disk."""
    return [str(path) for path in folder.rglob("*") if path.is_file() and MARK in path.read_bytes()]


async def test_what_was_accepted_is_unsealed_into_memory_and_the_pod_says_so(stage: SealedStage) -> None:
    await stage.step()
    await settle(lambda: stage.condition.get("status") == "True")
    assert {path: (stage.volume / path).read_bytes() for path in stage.models} == PLAIN
    assert {(stage.volume / path).stat().st_mode & 0o777 for path in stage.models} == {0o444}
    assert not (stage.volume / ".sekisho-partial").exists()
    assert stage.agent.state.startup().ok
    assert stage.condition["reason"] == "WeightsAvailable"
    assert "4 files" in stage.condition["message"]
    assert "unsealed in memory: legal/reviewer version 7" in stage.condition["message"]
    assert find_plain(stage.folder) == []
    reasons = [condition.reason for _, condition in stage.cluster.writes if condition.type.endswith("weights")]
    assert reasons[-1] is Reason.WEIGHTS_AVAILABLE
    assert set(reasons[:-1]) == {Reason.FETCHING}


async def test_the_depot_alone_never_says_that_sealed_weights_are_there(stage: SealedStage) -> None:
    stage.write_config(release=None)
    await stage.step()
    await settle(lambda: stage.condition.get("reason") == "KmsUnavailable")
    written = [item for _, item in stage.cluster.writes if item.type.endswith("weights")]
    assert written
    assert not any(item.ok for item in written)


def without(name: str) -> Change:
    return lambda stage: stage.put({key: data for key, data in stage.sealed.blobs.items() if key != name})


def with_blobs(**more: bytes) -> Change:
    return lambda stage: stage.put(stage.sealed.blobs | {name.replace("__", "."): data for name, data in more.items()})


def plain(stage: SealedStage) -> None:
    stage.put({"model.gguf": b"plain weights"})


def flipped(stage: SealedStage) -> None:
    data = bytearray(stage.sealed.blobs["files/00002.sealed"])
    data[PART + 9] ^= 1
    stage.put(stage.sealed.blobs | {"files/00002.sealed": bytes(data)})


def swapped(stage: SealedStage) -> None:
    blobs = stage.sealed.blobs
    table = bytearray(blobs[TABLE_NAME])
    table[:20], table[20:40] = table[20:40], table[:20]
    stage.put(blobs | {TABLE_NAME: bytes(table)})


def flipped_and_signed_for(stage: SealedStage) -> None:
    """The manifest names the changed ciphertext: the tag alone can tell."""
    data = bytearray(stage.sealed.blobs["files/00002.sealed"])
    data[PART + 9] ^= 1
    files = list(stage.sealed.manifest.files)
    files[2] = replace(files[2], ciphertext=BlobFacts(len(data), digest_of(bytes(data))))
    changed = rebuild(stage.sealed, files=tuple(files))
    changed.blobs["files/00002.sealed"] = bytes(data)
    accept(stage, changed)


def accept(stage: SealedStage, sealed: Any, **told: Any) -> None:
    stage.sealed = sealed
    stage.put(sealed.blobs)
    stage.tell(**told)


def other_manifest(stage: SealedStage) -> None:
    stage.put(rebuild(stage.sealed, declared={"licence": "MIT"}).blobs)


def other_name(stage: SealedStage) -> None:
    stage.put(seal_model(make_keys(stage.keys_dir), identity=replace(IDENTITY, name="legal/other")).blobs)


def older(stage: SealedStage) -> None:
    stage.put(seal_model(make_keys(stage.keys_dir), identity=replace(IDENTITY, version=6)).blobs)


def other_class(stage: SealedStage) -> None:
    stage.put(seal_model(make_keys(stage.keys_dir), identity=replace(IDENTITY, data_class="internal")).blobs)


def garbled_manifest(stage: SealedStage) -> None:
    stage.put(stage.sealed.blobs | {MANIFEST_NAME: stage.sealed.blobs[MANIFEST_NAME] + b"\n"})


def other_kms(stage: SealedStage) -> None:
    key = replace(parse_wrapped(stage.sealed.blobs[KEY_NAME]), kms="openbao")
    stage.put(stage.sealed.blobs | {KEY_NAME: encode_wrapped(key)})


def other_key_id(stage: SealedStage) -> None:
    key = replace(parse_wrapped(stage.sealed.blobs[KEY_NAME]), key_id="transit/other")
    stage.put(stage.sealed.blobs | {KEY_NAME: encode_wrapped(key)})


def production_key(stage: SealedStage) -> None:
    """Everything agrees on a key of a real key service; the release must not even look for it."""
    key = replace(parse_wrapped(stage.sealed.blobs[KEY_NAME]), kms="openbao")
    stage.sealed.blobs[KEY_NAME] = encode_wrapped(key)
    accept(stage, stage.sealed, kms="openbao")


def other_data_key(stage: SealedStage) -> None:
    accept(stage, seal_model(make_keys(stage.keys_dir), wrapped=bytes(32)))


def wrapped_for_another_version(stage: SealedStage) -> None:
    newer = seal_model(make_keys(stage.keys_dir), identity=replace(IDENTITY, version=8))
    stage.put(stage.sealed.blobs | {KEY_NAME: newer.blobs[KEY_NAME]})


def garbled_key(stage: SealedStage) -> None:
    stage.put(stage.sealed.blobs | {KEY_NAME: b"{}"})


def no_release(stage: SealedStage) -> None:
    stage.write_config(release=None)


def closed_port(stage: SealedStage) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    stage.write_config(release=stage.config["release"] | {"port": port})


def misnamed_release(stage: SealedStage) -> None:
    stage.write_config(release=stage.config["release"] | {"serverName": "elsewhere.svc"})


def lost_key(stage: SealedStage) -> None:
    (stage.keys_dir / "owner.json").unlink()


def disabled_key(stage: SealedStage) -> None:
    file = stage.keys_dir / "owner.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"enabled": False}))


def revoked_by_its_file(stage: SealedStage) -> None:
    file = stage.keys_dir / "owner.json"
    rotate_unsafe_key(file)
    file.write_text(json.dumps(json.loads(file.read_text()) | {"minimumVersion": 2}))


def broken_key_file(stage: SealedStage) -> None:
    (stage.keys_dir / "owner.json").write_text("not json")


def stranger_at_the_release(stage: SealedStage) -> None:
    stage.release_cluster.pods.clear()


def stolen_release_token(stage: SealedStage) -> None:
    stage.release_cluster.tokens.clear()


def no_token_for_the_release(stage: SealedStage) -> None:
    (stage.folder / "release-token").unlink()


def volume_on_a_disk(stage: SealedStage) -> None:
    (stage.folder / "models").mkdir()
    stage.write_config(weights=stage.config["weights"] | {"path": str(stage.folder / "models")})


def api_server_down_for_the_release(stage: SealedStage) -> None:
    stage.release_cluster.down = True


def partial_in_the_manifest(stage: SealedStage) -> None:
    accept(stage, seal_model(make_keys(stage.keys_dir), files={".sekisho-partial/x": (b"x",)}))


@pytest.mark.parametrize(
    ("change", "reason", "message"),
    [
        (plain, Reason.NOT_SEALED, "the artifact has no sekisho.json among its 1 files, so it is not sealed"),
        (with_blobs(evil__py=b"import os"), Reason.NOT_SEALED, '1 files are not in the manifest: "evil.py"'),
        (without("files/00003.sealed"), Reason.SEAL_BROKEN, "1 files of the manifest are missing"),
        (without(TABLE_NAME), Reason.SEAL_BROKEN, 'missing: "sekisho.table"'),
        (without(KEY_NAME), Reason.SEAL_BROKEN, "has no sekisho.key.json, so no key can be asked for"),
        (flipped, Reason.SEAL_BROKEN, '"files/00002.sealed" has digest sha256:'),
        (flipped_and_signed_for, Reason.SEAL_BROKEN, 'segment 1 of 3 of "model.gguf" does not open'),
        (swapped, Reason.SEAL_BROKEN, "is not the table that the manifest names"),
        (other_manifest, Reason.SEAL_BROKEN, "it was changed after its signatures were checked"),
        (other_name, Reason.SEAL_BROKEN, 'is of model "legal/other" version 7'),
        (older, Reason.VERSION_ROLLED_BACK, 'holds version 6 of model "legal/reviewer", version 7 was accepted'),
        (other_class, Reason.CLASS_MISMATCH, 'sealed for class "internal", "confidential+gdpr" was accepted'),
        (garbled_manifest, Reason.SEAL_INVALID, "is not spelt canonically"),
        (other_kms, Reason.KEY_MISMATCH, 'names key "owner" of openbao; accepted was "owner" of unsafe-development'),
        (other_key_id, Reason.KEY_MISMATCH, 'names key "transit/other" of unsafe-development'),
        (other_data_key, Reason.KEY_MISMATCH, "its commitment differs"),
        (wrapped_for_another_version, Reason.KEY_MISMATCH, "another key, model, version or class wrapped it"),
        (garbled_key, Reason.SEAL_INVALID, 'sekisho.key.json lacks the field "format"'),
        (partial_in_the_manifest, Reason.SEAL_INVALID, "lies where unsealing keeps half-written files"),
        (production_key, Reason.KEY_UNSAFE, "opens keys of unsafe-development alone and has no way to any other"),
        (no_release, Reason.KMS_UNAVAILABLE, "this installation releases no keys; install a release of keys"),
        (closed_port, Reason.KMS_UNAVAILABLE, "see whether the pods behind Service sekisho-unsafe-development-release"),
        (misnamed_release, Reason.KMS_UNAVAILABLE, "its certificate is not trusted"),
        (no_token_for_the_release, Reason.KMS_UNAVAILABLE, "token or CA bundle cannot be read"),
        (api_server_down_for_the_release, Reason.KMS_UNAVAILABLE, "the API server did not answer in time"),
        (lost_key, Reason.KEY_NOT_FOUND, "unsafe-development has no key 'owner'"),
        (disabled_key, Reason.KEY_DISABLED, "the file says so"),
        (revoked_by_its_file, Reason.KEY_VERSION_REVOKED, "version 1 wrapped it, 2 is the minimum; rewrap"),
        (broken_key_file, Reason.KMS_UNAVAILABLE, "owner.json is not a file of development keys"),
        (stranger_at_the_release, Reason.KEY_DENIED, "refuses this pod: PodNotKnown: pod team-a/chat-0 does not exist"),
        (stolen_release_token, Reason.KEY_DENIED, "refuses this pod: Unauthenticated: the token is not valid"),
        (volume_on_a_disk, Reason.VOLUME_MISSING, "is no volume in memory, and nothing is unsealed onto a disk"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
async def test_nothing_is_unsealed_where(stage: SealedStage, change: Change, reason: Reason, message: str) -> None:
    change(stage)
    await expect(stage, reason, message)


async def test_a_key_version_below_the_releases_minimum_is_revoked(tmp_path: Path) -> None:
    async with run_stage(tmp_path, minimum_version=2) as stage:
        await expect(stage, Reason.KEY_VERSION_REVOKED, "version 1 wrapped it, 2 is the minimum")


@contextlib.contextmanager
def false_release(stage: SealedStage, answer: Callable[[socket.socket], None], *, tls: bool = True) -> Iterator[None]:
    """Stand where the release should be, with its certificate, and answer as the test likes."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(stage.tls.certificate, stage.tls.key)
    listener = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                raw, _ = listener.accept()
                with contextlib.suppress(OSError), context.wrap_socket(raw, server_side=True) if tls else raw as peer:
                    answer(peer)
                    over.wait(2)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    stage.write_config(release=stage.config["release"] | {"port": listener.getsockname()[1]})
    try:
        yield
    finally:
        over.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def say(text: str) -> Callable[[socket.socket], None]:
    data = f"HTTP/1.1 200 OK\r\nContent-Length: {len(text)}\r\nConnection: close\r\n\r\n{text}".encode()

    def answer(peer: socket.socket) -> None:
        peer.recv(65536)
        peer.sendall(data)

    return answer


def trickle(peer: socket.socket) -> None:
    peer.recv(65536)
    for sign in b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n" + b" " * 9999:
        peer.sendall(bytes([sign]))
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (say("{}"), "answered something that is no data key"),
        (say("[" * 20000), "answered something that is no data key"),
        (say('{"dataKey": 7}'), "answered something that is no data key"),
        (say('{"dataKey": "AAAA"}'), "answered something that is no data key"),
        (say('{"dataKey": "' + "A" * 43 + '=", "more": 1}'), "answered something that is no data key"),
        (trickle, "no whole answer within 1 s; see whether the pods behind"),
        (lambda peer: None, "no whole answer within 1 s; see whether the pods behind"),
    ],
    ids=["empty", "deep", "number", "short", "more", "trickles", "silent"],
)
async def test_a_release_that_answers_late_or_nonsense_ends_in_a_condition_with_the_next_step(
    stage: SealedStage, answer: Callable[[socket.socket], None], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "TOTAL_SECONDS", 1.0 if "within 1 s" in message else 60.0)
    with false_release(stage, answer):
        await expect(stage, Reason.KMS_UNAVAILABLE, message)


@pytest.mark.slow
async def test_a_release_that_never_shakes_hands_ends_in_a_condition(
    stage: SealedStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "TOTAL_SECONDS", 1.0)
    with false_release(stage, lambda peer: None, tls=False):
        await expect(stage, Reason.KMS_UNAVAILABLE, "no whole answer within 1 s")


async def test_a_leak_wipes_what_was_unsealed_and_takes_the_word_back(stage: SealedStage) -> None:
    await stage.step()
    await settle(lambda: stage.condition.get("status") == "True")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        stage.write_config(
            canaries=[SILENT, {"name": "leaky", "host": "127.0.0.1", "port": port, "protocols": ["tcp"]}]
        )
        await stage.step()
    assert stage.models == []
    assert (stage.condition["status"], stage.condition["reason"]) == ("False", "IsolationNotProven")
    stage.write_config(canaries=[SILENT])
    await stage.step()
    await settle(lambda: stage.condition.get("status") == "True")
    assert sorted(PLAIN) == stage.models


async def test_an_agent_that_comes_back_keeps_whole_files_and_asks_for_no_key(stage: SealedStage) -> None:
    await stage.step()
    await settle(lambda: stage.condition.get("status") == "True")
    await end(stage)
    stage.write_config(release=None)
    stage.agent = stage.make_agent()
    await stage.step()
    await settle(lambda: stage.agent.state.startup().ok)
    assert sorted(PLAIN) == stage.models
    assert stage.condition["status"] == "True"


async def test_an_agent_that_comes_back_mends_what_was_changed_and_removes_what_is_strange(stage: SealedStage) -> None:
    await stage.step()
    await settle(lambda: stage.condition.get("status") == "True")
    await end(stage)
    target = stage.volume / "model.gguf"
    target.chmod(0o600)
    target.write_bytes(flip_last(BIG))
    (stage.volume / "config.json").unlink()
    (stage.volume / "config.json").mkdir()
    (stage.volume / "link").symlink_to("/etc")
    (stage.volume / "strange" / "deep").mkdir(parents=True)
    (stage.volume / "strange" / "deep" / "x").write_text("x")
    (stage.volume / ".sekisho-partial").mkdir()
    (stage.volume / ".sekisho-partial" / "00002").write_bytes(MARK)
    stage.agent = stage.make_agent()
    await stage.step()
    await settle(lambda: stage.agent.state.startup().ok)
    assert {path: (stage.volume / path).read_bytes() for path in stage.models} == PLAIN
    assert sorted(path.name for path in stage.volume.iterdir()) == ["config.json", "empty.txt", "model.gguf", "shards"]


async def end(stage: SealedStage) -> None:
    stage.agent.stop.set()
    await asyncio.to_thread(stage.agent.run)


async def test_what_is_put_right_is_unsealed_once_the_controller_tells_of_it(stage: SealedStage) -> None:
    older(stage)
    await expect(stage, Reason.VERSION_ROLLED_BACK, "version 7 was accepted")
    accept(stage, seal_model(make_keys(stage.keys_dir), identity=replace(IDENTITY, version=8)))
    stage.depot.api.fetches._jobs.clear()
    await stage.step()
    await settle(lambda: stage.condition.get("status") == "True")
    assert "version 8" in stage.condition["message"]


@pytest.mark.slow
async def test_refusals_wait_long_and_failures_that_may_pass_wait_short(
    stage: SealedStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[tuple[str, int]] = []
    monkeypatch.setattr(fetch, "wait_refused", lambda n: waits.append(("refused", n)) or 0.01)
    monkeypatch.setattr(fetch, "wait_unavailable", lambda n: waits.append(("unavailable", n)) or 0.01)
    other_kms(stage)
    await stage.step()
    await settle(lambda: len(waits) > 2)
    assert waits[:3] == [("refused", 0), ("refused", 1), ("refused", 2)]
    await end(stage)
    waits.clear()
    stage.agent = stage.make_agent()
    stage.put(stage.sealed.blobs)
    stage.depot.api.fetches._jobs.clear()
    closed_port(stage)
    await stage.step()
    await settle(lambda: len(waits) > 1)
    assert waits[:2] == [("unavailable", 0), ("unavailable", 1)]


@pytest.mark.slow
async def test_a_depot_that_starts_anew_and_knows_no_proof_yet_is_asked_again_soon(
    stage: SealedStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[str] = []
    monkeypatch.setattr(fetch, "wait_refused", lambda _n: waits.append("refused") or 0.05)
    monkeypatch.setattr(fetch, "wait_unavailable", lambda _n: waits.append("unavailable") or 0.05)
    stage.server.status = 503
    await stage.step()
    await settle(lambda: stage.agent.state.weights().reason is Reason.SOURCE_UNREACHABLE)
    proofs = stage.depot.api.proofs
    sessions = dict(proofs._sessions)
    proofs._sessions.clear()
    await settle(lambda: stage.agent.state.weights().reason is Reason.ISOLATION_NOT_PROVEN)
    assert set(waits) == {"unavailable"}
    proofs._sessions.update(sessions)
    stage.server.status = 0
    stage.depot.api.fetches._jobs.clear()
    await settle(lambda: stage.condition.get("status") == "True")


@pytest.mark.slow
async def test_a_word_that_did_not_reach_the_depot_is_said_again(
    stage: SealedStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "_RETOLD_SECONDS", 0.05)
    original = fetch.post_report
    failed = []

    def lose(access: Any, report: Any) -> None:
        if report.ready and len(failed) < 3:
            failed.append(report)
            from sekisho.errors import UnavailableError  # noqa: PLC0415

            raise UnavailableError(Reason.DEPOT_UNREACHABLE, "gone")
        original(access, report)

    monkeypatch.setattr(fetch, "post_report", lose)
    await stage.step()
    await settle(lambda: stage.condition.get("status") == "True")
    assert len(failed) == 3


async def test_keys_and_buffers_are_wiped_once_they_are_not_needed(
    stage: SealedStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    wiped: list[bytearray] = []
    original = unseal.wipe

    def note(secret: bytearray) -> None:
        original(secret)
        wiped.append(secret)

    monkeypatch.setattr(unseal, "wipe", note)
    monkeypatch.setattr(lines, "wipe", note)
    await stage.step()
    await settle(lambda: stage.condition.get("status") == "True")
    keys = {id(item): item for item in wiped if len(item) == 32}
    assert len(keys) == 1 + len(FILES)
    assert all(not any(item) for item in wiped)
    assert {len(item) for item in wiped} == {32, 4 << 20, (4 << 20) + 16}


async def test_a_token_of_another_pod_opens_nothing_for_this_one(stage: SealedStage) -> None:
    stage.release_cluster.add_pod(replace(build_pod(), name="chat-1", uid="uid-1", service="other"), "other")
    (stage.folder / "release-token").write_text("other")
    await expect(stage, Reason.KEY_DENIED, "says it serves other but runs as chat-predictor")
