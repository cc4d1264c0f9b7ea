"""The CRDs: structural, bounded everywhere, small, documented, and the same as what is committed."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import Field

from sekisho.api.crd import find_differences, main, render_crd, render_files, write_files
from sekisho.api.meta import ApiModel
from sekisho.api.schema import Schema, render_schema
from sekisho.api.v1alpha1 import KINDS

REPOSITORY = Path(__file__).parents[3]
MOST_BYTES = 256 * 1024
KNOWN = {
    "description", "type", "format", "default", "enum", "pattern", "minLength", "maxLength", "minimum", "maximum",
    "minItems", "maxItems", "maxProperties", "required", "anyOf", "items", "properties", "additionalProperties",
    "x-kubernetes-validations", "x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-int-or-string",
}  # fmt: skip

Nodes = list[tuple[str, Schema]]


def walk(path: str, schema: Schema) -> Iterator[tuple[str, Schema]]:
    """Yield every node of a schema with its path."""
    yield path, schema
    for name, field in schema.get("properties", {}).items():
        yield from walk(f"{path}.{name}", field)
    for part, mark in (("items", "[]"), ("additionalProperties", "{}")):
        if part in schema:
            yield from walk(path + mark, schema[part])


def nodes_of(kind: Mapping[str, Any]) -> Nodes:
    version = render_crd(kind)["spec"]["versions"][0]
    return list(walk(kind["kind"], version["schema"]["openAPIV3Schema"]))


def find_unbounded(nodes: Nodes) -> list[str]:
    """Name the strings, lists and maps that have no upper bound."""
    found = []
    for path, schema in nodes:
        kind = schema.get("type")
        if kind == "string" and "enum" not in schema and "maxLength" not in schema:
            found.append(path)
        if kind == "array" and "maxItems" not in schema:
            found.append(path)
        if "additionalProperties" in schema and "maxProperties" not in schema:
            found.append(path)
    return found


every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind["kind"])


class Loose(ApiModel):
    """A model that forgot its bounds."""

    text: str = Field(description="Text.")
    items: tuple[int, ...] = Field(description="Items.")
    pairs: dict[str, int] = Field(description="Pairs.")
    deep: tuple[dict[str, str], ...] = Field(max_length=1, description="Deep.")


def test_the_walk_finds_what_is_unbounded() -> None:
    assert find_unbounded(list(walk("x", render_schema(Loose)))) == [
        "x.text", "x.items", "x.pairs", "x.deep[]", "x.deep[]{}",
    ]  # fmt: skip


@every_kind
def test_every_string_list_and_map_is_bounded(kind: Mapping[str, Any]) -> None:
    assert find_unbounded(nodes_of(kind)) == []


@every_kind
def test_the_keys_of_every_map_are_bounded_by_a_rule(kind: Mapping[str, Any]) -> None:
    for path, schema in nodes_of(kind):
        if "additionalProperties" in schema:
            rules = [rule["rule"] for rule in schema.get("x-kubernetes-validations", ())]
            assert any("size(key) <=" in rule for rule in rules), path


@every_kind
def test_only_keywords_of_structural_schemas_appear(kind: Mapping[str, Any]) -> None:
    for path, schema in nodes_of(kind):
        assert set(schema) <= KNOWN, path
        assert ("type" in schema) != schema.get("x-kubernetes-int-or-string", False), path
        assert "anyOf" not in schema or schema["x-kubernetes-int-or-string"], path
        assert not {"properties", "additionalProperties"} <= set(schema), path


@every_kind
def test_every_list_says_how_it_is_merged(kind: Mapping[str, Any]) -> None:
    for path, schema in nodes_of(kind):
        if schema.get("type") == "array":
            assert schema.get("x-kubernetes-list-type") in {"map", "set", "atomic"}, path
        for key in schema.get("x-kubernetes-list-map-keys", ()):
            assert key in schema["items"]["required"], path


@every_kind
def test_every_field_has_a_text_that_ends_as_a_sentence(kind: Mapping[str, Any]) -> None:
    for path, schema in nodes_of(kind):
        if "metadata" not in path and not path.endswith(("[]", "{}")):
            assert schema.get("description", "").endswith((".", "…")), path


@every_kind
def test_names_on_the_wire_are_camel_case(kind: Mapping[str, Any]) -> None:
    for path, schema in nodes_of(kind):
        for name in schema.get("properties", {}):
            assert re.fullmatch(r"[a-z][a-zA-Z0-9]*", name), f"{path}.{name}"


@every_kind
def test_every_rule_has_a_message_and_stands_at_a_field_that_exists(kind: Mapping[str, Any]) -> None:
    for path, schema in nodes_of(kind):
        for rule in schema.get("x-kubernetes-validations", ()):
            assert rule["message"], path
            place = schema
            for part in rule.get("fieldPath", "").split(".")[1:]:
                place = place["properties"][part]


@every_kind
def test_a_definition_stays_far_below_the_limit_of_a_last_applied_annotation(kind: Mapping[str, Any]) -> None:
    assert len(json.dumps(render_crd(kind)).encode()) < MOST_BYTES


@every_kind
def test_a_fresh_object_has_observed_no_generation(kind: Mapping[str, Any]) -> None:
    version = render_crd(kind)["spec"]["versions"][0]
    status = version["schema"]["openAPIV3Schema"]["properties"]["status"]
    assert status["default"] == {"observedGeneration": -1}
    assert status["properties"]["observedGeneration"]["default"] == -1
    assert version["subresources"] == {"status": {}}


@every_kind
def test_columns_read_fields_that_exist(kind: Mapping[str, Any]) -> None:
    paths = {path.replace("[]", "[*]") for path, _ in nodes_of(kind)}
    for column in render_crd(kind)["spec"]["versions"][0]["additionalPrinterColumns"]:
        path = re.sub(r"\[\?\(@\.type==\"\w+\"\)\]", "[*]", column["jsonPath"])
        assert path.startswith(".metadata.") or kind["kind"] + path in paths, column
        assert "[*]" not in column["jsonPath"], "a column shows the first of many and hides the rest"


def test_a_field_that_may_be_left_out_keeps_no_default_of_null_or_nothing() -> None:
    for kind in KINDS:
        for path, schema in nodes_of(kind):
            if "default" in schema:
                assert schema["default"] not in (None, []), path


def test_what_is_committed_is_what_the_models_say() -> None:
    assert find_differences(REPOSITORY, render_files()) == []


def test_rendering_twice_gives_the_same_bytes() -> None:
    assert render_files() == render_files()


def test_a_file_that_differs_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_files(tmp_path, render_files())
    assert main([str(tmp_path), "--check"]) == 0
    (tmp_path / "crds" / "sites.yaml").write_text("edited by hand\n")
    (tmp_path / "crds" / "stranger.yaml").write_text("left over\n")
    (tmp_path / "docs" / "reference" / "api.md").unlink()
    assert main([str(tmp_path), "--check"]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "crds/sites.yaml differs from the models; run `make generate`",
        "crds/stranger.yaml differs from the models; run `make generate`",
        "docs/reference/api.md differs from the models; run `make generate`",
    ]


def test_generating_mends_what_differs_and_removes_what_is_gone(tmp_path: Path) -> None:
    (tmp_path / "crds").mkdir()
    (tmp_path / "crds" / "stranger.yaml").write_text("left over\n")
    assert main([str(tmp_path)]) == 0
    assert main([str(tmp_path), "--check"]) == 0
    assert sorted(path.name for path in (tmp_path / "crds").iterdir()) == sorted(
        f"{kind['plural']}.yaml" for kind in KINDS
    )


def test_a_written_definition_reads_back_as_it_was_rendered() -> None:
    files = render_files()
    for kind in KINDS:
        found = yaml.load(files[f"crds/{kind['plural']}.yaml"], Loader=yaml.CSafeLoader)
        assert found == render_crd(kind)


def test_the_reference_names_every_kind_and_field() -> None:
    text = render_files()["docs/reference/api.md"]
    for kind in KINDS:
        assert f"## {kind['kind']}\n" in text
        for path, schema in nodes_of(kind):
            if ".spec." in path and "{}" not in path and not path.endswith("[]"):
                assert f"`{path.partition('.')[2]}`" in text, path
                assert schema["description"].replace("|", "\\|") in text
