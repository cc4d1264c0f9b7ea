"""F2: the six entities that both know, masked by the product and by Presidio in an environment of its own."""

import json
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bench.harness import Pair, Sample, WrongAnswerError
from bench.homes import ensure_home
from bench.redact.masking import mask
from bench.redact.prompts import build_prompts
from sekisho.redact.categories import Category
from sekisho.redact.detect import Detector

PROMPTS: Final = 400
ENTITIES: Final = {
    "CREDIT_CARD": Category.CARD, "PHONE_NUMBER": Category.PHONE, "EMAIL_ADDRESS": Category.EMAIL,
    "IBAN_CODE": Category.IBAN, "IP_ADDRESS": Category.IP_ADDRESS, "US_SSN": Category.US_SSN,
}  # fmt: skip
_LOCK: Final = Path(__file__).with_name("requirements.txt")
_WORKER: Final = Path(__file__).with_name("presidio_worker.py")

Found = list[list[tuple[int, int, str]]]


@contextmanager
def open_presidio() -> Iterator[Pair]:
    """Start Presidio over the same prompts, and stop it at the end."""
    prompts = build_prompts(12, PROMPTS, english=True)
    size = sum(len(prompt.encode()) for prompt in prompts)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "prompts.json"
        file.write_text(json.dumps(prompts), "utf-8")
        with _start(ensure_presidio(), file) as worker:
            yield Pair(
                reference=lambda: _ask(worker, size),
                candidate=lambda: (size, mask_here(prompts)),
                check=demand_same_items,
                notes=lambda: f"{size / PROMPTS:.0f} bytes a prompt; a unit is a byte",
            )


def mask_here(prompts: list[str]) -> Found:
    """Mask by the product; return what was found, by Presidio's names."""
    detector = Detector(frozenset(ENTITIES.values()))
    names = {category: entity for entity, category in ENTITIES.items()}
    found = []
    for prompt in prompts:
        spans = detector.detect(prompt)
        mask(prompt, spans)
        found.append([(span.start, span.end, names[span.category]) for span in spans])
    return found


def demand_same_items(expected: object, found: object) -> None:
    """Refuse a run in which the two found different items, or hardly any.

    Raises:
        WrongAnswerError: They did.
    """
    if expected != found:
        raise WrongAnswerError("the product and Presidio find different items")
    if not isinstance(found, list) or sum(map(len, found)) < len(found):
        raise WrongAnswerError("hardly anything was found")


def ensure_presidio() -> Path:
    """Return the Python of the environment; made where it is missing, some seconds and 100 MB fetched."""
    return ensure_home("presidio", _LOCK, who="Presidio", about="some seconds, 100 MB fetched")


@contextmanager
def _start(python: Path, file: Path) -> Iterator["subprocess.Popen[str]"]:
    command = [python, "-I", _WORKER, file]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as worker:
        try:
            if _read_line(worker) != "ready":
                raise WrongAnswerError("Presidio does not start")
            yield worker
        finally:
            worker.kill()


def _ask(worker: "subprocess.Popen[str]", size: int) -> tuple[Sample, Found]:
    assert worker.stdin
    worker.stdin.write("again\n")
    worker.stdin.flush()
    answer = json.loads(_read_line(worker))
    wall, cpu = answer["seconds"]
    return Sample(size, wall, cpu), [[(start, end, name) for start, end, name in spans] for spans in answer["spans"]]


def _read_line(worker: "subprocess.Popen[str]") -> str:
    assert worker.stdout
    line = worker.stdout.readline()
    if not line:
        raise WrongAnswerError("Presidio ended")
    return line.strip()
