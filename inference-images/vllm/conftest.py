"""vLLM's image, unpacked once for every test that runs it, the cache that its starts share, and a plain model in it."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from imagebuild.debian import RUN_AS
from imagebuild.main import build_image
from imagebuild.probing import wait_until_healthy
from imagebuild.sandbox import RunningImage, run_image
from imagebuild.store import cache_folder
from imagebuild.unpacked import lend_root
from models.shelf import make_model

from e2e.ports import free_port


@pytest.fixture(scope="package")
def archive(need_root: None) -> Iterator[Path]:
    """Return the image's archive; its root, gigabytes, stays unpacked meanwhile."""
    built = build_image("vllm").archive
    with lend_root(built):
        yield built


@pytest.fixture(scope="package")
def cache(archive: Path) -> Path:
    """Return the cache that every start of this image finds, as in a pod whose container starts again; runs share it.

    vLLM keeps facts about classes of models there, by the digest of their source, and asks a process of its own where
    it has none: a quarter of a start. These are kilobytes; of weights, keys and answers it keeps nothing.
    """
    folder = cache_folder() / "vllm" / archive.stem
    folder.mkdir(parents=True, exist_ok=True)
    os.chown(folder, RUN_AS, RUN_AS)
    return folder


@pytest.fixture(scope="package")
def uncompiled() -> dict[str, str]:
    """Return what keeps vLLM from compiling how it counts probabilities: the image has no compiler."""
    return {"TORCHDYNAMO_DISABLE": "1"}


@pytest.fixture(scope="package")
def engine(
    archive: Path, cache: Path, uncompiled: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[RunningImage, int]]:
    """Serve the tiny model in plain until the last test; also return the port."""
    port = free_port()
    arguments = ["--model=/models", "--served-model-name=demo", "--host=127.0.0.1", f"--port={port}"]
    work, model = tmp_path_factory.mktemp("vllm"), make_model("tiny-llama")
    with run_image(archive, work, arguments=arguments, models=model, cache=cache, environment=uncompiled) as running:
        assert wait_until_healthy(port, seconds=1200, is_alive=lambda: running.process.poll() is None), running.printed
        yield running, port
