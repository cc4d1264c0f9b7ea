"""Try to get out of the pod: one attempt per canary and protocol, all at once, each about a second long.

What counts as *reached* is anything that proves that a packet passed and was answered: a connection, a reset, a
datagram, an echo reply, or an ICMP error of any host but the pod's own node. *Blocked* is silence, a refusal by the
kernel before the packet left (the fence answers sendto with EPERM), or an ICMP error by the pod's own node, which is
how some enforcers reject; where the canary is the node itself, its errors count as reached too. What the kernel cannot
attribute counts as reached. An attempt that cannot be made at all is an *error* and proves nothing; so is one to which
only datagrams came that do not hold what was sent: anybody can send those in a canary's name.
"""

import contextlib
import errno
import ipaddress
import os
import select
import socket
import struct
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from sekisho.attest.isolation import (
    CANARY_NONCE_BYTES,
    CanaryResult,
    ExpectedCanary,
    Outcome,
    Protocol,
    seal_datagram,
)

ATTEMPT_SECONDS: Final = 1.0
_MAX_THREADS: Final = 32
_SENDS: Final = 2  # a lost datagram must not look like a block

# linux/errqueue.h and linux/in.h; not all of it is in the socket module
_IP_RECVERR: Final = 11
_IPV6_RECVERR: Final = 25
_ORIGIN_LOCAL: Final = 1
_NO_ROUTE: Final = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})
_REFUSED_LOCALLY: Final = frozenset({errno.EPERM, errno.EACCES})
_DNS_PORT: Final = 53

_Answer = tuple[Outcome, str]
_Probe = Callable[[str, int, frozenset[str], float], _Answer]


def probe_canaries(
    canaries: Sequence[ExpectedCanary],
    *,
    own_node: frozenset[str],
    seconds: float = ATTEMPT_SECONDS,
    key: bytes = b"",
) -> tuple[CanaryResult, ...]:
    """Try every canary by every protocol it names; results come in the order of the canaries.

    Args:
        canaries: What to try.
        own_node: Addresses of the pod's node as the pod sees them; see `find_own_node`.
        seconds: How long to wait for an answer.
        key: Of the agent, by which the depot's canary knows that a datagram is its own; empty: of nobody.
    """
    attempts = [(canary, protocol) for canary in canaries for protocol in canary.protocols]
    if not attempts:
        return ()
    with ThreadPoolExecutor(max_workers=min(_MAX_THREADS, len(attempts))) as pool:
        return tuple(pool.map(lambda item: _attempt(*item, own_node=own_node, seconds=seconds, key=key), attempts))


def find_own_node(host_ip: str, *, routes: Path = Path("/proc/net/route")) -> frozenset[str]:
    """Collect the addresses by which the pod's own node may answer: its address and the pod's gateways (IPv4)."""
    found = {host_ip} if host_ip else set()
    with contextlib.suppress(OSError, ValueError):
        for line in routes.read_text(encoding="ascii").splitlines()[1:256]:
            gateway = line.split()[2]
            if gateway != "00000000":
                found.add(str(ipaddress.IPv4Address(struct.pack("<I", int(gateway, 16)))))
    return frozenset(found)


def _attempt(
    canary: ExpectedCanary, protocol: Protocol, *, own_node: frozenset[str], seconds: float, key: bytes
) -> CanaryResult:
    started = time.monotonic()
    nodes = own_node - {canary.host}
    probes: dict[Protocol, _Probe] = {"tcp": _probe_tcp, "udp": partial(_probe_udp, key=key), "icmp": _probe_icmp}
    try:
        outcome, detail = probes[protocol](canary.host, canary.port, nodes, seconds)
    except OSError as error:
        outcome, detail = "error", f"the attempt failed: {error.strerror or type(error).__name__}"
    elapsed = (time.monotonic() - started) * 1000
    return CanaryResult(canary.name, canary.host, canary.port, protocol, outcome, detail, elapsed)


def _probe_tcp(host: str, port: int, own_node: frozenset[str], seconds: float) -> _Answer:
    with _open(host, socket.SOCK_STREAM, 0) as sock:
        code = sock.connect_ex((host, port))
        if code not in (0, errno.EINPROGRESS):
            return _judge_local(code)
        if code == errno.EINPROGRESS:
            _, writable, _ = select.select([], [sock], [], seconds)
            if not writable:
                return "blocked", "no answer"
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code == 0:
            return "reached", "the connection was accepted"
        return _judge_error(sock, code, own_node)


def _probe_udp(host: str, port: int, own_node: frozenset[str], seconds: float, *, key: bytes) -> _Answer:
    nonce = os.urandom(CANARY_NONCE_BYTES)
    dns = port == _DNS_PORT
    payload = _dns_question(nonce) if dns else seal_datagram(key, nonce)
    with _open(host, socket.SOCK_DGRAM, 0) as sock:
        answers = _Answers(sock, lambda data: data[:2] == nonce[:2] if dns else nonce in data, own_node)
        return _exchange(answers, (host, port), payload, seconds)


def _probe_icmp(host: str, port: int, own_node: frozenset[str], seconds: float) -> _Answer:
    del port  # ICMP has none
    v6 = ":" in host
    try:
        sock = _open(host, socket.SOCK_DGRAM, socket.IPPROTO_ICMPV6 if v6 else socket.IPPROTO_ICMP)
    except PermissionError:
        return "error", "a ping socket may not be opened: net.ipv4.ping_group_range must contain the agent's group"
    with sock:
        nonce = os.urandom(CANARY_NONCE_BYTES)
        echo = struct.pack("!BBHHH", 128 if v6 else 8, 0, 0, 0, 1) + nonce
        return _exchange(_Answers(sock, lambda data: nonce in data, own_node), (host, 0), echo, seconds)


class _Answers(NamedTuple):
    """What comes back at a socket; an answer holds what nobody knows who did not see what was sent."""

    sock: socket.socket
    is_answer: Callable[[bytes], bool]
    own_node: frozenset[str]


def _exchange(answers: _Answers, address: tuple[str, int], payload: bytes, seconds: float) -> _Answer:
    sock, _, own_node = answers
    code = sock.connect_ex(address)
    if code:
        return _judge_local(code)
    verdict: _Answer = ("blocked", "no answer")
    for _ in range(_SENDS):
        try:
            sock.send(payload)
        except OSError as error:
            if error.errno in _REFUSED_LOCALLY or error.errno in _NO_ROUTE:
                return _judge_sent(sock, error.errno, own_node)
            raise
        said = _await_answer(answers, seconds / _SENDS)
        verdict = said if verdict[0] != "error" or said[0] == "reached" else verdict
        if verdict[0] == "reached":
            break
    return verdict


def _await_answer(answers: _Answers, seconds: float) -> _Answer:
    sock, is_answer, own_node = answers
    verdict: _Answer = ("blocked", "no answer")
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        readable, _, _ = select.select([sock], [], [], left)
        if not readable:
            break
        try:
            answer = sock.recv(2048)
        except OSError as error:
            return _judge_error(sock, error.errno or 0, own_node)
        if is_answer(answer):
            return "reached", "an answer came back"
        verdict = "error", "something came that is no answer to what was sent"
    return verdict


def _judge_local(code: int) -> _Answer:
    """Judge an error that connect returned at once, before any packet left."""
    name = errno.errorcode.get(code, str(code))
    if code in _REFUSED_LOCALLY:
        return "blocked", "the pod's own kernel refused to send"
    if code in _NO_ROUTE:
        return "blocked", f"the pod has no route there ({name})"
    return "error", f"the attempt failed: {name}"


def _judge_sent(sock: socket.socket, code: int, own_node: frozenset[str]) -> _Answer:
    """Judge an error of send: EPERM is the fence; anything else may be an earlier packet's ICMP error."""
    if code in _REFUSED_LOCALLY:
        return "blocked", "the pod's own kernel refused to send"
    return _judge_error(sock, code, own_node)


def _judge_error(sock: socket.socket, code: int, own_node: frozenset[str]) -> _Answer:
    """Judge an error that arrived after a packet was sent, by who sent it."""
    name = errno.errorcode.get(code, str(code))
    sender = _read_error_sender(sock)
    if sender is None:
        return "reached", f"refused by the far end ({name})"
    origin, offender = sender
    if origin == _ORIGIN_LOCAL:
        return "blocked", f"the pod's own kernel gave up ({name})"
    if offender in own_node:
        return "blocked", f"rejected by the pod's own node {offender} ({name})"
    return "reached", f"{offender or 'an unknown host'} answered with an ICMP error ({name})"


def _read_error_sender(sock: socket.socket) -> tuple[int, str] | None:
    """Take one entry of the socket's error queue: (origin, address of who sent the ICMP error, or empty)."""
    try:
        _, ancillary, _, _ = sock.recvmsg(256, 512, socket.MSG_ERRQUEUE | socket.MSG_DONTWAIT)
    except OSError:
        return None
    for level, kind, data in ancillary:
        if (level, kind) in {(socket.IPPROTO_IP, _IP_RECVERR), (socket.IPPROTO_IPV6, _IPV6_RECVERR)}:
            return data[4], _parse_offender(data[16:])
    return None


def _parse_offender(data: bytes) -> str:
    """Read the sockaddr that follows struct sock_extended_err."""
    if len(data) < 8:
        return ""
    family = struct.unpack("=H", data[:2])[0]
    if family == socket.AF_INET:
        return socket.inet_ntop(socket.AF_INET, data[4:8])
    if family == socket.AF_INET6 and len(data) >= 24:
        return socket.inet_ntop(socket.AF_INET6, data[8:24])
    return ""


def _open(host: str, kind: int, protocol: int) -> socket.socket:
    v6 = ":" in host
    sock = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, kind, protocol)
    sock.setblocking(False)
    sock.setsockopt(*((socket.IPPROTO_IPV6, _IPV6_RECVERR) if v6 else (socket.IPPROTO_IP, _IP_RECVERR)), 1)
    return sock


def _dns_question(nonce: bytes) -> bytes:
    """Build a question that any DNS server answers, if only with a refusal: the NS records of the root."""
    return nonce[:2] + b"\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + b"\x00\x00\x02\x00\x01"
