"""Metadata that every child carries."""

from typing import Any, Final

from sekisho.api import names
from sekisho.render.blueprint import Blueprint

ISOLATION_API: Final = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy"}


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


def render_isolation_owner(blueprint: Blueprint) -> list[dict[str, Any]]:
    """Render the NetworkPolicy as an owner of what starts pods: it is not gone before them. None without its uid."""
    if not blueprint.isolation_uid:
        return []
    named = {"name": blueprint.child, "uid": blueprint.isolation_uid}
    return [{**ISOLATION_API, **named, "controller": False, "blockOwnerDeletion": True}]
