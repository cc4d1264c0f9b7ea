"""Who is asking: a pod of a model, proven by its projected token and by what the API server knows of that pod."""

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from sekisho.errors import Reason, RefusedError, UnavailableError
from sekisho.kernel import read_boot_seconds
from sekisho.kube.pods import PodFacts, PodIdentity, check_pod

MAX_TOKEN: Final = 16 * 1024
_CACHE_SECONDS: Final = 30.0
_CACHE_ITEMS: Final = 10_000
_REVIEWS_AT_ONCE: Final = 16
_REVIEWS_WAITING: Final = 512


class PodReader(Protocol):
    """What is asked of the API server about who asks."""

    async def review_token(self, token: str) -> PodIdentity:
        """Verify a token; raise RefusedError Unauthenticated where it is none of ours."""
        ...

    async def read_pod(self, namespace: str, name: str) -> PodFacts | None:
        """Read a pod."""
        ...


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


class RateLimit:
    """A token bucket per key; the least recently used keys are forgotten.

    Args:
        reason: Why who asks too often is sent away.
    """

    def __init__(
        self, *, per_second: float, burst: float, reason: Reason, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate, self._burst, self._reason, self._clock = per_second, burst, reason, clock
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def check(self, key: str) -> None:
        """Take one token for `key`.

        Raises:
            UnavailableError: The caller asks too often.
        """
        now = self._clock()
        bucket = self._buckets.pop(key, None) or _Bucket(self._burst, now)
        bucket.tokens = min(self._burst, bucket.tokens + (now - bucket.at) * self._rate)
        bucket.at = now
        self._buckets[key] = bucket
        if len(self._buckets) > _CACHE_ITEMS:
            self._buckets.popitem(last=False)
        if bucket.tokens < 1:
            raise UnavailableError(self._reason, f"more than {self._rate:.0f} requests per second; ask again later")
        bucket.tokens -= 1


class Authenticator:
    """Turn a bearer token into the pod that holds it.

    Args:
        overloaded: The reason where too much is asked.
        pod_rate: Requests per second of one pod; six times as many at once.
    """

    def __init__(
        self,
        cluster: PodReader,
        *,
        overloaded: Reason = Reason.DEPOT_OVERLOADED,
        pod_rate: float = 10,
        clock: Callable[[], float] = read_boot_seconds,
    ) -> None:
        self._cluster, self._overloaded, self._clock = cluster, overloaded, clock
        self._cache: OrderedDict[bytes, tuple[float, PodIdentity]] = OrderedDict()
        self._slots = asyncio.Semaphore(_REVIEWS_AT_ONCE)
        self._waiting = 0
        self._peers = RateLimit(per_second=50, burst=200, reason=overloaded, clock=clock)
        self._pods = RateLimit(per_second=pod_rate, burst=6 * pod_rate, reason=overloaded, clock=clock)

    async def identify(self, header: str, *, peer: str) -> PodFacts:
        """Return the pod that a request comes from.

        Args:
            header: The Authorization header.
            peer: Address of the connection; limits how often strangers make us ask the API server.

        Raises:
            RefusedError: Unauthenticated, or PodNotKnown where token and pod disagree.
            UnavailableError: Too many requests, or the API server does not answer.
        """
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer" or not 0 < len(token) <= MAX_TOKEN or not token.isascii():
            raise RefusedError(Reason.UNAUTHENTICATED, "the request carries no bearer token")
        identity = await self._review(token, peer=peer)
        self._pods.check(identity.uid)
        pod = await self._cluster.read_pod(identity.namespace, identity.pod)
        return check_pod(identity, pod)

    async def _review(self, token: str, *, peer: str) -> PodIdentity:
        key = hashlib.sha256(token.encode()).digest()
        kept = self._cache.get(key)
        if kept is not None and self._clock() - kept[0] <= _CACHE_SECONDS:
            return kept[1]
        self._peers.check(peer)
        if self._waiting >= _REVIEWS_WAITING:
            raise UnavailableError(self._overloaded, f"{self._waiting} requests wait for the API server")
        self._waiting += 1
        try:
            async with self._slots:
                identity = await self._cluster.review_token(token)
        finally:
            self._waiting -= 1
        self._cache[key] = (self._clock(), identity)
        self._cache.move_to_end(key)
        while len(self._cache) > _CACHE_ITEMS:
            self._cache.popitem(last=False)
        return identity
