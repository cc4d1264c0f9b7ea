"""What the pods of a service are and know: their ServiceAccount, and the ConfigMap that the agent reads."""

import json
from typing import Any

from sekisho.api import names
from sekisho.render.blueprint import Blueprint
from sekisho.render.digest import stamp
from sekisho.render.metadata import render_labels, render_metadata
from sekisho.render.storage import CIPHERTEXT_PATH, HANDOVER_SOCKET, WEIGHTS_PATH


def render_service_account(blueprint: Blueprint) -> dict[str, Any]:
    """Render the ServiceAccount: no right, no token; its name is what the depot knows the pods by."""
    secrets = [{"name": name} for name in blueprint.settings.image_pull_secrets]
    return stamp(
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": render_metadata(blueprint, render_labels(blueprint)),
            "automountServiceAccountToken": False,
            **({"imagePullSecrets": secrets} if secrets else {}),
        }
    )


def render_config(blueprint: Blueprint) -> dict[str, Any]:
    """Render the ConfigMap that the agent re-reads: it may change without a restart of the pods."""
    return stamp(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": render_metadata(blueprint, render_labels(blueprint)),
            "data": {
                "agent.json": json.dumps(render_agent_config(blueprint), indent=2, sort_keys=True) + "\n",
                "ca.crt": blueprint.settings.ca_pem,
            },
        }
    )


def render_agent_config(blueprint: Blueprint) -> dict[str, Any]:
    """Render the content of agent.json; nothing in it is secret."""
    settings, runtime = blueprint.settings, blueprint.runtime
    return {
        "namespace": blueprint.namespace,
        "service": blueprint.name,
        "depot": {
            "host": settings.depot_host,
            "port": settings.depot_port,
            "serverName": f"{names.DEPOT_SERVICE}.{settings.system_namespace}.svc",
        },
        "canaries": [
            {"name": item.name, "host": item.host, "port": item.port, "protocols": list(item.protocols)}
            for item in settings.canaries
        ],
        "egress": [{"cidr": rule.cidr, "ports": sorted(set(rule.ports))} for rule in blueprint.egress],
        "proofIntervalSeconds": settings.proof_interval_seconds,
        "proofMaxAgeSeconds": settings.proof_max_age_seconds,
        "weights": _render_weights(blueprint),
        "engine": {"port": runtime.port, "healthPath": runtime.probes.health_path},
        **_render_release(blueprint),
        **_render_attester(blueprint),
    }


def _render_weights(blueprint: Blueprint) -> dict[str, Any]:
    sealed = blueprint.sealed
    if sealed is None:
        return {"mode": "mounted" if blueprint.storage.is_mounted else "depot", "path": WEIGHTS_PATH}
    facts = {
        "manifestDigest": sealed.manifest_digest,
        "model": sealed.model,
        "version": sealed.version,
        "class": sealed.data_class,
        "kms": sealed.kms,
        "keyId": sealed.key_id,
        "keyVersion": sealed.key_version,
    }
    handover = {"ciphertext": CIPHERTEXT_PATH, "socket": HANDOVER_SOCKET}
    return {
        "mode": "sealed", "path": WEIGHTS_PATH, "sealed": facts,
        **({"handover": handover} if blueprint.hands_over else {}),
    }  # fmt: skip


def _render_release(blueprint: Blueprint) -> dict[str, Any]:
    release = blueprint.settings.release
    if blueprint.sealed is None or release is None:
        return {}
    server_name = f"{release.service}.{blueprint.settings.system_namespace}.svc"
    address = {"host": release.host, "port": release.port, "serverName": server_name}
    return {"release": {**address, "protocol": release.protocol}}


def _render_attester(blueprint: Blueprint) -> dict[str, Any]:
    settings = blueprint.settings
    if blueprint.sealed is None or not settings.attester_host:
        return {}
    server_name = f"{names.ATTESTER_SERVICE}.{settings.system_namespace}.svc"
    return {"attester": {"host": settings.attester_host, "port": 443, "serverName": server_name}}
