"""What the depot asks and tells the API server: who a pod is, what it may have, what its conditions are."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

from pydantic import ValidationError

from sekisho.api.meta import parse_quantity
from sekisho.api.names import DEPOT_AUDIENCE, SERVICE_LABEL, name_child
from sekisho.api.v1alpha1.inferenceservice import InferenceServiceSpec
from sekisho.api.v1alpha1.model import ModelSpec
from sekisho.errors import Reason, RefusedError
from sekisho.kube.client import KubeClient
from sekisho.kube.conditions import PodCondition, write_conditions
from sekisho.kube.failures import own_trouble
from sekisho.kube.pods import PodFacts, PodIdentity, build_review, parse_pod, parse_review
from sekisho.kube.resources import CONFIG_MAPS, INFERENCE_SERVICES, MODELS, PODS
from sekisho.plan.inspection import read_inspection

T = TypeVar("T", InferenceServiceSpec, ModelSpec)
_WHO: Final = "the depot"
_SEAL_BYTES: Final = 128 << 20


@dataclass(frozen=True, slots=True)
class WeightsWish:
    """What a service is to be given.

    Attributes:
        digest: What the source must turn out to be; None where the owner states none.
        limit_bytes: Largest size that is accepted.
        sealed: Whether the pod that asks unseals what it gets; no other is given ciphertext.
    """

    uri: str
    digest: str | None
    limit_bytes: int
    sealed: bool = False


class Cluster(Protocol):
    """The depot's view of the API server."""

    async def review_token(self, token: str) -> PodIdentity:
        """Verify a token; raise RefusedError Unauthenticated where it is none of ours."""
        ...

    async def read_pod(self, namespace: str, name: str) -> PodFacts | None:
        """Read a pod."""
        ...

    async def list_pods(self, *, node: str = "") -> Sequence[PodFacts]:
        """List the pods of all models, or those of one node."""
        ...

    async def read_agent_config(self, namespace: str, service: str) -> Mapping[str, Any]:
        """Read agent.json of a service."""
        ...

    async def read_wish(self, namespace: str, service: str, *, most_bytes: int) -> WeightsWish:
        """Read what a service serves."""
        ...

    async def write_conditions(self, pod: PodFacts, conditions: Sequence[PodCondition]) -> None:
        """Write conditions of a pod, if it is still the same pod."""
        ...


class KubeCluster:
    """The API server, asked by our client."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client

    async def review_token(self, token: str) -> PodIdentity:
        """Verify a token with the API server."""
        with own_trouble(_WHO):
            review = await self._client.create(build_review(token, audience=DEPOT_AUDIENCE))
        return parse_review(review, audience=DEPOT_AUDIENCE)

    async def read_pod(self, namespace: str, name: str) -> PodFacts | None:
        """Read a pod; None where there is none."""
        with own_trouble(_WHO):
            raw = await self._client.get(PODS, name, namespace=namespace)
        return None if raw is None else parse_pod(raw)

    async def list_pods(self, *, node: str = "") -> Sequence[PodFacts]:
        """List every pod that carries our label, or those of one node."""
        where = f"spec.nodeName={node}" if node else ""
        with own_trouble(_WHO):
            found = await self._client.list_all(PODS, label_selector=SERVICE_LABEL, field_selector=where)
        return [parse_pod(raw) for raw in found]

    async def read_agent_config(self, namespace: str, service: str) -> Mapping[str, Any]:
        """Read agent.json from the service's ConfigMap."""
        with own_trouble(_WHO):
            raw = await self._client.get(CONFIG_MAPS, name_child(service), namespace=namespace)
        text = ((raw or {}).get("data") or {}).get("agent.json")
        try:
            config = json.loads(text) if text else None
        except ValueError:
            config = None
        if not isinstance(config, dict):
            raise RefusedError(
                Reason.INVALID_SPEC, f"ConfigMap {namespace}/{name_child(service)} has no agent.json that can be read"
            )
        return config

    async def read_wish(self, namespace: str, service: str, *, most_bytes: int) -> WeightsWish:
        """Follow the service to its storage URI, by way of its Model where it names one."""
        with own_trouble(_WHO):
            raw = await self._client.get(INFERENCE_SERVICES, service, namespace=namespace)
        if raw is None:
            raise RefusedError(Reason.POD_NOT_KNOWN, f"there is no InferenceService {namespace}/{service}")
        model = _parse(InferenceServiceSpec, raw, f"InferenceService {namespace}/{service}").predictor.model
        if model.model_ref is None:
            return WeightsWish(str(model.storage_uri), None, most_bytes)
        with own_trouble(_WHO):
            raw = await self._client.get(MODELS, model.model_ref.name, namespace=namespace)
        if raw is None:
            raise RefusedError(Reason.MODEL_NOT_FOUND, f"there is no Model {namespace}/{model.model_ref.name}")
        spec = _parse(ModelSpec, raw, f"Model {namespace}/{model.model_ref.name}")
        limit = most_bytes if spec.size is None else min(most_bytes, int(parse_quantity(spec.size)))
        found = read_inspection(raw.get("status") or {})
        if found is None or not found.sealed or found.uri != spec.storage_uri:
            return WeightsWish(spec.storage_uri, spec.digest, limit)
        # What was verified is what is fetched, whatever a tag names by now; and a seal is larger than its model.
        return WeightsWish(spec.storage_uri, spec.digest or found.artifact_digest, min(most_bytes, limit + _SEAL_BYTES))

    async def write_conditions(self, pod: PodFacts, conditions: Sequence[PodCondition]) -> None:
        """Patch the pod's status, if it is still the same pod."""
        with own_trouble(_WHO):
            await write_conditions(self._client, pod, conditions)


def _parse(kind: type[T], raw: Mapping[str, Any], name: str) -> T:
    try:
        return kind.model_validate(raw.get("spec") or {})
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise RefusedError(Reason.INVALID_SPEC, f"{name}: {first['msg']}") from error
