"""The canary listener: an address inside the cluster that answers everyone, and that no pod of a model may reach.

It is the live positive control of every proof: it does answer, so silence means that packets were stopped. It also
remembers who reached it; a pod that was seen here is not isolated, whatever its agent says.
"""

import asyncio
import ipaddress
import logging
import os
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, cast

from sekisho.attest.isolation import is_sealed_datagram

_LOG: Final = logging.getLogger(__name__)
MAX_SEEN: Final = 10_000
MAX_CONNECTIONS: Final = 128
MAX_DATAGRAM: Final = 512
_SECONDS: Final = 5.0
_MOST_STRANGE: Final = 16


@dataclass(frozen=True, slots=True)
class _Known:
    """The key of the agent at an address, and the last datagrams from there that were not made by it."""

    key: bytes
    strange: deque[tuple[float, bytes]]


class CanaryListener:
    """Echo on TCP and UDP, and keep when each address was last seen.

    Attributes:
        port: The port; filled in by `start` where 0 was asked for.
    """

    def __init__(self, host: str, port: int, *, clock: Callable[[], float] = time.time) -> None:
        self.host, self.port, self._clock = host, port, clock
        self._seen: OrderedDict[str, float] = OrderedDict()
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._open = 0
        self._server: asyncio.Server | None = None
        self._transport: asyncio.DatagramTransport | None = None

    async def start(self) -> None:
        """Bind TCP and UDP on the same port."""
        self._server = await asyncio.start_server(self._serve, self.host, self.port, limit=1024)
        self.port = self._server.sockets[0].getsockname()[1]
        self._transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: _Echo(self.note_datagram), local_addr=(self.host, self.port)
        )

    async def stop(self) -> None:
        """Close both."""
        if self._transport is not None:
            self._transport.close()
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    def note(self, address: str) -> None:
        """Remember that `address` reached us; loopback is our own check."""
        final = _spell(address)
        if final:
            self._remember(final, self._clock())

    def note_datagram(self, address: str, data: bytes) -> None:
        """Remember a datagram; where the agent at `address` is known by a key, others in its name do not count."""
        final = _spell(address)
        known = self._known.get(final)
        if known is None or is_sealed_datagram(known.key, data):
            self.note(address)
        else:
            known.strange.append((self._clock(), data))

    def know(self, addresses: frozenset[str], key: bytes) -> None:
        """Take in the key of the agent at `addresses`, by which its datagrams are known; empty: it has none.

        What came from there before counts by this key: the address may have had another pod, or the agent another key.
        """
        for address in filter(None, map(_spell, addresses)):
            known = self._known.pop(address, None)
            if not key:
                continue
            strange: deque[tuple[float, bytes]] = known.strange if known is not None else deque(maxlen=_MOST_STRANGE)
            if known is not None and known.key != key:
                for at in (at for at, data in strange if is_sealed_datagram(key, data)):
                    self._remember(address, at)
            self._known[address] = _Known(key, strange)
        while len(self._known) > MAX_SEEN:
            self._known.popitem(last=False)

    def _remember(self, address: str, at: float) -> None:
        if address not in self._seen:
            _LOG.warning("the canary was reached", extra={"address": address})
        self._seen[address] = max(at, self._seen.pop(address, at))
        while len(self._seen) > MAX_SEEN:
            self._seen.popitem(last=False)

    def last_seen(self, addresses: frozenset[str], *, after: float) -> tuple[str, float] | None:
        """Return the address and Unix second of the last visit of any of `addresses` later than `after`."""
        hits = [(a, self._seen[a]) for a in addresses if a in self._seen and self._seen[a] > after]
        return max(hits, key=lambda hit: hit[1], default=None)

    async def check(self) -> str:
        """Reach our own listener by TCP; empty when it answers, else what is wrong. Not on the path of any proof."""
        nonce = os.urandom(8)
        host = "127.0.0.1" if self.host in {"0.0.0.0", ""} else self.host
        try:
            async with asyncio.timeout(_SECONDS):
                reader, writer = await asyncio.open_connection(host, self.port)
                writer.write(nonce)
                await writer.drain()
                answer = await reader.readexactly(len(nonce))
                writer.close()
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            return f"the canary listener on port {self.port} does not answer: {type(error).__name__}"
        return "" if answer == nonce else f"the canary listener on port {self.port} answers wrongly"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.note(str((writer.get_extra_info("peername") or [""])[0]))
        if self._open >= MAX_CONNECTIONS:
            writer.transport.abort()
            return
        self._open += 1
        try:
            async with asyncio.timeout(_SECONDS):
                writer.write(await reader.read(MAX_DATAGRAM))
                await writer.drain()
        except (OSError, TimeoutError):
            pass
        finally:
            self._open -= 1
            writer.close()


def _spell(address: str) -> str:
    """Return an address in the one spelling it is kept by; empty for what is none, and for loopback."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return ""
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    final = mapped or parsed
    return "" if final.is_loopback else str(final)


class _Echo(asyncio.DatagramProtocol):
    def __init__(self, note: Callable[[str, bytes], None]) -> None:
        self._note = note
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._note(addr[0], data[: MAX_DATAGRAM + 1])
        if self._transport is not None and len(data) <= MAX_DATAGRAM:
            self._transport.sendto(data, addr)
