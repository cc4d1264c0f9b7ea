"""HTTP by aiohttp: requests in, answers out. Everything that decides is elsewhere."""

import asyncio
import logging
import secrets
import ssl
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from sekisho.errors import Reason, RefusedError
from sekisho.gateway.admission import Admission
from sekisho.gateway.dialects.refusals import render_error
from sekisho.gateway.dialects.strict import FieldError
from sekisho.gateway.front import Front, find_dialect

_log = logging.getLogger(__name__)
_JSON: Final = "application/json"
_BACKLOG: Final = 1024
_HANDSHAKE_SECONDS: Final = 10.0
# Well below what a transport holds before it asks to wait.
_SMALL_BYTES: Final = 16 << 10


@dataclass(frozen=True, slots=True)
class WireLimits:
    """Bounds of what callers send and of how slowly they may do it."""

    max_body_bytes: int
    max_connections: int
    head_seconds: float
    body_seconds: float
    stall_seconds: float


class _AiohttpCall:
    """One request of aiohttp."""

    def __init__(self, request: web.BaseRequest, limits: WireLimits) -> None:
        self._request = request
        self._limits = limits
        self._reserved = 0
        self._admission: Admission | None = None
        self.method = request.method
        self.path = request.rel_url.raw_path

    @property
    def peer(self) -> Mapping[str, Any] | None:
        transport = self._request.transport
        return transport.get_extra_info("peercert") if transport is not None else None

    def header(self, name: str) -> Sequence[str]:
        return self._request.headers.getall(name, [])

    async def read_body(self, admission: Admission) -> bytes:
        request, most = self._request, self._limits.max_body_bytes
        if request.content_type != _JSON or request.charset not in {None, "utf-8", "UTF-8"}:
            raise FieldError(f"Content-Type must be {_JSON} in UTF-8")
        if request.headers.get("Content-Encoding", "identity") != "identity":
            raise FieldError("Content-Encoding must not be used")
        if (request.content_length or 0) > most:
            raise _too_large(most)
        self._admission = admission
        body = bytearray()
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                async for chunk in request.content.iter_any():
                    if len(body) + len(chunk) > most:
                        raise _too_large(most)
                    admission.reserve(len(chunk))
                    self._reserved += len(chunk)
                    body += chunk
        except TimeoutError:
            raise FieldError(f"the body did not arrive within {self._limits.body_seconds:g} s") from None
        except (web.RequestPayloadError, HttpProcessingError):
            raise FieldError("the body did not arrive whole") from None
        return bytes(body)

    def close(self) -> None:
        if self._admission is not None:
            self._admission.release(self._reserved)


def _too_large(most: int) -> RefusedError:
    return RefusedError(Reason.REQUEST_TOO_LARGE, f"the body is larger than {most} bytes, which is what may be sent")


class _Response(web.StreamResponse):
    """Sends its head together with the first of its body, which follows at once."""

    _send_headers_immediately = False


class _AiohttpSink:
    """An answer of aiohttp; writing waits for a caller who reads slowly, and ends with one who does not read."""

    def __init__(self, request: web.BaseRequest, stall_seconds: float, *, request_id: str, last: bool) -> None:
        self._request = request
        self._request_id = request_id
        self._stall_seconds = stall_seconds
        self._last = last
        self.response: web.StreamResponse | None = None

    async def begin(
        self,
        status: int,
        content_type: str,
        *,
        length: int | None = None,
        retry_seconds: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        own = {
            "Content-Type": content_type,
            "Cache-Control": "no-store",
            "X-Request-Id": self._request_id,
            "Server": "sekisho",
        }
        response = _Response(status=status, headers={**(headers or {}), **own})
        if length is not None:
            response.content_length = length
        if retry_seconds is not None:
            response.headers["Retry-After"] = str(retry_seconds)
        if status == 401:
            response.headers["WWW-Authenticate"] = "Bearer"
        if self._last or status in {408, 413}:
            response.force_close()
        await response.prepare(self._request)
        self.response = response

    async def write(self, data: bytes) -> None:
        if self.response is None:
            return
        transport = self._request.transport
        if transport is not None and len(data) < _SMALL_BYTES and not transport.get_write_buffer_size():
            # Where nothing waits to be sent, a little more is taken at once: that needs no timer.
            await self.response.write(data)
            return
        async with asyncio.timeout(self._stall_seconds):
            await self.response.write(data)

    async def end(self) -> None:
        if self.response is not None:
            async with asyncio.timeout(self._stall_seconds):
                await self.response.write_eof()


class _BoundedServer(web.Server):
    """Refuses connections beyond a number, and those that send no whole request head in time."""

    def __init__(self, handler: Any, limits: WireLimits, **options: Any) -> None:
        super().__init__(handler, **options)
        self._limits = limits
        self._silent: dict[asyncio.BaseTransport, asyncio.TimerHandle] = {}

    def connection_made(self, handler: Any, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        if len(self.connections) > self._limits.max_connections:
            transport.abort()
            return
        loop = asyncio.get_running_loop()
        self._silent[transport] = loop.call_later(self._limits.head_seconds, self._give_up, transport)

    def _give_up(self, transport: asyncio.Transport) -> None:
        self._silent.pop(transport, None)
        transport.abort()

    def connection_lost(self, handler: Any, exc: BaseException | None = None) -> None:
        self.note_request(handler.transport)
        super().connection_lost(handler, exc)

    def note_request(self, transport: asyncio.BaseTransport | None) -> None:
        """Note that a connection has sent a request, or has ended."""
        if transport is not None and (timer := self._silent.pop(transport, None)) is not None:
            timer.cancel()


class HttpServer:
    """Serves callers over TLS until it is stopped."""

    def __init__(self, front: Front, admission: Admission, limits: WireLimits) -> None:
        self._front = front
        self._admission = admission
        self._limits = limits
        self._server: _BoundedServer | None = None
        self._listener: asyncio.Server | None = None
        self.draining = False

    async def start(self, host: str, port: int, *, tls: ssl.SSLContext | None) -> int:
        """Listen; return the port."""
        self._server = _BoundedServer(
            self._handle,
            self._limits,
            handler_cancellation=True,
            access_log=None,
            auto_decompress=False,
            keepalive_timeout=75.0,
            lingering_time=5.0,
            max_field_size=16 << 10,
            max_headers=64,
        )
        seconds = _HANDSHAKE_SECONDS if tls else None
        self._listener = await asyncio.get_running_loop().create_server(
            self._server, host, port, ssl=tls, backlog=_BACKLOG, ssl_handshake_timeout=seconds
        )
        return int(self._listener.sockets[0].getsockname()[1])

    async def drain(self, *, delay_seconds: float, seconds: float) -> None:
        """Stop: first let others stop sending, then take no new connections, then wait for what is under way."""
        self.draining = True
        await asyncio.sleep(delay_seconds)
        if self._listener is not None:
            self._listener.close()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while self._admission.in_flight and loop.time() < deadline:  # noqa: ASYNC110 - at its end only
            await asyncio.sleep(0.05)
        if self._server is not None:
            await self._server.shutdown(0.5)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if self._server is not None:
            self._server.note_request(request.transport)
        call = _AiohttpCall(request, self._limits)
        request_id = secrets.token_hex(12)
        sink = _AiohttpSink(request, self._limits.stall_seconds, request_id=request_id, last=self.draining)
        try:
            await self._front.answer(call, sink, request_id=request_id)
        except (ConnectionError, TimeoutError):
            # The caller has gone, or does not read: there is nobody to tell.
            self._abort(request)
        except Exception as error:  # noqa: BLE001 - one request must not take the others along
            # Where it failed, not what it said: the words of an exception may be those of a prompt.
            frames = [f"{frame.name}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)][-5:]
            extra = {"id": request_id, "error": type(error).__name__, "frames": frames}
            _log.error("a request failed in a way that was not foreseen", extra=extra)
            if sink.response is not None:
                self._abort(request)
            else:
                told = f"the gateway failed; its log tells more of request {request_id}"
                await sink.begin(500, _JSON)
                await sink.write(render_error(find_dialect(call), Reason.INTERNAL_ERROR, told))
                await sink.end()
        finally:
            call.close()
        return sink.response or web.Response(status=500)

    def _abort(self, request: web.BaseRequest) -> None:
        if request.transport is not None:
            request.transport.abort()
