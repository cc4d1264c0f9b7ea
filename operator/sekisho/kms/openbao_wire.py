"""HTTP to OpenBao or Vault by the standard library: one attempt, no redirects, bounded in bytes and in time."""

import contextlib
import http.client
import json
import socket
import ssl
import threading
import urllib.parse
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sekisho.kms import failures
from sekisho.kms.endpoint import check_endpoint
from sekisho.kms.service import DEFAULT_TIMEOUT_SECONDS

KMS: Final = "openbao"
_MAX_ANSWER_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said.

    Attributes:
        status: HTTP status, below 500 or one whose body is JSON.
        body: The JSON object; holds secrets.
    """

    status: int
    body: dict[str, Any] = field(repr=False)

    @property
    def data(self) -> dict[str, Any]:
        """The field `data`, or nothing."""
        value = self.body.get("data")
        return value if isinstance(value, dict) else {}

    def has_error(self, *words: str) -> bool:
        """Tell whether one of the server's errors holds one of the words."""
        errors = self.body.get("errors")
        return isinstance(errors, list) and any(word in str(error) for error in errors for word in words)


class Wire:
    """Talk to one server.

    Args:
        address: https://host:port, with a path before /v1 if there is one; http only on this machine.
        ca_file: Roots that may vouch for the server instead of the system's.
        namespace: Sent with every request where not empty.
        timeout_seconds: To connect, and again for the whole of one request, however slowly the server drips.
    """

    def __init__(
        self, address: str, *, ca_file: Path | None = None, namespace: str = "",
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
    ) -> None:  # fmt: skip
        check_endpoint(KMS, address or "none")
        url = urllib.parse.urlsplit(address)
        self._url = url
        self._host = url.hostname or ""
        self._tls = _load_roots(ca_file) if url.scheme == "https" else None
        self._namespace = namespace
        self._timeout_seconds = timeout_seconds

    def call(self, method: str, path: str, body: dict[str, str] | None = None, *, token: str = "") -> Answer:
        """Send one request and read its answer.

        Raises:
            UnavailableError: Refused, cut off, too late, too long, not JSON, sealed, overloaded, moved elsewhere.
        """
        connection = self._connect()
        alarm: threading.Timer | None = None
        try:
            connection.connect()
            # http.client forgets its socket where an answer ends with the connection; the alarm must not
            alarm = threading.Timer(self._timeout_seconds, _cut_off, [connection.sock])
            alarm.daemon = True
            alarm.start()
            connection.request(method, f"{self._url.path.rstrip('/')}/v1/{path}", _encode(body), self._headers(token))
            with connection.getresponse() as answer:
                status, data = answer.status, answer.read(_MAX_ANSWER_BYTES + 1)
        except TimeoutError:
            raise self._late() from None
        except ssl.SSLCertVerificationError:
            text = f"the certificate of {self._host} is not trusted; name its authority (BAO_CACERT)"
            raise failures.unavailable(KMS, text) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise failures.unavailable(KMS, f"{self._host} could not be asked ({type(error).__name__})") from None
        finally:
            if alarm is not None:
                alarm.cancel()
            connection.close()
        return _read_answer(status, data)

    def _late(self) -> Exception:
        return failures.unavailable(KMS, f"{self._host} did not answer within {self._timeout_seconds:g} s")

    def _connect(self) -> http.client.HTTPConnection:
        if self._tls is None:
            return http.client.HTTPConnection(self._host, self._url.port, timeout=self._timeout_seconds)
        return http.client.HTTPSConnection(self._host, self._url.port, timeout=self._timeout_seconds, context=self._tls)

    def _headers(self, token: str) -> dict[str, str]:
        headers = {"X-Vault-Request": "true", "Content-Type": "application/json"}
        if self._namespace:
            headers["X-Vault-Namespace"] = self._namespace
        if token:
            headers["X-Vault-Token"] = token
        return headers


def _load_roots(ca_file: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
    except (OSError, ssl.SSLError):
        raise failures.unavailable(KMS, f"the certificates in {ca_file} cannot be read") from None


def _cut_off(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


def _encode(body: dict[str, str] | None) -> bytes | None:
    return None if body is None else json.dumps(body).encode()


def _read_answer(status: int, data: bytes) -> Answer:
    if 300 <= status < 400 or status in {429, 502, 503, 504, 472, 473}:
        raise failures.unavailable(KMS, f"it answered with status {status}; is it unsealed, active and not overloaded?")
    if len(data) > _MAX_ANSWER_BYTES:
        raise failures.unavailable(KMS, f"its answer has more than {_MAX_ANSWER_BYTES} bytes")
    try:
        body = json.loads(data) if data else {}
    except (ValueError, RecursionError):
        raise failures.unavailable(KMS, f"its answer of {len(data)} bytes is not JSON") from None
    if not isinstance(body, dict):
        raise failures.unavailable(KMS, "its answer is not a JSON object")
    return Answer(status, body)
