"""Callers of the gateway inside the cluster's network: single questions, and streams."""

import contextlib
import http.client
import json
import socket
import ssl
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Self

from e2e.calls import SERVER_NAME
from e2e.cluster.netns import NetworkNamespace
from e2e.cluster.patience import PATIENCE_SECONDS

CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
Connection = http.client.HTTPConnection


@dataclass(frozen=True, slots=True)
class Address:
    """Whom to ask, and as whom.

    Attributes:
        patience: Seconds without a byte after which a caller gives up; nobody tells those of a pod that vanished.
    """

    host: str
    port: int
    trust: ssl.SSLContext
    token: str
    model: str
    patience: float = PATIENCE_SECONDS

    def connect(self) -> Connection:
        """Open a connection from the network that the calling thread is in."""
        plain = socket.create_connection((self.host, self.port), timeout=self.patience)
        try:
            secured = self.trust.wrap_socket(plain, server_hostname=SERVER_NAME)
        except BaseException:
            plain.close()
            raise
        connection = Connection(self.host, self.port)
        connection.sock = secured
        return connection

    def at(self, host: str, port: int) -> "Address":
        """Return the same at another place."""
        return replace(self, host=host, port=port)


@dataclass(slots=True)
class Answer:
    """What came of one request.

    Attributes:
        whole: Whether it came to its end as its head says.
    """

    status: int
    headers: dict[str, str]
    body: bytes = b""
    whole: bool = False

    @property
    def text(self) -> str:
        """The body."""
        return self.body.decode("utf-8", "replace")

    @property
    def receipt(self) -> str:
        """The receipt; empty where there is none."""
        return self.headers.get("sekisho-receipt", "")

    @property
    def error(self) -> dict[str, Any]:
        """The error that it is, or that its last event is; empty where there is none."""
        last = self.body.strip().rpartition(b"data: ")[2]
        try:
            found = json.loads(last).get("error", {})
        except (ValueError, AttributeError):
            return {}
        return found if isinstance(found, dict) else {}


def send(address: Address, connection: Connection, prompt: str, *, stream: bool, path: str = CHAT) -> Answer:
    """Ask over a connection and return the head of the answer."""
    body = {
        "model": address.model,
        "messages": [{"role": "user", "content": prompt}],
        "stream": stream,
        "max_tokens": 64,
    }
    headers = {"Authorization": f"Bearer {address.token}", "Content-Type": "application/json"}
    if path == MESSAGES:
        headers["anthropic-version"] = "2023-06-01"
    connection.request("POST", path, json.dumps(body), headers)
    response = connection.getresponse()
    connection.response = response  # type: ignore[attr-defined]
    return Answer(response.status, {name.lower(): value for name, value in response.getheaders()})


def finish(connection: Connection, answer: Answer, *, most: int = 64 << 20) -> Answer:
    """Read the rest of an answer, and tell whether it came whole."""
    response: http.client.HTTPResponse = connection.response  # type: ignore[attr-defined]
    try:
        while data := response.read1(65536):
            answer.body += data
            if len(answer.body) > most:
                raise AssertionError(f"an answer of more than {most} bytes")
        answer.whole = not response.length
        response.read()
    except (http.client.HTTPException, OSError):
        answer.whole = False
    return answer


def ask(address: Address, prompt: str, *, stream: bool = False, path: str = CHAT) -> Answer:
    """Ask once, over a connection of its own.

    Raises:
        OSError: There is no connection, or it ended before the answer began.
    """
    connection = address.connect()
    try:
        return finish(connection, send(address, connection, prompt, stream=stream, path=path))
    except http.client.HTTPException as error:
        raise ConnectionError(str(error)) from error
    finally:
        connection.close()


def may_use(address: Address) -> bool:
    """Tell whether the model is among those that the caller may use; not so while no gateway can be reached."""
    try:
        connection = address.connect()
    except OSError:  # a node learns of a Service's pods later than the API server
        return False
    try:
        connection.request("GET", "/v1/models", headers={"Authorization": f"Bearer {address.token}"})
        said = json.loads(connection.getresponse().read())
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return [item["id"] for item in said.get("data", [])] == [address.model]


@dataclass(slots=True)
class Stream:
    """A stream that is under way.

    Attributes:
        connection: Closing it is how a caller leaves.
    """

    connection: Connection
    answer: Answer

    def wait(self, count: int) -> None:
        """Wait until so many more events have come."""
        response: http.client.HTTPResponse = self.connection.response  # type: ignore[attr-defined]
        wanted = self.answer.body.count(b"\n\n") + count
        while self.answer.body.count(b"\n\n") < wanted:
            data = response.read1(65536)
            assert data, f"the stream ended: {self.answer.body[-300:]!r}"
            self.answer.body += data

    def finish(self) -> Answer:
        """Return the answer once it has ended."""
        return finish(self.connection, self.answer)


def open_stream(address: Address, prompt: str) -> Stream:
    """Ask for a stream and return it once it has begun; its connection is to be closed."""
    connection = address.connect()
    try:
        return Stream(connection, send(address, connection, prompt, stream=True))
    except BaseException:
        connection.close()
        raise


class Network:
    """Threads that live in the network of a node. Use it as a context manager."""

    def __init__(self, network: NetworkNamespace, *, threads: int = 24) -> None:
        self._pool = ThreadPoolExecutor(threads, initializer=network.enter)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()

    def start(self, function: Any, *arguments: Any, **options: Any) -> Future[Any]:
        """Run something in one of the threads."""
        return self._pool.submit(function, *arguments, **options)

    def run(self, function: Any, *arguments: Any, **options: Any) -> Any:
        """Run something in one of the threads and return its result."""
        return self.start(function, *arguments, **options).result()

    @contextlib.contextmanager
    def streaming(self, address: Address, prompt: str) -> Iterator[Stream]:
        """Open a stream; leaving the block leaves it."""
        stream: Stream = self.run(open_stream, address, prompt)
        try:
            yield stream
        finally:
            stream.connection.close()
