"""Proof of isolation: what the agent saw when it tried to get out of its pod, and whether that is good enough.

A network policy is a promise that some networks keep late, or only for some protocols. So a pod counts as isolated
only while its own agent keeps showing that every configured canary stayed silent. Pure, standard library only: the
agent writes proofs, the depot appraises them.
"""

import hmac
import ipaddress
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, cast

from sekisho.errors import Reason, RefusedError

Protocol = Literal["tcp", "udp", "icmp"]
Outcome = Literal["blocked", "reached", "error"]

PROTOCOLS: Final[tuple[Protocol, ...]] = ("tcp", "udp", "icmp")
OUTCOMES: Final[tuple[Outcome, ...]] = ("blocked", "reached", "error")
MAX_CANARIES: Final = 32
MAX_RESULTS: Final = MAX_CANARIES * len(PROTOCOLS)
MAX_PROOF_BYTES: Final = 64 * 1024
MAX_TEXT: Final = 256
CLOCK_SKEW_SECONDS: Final = 60.0
CANARY_KEY_BYTES: Final = 16
CANARY_NONCE_BYTES: Final = 16
_GREETING: Final = b"sekisho "
_TAG_BYTES: Final = 16
HOST_IP_VARIABLE: Final = "$HOST_IP"
_MAX_MILLISECONDS: Final = 3_600_000.0
_MOST_TOLD: Final = 8


@dataclass(frozen=True, slots=True)
class ExpectedCanary:
    """A canary that a proof must speak of.

    Attributes:
        host: The IP address, with "$HOST_IP" already replaced by the address of the pod's node.
    """

    name: str
    host: str
    port: int
    protocols: tuple[Protocol, ...]


@dataclass(frozen=True, slots=True)
class CanaryResult:
    """What one attempt to reach one canary by one protocol came to.

    Attributes:
        outcome: "blocked": nothing came back. "reached": an answer proves that packets pass. "error": the attempt
            itself failed, so it says nothing.
        detail: What was seen; for people.
        milliseconds: How long the attempt took.
    """

    canary: str
    host: str
    port: int
    protocol: Protocol
    outcome: Outcome
    detail: str = ""
    milliseconds: float = 0.0


@dataclass(frozen=True, slots=True)
class IsolationProof:
    """Every attempt of one round, made from inside the pod.

    Attributes:
        at: Unix seconds when the round began, by the clock of the pod's node.
        canary_key: By which the depot's canary knows datagrams of this agent, 16 bytes; empty where it has none.
    """

    at: float
    results: tuple[CanaryResult, ...]
    canary_key: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a proof holds; reason and message travel to the pod's condition."""

    ok: bool
    reason: Reason
    message: str


def seal_datagram(key: bytes, nonce: bytes) -> bytes:
    """Return what the agent sends to a canary by UDP: only who has its key could have; without a key it has no tag."""
    return _GREETING + nonce + (_tag(key, nonce) if key else b"")


def is_sealed_datagram(key: bytes, data: bytes) -> bool:
    """Tell whether a datagram was sent by who has this key."""
    nonce, tag = data[len(_GREETING) : -_TAG_BYTES], data[-_TAG_BYTES:]
    whole = data.startswith(_GREETING) and len(nonce) == CANARY_NONCE_BYTES
    return whole and hmac.compare_digest(tag, _tag(key, nonce))


def _tag(key: bytes, nonce: bytes) -> bytes:
    return hmac.digest(key, nonce, "sha256")[:_TAG_BYTES]


def appraise_isolation(
    proof: IsolationProof, expected: Sequence[ExpectedCanary], *, now_at: float, max_age_seconds: float
) -> Verdict:
    """Decide whether `proof` shows that nothing expected to be out of reach was reached.

    Leaks come first, even of canaries that nobody asked for and of proofs that are old: a leak is never explained
    away. Without any expected canary nothing is proven.
    """
    leaks = [result for result in proof.results if result.outcome == "reached"]
    if leaks:
        return Verdict(ok=False, reason=Reason.ISOLATION_LEAK, message=describe_leaks(leaks))
    if not expected:
        return _incomplete("no canary is configured, so nothing was proven; configure at least one canary address")
    gap = _find_gap(proof, expected)
    if gap:
        return _incomplete(gap)
    age = now_at - proof.at
    if age > max_age_seconds or age < -CLOCK_SKEW_SECONDS:
        return Verdict(ok=False, reason=Reason.ISOLATION_PROOF_STALE, message=_describe_age(age, max_age_seconds))
    count = sum(len(canary.protocols) for canary in expected)
    names = ", ".join(canary.name for canary in expected)
    return Verdict(
        ok=True,
        reason=Reason.ISOLATION_PROVEN,
        message=f"{count} attempts from inside the pod stayed without an answer: {names}"[:1024],
    )


def describe_leaks(leaks: Sequence[CanaryResult]) -> str:
    """Say which canaries answered, in the order given: the first in full, the next eight by name, then a count."""
    first, rest = leaks[0], leaks[1:]
    others = ", ".join(f"{leak.canary} by {leak.protocol}" for leak in rest[:_MOST_TOLD])
    more = f" and {len(rest) - _MOST_TOLD} more" if len(rest) > _MOST_TOLD else ""
    return (
        f'canary "{first.canary}" ({first.host} port {first.port}) answered by {first.protocol} '
        f"after {first.milliseconds:.0f} ms: {first.detail or 'no detail'}; "
        + (f"also answered: {others}{more}; " if rest else "")
        + "nothing outside the pod but the depot may be reachable: check that NetworkPolicies are enforced"
    )


def _find_gap(proof: IsolationProof, expected: Sequence[ExpectedCanary]) -> str:
    seen = {(r.canary, r.host, r.port, r.protocol): r for r in proof.results}
    for canary in expected:
        if not canary.protocols:
            return f'canary "{canary.name}" names no protocol; it proves nothing'
        for protocol in canary.protocols:
            result = seen.get((canary.name, canary.host, canary.port, protocol))
            if result is None:
                return f'canary "{canary.name}" ({canary.host} port {canary.port}) was not tried by {protocol}'
            if result.outcome != "blocked":
                return (
                    f'canary "{canary.name}" ({canary.host} port {canary.port}) could not be tried by {protocol}: '
                    f"{result.detail or 'no detail'}"
                )
    return ""


def _incomplete(message: str) -> Verdict:
    return Verdict(ok=False, reason=Reason.ISOLATION_PROOF_INCOMPLETE, message=message)


def _describe_age(age_seconds: float, max_age_seconds: float) -> str:
    if age_seconds < 0:
        fact = f"{-age_seconds:.0f} s in the future, {CLOCK_SKEW_SECONDS:.0f} s allowed"
    else:
        fact = f"{age_seconds:.0f} s old, {max_age_seconds:.0f} s allowed"
    return f"the proof is {fact}; check the node's clock"


def encode_proof(proof: IsolationProof) -> bytes:
    """Write a proof as JSON; texts are cut so that it always stays below MAX_PROOF_BYTES.

    Raises:
        ValueError: There are more results than a proof may hold.
    """
    if len(proof.results) > MAX_RESULTS:
        raise ValueError(f"a proof holds at most {MAX_RESULTS} results, not {len(proof.results)}")
    results = [
        {
            "canary": r.canary,
            "host": r.host,
            "port": r.port,
            "protocol": r.protocol,
            "outcome": r.outcome,
            "detail": "".join(c for c in r.detail if c.isprintable() and c.isascii())[:MAX_TEXT],
            "milliseconds": round(r.milliseconds, 1),
        }
        for r in proof.results
    ]
    known = {"canaryKey": proof.canary_key.hex()} if proof.canary_key else {}
    return json.dumps({"at": proof.at, "results": results, **known}, separators=(",", ":")).encode()


def parse_proof(data: bytes) -> IsolationProof:
    """Parse what an agent sent; nothing in it is believed yet.

    Raises:
        RefusedError: RequestInvalid, naming the first field that is not as it must be.
    """
    if len(data) > MAX_PROOF_BYTES:
        raise _invalid(f"it has {len(data)} bytes, {MAX_PROOF_BYTES} allowed")
    try:
        raw = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _invalid("it is not JSON") from error
    if not isinstance(raw, dict):
        raise _invalid("it is not an object")
    results = raw.get("results")
    if not isinstance(results, list) or len(results) > MAX_RESULTS:
        raise _invalid(f"results is not a list of at most {MAX_RESULTS} items")
    parsed = tuple(_parse_result(item) for item in results)
    _refuse_duplicates(parsed)
    return IsolationProof(_number(raw.get("at"), "at", most=1e11), parsed, _parse_key(raw.get("canaryKey", "")))


def _parse_key(raw: Any) -> bytes:
    if raw == "":
        return b""
    if not isinstance(raw, str) or not re.fullmatch(f"[0-9a-f]{{{2 * CANARY_KEY_BYTES}}}", raw):
        raise _invalid(f"canaryKey is not {CANARY_KEY_BYTES} bytes in lower hexadecimal digits")
    return bytes.fromhex(raw)


def _parse_result(raw: Any) -> CanaryResult:
    if not isinstance(raw, dict):
        raise _invalid("a result is not an object")
    protocol, outcome = raw.get("protocol"), raw.get("outcome")
    if protocol not in PROTOCOLS:
        raise _invalid("protocol is not one of tcp, udp, icmp")
    if outcome not in OUTCOMES:
        raise _invalid("outcome is not one of blocked, reached, error")
    port = _number(raw.get("port"), "port", most=65535)
    if port != int(port):
        raise _invalid("port is not a whole number")
    return CanaryResult(
        canary=_text(raw.get("canary"), "canary"),
        host=_text(raw.get("host"), "host"),
        port=int(port),
        protocol=cast("Protocol", protocol),
        outcome=cast("Outcome", outcome),
        detail=_text(raw.get("detail", ""), "detail"),
        milliseconds=_number(raw.get("milliseconds", 0), "milliseconds", most=_MAX_MILLISECONDS),
    )


def _refuse_duplicates(results: Iterable[CanaryResult]) -> None:
    seen: set[tuple[str, str]] = set()
    for result in results:
        key = (result.canary, result.protocol)
        if key in seen:
            raise _invalid(f'canary "{result.canary}" appears twice for {result.protocol}')
        seen.add(key)


def _text(value: Any, field: str) -> str:
    if not isinstance(value, str) or len(value) > MAX_TEXT or not value.isprintable():
        raise _invalid(f"{field} is not a printable text of at most {MAX_TEXT} characters")
    return value


def _number(value: Any, field: str, *, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _invalid(f"{field} is not a number")
    if not 0 <= value <= most:  # what is no number or infinite is not either
        raise _invalid(f"{field} is not between 0 and {most:.0f}")
    return float(value)


def _invalid(what: str) -> RefusedError:
    return RefusedError(Reason.REQUEST_INVALID, f"the proof of isolation cannot be read: {what}")


def parse_canaries(raw: Any, *, host_ip: str) -> tuple[ExpectedCanary, ...]:
    """Parse the canaries of an agent.json; "$HOST_IP" becomes `host_ip`.

    Agent and depot both read them from there: the agent to try them, the depot to know what a proof must speak of.

    Raises:
        RefusedError: InvalidSpec, naming what is not as it must be.
    """
    if not isinstance(raw, list) or len(raw) > MAX_CANARIES:
        raise _unusable(f"canaries is not a list of at most {MAX_CANARIES} items")
    canaries = tuple(_parse_canary(item, host_ip=host_ip) for item in raw)
    if len({canary.name for canary in canaries}) != len(canaries):
        raise _unusable("two canaries have the same name")
    return canaries


def _parse_canary(raw: Any, *, host_ip: str) -> ExpectedCanary:
    if not isinstance(raw, dict):
        raise _unusable("a canary is not an object")
    name, host, port, protocols = (raw.get(key) for key in ("name", "host", "port", "protocols"))
    if not isinstance(name, str) or not 0 < len(name) <= 63 or not name.isprintable():
        raise _unusable("the name of a canary is not a printable text of 1 to 63 characters")
    if isinstance(port, bool) or not isinstance(port, int) or not 1 <= port <= 65535:
        raise _unusable(f'the port of canary "{name}" is not from 1 to 65535')
    if not isinstance(protocols, list) or not 0 < len(protocols) <= len(PROTOCOLS):
        raise _unusable(f'canary "{name}" names no protocols')
    if any(item not in PROTOCOLS for item in protocols) or len(set(protocols)) != len(protocols):
        raise _unusable(f'protocols of canary "{name}" are not some of tcp, udp, icmp')
    try:
        address = str(ipaddress.ip_address(host_ip if host == HOST_IP_VARIABLE else str(host)))
    except ValueError as error:
        raise _unusable(f'the host of canary "{name}" is not an IP address; pods of models have no DNS') from error
    return ExpectedCanary(name, address, port, tuple(cast("list[Protocol]", protocols)))


def _unusable(what: str) -> RefusedError:
    return RefusedError(Reason.INVALID_SPEC, f"the canaries cannot be used: {what}")
