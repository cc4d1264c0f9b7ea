"""Conditions that our processes write onto the pods of models: by which each tells what it has seen of a pod."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from sekisho.errors import Reason, RefusedError
from sekisho.kube.client import KubeClient
from sekisho.kube.failures import ApiConflictError, ApiRefusedError
from sekisho.kube.pods import PodFacts
from sekisho.kube.resources import PODS

MAX_MESSAGE = 1024


@dataclass(frozen=True, slots=True)
class PodCondition:
    """One condition to write; `since_at` is Unix seconds of the last change of `ok`."""

    type: str
    ok: bool
    reason: Reason
    message: str
    since_at: float
    probed_at: float


def render_condition(condition: PodCondition) -> dict[str, str]:
    """Spell a condition as the API server stores it."""
    return {
        "type": condition.type,
        "status": "True" if condition.ok else "False",
        "reason": condition.reason.value,
        "message": condition.message[:MAX_MESSAGE],
        "lastTransitionTime": _spell_second(int(condition.since_at)),
        "lastProbeTime": _spell_second(int(condition.probed_at)),
    }


async def write_conditions(client: KubeClient, pod: PodFacts, conditions: Sequence[PodCondition]) -> None:
    """Patch the pod's status; the uid in the patch keeps a namesake from being written.

    Raises:
        RefusedError: PodNotKnown; the pod is gone.
        SekishoError: The API server did not take it.
    """
    body = {"metadata": {"uid": pod.uid}, "status": {"conditions": [render_condition(item) for item in conditions]}}
    try:
        await client.patch(PODS, pod.name, body, namespace=pod.namespace, subresource="status", kind="strategic")
    except (ApiConflictError, ApiRefusedError) as error:
        if isinstance(error, ApiConflictError) or error.status == 404:
            raise RefusedError(Reason.POD_NOT_KNOWN, f"pod {pod.namespace}/{pod.name} is gone") from error
        raise


@lru_cache(64)
def _spell_second(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
