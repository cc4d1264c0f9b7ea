"""HTTP in: requests become calls, answers become bytes. Everything that decides is elsewhere."""

import asyncio
import logging
import secrets
import ssl
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, Final

from sekisho.errors import Reason, RefusedError
from sekisho.gateway.admission import Admission
from sekisho.gateway.dialects.refusals import http_status, render_error
from sekisho.gateway.dialects.strict import FieldError
from sekisho.gateway.front import Front, find_dialect
from sekisho.gateway.wire.connection import Connection, Host, Times
from sekisho.gateway.wire.door import Door, DoorLimits
from sekisho.gateway.wire.heads import RequestHead, WireError

_log = logging.getLogger(__name__)
_JSON: Final = "application/json"
_GOODBYE_SECONDS: Final = 5.0
_SHUTDOWN_SECONDS: Final = 0.5
_CHARSETS: Final = frozenset({"utf-8", '"utf-8"'})
# Statuses after which a connection ends: its caller sends more than is read, or is nobody who is known.
_LAST: Final = frozenset({401, 408, 413})
_UNFIT: Final = "\r\n\0"
_PHRASES: Final[Mapping[int, str]] = {item.value: item.phrase for item in HTTPStatus}


@dataclass(frozen=True, slots=True)
class WireLimits:
    """Bounds of what callers send and of how slowly they may do it."""

    max_body_bytes: int
    max_connections: int
    head_seconds: float
    body_seconds: float
    stall_seconds: float


class _HttpCall:
    """One request of a connection."""

    def __init__(self, connection: Connection, head: RequestHead, limits: WireLimits) -> None:
        self._connection = connection
        self._head = head
        self._limits = limits
        self._reserved = 0
        self._admission: Admission | None = None
        self.method = head.method
        self.path = head.path

    @property
    def peer(self) -> Mapping[str, Any] | None:
        found: Mapping[str, Any] | None = self._connection.transport.get_extra_info("peercert")
        return found

    def header(self, name: str) -> Sequence[str]:
        return self._head.values(name)

    async def read_body(self, admission: Admission) -> bytes:
        self._check_type()
        most, seconds = self._limits.max_body_bytes, self._limits.body_seconds
        if (self._head.framing.length or 0) > most:
            raise _too_large(most)
        self._admission = admission
        body, inbox = bytearray(), self._connection.inbox
        try:
            # Most bodies came with their heads: what does not wait needs no timer.
            if inbox is not None and inbox.is_done:
                await self._collect(admission, body)
            elif inbox is not None:
                async with asyncio.timeout(seconds):
                    await self._collect(admission, body)
        except TimeoutError:
            raise FieldError(f"the body did not arrive within {seconds:g} s") from None
        except WireError:
            raise FieldError("the body did not arrive whole") from None
        return bytes(body)

    async def _collect(self, admission: Admission, body: bytearray) -> None:
        most = self._limits.max_body_bytes
        while chunk := await self._connection.read():
            if len(body) + len(chunk) > most:
                raise _too_large(most)
            admission.reserve(len(chunk))
            self._reserved += len(chunk)
            body += chunk

    def _check_type(self) -> None:
        kind, *parameters = (part.strip().lower() for part in ",".join(self.header("Content-Type")).split(";"))
        charsets = {value for name, _, value in (item.partition("=") for item in parameters) if name == "charset"}
        if kind != _JSON or charsets - _CHARSETS:
            raise FieldError(f"Content-Type must be {_JSON} in UTF-8")
        if any(coding.lower() != "identity" for coding in self.header("Content-Encoding")):
            raise FieldError("Content-Encoding must not be used")

    def abort(self) -> None:
        self._connection.abort()

    def close(self) -> None:
        if self._admission is not None:
            self._admission.release(self._reserved)


def _too_large(most: int) -> RefusedError:
    return RefusedError(
        Reason.REQUEST_TOO_LARGE, f"the body is larger than {most} bytes, which is what may be sent; send less"
    )


class _Clock:
    """Spells the Date header once a second."""

    def __init__(self) -> None:
        self._second, self._spelt = -1, ""

    def spell(self) -> str:
        if (now := int(time.time())) != self._second:
            self._second, self._spelt = now, formatdate(now, usegmt=True)
        return self._spelt


_clock: Final = _Clock()


class _HttpSink:
    """An answer; writing waits for a caller who reads slowly, and ends with one who does not read."""

    def __init__(self, connection: Connection, head: RequestHead, *, request_id: str, stall_seconds: float) -> None:
        self._connection = connection
        self._request = head
        self._request_id = request_id
        self._stall_seconds = stall_seconds
        self._head = b""
        self._chunked = self._mute = self._has_ended = False
        self.has_begun = self.closes = False
        self._status = 0

    @property
    def is_of_known(self) -> bool:
        """Whether the answer tells that its caller gave a name: no stranger is told anything but 401, 429 and 5xx."""
        return self.keeps and self._status < 500 and self._status != 429

    @property
    def keeps(self) -> bool:
        """Whether the answer is whole and another may follow it."""
        return self._has_ended and not self.closes

    async def begin(
        self,
        status: int,
        content_type: str,
        *,
        length: int | None = None,
        retry_seconds: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        request, self._status = self._request, status
        self._mute = request.method == "HEAD"
        self._chunked = length is None and request.minor == 1
        self.closes = self.closes or not request.framing.keeps or status in _LAST or not self._connection.may_keep
        own: dict[str, Any] = {
            **(headers or {}),
            "Content-Type": content_type,
            "Cache-Control": "no-store",
            "X-Request-Id": self._request_id,
        }
        if length is not None:
            own["Content-Length"] = length
        elif self._chunked:
            own["Transfer-Encoding"] = "chunked"
        if retry_seconds is not None:
            own["Retry-After"] = retry_seconds
        if status == 401:
            own["WWW-Authenticate"] = "Bearer"
        # Sent together with the first of the body, which follows at once.
        self._head, self.has_begun = _spell_head(status, own, closes=self.closes), True

    def push(self, data: bytes) -> bool:
        # An empty chunk would be the last.
        if data and self.has_begun and not self._mute:
            if self._chunked:
                data = b"%x\r\n%b\r\n" % (len(data), data)
            if self._head:
                data, self._head = self._head + data, b""
            self._connection.write(data)
        return not self._connection.is_full

    async def write(self, data: bytes) -> None:
        if not self.push(data):
            await self._connection.drain(self._stall_seconds)

    async def end(self) -> None:
        if not self.has_begun or self._has_ended:
            return
        rest = self._head + (b"0\r\n\r\n" if self._chunked and not self._mute else b"")
        self._head, self._has_ended = b"", True
        if rest:
            self._connection.write(rest)
            await self._connection.drain(self._stall_seconds)


def _spell_head(status: int, headers: Mapping[str, Any], *, closes: bool) -> bytes:
    lines = [f"HTTP/1.1 {status} {_PHRASES[status]}", "Server: sekisho", f"Date: {_clock.spell()}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if closes:
        lines.append("Connection: close")
    told = "".join(lines)
    if any(sign in told for sign in _UNFIT):
        raise ValueError("a header of an answer has a line's end in it")
    return "\r\n".join((*lines, "", "")).encode("ascii")


def _refuse_wire(message: str) -> bytes:
    """Spell the answer to what is no request; who sent it is not known, so it is not recorded."""
    body = render_error(None, Reason.REQUEST_INVALID, f"this is not HTTP as it is taken here: {message}")
    own = {"Content-Type": _JSON, "Cache-Control": "no-store", "Content-Length": len(body)}
    return _spell_head(http_status(Reason.REQUEST_INVALID), own, closes=True) + body


class HttpServer:
    """Serves callers over TLS until it is stopped."""

    def __init__(self, front: Front, admission: Admission, limits: WireLimits) -> None:
        self._front = front
        self._admission = admission
        self._limits = limits
        # Those that gave no name yet, oldest first; and those that did, which rest longest first.
        self._strangers: dict[Connection, None] = {}
        self._known: dict[Connection, None] = {}
        self._door: Door | None = None
        times = Times(limits.head_seconds)
        self._host = Host(times, self._came, self._forget, self._handle, _refuse_wire)
        self.draining = False

    async def start(self, host: str, port: int, *, tls: ssl.SSLContext | None) -> int:
        """Listen; return the port."""
        self._door = Door(lambda: Connection(self._host), tls=tls, limits=DoorLimits(goodbye=_GOODBYE_SECONDS))
        return await self._door.open(host, port)

    async def drain(self, *, delay_seconds: float, seconds: float) -> None:
        """Stop: first let others stop sending, then take no new connections, then wait for what is under way."""
        self.draining = True
        await asyncio.sleep(delay_seconds)
        if self._door is not None:
            self._door.close()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while self._admission.in_flight and loop.time() < deadline:  # noqa: ASYNC110 - at its end only
            await asyncio.sleep(0.05)
        if self._door is not None:
            await self._door.end()
        await self._close_all()

    async def _close_all(self) -> None:
        """End every connection: politely those that have nothing under way, then all that are left."""
        for item in self._list():
            if item.is_idle:
                item.close()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _SHUTDOWN_SECONDS
        while self._list() and loop.time() < deadline:  # noqa: ASYNC110 - at its end only
            await asyncio.sleep(0.01)
        tasks = {item.task for item in self._list() if item.task is not None}
        for item in self._list():
            item.abort()
        if tasks:
            # What they have to record of their ends is recorded before the record is closed.
            await asyncio.wait(tasks, timeout=_GOODBYE_SECONDS)
        await asyncio.sleep(0)

    def _list(self) -> list[Connection]:
        return [*self._strangers, *self._known]

    def _came(self, connection: Connection) -> bool:
        if len(self._strangers) + len(self._known) >= self._limits.max_connections and not self._make_room():
            return False
        self._strangers[connection] = None
        return True

    def _make_room(self) -> bool:
        """End a connection that has nothing under way, a stranger's first; tell whether there is one."""
        resting = next((item for item in self._list() if item.is_idle), None)
        if resting is None:
            return False
        self._forget(resting)
        resting.abort()
        return True

    def _forget(self, connection: Connection) -> None:
        self._strangers.pop(connection, None)
        self._known.pop(connection, None)

    def _rest(self, connection: Connection) -> None:
        """Note that a caller who is known was answered, and its connection is kept."""
        if connection in self._strangers or connection in self._known:
            self._forget(connection)
            self._known[connection] = None

    async def _handle(self, connection: Connection, head: RequestHead) -> None:
        call = _HttpCall(connection, head, self._limits)
        request_id = secrets.token_hex(12)
        sink = _HttpSink(connection, head, request_id=request_id, stall_seconds=self._limits.stall_seconds)
        sink.closes = self.draining
        try:
            await self._front.answer(call, sink, request_id=request_id)
        except (ConnectionError, TimeoutError):
            # The caller has gone, or does not read: there is nobody to tell.
            connection.abort()
        except Exception as error:  # noqa: BLE001 - one request must not take the others along
            await self._fail(call, sink, request_id, error)
        finally:
            call.close()
        if sink.is_of_known:
            self._rest(connection)
        connection.finish(keep=sink.keeps)

    async def _fail(self, call: _HttpCall, sink: _HttpSink, request_id: str, error: Exception) -> None:
        # Where it failed, not what it said: the words of an exception may be those of a prompt.
        frames = [f"{frame.name}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)][-5:]
        extra = {"id": request_id, "error": type(error).__name__, "frames": frames}
        _log.error("a request failed in a way that was not foreseen", extra=extra)
        if sink.has_begun:
            call.abort()
            return
        told = f"the gateway failed; its log tells more of request {request_id}"
        body = render_error(find_dialect(call), Reason.INTERNAL_ERROR, told)
        try:
            await sink.begin(500, _JSON, length=len(body))
            await sink.write(body)
            await sink.end()
        except (ConnectionError, TimeoutError):
            call.abort()
