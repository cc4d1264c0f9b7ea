"""A small HTTP server on loopback whose answers a test can spoil."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol

MOODS = ("well", "throttled", "late", "garbage", "oversized", "broken")


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body or b"{}")


@dataclass
class Reply:
    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


class Service(Protocol):
    def answer(self, request: Request) -> Reply: ...

    def throttle(self) -> Reply: ...


@dataclass
class Web:
    """One running server.

    Attributes:
        mood: What befalls the next requests; see MOODS.
        asked: How many requests came.
    """

    service: Service
    mood: str = "well"
    asked: int = 0
    ended: threading.Event = field(default_factory=threading.Event)
    port: int = 0

    def reply(self, request: Request) -> Reply:
        self.asked += 1
        if self.mood == "throttled":
            return self.service.throttle()
        if self.mood == "late":
            self.ended.wait(20)
        if self.mood == "broken":
            return Reply(500, b"", {})
        if self.mood == "garbage":
            return Reply(200, b"\x00\xff<html>", {"Content-Type": "application/json"})
        if self.mood == "oversized":
            return Reply(200, b'{"a":"' + b"x" * 300_000 + b'"}', {"Content-Type": "application/json"})
        return self.service.answer(request)


@contextmanager
def serve(service: Service, *, tls: Any = None) -> Iterator[Web]:
    """Serve until the block ends; `tls` is an SSLContext of the server's side."""
    web = Web(service)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # head and body are two writes: the second would wait for an ACK

        def handle_one(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            headers = {name.lower(): value for name, value in self.headers.items()}
            reply = web.reply(Request(self.command, self.path, headers, self.rfile.read(length)))
            try:
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(reply.body)))
                self.end_headers()
                self.wfile.write(reply.body)
            except OSError:
                self.close_connection = True

        do_GET = do_POST = do_PUT = handle_one  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            pass

    server = Server(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    web.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield web
    finally:
        web.ended.set()
        server.shutdown()
        thread.join()
        server.server_close()
