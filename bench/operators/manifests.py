"""What the cluster of the benchmarks holds, and the services that are asked for."""

import json
from collections.abc import Mapping
from typing import Any, Final

Object = dict[str, Any]
API: Final = "inference.sekisho.dev/v1alpha1"
SITE: Final = "bench-closed"
SITE_LABEL: Final = "site.node-restriction.kubernetes.io/name"
NODES: Final = ("bench-node-0", "bench-node-1", "bench-node-2")
SYSTEM_NAMESPACE: Final = "sekisho-system"
_ROOM: Final = {"cpu": "100000", "memory": "1000Ti", "pods": "100000"}
# Words that nothing else contains, so that replacing them in a manifest's text is exact.
TEMPLATE_SERVICE: Final = "svc-template"
TEMPLATE_NAMESPACE: Final = "bench-template"
TEMPLATE_UID: Final = "00000000-feed-4bed-8bad-00000000cafe"
_FROM_THE_SERVER: Final = (
    "uid", "resourceVersion", "creationTimestamp", "generation", "managedFields", "selfLink",
)  # fmt: skip


def render_namespace(name: str) -> Object:
    """Return a namespace."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def render_node(name: str) -> Object:
    """Return a node of the one site; without a kubelet it needs heartbeats."""
    labels = {SITE_LABEL: SITE, "kubernetes.io/os": "linux", "kubernetes.io/hostname": name}
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}}


def render_heartbeat(at: str) -> Object:
    """Return the status that a kubelet would report at this time."""
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "ready", "lastHeartbeatTime": at}
    return {"status": {"allocatable": _ROOM, "capacity": _ROOM, "conditions": [ready]}}


def render_facts() -> list[Object]:
    """Return what every service needs to be placed."""
    depot = {"ports": [{"port": 443, "targetPort": 8443}], "selector": {"app.kubernetes.io/component": "depot"}}
    levels = [
        {"name": "internal", "rules": {"tiers": ["Closed", "OwnCloud"]}},
        {"name": "confidential", "rules": {"tiers": ["Closed"]}},
    ]
    nodes = {"matchLabels": {SITE_LABEL: SITE}}
    image = f"registry.example/engine@sha256:{'0' * 64}"
    specs: dict[tuple[str, str], Object] = {
        ("ClassificationPolicy", "default"): {"unlabelled": "internal", "levels": levels},
        ("Site", SITE): {"tier": "Closed", "jurisdiction": "JP", "operatedBy": "own", "nodes": nodes},
        ("Runtime", "bench-engine"): {"formats": [{"name": "gguf"}], "image": image, "args": ["{{path}}"]},
    }
    return [
        render_namespace(SYSTEM_NAMESPACE),
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "sekisho-depot", "namespace": SYSTEM_NAMESPACE},
            "spec": depot,
        },
        *(
            {"apiVersion": API, "kind": kind, "metadata": {"name": name}, "spec": spec}
            for (kind, name), spec in specs.items()
        ),
    ]


def render_service(name: str, namespace: str) -> Object:
    """Return a service that the one site can hold."""
    model = {"modelFormat": {"name": "gguf"}, "storageUri": "oci://registry.example/models/tiny:1"}
    return {
        "apiVersion": API,
        "kind": "InferenceService",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"predictor": {"model": model}},
    }


def make_template(child: Mapping[str, Any], *, kind: str, api_version: str, owner_uid: str) -> str:
    """Turn a child of the service TEMPLATE_SERVICE, as the server holds it, into text with words to replace."""
    meta = {key: value for key, value in child["metadata"].items() if key not in _FROM_THE_SERVER}
    rest = {key: value for key, value in child.items() if key not in {"metadata", "status", "apiVersion", "kind"}}
    if kind == "Service":
        rest["spec"] = {key: value for key, value in rest["spec"].items() if key not in {"clusterIP", "clusterIPs"}}
    text = json.dumps({"apiVersion": api_version, "kind": kind, "metadata": meta, **rest})
    return text.replace(owner_uid, TEMPLATE_UID)


def fill_template(text: str, *, name: str, namespace: str, uid: str) -> Object:
    """Make the child of another service from the text."""
    for word, value in ((TEMPLATE_SERVICE, name), (TEMPLATE_NAMESPACE, namespace), (TEMPLATE_UID, uid)):
        text = text.replace(word, value)
    filled: Object = json.loads(text)
    return filled
