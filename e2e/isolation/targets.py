"""What a model's pod must not reach, each counted at its far end."""

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Self

from e2e.cluster.counters import PacketCounter
from e2e.cluster.provider import Cluster

PROTOCOLS = frozenset({"tcp", "udp", "icmp"})

Seen = Mapping[str, Mapping[str, int]]
"""Packets by far end and protocol; what was not seen is left out."""


@dataclass(frozen=True, slots=True)
class Target:
    """An address to attack, and the far end where its packets arrive."""

    end: str
    address: str
    tcp_port: int
    udp_port: int


def find_targets(cluster: Cluster, *, stranger: tuple[str, str]) -> tuple[Target, ...]:
    """Return every kind of address that must be out of reach.

    Args:
        cluster: Where.
        stranger: Namespace and name of a pod that listens, in a namespace of its own.
    """
    outside, metadata = cluster.internet.address, cluster.internet.metadata_address
    endpoints = json.loads(cluster.kubectl("get", "endpointslice", "kubernetes", "-o", "json"))
    api_server = endpoints["endpoints"][0]["addresses"][0]
    api_service = read_field(cluster, "{.spec.clusterIP}", "service", "kubernetes", "-n", "default")
    dns_pod = read_field(cluster, "{.items[0].status.podIP}", "pod", "-n", "kube-system", "-l", "k8s-app=kube-dns")
    dns_service = read_field(cluster, "{.items[0].spec.clusterIP}", "service", "-n", "kube-system")
    address = read_field(cluster, "{.status.podIP}", "pod", stranger[1], "-n", stranger[0])
    return (
        Target("internet", outside, 80, 9999),
        Target("metadata", metadata, 80, 9999),
        Target("api-server", api_server, 6443, 6443),
        Target("api-server", api_service, 443, 443),
        Target("dns", dns_pod, 53, 53),
        Target("dns", dns_service, 53, 53),
        Target("/".join(stranger), address, 8080, 9999),
        *(Target(node.name, node.address, 10250, 9999) for node in cluster.nodes),
    )


def read_field(cluster: Cluster, path: str, *what: str) -> str:
    """Return one field of an object by its JSONPath."""
    return cluster.kubectl("get", *what, "-o", f"jsonpath={path}")


@dataclass(slots=True)
class FarEnds:
    """Counters at the far ends of targets; a context manager."""

    cluster: Cluster
    targets: Sequence[Target]
    _counters: dict[str, PacketCounter] = field(default_factory=dict)
    _stack: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Self:
        for end in dict.fromkeys(target.end for target in self.targets):
            self._counters[end] = self._stack.enter_context(self.cluster.count_packets(end))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def seen(self, sources: Iterable[str]) -> dict[str, dict[str, int]]:
        """Return the packets that arrived from any of these addresses, by far end and protocol."""
        wanted, found = frozenset(sources), dict[str, dict[str, int]]()
        for end, counter in self._counters.items():
            for (source, protocol), packets in counter.counts().items():
                if source in wanted:
                    by_protocol = found.setdefault(end, {})
                    by_protocol[protocol] = by_protocol.get(protocol, 0) + packets
        return found

    def deaf(self, source: str) -> list[str]:
        """Return far end and protocol of everything that did not arrive from an address that should reach all."""
        seen = self.seen([source])
        return [f"{end} {name}" for end in self._counters for name in sorted(PROTOCOLS - seen.get(end, {}).keys())]
