"""Real vLLM with sealed weights: the same answers as with plain ones, and no start where they are not as sealed."""

import json
import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from imagebuild.debian import RUN_AS
from imagebuild.main import build_image
from imagebuild.probing import fetch, find_free_port, wait_until_healthy
from imagebuild.sandbox import RunningImage, run_image
from models.shelf import make_model

from sekisho.formats.choose import parse_layout
from sekisho.loader.handover import Handover, serve_file_keys
from sekisho.loader.opening import derive_keys
from sekisho.seal.segments import cut_segments
from tests.unit.loader.sealed_folders import MODEL, cut, write
from tests.unit.seal.sealing import Sealed, seal

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(1500)]

SOURCES = Path(__file__).parents[2] / "operator" / "sekisho"
PARTS = ("__init__.py", "errors.py", "formats", "seal", "loader")
QUESTION = {"model": "demo", "prompt": "Say something.", "max_tokens": 16, "temperature": 0, "logprobs": 3}
UNCOMPILED = {"TORCHDYNAMO_DISABLE": "1"}  # vLLM compiles how it counts probabilities, and the image has no compiler


@pytest.fixture(scope="module")
def archive(need_root: None) -> Path:
    return build_image("vllm").archive


@pytest.fixture(scope="module")
def sealed() -> Sealed:
    """The tiny model, sealed as the owner's tool cuts it."""
    files = {}
    for place in sorted(make_model("tiny-llama").iterdir()):
        data = place.read_bytes()
        with place.open("rb") as file:
            layout = parse_layout(place.name, file, size=len(data))
        files[place.name] = cut(data, cut_segments(len(data), layout.boundaries() if layout else ()))
    return seal(files)


def lay_out(volume: Path, sealed: Sealed) -> Path:
    """Make what the engine sees: the sealed folder, configuration and tokenizer in plain, the plugin."""
    write(sealed, volume / "sealed")
    shutil.copytree(make_model("tiny-llama"), volume / "config", ignore=shutil.ignore_patterns("*.safetensors"))
    for part in PARTS:
        source, target = SOURCES / part, volume / "plugin" / "sekisho" / part
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    info = volume / "plugin" / "sekisho-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: sekisho\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[vllm.general_plugins]\nsekisho = sekisho.loader.vllm_plugin:register\n")
    (volume / "run").mkdir()
    return volume


@contextmanager
def agent(volume: Path, sealed: Sealed, *, key: bytes | None = None) -> Iterator[None]:
    """Hand over the key of the weights alone, as the engine's own user, which agent and engine share in a pod."""
    keys = derive_keys(sealed.key, sealed.manifest, [MODEL])
    handover = Handover(sealed.trusted, {path: bytearray(key or own) for path, own in keys.items()})
    place = volume / "run" / "keys"
    server = threading.Thread(target=serve_file_keys, args=(place, handover), kwargs={"seconds": 300, "user": RUN_AS})
    server.start()
    while not place.exists():
        time.sleep(0.01)
    os.chown(place, RUN_AS, RUN_AS)
    yield
    server.join()
    assert not handover.keys


@contextmanager
def engine(archive: Path, work: Path, volume: Path) -> Iterator[tuple[RunningImage, int]]:
    port = find_free_port()
    arguments = [
        "--model=/models/config", "--load-format=sekisho", "--served-model-name=demo", "--host=127.0.0.1",
        f"--port={port}",
    ]  # fmt: skip
    environment = UNCOMPILED | {
        "PYTHONPATH": "/app/site:/models/plugin",
        "SEKISHO_LOADER_SOCKET": "/models/run/keys",
        "SEKISHO_LOADER_CIPHERTEXT": "/models/sealed",
    }
    with run_image(archive, work, arguments=arguments, models=volume, environment=environment) as running:
        yield running, port


def ask(port: int) -> object:
    status, body = fetch(port, "/v1/completions", body=QUESTION)
    assert status == 200, body
    choice = json.loads(body)["choices"][0]
    return choice["text"], choice["logprobs"]["tokens"], choice["logprobs"]["token_logprobs"]


def test_sealed_weights_give_the_same_answers_to_the_last_digit_as_plain_ones(
    archive: Path, sealed: Sealed, tmp_path: Path
) -> None:
    volume = lay_out(tmp_path / "volume", sealed)
    with agent(volume, sealed), engine(archive, tmp_path / "sealed", volume) as (running, port):
        assert wait_until_healthy(port, seconds=600, is_alive=lambda: running.process.poll() is None), running.printed
        answer = ask(port)
        assert not list(volume.rglob("*.safetensors")), "no plain file of weights"
    port = find_free_port()
    arguments = ["--model=/models", "--served-model-name=demo", "--host=127.0.0.1", f"--port={port}"]
    plain = tmp_path / "plain"
    with run_image(
        archive, plain, arguments=arguments, models=make_model("tiny-llama"), environment=UNCOMPILED
    ) as running:
        assert wait_until_healthy(port, seconds=600, is_alive=lambda: running.process.poll() is None), running.printed
        assert ask(port) == answer


def flip(volume: Path) -> str:
    blob = max((volume / "sealed" / "files").iterdir(), key=lambda place: place.stat().st_size)
    data = bytearray(blob.read_bytes())
    data[-1] ^= 1
    blob.write_bytes(data)
    return f'SealBroken: segment 0 of 1 of "{MODEL}" does not open'


def remove(volume: Path) -> str:
    (volume / "sealed" / "files" / "00000.sealed").unlink()
    return "SealBroken: 1 files of the manifest are missing"


def use_another_key(volume: Path) -> str:
    return f'SealBroken: segment 0 of 1 of "{MODEL}" does not open'


@pytest.mark.parametrize("harm", [flip, remove, use_another_key])
def test_weights_that_are_not_as_sealed_keep_the_engine_from_starting(
    archive: Path, sealed: Sealed, tmp_path: Path, harm: object
) -> None:
    volume = lay_out(tmp_path / "volume", sealed)
    assert callable(harm)
    reason = harm(volume)
    key = bytes(32) if harm is use_another_key else None
    with agent(volume, sealed, key=key), engine(archive, tmp_path / "engine", volume) as (running, port):
        assert running.process.wait(timeout=600) != 0
        assert reason in running.printed
        assert not wait_until_healthy(port, seconds=1, is_alive=lambda: True)
