"""A web server and an S3 store in one, over TLS: files below /files/ for all, the bucket `weights` for signed requests.

Run inside the cluster's network by the tests of sources; the store verifies signatures as a real one does.
"""

import argparse
import hashlib
import re
import ssl
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.unit.depot.parts import check_signature

BUCKET = "/weights"
MODIFIED = "Wed, 21 Oct 2026 07:28:00 GMT"


def build_handler(folder: Path, *, key: str, secret: str) -> type[BaseHTTPRequestHandler]:
    """Return the handler of requests for files of `folder`, which lie below /files/ and in the bucket alike."""

    class Answer(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # head and body are two writes: the second would wait for an ACK

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def _answer(self, *, body: bool) -> None:
            path, _, query = self.path.partition("?")
            root, _, name = urllib.parse.unquote(path).removeprefix("/").partition("/")
            if f"/{root}" == BUCKET and not check_signature(self, key=key, secret=secret):
                return self._send(403, b"", {}, body=body)
            if "list-type=2" in query:
                return self._send(200, list_bucket(folder, query), {"Content-Type": "application/xml"}, body=body)
            file = folder / name
            if root not in ("files", BUCKET[1:]) or not name or not file.is_file():
                return self._send(404, b"", {}, body=body)
            data = file.read_bytes()
            headers = {"ETag": tag_of(data), "Last-Modified": MODIFIED, "Accept-Ranges": "bytes"}
            if match := re.match(r"bytes=(\d+)-$", self.headers.get("Range", "")):
                start = int(match[1])
                headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
                return self._send(206, data[start:], headers, body=body)
            return self._send(200, data, headers, body=body)

        def _send(self, status: int, data: bytes, headers: dict[str, str], *, body: bool) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(data))}.items():
                self.send_header(name, value)
            self.end_headers()
            if body:
                self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class calls it so
            print(self.command, self.path, *args[1:2], flush=True)

    return Answer


def list_bucket(folder: Path, query: str) -> bytes:
    """Return a page of ListObjectsV2 with everything below the prefix."""
    prefix = dict(urllib.parse.parse_qsl(query)).get("prefix", "")
    items = "".join(
        f"<Contents><Key>{name}</Key><LastModified>2026-10-21T07:28:00.000Z</LastModified>"
        f"<ETag>{tag_of(file.read_bytes())}</ETag><Size>{file.stat().st_size}</Size></Contents>"
        for file in sorted(folder.rglob("*"))
        if file.is_file() and (name := file.relative_to(folder).as_posix()).startswith(prefix)
    )
    return f'<?xml version="1.0"?><ListBucketResult><IsTruncated>false</IsTruncated>{items}</ListBucketResult>'.encode()


def tag_of(data: bytes) -> str:
    """Return the ETag of an object, as S3 makes it."""
    return f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser()
    for name in ("address", "folder", "certificate", "key", "access-key", "secret-key"):
        parser.add_argument(f"--{name}", required=True)
    options = parser.parse_args()
    host, _, port = options.address.rpartition(":")
    handler = build_handler(Path(options.folder), key=options.access_key, secret=options.secret_key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(options.certificate, options.key)
    with ThreadingHTTPServer((host, int(port)), handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        server.serve_forever()


if __name__ == "__main__":
    main()
