"""Look into texts: the licence, the model card, and YAML that makes objects."""

import re
from typing import Final

from sekisho.scan.cards import NoCardError, read_card
from sekisho.scan.entry import Entry
from sekisho.scan.findings import Check, Severity
from sekisho.scan.licences import recognise_text
from sekisho.scan.tensors import Told

_MAX_YAML_BYTES: Final = 8 * 1024 * 1024
_OBJECT_TAG: Final = re.compile(rb"!!?python/|tag:yaml\.org,2002:python|^\s*_target_\s*:", re.MULTILINE)
_LICENCE_NAMES: Final = re.compile(r"(licen[cs]e|copying)([.-].*)?")


def check_text(entry: Entry, told: Told) -> None:
    """Read what a text says of the model as a whole, and report YAML that names what is to be made of it."""
    if entry.member:
        return
    if _LICENCE_NAMES.fullmatch(entry.name):
        licence = recognise_text(entry.head.decode(errors="ignore"))
        told.licences += [(entry.path, licence)] if licence else []
    elif entry.path.lower() == "readme.md":
        _check_card(entry, told)
    elif entry.name.endswith((".yaml", ".yml")):
        _check_yaml(entry)


def _check_card(entry: Entry, told: Told) -> None:
    data = entry.read_whole() or b""
    try:
        card = read_card(data.decode(errors="replace"))
    except NoCardError as error:
        entry.report(Check.CONFIG, Severity.SUSPECT, f"the front matter of the model card {error}")
        return
    told.licences += [(entry.path, card.licence)] if card.licence else []
    told.base_models, told.datasets = card.base_models, card.datasets


def _check_yaml(entry: Entry) -> None:
    data = entry.read_whole(_MAX_YAML_BYTES)
    if data is None:
        entry.report(Check.CONFIG, Severity.SUSPECT, f"YAML of {entry.size} bytes, {_MAX_YAML_BYTES} are allowed")
    elif _OBJECT_TAG.search(data):
        entry.report(Check.CONFIG, Severity.DANGER, "YAML that names classes or functions to be made or called")
