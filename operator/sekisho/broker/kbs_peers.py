"""Who a guest is: the pod that has the address its connection comes from. Guests bring no token for the broker."""

import ipaddress
import time
from collections.abc import Callable
from typing import Final, Protocol

from sekisho.api.names import name_child
from sekisho.errors import Reason, RefusedError
from sekisho.kube.bearer import RateLimit
from sekisho.kube.client import KubeClient
from sekisho.kube.failures import own_trouble
from sekisho.kube.pods import PodFacts, parse_pod
from sekisho.kube.resources import PODS

_WHO: Final = "the broker"
_PER_SECOND: Final = 2.0
_AT_ONCE: Final = 16.0


class PodFinder(Protocol):
    """Finds pods by address."""

    async def find(self, address: str) -> PodFacts:
        """Return the one pod of a model that has an address. Raises RefusedError PodNotKnown."""
        ...


class KubePods:
    """Finds pods at the API server; how often an address may make it ask is bounded.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, client: KubeClient, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._limit = RateLimit(per_second=_PER_SECOND, burst=_AT_ONCE, reason=Reason.OVERLOADED, clock=clock)

    async def find(self, address: str) -> PodFacts:
        """Return the one pod of a model that has an address now.

        Raises:
            RefusedError: PodNotKnown; no pod has it, several have, or it is no pod of a model.
            UnavailableError: Asked too often, or the API server does not answer.
        """
        spelt = _spell(address)
        self._limit.check(spelt)
        with own_trouble(_WHO):
            found = await self._client.list_all(PODS, field_selector=f"status.podIP={spelt}")
        pods = [pod for pod in map(parse_pod, found) if not pod.ended]
        if len(pods) != 1:
            raise RefusedError(Reason.POD_NOT_KNOWN, f"{len(pods)} running pods have the address {spelt}, one must")
        (pod,) = pods
        if not pod.service or pod.service_account != name_child(pod.service):
            raise RefusedError(
                Reason.POD_NOT_KNOWN, f"pod {pod.namespace}/{pod.name} with the address {spelt} is not one of a model"
            )
        return pod


def _spell(address: str) -> str:
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError as error:
        raise RefusedError(Reason.POD_NOT_KNOWN, "the connection comes from no IP address") from error
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return str(mapped or parsed)
