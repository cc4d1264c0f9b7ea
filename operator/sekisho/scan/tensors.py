"""Look into safetensors, GGUF and ONNX files: the header alone, however large the weights are."""

from dataclasses import dataclass, field
from typing import Final

from sekisho.errors import RefusedError
from sekisho.formats.choose import PARSERS
from sekisho.formats.gguf import read_gguf_texts
from sekisho.formats.layout import Layout
from sekisho.scan.entry import Entry
from sekisho.scan.findings import Check, Severity, show
from sekisho.scan.templates import check_template

_KNOWN_DOMAINS: Final = frozenset(
    {"", "ai.onnx", "ai.onnx.ml", "ai.onnx.training", "ai.onnx.preview.training", "com.microsoft"}
)
_TEMPLATE: Final = "tokenizer.chat_template"
_LICENCE: Final = "general.license"


@dataclass(slots=True)
class Told:
    """What files say of the model as a whole, gathered while they are looked at.

    Attributes:
        tensors: Files with a sound header, by format.
        external: Files that ONNX models name as holding their tensors, with who named them.
        templates: How many chat templates were looked at.
        licences: (where it stands, what it says).
        base_models: What it was made from, as its card says.
        datasets: What it was trained on, as its card says.
        architecture: As its configuration says.
    """

    tensors: dict[str, int] = field(default_factory=dict)
    external: dict[str, str] = field(default_factory=dict)
    templates: int = 0
    licences: list[tuple[str, str]] = field(default_factory=list)
    base_models: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    architecture: str = ""


def check_tensors(entry: Entry, kind: str, told: Told) -> None:
    """Parse the header of a file of `kind`: "safetensors", "gguf" or "onnx"."""
    entry.stream.seek(0)
    try:
        layout = PARSERS[f".{kind}"](entry.stream, entry.size)
        if kind == "gguf":
            _check_texts(entry, told)
    except RefusedError as error:
        entry.report(Check.FORMAT, Severity.DANGER, error.message)
        return
    told.tensors[kind] = told.tensors.get(kind, 0) + 1
    _check_onnx(entry, layout, told)


def _check_texts(entry: Entry, told: Told) -> None:
    entry.stream.seek(0)
    texts = read_gguf_texts(entry.stream, entry.size, wanted=lambda key: key.startswith((_TEMPLATE, _LICENCE)))
    for key, text in texts.items():
        if key.startswith(_TEMPLATE):
            told.templates += 1
            check_template(entry, text, key)
        elif key == _LICENCE:
            told.licences.append((f"{entry.path}: {key}", show(text)))


def _check_onnx(entry: Entry, layout: Layout, told: Told) -> None:
    folder = entry.path.rpartition("/")[0]
    for place in layout.external:
        told.external[f"{folder}/{place}" if folder else place] = entry.path
    for domain in layout.domains:
        if domain not in _KNOWN_DOMAINS:
            entry.report(
                Check.FORMAT, Severity.SUSPECT, f"needs operators of {show(domain)}, which only foreign code can bring"
            )
