"""The world outside a local cluster: one namespace that is its gateway, answers, and counts what reaches it."""

from collections.abc import Sequence
from pathlib import Path

from e2e.cluster.addressing import INTERNET_ADDRESS, MAX_NODES, METADATA_ADDRESS, Addressing
from e2e.cluster.control_plane import BRIDGE
from e2e.cluster.counters import PacketCounter
from e2e.cluster.netns import NetworkNamespace
from e2e.cluster.processes import ProcessId, spawn

UDP_ECHO_PORT = 9999


class LocalInternet:
    """See :class:`e2e.cluster.provider.Internet`.

    Pods are routed here without address translation, so the sources counted are the pods' own addresses.
    """

    address = INTERNET_ADDRESS
    metadata_address = METADATA_ADDRESS

    def __init__(self, directory: Path, binaries: Path, addressing: Addressing) -> None:
        self.directory = directory
        self.binaries = binaries
        self.addressing = addressing
        self.netns = NetworkNamespace(addressing.internet_netns)
        self.counter = PacketCounter(self.netns, [self.address], name="internet")
        self.metadata_counter = PacketCounter(self.netns, [self.metadata_address], name="metadata")

    def start(self) -> None:
        """Make the namespace and connect it to the cluster's network as its default gateway."""
        self.netns.create()
        cluster = NetworkNamespace(self.addressing.control_plane_netns)
        cluster.run("ip", "link", "add", "internet", "type", "veth", "peer", "name", "lan", "netns", self.netns.name)
        cluster.run("ip", "link", "set", "internet", "master", BRIDGE, "up")
        cluster.run("ip", "route", "replace", "default", "via", self.addressing.gateway)
        self.netns.run("ip", "addr", "add", f"{self.addressing.gateway}/24", "dev", "lan")
        self.netns.run("ip", "link", "set", "lan", "up")
        self.netns.sysctl({"net/ipv4/ip_forward": 1})
        for index in range(1, MAX_NODES + 1):
            route = (self.addressing.node_pods_cidr(index), "via", self.addressing.node_address(index))
            self.netns.run("ip", "route", "add", *route)
        for address in (self.address, self.metadata_address):
            self.add_address(address)
        self.counter.install()
        self.metadata_counter.install()
        web = ",".join(f"{address}:80" for address in (self.address, self.metadata_address))
        echo = f"{self.address}:{UDP_ECHO_PORT},{self.metadata_address}:{UDP_ECHO_PORT}"
        probe = str(self.binaries / "probe")
        self.spawn("internet", (probe, "serve", "-text", "internet", "-http", web, "-udp-echo", echo))

    def add_address(self, address: str) -> None:
        """Let the outside own another address, for a server that a test starts there."""
        self.netns.run("ip", "addr", "replace", f"{address}/32", "dev", "lo")

    def spawn(self, name: str, command: Sequence[str]) -> ProcessId:
        """Start a process outside; it ends with the cluster at the latest."""
        log, pid_file = self.directory / "log" / f"{name}.log", self.directory / "pid" / f"outside-{name}"
        return spawn((*self.netns.prefix, *command), log=log, pid_file=pid_file)

    def counts(self) -> dict[tuple[str, str], int]:
        return self.counter.counts()

    def reset(self) -> None:
        self.counter.reset()
        self.metadata_counter.reset()
