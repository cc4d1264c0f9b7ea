"""What stands between a client and a registry: it notes every request, and cuts, slows or forgets as it is told."""

import contextlib
import http.client
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

_CHUNK = 65536


@dataclass
class Request:
    """One request as it came."""

    method: str
    path: str
    headers: Mapping[str, str]


@dataclass
class Middleman:
    """One server on loopback and its mood.

    Attributes:
        host: Its host:port.
        cut_after: Bytes of a blob after which an answer breaks off, for the next `cuts` answers.
        forgets_ranges: Whether Range is lost on the way, so that every answer begins at the first byte.
        lost_answers: For how many uploads of a chunk the registry's answer is lost.
        hangs: Set to say nothing more after `cut_after` bytes, instead of breaking off.
        sent: Bytes of blobs that went to the client.
    """

    host: str = ""
    cut_after: int = 0
    cuts: int = 0
    forgets_ranges: bool = False
    lost_answers: int = 0
    hangs: bool = False
    sent: int = 0
    requests: list[Request] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    def seen(self, method: str, part: str) -> list[Request]:
        return [item for item in self.requests if item.method == method and part in item.path]


@contextlib.contextmanager
def stand_between(registry: str) -> Iterator[Middleman]:
    """Pass requests on to the registry at host:port."""
    middleman = Middleman()

    class Pass(_Quiet):
        def pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            middleman.requests.append(Request(self.command, self.path, dict(self.headers.items())))
            headers = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
            if middleman.forgets_ranges:
                headers.pop("Range", None)
            connection = http.client.HTTPConnection(registry, timeout=60)
            with contextlib.closing(connection):
                connection.request(self.command, self.path, body or None, headers)
                answer = connection.getresponse()
                self.close_connection = True
                if self.command == "PATCH" and middleman.lost_answers:
                    middleman.lost_answers -= 1
                    answer.read()
                    return
                self._give(answer)

        def _give(self, answer: http.client.HTTPResponse) -> None:
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                if name.lower() not in {"date", "server", "connection", "transfer-encoding"}:
                    self.send_header(name, value)
            self.end_headers()
            cuts = middleman.cuts > 0 and self.command == "GET" and "/blobs/" in self.path
            left = middleman.cut_after if cuts else None
            while chunk := answer.read(_CHUNK if left is None else min(_CHUNK, left)):
                self.wfile.write(chunk)
                middleman.sent += len(chunk)
                left = None if left is None else left - len(chunk)
            if left == 0:
                middleman.cuts -= 1
                if middleman.hangs:
                    middleman.ended.wait(60)

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = pass_on  # noqa: N815

    with _serve(Pass) as host:
        middleman.host = host
        try:
            yield middleman
        finally:
            middleman.ended.set()


@contextlib.contextmanager
def give_files(folder: Path) -> Iterator[Middleman]:
    """Serve what lies in a folder, as the storage behind a registry does that redirects to it."""
    store = Middleman()

    class Give(_Quiet):
        def give(self) -> None:
            store.requests.append(Request(self.command, self.path, dict(self.headers.items())))
            data = (folder / self.path.lstrip("/")).read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(data)

        do_GET = do_HEAD = give  # noqa: N815

    with _serve(Give) as host:
        store.host = host
        yield store


class _Quiet(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are two writes: the second would wait for an ACK

    def log_message(self, *_: Any) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


@contextlib.contextmanager
def _serve(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    with _Server(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
