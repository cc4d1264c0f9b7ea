"""An engine that attacks from its first instruction, and the same attack from any other pod."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from e2e.cluster.netns import Place
from e2e.cluster.provider import Cluster
from e2e.isolation.targets import Target

ATTACK_SECONDS = 3
RUNTIME = "attacker"
# Every line of TARGETS is ADDRESS TCP_PORT UDP_PORT. A datagram each millisecond catches a gap of some milliseconds.
ENGINE_SCRIPT = """
say() { sed "s|^|attack $1 |"; }
echo "$TARGETS" | while read address tcp udp; do
  probe tcp -for ${SECONDS}s -interval 10ms -timeout 60ms $address:$tcp | say "$address tcp" &
  probe udp -for ${SECONDS}s -interval 1ms -timeout 60ms $address:$udp | say "$address udp" &
  probe icmp -for ${SECONDS}s -interval 10ms -timeout 60ms $address | say "$address icmp" &
done
exec probe serve -http :8080
"""
ONE_ROUND = """
say() { sed "s|^|attack $1 |"; }
echo "$1" | {
  while read address tcp udp; do
    probe tcp -timeout 1s $address:$tcp | say "$address tcp" &
    probe udp -timeout 1s -for 5ms $address:$udp | say "$address udp" &
    probe icmp -timeout 1s $address | say "$address icmp" &
  done
  wait
}
"""
# Sent by root within the pod's network, which is more than an engine may: protocols that sockets of users do not have.
RAW_SCRIPT = """
import socket, sys
for number in map(int, sys.argv[2:]):
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, number)
    for _ in range(3):
        try:
            raw.sendto(b"sekisho", (sys.argv[1], 0))
        except PermissionError:
            pass
"""
RAW_PROTOCOLS = {2: "igmp", 47: "gre", 50: "esp", 51: "ah", 253: "253"}


@dataclass(frozen=True, slots=True)
class Attempt:
    """What one attacker made of one address and protocol."""

    address: str
    protocol: str
    tries: int
    answers: int


def list_targets(targets: Sequence[Target]) -> str:
    """Spell targets as the scripts read them."""
    return "\n".join(f"{target.address} {target.tcp_port} {target.udp_port}" for target in targets)


def render_runtime(image: str, targets: Sequence[Target]) -> str:
    """Render the profile of an engine that attacks while it answers its health probe."""
    environment = {"TARGETS": list_targets(targets), "SECONDS": str(ATTACK_SECONDS)}
    return yaml.safe_dump({
        "apiVersion": "inference.sekisho.dev/v1alpha1",
        "kind": "Runtime",
        "metadata": {"name": RUNTIME},
        "spec": {
            "formats": [{"name": "gguf"}],
            "image": image,
            "command": ["sh", "-c", ENGINE_SCRIPT],
            "env": [{"name": name, "value": value} for name, value in environment.items()],
            "port": 8080,
            "probes": {"healthPath": "/health", "startupSeconds": 60},
            "memory": {"overhead": "256Mi"},
            "resources": {"cpu": "10m"},
            "autoSelect": False,
        },
    })  # fmt: skip


def attack_from(
    cluster: Cluster, namespace: str, pod: str, *, targets: Sequence[Target], container: str = "tools"
) -> list[Attempt]:
    """Attack every target once, by every protocol, from within a pod."""
    script = ("--", "sh", "-c", ONE_ROUND, "sh", list_targets(targets))
    return read_attempts(cluster.kubectl("-n", namespace, "exec", pod, "-c", container, *script))


def read_attempts(output: str) -> list[Attempt]:
    """Read what a script printed, among whatever else the container printed."""
    attempts = []
    for line in output.splitlines():
        if line.startswith("attack "):
            _, address, protocol, text = line.split(maxsplit=3)
            said: Mapping[str, Any] = json.loads(text)
            attempts.append(Attempt(address, protocol, said["tries"], said["ok"]))
    return attempts


def send_raw(place: Place, address: str) -> None:
    """Send three packets of each unusual protocol from a pod's network to an address."""
    place.run(sys.executable, "-I", "-c", RAW_SCRIPT, address, *map(str, RAW_PROTOCOLS))
