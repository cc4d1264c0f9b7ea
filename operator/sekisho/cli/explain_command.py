"""The command `sekisho explain`: where services run, or why nowhere, from what kubectl printed of them."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import click
import yaml

from sekisho.cli.failures import refuse
from sekisho.cli.running import FOLDER, JSON, run
from sekisho.errors import Reason
from sekisho.plan.explain import explain_service

_KIND: Final = "InferenceService"
_MAX_BYTES: Final = 32 << 20


@click.command()
@click.argument("source", type=FOLDER)
@JSON
def explain(source: Path, as_json: bool) -> None:
    """Explain where services run, or why nowhere: which rule, which facts, and what would change it.

    SOURCE is what `kubectl get inferenceservices -o yaml` (or json) printed: a file, or - for standard input. Nothing
    is asked of a cluster.

    \b
    kubectl get inferenceservice -n legal contract-review -o yaml | sekisho explain -
    """  # noqa: D301 -- click looks for the sign itself
    run(lambda: _explain(source), as_json=as_json)


def _explain(source: Path) -> tuple[dict[str, Any], str]:
    told = []
    for item in _read_services(source):
        try:
            meta = item["metadata"]
            namespace, name = str(meta.get("namespace", "default")), str(meta["name"])
            text = explain_service(namespace, name, item.get("status") or {})
        except (AttributeError, IndexError, KeyError, TypeError, ValueError):
            raise _refuse(source, f"an {_KIND} that no API server has taken") from None
        told.append({"namespace": namespace, "name": name, "text": text})
    if not told:
        raise _refuse(source, f"no {_KIND}")
    return {"services": told}, "\n".join(item["text"] for item in told).rstrip()


def _read_services(source: Path) -> Iterator[Mapping[str, Any]]:
    with click.open_file(str(source), "rb") as file:
        data = file.read(_MAX_BYTES + 1)
    if len(data) > _MAX_BYTES:
        raise refuse(f"{source} has more than {_MAX_BYTES} bytes", reason=Reason.REQUEST_TOO_LARGE)
    try:
        documents = list(yaml.load_all(data, Loader=yaml.CSafeLoader))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError):
        raise refuse(f"{source} is neither YAML nor JSON", reason=Reason.REQUEST_INVALID) from None
    for document in documents:
        items = document.get("items") if isinstance(document, dict) else None
        for item in items if isinstance(items, list) else [document]:
            if not isinstance(item, dict) or item.get("kind") != _KIND:
                raise _refuse(source, f"something else than {_KIND}s")
            yield item


def _refuse(source: Path, what: str) -> Exception:
    return refuse(
        f"{source} holds {what}; give what kubectl get inferenceservices -o yaml printed",
        reason=Reason.REQUEST_INVALID,
    )
