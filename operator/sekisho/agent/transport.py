"""The ways out of the pod: HTTPS to the depot and to the release of keys, by address, certificates checked by name."""

import contextlib
import errno
import http.client
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from sekisho.agent.config import ServerAddress
from sekisho.attest.isolation import IsolationProof, encode_proof
from sekisho.attest.unsealing import UnsealReport, encode_report
from sekisho.errors import Reason, RefusedError, SekishoError, UnavailableError

MAX_ANSWER_BYTES: Final = 8 * 1024 * 1024
MAX_ERROR_BYTES: Final = 16 * 1024
MAX_TOKEN_BYTES: Final = 16 * 1024
DEPOT_SECONDS: Final = 30.0
_TIMEOUT_SECONDS: Final = 15.0
_ENDED: Final = "what it was asked for is not wanted any more"


class Connections:
    """The open connections of one undertaking, so that another thread can end it whatever its server does."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: set[_NamedConnection] = set()
        self._over = False

    @contextlib.contextmanager
    def hold(self, connection: "_NamedConnection") -> Iterator[None]:
        """Have a connection ended with the others; one that comes too late cannot be opened."""
        with self._lock:
            self._open.add(connection)
            if self._over:
                connection.expire(_ENDED)
        try:
            yield
        finally:
            with self._lock:
                self._open.discard(connection)

    def end(self) -> None:
        """End every connection, and whatever is tried after them."""
        with self._lock:
            self._over = True
            for connection in self._open:
                connection.expire(_ENDED)


@dataclass(frozen=True, slots=True)
class ServerAccess:
    """What is needed to speak with the depot, or with the release of keys.

    Attributes:
        token_file: Projected token; the kubelet replaces it, so it is read for every request.
        ca_file: The CA bundle; read for every connection for the same reason.
        what: What the server is called in messages.
        unreachable: The reason where it cannot be used.
        total_seconds: Bound of a whole exchange, however slowly bytes come; None for one that may take long.
        connect_seconds: How long a connection may take to open; short where another replica can be tried instead.
        connections: Where its connections are held; None where nobody ends them from outside.
    """

    address: ServerAddress
    token_file: Path
    ca_file: Path
    what: str = "depot"
    unreachable: Reason = Reason.DEPOT_UNREACHABLE
    total_seconds: float | None = None
    connect_seconds: float = _TIMEOUT_SECONDS
    connections: Connections | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """A decoded answer of the depot: 200 with the weights, or 202 with progress."""

    status: int
    body: dict[str, Any]


class _NamedConnection(http.client.HTTPSConnection):
    """Connect to an IP address but check the certificate against a name: the pod has no DNS."""

    def __init__(self, access: ServerAccess, *, context: ssl.SSLContext) -> None:
        super().__init__(access.address.host, access.address.port, timeout=_TIMEOUT_SECONDS, context=context)
        self._access, self._tls = access, context
        self._line: ssl.SSLSocket | None = None
        self.expired = ""

    def connect(self) -> None:
        """Open the connection."""
        address, seconds = self._access.address, self._access.connect_seconds
        try:
            raw = socket.create_connection((address.host, address.port), timeout=seconds)
        except TimeoutError as error:
            raise OSError(errno.ETIMEDOUT, f"no connection within {seconds:g} s") from error
        try:
            raw.settimeout(_TIMEOUT_SECONDS)
            line = self._tls.wrap_socket(raw, server_hostname=address.server_name, do_handshake_on_connect=False)
            # http.client forgets its socket where an answer ends with the connection; who ends it must not
            self.sock = self._line = line
            if self.expired:
                raise TimeoutError
            line.do_handshake()
        except BaseException:
            raw.close()
            raise

    def expire(self, why: str) -> None:
        """End the connection from another thread: what reads or writes there fails at once."""
        self.expired = self.expired or why
        if self._line is not None:
            with contextlib.suppress(OSError):
                # Not that of SSLSocket: it would let go of TLS, and what is read then are bytes as they travelled.
                socket.socket.shutdown(self._line, socket.SHUT_RDWR)


def post_proof(access: ServerAccess, proof: IsolationProof) -> None:
    """Deliver a proof.

    Raises:
        RefusedError: The depot appraised it and it does not hold, or the pod is not who it says.
        UnavailableError: It could not be delivered.
    """
    with request(access, "POST", "/v1/proof", body=encode_proof(proof)) as response:
        if response.status != 204:
            raise read_failure(response, access)


def post_report(access: ServerAccess, report: UnsealReport) -> None:
    """Tell how unsealing goes. Raises as `post_proof` does."""
    with request(access, "POST", "/v1/weights/report", body=encode_report(report)) as response:
        if response.status != 204:
            raise read_failure(response, access)


def ask_weights(access: ServerAccess) -> Answer:
    """Ask which files this pod is to have. Raises as `post_proof` does."""
    with request(access, "GET", "/v1/weights") as response:
        if response.status not in (200, 202):
            raise read_failure(response, access)
        data = response.read(MAX_ANSWER_BYTES + 1)
        try:
            body = json.loads(data) if len(data) <= MAX_ANSWER_BYTES else None
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise UnavailableError(Reason.DEPOT_UNREACHABLE, "the depot's answer is not a JSON object within bounds")
        return Answer(response.status, body)


@contextlib.contextmanager
def open_blob(
    access: ServerAccess, digest: str, *, offset: int, end: int | None = None
) -> Iterator[http.client.HTTPResponse]:
    """Open a blob from `offset` on, up to but without `end`; the answer's status is 200 or 206.

    Raises as `post_proof` does.
    """
    access = replace(access, total_seconds=None)  # a blob may take long
    last = "" if end is None else str(end - 1)
    headers = {"Range": f"bytes={offset}-{last}"} if offset or last else {}
    with request(access, "GET", f"/v1/blobs/{digest}", headers=headers) as response:
        if response.status not in (200, 206):
            raise read_failure(response, access)
        yield response


def read_failure(response: http.client.HTTPResponse, access: ServerAccess) -> SekishoError:
    """Turn an error answer into an exception with the server's own reason and message."""
    try:
        body = json.loads(response.read(MAX_ERROR_BYTES))
        reason, message = Reason(body["reason"]), str(body["message"])[:1024]
    except (ValueError, KeyError, TypeError, RecursionError):
        reason, message = access.unreachable, f"the {access.what} answered {response.status} without a reason"
    if response.status >= 500 or response.status == 429:
        return UnavailableError(reason, message)
    return RefusedError(reason, message)


@dataclass(frozen=True, slots=True)
class Session:
    """Several questions over one connection, which is never opened a second time."""

    access: ServerAccess
    connection: _NamedConnection
    headers: dict[str, str]

    def post(self, path: str, body: bytes, *, most: int) -> bytes:
        """Ask and return the body of an answer 200, at most `most` bytes.

        Raises:
            RefusedError: The server refuses.
            UnavailableError: There was no usable answer; the connection is of no more use.
        """
        access, connection = self.access, self.connection
        try:
            connection.request("POST", path, body=body, headers=self.headers)
            response = connection.getresponse()
            if response.status != 200:
                raise read_failure(response, access)
            data = response.read(most + 1)
            if connection.expired:  # the end of the connection may look like the end of the answer
                raise TimeoutError
        except (OSError, http.client.HTTPException) as error:
            raise _unreachable(access, _explain(connection, error)) from error
        if len(data) > most:
            raise _unreachable(access, f"the answer has more than {most} bytes")
        if response.length:
            raise _unreachable(access, f"the answer broke off {response.length} bytes before its end")
        return data


@contextlib.contextmanager
def open_session(access: ServerAccess) -> Iterator[Session]:
    """Open a connection for several questions.

    Raises:
        UnavailableError: The server cannot be reached or is not who it must be.
    """
    connection, token = _prepare(access)
    with contextlib.closing(connection), _bounded(connection, access):
        try:
            connection.connect()
        except (OSError, http.client.HTTPException) as error:
            raise _unreachable(access, _explain(connection, error)) from error
        connection.auto_open = 0  # else the second question might go to another replica
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        yield Session(access, connection, headers)


def _prepare(access: ServerAccess) -> tuple[_NamedConnection, str]:
    """Read CA bundle and token and make a connection that is not open yet."""
    try:
        context = ssl.create_default_context(cafile=str(access.ca_file))
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        token = _read_token(access.token_file)
    except (OSError, ValueError) as error:
        raise _unreachable(access, f"token or CA bundle cannot be read: {_describe(error)}") from error
    return _NamedConnection(access, context=context), token


@contextlib.contextmanager
def request(
    access: ServerAccess, method: str, path: str, *, body: bytes | None = None, headers: dict[str, str] | None = None
) -> Iterator[http.client.HTTPResponse]:
    """Ask one question over a connection of its own.

    Raises:
        UnavailableError: The server cannot be used, or the answer broke off while it was read.
    """
    connection, token = _prepare(access)
    with contextlib.closing(connection), _bounded(connection, access):
        try:
            all_headers = {"Authorization": f"Bearer {token}", "Connection": "close", **(headers or {})}
            if body is not None:
                all_headers["Content-Type"] = "application/json"
            connection.request(method, path, body=body, headers=all_headers)
            response = connection.getresponse()
            if connection.expired:  # the end of the connection may look like the end of the headers
                raise TimeoutError
        except (OSError, http.client.HTTPException) as error:
            raise _unreachable(access, _explain(connection, error)) from error
        try:
            with contextlib.closing(response):
                yield response
            if connection.expired:  # the end of the connection may look like the end of the answer
                raise TimeoutError
        except (OSError, http.client.HTTPException) as error:
            raise _unreachable(access, f"the answer broke off: {_explain(connection, error)}") from error
        except SekishoError as error:
            if connection.expired:  # whatever was concluded from it, it was no whole answer
                raise _unreachable(access, f"the answer broke off: {connection.expired}") from error
            raise


@contextlib.contextmanager
def _bounded(connection: _NamedConnection, access: ServerAccess) -> Iterator[None]:
    """End the connection in time, or when its undertaking ends.

    A timeout of each read alone would let one byte at a time take days.
    """
    with contextlib.ExitStack() as stack:
        if access.connections is not None:
            stack.enter_context(access.connections.hold(connection))
        if access.total_seconds is not None:
            why = f"no whole answer within {access.total_seconds:.0f} s"
            timer = threading.Timer(access.total_seconds, connection.expire, [why])
            timer.daemon = True
            timer.start()
            stack.callback(timer.cancel)
        yield


def _explain(connection: _NamedConnection, error: Exception) -> str:
    return connection.expired or _describe(error)


def _read_token(path: Path) -> str:
    with path.open(encoding="ascii") as file:
        token = file.read(MAX_TOKEN_BYTES).strip()
    if not token or any(not c.isprintable() or c == " " for c in token):
        raise ValueError("the token file holds no token")
    return token


def _describe(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, TimeoutError):
        return error.strerror or f"no answer within {_TIMEOUT_SECONDS:.0f} s"
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return str(error) if isinstance(error, ValueError) and "token" in str(error) else type(error).__name__


def _unreachable(access: ServerAccess, why: str) -> UnavailableError:
    address = access.address
    return UnavailableError(
        access.unreachable, f"the {access.what} at {address.host} port {address.port} cannot be used: {why}"
    )
