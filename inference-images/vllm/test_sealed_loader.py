"""Real vLLM with sealed weights from the real agent: the same answers as with plain ones, and no start without."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from imagebuild.debian import RUN_AS
from imagebuild.probing import fetch, wait_until_healthy
from imagebuild.sandbox import RunningImage, run_image
from models.shelf import make_model

from e2e.ports import free_port
from sekisho.formats.choose import parse_layout
from sekisho.loader.handover import Handover, hand_over_on_demand
from sekisho.loader.opening import derive_keys
from sekisho.seal.segments import cut_segments
from tests.unit.agent.sealed import SealedStage, list_files, memory_folder, run_stage
from tests.unit.loader.sealed_folders import MODEL, cut, write
from tests.unit.seal.sealing import Sealed, seal

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(3600)]

ROOT = Path(__file__).parents[2]
# All is imported before: whom it becomes may not be able to read the Python that runs this.
AS_ENGINE = """
import encodings.ascii, encodings.idna, os, sys  # its library may be beyond the reach of that user
from sekisho.agent.main import main
user = int(sys.argv[1])
os.setgroups([]), os.setgid(user), os.setuid(user)
raise SystemExit(main(["run"]))
"""
QUESTION = {"model": "demo", "prompt": "Say something.", "max_tokens": 16, "temperature": 0, "logprobs": 3}
# On CPUs vLLM's worker, which opens the weights, is a process of its own, as where a model is spread over GPUs.
APART = dict[str, str]()
# On a single GPU it is within the engine's process: one less that imports everything, a quarter of a start.
WITHIN = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0"}


def cut_model() -> dict[str, tuple[bytes, ...]]:
    """Cut the files of the tiny model into segments as the owner's tool does."""
    files = {}
    for place in sorted(make_model("tiny-llama").iterdir()):
        data = place.read_bytes()
        with place.open("rb") as file:
            layout = parse_layout(place.name, file, size=len(data))
        files[place.name] = cut(data, cut_segments(len(data), layout.boundaries() if layout else ()))
    return files


@pytest.fixture(scope="module")
def sealed() -> Sealed:
    return seal(cut_model())


def lay_out(volume: Path, sealed: Sealed) -> Path:
    """Make what the engine sees: the sealed folder, configuration and tokenizer in plain."""
    write(sealed, volume / "sealed")
    shutil.copytree(make_model("tiny-llama"), volume / "config", ignore=shutil.ignore_patterns("*.safetensors"))
    (volume / "run").mkdir()
    return volume


@contextmanager
def running_stage(folder: Path) -> Iterator[SealedStage]:
    """Run depot and development release beside the test; the agent of the stage rests, ours is a process."""
    ready, over, found = threading.Event(), threading.Event(), list[SealedStage]()

    async def play() -> None:
        async with run_stage(folder, files=cut_model()) as stage:
            found.append(stage)
            ready.set()
            await asyncio.to_thread(over.wait)

    thread = threading.Thread(target=lambda: asyncio.run(play()))
    thread.start()
    try:
        assert ready.wait(600)
        yield found[0]
    finally:
        over.set()
        thread.join()


@contextmanager
def real_agent(stage: SealedStage, volume: Path) -> Iterator[None]:
    """Run the agent as a pod does, as the user that it shares with the engine, until its socket is there."""
    for name in ("config", "sealed", "run"):
        (volume / name).mkdir()
    handover = {"ciphertext": str(volume / "sealed"), "socket": str(volume / "run" / "keys")}
    weights = stage.config["weights"] | {"path": str(volume / "config"), "handover": handover}
    stage.write_config(weights=weights)
    own = volume / "agent"
    own.mkdir()
    for name in ("agent.json", "token", "release-token", "tls/ca.crt"):
        shutil.copyfile(stage.folder / name, own / Path(name).name)
    for path in (volume, *volume.rglob("*")):
        os.chown(path, RUN_AS, RUN_AS)
    environment = {
        "PYTHONPATH": str(ROOT / "operator"), "SEKISHO_CONFIG_DIR": str(own), "SEKISHO_TOKEN_FILE": str(own / "token"),
        "SEKISHO_BIND": "127.0.0.1", "SEKISHO_AGENT_PORT": str(free_port()), "HOST_IP": "10.9.0.2",
    }  # fmt: skip
    process = subprocess.Popen([sys.executable, "-c", AS_ENGINE, str(RUN_AS)], env=environment, cwd="/")
    try:
        wait_until((volume / "run" / "keys").exists, is_alive=lambda: process.poll() is None)
        yield
        assert process.poll() is None
    finally:
        process.terminate()
        process.wait(timeout=600)


def wait_until(there: Callable[[], bool], *, is_alive: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 600
    while not there():
        assert is_alive(), "the agent ended; its output says why"
        assert time.monotonic() < deadline, "the agent handed nothing over within 600 s"
        time.sleep(0.05)


@contextmanager
def agent(volume: Path, sealed: Sealed) -> Iterator[None]:
    """Hand over the key of the weights alone, as the engine's own user, which agent and engine share in a pod."""
    keys = derive_keys(sealed.key, sealed.manifest, [MODEL])
    place, over, brought = volume / "run" / "keys", threading.Event(), list[Handover]()

    def bring() -> Handover:
        brought.append(Handover(sealed.trusted, {path: bytearray(key) for path, key in keys.items()}))
        return brought[-1]

    options = {"is_over": over.is_set, "user": RUN_AS}
    desk = threading.Thread(target=hand_over_on_demand, args=(place, bring), kwargs=options)
    desk.start()
    try:
        wait_until(place.exists, is_alive=desk.is_alive)
        os.chown(place, RUN_AS, RUN_AS)
        yield
    finally:
        over.set()
        desk.join()
    assert len(brought) == 1
    assert not brought[0].keys


@contextmanager
def sealed_engine(
    archive: Path, cache: Path, work: Path, volume: Path, *, worker: Mapping[str, str]
) -> Iterator[tuple[RunningImage, int]]:
    port = free_port()
    arguments = [
        "--model=/models/config", "--load-format=sekisho", "--served-model-name=demo", "--host=127.0.0.1",
        f"--port={port}",
    ]  # fmt: skip
    environment = {
        **worker,
        "SEKISHO_LOADER_SOCKET": "/models/run/keys",
        "SEKISHO_LOADER_CIPHERTEXT": "/models/sealed",
    }
    with run_image(archive, work, arguments=arguments, models=volume, cache=cache, environment=environment) as running:
        yield running, port


def ask(port: int) -> object:
    status, body = fetch(port, "/v1/completions", body=QUESTION)
    assert status == 200, body
    choice = json.loads(body)["choices"][0]
    return choice["text"], choice["logprobs"]["tokens"], choice["logprobs"]["token_logprobs"]


def test_sealed_weights_give_the_same_answers_to_the_last_digit_as_plain_ones(
    archive: Path, cache: Path, uncompiled: dict[str, str], engine: tuple[RunningImage, int], tmp_path: Path
) -> None:
    with memory_folder() as volume, running_stage(tmp_path / "stage") as stage, real_agent(stage, volume):
        with sealed_engine(archive, cache, tmp_path / "sealed", volume, worker=uncompiled | WITHIN) as (running, port):
            alive = wait_until_healthy(port, seconds=1200, is_alive=lambda: running.process.poll() is None)
            assert alive, running.printed
            answer = ask(port)
        assert not list(volume.rglob("*.safetensors")), "no plain file of weights"
        assert sorted(list_files(volume / "sealed")) == sorted(stage.sealed.blobs)
        assert stage.condition["status"] == "True"
        assert "sealed until the engine opens them" in stage.condition["message"]
    assert ask(engine[1]) == answer


def test_weights_that_are_not_as_sealed_keep_the_engine_from_starting(
    archive: Path, cache: Path, uncompiled: dict[str, str], sealed: Sealed, tmp_path: Path
) -> None:
    volume = lay_out(tmp_path / "volume", sealed)
    blob = max((volume / "sealed" / "files").iterdir(), key=lambda place: place.stat().st_size)
    data = bytearray(blob.read_bytes())
    data[-1] ^= 1
    blob.write_bytes(data)
    work = tmp_path / "engine"
    with (
        agent(volume, sealed),
        sealed_engine(archive, cache, work, volume, worker=uncompiled | APART) as (running, port),
    ):
        assert running.process.wait(timeout=1200) != 0
        assert f'SealBroken: segment 0 of 1 of "{MODEL}" does not open' in running.printed
        assert not wait_until_healthy(port, seconds=1, is_alive=lambda: True)
