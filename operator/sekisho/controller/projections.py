"""What the stores keep of an object: the facts that a decision can depend on, and nothing that only ticks."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from sekisho.api.meta import read_quantity
from sekisho.api.names import CLASS_LABEL, GPU_MEMORY_LABEL, GPU_RESOURCE, MANAGED_BY_LABEL, SERVICE_LABEL
from sekisho.kube.ownership import CREATED, is_created
from sekisho.kube.resources import INFERENCE_SERVICES
from sekisho.placement.snapshot import MOST_AMOUNT, NodeFacts, PodUsage, Taint
from sekisho.plan.pods import ADDITIONS
from sekisho.render.additions import list_additions
from sekisho.render.digest import encode_canonical

Raw = Mapping[str, Any]
_MIB: Final = 1 << 20
_FINISHED: Final = frozenset({"Succeeded", "Failed"})
_TICKING: Final = frozenset({"lastProbeTime", "lastHeartbeatTime"})
_NOISE: Final = frozenset({"managedFields", "selfLink"})
_OWN_ANNOTATIONS: Final = "sekisho.dev/"
_OWN_LABELS: Final = frozenset({CLASS_LABEL, MANAGED_BY_LABEL, SERVICE_LABEL})
_MOST_SELECTOR: Final = 16 << 10


def project_node(raw: Raw) -> NodeFacts:
    """Return what placement may depend on; a heartbeat changes none of it."""
    meta, spec, status = raw["metadata"], raw.get("spec") or {}, raw.get("status") or {}
    labels = dict(meta.get("labels") or {})
    have = status.get("allocatable") or {}
    ready = any(c.get("type") == "Ready" and c.get("status") == "True" for c in status.get("conditions") or ())
    taints = (Taint(t.get("key", ""), t.get("value") or "", t.get("effect", "")) for t in spec.get("taints") or ())
    return NodeFacts(
        name=meta["name"],
        labels=labels,
        taints=tuple(sorted(taints, key=lambda taint: (taint.key, taint.effect, taint.value))),
        ready=ready,
        schedulable=not spec.get("unschedulable", False),
        cpu_millis=_bound(_millis(have.get("cpu", "0"))),
        memory_mib=_bound(_amount(have.get("memory", "0")) // _MIB),
        gpus=_bound(_amount(have.get(GPU_RESOURCE, "0"))),
        gpu_memory_mib=_whole(labels.get(GPU_MEMORY_LABEL, "")),
        pods=_bound(_amount(have.get("pods", "0"))),
    )


def project_usage(raw: Raw) -> PodUsage | None:
    """Return what a pod holds on its node; None while it has no node or once it is finished."""
    meta, spec = raw["metadata"], raw.get("spec") or {}
    node = spec.get("nodeName")
    if not node or (raw.get("status") or {}).get("phase") in _FINISHED:
        return None
    cpu, memory, gpus = _requests_of(spec)
    service = (meta.get("labels") or {}).get(SERVICE_LABEL, "")
    return PodUsage(
        node=node,
        namespace=meta["namespace"],
        service=service,
        cpu_millis=_bound(cpu),
        memory_mib=_bound(-(-memory // _MIB)),
        gpus=_bound(gpus),
    )


def project_pod(raw: Raw) -> Raw:
    """Keep of a pod of ours what its service's status is made from; the times of its proofs, which only tick, too."""
    status = dict(raw.get("status") or {})
    spec = raw.get("spec") or {}
    added = list_additions(spec)
    return {
        "metadata": _trim(raw["metadata"]),
        "spec": {
            **{key: spec[key] for key in ("nodeName", "schedulingGates") if key in spec},
            **({ADDITIONS: added} if added else {}),
        },
        "status": status,
    }


def project_object(raw: Raw) -> Raw:
    """Keep an object but for the record of field managers, which is half of its size; that we made it stays told."""
    kept = {key: value for key, value in raw.items() if key not in {"metadata", "apiVersion", "kind"}}
    meta = _trim(raw["metadata"])
    if is_created(raw):
        meta["managedFields"] = CREATED
    return {"metadata": meta, **kept}


def sketch_policy(projected: Raw) -> Raw:
    """Keep of a NetworkPolicy whose it is, whom it selects and in which directions it allows anything.

    A selector too long to be kept is taken to select everything.
    """
    meta, spec = projected["metadata"], projected.get("spec") or {}
    labels = {key: value for key, value in (meta.get("labels") or {}).items() if key in _OWN_LABELS}
    owners = [owner for owner in meta.get("ownerReferences") or () if owner.get("kind") == INFERENCE_SERVICES.kind]
    selector = spec.get("podSelector") or {}
    kept = selector if len(encode_canonical(selector)) <= _MOST_SELECTOR else {}
    types = {"policyTypes": spec["policyTypes"]} if spec.get("policyTypes") else {}
    ways: dict[str, Any] = {way: [{}] for way in ("ingress", "egress") if spec.get(way)}
    return {
        "metadata": {**meta, "labels": labels, "ownerReferences": owners},
        "spec": {"podSelector": kept, **types, **ways},
    }


def project_quiet_object(raw: Raw) -> Raw:
    """Keep an object whose status nothing depends on without it, so that its changes are no news."""
    return {key: value for key, value in project_object(raw).items() if key != "status"}


def project_namespace(raw: Raw) -> Raw:
    """Keep the labels of a namespace, and whether it is going away."""
    return {
        "metadata": {
            "name": raw["metadata"]["name"],
            "uid": raw["metadata"].get("uid", ""),
            "resourceVersion": raw["metadata"].get("resourceVersion", "0"),
            "labels": dict(raw["metadata"].get("labels") or {}),
        }
    }


def _trim(meta: Raw) -> dict[str, Any]:
    kept = {key: value for key, value in meta.items() if key not in _NOISE}
    if "annotations" in kept:
        told = kept["annotations"] or {}
        kept["annotations"] = {key: value for key, value in told.items() if key.startswith(_OWN_ANNOTATIONS)}
    return kept


def without_version(projected: Raw) -> Raw:
    """Return the facts without the version that carried them and the times that tick: equal facts are no news."""
    meta = {key: value for key, value in projected["metadata"].items() if key != "resourceVersion"}
    facts = {**projected, "metadata": meta}
    status = projected.get("status") or {}
    if "conditions" in status:
        quiet = [{key: value for key, value in c.items() if key not in _TICKING} for c in status["conditions"]]
        facts["status"] = {**status, "conditions": quiet}
    return facts


def _requests_of(spec: Raw) -> tuple[int, int, int]:
    """Return CPU millis, bytes and GPUs as the scheduler counts them: sidecars last, other init containers do not."""
    running = [_read(c) for c in spec.get("containers") or ()]
    peaks: list[tuple[int, int, int]] = []
    sidecars: list[tuple[int, int, int]] = []
    for container in spec.get("initContainers") or ():
        if container.get("restartPolicy") == "Always":
            sidecars.append(_read(container))
        else:
            peaks.append(_add([_read(container), *sidecars]))
    most = _add([*running, *sidecars])
    for peak in peaks:
        most = (max(most[0], peak[0]), max(most[1], peak[1]), max(most[2], peak[2]))
    overhead = spec.get("overhead") or {}
    return _add([most, (_millis(overhead.get("cpu", "0")), _amount(overhead.get("memory", "0")), 0)])


def _read(container: Raw) -> tuple[int, int, int]:
    requests = (container.get("resources") or {}).get("requests") or {}
    return (
        _millis(requests.get("cpu", "0")),
        _amount(requests.get("memory", "0")),
        _amount(requests.get(GPU_RESOURCE, "0")),
    )


def _add(amounts: Iterable[tuple[int, int, int]]) -> tuple[int, int, int]:
    cpu = memory = gpus = 0
    for one in amounts:
        cpu, memory, gpus = cpu + one[0], memory + one[1], gpus + one[2]
    return cpu, memory, gpus


def _bound(amount: int) -> int:
    return min(amount, MOST_AMOUNT)


def _amount(value: object) -> int:
    """Read a quantity of whole items or bytes; what cannot be read counts as nothing."""
    try:
        return int(read_quantity(value))
    except ValueError:
        return 0


def _millis(value: object) -> int:
    try:
        return int(read_quantity(value) * 1000)
    except ValueError:
        return 0


def _whole(value: str) -> int:
    return int(value) if value.isascii() and value.isdigit() and len(value) <= 12 else 0
