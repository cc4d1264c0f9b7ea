"""Who a pod is beyond its token: its images by digest, what it runs as one digest, who owns it. Pure."""

import ipaddress
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sekisho.api import names
from sekisho.errors import Reason, RefusedError
from sekisho.render.podspec import digest_pod

Raw = Mapping[str, Any]
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_KINDS: Final = (("initContainers", "initContainerStatuses"), ("containers", "containerStatuses"))
_MOST_CONTAINERS: Final = 64
# The API server counts the changes of a pod's spec from here; one that does not count them gives no number.
_NEVER_CHANGED: Final = 1


@dataclass(frozen=True, slots=True)
class Owner:
    """The controller of an object."""

    kind: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class LivePod:
    """What counts of a pod, as the API server shows it now.

    Attributes:
        images: "sha256:…" of every image that a container runs, or that the kubelet will pull for it.
        template_digest: Of what it runs and may touch; see `render.podspec`.
        node: The node it is bound to.
        site: The site its label names.
        class_label: The class its label names.
        isolated: Whether the depot vouches for its isolation, by the pod's condition.
        gpus: GPUs that it holds.
    """

    namespace: str
    name: str
    uid: str
    service: str
    node: str
    site: str
    class_label: str
    images: frozenset[str]
    template_digest: str
    owner: Owner
    isolated: bool
    gpus: int


def read_pod(raw: Raw) -> LivePod:
    """Read a pod of a model.

    Raises:
        RefusedError: WorkloadMismatch; it is not what the controllers make, or an image cannot be told by digest.
    """
    meta, spec, status = raw.get("metadata") or {}, raw.get("spec") or {}, raw.get("status") or {}
    labels = meta.get("labels") or {}
    name = f"{meta.get('namespace', '')}/{meta.get('name', '')}"
    if not spec.get("nodeName"):
        raise mismatch(f"pod {name} is bound to no node")
    return LivePod(
        namespace=str(meta.get("namespace", "")),
        name=str(meta.get("name", "")),
        uid=str(meta.get("uid", "")),
        service=str(labels.get(names.SERVICE_LABEL, "")),
        node=str(spec["nodeName"]),
        site=str(labels.get(names.SITE_LABEL, "")),
        class_label=str(labels.get(names.CLASS_LABEL, "")),
        images=_read_images(spec, status, name, unchanged=meta.get("generation") == _NEVER_CHANGED),
        template_digest=digest_pod(labels, meta.get("annotations") or {}, spec),
        owner=read_owner(raw, kind="ReplicaSet"),
        isolated=_is_true(status, names.ISOLATED_POD_CONDITION),
        gpus=sum(_count_gpus(container) for kind, _ in _KINDS for container in spec.get(kind) or ()),
    )


def read_owner(raw: Raw, *, kind: str) -> Owner:
    """Return the one controller of an object.

    Raises:
        RefusedError: WorkloadMismatch; it has none of that kind.
    """
    meta = raw.get("metadata") or {}
    owners = [item for item in meta.get("ownerReferences") or () if item.get("controller")]
    if len(owners) != 1 or owners[0].get("kind") != kind:
        name = f"{raw.get('kind', 'the object')} {meta.get('namespace', '')}/{meta.get('name', '')}"
        found = ", ".join(str(item.get("kind"))[:64] for item in owners) or "nothing"
        raise mismatch(f"{name} is controlled by {found}, not by a {kind}")
    return Owner(kind, str(owners[0].get("name", "")), str(owners[0].get("uid", "")))


def check_peer(peer: str, addresses: frozenset[str], *, pod: str) -> None:
    """Check that a request came from an address of the pod that it speaks for.

    Raises:
        RefusedError: WorkloadMismatch.
    """
    if not _spell(peer) or _spell(peer) not in {_spell(item) for item in addresses}:
        raise mismatch(
            f"the request came from {peer[:64]}, pod {pod} has {', '.join(sorted(addresses)) or 'no address'}"
        )


def choose_expected(published: Raw, live_digest: str) -> str:
    """Return the published digest a pod is held against: its own where it is among them, else the newest.

    Args:
        published: `status.template` of the InferenceService, which the controller alone writes.
        live_digest: What the pod was found to run.
    """
    newest, earlier = str(published.get("digest") or ""), published.get("earlier") or ()
    return live_digest if live_digest in (newest, *earlier) else newest


def mismatch(message: str) -> RefusedError:
    """Say which two facts about a workload disagree."""
    return RefusedError(Reason.WORKLOAD_MISMATCH, message)


def _count_gpus(container: Raw) -> int:
    amount = str(((container.get("resources") or {}).get("limits") or {}).get(names.GPU_RESOURCE, "0"))
    return int(amount) if amount.isascii() and amount.isdigit() and len(amount) < 4 else 0


def _read_images(spec: Raw, status: Raw, name: str, *, unchanged: bool) -> frozenset[str]:
    found: set[str] = set()
    for container, told in _pair(spec, status):
        label = f"container {str(container.get('name', ''))[:63]} of pod {name}"
        asked, runs = str(container.get("image", "")), str(told.get("imageID") or "")
        found.add(_read_image(asked, runs, label, unchanged=unchanged))
    if not found:
        raise mismatch(f"pod {name} has no container")
    return frozenset(found)


def _pair(spec: Raw, status: Raw) -> Iterator[tuple[Raw, Raw]]:
    if spec.get("ephemeralContainers") or status.get("ephemeralContainerStatuses"):
        raise mismatch("the pod has a debug container; pods that get keys have none")
    for kind, told in _KINDS:
        containers = spec.get(kind) or ()
        statuses = {item.get("name"): item for item in status.get(told) or ()}
        if len(containers) > _MOST_CONTAINERS:
            raise mismatch(f"the pod has {len(containers)} {kind}, {_MOST_CONTAINERS} are looked at")
        for container in containers:
            yield container, statuses.get(container.get("name")) or {}


def _read_image(asked: str, runs: str, label: str, *, unchanged: bool) -> str:
    """Return the digest of a container's image: what the node says it runs must be what the pod asks for.

    A node that has one image under two digests (the same content in two manifests) tells either of them. Where the pod
    was never changed, its containers run what it asks for, whatever that is called.
    """
    wanted, there = _find_digest(asked), _find_digest(runs)
    if runs and not there:
        raise mismatch(f"{label}: the node tells no digest of the image it runs")
    if there and wanted and there != wanted:
        if unchanged:
            return wanted
        raise mismatch(
            f"{label} asks for {wanted} and the node runs {there}, and the pod was changed after it was made, or the "
            "API server does not count changes; let the pod be made anew"
        )
    digest = there or wanted
    if not digest:
        raise mismatch(f"{label} has not started and names its image by a tag; name it by digest")
    return digest


def _find_digest(image: str) -> str:
    """Return the digest behind the last @ of an image's name; a bare id is the node's own and names no content."""
    _, at, digest = image.rpartition("@")
    return digest if at and _DIGEST.fullmatch(digest) else ""


def _is_true(status: Raw, kind: str) -> bool:
    return any(item.get("type") == kind and item.get("status") == "True" for item in status.get("conditions") or ())


def _spell(address: str) -> str:
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return ""
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return str(mapped or parsed)
