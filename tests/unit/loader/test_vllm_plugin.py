"""What the plugin does without vLLM; the real engine proves the rest in inference-images/vllm."""

from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from sekisho.errors import Reason, RefusedError, UnavailableError
from sekisho.loader import vllm_plugin
from sekisho.loader.tensors import TensorView
from tests.unit.loader.sealed_folders import MODEL, cut, lay_down, make_safetensors, pattern, write
from tests.unit.loader.test_handover import make_handover, serving
from tests.unit.seal.sealing import seal

TENSORS = {"a": pattern(3000, 1), "b": pattern(5000, 2)}


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEKISHO_LOADER_SOCKET", str(tmp_path / "keys"))
    monkeypatch.setenv("SEKISHO_LOADER_CIPHERTEXT", str(tmp_path / "sealed"))
    monkeypatch.setenv("SEKISHO_LOADER_WAIT_SECONDS", "10")
    return tmp_path


def test_the_plugin_is_where_vllm_looks_for_it() -> None:
    import tomllib  # noqa: PLC0415

    root = Path(__file__).parents[3]
    named = tomllib.loads((root / "pyproject.toml").read_text())["project"]["entry-points"]["vllm.general_plugins"]
    assert EntryPoint("sekisho", named["sekisho"], "vllm.general_plugins").load() is vllm_plugin.register


def test_weights_come_by_the_keys_that_the_agent_hands_over(settings: Path) -> None:
    sealed = seal({"config.json": (b"{}",), MODEL: cut(make_safetensors(TENSORS))})
    write(sealed, settings / "sealed")
    with serving(settings / "keys", make_handover(sealed)):
        assert {tensor.name: bytes(tensor.view) for tensor in vllm_plugin.read_weights()} == TENSORS


@pytest.mark.slow
@pytest.mark.parametrize("variable", ["SEKISHO_LOADER_SOCKET", "SEKISHO_LOADER_CIPHERTEXT"])
def test_a_setting_that_is_missing_is_named(settings: Path, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    with serving(settings / "keys", make_handover(), seconds=1):
        monkeypatch.delenv(variable)
        with pytest.raises(RefusedError, match=f"{variable} is not set; the load format sekisho needs it") as caught:
            list(vllm_plugin.read_weights())
    assert caught.value.reason is Reason.INVALID_SPEC


def test_a_time_to_wait_that_is_no_number_is_refused(settings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEKISHO_LOADER_WAIT_SECONDS", "soon")
    with pytest.raises(RefusedError, match='SEKISHO_LOADER_WAIT_SECONDS is "soon", a number is needed') as caught:
        list(vllm_plugin.read_weights())
    assert caught.value.reason is Reason.INVALID_SPEC


def test_without_an_agent_nothing_is_loaded(settings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEKISHO_LOADER_WAIT_SECONDS", "0")
    with pytest.raises(UnavailableError, match="no keys were handed over"):
        list(vllm_plugin.read_weights())


def test_weights_that_are_shipped_twice_are_taken_once(tmp_path: Path) -> None:
    names = ["consolidated.safetensors", "model-1.safetensors", "model-2.safetensors", "original/model.safetensors"]
    model, _ = lay_down(tmp_path / "both", dict.fromkeys(names, (b"x",)))
    assert vllm_plugin.choose_files(model) == ["model-1.safetensors", "model-2.safetensors"]
    model, _ = lay_down(tmp_path / "one", {"consolidated.safetensors": (b"x",)})
    assert vllm_plugin.choose_files(model) == ["consolidated.safetensors"]


def test_a_model_without_safetensors_is_refused(tmp_path: Path) -> None:
    model, _ = lay_down(tmp_path, {"model.gguf": (b"x",), "config.json": (b"{}",)})
    with pytest.raises(RefusedError, match=r"has no file .safetensors; vLLM is given no other") as caught:
        vllm_plugin.choose_files(model)
    assert caught.value.reason is Reason.FORMAT_NOT_SERVED


def test_a_type_that_torch_has_not_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys  # noqa: PLC0415
    from types import ModuleType  # noqa: PLC0415

    monkeypatch.setitem(sys.modules, "torch", ModuleType("torch"))
    with pytest.raises(RefusedError, match='tensor "a" has the type F4, which vLLM is not given') as caught:
        vllm_plugin.make_tensor(TensorView("a", "F4", (2,), memoryview(b"x")))
    assert caught.value.reason is Reason.FORMAT_NOT_SERVED
