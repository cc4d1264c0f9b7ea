"""The images: what may be in them, and what the files around them promise."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from imagebuild.catalog import IMAGES, REPOSITORY, find_image, list_names, render_profiles
from imagebuild.main import main
from imagebuild.site import SITE, copy_sources

from sekisho.api.v1alpha1.runtime import RuntimeSpec

PROCESSES = ("agent", "controller", "gateway", "depot")


def test_an_unknown_image_is_refused_and_the_known_ones_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["agent", "nothing"]) == 1
    assert capsys.readouterr().err == f"error: no image is called nothing; there are: {', '.join(list_names())}\n"


def test_the_agents_image_holds_no_other_process_and_what_unseals() -> None:
    paths = {path.relative_to(REPOSITORY).as_posix() for path in find_image("agent").inputs}
    loader = (f"loader/{name}.py" for name in ("__init__", "handover", "mapping", "opening", "reading"))
    parts = ("__init__.py", "py.typed", "errors.py", "kernel.py", "attest", "devices", "seal", "agent", *loader)
    assert paths == {"operator/locks/agent.txt", *(f"operator/sekisho/{part}" for part in parts)}


@pytest.mark.parametrize("name", ["controller", "gateway", "depot"])
def test_an_image_of_a_process_holds_no_other_process(name: str) -> None:
    folders = {path.name for path in find_image(name).inputs if path.parent.name == "sekisho"}
    assert folders & {"agent", "controller", "gateway", "depot", "broker", "cli"} <= {name}
    assert {"errors.py", "api"} <= folders


@pytest.mark.slow
@pytest.mark.parametrize("name", [*PROCESSES, "attester", "broker", "trust", "unsafe-release"])
def test_a_process_starts_from_the_part_of_the_package_that_its_image_has(name: str, tmp_path: Path) -> None:
    sources = REPOSITORY / "operator/sekisho"
    parts = [str(path.relative_to(sources)) for path in find_image(name).inputs if path.is_relative_to(sources)]
    copy_sources(tmp_path, REPOSITORY, parts=parts)
    code = f"import sekisho, sekisho.{name.replace('-', '_')}.main; print(sekisho.__file__)"
    environment = {"PYTHONPATH": str(tmp_path / SITE), "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr[-500:]
    assert done.stdout.startswith(str(tmp_path))


@pytest.mark.parametrize("name", PROCESSES)
def test_every_process_has_its_stage_which_runs_as_nobody(name: str) -> None:
    text = (REPOSITORY / "operator/Containerfile").read_text()
    stage = text.split(f"FROM process AS {name}\n")[1].split("FROM ")[0]
    assert f'ENTRYPOINT ["/usr/bin/python3.11", "-m", "sekisho.{name}.main"]' in stage
    assert "USER 65532:65532" in text.split("FROM process AS")[0]


@pytest.mark.parametrize("path", sorted(IMAGES.glob("*/Containerfile")), ids=lambda p: p.parent.name)
def test_every_engine_starts_from_nothing_and_runs_as_nobody(path: Path) -> None:
    text = path.read_text()
    assert re.findall(r"^FROM .*", text, re.MULTILINE) == ["FROM scratch"]
    assert re.findall(r"^USER .*", text, re.MULTILINE) == ["USER 65532:65532"]


@pytest.mark.parametrize("path", sorted(IMAGES.glob("*/requirements.txt")), ids=lambda p: p.parent.name)
def test_every_locked_package_has_a_hash_and_no_address(path: Path) -> None:
    text = path.read_text()
    assert "://" not in text
    blocks = re.split(r"^(?=\S)", text, flags=re.MULTILINE)[1:]
    assert blocks
    assert [block for block in blocks if "==" not in block or "--hash=sha256:" not in block] == []


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the vLLM test image is built for x86_64 only")
def test_a_setting_of_a_test_runner_is_no_input_of_an_engine() -> None:
    vllm = find_image("vllm")
    assert REPOSITORY / "pyproject.toml" not in vllm.inputs
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    points = "".join(f"{name} = {to}\n" for name, to in sorted(project["entry-points"]["vllm.general_plugins"].items()))
    assert vllm.words == (project["version"], f"[vllm.general_plugins]\n{points}")


def test_a_process_has_no_profile() -> None:
    assert render_profiles("agent", "sekisho.local/agent@sha256:" + "1" * 64) == []


@pytest.mark.parametrize(("name", "profile"), [("llamacpp", "llamacpp"), ("vllm", "vllm-cpu")])
def test_a_profile_is_rendered_with_the_digest_that_was_built(name: str, profile: str) -> None:
    reference = f"sekisho.local/{name}@sha256:" + "1" * 64
    (text,) = render_profiles(name, reference)
    manifest = yaml.safe_load(text)
    assert manifest["metadata"]["name"] == profile
    assert manifest["spec"]["image"] == reference


@pytest.mark.parametrize("path", sorted(IMAGES.glob("*/runtime*.yaml")), ids=lambda p: p.stem + "-" + p.parent.name)
def test_every_profile_is_a_runtime_with_its_image_by_digest(path: Path) -> None:
    manifest = yaml.safe_load(path.read_text())
    assert (manifest["apiVersion"], manifest["kind"]) == ("inference.sekisho.dev/v1alpha1", "Runtime")
    spec = RuntimeSpec.model_validate(manifest["spec"])
    assert "@sha256:" in spec.image
    assert {"{{model}}", "{{path}}", "{{port}}"} <= set(re.findall(r"\{\{\w+\}\}", " ".join(spec.args)))
    assert spec.metrics.dialect != "none"
