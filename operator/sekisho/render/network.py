"""The NetworkPolicy of a service: in from gateway and scrapers, out to depot, release of keys and attester."""

from typing import Any, Final

from sekisho.api import names
from sekisho.render.blueprint import Blueprint
from sekisho.render.digest import stamp
from sekisho.render.metadata import ISOLATION_API, isolation_labels, render_metadata, selector_labels

NAMESPACE_LABEL: Final = "kubernetes.io/metadata.name"
# Of Kubernetes itself: the garbage collector, which takes it off, lets the policy go after what it owns: the pods.
_OUTLIVES: Final = "foregroundDeletion"


def render_network_policy(blueprint: Blueprint) -> dict[str, Any]:
    """Render the policy: default deny both ways, and exactly the ways that are listed; no DNS.

    Every default is spelled out, so that what the server shows equals what is rendered.
    """
    metadata = {**render_metadata(blueprint, isolation_labels(blueprint)), "finalizers": [_OUTLIVES]}
    return stamp(
        {
            **ISOLATION_API,
            "metadata": metadata,
            "spec": {
                "podSelector": {"matchLabels": selector_labels(blueprint.name)},
                "policyTypes": ["Ingress", "Egress"],
                "ingress": _ingress(blueprint),
                "egress": _egress(blueprint),
            },
        }
    )


def _system_peer(blueprint: Blueprint, component: str) -> dict[str, Any]:
    return {
        "namespaceSelector": {"matchLabels": {NAMESPACE_LABEL: blueprint.settings.system_namespace}},
        "podSelector": {"matchLabels": {names.APP_NAME_LABEL: names.APP_NAME, names.COMPONENT_LABEL: component}},
    }


def _ports(*ports: int) -> list[dict[str, Any]]:
    return [{"protocol": "TCP", "port": port} for port in ports]


def _ingress(blueprint: Blueprint) -> list[dict[str, Any]]:
    port = blueprint.runtime.port
    rules = [{"from": [_system_peer(blueprint, names.GATEWAY_COMPONENT)], "ports": _ports(port)}]
    # An empty peer list would mean everyone, so no rule is written without scrapers.
    if blueprint.settings.scrapers:
        rules.append({"from": [dict(peer) for peer in blueprint.settings.scrapers], "ports": _ports(port)})
    return rules


def _egress(blueprint: Blueprint) -> list[dict[str, Any]]:
    depot = {"to": [_system_peer(blueprint, names.DEPOT_COMPONENT)], "ports": _ports(names.HTTPS_TARGET_PORT)}
    declared = [
        {"to": [{"ipBlock": {"cidr": rule.cidr}}], "ports": _ports(*sorted(set(rule.ports)))}
        for rule in blueprint.egress
    ]
    return [depot, *_egress_of_sealed(blueprint), *declared]


def _egress_of_sealed(blueprint: Blueprint) -> list[dict[str, Any]]:
    """Open the ways to the release of keys and to the attester of a node, to pods that unseal alone."""
    release, attester = blueprint.settings.release, blueprint.settings.attester_host
    if blueprint.sealed is None:
        return []
    components = ([release.component] if release else []) + ([names.ATTESTER_COMPONENT] if attester else [])
    return [{"to": [_system_peer(blueprint, item)], "ports": _ports(names.HTTPS_TARGET_PORT)} for item in components]
