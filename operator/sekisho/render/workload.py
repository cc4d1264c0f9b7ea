"""The Deployment of a service and the template of its pods."""

from collections.abc import Mapping
from typing import Any, Final

from sekisho.api import names
from sekisho.render.affinity import render_affinity, render_spread, render_tolerations
from sekisho.render.blueprint import Blueprint
from sekisho.render.containers import render_agent, render_engine, render_fence
from sekisho.render.digest import digest_of, stamp
from sekisho.render.images import has_digest, repository_of
from sekisho.render.metadata import render_isolation_owner, render_labels, render_metadata, selector_labels
from sekisho.render.storage import BESIDE_BYTES, render_handover_volumes, render_weights_volume

TEMPLATE_DIGEST_ANNOTATION: Final = "sekisho.dev/template-digest"
_AGENT_CONTAINERS = ("fence", "agent")
_GRACE_SECONDS = 60
_TMP_LIMIT = "4Gi"
_AGENT_TMP_LIMIT = "64Mi"
_TOKEN_SECONDS = 600


def render_deployment(blueprint: Blueprint, *, template: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Render the Deployment.

    GPUs and nodes of one's own cannot be had twice, so there the old pod goes before the new one comes. Elsewhere it
    goes first only where it serves nobody: a pod that never gets ready would else keep the room of the one to follow.

    Args:
        blueprint: What is rendered.
        template: The template of its pods, where it is rendered already.
    """
    scarce = blueprint.needs.gpus > 0 or blueprint.tenancy == "Dedicated"
    template = template or render_template(blueprint)
    metadata = render_metadata(blueprint, render_labels(blueprint))
    metadata["ownerReferences"] += render_isolation_owner(blueprint)
    metadata["annotations"] = {TEMPLATE_DIGEST_ANNOTATION: digest_without_agent(template)}
    return stamp(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata,
            "spec": {
                "replicas": blueprint.replicas,
                "revisionHistoryLimit": 2,
                "progressDeadlineSeconds": 600,
                "paused": False,
                "selector": {"matchLabels": selector_labels(blueprint.name)},
                "strategy": {
                    "type": "RollingUpdate",
                    "rollingUpdate": {
                        "maxSurge": 0 if scarce else 1,
                        "maxUnavailable": 1 if scarce or blueprint.yields else 0,
                    },
                },
                "template": template,
            },
        }
    )


def render_template(blueprint: Blueprint) -> dict[str, Any]:
    """Render the pod template. What only changes the agent's ConfigMap does not change it."""
    predictor, settings = blueprint.predictor, blueprint.settings
    secrets = [{"name": name} for name in settings.image_pull_secrets]
    fence = [render_fence(blueprint)] if settings.fence else []
    tolerations = render_tolerations(blueprint)
    spec: dict[str, Any] = {
        "serviceAccountName": blueprint.child,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": _GRACE_SECONDS,
        # Said although it is the default: what is not said by us would stay as a hand has left it.
        "hostNetwork": False,
        "hostPID": False,
        "hostIPC": False,
        "shareProcessNamespace": False,
        # No name is ever looked up: a query would leave the pod.
        "dnsPolicy": "None",
        "dnsConfig": {"nameservers": ["127.0.0.1"]},
        "securityContext": {
            "runAsNonRoot": True,
            "fsGroup": names.NON_ROOT_UID,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
            # The agent pings canaries without a capability.
            "sysctls": [{"name": "net.ipv4.ping_group_range", "value": f"{names.NON_ROOT_UID} {names.NON_ROOT_UID}"}],
        },
        "readinessGates": _readiness_gates(blueprint),
        **({"runtimeClassName": predictor.runtime_class_name} if predictor.runtime_class_name else {}),
        **({"nodeSelector": dict(sorted(predictor.node_selector.items()))} if predictor.node_selector else {}),
        **({"affinity": affinity} if (affinity := render_affinity(blueprint)) else {}),
        **({"tolerations": tolerations} if tolerations else {}),
        "topologySpreadConstraints": render_spread(blueprint),
        **({"imagePullSecrets": secrets} if secrets else {}),
        "initContainers": [*fence, render_agent(blueprint)],
        "containers": [render_engine(blueprint)],
        "volumes": _volumes(blueprint),
    }
    return {"metadata": {"labels": render_labels(blueprint)}, "spec": spec}


def _readiness_gates(blueprint: Blueprint) -> list[dict[str, Any]]:
    # Nobody vouches for weights that the pod mounts itself; the engine's own health does.
    fetched = [] if blueprint.storage.is_mounted else [names.WEIGHTS_POD_CONDITION]
    return [{"conditionType": item} for item in (names.ISOLATED_POD_CONDITION, *fetched)]


def _volumes(blueprint: Blueprint) -> list[dict[str, Any]]:
    tokens = [_token(names.DEPOT_AUDIENCE, "token")]
    if blueprint.sealed is not None:  # whether or not keys are released already: a template must not change by that
        tokens += [_token(names.BROKER_AUDIENCE, "release-token"), _token(names.ATTESTER_AUDIENCE, "attester-token")]
    shared = blueprint.runtime.memory.shared
    limit = BESIDE_BYTES if blueprint.hands_over else blueprint.weights_bytes
    volumes: list[dict[str, Any]] = [
        render_weights_volume(blueprint.storage, limit_bytes=limit, in_memory=blueprint.in_memory),
        *(render_handover_volumes(limit_bytes=blueprint.weights_bytes) if blueprint.hands_over else []),
        {"name": "config", "configMap": {"name": blueprint.child, "defaultMode": 0o444}},
        {"name": "token", "projected": {"defaultMode": 0o440, "sources": tokens}},
        {"name": "tmp", "emptyDir": {"sizeLimit": _TMP_LIMIT}},
        {"name": "agent-tmp", "emptyDir": {"sizeLimit": _AGENT_TMP_LIMIT}},
    ]
    if shared:
        volumes.append({"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": shared}})
    return volumes


def _token(audience: str, path: str) -> dict[str, Any]:
    return {"serviceAccountToken": {"audience": audience, "expirationSeconds": _TOKEN_SECONDS, "path": path}}


def digest_without_agent(template: Mapping[str, Any]) -> str:
    """Return the digest of a template in which the image of fence and agent is left out."""
    spec = template["spec"]
    bare = [
        {key: value for key, value in item.items() if key != "image" or item["name"] not in _AGENT_CONTAINERS}
        for item in spec["initContainers"]
    ]
    return digest_of({**template, "spec": {**spec, "initContainers": bare}})


def read_agent_images(deployment: Mapping[str, Any]) -> set[str]:
    """Return the images of fence and agent; one, unless somebody changed one of them."""
    spec = ((deployment.get("spec") or {}).get("template") or {}).get("spec") or {}
    found = (item for item in spec.get("initContainers") or () if item.get("name") in _AGENT_CONTAINERS)
    return {str(item.get("image", "")) for item in found}


def choose_agent_image(
    template: Mapping[str, Any], live: Mapping[str, Any] | None, *, wanted: str, by_digest: bool
) -> str:
    """Choose the agent's image: the running one where nothing but that image would change in the pods.

    So an upgrade of the operator leaves running models alone; they take the new agent with their next change. A live
    image of another repository is never kept: it did not come from this installation; nor is one without a digest where
    the class demands it.
    """
    if live is None:
        return wanted
    recorded = (live["metadata"].get("annotations") or {}).get(TEMPLATE_DIGEST_ANNOTATION)
    if recorded != digest_without_agent(template):
        return wanted
    images = read_agent_images(live)
    if len(images) != 1:
        return wanted
    image = images.pop()
    may_stay = repository_of(image) == repository_of(wanted) and (has_digest(image) or not by_digest)
    return image if may_stay else wanted
