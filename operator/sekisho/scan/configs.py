"""Look into JSON: keys by which a library loads code that comes with the model, and chat templates."""

import json
from dataclasses import dataclass, field
from typing import Any, Final

from sekisho.scan.entry import Entry
from sekisho.scan.findings import Check, Severity, show
from sekisho.scan.templates import check_template
from sekisho.scan.tensors import Told

MAX_JSON_BYTES: Final = 8 * 1024 * 1024
_MAX_NODES: Final = 256 * 1024
_UNREAD: Final = frozenset({"tokenizer.json", "vocab.json", "added_tokens.json", "merges.json", "tekken.json"})
"""Large tables in a fixed shape, read by tokenizers that know no code; they are not parsed here."""
_IMPORTS: Final = {
    ("modules.json", "type"): ("sentence_transformers.",),
    ("adapter_config.json", "parent_library"): ("transformers.", "diffusers."),
}
_NAMED_TEMPLATES: Final = frozenset({"tokenizer_config.json", "chat_template.json", "chat_templates.json"})
"""Where a list of {"name", "template"} may stand for one chat template."""
_CODE_KEYS: Final = {
    "auto_map": "names classes in code files, which trust_remote_code would run",
    "custom_pipelines": "names a pipeline in code files, which trust_remote_code would run",
    "trust_remote_code": "asks for code files of the model to be run",
    "_target_": "names a class or function to be called while it is loaded",
    "__reduce__": "names what a pickle would call",
    "py/reduce": "names what jsonpickle would call",
    "py/object": "names a class that jsonpickle would make",
}


@dataclass(slots=True)
class _Seen:
    """What the objects of one file have, also where a key stands twice and most readers would see one of them.

    Attributes:
        name: The file's own name.
        templates: Chat templates, each once.
    """

    name: str
    problems: set[str] = field(default_factory=set)
    templates: dict[str, None] = field(default_factory=dict)

    def take(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        """Look at the fields of one object."""
        for key, value in pairs:
            if value in (None, False, {}, []):
                continue
            if key in _CODE_KEYS:
                self.problems.add(f'"{key}" {_CODE_KEYS[key]}')
            elif key == "class_name" and value in ("Lambda", "__lambda__"):
                self.problems.add("a Lambda layer of Keras, which holds code")
            elif _imports_strangers(self.name, key, value):
                self.problems.add(f'"{key}" names {show(str(value), 60)}, which would be imported')
            elif key.endswith("chat_template") or (key == "template" and self.name in _NAMED_TEMPLATES):
                self.templates |= dict.fromkeys(_texts_of(value))
        return dict(pairs)


def _imports_strangers(name: str, key: str, value: object) -> bool:
    """Tell whether a field names a module to import that is none of the libraries it is meant for."""
    known = _IMPORTS.get((name, key))
    return known is not None and not (isinstance(value, str) and value.startswith(known))


def _texts_of(value: object) -> list[str]:
    """List the texts in a value: a chat template is a text, a list of named ones, or a mapping from name to text."""
    texts: list[str] = []
    pending = [value]
    while pending:
        part = pending.pop()
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, dict):
            pending += part.values()
        elif isinstance(part, list):
            pending += part
    return texts


def check_json(entry: Entry, told: Told) -> None:
    """Parse one JSON file, bounded, and report what in it leads to code."""
    if entry.name in _UNREAD or entry.name.endswith(".index.json"):
        return
    value, seen = _parse(entry)
    if seen is None:
        return
    for problem in sorted(seen.problems):
        entry.report(Check.CONFIG, Severity.DANGER, problem)
    for template in seen.templates:
        told.templates += 1
        check_template(entry, template, "chat_template")
    if isinstance(value, dict) and entry.name == "config.json" and not entry.member:
        _tell(entry, value, told)


def _parse(entry: Entry) -> tuple[object, _Seen | None]:
    data = entry.read_whole(MAX_JSON_BYTES)
    if data is None:
        entry.report(Check.CONFIG, Severity.SUSPECT, f"JSON of {entry.size} bytes, {MAX_JSON_BYTES} are allowed")
        return None, None
    # Counted before parsing: an object or list of Python is many times larger than its two signs.
    if data.count(b"{") + data.count(b"[") > _MAX_NODES:
        entry.report(Check.CONFIG, Severity.SUSPECT, f"JSON with more than {_MAX_NODES} objects and lists")
        return None, None
    seen = _Seen(entry.name)
    try:
        return json.loads(data.decode("utf-8-sig"), object_pairs_hook=seen.take), seen
    except (ValueError, RecursionError):
        entry.report(Check.CONFIG, Severity.SUSPECT, "no JSON in UTF-8, though its name says so")
        return None, None


def _tell(entry: Entry, value: dict[str, Any], told: Told) -> None:
    names = value.get("architectures")
    if isinstance(names, list) and names and isinstance(names[0], str):
        told.architecture = show(names[0], 128)
    if isinstance(licence := value.get("license"), str):
        told.licences.append((entry.path, show(licence)))
