"""The entry point of vLLM's test image, as far as it does without the engine."""

from pathlib import Path

import pytest
from vllm import serve


@pytest.mark.parametrize("form", ["--model={}", "--model {}"])
def test_weights_that_are_not_there_are_refused_before_the_engine_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    assert serve.main(form.format(tmp_path).split()) == 2
    assert capsys.readouterr().err == f"error: no config.json in {tmp_path}: the weights are not there\n"


def test_a_folder_with_a_configuration_is_accepted(tmp_path: Path) -> None:
    (tmp_path / "config.json").touch()
    assert serve.check_model([f"--model={tmp_path}", "--port=1"]) == ""


def test_what_the_caller_says_wins_over_the_defaults() -> None:
    command = serve.build_command(["--port=9", "--dtype", "bfloat16"])
    assert command[:5] == ["-m", "vllm.entrypoints.openai.api_server", "--port=9", "--dtype", "bfloat16"]
    assert "8080" not in command
    assert "float32" not in command
    assert command[command.index("--max-num-seqs") + 1] == "4"
    assert command.count("--enforce-eager") == 1


def test_the_pods_environment_wins_over_the_defaults() -> None:
    environment = serve.build_environment({"VLLM_CPU_KVCACHE_SPACE": "3"})
    assert environment["VLLM_CPU_KVCACHE_SPACE"] == "3"
    assert environment["CUDA_VISIBLE_DEVICES"] == ""
