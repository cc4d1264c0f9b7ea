"""How the gateway finds the pods of a service, and how many of them maintenance must leave alone."""

from typing import Any

from sekisho.render.blueprint import Blueprint
from sekisho.render.digest import stamp
from sekisho.render.metadata import render_labels, render_metadata, selector_labels


def render_service(blueprint: Blueprint) -> dict[str, Any]:
    """Render the Service. Only ready pods are behind it, and a pod without proof of isolation is never ready."""
    return stamp(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": render_metadata(blueprint, render_labels(blueprint)),
            "spec": {
                "type": "ClusterIP",
                "publishNotReadyAddresses": False,
                "externalIPs": [],
                "selector": selector_labels(blueprint.name),
                "ports": [{"name": "http", "protocol": "TCP", "port": blueprint.runtime.port, "targetPort": "http"}],
            },
        }
    )


def render_disruption_budget(blueprint: Blueprint) -> dict[str, Any]:
    """Render the PodDisruptionBudget: one pod at a time, and a single one never blocks the drain of a node."""
    return stamp(
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": render_metadata(blueprint, render_labels(blueprint)),
            "spec": {
                "minAvailable": max(blueprint.replicas - 1, 0),
                "selector": {"matchLabels": selector_labels(blueprint.name)},
                "unhealthyPodEvictionPolicy": "AlwaysAllow",
            },
        }
    )
