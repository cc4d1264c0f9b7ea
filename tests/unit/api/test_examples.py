"""The examples show everything that can be written, and nothing that cannot."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from sekisho.api.schema import Schema, render_schema
from sekisho.api.v1alpha1 import KINDS
from sekisho.api.v1alpha1.classificationpolicy import ClassificationPolicySpec
from sekisho.plan.signers import read_signers

FIELDS = Path(__file__).parents[3] / "examples" / "fields"
MAPS = {"matchLabels", "nodeSelector", "requests", "limits"}


def fields_of(value: Any, path: str = "") -> Iterator[str]:
    """Yield the path of every field in a value; keys of maps are no fields."""
    if isinstance(value, list):
        for item in value:
            yield from fields_of(item, path)
    elif isinstance(value, dict) and path.rpartition(".")[2] not in MAPS:
        for key, item in value.items():
            yield f"{path}.{key}"
            yield from fields_of(item, f"{path}.{key}")


def fields_in(schema: Schema, path: str = "") -> Iterator[str]:
    """Yield the path of every field in a schema."""
    for key, field in schema.get("properties", {}).items():
        yield f"{path}.{key}"
        yield from fields_in(field.get("items", field), f"{path}.{key}")


def merge_rules(paths: Iterator[str]) -> set[str]:
    """Take the rules of compartments for those of levels: they are the same fields."""
    return {path.replace(".compartments.rules", ".levels.rules") for path in paths}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind["kind"])
def test_the_examples_show_every_field(kind: dict[str, Any]) -> None:
    objects = [item for path in sorted(FIELDS.glob("*.yaml")) for item in yaml.safe_load_all(path.read_text())]
    specs = [item["spec"] for item in objects if item["kind"] == kind["kind"]]
    assert merge_rules(fields_of(specs)) == merge_rules(fields_in(render_schema(kind["spec"])))
    for spec in specs:
        kind["spec"].model_validate(spec)


@pytest.mark.parametrize(
    "path", sorted(FIELDS.parent.rglob("*.yaml")), ids=lambda path: f"{path.parent.name}-{path.stem}"
)
def test_keys_and_certificates_of_examples_can_be_read(path: Path) -> None:
    for item in yaml.safe_load_all(path.read_text()):
        if item is not None and item["kind"] == "ClassificationPolicy":
            policy = ClassificationPolicySpec.model_validate(item["spec"])
            assert len(read_signers(policy)) == len(policy.signers)
