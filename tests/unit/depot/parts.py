"""Simulators that behave: an API server's view of pods, an authority, an S3 store that checks signatures."""

import asyncio
import contextlib
import datetime as dt
import hashlib
import hmac
import ipaddress
import re
import ssl
import threading
import time
import urllib.parse
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sekisho.depot.cluster import WeightsWish
from sekisho.errors import Reason, RefusedError, UnavailableError
from sekisho.kube.conditions import PodCondition, render_condition
from sekisho.kube.pods import PodFacts, PodIdentity

NAMESPACE = "team-a"
SERVICE = "chat"
TOKEN = "token-of-chat-0"


def build_pod(**changes: Any) -> PodFacts:
    facts: dict[str, Any] = {
        "namespace": NAMESPACE, "name": "chat-0", "uid": "uid-0", "service": SERVICE,
        "service_account": "chat-predictor",
        "host_ip": "10.9.0.2", "addresses": frozenset({"10.8.0.5"}), "started_at": 0.0,
        "ended": False, "conditions": {},
    }  # fmt: skip
    return PodFacts(**(facts | changes))


@dataclass
class SimulatedCluster:
    """The API server as the depot sees it; `writes` counts patches of conditions."""

    tokens: dict[str, PodIdentity] = field(default_factory=dict)
    pods: dict[tuple[str, str], PodFacts] = field(default_factory=dict)
    configs: dict[tuple[str, str], Mapping[str, Any]] = field(default_factory=dict)
    wishes: dict[tuple[str, str], WeightsWish] = field(default_factory=dict)
    writes: list[tuple[str, PodCondition]] = field(default_factory=list)
    nodes: dict[str, str] = field(default_factory=dict)
    reviews: int = 0
    down: bool = False

    def add_pod(self, pod: PodFacts, token: str) -> None:
        self.pods[pod.namespace, pod.name] = pod
        self.tokens[token] = PodIdentity(pod.namespace, pod.service_account, pod.name, pod.uid)

    def condition(self, kind: str, pod: str = "chat-0") -> Mapping[str, Any]:
        return self.pods[NAMESPACE, pod].conditions.get(kind, {})

    def _answer(self) -> None:
        if self.down:
            raise UnavailableError(Reason.API_UNAVAILABLE, "the API server did not answer in time")

    async def review_token(self, token: str) -> PodIdentity:
        self._answer()
        self.reviews += 1
        await asyncio.sleep(0)
        if token not in self.tokens:
            raise RefusedError(Reason.UNAUTHENTICATED, "the token is not valid")
        return self.tokens[token]

    async def read_pod(self, namespace: str, name: str) -> PodFacts | None:
        self._answer()
        return self.pods.get((namespace, name))

    async def list_pods(self, *, node: str = "") -> Sequence[PodFacts]:
        self._answer()
        return [pod for pod in self.pods.values() if node in ("", self.nodes.get(pod.uid, ""))]

    async def read_agent_config(self, namespace: str, service: str) -> Mapping[str, Any]:
        self._answer()
        if (namespace, service) not in self.configs:
            raise RefusedError(Reason.INVALID_SPEC, f"ConfigMap {namespace}/{service}-predictor has no agent.json")
        return self.configs[namespace, service]

    async def read_wish(self, namespace: str, service: str, *, most_bytes: int) -> WeightsWish:
        self._answer()
        wish = self.wishes[namespace, service]
        return replace(wish, limit_bytes=min(most_bytes, wish.limit_bytes))

    async def write_conditions(self, pod: PodFacts, conditions: Sequence[PodCondition]) -> None:
        self._answer()
        stored = self.pods.get((pod.namespace, pod.name))
        if stored is None or stored.uid != pod.uid:
            raise RefusedError(Reason.POD_NOT_KNOWN, "the pod is gone")
        merged = dict(stored.conditions)
        for condition in conditions:
            self.writes.append((pod.name, condition))
            merged[condition.type] = render_condition(condition)
        self.pods[pod.namespace, pod.name] = replace(stored, conditions=merged)


@dataclass(frozen=True)
class Keys:
    """Files of one certificate and of the authority behind it."""

    ca: Path
    certificate: Path
    key: Path


def build_keys(folder: Path, *names: str) -> Keys:
    """Make an authority and a certificate for names and addresses."""
    folder.mkdir(parents=True, exist_ok=True)
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
    now = dt.datetime.now(dt.UTC)

    def build(subject: x509.Name, public: Any, extensions: list[tuple[Any, bool]]) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject).issuer_name(ca_name).public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(hours=1))
        )  # fmt: skip
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(ca_key, hashes.SHA256())

    usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
    ski = x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key())
    ca = build(ca_name, ca_key.public_key(), [(x509.BasicConstraints(True, None), True), (usage, True), (ski, False)])
    alternatives = [_name(name) for name in names]
    leaf = build(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])]),
        key.public_key(),
        [
            (x509.SubjectAlternativeName(alternatives), False),
            (x509.BasicConstraints(False, None), True),
            (x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), False),
            (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
        ],
    )
    pem = serialization.Encoding.PEM
    keys = Keys(folder / "ca.crt", folder / "tls.crt", folder / "tls.key")
    keys.ca.write_bytes(ca.public_bytes(pem))
    keys.certificate.write_bytes(leaf.public_bytes(pem))
    plain = serialization.NoEncryption()
    keys.key.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    return keys


def _name(name: str) -> Any:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


@dataclass
class FileServer:
    """What a web server holds, and how it misbehaves.

    Attributes:
        cut_after: Bytes after which each of the next `cuts` answers breaks off.
        drip_after: Bytes after which an answer that is longer comes byte by byte, until who asked hangs up.
        pieces: How many bytes are sent at once, with a pause between; 0: all.
        headers: Sent with every answer.
        refuse: Returns the status that a request is refused with; 0 for none.
        requests: "METHOD path range" of every request.
        allow: Judges a request's headers; False answers 403.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    cut_after: int = 0
    cuts: int = 0
    drip_after: int | None = None
    pieces: int = 0
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    refuse: Callable[[BaseHTTPRequestHandler], int] = lambda _request: 0
    lie_about_size: int = 0
    requests: list[str] = field(default_factory=list)
    allow: Callable[[BaseHTTPRequestHandler], bool] = lambda _request: True
    host: str = ""
    buckets: bool = False


@contextlib.contextmanager
def serve_files(server: FileServer, keys: Keys | None) -> Iterator[FileServer]:
    """Serve on loopback, over TLS where there are keys; `server.host` becomes host:port."""

    class Answer(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # head and body are two writes: the second would wait for an ACK

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def _answer(self, *, body: bool) -> None:
            path, _, query = self.path.partition("?")
            span = self.headers.get("Range", "")
            server.requests.append(f"{self.command} {self.path} {span}".strip())
            if status := server.status or server.refuse(self):
                return self._send(status, b"", {})
            if not server.allow(self):
                return self._send(403, b"", {})
            if server.buckets and "list-type=2" in query:
                return self._send(200, _list_bucket(server, path, query), {"Content-Type": "application/xml"})
            data = server.files.get(urllib.parse.unquote(path))
            if data is None:
                return self._send(404, b"", {})
            tag = f'"{hashlib.md5(data).hexdigest()}"'  # noqa: S324 - what S3 does
            if self.headers.get("If-Match", tag) != tag:
                return self._send(412, b"", {})
            headers = {"ETag": tag, "Last-Modified": "Wed, 21 Oct 2026 07:28:00 GMT", "Accept-Ranges": "bytes"}
            status, part = 200, data
            if match := re.match(r"bytes=(\d+)-(\d*)$", span):
                start, end = int(match[1]), int(match[2] or len(data) - 1) + 1
                status, part = 206, data[start:end]
                headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(data)}"
            return self._send(status, part, headers, body=body)

        def _send(self, status: int, data: bytes, headers: dict[str, str], *, body: bool = True) -> None:
            self.send_response(status)
            for name, value in (headers | server.headers).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data) - (server.lie_about_size if not body else 0)))
            drips = server.drip_after is not None and len(data) > server.drip_after
            if drips:
                self.send_header("Connection", "close")
            self.end_headers()
            if not body:
                return
            if drips:
                self._drip(data)
                return
            if server.cuts and len(data) > server.cut_after:
                server.cuts -= 1
                self.wfile.write(data[: server.cut_after])
                self.wfile.flush()
                self.close_connection = True
                return
            with contextlib.suppress(OSError):
                for place in range(0, len(data), server.pieces or len(data) or 1):
                    self.wfile.write(data[place : place + (server.pieces or len(data))])
                    time.sleep(0.02 if server.pieces else 0)

        def _drip(self, data: bytes) -> None:
            with contextlib.suppress(OSError):
                self.wfile.write(data[: server.drip_after])
                for byte in data[server.drip_after :]:
                    self.wfile.write(bytes([byte]))
                    time.sleep(0.02)

        def log_message(self, *_: Any) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            pass

    with Quiet(("127.0.0.1", 0), Answer) as http:
        if keys is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(keys.certificate, keys.key)
            http.socket = context.wrap_socket(http.socket, server_side=True, do_handshake_on_connect=False)
        server.host = f"127.0.0.1:{http.server_address[1]}"
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            http.shutdown()
            thread.join()


def _list_bucket(server: FileServer, path: str, query: str) -> bytes:
    prefix = dict(urllib.parse.parse_qsl(query)).get("prefix", "")
    bucket = path.strip("/")
    items = "".join(
        f"<Contents><Key>{name.removeprefix(f'/{bucket}/')}</Key><LastModified>2026-10-21T07:28:00.000Z</LastModified>"
        f'<ETag>"{hashlib.md5(data).hexdigest()}"</ETag><Size>{len(data)}</Size></Contents>'  # noqa: S324
        for name, data in sorted(server.files.items())
        if name.startswith(f"/{bucket}/{prefix}")
    )
    return f'<?xml version="1.0"?><ListBucketResult><IsTruncated>false</IsTruncated>{items}</ListBucketResult>'.encode()


def check_signature(request: BaseHTTPRequestHandler, *, key: str, secret: str) -> bool:
    """Verify AWS Signature Version 4 of a request, as an S3 store does."""
    header = request.headers.get("Authorization", "")
    match = re.match(
        r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/s3/aws4_request, ?"
        r"SignedHeaders=([^,]+), ?Signature=(\w+)",
        header,
    )
    if match is None or match[1] != key:
        return False
    _, day, region, names, signature = match.groups()
    path, _, query = request.path.partition("?")
    pairs = sorted(urllib.parse.parse_qsl(query, keep_blank_values=True))
    canonical_query = "&".join(f"{_quote(k)}={_quote(v)}" for k, v in pairs)
    headers = "".join(f"{name}:{' '.join((request.headers.get(name) or '').split())}\n" for name in names.split(";"))
    payload = request.headers.get("x-amz-content-sha256", "")
    canonical = "\n".join([request.command, path, canonical_query, headers, names, payload])
    scope = f"{day}/{region}/s3/aws4_request"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = "\n".join(["AWS4-HMAC-SHA256", request.headers.get("x-amz-date", ""), scope, digest])
    derived = f"AWS4{secret}".encode()
    for part in (day, region, "s3", "aws4_request"):
        derived = hmac.digest(derived, part.encode(), "sha256")
    return hmac.compare_digest(hmac.new(derived, text.encode(), "sha256").hexdigest(), signature)


def _quote(text: str) -> str:
    return urllib.parse.quote(text, safe="-_.~")


async def settle(check: Callable[[], Any], *, seconds: float = 60.0) -> Any:
    """Wait until `check` returns something true, and return it."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not (value := check()):
        if asyncio.get_running_loop().time() > deadline:
            raise TimeoutError(f"not so within {seconds} s")
        await asyncio.sleep(0.02)
    return value


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part
