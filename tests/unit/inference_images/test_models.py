"""Generated models: whole, the same every time, and of the shape they claim."""

import json
import struct
from pathlib import Path

import pytest
from imagebuild.failure import ImageBuildError
from models.gguf import write_gguf
from models.safetensors import write_folder
from models.shelf import make_model, place_model
from models.tokens import build_vocabulary
from models.weights import CONTROL_TOKENS, LlamaShape, generate_tensors


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEKISHO_CACHE", str(tmp_path / "cache"))
    return tmp_path


def test_an_unknown_model_is_refused_and_the_known_ones_are_named() -> None:
    with pytest.raises(ImageBuildError, match="no model is called nothing; there are: smollm2, tiny-gguf"):
        make_model("nothing")


def test_a_model_is_made_once_and_copied_where_it_is_wanted(cache: Path) -> None:
    folder = make_model("tiny-gguf")
    before = folder.stat().st_mtime_ns
    assert place_model("tiny-gguf", cache / "out/m.gguf") == [cache / "out/m.gguf"]
    assert place_model("tiny-llama", cache / "hf") == sorted((cache / "hf").iterdir())
    assert folder.stat().st_mtime_ns == before
    assert (cache / "out/m.gguf").read_bytes() == (folder / "tiny.gguf").read_bytes()


def test_every_character_can_be_written_and_no_token_is_there_twice() -> None:
    vocabulary = build_vocabulary()
    assert len(set(vocabulary.tokens)) == len(vocabulary.tokens)
    assert len([t for t in vocabulary.tokens if len(t) == 1]) == 256
    assert all(left + right in vocabulary.tokens for left, right in vocabulary.merges)


def test_weights_are_small_and_control_tokens_are_never_likely() -> None:
    tensors = {t.part: t for t in generate_tensors(LlamaShape(), vocabulary_size=300, seed=1)}
    output = struct.unpack(f"<{300 * 64}e", tensors["output"].content)
    assert set(output[: CONTROL_TOKENS * 64]) == {0.0}
    assert all(1 / 128 <= abs(value) < 1 / 32 for value in output[CONTROL_TOKENS * 64 :])
    assert min(output) < 0 < max(output)
    assert all(len(t.content) == 2 * t.shape[0] * (t.shape[1] if len(t.shape) == 2 else 1) for t in tensors.values())


def test_the_same_seed_gives_the_same_file_and_another_seed_another(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        write_gguf(tmp_path / name, shape=LlamaShape(), seed=seed)
    first, second, third = ((tmp_path / name).read_bytes() for name in "abc")
    assert first == second != third
    assert first[:4] == b"GGUF"
    assert struct.unpack_from("<IQ", first, 4) == (3, 3 + 2 * 9)


def test_the_tensors_of_a_folder_fill_its_file_without_gap_or_overlap(tmp_path: Path) -> None:
    write_folder(tmp_path, shape=LlamaShape())
    content = (tmp_path / "model.safetensors").read_bytes()
    size = struct.unpack_from("<Q", content)[0]
    header = json.loads(content[8 : 8 + size])
    del header["__metadata__"]
    end = 0
    for entry in header.values():
        assert entry["data_offsets"][0] == end
        end = entry["data_offsets"][1]
    assert 8 + size + end == len(content)
    config = json.loads((tmp_path / "config.json").read_text())
    assert header["lm_head.weight"]["shape"] == [config["vocab_size"], config["hidden_size"]]
