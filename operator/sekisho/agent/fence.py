"""The fence: packet rules inside the pod's own network namespace, loaded before anything else of the pod starts.

Network policies are enforced on the node, often some milliseconds after a pod's first instruction, and some enforcers
never stop ICMP. These rules exist before the engine does, and the engine lacks the capability to remove them.
"""

import ipaddress
import json
import subprocess
from dataclasses import dataclass
from typing import Any, Final

from sekisho.agent.config import AgentConfig
from sekisho.errors import Reason, RefusedError

TABLE: Final = "sekisho_fence"
_FAMILY: Final = "inet"
_LOAD_SECONDS: Final = 10.0
_PATH: Final = "/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Ruleset:
    """Rules of one pod.

    Attributes:
        chains: Rules by chain; each chain sits on the hook of its name and drops what no rule accepts.
    """

    chains: tuple[tuple[str, tuple[str, ...]], ...]

    def text(self) -> str:
        """Spell the rules for `nft -f`: one transaction that replaces the table if it is there."""
        lines = [f"table {_FAMILY} {TABLE}", f"delete table {_FAMILY} {TABLE}", f"table {_FAMILY} {TABLE} {{"]
        for hook, rules in self.chains:
            lines += [f"  chain {hook} {{", f"    type filter hook {hook} priority filter; policy drop;"]
            lines += [f"    {rule}" for rule in rules]
            lines.append("  }")
        return "\n".join([*lines, "}", ""])


def render_fence(config: AgentConfig, *, agent_port: int) -> Ruleset:
    """Render the rules of a pod: in to engine and agent, out to depot, keys, the node's attester and what is declared.

    The rest drops. A release of keys and an attester are named only to pods that unseal their weights.

    Replies of accepted connections pass, and the ICMP errors that belong to them (path MTU). Echo requests, UDP and
    DNS have no rule, in either direction. Neighbour discovery is let through only where a destination is IPv6,
    because such a destination cannot be reached without it.
    """
    release = config.release.address if config.release else None
    servers = [config.depot, *(server for server in (release, config.attester) if server is not None)]
    destinations = [
        *((server.host, (server.port,)) for server in servers),
        *((rule.cidr, rule.ports) for rule in config.egress),
    ]
    common = ("ct state invalid drop", "ct state established,related accept")
    discovery: tuple[str, ...] = ()
    if any(_family(address) == "ip6" for address, _ in destinations):
        kinds = "nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit, nd-router-advert"
        discovery = (f"icmpv6 type {{ {kinds} }} ip6 hoplimit 255 accept",)
    ports = _spell(sorted({config.engine.port, agent_port}))
    out = tuple(f"{_family(a)} daddr {a} tcp dport {_spell(p)} ct state new accept" for a, p in destinations)
    return Ruleset(
        (
            (
                "input",
                ('iifname "lo" accept', *common, f"tcp dport {ports} ct state new accept", *discovery, "counter"),
            ),
            ("forward", ("counter",)),
            ("output", ('oifname "lo" accept', *common, *out, *discovery, "counter")),
        )
    )


def load_fence(ruleset: Ruleset, *, nft: str = "nft") -> None:
    """Load the rules into this process's network namespace, then read them back.

    Raises:
        RefusedError: FenceFailed; the pod must not go on.
    """
    _run([nft, "-f", "-"], ruleset.text())
    listing = _run([nft, "-j", "list", "table", _FAMILY, TABLE], "")
    problem = find_difference(ruleset, listing)
    if problem:
        raise RefusedError(Reason.FENCE_FAILED, f"the fence was loaded but does not stand: {problem}")


def find_difference(ruleset: Ruleset, listing: str) -> str:
    """Say what a JSON listing of the table lacks compared with `ruleset`; empty when it stands as rendered."""
    try:
        items: list[dict[str, Any]] = json.loads(listing)["nftables"]
    except (ValueError, KeyError, TypeError):
        return "nft printed no JSON listing"
    chains = {item["chain"]["name"]: item["chain"] for item in items if "chain" in item}
    counts: dict[str, int] = {}
    for item in items:
        if "rule" in item:
            counts[item["rule"]["chain"]] = counts.get(item["rule"]["chain"], 0) + 1
    for hook, rules in ruleset.chains:
        chain = chains.get(hook, {})
        if chain.get("hook") != hook or chain.get("policy") != "drop":
            return f"chain {hook} has policy {chain.get('policy', 'none')}, not drop"
        if counts.get(hook, 0) != len(rules):
            return f"chain {hook} has {counts.get(hook, 0)} rules, {len(rules)} rendered"
    return ""


def _run(command: list[str], text: str) -> str:
    try:
        done = subprocess.run(
            command,
            input=text,
            capture_output=True,
            text=True,
            timeout=_LOAD_SECONDS,
            check=False,
            env={"LC_ALL": "C", "PATH": _PATH},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RefusedError(Reason.FENCE_FAILED, f"the fence cannot be loaded: {command[0]}: {error}") from error
    if done.returncode != 0:
        first = done.stderr.strip().splitlines()[:1] or ["no message"]
        raise RefusedError(
            Reason.FENCE_FAILED,
            f"the fence cannot be loaded: nft ended with {done.returncode}: {first[0][:200]}; it needs CAP_NET_ADMIN "
            "in the pod's network namespace and nf_tables with conntrack in the node's kernel",
        )
    return done.stdout


def _family(address: str) -> str:
    return "ip6" if ipaddress.ip_network(address, strict=False).version == 6 else "ip"


def _spell(ports: "list[int] | tuple[int, ...]") -> str:
    return "{ " + ", ".join(str(port) for port in ports) + " }"
