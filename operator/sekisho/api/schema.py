"""From pydantic's JSON schema to the structural schema that the API server wants of a custom resource."""

import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

Schema = dict[str, Any]

_DROPPED = ("title", "$defs", "additionalProperties", "patternProperties", "propertyNames", "const", "anyOf", "default")
_ORDER = (
    "description", "type", "format", "default", "enum", "pattern", "minLength", "maxLength", "minimum", "maximum",
    "minItems", "maxItems", "minProperties", "maxProperties", "required", "anyOf", "items", "properties",
    "additionalProperties",
)  # fmt: skip
_SPACE = re.compile(r"\s+")


def render_schema(model: type[BaseModel]) -> Schema:
    """Render the structural schema of a model: no references, no nulls, every keyword one the API server knows."""
    raw = model.model_json_schema(by_alias=True)
    return _convert(raw, raw.get("$defs", {}))


def _convert(raw: Mapping[str, Any], definitions: Mapping[str, Schema]) -> Schema:
    node = _resolve(raw, definitions)
    schema = {key: value for key, value in node.items() if key not in _DROPPED}
    if "description" in schema:
        schema["description"] = _SPACE.sub(" ", schema["description"]).strip()
    if "const" in node:
        schema["enum"] = [node["const"]]
    if node.get("x-kubernetes-int-or-string"):
        schema["anyOf"] = node["anyOf"]
    if "items" in node:
        schema["items"] = _convert(node["items"], definitions)
    if "properties" in node:
        schema["properties"] = {key: _convert_property(value, definitions) for key, value in node["properties"].items()}
    elif (values := _map_values(node)) is not None:
        schema["additionalProperties"] = _convert(values, definitions)
        _add_key_rules(schema, node)
    return _ordered(schema)


def _convert_property(raw: Mapping[str, Any], definitions: Mapping[str, Schema]) -> Schema:
    """Convert a field, keeping a default that says something; an empty one only where inner defaults hang on it.

    A default of null is left out: absent and empty can mean different things.
    """
    schema, default = _convert(raw, definitions), _resolve(raw, definitions).get("default", {})
    inner = any("default" in item for item in schema.get("properties", {}).values())
    if inner and default is not None and not schema.get("required"):
        return _ordered({**schema, "default": {}})
    return _ordered({**schema, "default": default}) if default not in (None, [], {}) else schema


def _resolve(raw: Mapping[str, Any], definitions: Mapping[str, Schema]) -> Schema:
    """Inline references and the `X or null` of optional fields; what stands beside a reference wins over its target."""
    node = dict(raw)
    while True:
        options = [item for item in node.get("anyOf", ()) if item.get("type") != "null"]
        if "$ref" in node:
            target = definitions[node.pop("$ref").rpartition("/")[2]]
        elif len(options) == 1:
            target = options[0]
            del node["anyOf"]
        else:
            return node
        node = {**target, **node}


def _map_values(node: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Find the schema of a map's values; pydantic writes it below the keys' pattern where they have one."""
    patterns = node.get("patternProperties")
    values = next(iter(patterns.values())) if patterns else node.get("additionalProperties")
    return values if isinstance(values, Mapping) else None


def _add_key_rules(schema: Schema, node: Mapping[str, Any]) -> None:
    """Bound the keys of a map: CRDs have neither propertyNames nor patternProperties, so rules do it."""
    rules = list(schema.get("x-kubernetes-validations", ()))
    most = node.get("propertyNames", {}).get("maxLength")
    if most is not None:
        message = f"a key has 1 to {most} characters"
        rules.append({"rule": f"self.all(key, size(key) > 0 && size(key) <= {most})", "message": message})
    for pattern in node.get("patternProperties", ()):
        message = f"a key must match {pattern}"
        rules.append({"rule": f"self.all(key, key.matches('{pattern}'))", "message": message})
    if rules:
        schema["x-kubernetes-validations"] = rules


def _ordered(schema: Schema) -> Schema:
    known = {key: schema[key] for key in _ORDER if key in schema}
    return {**known, **{key: schema[key] for key in sorted(schema) if key not in known}}
