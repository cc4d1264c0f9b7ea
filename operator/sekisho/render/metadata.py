"""Metadata that every child carries."""

from typing import Any

from sekisho.api import names
from sekisho.render.blueprint import Blueprint


def selector_labels(name: str) -> dict[str, str]:
    """Return the labels by which policies, Services and the Deployment find the pods of service `name`."""
    return {names.SERVICE_LABEL: name}


def render_labels(blueprint: Blueprint) -> dict[str, str]:
    """Return the labels of pods and of every child but the NetworkPolicy, which exists before there is a site."""
    return {**isolation_labels(blueprint), names.SITE_LABEL: blueprint.site}


def isolation_labels(blueprint: Blueprint) -> dict[str, str]:
    """Return the labels that do not depend on the site."""
    return {
        names.MANAGED_BY_LABEL: names.MANAGED_BY,
        names.CLASS_LABEL: blueprint.data_class.label(),
        **selector_labels(blueprint.name),
    }


def render_metadata(blueprint: Blueprint, labels: dict[str, str]) -> dict[str, Any]:
    """Render the metadata of a child; the service owns it and is not gone before it."""
    owner = {
        "apiVersion": names.API_VERSION,
        "kind": "InferenceService",
        "name": blueprint.name,
        "uid": blueprint.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
    return {
        "name": blueprint.child,
        "namespace": blueprint.namespace,
        "labels": dict(labels),
        "ownerReferences": [owner],
    }
