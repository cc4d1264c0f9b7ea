"""One pod of a model as a candidate for requests, read from what the watch shows. Pure.

Who writes what of it is held by admission policies: its labels and spec come from the operator alone, what is said of
isolation from the depot, of attestation and keys from the broker.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Final

from sekisho.api import names
from sekisho.api.times import parse_time_or_zero
from sekisho.kube.pods import parse_pod

Raw = Mapping[str, Any]
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_PORT: Final = "http"


@dataclass(frozen=True, slots=True)
class Held:
    """What the broker says of a pod by one condition.

    Attributes:
        ends_at: Unix seconds until which it holds; 0 where it does not, or does not say until when.
        evidence: Digest of the evidence behind it; empty where it is not told.
    """

    ends_at: float
    evidence: str = ""


@dataclass(frozen=True, slots=True)
class Replica:
    """One pod; whatever could not be read is empty, and empty never passes a filter.

    Attributes:
        address: Its IP address, as text.
        port: Where its engine listens; 0 where its spec does not say.
        site: Of its label.
        class_label: The class it was made for, as labels spell it.
        proven_at: Unix seconds of the last good proof of isolation; 0 where the last one was not good.
        attested: What the broker says of its hardware and code; None where no broker speaks of it.
        released: What the broker says of its key; likewise.
    """

    namespace: str
    name: str
    uid: str
    service: str
    address: str
    port: int
    node: str
    site: str
    class_label: str
    ended: bool
    ready: bool
    proven_at: float
    attested: Held | None = None
    released: Held | None = None


def read_replica(raw: Raw) -> Replica:
    """Read what counts of a pod."""
    pod = parse_pod(raw)
    labels = (raw.get("metadata") or {}).get("labels") or {}
    proof = pod.conditions.get(names.ISOLATED_POD_CONDITION) or {}
    return Replica(
        namespace=pod.namespace,
        name=pod.name,
        uid=pod.uid,
        service=pod.service,
        address=_read_address((raw.get("status") or {}).get("podIP")),
        port=_read_port(raw.get("spec") or {}),
        node=pod.node,
        site=str(labels.get(names.SITE_LABEL) or ""),
        class_label=str(labels.get(names.CLASS_LABEL) or ""),
        ended=pod.ended,
        ready=(pod.conditions.get("Ready") or {}).get("status") == "True",
        proven_at=parse_time_or_zero(proof.get("lastProbeTime")) if proof.get("status") == "True" else 0.0,
        attested=_read_held(pod.conditions.get(names.ATTESTED_POD_CONDITION)),
        released=_read_held(pod.conditions.get(names.KEY_RELEASED_POD_CONDITION)),
    )


def _read_address(value: Any) -> str:
    try:
        return str(ip_address(str(value)))
    except ValueError:
        return ""


def _read_port(spec: Raw) -> int:
    """Return the container port that the model's Service means; whatever is not said plainly is none."""
    ports = (port for item in spec.get("containers") or () for port in item.get("ports") or ())
    found = [port.get("containerPort") for port in ports if port.get("name") == _PORT]
    return found[0] if len(found) == 1 and isinstance(found[0], int) and 0 < found[0] < 65536 else 0


def _read_held(condition: Raw | None) -> Held | None:
    """Read what the broker wrote into a condition: until when it holds stands in its message."""
    if condition is None:
        return None
    if condition.get("status") != "True":
        return Held(0.0)
    try:
        said: Any = json.loads(str(condition.get("message")))
    except (ValueError, RecursionError):
        return Held(0.0)
    if not isinstance(said, dict):
        return Held(0.0)
    digest = str(said.get("evidenceDigest"))
    return Held(parse_time_or_zero(said.get("leaseEndsAt")), digest if _DIGEST.fullmatch(digest) else "")


def read_proofs(raw: Raw) -> Mapping[str, int]:
    """Return which hardware trust a node has proven, and the Unix second of each proof; nothing else counts as one."""
    prefix, suffix = names.NODE_TRUST_PREFIX, names.NODE_TRUST_SUFFIX
    labels = (raw.get("metadata") or {}).get("labels") or {}
    return {
        key[len(prefix) : -len(suffix)]: int(value)
        for key, value in labels.items()
        if key.startswith(prefix) and key.endswith(suffix) and _is_second(value)
    }


def _is_second(value: Any) -> bool:
    return isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 12
