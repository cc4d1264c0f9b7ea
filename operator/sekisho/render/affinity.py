"""Where the scheduler may put a pod: the requirements that placement decided, tenancy, and spreading."""

from collections.abc import Mapping
from typing import Any, Final

from sekisho.api import names
from sekisho.placement.requirement import Requirement
from sekisho.render.blueprint import Blueprint
from sekisho.render.metadata import selector_labels
from sekisho.render.network import NAMESPACE_LABEL

_HOSTNAME: Final = "kubernetes.io/hostname"


def render_affinity(blueprint: Blueprint) -> dict[str, Any]:
    """Render node affinity (alternatives are ORed) and, for tenancy, what may not share a node."""
    terms = [{"matchExpressions": [_expression(item) for item in term]} for term in blueprint.terms]
    affinity: dict[str, Any] = {}
    if terms:
        affinity["nodeAffinity"] = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    strangers = _strangers(blueprint)
    if strangers:
        affinity["podAntiAffinity"] = {"requiredDuringSchedulingIgnoredDuringExecution": strangers}
    return affinity


def _expression(requirement: Requirement) -> Mapping[str, Any]:
    # The age of a proof changes every second; a template that named it would restart the pods at every look. Placement
    # judges the age, the scheduler is asked for the proof itself.
    if requirement.key.startswith(names.NODE_TRUST_PREFIX) and requirement.operator in ("Gt", "Lt"):
        return {"key": requirement.key, "operator": "Exists"}
    values = {"values": list(requirement.values)} if requirement.values else {}
    return {"key": requirement.key, "operator": requirement.operator, **values}


def _strangers(blueprint: Blueprint) -> list[dict[str, Any]]:
    if blueprint.tenancy == "Shared":
        return []
    foreign = {"key": NAMESPACE_LABEL, "operator": "NotIn", "values": [blueprint.namespace]}
    ours = {"key": names.SERVICE_LABEL, "operator": "Exists"}
    terms = [_keep_apart([ours], {"matchExpressions": [foreign]})]
    if blueprint.tenancy == "Dedicated":
        other = {"key": names.SERVICE_LABEL, "operator": "NotIn", "values": [blueprint.name]}
        terms.append(_keep_apart([ours, other], {}))
    return terms


def _keep_apart(expressions: list[dict[str, Any]], namespaces: dict[str, Any]) -> dict[str, Any]:
    return {
        "labelSelector": {"matchExpressions": expressions},
        "namespaceSelector": namespaces,
        "topologyKey": _HOSTNAME,
    }


def render_spread(blueprint: Blueprint) -> list[dict[str, Any]]:
    """Spread the replicas over nodes where that is possible."""
    return [
        {
            "maxSkew": 1,
            "topologyKey": _HOSTNAME,
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": selector_labels(blueprint.name)},
        }
    ]


def render_tolerations(blueprint: Blueprint) -> list[dict[str, Any]]:
    """Render the tolerations that the service names."""
    return [item.model_dump(by_alias=True, exclude_none=True) for item in blueprint.predictor.tolerations]
