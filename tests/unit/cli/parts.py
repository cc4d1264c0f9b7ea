"""A small model, a development key, and the command line as people start it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sekisho.kms.unsafe_development import create_unsafe_key

ROOT = Path(__file__).parents[3]


@dataclass
class Bench:
    """A folder with a plain model and a key.

    Attributes:
        kms: Address of the development key.
    """

    folder: Path
    model: Path
    out: Path
    kms: str

    def seal_words(self, *more: str) -> list[str]:
        return [
            "seal", str(self.model), "--class", "confidential", "--model", "legal/reviewer", "--version", "7",
            "--kms", self.kms, "--allow-unsafe-key", "--out", str(self.out), "--json", *more,
        ]  # fmt: skip

    def seal(self) -> dict[str, Any]:
        done = run_cli(self.seal_words())
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))

    def verify(self, *more: str) -> subprocess.CompletedProcess[str]:
        return run_cli(["verify", str(self.out), "--unsafe-skip-signatures", "--json", *more])

    def verify_tags(self) -> subprocess.CompletedProcess[str]:
        return self.verify("--kms", self.kms, "--allow-unsafe-key")


def build_bench(folder: Path, *, big: int = 9_000_000) -> Bench:
    model = folder / "model"
    (model / "sub").mkdir(parents=True)
    header = json.dumps({"a": {"dtype": "U8", "shape": [big], "data_offsets": [0, big]}}).encode()
    data = len(header).to_bytes(8, "little") + header + os.urandom(1024) * (big // 1024) + bytes(big % 1024)
    (model / "model.safetensors").write_bytes(data)
    (model / "config.json").write_text("{}")
    (model / "sub" / "empty.txt").write_text("")
    key = folder / "owner.json"
    create_unsafe_key(key)
    return Bench(folder, model, folder / "model.sealed", f"unsafe-development:{key}")


def cli_words(words: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "sekisho.cli.main", *words]


def cli_environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT / "operator"), "COLUMNS": "100", **more}


def run_cli(words: Sequence[str], *, limit: Callable[[], None] | None = None, **environment: str) -> Any:
    return subprocess.run(
        cli_words(words), capture_output=True, text=True, timeout=120, check=False,
        env=cli_environment(**environment), preexec_fn=limit,
    )  # fmt: skip


def read_refusal(done: Any) -> tuple[str, str]:
    value = json.loads(done.stderr.splitlines()[-1])
    return value["reason"], value["message"]
