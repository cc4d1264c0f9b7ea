"""The one connection out of the pod: HTTPS to the depot, by address, with its certificate checked by name."""

import contextlib
import http.client
import json
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sekisho.agent.config import DepotAddress
from sekisho.attest.isolation import IsolationProof, encode_proof
from sekisho.errors import Reason, RefusedError, SekishoError, UnavailableError

MAX_ANSWER_BYTES: Final = 8 * 1024 * 1024
MAX_ERROR_BYTES: Final = 16 * 1024
MAX_TOKEN_BYTES: Final = 16 * 1024
_TIMEOUT_SECONDS: Final = 15.0


@dataclass(frozen=True, slots=True)
class DepotAccess:
    """What is needed to speak with the depot.

    Attributes:
        token_file: Projected token; the kubelet replaces it, so it is read for every request.
        ca_file: The CA bundle; read for every connection for the same reason.
    """

    address: DepotAddress
    token_file: Path
    ca_file: Path


@dataclass(frozen=True, slots=True)
class Answer:
    """A decoded answer of the depot: 200 with the weights, or 202 with progress."""

    status: int
    body: dict[str, Any]


class _NamedConnection(http.client.HTTPSConnection):
    """Connect to an IP address but check the certificate against a name: the pod has no DNS."""

    def __init__(self, address: DepotAddress, *, context: ssl.SSLContext) -> None:
        super().__init__(address.host, address.port, timeout=_TIMEOUT_SECONDS, context=context)
        self._address, self._tls = address, context

    def connect(self) -> None:
        """Open the connection."""
        raw = socket.create_connection((self._address.host, self._address.port), timeout=_TIMEOUT_SECONDS)
        try:
            self.sock = self._tls.wrap_socket(raw, server_hostname=self._address.server_name)
        except BaseException:
            raw.close()
            raise


def post_proof(access: DepotAccess, proof: IsolationProof) -> None:
    """Deliver a proof.

    Raises:
        RefusedError: The depot appraised it and it does not hold, or the pod is not who it says.
        UnavailableError: It could not be delivered.
    """
    with _request(access, "POST", "/v1/proof", body=encode_proof(proof)) as response:
        if response.status != 204:
            raise read_failure(response)


def ask_weights(access: DepotAccess) -> Answer:
    """Ask which files this pod is to have. Raises as `post_proof` does."""
    with _request(access, "GET", "/v1/weights") as response:
        if response.status not in (200, 202):
            raise read_failure(response)
        data = response.read(MAX_ANSWER_BYTES + 1)
        try:
            body = json.loads(data) if len(data) <= MAX_ANSWER_BYTES else None
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise UnavailableError(Reason.DEPOT_UNREACHABLE, "the depot's answer is not a JSON object within bounds")
        return Answer(response.status, body)


@contextlib.contextmanager
def open_blob(access: DepotAccess, digest: str, *, offset: int) -> Iterator[http.client.HTTPResponse]:
    """Open a blob from `offset` on; the answer's status is 200 or 206. Raises as `post_proof` does."""
    headers = {"Range": f"bytes={offset}-"} if offset else {}
    with _request(access, "GET", f"/v1/blobs/{digest}", headers=headers) as response:
        if response.status not in (200, 206):
            raise read_failure(response)
        yield response


def read_failure(response: http.client.HTTPResponse) -> SekishoError:
    """Turn an error answer into an exception with the depot's own reason and message."""
    try:
        body = json.loads(response.read(MAX_ERROR_BYTES))
        reason, message = Reason(body["reason"]), str(body["message"])[:1024]
    except (ValueError, KeyError, TypeError, RecursionError):
        reason, message = Reason.DEPOT_UNREACHABLE, f"the depot answered {response.status} without a reason"
    if response.status >= 500 or response.status == 429:
        return UnavailableError(reason, message)
    return RefusedError(reason, message)


@contextlib.contextmanager
def _request(
    access: DepotAccess, method: str, path: str, *, body: bytes | None = None, headers: dict[str, str] | None = None
) -> Iterator[http.client.HTTPResponse]:
    address = access.address
    try:
        context = ssl.create_default_context(cafile=str(access.ca_file))
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        token = _read_token(access.token_file)
    except (OSError, ValueError) as error:
        raise _unreachable(address, f"token or CA bundle cannot be read: {_describe(error)}") from error
    connection = _NamedConnection(address, context=context)
    try:
        try:
            all_headers = {"Authorization": f"Bearer {token}", "Connection": "close", **(headers or {})}
            if body is not None:
                all_headers["Content-Type"] = "application/json"
            connection.request(method, path, body=body, headers=all_headers)
            response = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise _unreachable(address, _describe(error)) from error
        try:
            yield response
        except (OSError, http.client.HTTPException) as error:
            raise _unreachable(address, f"the answer broke off: {_describe(error)}") from error
    finally:
        connection.close()


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
        return f"no answer within {_TIMEOUT_SECONDS:.0f} s"
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return str(error) if isinstance(error, ValueError) and "token" in str(error) else type(error).__name__


def _unreachable(address: DepotAddress, why: str) -> UnavailableError:
    return UnavailableError(
        Reason.DEPOT_UNREACHABLE, f"the depot at {address.host} port {address.port} cannot be used: {why}"
    )
