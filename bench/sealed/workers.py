"""Speak with the process that has the reference libraries."""

import json
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from bench.harness import Sample, WrongAnswerError
from bench.sealed.material import Material
from bench.sealed.reference_home import ensure_references

_REPO: Final = Path(__file__).resolve().parents[2]
_SECONDS: Final = 120


class Worker:
    """A started process over one model. Use `start_worker`."""

    def __init__(self, process: subprocess.Popen[str], material: Material) -> None:
        self._process, self._material = process, material
        self.peaks: dict[str, int] = {}

    def ask(self, **request: object) -> dict[str, Any]:
        """Have one thing done.

        Raises:
            WrongAnswerError: The process ended, or took longer than two minutes.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        late = threading.Timer(_SECONDS, self._process.kill)
        late.start()
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except OSError:
            answer = ""
        finally:
            late.cancel()
        if not answer:
            raise WrongAnswerError(f"the reference process ended at {request['do']}; its last words are above")
        return dict(json.loads(answer))

    def load(self, way: str) -> tuple[Sample, object]:
        """Load one way.

        Raises:
            WrongAnswerError: What was loaded differs from the plain file.
        """
        answer = self.ask(do=way)
        if not answer["right"]:
            raise WrongAnswerError(f"{way} loaded something else than the plain file")
        self.peaks[way] = max(self.peaks.get(way, 0), answer["peak"])
        return Sample(self._material.mebibytes, answer["wall"], answer["cpu"]), None


@contextmanager
def start_worker(material: Material) -> Iterator[Worker]:
    """Start the process over a model; it ends with the block."""
    python = ensure_references()
    env = {
        "PATH": os.environ["PATH"], "HOME": str(material.work), "PYTHONPATH": f"{_REPO / 'operator'}:{_REPO}",
        "CUDA_VISIBLE_DEVICES": "", "TMPDIR": str(material.work),
    }  # fmt: skip
    process = subprocess.Popen(
        [python, "-m", "bench.sealed.worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env
    )
    try:
        worker = Worker(process, material)
        paths = {"plain": str(material.plain), "sealed": str(material.sealed), "work": str(material.work)}
        worker.ask(do="open", dataKey=material.data_key, **paths)
        yield worker
    finally:
        process.kill()
        process.communicate()
        for left in material.work.iterdir():
            left.unlink()
