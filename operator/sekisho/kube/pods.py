"""The pods of models as the API server shows them, and whose token is whose."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sekisho.api.names import SERVICE_LABEL, name_child
from sekisho.api.times import parse_time_or_zero
from sekisho.errors import Reason, RefusedError

_SERVICE_ACCOUNT: Final = "system:serviceaccount:"
_POD_NAME: Final = "authentication.kubernetes.io/pod-name"
_POD_UID: Final = "authentication.kubernetes.io/pod-uid"


@dataclass(frozen=True, slots=True)
class PodIdentity:
    """Who a token says its bearer is, as the API server verified it."""

    namespace: str
    service_account: str
    pod: str
    uid: str


@dataclass(frozen=True, slots=True)
class PodFacts:
    """One pod of a model as the API server shows it.

    Attributes:
        addresses: Its IP addresses.
        started_at: Unix seconds of its start.
        conditions: By type, raw.
        node: Name of the node it is bound to; empty before it is.
    """

    namespace: str
    name: str
    uid: str
    service: str
    service_account: str
    host_ip: str
    addresses: frozenset[str]
    started_at: float
    ended: bool
    conditions: Mapping[str, Mapping[str, Any]]
    node: str = ""


def build_review(token: str, *, audience: str) -> dict[str, Any]:
    """Build the question whether a token is valid for an audience."""
    return {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "spec": {"token": token, "audiences": [audience]},
    }


def parse_review(review: Mapping[str, Any], *, audience: str) -> PodIdentity:
    """Read a TokenReview's answer; only a token of the audience that is bound to a pod names a pod.

    Raises:
        RefusedError: Unauthenticated.
    """
    status = review.get("status") or {}
    if not status.get("authenticated") or audience not in (status.get("audiences") or ()):
        raise RefusedError(Reason.UNAUTHENTICATED, f"the token is not valid for audience {audience}, or has expired")
    user = status.get("user") or {}
    name = str(user.get("username", ""))
    namespace, _, account = name.removeprefix(_SERVICE_ACCOUNT).partition(":")
    extra = user.get("extra") or {}
    pod, uid = (extra.get(_POD_NAME) or [""])[0], (extra.get(_POD_UID) or [""])[0]
    if not name.startswith(_SERVICE_ACCOUNT) or not account or not pod or not uid:
        raise RefusedError(
            Reason.UNAUTHENTICATED, "the token is not bound to a pod; only the projected token of a model's pod counts"
        )
    return PodIdentity(namespace, account, pod, uid)


def parse_pod(raw: Mapping[str, Any]) -> PodFacts:
    """Read the facts of a pod that count here."""
    meta, spec, status = raw.get("metadata") or {}, raw.get("spec") or {}, raw.get("status") or {}
    return PodFacts(
        namespace=str(meta.get("namespace", "")),
        name=str(meta.get("name", "")),
        uid=str(meta.get("uid", "")),
        service=str((meta.get("labels") or {}).get(SERVICE_LABEL, "")),
        service_account=str(spec.get("serviceAccountName", "")),
        host_ip=str(status.get("hostIP", "")),
        addresses=frozenset(str(item.get("ip", "")) for item in status.get("podIPs") or ()),
        started_at=parse_time_or_zero(status.get("startTime") or meta.get("creationTimestamp")),
        ended=bool(meta.get("deletionTimestamp")) or status.get("phase") in {"Succeeded", "Failed"},
        conditions={str(item.get("type")): item for item in status.get("conditions") or ()},
        node=str(spec.get("nodeName") or ""),
    )


def check_pod(identity: PodIdentity, pod: PodFacts | None) -> PodFacts:
    """Check that the pod exists, is the one the token was made for, and runs as its service's own account.

    Raises:
        RefusedError: PodNotKnown, with both facts.
    """
    name = f"{identity.namespace}/{identity.pod}"
    if pod is None or pod.ended:
        raise RefusedError(Reason.POD_NOT_KNOWN, f"pod {name} does not exist or is ending")
    if pod.uid != identity.uid:
        raise RefusedError(Reason.POD_NOT_KNOWN, f"the token was made for another pod {name} than the one that exists")
    if not pod.service:
        raise RefusedError(Reason.POD_NOT_KNOWN, f"pod {name} belongs to no InferenceService")
    wanted = name_child(pod.service)
    if identity.service_account != wanted or pod.service_account != wanted:
        raise RefusedError(
            Reason.POD_NOT_KNOWN,
            f"pod {name} says it serves {pod.service} but runs as {identity.service_account}, not as {wanted}",
        )
    return pod
