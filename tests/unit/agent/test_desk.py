"""An engine that decrypts by itself gets the keys of its files from the agent, anew at each start, and nothing else."""

import asyncio
import contextlib
import json
import shutil
import socket
import stat
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from sekisho.agent import desk, fetch
from sekisho.errors import Reason, SekishoError, UnavailableError
from sekisho.loader.handover import fetch_file_keys, is_handed_over, open_handed_over, stays_sealed
from sekisho.loader.tensors import load_tensors
from sekisho.seal.facts import MANIFEST_NAME
from tests.unit.agent.sealed import MARK, SealedStage, list_files, run_stage, told_of
from tests.unit.agent.test_unsealing import end, find_plain
from tests.unit.depot.parts import settle
from tests.unit.loader.sealed_folders import cut, make_safetensors

TENSORS = {"a": MARK + bytes(range(256)) * 64, "b": b"b" * 999}
WEIGHTS = make_safetensors(TENSORS)
FILES: Mapping[str, tuple[bytes, ...]] = {
    "config.json": (b'{"layers":2}',),
    "extra/model.safetensors": cut(WEIGHTS),
    "model.safetensors": cut(WEIGHTS, [len(WEIGHTS) // 2, len(WEIGHTS) - len(WEIGHTS) // 2]),
    "tokenizer.json": (MARK,),
}


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "_POLL_SECONDS", 0.05)
    monkeypatch.setattr(fetch, "_LOOK_SECONDS", 0.02)
    monkeypatch.setattr(desk, "_BETWEEN_SECONDS", 0.0)
    monkeypatch.setattr(desk, "wait_refused", lambda _n: 0.05)
    monkeypatch.setattr(desk, "wait_unavailable", lambda _n: 0.05)


@contextlib.asynccontextmanager
async def handing(folder: Path, **changes: Any) -> AsyncIterator[SealedStage]:
    """A stage whose engine decrypts by itself: ciphertext on the disk, socket and the rest in memory."""
    async with run_stage(folder, **{"files": FILES, **changes}) as stage:
        for place in ("models", "run"):
            (stage.volume / place).mkdir()
        (folder / "sealed").mkdir()
        handover = {"ciphertext": str(folder / "sealed"), "socket": str(stage.volume / "run" / "keys")}
        weights = {"mode": "sealed", "path": str(stage.volume / "models"), "sealed": told_of(stage.sealed)}
        stage.write_config(weights=weights | {"handover": handover})
        yield stage


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[SealedStage]:
    async with handing(tmp_path) as running:
        yield running


def place(stage: SealedStage) -> Path:
    return stage.volume / "run" / "keys"


def start_engine(stage: SealedStage, *, seconds: float = 60) -> dict[str, bytes]:
    """Do what the engine's load format does: get the keys, open the sealed folder, load the tensors."""
    handover = fetch_file_keys(place(stage), seconds=seconds)
    assert sorted(handover.keys) == ["model.safetensors"]
    model = open_handed_over(stage.folder / "sealed", handover)
    loaded = load_tensors(model, "model.safetensors")
    return {name: bytes(tensor.view) for name, tensor in loaded.tensors.items()}


async def serve(stage: SealedStage) -> None:
    await stage.step()
    await settle(lambda: stage.condition.get("status") == "True" and place(stage).exists())


async def test_weights_stay_sealed_in_the_pod_and_the_engine_opens_them_with_handed_keys(stage: SealedStage) -> None:
    await serve(stage)
    assert list_files(stage.volume / "models") == ["config.json", "tokenizer.json"]
    assert await asyncio.to_thread(start_engine, stage) == TENSORS
    assert find_plain(stage.folder) == []
    assert [p for p in list_files(stage.volume) if p.endswith(".safetensors")] == []
    assert sorted(list_files(stage.folder / "sealed")) == sorted(stage.sealed.blobs)
    assert "4 files, 2 of them sealed until the engine opens them" in stage.condition["message"]
    assert "legal/reviewer version 7" in stage.condition["message"]


async def test_an_engine_that_starts_again_has_its_keys_released_anew(
    stage: SealedStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    original = desk.open_data_key

    def note(keys: Any, artifact: Any) -> bytearray:
        asked.append(artifact.manifest_digest)
        return original(keys, artifact)

    monkeypatch.setattr(desk, "open_data_key", note)
    await serve(stage)
    for _ in range(3):
        assert await asyncio.to_thread(start_engine, stage) == TENSORS
    assert asked == [stage.sealed.trusted] * 3


async def test_no_key_is_left_with_the_agent_once_it_was_handed_over(
    stage: SealedStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[bytearray] = []
    original = desk.open_data_key
    build = desk.Handover

    def keep(keys: Any, artifact: Any) -> bytearray:
        held.append(original(keys, artifact))
        return held[-1]

    def note(digest: str, keys: dict[str, bytearray]) -> Any:
        held.extend(keys.values())
        return build(digest, keys)

    monkeypatch.setattr(desk, "open_data_key", keep)
    monkeypatch.setattr(desk, "Handover", note)
    await serve(stage)
    await asyncio.to_thread(start_engine, stage)
    await settle(lambda: len(held) == 2 and not any(any(key) for key in held))


@pytest.mark.slow
async def test_a_key_that_was_disabled_since_keeps_the_engine_from_starting_again_and_comes_back(
    stage: SealedStage,
) -> None:
    await serve(stage)
    await asyncio.to_thread(start_engine, stage)
    file = stage.keys_dir / "owner.json"
    text = file.read_text()
    file.write_text(json.dumps(json.loads(text) | {"enabled": False}))
    with pytest.raises(UnavailableError, match="no keys were handed over at"):
        await asyncio.to_thread(start_engine, stage, seconds=0.5)
    await settle(lambda: stage.condition.get("reason") == "KeyDisabled")
    assert stage.condition["status"] == "False"
    assert "does not use the key 'owner': the file says so" in stage.condition["message"]
    file.write_text(text)
    assert await asyncio.to_thread(start_engine, stage) == TENSORS
    await settle(lambda: stage.condition.get("status") == "True")


@pytest.mark.slow
async def test_a_leak_closes_the_desk(stage: SealedStage) -> None:
    await serve(stage)
    listener = socket.create_server(("127.0.0.1", 0))
    with listener:
        port = listener.getsockname()[1]
        canary = {"name": "open", "host": "127.0.0.1", "port": port, "protocols": ["tcp"]}
        stage.write_config(canaries=[canary])
        await stage.step()
    assert not stage.agent.state.isolation().ok
    assert not place(stage).exists()
    assert list_files(stage.volume / "models") == []
    with pytest.raises(UnavailableError, match="no keys were handed over"):
        await asyncio.to_thread(start_engine, stage, seconds=0.3)


@pytest.mark.slow
async def test_an_agent_that_ends_takes_its_socket_along_and_another_goes_on_with_what_is_there(
    stage: SealedStage,
) -> None:
    await serve(stage)
    await end(stage)
    assert not place(stage).exists()
    before = {path: (stage.folder / "sealed" / path).stat().st_ino for path in list_files(stage.folder / "sealed")}
    stage.agent = stage.make_agent()
    await serve(stage)
    after = {path: (stage.folder / "sealed" / path).stat().st_ino for path in list_files(stage.folder / "sealed")}
    assert after == before
    assert await asyncio.to_thread(start_engine, stage) == TENSORS


@pytest.mark.slow
async def test_ciphertext_that_was_changed_on_the_disk_is_brought_again_before_the_agent_says_it_is_there(
    stage: SealedStage,
) -> None:
    await serve(stage)
    await end(stage)
    target = stage.folder / "sealed" / "files" / "00002.sealed"
    target.chmod(0o600)
    data = bytearray(target.read_bytes())
    data[7] ^= 1
    target.write_bytes(data)
    (stage.folder / "sealed" / "files" / "strange").write_text("x")
    stage.agent = stage.make_agent()
    await serve(stage)
    assert await asyncio.to_thread(start_engine, stage) == TENSORS


async def test_ciphertext_that_is_changed_under_the_engine_does_not_open(stage: SealedStage) -> None:
    await serve(stage)
    target = stage.folder / "sealed" / "files" / "00002.sealed"
    target.chmod(0o600)
    data = bytearray(target.read_bytes())
    data[7] ^= 1
    target.write_bytes(data)
    with pytest.raises(SekishoError, match=r'segment 0 of 2 of "model\.safetensors" does not open') as caught:
        await asyncio.to_thread(start_engine, stage)
    assert caught.value.reason is Reason.SEAL_BROKEN


async def test_the_socket_is_its_owners_alone(stage: SealedStage) -> None:
    await serve(stage)
    assert stat.S_IMODE(place(stage).stat().st_mode) == 0o600


async def expect(stage: SealedStage, reason: Reason, message: str) -> None:
    await stage.step()
    await settle(lambda: stage.condition.get("reason") == reason)
    assert message in stage.condition["message"]
    assert stage.condition["status"] == "False"
    assert not stage.agent.state.startup().ok
    assert not place(stage).exists()


async def test_a_model_without_weights_that_the_engine_decrypts_is_refused_before_any_is_brought(
    tmp_path: Path,
) -> None:
    files = {"config.json": (b"{}",), "extra/model.safetensors": (b"x",), "model.gguf": (b"y",)}
    async with handing(tmp_path, files=files) as stage:
        await expect(
            stage, Reason.FORMAT_NOT_SERVED,
            'model "legal/reviewer" has no file .safetensors at its top, and the Runtime decrypts no other; serve it '
            "by a Runtime whose loader is files",
        )  # fmt: skip
        assert list_files(tmp_path / "sealed") == []


async def test_a_socket_on_a_disk_is_refused(stage: SealedStage) -> None:
    (stage.folder / "run").mkdir()
    weights = stage.config["weights"]
    handover = weights["handover"] | {"socket": str(stage.folder / "run" / "keys")}
    stage.write_config(weights=weights | {"handover": handover})
    await expect(stage, Reason.VOLUME_MISSING, "is no volume in memory")
    assert list_files(stage.folder / "sealed") == []


async def test_a_folder_for_ciphertext_that_is_not_there_ends_in_a_condition(stage: SealedStage) -> None:
    shutil.rmtree(stage.folder / "sealed")
    await expect(stage, Reason.SIZE_EXCEEDED, "weights cannot be written to the volume: No such file or directory")


@pytest.mark.slow
async def test_something_else_where_the_socket_shall_be_is_not_removed(stage: SealedStage) -> None:
    place(stage).write_text("someone's")
    await stage.step()
    await settle(lambda: stage.condition.get("status") == "True")
    with pytest.raises(UnavailableError, match="no keys were handed over"):
        await asyncio.to_thread(fetch_file_keys, place(stage), seconds=0.3)
    assert place(stage).read_text() == "someone's"


async def test_a_tampered_artifact_is_refused_before_any_ciphertext_is_brought(stage: SealedStage) -> None:
    blobs = dict(stage.sealed.blobs)
    blobs[MANIFEST_NAME] = blobs[MANIFEST_NAME].replace(b'"version":7', b'"version":6')
    stage.put(blobs)
    await expect(stage, Reason.VERSION_ROLLED_BACK, "version 7 was accepted")
    assert list_files(stage.folder / "sealed") == []


def test_the_agent_leaves_sealed_what_the_engine_may_open_and_hands_over_no_more_than_it_loads() -> None:
    paths = ["model.safetensors", "deep/model.safetensors", "config.json", "model.safetensors.index.json"]
    assert [stays_sealed(path) for path in paths] == [True, True, False, False]
    assert [is_handed_over(path) for path in paths] == [True, False, False, False]
