"""What the broker asks and tells the API server about one pod: all of it read anew for each release.

Only who made a ReplicaSet and a Deployment is remembered, by uid and for a minute: owners do not change, and the
digest of what the pod runs is held against the InferenceService each time.
"""

import asyncio
import hashlib
import json
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Protocol

from sekisho.api.names import BROKER_AUDIENCE, NODE_AK_ANNOTATION, NODE_REFUSAL_ANNOTATION, SITE_LABEL, name_child
from sekisho.attest.isolation import ExpectedCanary, parse_canaries
from sekisho.broker.workload import LivePod, Owner, choose_expected, mismatch, read_owner, read_pod
from sekisho.errors import Reason, RefusedError
from sekisho.kube.client import KubeClient
from sekisho.kube.conditions import PodCondition, write_conditions
from sekisho.kube.failures import own_trouble
from sekisho.kube.pods import PodFacts, PodIdentity, build_review, parse_pod, parse_review
from sekisho.kube.resources import CONFIG_MAPS, DEPLOYMENTS, INFERENCE_SERVICES, NODES, PODS, REPLICA_SETS, Resource

Raw = Mapping[str, Any]
_WHO: Final = "the broker"
_OWNER_SECONDS: Final = 60.0
_MOST: Final = 20_000
_MOST_RAW: Final = 256
_MOST_CONFIGS: Final = 256
_MAX_TPM_NAME: Final = 66


@dataclass(frozen=True, slots=True)
class Node:
    """A node.

    Attributes:
        tpm_key: The TPM name of the attestation key it is enrolled with; None without one.
    """

    name: str
    labels: Mapping[str, str]
    tpm_key: bytes | None

    @property
    def chip_id(self) -> bytes | None:
        """What claims of its TPM name as their chip."""
        return None if self.tpm_key is None else hashlib.sha256(self.tpm_key).digest()

    def keys_for(self, kinds: Iterable[str]) -> frozenset[bytes]:
        """Return the names of the attestation keys by which evidence of these kinds counts from this node.

        Raises:
            RefusedError: ChipUnknown; there is a quote of a TPM, and none is enrolled for the node.
        """
        if self.tpm_key is not None:
            return frozenset((self.tpm_key,))
        if "tpm" in kinds:
            raise RefusedError(
                Reason.CHIP_UNKNOWN,
                f"node {self.name} is enrolled with no TPM, so a quote from it names nobody; have the trust controller "
                f"enrol it (annotation {NODE_REFUSAL_ANNOTATION} of the Node tells why it has not)",
            )
        return frozenset()


@dataclass(frozen=True, slots=True)
class Surroundings:
    """A pod that is what its controller made, and what stands around it.

    Attributes:
        expected_digest: The published digest it is held against.
        service: The InferenceService, raw.
        node: The node it is bound to.
        canaries: What a proof of isolation must speak of.
    """

    pod: LivePod
    expected_digest: str
    service: Raw
    node: Node
    canaries: tuple[ExpectedCanary, ...]


class Cluster(Protocol):
    """The broker's view of the API server."""

    async def review_token(self, token: str) -> PodIdentity:
        """Verify a token; raise RefusedError Unauthenticated where it is none for the broker."""
        ...

    async def read_pod(self, namespace: str, name: str) -> PodFacts | None:
        """Read a pod."""
        ...

    async def read_site(self, pod: PodFacts) -> str:
        """Return the site that a pod's label names."""
        ...

    async def read_surroundings(self, pod: PodFacts) -> Surroundings:
        """Read all that counts of a pod, who made it, and where it is.

        Raises:
            RefusedError: WorkloadMismatch, PodNotKnown, InvalidSpec.
            UnavailableError: The API server does not answer.
        """
        ...

    async def read_node_of(self, pod: PodFacts) -> Node:
        """Read the node that a pod is bound to; raises as `read_surroundings` does."""
        ...

    async def write_conditions(self, pod: PodFacts, conditions: Sequence[PodCondition]) -> None:
        """Write conditions of a pod, if it is still the same pod."""
        ...


class KubeCluster:
    """The API server, asked by our client."""

    def __init__(self, client: KubeClient, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._client, self._clock = client, clock
        self._owners: OrderedDict[str, tuple[float, Owner]] = OrderedDict()
        self._raw: OrderedDict[str, Raw] = OrderedDict()

    async def review_token(self, token: str) -> PodIdentity:
        """Verify a token with the API server."""
        with own_trouble(_WHO):
            review = await self._client.create(build_review(token, audience=BROKER_AUDIENCE))
        return parse_review(review, audience=BROKER_AUDIENCE)

    async def read_pod(self, namespace: str, name: str) -> PodFacts | None:
        """Read a pod; what was read is kept for the one look at its surroundings that follows."""
        raw = await self._get(PODS, name, namespace)
        if raw is None:
            return None
        pod = parse_pod(raw)
        self._raw[pod.uid] = raw
        while len(self._raw) > _MOST_RAW:
            self._raw.popitem(last=False)
        return pod

    async def read_site(self, pod: PodFacts) -> str:
        """Return the site that a pod's label names; nobody can change that label afterwards."""
        raw = await self._get_pod(pod)
        return str(((raw.get("metadata") or {}).get("labels") or {}).get(SITE_LABEL, ""))

    async def read_surroundings(self, pod: PodFacts) -> Surroundings:
        """Read pod, owners, service, node and configuration at once."""
        live = read_pod(await self._get_pod(pod))
        # Who made it is known mostly: what is read at once are the other three, of which two take a task.
        reads = (
            asyncio.create_task(self._read_node(live.node)),
            asyncio.create_task(self._get(CONFIG_MAPS, name_child(live.service), live.namespace)),
        )
        try:
            made_by = await self._find_service(live)
            service = await self._get(INFERENCE_SERVICES, live.service, live.namespace)
            node, config = await reads[0], await reads[1]
        finally:
            _let_go(*reads)
        service = _check_service(live, service, made_by)
        published = (service.get("status") or {}).get("template") or {}
        return Surroundings(
            pod=live,
            expected_digest=choose_expected(published, live.template_digest),
            service=service,
            node=node,
            canaries=_read_canaries(config, pod),
        )

    async def read_node_of(self, pod: PodFacts) -> Node:
        """Read the node that a pod is bound to."""
        raw = await self._get_pod(pod)
        return await self._read_node(str((raw.get("spec") or {}).get("nodeName") or ""))

    async def write_conditions(self, pod: PodFacts, conditions: Sequence[PodCondition]) -> None:
        """Patch the pod's status, if it is still the same pod."""
        with own_trouble(_WHO):
            await write_conditions(self._client, pod, conditions)

    async def _get_pod(self, pod: PodFacts) -> Raw:
        raw = self._raw.pop(pod.uid, None) or await self._get(PODS, pod.name, pod.namespace) or {}
        if str((raw.get("metadata") or {}).get("uid", "")) != pod.uid:
            raise RefusedError(Reason.POD_NOT_KNOWN, f"pod {pod.namespace}/{pod.name} is gone")
        return raw

    async def _read_node(self, name: str) -> Node:
        raw = await self._get(NODES, name) if name else None
        if raw is None:
            raise mismatch(f"the pod is on node {name or '(none)'}, which does not exist")
        meta = raw.get("metadata") or {}
        return Node(name, meta.get("labels") or {}, _read_tpm_key(meta.get("annotations") or {}))

    async def _find_service(self, pod: LivePod) -> Owner:
        """Follow a pod to its InferenceService by way of ReplicaSet and Deployment."""
        replica_set = await self._find_owner(REPLICA_SETS, pod.owner, pod.namespace, kind="Deployment")
        if replica_set.name != name_child(pod.service):
            raise mismatch(
                f"pod {pod.namespace}/{pod.name} says it serves {pod.service} but comes from Deployment "
                f"{replica_set.name}"
            )
        return await self._find_owner(DEPLOYMENTS, replica_set, pod.namespace, kind="InferenceService")

    async def _find_owner(self, resource: Resource, wanted: Owner, namespace: str, *, kind: str) -> Owner:
        known = self._owners.get(wanted.uid)
        if known is not None and self._clock() - known[0] <= _OWNER_SECONDS:
            return known[1]
        raw = await self._get(resource, wanted.name, namespace)
        if raw is None or str((raw.get("metadata") or {}).get("uid", "")) != wanted.uid:
            raise mismatch(f"{wanted.kind} {namespace}/{wanted.name}, which made the pod, does not exist any more")
        owner = read_owner({"kind": resource.kind, **raw}, kind=kind)
        self._owners[wanted.uid] = (self._clock(), owner)
        self._owners.move_to_end(wanted.uid)
        while len(self._owners) > _MOST:
            self._owners.popitem(last=False)
        return owner

    async def _get(self, resource: Resource, name: str, namespace: str = "") -> Raw | None:
        with own_trouble(_WHO):
            return await self._client.get(resource, name, namespace=namespace)


def _let_go(*tasks: "asyncio.Task[Any]") -> None:
    """End tasks that nobody waits for any more; what one failed with before is of no interest."""
    for task in tasks:
        if not task.cancel() and not task.cancelled():
            task.exception()


def _check_service(pod: LivePod, service: Raw | None, made_by: Owner) -> Raw:
    meta = (service or {}).get("metadata") or {}
    if service is None or str(meta.get("uid", "")) != made_by.uid or made_by.name != pod.service:
        raise mismatch(
            f"pod {pod.namespace}/{pod.name} was made for InferenceService {made_by.name}, which is not the one called "
            f"{pod.service} there is now"
        )
    if meta.get("deletionTimestamp"):
        raise mismatch(f"InferenceService {pod.namespace}/{pod.service} is being deleted")
    return service


def _read_canaries(config: Raw | None, pod: PodFacts) -> tuple[ExpectedCanary, ...]:
    """Return the canaries that a proof must speak of: the controller's list, not the agent's."""
    found = _parse_canaries(str(((config or {}).get("data") or {}).get("agent.json") or ""), pod.host_ip)
    if found is None:
        name = f"{pod.namespace}/{name_child(pod.service)}"
        raise RefusedError(Reason.INVALID_SPEC, f"ConfigMap {name} has no agent.json that can be read")
    return found


@lru_cache(_MOST_CONFIGS)
def _parse_canaries(text: str, host_ip: str) -> tuple[ExpectedCanary, ...] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return parse_canaries(value.get("canaries"), host_ip=host_ip) if isinstance(value, dict) else None


def _read_tpm_key(annotations: Mapping[str, str]) -> bytes | None:
    """Return the enrolled key's TPM name; one that cannot be read is none."""
    text = annotations.get(NODE_AK_ANNOTATION, "")
    try:
        key = bytes.fromhex(text)
    except ValueError:
        return None
    return key if 0 < len(key) <= _MAX_TPM_NAME else None
