"""Counts packets at the far end: what a test proves never to have arrived was looked for where it would arrive."""

import ipaddress
import json
import re
from collections.abc import Mapping, Sequence
from typing import Literal, Self

from e2e.cluster.netns import Place

Hook = Literal["prerouting", "input"]
SET_SIZE = 65535
# prerouting -300 lies before connection tracking and before every policy; input 300 after every one
PRIORITIES: Mapping[Hook, int] = {"prerouting": -300, "input": 300}


def render_table(table: str, destinations: Sequence[str], hook: Hook) -> str:
    """Return nft commands for a table that counts by source address and protocol, every protocol included."""
    addresses = ", ".join(str(ipaddress.IPv4Address(address)) for address in destinations)
    return f"""
table ip {table} {{
  set seen {{
    type ipv4_addr . inet_proto
    size {SET_SIZE}
    flags dynamic
  }}
  chain count {{
    type filter hook {hook} priority {PRIORITIES[hook]}; policy accept;
    ip daddr {{ {addresses} }} update @seen {{ ip saddr . ip protocol counter }}
  }}
}}
"""


def parse_counts(listing: str) -> dict[tuple[str, str], int]:
    """Return packets by (source, protocol) from `nft -j list set`."""
    counts = {}
    for item in json.loads(listing)["nftables"]:
        for wrapped in item.get("set", {}).get("elem", []):
            element = wrapped["elem"]
            source, protocol = element["val"]["concat"]
            counts[source, str(protocol)] = element["counter"]["packets"]
    return counts


class PacketCounter:
    """Counts the IPv4 packets to some addresses at one place; a context manager that installs and removes itself.

    Args:
        place: Where the packets arrive, for example the network of the pod they are sent to.
        destinations: The IPv4 addresses to count packets to.
        name: Tells counters of one place apart.
        hook: `prerouting` counts all that arrives on any interface of the place; `input` only what its own policies
            then let in, for a node as destination, whose own pods' packets are dropped by the node itself.
    """

    def __init__(self, place: Place, destinations: Sequence[str], *, name: str, hook: Hook = "prerouting") -> None:
        self.place = place
        self.destinations = tuple(destinations)
        self.table = "count_" + re.sub(r"\W", "_", name)
        self.hook = hook

    def install(self) -> None:
        """Begin to count from zero, also where a crashed run left a counter of this name."""
        self.remove()
        self.place.run("nft", "-f", "-", stdin=render_table(self.table, self.destinations, self.hook))

    def remove(self) -> None:
        self.place.run("nft", "delete", "table", "ip", self.table, check=False)

    def reset(self) -> None:
        """Count from zero again."""
        self.place.run("nft", "flush", "set", "ip", self.table, "seen")

    def counts(self) -> dict[tuple[str, str], int]:
        """Return packets by (source address, protocol): tcp, udp, icmp, or what nft calls others."""
        return parse_counts(self.place.run("nft", "-j", "list", "set", "ip", self.table, "seen"))

    def packets(self, source: str | None = None) -> int:
        """Return how many packets came, from one source address or from all."""
        return sum(packets for (seen, _), packets in self.counts().items() if source in (None, seen))

    def __enter__(self) -> Self:
        self.install()
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()
