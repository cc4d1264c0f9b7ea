"""The reference that users read, as Markdown, from the same schema as the CRDs."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from sekisho.api.names import API_VERSION
from sekisho.api.schema import Schema

_INTRO = f"""# API reference

Every kind of `{API_VERSION}`. This page is generated from the models; `kubectl explain` shows the same texts.
A field marked **required** must be given; every other one may be left out.
"""
_LIMITS = (
    ("maxLength", "at most {} characters"), ("minimum", "at least {}"), ("maximum", "at most {}"),
    ("minItems", "no fewer than {}"), ("maxItems", "at most {} items"),
    ("maxProperties", "at most {} entries"),
)  # fmt: skip


def render_reference(kinds: Sequence[Mapping[str, Any]], render_root: Callable[[Mapping[str, Any]], Schema]) -> str:
    """Render one Markdown page over all kinds; `render_root` gives the schema of a whole object."""
    parts = [_INTRO, *(_render_kind(kind, render_root(kind)) for kind in kinds)]
    return "\n".join(parts)


def _render_kind(kind: Mapping[str, Any], root: Schema) -> str:
    short = "".join(f", short `{name}`" for name in kind["shortNames"])
    scope = "one for the whole cluster" if kind["scope"] == "Cluster" else "in a namespace"
    lines = [f"## {kind['kind']}", "", kind["description"], "", f"`{kind['plural']}`{short}; {scope}.", ""]
    for part in ("spec", "status"):
        lines += [f"### {kind['kind']} {part}", "", "| Field | Type | Meaning |", "|---|---|---|"]
        lines += list(_render_rows(part, root["properties"][part]))
        lines.append("")
    lines += [f"### {kind['kind']} rules", "", "The API server refuses an object that breaks one of these:", ""]
    lines += [*_render_rules("", root), *_list_rules("", root), ""]
    return "\n".join(lines)


def _render_rows(path: str, schema: Schema) -> Iterator[str]:
    required = schema.get("required", ())
    for name, field in schema.get("properties", {}).items():
        where, inner = f"{path}.{name}", field
        mark = " **required**" if name in required else ""
        yield f"| `{where}` | {_spell_type(field)}{mark} | {_spell_meaning(field)} |"
        if "items" in field:
            where, inner = f"{where}[]", field["items"]
        yield from _render_rows(where, inner)


def _spell_type(field: Schema) -> str:
    if field.get("x-kubernetes-int-or-string"):
        return "quantity"
    if "items" in field:
        return f"list of {_spell_type(field['items'])}"
    if "additionalProperties" in field:
        return f"map to {_spell_type(field['additionalProperties'])}"
    if "enum" in field:
        return " or ".join(f"`{value}`" for value in field["enum"])
    return str(field.get("format", field["type"])) if field["type"] == "string" else str(field["type"])


def _spell_meaning(field: Schema) -> str:
    parts = [field.get("description", "")]
    limits = [text.format(field[key]) for key, text in _LIMITS if key in field]
    if limits and not field.get("x-kubernetes-int-or-string"):
        parts.append(f"({', '.join(limits)})")
    if field.get("default") not in (None, {}):
        parts.append(f"Default `{json.dumps(field['default'])}`.")
    return " ".join(part for part in parts if part).replace("|", "\\|")


def _list_rules(path: str, schema: Schema) -> Iterator[str]:
    for name, field in schema.get("properties", {}).items():
        yield from _descend(f"{path}.{name}".lstrip("."), field)


def _descend(path: str, field: Schema) -> Iterator[str]:
    yield from _render_rules(path, field)
    if "items" in field:
        yield from _descend(f"{path}[]", field["items"])
    yield from _list_rules(path, field)


def _render_rules(path: str, schema: Schema) -> Iterator[str]:
    for rule in schema.get("x-kubernetes-validations", ()):
        yield f"- `{path or 'the object'}`: {rule['message']}."
