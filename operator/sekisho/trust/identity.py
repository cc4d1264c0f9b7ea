"""Which node asks: its attester's token tells, as the API server verifies it; nothing the node says counts."""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Final

from sekisho.api.names import ATTESTER_SERVICE, TRUST_AUDIENCE
from sekisho.errors import Reason, RefusedError
from sekisho.kube.bearer import MAX_TOKEN, RateLimit
from sekisho.kube.client import KubeClient
from sekisho.kube.failures import own_trouble
from sekisho.kube.pods import build_review, parse_pod, parse_review
from sekisho.kube.resources import PODS

_NODE_NAME: Final = "authentication.kubernetes.io/node-name"
_CACHE_SECONDS: Final = 60.0
_CACHE_ITEMS: Final = 20_000


class Doorman:
    """Turns a bearer token into the name of the node whose attester holds it.

    Args:
        namespace: Where the attesters run.
    """

    def __init__(self, client: KubeClient, *, namespace: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._client, self._namespace, self._clock = client, namespace, clock
        self._cache: OrderedDict[bytes, tuple[float, str]] = OrderedDict()
        self._peers = RateLimit(per_second=5, burst=50, reason=Reason.OVERLOADED, clock=clock)
        self._nodes = RateLimit(per_second=1, burst=20, reason=Reason.OVERLOADED, clock=clock)

    async def identify(self, header: str, *, peer: str) -> str:
        """Return the name of the node.

        Args:
            header: The Authorization header.
            peer: Address of the connection; limits how often strangers make us ask the API server.

        Raises:
            RefusedError: Unauthenticated; it is no token of an attester.
            UnavailableError: Too many requests, or the API server does not answer.
        """
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer" or not 0 < len(token) <= MAX_TOKEN or not token.isascii():
            raise RefusedError(Reason.UNAUTHENTICATED, "the request carries no bearer token")
        key = hashlib.sha256(token.encode()).digest()
        kept = self._cache.get(key)
        if kept is None or self._clock() - kept[0] > _CACHE_SECONDS:
            self._peers.check(peer)
            kept = (self._clock(), await self._review(token))
            self._cache[key] = kept
            self._cache.move_to_end(key)
            if len(self._cache) > _CACHE_ITEMS:
                self._cache.popitem(last=False)
        self._nodes.check(kept[1])
        return kept[1]

    async def _review(self, token: str) -> str:
        with own_trouble("the trust controller"):
            review = await self._client.create(build_review(token, audience=TRUST_AUDIENCE))
            return read_node_name(review, namespace=self._namespace) or await self._look_up(review)

    async def _look_up(self, review: Mapping[str, Any]) -> str:
        """Ask for the pod where the API server puts no node into tokens."""
        identity = parse_review(review, audience=TRUST_AUDIENCE)
        raw = await self._client.get(PODS, identity.pod, namespace=identity.namespace)
        pod = None if raw is None else parse_pod(raw)
        if pod is None or pod.uid != identity.uid or not pod.node or pod.ended:
            raise RefusedError(
                Reason.UNAUTHENTICATED, f"pod {identity.namespace}/{identity.pod} of the token does not run on a node"
            )
        return pod.node


def read_node_name(review: Mapping[str, Any], *, namespace: str) -> str:
    """Read the node from a TokenReview's answer; empty where the API server does not tell it.

    Raises:
        RefusedError: Unauthenticated; the token is none of an attester's.
    """
    identity = parse_review(review, audience=TRUST_AUDIENCE)
    if (identity.namespace, identity.service_account) != (namespace, ATTESTER_SERVICE):
        raise RefusedError(
            Reason.UNAUTHENTICATED,
            f"the token is that of {identity.namespace}/{identity.service_account}; only attesters "
            f"({namespace}/{ATTESTER_SERVICE}) attest nodes",
        )
    extra = ((review.get("status") or {}).get("user") or {}).get("extra") or {}
    return str((extra.get(_NODE_NAME) or [""])[0])
