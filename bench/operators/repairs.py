"""Hand edits of everything the operator owns, and whether each is put back in time."""

import itertools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from bench.harness import WrongAnswerError
from bench.operators.api import CHILDREN, Api, Object, spread
from bench.operators.lab import CANDIDATE, Lab

ALLOWED_SECONDS: Final = 5.0
_LABELS: Final = ("sekisho.dev/service", "app.kubernetes.io/managed-by")
_PAUSE_SECONDS: Final = 0.1
_CHANGES: Final[Mapping[str, tuple[tuple[str, Any], ...]]] = {
    "NetworkPolicy": (
        ("egress opened", {"spec": {"egress": [{}], "policyTypes": ["Ingress", "Egress"]}}),
        ("selector narrowed", {"spec": {"podSelector": {"matchLabels": {"hand": "edit"}}}}),
    ),
    "ServiceAccount": (("token mounted", {"automountServiceAccountToken": True}),),
    "ConfigMap": (("configuration emptied", {"data": {"agent.json": "{}"}}),),
    "Service": (
        ("selector changed", {"spec": {"selector": {"hand": "edit"}}}),
        ("address outside added", {"spec": {"externalIPs": ["203.0.113.7"]}}),
    ),
    "PodDisruptionBudget": (("selector changed", {"spec": {"selector": {"matchLabels": {"hand": "edit"}}}}),),
    "Deployment": (
        ("replicas changed", {"spec": {"replicas": 3}}),
        ("paused", {"spec": {"paused": True}}),
        ("processes of the host", {"spec": {"template": {"spec": {"hostPID": True}}}}),
        ("image changed", [{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "other:1"}]),
        (
            "container added",
            [{"op": "add", "path": "/spec/template/spec/containers/-", "value": {"name": "spy", "image": "spy:1"}}],
        ),
    ),
}
# What the server and others keep in an object, what a new one has new, and what the operator itself changes while pods
# of an edited template end.
_META: Final = ("name", "labels", "ownerReferences")
_VOLATILE_SPEC: Final = frozenset({"clusterIP", "clusterIPs", "strategy"})


@dataclass(frozen=True, slots=True)
class Edit:
    """One thing that a hand does to a child."""

    kind: str
    what: str
    make: Callable[[Api, str, str], object]


@dataclass(frozen=True, slots=True)
class Repair:
    """What became of an edit; no seconds where it was not put back in time."""

    kind: str
    what: str
    seconds: float | None


def list_edits() -> list[Edit]:
    """Return every edit: each child changed, deleted, stripped of each label and of its owner."""
    edits = []
    for kind in CHILDREN:
        bodies = [
            *_CHANGES[kind],
            *((f"label {label} removed", {"metadata": {"labels": {label: None}}}) for label in _LABELS),
            ("owner removed", {"metadata": {"ownerReferences": None}}),
        ]
        edits += [Edit(kind, what, _patching(kind, body)) for what, body in bodies]
        edits.append(Edit(kind, "deleted", _deleting(kind)))
    return edits


def normalise(child: Mapping[str, Any]) -> Object:
    """Return what of a child the operator answers for."""
    meta = {key: child["metadata"].get(key) for key in _META}
    rest = {key: value for key, value in child.items() if key not in {"metadata", "status", "kind", "apiVersion"}}
    if isinstance(rest.get("spec"), Mapping):
        rest["spec"] = {key: value for key, value in rest["spec"].items() if key not in _VOLATILE_SPEC}
    return {"metadata": meta, **rest}


def try_all(lab: Lab, *, services: int) -> list[list[Repair]]:
    """Make services, and every edit of the children of each: of one after another, of all services at once.

    Returns:
        What became of the edits of each service.
    """
    names = [f"svc-{index:04}" for index in range(services)]
    repairs: dict[str, list[Repair]] = {name: [] for name in names}
    with lab.running(CANDIDATE) as process:
        namespace = lab.new_namespace()
        lab.create_services(namespace, names)
        lab.await_done(CANDIDATE, namespace, count=services, seconds=60)
        lab.await_rest(CANDIDATE, process)

        def make(api: Api, item: tuple[Edit, str]) -> None:
            edit, name = item
            repairs[name].append(_try(api, edit, namespace, f"{name}-predictor"))

        spread(lab.cluster.kubeconfig, make, itertools.product(list_edits(), names), connections=services)
    lab.remove_namespaces(namespace)
    return list(repairs.values())


def _try(api: Api, edit: Edit, namespace: str, name: str) -> Repair:
    before = api.find(edit.kind, name, namespace=namespace)
    if before is None:
        return Repair(edit.kind, edit.what, None)
    wanted = normalise(before)
    began = time.monotonic()
    edited = edit.make(api, namespace, name)
    if isinstance(edited, dict) and normalise(edited) == wanted:
        raise WrongAnswerError(f"{edit.kind}: {edit.what}: that is no edit, nothing differs")
    while time.monotonic() - began < ALLOWED_SECONDS:
        found = api.find(edit.kind, name, namespace=namespace)
        if found is not None and "deletionTimestamp" not in found["metadata"] and normalise(found) == wanted:
            return Repair(edit.kind, edit.what, time.monotonic() - began)
        time.sleep(_PAUSE_SECONDS)
    return Repair(edit.kind, edit.what, None)


def _patching(kind: str, body: object) -> Callable[[Api, str, str], object]:
    return lambda api, namespace, name: api.patch(kind, name, body, namespace=namespace)


def _deleting(kind: str) -> Callable[[Api, str, str], object]:
    return lambda api, namespace, name: api.delete(kind, name, namespace=namespace)
