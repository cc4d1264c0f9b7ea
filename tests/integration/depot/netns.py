"""A pod's network namespace, a node that forwards, and a far host that counts every packet, joined by veth pairs."""

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

POD4, NODE4, FAR4, DEPOT4 = "10.77.0.2", "10.77.0.1", "10.78.0.2", "10.78.0.3"
POD6, NODE6, FAR6 = "fd77::2", "fd77::1", "fd78::2"
COUNTED = ("tcp", "udp", "icmp", "icmpv6")


@dataclass(frozen=True)
class Wire:
    """The three namespaces of one test."""

    prefix: str

    def name(self, place: str) -> str:
        return f"{self.prefix}{place}"

    def run(self, place: str, *words: str, text: str | None = None, check: bool = True) -> str:
        command = ["ip", "netns", "exec", self.name(place), *words]
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60, check=False)
        if check and done.returncode:
            raise RuntimeError(f"{words}: {done.returncode}: {done.stderr}")
        return done.stdout

    def counted(self) -> dict[str, int]:
        """Packets from the pod that the far host has seen since the last call, by protocol."""
        listing = json.loads(self.run("far", "nft", "-j", "reset", "counters", "table", "inet", "count"))
        found = {
            item["counter"]["name"]: item["counter"]["packets"] for item in listing["nftables"] if "counter" in item
        }
        return {name.removeprefix("n_"): packets for name, packets in found.items()}


@contextlib.contextmanager
def lay_wire() -> Iterator[Wire]:
    """Make the namespaces, and take them away again."""
    wire = Wire(f"skf{os.getpid() % 100000}-")
    made: list[str] = []
    try:
        for place in ("pod", "node", "far"):
            subprocess.run(["ip", "netns", "add", wire.name(place)], check=True, timeout=60)
            made.append(wire.name(place))
            wire.run(place, "ip", "link", "set", "lo", "up")
            wire.run(place, "sysctl", "-qw", "net.ipv6.conf.all.accept_dad=0", "net.ipv6.conf.default.accept_dad=0")
        _join(wire, ("pod", "eth0"), ("node", "pod0"))
        _join(wire, ("node", "far0"), ("far", "eth0"))
        _address(wire)
        rules = "".join(f" counter n_{name} {{ }}\n" for name in COUNTED) + (
            " chain input { type filter hook input priority 0; policy accept;\n"
            "  meta l4proto tcp counter name n_tcp\n  meta l4proto udp counter name n_udp\n"
            "  meta l4proto icmp counter name n_icmp\n  icmpv6 type echo-request counter name n_icmpv6\n }\n"
        )
        wire.run("far", "nft", "-f", "-", text=f"table inet count {{\n{rules}}}\n")
        yield wire
    finally:
        for name in made:
            subprocess.run(["ip", "netns", "del", name], check=False, timeout=60)


def _join(wire: Wire, one: tuple[str, str], other: tuple[str, str]) -> None:
    (place, device), (peer_place, peer) = one, other
    words = ["ip", "link", "add", device, "netns", wire.name(place), "type", "veth", "peer", "name", peer]
    subprocess.run([*words, "netns", wire.name(peer_place)], check=True, timeout=60)
    wire.run(place, "ip", "link", "set", device, "up")
    wire.run(peer_place, "ip", "link", "set", peer, "up")


def _address(wire: Wire) -> None:
    for place, device, *addresses in (
        ("pod", "eth0", f"{POD4}/24", f"{POD6}/64"),
        ("node", "pod0", f"{NODE4}/24", f"{NODE6}/64"),
        ("node", "far0", "10.78.0.1/24", "fd78::1/64"),
        ("far", "eth0", f"{FAR4}/24", f"{DEPOT4}/24", f"{FAR6}/64"),
    ):
        for address in addresses:
            nodad = ("nodad",) if ":" in address else ()
            wire.run(place, "ip", "address", "add", address, "dev", device, *nodad)
    for place, gateway in (("pod", NODE4), ("pod", NODE6), ("far", "10.78.0.1"), ("far", "fd78::1")):
        wire.run(place, "ip", "route", "add", "default", "via", gateway)
    wire.run("node", "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
    for place in ("pod", "node"):
        wire.run(place, "sysctl", "-qw", "net.ipv4.ping_group_range=0 65534")
