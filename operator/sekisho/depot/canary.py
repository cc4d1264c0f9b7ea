"""The canary listener: an address inside the cluster that answers everyone, and that no pod of a model may reach.

It is the live positive control of every proof: it does answer, so silence means that packets were stopped. It also
remembers who reached it; a pod that was seen here is not isolated, whatever its agent says.
"""

import asyncio
import ipaddress
import logging
import os
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, cast

_LOG: Final = logging.getLogger(__name__)
MAX_SEEN: Final = 10_000
MAX_CONNECTIONS: Final = 128
MAX_DATAGRAM: Final = 512
_SECONDS: Final = 5.0


class CanaryListener:
    """Echo on TCP and UDP, and keep when each address was last seen.

    Attributes:
        port: The port; filled in by `start` where 0 was asked for.
    """

    def __init__(self, host: str, port: int, *, clock: Callable[[], float] = time.time) -> None:
        self.host, self.port, self._clock = host, port, clock
        self._seen: OrderedDict[str, float] = OrderedDict()
        self._open = 0
        self._server: asyncio.Server | None = None
        self._transport: asyncio.DatagramTransport | None = None

    async def start(self) -> None:
        """Bind TCP and UDP on the same port."""
        self._server = await asyncio.start_server(self._serve, self.host, self.port, limit=1024)
        self.port = self._server.sockets[0].getsockname()[1]
        self._transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: _Echo(self.note), local_addr=(self.host, self.port)
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
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return
        mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
        final = mapped or parsed
        if final.is_loopback:
            return
        if str(final) not in self._seen:
            _LOG.warning("the canary was reached", extra={"address": str(final)})
        self._seen.pop(str(final), None)
        self._seen[str(final)] = self._clock()
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


class _Echo(asyncio.DatagramProtocol):
    def __init__(self, note: Callable[[str], None]) -> None:
        self._note = note
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._note(addr[0])
        if self._transport is not None and len(data) <= MAX_DATAGRAM:
            self._transport.sendto(data, addr)
