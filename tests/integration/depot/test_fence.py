"""The fence and the agent's attempts, with real packets counted at the far end; each negative with its control."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.depot.netns import DEPOT4, FAR4, FAR6, NODE4, POD4, Wire, lay_wire

pytestmark = [pytest.mark.cluster, pytest.mark.skipif(os.geteuid() != 0, reason="needs root for network namespaces")]
HERE = Path(__file__).parent
OPERATOR = HERE.parents[2] / "operator"
ALL = (f"{FAR4},8000,tcp", f"{FAR4},9000,udp", f"{FAR4},53,udp", f"{FAR4},1,icmp", f"{FAR6},8000,tcp", f"{FAR6},1,icmp")
SERVER = """
import socket, threading
def tcp(host, port, family):
    s = socket.socket(family); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind((host, port)); s.listen(16)
    while True:
        c, _ = s.accept(); c.close()
def udp(port):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("0.0.0.0", port))
    while True:
        data, peer = s.recvfrom(2048); s.sendto(data, peer)
threads = [threading.Thread(target=tcp, args=("0.0.0.0", port, socket.AF_INET)) for port in PORTS]
threads += [threading.Thread(target=tcp, args=("fd78::2", 8000, socket.AF_INET6))] if FAR else []
threads += [threading.Thread(target=udp, args=(port,)) for port in (9000, 53)] if FAR else []
[t.start() for t in threads]; print("up", flush=True); [t.join() for t in threads]
"""


@pytest.fixture
def wire() -> Iterator[Wire]:
    with lay_wire() as laid:
        servers = [serve(laid, "far", [8000, 443, 5432], far=True), serve(laid, "pod", [8080, 8181, 9090], far=False)]
        try:
            yield laid
        finally:
            for server in servers:
                server.kill()
                server.wait()
                if server.stdout:
                    server.stdout.close()


def serve(wire: Wire, place: str, ports: list[int], *, far: bool) -> "subprocess.Popen[str]":
    code = f"PORTS = {ports}; FAR = {far}\n{SERVER}"
    command = ["ip", "netns", "exec", wire.name(place), sys.executable, "-c", code]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    assert server.stdout.readline() == "up\n"
    return server


def attempt(wire: Wire, *targets: str, place: str = "pod") -> list[list[str]]:
    """Try targets with the agent's own code; returns [outcome, detail] of each."""
    env = f"PYTHONPATH={OPERATOR}"
    out = wire.run(place, "env", env, f"HOST_IP={NODE4}", sys.executable, str(HERE / "tried.py"), *targets)
    return json.loads(out)  # type: ignore[no-any-return]


def write_config(folder: Path, **changes: object) -> None:
    config = {
        "namespace": "a", "service": "b", "depot": {"host": DEPOT4, "port": 443, "serverName": "depot"},
        "canaries": [], "weights": {"mode": "depot", "path": "/models"}, "engine": {"port": 8080, "healthPath": "/"},
    }  # fmt: skip
    folder.mkdir(exist_ok=True)
    (folder / "agent.json").write_text(json.dumps(config | changes))


def fence(wire: Wire, folder: Path, *prefix: str) -> "subprocess.CompletedProcess[str]":
    env = ["env", f"PYTHONPATH={OPERATOR}", f"SEKISHO_CONFIG_DIR={folder}", "HOST_IP=10.77.0.1"]
    command = [
        "ip",
        "netns",
        "exec",
        wire.name("pod"),
        *prefix,
        *env,
        sys.executable,
        "-m",
        "sekisho.agent.main",
        "fence",
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_nothing_of_any_protocol_leaves_a_fenced_pod_and_everything_did_before(wire: Wire, tmp_path: Path) -> None:
    assert [outcome for outcome, _ in attempt(wire, *ALL)] == ["reached"] * len(ALL)
    before = wire.counted()
    assert all(before[name] > 0 for name in ("tcp", "udp", "icmp", "icmpv6"))
    write_config(tmp_path)
    assert fence(wire, tmp_path).returncode == 0
    wire.counted()
    assert [outcome for outcome, _ in attempt(wire, *ALL)] == ["blocked"] * len(ALL)
    assert wire.counted() == {"tcp": 0, "udp": 0, "icmp": 0, "icmpv6": 0}


def test_a_fenced_pod_still_reaches_the_depot_on_its_port_and_no_other(wire: Wire, tmp_path: Path) -> None:
    write_config(tmp_path)
    assert fence(wire, tmp_path).returncode == 0
    results = attempt(wire, f"{DEPOT4},443,tcp", f"{DEPOT4},8000,tcp", f"{FAR4},443,tcp", f"{DEPOT4},443,udp")
    assert [outcome for outcome, _ in results] == ["reached", "blocked", "blocked", "blocked"]


def test_a_fenced_pod_reaches_declared_destinations_alone(wire: Wire, tmp_path: Path) -> None:
    write_config(tmp_path, egress=[{"cidr": "10.78.0.2/32", "ports": [5432]}])
    assert fence(wire, tmp_path).returncode == 0
    results = attempt(wire, f"{FAR4},5432,tcp", f"{FAR4},8000,tcp", f"{DEPOT4},5432,tcp")
    assert [outcome for outcome, _ in results] == ["reached", "blocked", "blocked"]


def test_only_engine_and_agent_are_reachable_from_outside_a_fenced_pod(wire: Wire, tmp_path: Path) -> None:
    targets = (f"{POD4},8080,tcp", f"{POD4},8181,tcp", f"{POD4},9090,tcp", f"{POD4},1,icmp", f"{POD4},9,udp")
    assert [outcome for outcome, _ in attempt(wire, *targets, place="node")] == ["reached"] * 5
    write_config(tmp_path)
    assert fence(wire, tmp_path).returncode == 0
    results = attempt(wire, *targets, place="node")
    assert [outcome for outcome, _ in results] == ["reached", "reached", "blocked", "blocked", "blocked"]


def test_loading_the_fence_again_replaces_it_without_a_gap(wire: Wire, tmp_path: Path) -> None:
    write_config(tmp_path)
    assert fence(wire, tmp_path).returncode == 0
    first = wire.run("pod", "nft", "list", "table", "inet", "sekisho_fence")
    assert fence(wire, tmp_path).returncode == 0
    strip = [line for line in first.splitlines() if "counter" not in line]
    again = wire.run("pod", "nft", "list", "table", "inet", "sekisho_fence").splitlines()
    assert [line for line in again if "counter" not in line] == strip


def test_a_fence_for_an_ipv6_depot_lets_neighbour_discovery_pass(wire: Wire, tmp_path: Path) -> None:
    write_config(tmp_path, depot={"host": FAR6, "port": 8000, "serverName": "depot"})
    assert fence(wire, tmp_path).returncode == 0
    wire.run("pod", "ip", "neighbour", "flush", "dev", "eth0")
    results = attempt(wire, f"{FAR6},8000,tcp", f"{FAR6},1,icmp", f"{FAR4},8000,tcp")
    assert [outcome for outcome, _ in results] == ["reached", "blocked", "blocked"]


def test_without_the_capability_the_fence_fails_and_says_what_it_needs(wire: Wire, tmp_path: Path) -> None:
    write_config(tmp_path)
    done = fence(wire, tmp_path, "setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin")
    line = json.loads(done.stdout.splitlines()[-1])
    assert done.returncode == 1
    assert line["reason"] == "FenceFailed"
    assert "needs CAP_NET_ADMIN" in line["message"]


def test_a_far_host_that_refuses_or_rejects_was_still_reached(wire: Wire) -> None:
    results = attempt(wire, f"{FAR4},81,tcp", f"{FAR4},82,udp")
    assert [outcome for outcome, _ in results] == ["reached", "reached"]
    assert results[0][1] == "refused by the far end (ECONNREFUSED)"
    assert results[1][1].startswith(f"{FAR4} answered with an ICMP error")


def test_a_rejection_by_the_pods_own_node_counts_as_blocked_and_silence_too(wire: Wire) -> None:
    chain = "type filter hook forward priority 0; policy accept;"
    rule = f"table inet t {{{{\n chain f {{{{\n  {chain}\n  iifname pod0 {{}}\n }}}}\n}}}}\n"
    wire.run("node", "nft", "-f", "-", text=rule.format("reject"))
    for target in (f"{FAR4},8000,tcp", f"{FAR4},9000,udp", f"{FAR4},1,icmp"):
        [(outcome, detail)] = attempt(wire, target)
        assert (outcome, detail.partition(" (")[0]) == ("blocked", f"rejected by the pod's own node {NODE4}"), target
        time.sleep(1.1)  # the node sends one ICMP error a second to each destination
    wire.run("node", "nft", "-f", "-", text="flush ruleset\n" + rule.format("drop"))
    results = attempt(wire, f"{FAR4},8000,tcp", f"{FAR4},9000,udp", f"{FAR4},1,icmp")
    assert results == [["blocked", "no answer"]] * 3


def test_an_answer_of_the_node_itself_is_a_leak_where_the_node_is_the_canary(wire: Wire) -> None:
    results = attempt(wire, f"{NODE4},10250,tcp", f"{NODE4},1,icmp", f"{NODE4},10250,udp")
    assert [outcome for outcome, _ in results] == ["reached"] * 3


def test_without_permission_to_ping_the_attempt_is_an_error_and_proves_nothing(wire: Wire) -> None:
    wire.run("pod", "sysctl", "-qw", "net.ipv4.ping_group_range=1 0")
    [(outcome, detail)] = attempt(wire, f"{FAR4},1,icmp")
    assert outcome == "error"
    assert "net.ipv4.ping_group_range" in detail
