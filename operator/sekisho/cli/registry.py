"""A small client of the OCI distribution protocol 1.1: manifests, blobs up in chunks, blobs down with ranges.

Standard library only, one request at a time, at most one chunk in memory; a broken transfer goes on where it was.
"""

import hashlib
import http.client
import json
import re
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final
from urllib.parse import urlencode, urljoin, urlsplit

from sekisho.cli.credentials import Login
from sekisho.cli.failures import refuse
from sekisho.errors import Reason, RefusedError, SekishoError, UnavailableError

CHUNK_BYTES: Final = 16 * 1024 * 1024
MAX_MANIFEST_BYTES: Final = 4 * 1024 * 1024
MANIFEST_TYPE: Final = "application/vnd.oci.image.manifest.v1+json"
ATTEMPTS: Final = 5
_FIRST_PAUSE_SECONDS: Final = 0.2
_REDIRECTS: Final = 4
_TIMEOUT_SECONDS: Final = 60
_READ_BYTES: Final = 1024 * 1024
_BROKEN: Final = (http.client.HTTPException, ConnectionError, TimeoutError)
_REFERENCE: Final = re.compile(
    r"(?:oci://)?(?P<host>[^/@]+)/(?P<repository>[a-z0-9]+(?:[._/-]+[a-z0-9]+)*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9._-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)
_CHALLENGE: Final = re.compile(r'([a-zA-Z]+)="([^"]*)"')


@dataclass(frozen=True, slots=True)
class Reference:
    """What oci://host[:port]/repository[:tag][@sha256:…] names."""

    host: str
    repository: str
    tag: str
    digest: str | None

    def __str__(self) -> str:
        return f"oci://{self.host}/{self.repository}" + (f"@{self.digest}" if self.digest else f":{self.tag}")


def parse_reference(text: str) -> Reference:
    """Parse an address of an artifact; "oci://" may be left out."""
    match = _REFERENCE.fullmatch(text)
    if match is None:
        raise refuse(f"{text[:128]!r} is not oci://registry/repository[:tag]", reason=Reason.STORAGE_URI_INVALID)
    return Reference(match["host"], match["repository"], match["tag"] or "latest", match["digest"])


def pause(failures: int) -> None:
    """Wait before the next attempt, longer after each failure."""
    time.sleep(_FIRST_PAUSE_SECONDS * 2 ** (failures - 1))


@dataclass(slots=True)
class Registry:
    """One repository of one registry.

    Attributes:
        plain_http: Speak without TLS; only where the owner said so.
        ca_file: Trust this authority beside those of the system.
    """

    reference: Reference
    login: Login | None = field(repr=False)
    plain_http: bool = False
    ca_file: Path | None = None
    _authorization: str = field(default="", repr=False)

    def has_blob(self, digest: str) -> bool:
        """Ask whether a blob is there."""
        with self._send("HEAD", self._path(f"blobs/{digest}")) as answer:
            if answer.status not in (200, 404):
                raise self._failure(answer.status, "a blob")
            return answer.status == 200

    def push_blob(self, source: BinaryIO, size: int, digest: str, *, advance: Callable[[int], None]) -> None:
        """Send a blob in chunks; after a broken connection ask how much arrived and go on there."""
        location, offset = self._begin_upload(), 0
        failures = furthest = 0
        while offset < size:
            try:
                location, reached = self._send_chunk(location, source, offset=offset, size=size)
                failures, furthest = (0, reached) if reached > furthest else (failures, furthest)
            except UnavailableError:
                failures += 1
                if failures >= ATTEMPTS:
                    raise
                pause(failures)
                location, reached = self._find_upload(location)
            advance(reached - offset)
            offset = reached
        self._end_upload(location, digest)

    def _end_upload(self, location: str, digest: str) -> None:
        joint = "&" if "?" in location else "?"
        with self._send("PUT", f"{location}{joint}{urlencode({'digest': digest})}", body=b"") as answer:
            if answer.status == 400:
                raise RefusedError(
                    Reason.DIGEST_MISMATCH,
                    f"{self.reference} received other bytes than {digest}; verify the model first",
                )
            if answer.status != 201:
                raise self._failure(answer.status, "the end of a blob")

    def push_manifest(self, data: bytes, name: str) -> None:
        """Store a manifest under a tag or its digest."""
        headers = {"Content-Type": MANIFEST_TYPE}
        with self._send("PUT", self._path(f"manifests/{name}"), headers, data) as answer:
            if answer.status != 201:
                raise self._failure(answer.status, "the manifest")

    def read_manifest(self) -> tuple[dict[str, Any], str]:
        """Read the manifest that the reference names and its digest, checked where the reference has one."""
        wanted = self.reference.digest
        with self._send(
            "GET", self._path(f"manifests/{wanted or self.reference.tag}"), {"Accept": MANIFEST_TYPE}
        ) as got:
            if got.status != 200:
                raise self._failure(got.status, "the manifest")
            data = got.read(MAX_MANIFEST_BYTES + 1)
        actual = f"sha256:{hashlib.sha256(data).hexdigest()}"
        if wanted is not None and actual != wanted:
            raise RefusedError(Reason.DIGEST_MISMATCH, f"{self.reference} sent a manifest with digest {actual}")
        try:
            value = json.loads(data) if len(data) <= MAX_MANIFEST_BYTES else None
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise RefusedError(Reason.SOURCE_INVALID, f"{self.reference} has no manifest of at most 4 MiB of JSON")
        return value, actual

    def read_blob(self, digest: str, offset: int) -> Iterator[bytes]:
        """Yield the bytes of a blob from `offset` on.

        Raises:
            UnavailableError: The connection broke; ask again from where it was.
        """
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        with self._send("GET", self._path(f"blobs/{digest}"), headers) as answer:
            if answer.status not in (200, 206):
                raise self._failure(answer.status, "a blob")
            skip = offset if answer.status == 200 else 0
            while chunk := self._read(answer):
                if skip < len(chunk):
                    yield chunk[skip:]
                skip = max(0, skip - len(chunk))

    def _read(self, answer: http.client.HTTPResponse) -> bytes:
        try:
            return answer.read(_READ_BYTES)
        except (*_BROKEN, OSError) as error:
            raise self._unreachable(error) from error

    def _begin_upload(self) -> str:
        with self._send("POST", self._path("blobs/uploads/"), body=b"") as answer:
            if answer.status != 202:
                raise self._failure(answer.status, "an upload")
            return answer.headers.get("Location", "")

    def _send_chunk(self, location: str, source: BinaryIO, *, offset: int, size: int) -> tuple[str, int]:
        source.seek(offset)
        chunk = source.read(min(CHUNK_BYTES, size - offset))
        if not chunk:
            raise RefusedError(Reason.SEAL_BROKEN, f"a file is {size - offset} bytes shorter than the manifest says")
        end = offset + len(chunk)
        headers = {"Content-Type": "application/octet-stream", "Content-Range": f"{offset}-{end - 1}"}
        with self._send("PATCH", location, headers, chunk) as answer:
            if answer.status not in (202, 204):
                raise self._failure(answer.status, "a chunk")
            return answer.headers.get("Location", location), end

    def _find_upload(self, location: str) -> tuple[str, int]:
        with self._send("GET", location) as answer:
            if answer.status != 204:
                return self._begin_upload(), 0
            first, _, last = answer.headers.get("Range", "").rpartition("-")
            reached = int(last) + 1 if first.endswith("0") and last.isdigit() and last != "0" else 0
            return answer.headers.get("Location", location), reached

    def _path(self, rest: str) -> str:
        return f"/v2/{self.reference.repository}/{rest}"

    @contextmanager
    def _send(
        self, method: str, target: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> Iterator[http.client.HTTPResponse]:
        base = f"{'http' if self.plain_http else 'https'}://{self.reference.host}"
        url = urljoin(base, target)
        with self._follow(method, url, dict(headers or {}), body) as answer:
            challenge = answer.headers.get("WWW-Authenticate", "") if answer.status == 401 else ""
            if not challenge:
                yield answer
                return
        self._authorization = self._authorize(challenge)
        with self._follow(method, url, dict(headers or {}), body) as answer:
            yield answer

    @contextmanager
    def _follow(
        self, method: str, url: str, headers: dict[str, str], body: bytes | None
    ) -> Iterator[http.client.HTTPResponse]:
        for _ in range(_REDIRECTS + 1):
            self._check_scheme(url)
            own = urlsplit(url).netloc == self.reference.host  # our credentials are nobody else's business
            sent = headers | ({"Authorization": self._authorization} if self._authorization and own else {})
            with self._request(method, url, sent, body) as answer:
                if answer.status not in (301, 302, 303, 307, 308) or method not in ("GET", "HEAD"):
                    yield answer
                    return
                url = urljoin(url, answer.headers.get("Location", ""))
        raise RefusedError(Reason.SOURCE_INVALID, f"{self.reference} redirects more than {_REDIRECTS} times")

    @contextmanager
    def _request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> Iterator[http.client.HTTPResponse]:
        parts = urlsplit(url)
        connection = self._connect(parts.scheme, parts.netloc)
        try:
            try:
                path = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
                connection.request(method, path, body, {"User-Agent": "sekisho", **headers})
                answer = connection.getresponse()
            except (*_BROKEN, OSError) as error:
                raise self._unreachable(error) from error
            yield answer
        finally:
            connection.close()

    def _connect(self, scheme: str, netloc: str) -> http.client.HTTPConnection:
        if scheme == "http":
            return http.client.HTTPConnection(netloc, timeout=_TIMEOUT_SECONDS)
        context = ssl.create_default_context()
        if self.ca_file is not None:
            try:
                context.load_verify_locations(self.ca_file)
            except (OSError, ssl.SSLError) as error:
                raise refuse(f"the CA cannot be read from {self.ca_file}", reason=Reason.CREDENTIALS_MISSING) from error
        return http.client.HTTPSConnection(netloc, timeout=_TIMEOUT_SECONDS, context=context)

    def _check_scheme(self, url: str) -> None:
        if urlsplit(url).scheme != "https" and not self.plain_http:
            raise RefusedError(Reason.SOURCE_DENIED, f"{self.reference} leads away from https; that is not followed")

    def _authorize(self, challenge: str) -> str:
        kind, _, rest = challenge.partition(" ")
        if kind.lower() == "basic" and self.login is not None:
            return self.login.basic()
        fields = dict(_CHALLENGE.findall(rest))
        if kind.lower() != "bearer" or not fields.get("realm"):
            raise self._failure(401, "the request")
        query = urlencode({key: fields[key] for key in ("service", "scope") if key in fields})
        url = f"{fields['realm']}{'&' if '?' in fields['realm'] else '?'}{query}"
        self._check_scheme(url)
        headers = {"Authorization": self.login.basic()} if self.login else {}
        with self._request("GET", url, headers, None) as answer:
            if answer.status != 200:
                raise self._failure(401, "a token")
            return f"Bearer {self._read_token(answer)}"

    def _read_token(self, answer: http.client.HTTPResponse) -> str:
        try:
            body = json.loads(answer.read(65536))
            token = body.get("token") or body.get("access_token")
        except (ValueError, AttributeError):
            token = None
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise RefusedError(Reason.SOURCE_INVALID, f"the token service of {self.reference} sends no token")
        return token

    def _failure(self, status: int, what: str) -> SekishoError:
        if status in (401, 403):
            hint = "its login is refused there" if self.login else "run `docker login` for it"
            return RefusedError(Reason.SOURCE_DENIED, f"{self.reference} denied {what} with status {status}; {hint}")
        if status == 404:
            return RefusedError(Reason.SOURCE_NOT_FOUND, f"{self.reference}: {what} was not found (status 404)")
        if status in (408, 416, 425, 429) or status >= 500:
            return UnavailableError(Reason.SOURCE_UNREACHABLE, f"{self.reference} answered {what} with status {status}")
        return RefusedError(Reason.SOURCE_INVALID, f"{self.reference} answered {what} with status {status}")

    def _unreachable(self, error: BaseException) -> UnavailableError:
        trust = isinstance(error, ssl.SSLCertVerificationError)
        why = "its certificate is not trusted; name its CA with --ca-file" if trust else type(error).__name__
        return UnavailableError(Reason.SOURCE_UNREACHABLE, f"{self.reference} cannot be reached: {why}")
