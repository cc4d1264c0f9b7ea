"""The containers of a model's pod: the fence, the agent beside it, and the engine."""

from copy import deepcopy
from typing import Any, Final

from sekisho.api import names
from sekisho.render.blueprint import Blueprint
from sekisho.render.estimate import AGENT_CPU_MILLIS, AGENT_MEMORY_LIMIT_MIB, AGENT_MEMORY_MIB, mib
from sekisho.render.images import override_registry
from sekisho.render.storage import (
    CIPHERTEXT_PATH,
    HANDOVER_SOCKET,
    WEIGHTS_PATH,
    render_handover_mounts,
    render_weights_mount,
)

CONFIG_PATH: Final = "/etc/sekisho"
TOKEN_PATH: Final = "/var/run/secrets/sekisho"  # noqa: S105 - a folder
# A start may take as long as the largest weights over the slowest line; the agent tells what it waits for.
_STARTUP_SECONDS = 12 * 3600
# What the engine's load format is told; sekisho.loader.vllm_plugin reads these.
_HANDOVER_ARGUMENT: Final = "--load-format=sekisho"
_HANDOVER_ENVIRONMENT: Final = {
    "SEKISHO_LOADER_CIPHERTEXT": CIPHERTEXT_PATH, "SEKISHO_LOADER_SOCKET": HANDOVER_SOCKET,
}  # fmt: skip
_RESTRICTED: Final = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "privileged": False,
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "runAsUser": names.NON_ROOT_UID,
    "runAsGroup": names.NON_ROOT_UID,
    "seccompProfile": {"type": "RuntimeDefault"},
}
# The one container that may change the pod's network, and the first to run: what follows lacks the capability to undo
# it.
_FENCE: Final = {
    **_RESTRICTED,
    "capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN"]},
    "runAsNonRoot": False,
    "runAsUser": 0,
    "runAsGroup": 0,
}


def render_fence(blueprint: Blueprint) -> dict[str, Any]:
    """Render the init container that closes the pod's own network before anything else runs in it."""
    return {
        "name": "fence",
        **_image(blueprint, blueprint.agent_image),
        "args": ["fence"],
        "env": _identity(),
        "securityContext": deepcopy(_FENCE),
        "resources": _agent_resources(0),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [{"name": "config", "mountPath": CONFIG_PATH, "readOnly": True}],
    }


def render_agent(blueprint: Blueprint) -> dict[str, Any]:
    """Render the sidecar: it proves isolation, fetches weights, and stays to watch.

    It alone holds a token, of ten minutes, good for the depot and nothing else; where it unseals the weights, two more,
    for the release of keys and for the attester of the node.
    """
    mounts = [
        {"name": "config", "mountPath": CONFIG_PATH, "readOnly": True},
        {"name": "token", "mountPath": TOKEN_PATH, "readOnly": True},
        {"name": "agent-tmp", "mountPath": "/tmp"},  # noqa: S108 - the pod's own
    ]
    if not blueprint.storage.is_mounted:
        mounts.append(render_weights_mount(blueprint.storage, read_only=False))
    if blueprint.hands_over:
        mounts += render_handover_mounts(read_only=False)
    return {
        "name": "agent",
        **_image(blueprint, blueprint.agent_image),
        "args": ["run"],
        "restartPolicy": "Always",
        "env": _identity(),
        "ports": [{"name": "agent", "containerPort": names.AGENT_PORT, "protocol": "TCP"}],
        "securityContext": deepcopy(_RESTRICTED),
        "resources": _agent_resources(blueprint.needs.volume_mib),
        "startupProbe": _probe("/startup", names.AGENT_PORT, period=2, failures=_STARTUP_SECONDS // 2),
        "livenessProbe": _probe("/healthz", names.AGENT_PORT, period=20, failures=3),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": mounts,
    }


def render_engine(blueprint: Blueprint) -> dict[str, Any]:
    """Render the engine: no token, no capability, no writable root; it lives while the agent vouches for it."""
    runtime = blueprint.runtime
    mounts = [render_weights_mount(blueprint.storage, read_only=True), {"name": "tmp", "mountPath": "/tmp"}]  # noqa: S108
    if blueprint.hands_over:
        mounts += render_handover_mounts(read_only=True)
    if runtime.memory.shared:
        mounts.append({"name": "shm", "mountPath": "/dev/shm"})  # noqa: S108 - the pod's own
    args, env = _engine_arguments(blueprint), _engine_environment(blueprint)
    health = runtime.probes.health_path
    return {
        "name": "engine",
        **_image(blueprint, override_registry(runtime.image, blueprint.settings.registry)),
        **({"command": [_fill(item, blueprint) for item in runtime.command]} if runtime.command else {}),
        **({"args": args} if args else {}),
        **({"env": env} if env else {}),
        "ports": [{"name": "http", "containerPort": runtime.port, "protocol": "TCP"}],
        "securityContext": deepcopy(_RESTRICTED),
        "resources": _engine_resources(blueprint),
        "startupProbe": _probe(health, "http", period=2, failures=-(-runtime.probes.startup_seconds // 2)),
        # Where weights are served on a lease, the agent tells whether it holds.
        "readinessProbe": _probe("/engine-ready", names.AGENT_PORT, period=5, failures=3)
        if blueprint.sealed is not None
        else _probe(health, "http", period=5, failures=3),
        "livenessProbe": _probe("/engine-live", names.AGENT_PORT, period=10, failures=3),
        # The gateway stops choosing the pod before the engine stops listening.
        "lifecycle": {"preStop": {"sleep": {"seconds": 5}}},
        "volumeMounts": mounts,
    }


def _engine_arguments(blueprint: Blueprint) -> list[str]:
    own = [_HANDOVER_ARGUMENT] if blueprint.hands_over else []
    return [*(_fill(item, blueprint) for item in blueprint.runtime.args), *own]


def _engine_environment(blueprint: Blueprint) -> list[dict[str, str]]:
    own = _HANDOVER_ENVIRONMENT if blueprint.hands_over else {}
    said = {item.name: item.value for item in blueprint.runtime.env if item.name not in own}
    return [{"name": name, "value": value} for name, value in {**said, **own}.items()]


def _image(blueprint: Blueprint, image: str) -> dict[str, Any]:
    return {"image": image, "imagePullPolicy": blueprint.settings.image_pull_policy}


def _identity() -> list[dict[str, Any]]:
    fields = {"HOST_IP": "status.hostIP", "POD_NAME": "metadata.name", "POD_UID": "metadata.uid"}
    return [
        {"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}}
        for name, path in fields.items()
    ]


def _agent_resources(extra_mib: int) -> dict[str, Any]:
    # Files in memory are charged to whoever writes them, and the agent writes the weights.
    return {
        "requests": {"cpu": f"{AGENT_CPU_MILLIS}m", "memory": f"{AGENT_MEMORY_MIB + extra_mib}Mi"},
        "limits": {"memory": f"{AGENT_MEMORY_LIMIT_MIB + extra_mib}Mi"},
    }


def _engine_resources(blueprint: Blueprint) -> dict[str, Any]:
    needs = blueprint.needs
    shared = mib(blueprint.runtime.memory.shared) if blueprint.runtime.memory.shared else 0
    gpus = {names.GPU_RESOURCE: str(needs.gpus)} if needs.gpus else {}
    cpu_limit = {"cpu": f"{needs.cpu_limit_millis}m"} if needs.cpu_limit_millis is not None else {}
    memory_limit = max(needs.memory_limit_mib, shared)
    return {
        "requests": {"cpu": f"{needs.cpu_millis}m", "memory": f"{needs.memory_mib}Mi", **gpus, **needs.extended},
        "limits": {**cpu_limit, "memory": f"{memory_limit}Mi", **gpus, **needs.extended},
    }


def _probe(path: str, port: str | int, *, period: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": port, "scheme": "HTTP"},
        "periodSeconds": period,
        "timeoutSeconds": 5,
        "successThreshold": 1,
        "failureThreshold": failures,
    }


def _fill(text: str, blueprint: Blueprint) -> str:
    values = {
        "{{model}}": f"{blueprint.namespace}/{blueprint.name}",
        "{{path}}": WEIGHTS_PATH,
        "{{port}}": str(blueprint.runtime.port),
    }
    for placeholder, value in values.items():
        text = text.replace(placeholder, value)
    return text
