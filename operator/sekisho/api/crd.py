"""Write what is generated from the models: the CRDs and their reference. `make generate` and `make check` call it.

The one module of the core that touches files; nothing imports it at run time.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from sekisho.api.names import APP_NAME, APP_NAME_LABEL, GROUP, VERSION
from sekisho.api.reference import render_reference
from sekisho.api.schema import Schema, render_schema
from sekisho.api.v1alpha1 import KINDS

HEADER = "# Generated from the models in operator/sekisho/api by `make generate`. Do not edit.\n"


def render_crd(kind: Mapping[str, Any]) -> dict[str, Any]:
    """Render the CustomResourceDefinition of one kind."""
    names = {
        "kind": kind["kind"],
        "listKind": f"{kind['kind']}List",
        "plural": kind["plural"],
        "singular": kind["kind"].lower(),
        "categories": list(kind.get("categories", ("sekisho",))),
    }
    if kind["shortNames"]:
        names["shortNames"] = list(kind["shortNames"])
    version = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "additionalPrinterColumns": [_render_column(column) for column in kind["columns"]],
        "schema": {"openAPIV3Schema": render_root(kind)},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind['plural']}.{GROUP}", "labels": {APP_NAME_LABEL: APP_NAME}},
        "spec": {"group": GROUP, "scope": kind["scope"], "names": names, "versions": [version]},
    }


def render_root(kind: Mapping[str, Any]) -> Schema:
    """Render the schema of a whole object of the kind."""
    status = render_schema(kind["status"])
    # kstatus and Argo CD take an object without observedGeneration for current; -1 is never current.
    status["default"] = {"observedGeneration": -1}
    return {
        "description": kind["description"],
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string", "maxLength": 64, "description": f"{GROUP}/{VERSION}."},
            "kind": {"type": "string", "maxLength": 64, "description": f"{kind['kind']}."},
            "metadata": {"type": "object", "properties": {"name": {"type": "string", "maxLength": 253}}},
            "spec": render_schema(kind["spec"]),
            "status": status,
        },
        "x-kubernetes-validations": kind["validations"],
    }


def _render_column(column: tuple[str, str, str, str]) -> dict[str, str]:
    name, kind, path, description = column
    rendered = {"name": name, "type": kind, "jsonPath": path}
    return {**rendered, "description": description} if description else rendered


class _Dumper(yaml.SafeDumper):
    """Repeat shared parts in full: anchors help no reader."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def render_files() -> dict[str, str]:
    """Render every generated file: path below the repository's root → content."""
    files = {"docs/reference/api.md": render_reference(KINDS, render_root)}
    for kind in KINDS:
        text = yaml.dump(render_crd(kind), Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)
        files[f"crds/{kind['plural']}.yaml"] = HEADER + text
    return files


def find_differences(root: Path, files: Mapping[str, str]) -> list[str]:
    """Name the generated files below `root` that are missing, differ, or should no longer be there."""
    changed = [path for path, text in files.items() if not _holds(root / path, text)]
    strangers = {f"crds/{path.name}" for path in (root / "crds").glob("*.yaml")} - files.keys()
    return sorted({*changed, *strangers})


def _holds(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


def write_files(root: Path, files: Mapping[str, str]) -> None:
    """Bring the generated files below `root` up to date, removing CRDs of kinds that are gone."""
    for name in find_differences(root, files):
        path = root / name
        if name in files:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(files[name], encoding="utf-8")
        else:
            path.unlink()


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the files, or with --check say which ones differ; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m sekisho.api.crd", description="Generate CRDs and their reference.")
    parser.add_argument("root", nargs="?", type=Path, default=Path(), help="root of the repository; default: here")
    parser.add_argument("--check", action="store_true", help="write nothing; fail where files differ")
    options = parser.parse_args(arguments)
    files = render_files()
    if not options.check:
        write_files(options.root, files)
        return 0
    differences = find_differences(options.root, files)
    for name in differences:
        sys.stderr.write(f"{name} differs from the models; run `make generate`\n")
    return 1 if differences else 0


if __name__ == "__main__":  # pragma: no cover - the line that calls what is tested
    sys.exit(main())
