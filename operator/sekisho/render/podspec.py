"""One digest of what a pod runs and may touch: the same for a template and for every pod a cluster makes of it.

Between template and pod the API server fills in defaults, admission and the scheduler add what decides where a pod
runs. All of that is left out, by name. Everything else counts, fields that are not known here included: what somebody
adds to a pod changes its digest.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sekisho.api.meta import parse_quantity
from sekisho.api.names import MANAGED_BY_LABEL
from sekisho.render.digest import digest_of

Fields = Mapping[str, Any]
_OWN_LABELS: Final = "sekisho.dev/"
_ANNOTATIONS: Final = (
    "cdi.k8s.io/",
    "container.apparmor.security.beta.kubernetes.io/",
    "io.katacontainers.",
    "io.kubernetes.cri",
)
_EXACT_ANNOTATIONS: Final = frozenset({"k8s.v1.cni.cncf.io/networks"})
"""Annotations that change what a container runtime or a network plug-in does for the pod."""

_WHERE: Final = frozenset({
    "affinity", "imagePullSecrets", "nodeName", "nodeSelector", "overhead", "preemptionPolicy", "priority",
    "priorityClassName", "schedulerName", "schedulingGates", "serviceAccount", "tolerations",
    "topologySpreadConstraints",
})  # fmt: skip
"""Of a pod: where and when it runs, and two names that repeat others. Where it runs is proven by other facts."""

_HOW_MUCH: Final = frozenset({"imagePullPolicy", "resizePolicy", "resources"})
"""Of a container: amounts, and how an image is pulled that its digest names. Devices are told apart."""

_AMOUNTS: Final = frozenset({"cpu", "memory", "ephemeral-storage"})
_CONTAINERS: Final = frozenset({"containers", "initContainers", "ephemeralContainers"})
_POD_DEFAULTS: Final[Fields] = {
    "dnsPolicy": "ClusterFirst",
    "enableServiceLinks": True,
    "hostIPC": False,
    "hostNetwork": False,
    "hostPID": False,
    "restartPolicy": "Always",
    "setHostnameAsFQDN": False,
    "shareProcessNamespace": False,
    "terminationGracePeriodSeconds": 30,
}
_CONTAINER_DEFAULTS: Final[Fields] = {
    "stdin": False,
    "stdinOnce": False,
    "terminationMessagePath": "/dev/termination-log",
    "terminationMessagePolicy": "File",
    "tty": False,
}
# Names that mean one thing wherever they stand below a container or a volume.
_DEFAULTS: Final[Fields] = {
    "defaultMode": 0o644,
    "failureThreshold": 3,
    "initialDelaySeconds": 0,
    "mountPropagation": "None",
    "periodSeconds": 10,
    "procMount": "Default",
    "protocol": "TCP",
    "readOnly": False,
    "scheme": "HTTP",
    "successThreshold": 1,
    "timeoutSeconds": 1,
}
_FIELD_REF_DEFAULTS: Final[Fields] = {"apiVersion": "v1"}
_TOKEN_DEFAULTS: Final[Fields] = {"expirationSeconds": 3600}
_OWN_DEFAULTS: Final[Mapping[str, Fields]] = {
    "fieldRef": {**_DEFAULTS, **_FIELD_REF_DEFAULTS},
    "serviceAccountToken": {**_DEFAULTS, **_TOKEN_DEFAULTS},
}
_MAY_BE_EMPTY: Final = frozenset({dict, list, tuple, str})


def digest_pod(labels: Fields, annotations: Fields, spec: Fields) -> str:
    """Return "sha256:…" of what counts of a pod, or of the template of one."""
    return digest_of(describe_pod(labels, annotations, spec))


def digest_template(template: Fields) -> str:
    """Return the digest that every pod of a pod template has."""
    meta = template.get("metadata") or {}
    return digest_pod(meta.get("labels") or {}, meta.get("annotations") or {}, template.get("spec") or {})


def describe_pod(labels: Fields, annotations: Fields, spec: Fields) -> dict[str, Any]:
    """Return what counts of a pod, in one spelling; what two pods differ in shows where this differs."""
    return {
        "annotations": {key: value for key, value in annotations.items() if _is_telling(key)},
        "labels": {k: v for k, v in labels.items() if k.startswith(_OWN_LABELS) or k == MANAGED_BY_LABEL},
        "spec": _describe_spec(spec),
    }


def _is_telling(annotation: str) -> bool:
    return annotation.startswith(_ANNOTATIONS) or annotation in _EXACT_ANNOTATIONS


def _describe_spec(spec: Fields) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for key, value in spec.items():
        if key in _WHERE or _is_default(value, _POD_DEFAULTS.get(key)):
            continue
        if key in _CONTAINERS:
            kept[key] = [_describe_container(item) for item in value]
        elif key == "volumes":
            kept[key] = [_describe_volume(item) for item in value]
        else:
            kept[key] = _describe(value)
    return kept


def _describe_container(container: Fields) -> dict[str, Any]:
    kept = {
        key: _describe(value)
        for key, value in container.items()
        if key not in _HOW_MUCH and not _is_default(value, _CONTAINER_DEFAULTS.get(key))
    }
    devices = _find_devices(container.get("resources") or {})
    return kept | ({"devices": devices} if devices else {})


def _find_devices(resources: Fields) -> dict[str, Any]:
    """Return what a container is given beside amounts: requests and limits of devices are always equal."""
    amounts = {**(resources.get("requests") or {}), **(resources.get("limits") or {})}
    devices: dict[str, Any] = {
        key: str(value) for key, value in amounts.items() if key not in _AMOUNTS and not key.startswith("hugepages-")
    }
    return devices | ({"claims": resources["claims"]} if resources.get("claims") else {})


def _describe_volume(volume: Fields) -> dict[str, Any]:
    """Keep the source of a volume even where it is empty: `emptyDir: {}` says which kind it is."""
    sources = {key: _describe(value or {}) for key, value in volume.items() if key != "name" and value is not None}
    if "sizeLimit" in sources.get("emptyDir", {}):
        sources["emptyDir"]["sizeLimit"] = _spell_amount(sources["emptyDir"]["sizeLimit"])
    return {"name": volume.get("name"), **(sources or {"emptyDir": {}})}


def _spell_amount(value: Any) -> str:
    """Spell an amount in one way: the API server spells 1024Mi as 1Gi."""
    try:
        return str(int(parse_quantity(value)))
    except ValueError:
        return str(value)


def _describe(value: Any, *, defaults: Fields = _DEFAULTS) -> Any:
    if isinstance(value, str):  # most are; the two below cost more to ask for
        return value
    if isinstance(value, Mapping):
        return {
            key: _describe(item, defaults=_defaults_of(key))
            for key, item in value.items()
            if not _is_default(item, defaults.get(key))
        }
    if isinstance(value, Sequence):
        return [_describe(item, defaults=defaults) for item in value]
    return value


def _defaults_of(key: str) -> Fields:
    return _OWN_DEFAULTS.get(key, _DEFAULTS)


def _is_default(value: Any, default: Any) -> bool:
    if default is not None and type(value) is type(default) and value == default:
        return True
    return value is None or (type(value) in _MAY_BE_EMPTY and not value)
