"""Weights from an OCI registry: artifacts whose layers carry file names, as `oras push` writes them.

Follows the OCI distribution specification 1.1 (pull) and the token scheme of docker registries. Nothing is believed
that does not hash to what was asked for.
"""

import asyncio
import contextlib
import hashlib
import json
import os
import re
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

import aiohttp

from sekisho.depot.settings import SourceEntry
from sekisho.depot.sources.choice import Credential
from sekisho.depot.sources.listing import Listing, RemoteFile, judge_status
from sekisho.errors import Reason, RefusedError, SekishoError, UnavailableError

MAX_MANIFEST_BYTES: Final = 4 << 20
MAX_TOKEN_BYTES: Final = 64 * 1024
MAX_REDIRECTS: Final = 4
_TITLE: Final = "org.opencontainers.image.title"
_UNPACK: Final = "io.deis.oras.content.unpack"
_MANIFESTS: Final = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_INDEXES: Final = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_REFERENCE = re.compile(
    r"^oci://(?P<host>[^/@]+)/(?P<repository>[a-z0-9]+(?:[._/-]+[a-z0-9]+)*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9._-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?$"
)
_DIGEST = re.compile(r"^sha256:[0-9a-f]{64}$")
_CHALLENGE = re.compile(r'([a-zA-Z]+)="([^"]*)"')


@dataclass(frozen=True, slots=True)
class Reference:
    """What an oci:// URI names."""

    host: str
    repository: str
    tag: str
    digest: str | None


def parse_reference(uri: str) -> Reference:
    """Parse oci://host[:port]/repository[:tag][@sha256:…].

    Raises:
        RefusedError: StorageUriInvalid.
    """
    match = _REFERENCE.match(uri)
    if match is None:
        raise RefusedError(
            Reason.STORAGE_URI_INVALID, f"{uri} is not oci://registry/repository[:tag][@sha256:64 hexadecimal digits]"
        )
    return Reference(match["host"], match["repository"], match["tag"] or "latest", match["digest"])


@dataclass(slots=True)
class OciSource:
    """One artifact of one registry.

    Attributes:
        expected: Digest the manifest must have, where the Model states one.
    """

    session: aiohttp.ClientSession
    entry: SourceEntry
    credential: Credential | None
    reference: Reference
    uri: str
    expected: str | None = None
    _authorization: str = field(default="", repr=False)

    async def list_files(self) -> Listing:
        """Read the manifest and name its layers."""
        wanted = self.reference.digest
        if wanted and self.expected and wanted != self.expected:
            raise RefusedError(
                Reason.DIGEST_MISMATCH, f"{self.uri} names {wanted}, but the Model expects {self.expected}"
            )
        manifest, digest = await self._read_pinned(wanted or self.expected)
        if manifest.get("mediaType") in _INDEXES or "manifests" in manifest:
            manifest, _ = await self._read_manifest(*[_choose(manifest, self.uri)] * 2)
        return Listing(digest, _read_layers(manifest, self.uri))

    async def read(self, file: RemoteFile, offset: int) -> AsyncGenerator[bytes, None]:
        """Yield a blob from `offset` on."""
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        path = f"/v2/{self.reference.repository}/blobs/{file.locator}"
        async with self._get(path, headers, what=file.path) as response:
            skip = offset if offset and response.status == 200 else 0  # a registry without ranges sends it whole
            async for chunk in response.content.iter_chunked(1 << 20):
                if skip >= len(chunk):
                    skip -= len(chunk)
                    continue
                yield chunk[skip:]
                skip = 0

    async def _read_pinned(self, wanted: str | None) -> tuple[dict[str, Any], str]:
        """Read the manifest by its digest where one is known; by its tag otherwise."""
        try:
            return await self._read_manifest(wanted or self.reference.tag, wanted)
        except RefusedError as error:
            if error.reason is not Reason.SOURCE_NOT_FOUND or wanted in (None, self.reference.digest):
                raise
        _, actual = await self._read_manifest(self.reference.tag, None)
        raise RefusedError(
            Reason.DIGEST_MISMATCH, f"{self.uri} has digest {actual}, the Model expects {wanted}; it is not served"
        )

    async def _read_manifest(self, name: str, digest: str | None) -> tuple[dict[str, Any], str]:
        headers = {"Accept": ", ".join((*_MANIFESTS, *_INDEXES))}
        path = f"/v2/{self.reference.repository}/manifests/{name}"
        async with self._get(path, headers, what="its manifest") as response:
            data = await _read_some(response, MAX_MANIFEST_BYTES)
        if len(data) > MAX_MANIFEST_BYTES:
            raise RefusedError(Reason.SOURCE_INVALID, f"the manifest of {self.uri} is larger than 4 MiB")
        actual = f"sha256:{hashlib.sha256(data).hexdigest()}"
        if digest is not None and actual != digest:
            raise RefusedError(
                Reason.DIGEST_MISMATCH, f"the manifest of {self.uri} has digest {actual}, {digest} expected"
            )
        try:
            manifest = json.loads(data)
        except (ValueError, RecursionError):
            manifest = None
        if not isinstance(manifest, dict):
            raise RefusedError(Reason.SOURCE_INVALID, f"the manifest of {self.uri} is not a JSON object")
        return manifest, actual

    @contextlib.asynccontextmanager
    async def _get(self, path: str, headers: Mapping[str, str], *, what: str) -> AsyncIterator[aiohttp.ClientResponse]:
        scheme = "http" if self.entry.plain_http else "https"
        url = f"{scheme}://{self.reference.host}{path}"
        try:
            response = await self._send(url, headers)
            if response.status == 401:
                response.release()
                self._authorization = await self._authorize(response.headers.get("WWW-Authenticate", ""))
                response = await self._send(url, headers)
            async with response:
                if response.status not in (200, 206):
                    raise self._failure(response.status, what)
                yield response
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise unreachable(self.uri, error) from error

    async def _send(self, url: str, headers: Mapping[str, str]) -> aiohttp.ClientResponse:
        authorization = {"Authorization": self._authorization} if self._authorization else {}
        response = await self._request(url, {**headers, **authorization})
        for _ in range(MAX_REDIRECTS):
            if response.status not in (301, 302, 303, 307, 308):
                return response
            response.release()
            url = self._follow(url, response.headers.get("Location", ""))
            # Registries send blobs from other hosts by signed addresses; our credentials are none of their business.
            same = urlsplit(url).netloc == self.reference.host
            response = await self._request(url, {**headers, **(authorization if same else {})})
        return response

    async def _request(self, url: str, headers: Mapping[str, str]) -> aiohttp.ClientResponse:
        return await self.session.get(url, headers=headers, allow_redirects=False, proxy=self.entry.proxy)

    def _follow(self, url: str, location: str) -> str:
        try:
            target = urljoin(url, location)
            scheme = urlsplit(target).scheme
        except ValueError as error:
            raise RefusedError(Reason.SOURCE_INVALID, f"{self.uri} redirects to what is no address") from error
        if scheme != "https" and not self.entry.plain_http:
            raise RefusedError(Reason.SOURCE_DENIED, f"{self.uri} redirects away from https; that is not followed")
        return target

    async def _authorize(self, challenge: str) -> str:
        """Answer a WWW-Authenticate challenge: Basic at once, Bearer by asking the realm for a token."""
        kind, _, rest = challenge.partition(" ")
        if kind.lower() == "basic":
            if self.credential is None:
                raise self._failure(401, "its manifest")
            return self.credential.basic()
        fields = dict(_CHALLENGE.findall(rest))
        realm = fields.pop("realm", "")
        if kind.lower() != "bearer" or not realm:
            raise self._failure(401, "its manifest")
        if self.credential is not None and self.credential.token:
            return f"Bearer {self.credential.token}"
        if not realm.lower().startswith("https://") and not self.entry.plain_http:
            raise RefusedError(
                Reason.SOURCE_DENIED, f"{self.uri} asks for credentials by plain http; they are not sent"
            )
        headers = {"Authorization": self.credential.basic()} if self.credential else {}
        query = {key: value for key, value in fields.items() if key in {"service", "scope"}}
        async with self.session.get(
            realm, params=query, headers=headers, allow_redirects=False, proxy=self.entry.proxy
        ) as response:
            if response.status != 200:
                raise self._failure(401 if response.status in (400, 401, 403) else response.status, "a token")
            data = await _read_some(response, MAX_TOKEN_BYTES)
        with contextlib.suppress(ValueError, TypeError, AttributeError):
            body = json.loads(data) if len(data) <= MAX_TOKEN_BYTES else {}
            token = body.get("token") or body.get("access_token")
            if isinstance(token, str) and token.isascii() and token.isprintable():
                return f"Bearer {token}"
        raise RefusedError(Reason.SOURCE_INVALID, f"the token service of {self.uri} sends no token")

    def _failure(self, status: int, what: str) -> SekishoError:
        return judge_status(status, self.uri, what, with_credentials=self.credential is not None)


def unreachable(uri: str, error: BaseException) -> UnavailableError:
    """Say that a source does not answer, without repeating what a library printed."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError | ssl.SSLCertVerificationError):
        why = "its certificate is not trusted; name its CA in depot.sources"
    elif isinstance(error, aiohttp.ClientConnectorDNSError):
        why = "its name cannot be resolved"
    elif isinstance(error, asyncio.TimeoutError):
        why = "it does not answer in time"
    elif isinstance(error, aiohttp.ClientConnectorError):
        why = os.strerror(error.os_error.errno) if error.os_error.errno else "the connection failed"
    else:
        why = f"the connection broke off ({type(error).__name__})"
    return UnavailableError(Reason.SOURCE_UNREACHABLE, f"{uri} cannot be reached: {why}")


async def _read_some(response: aiohttp.ClientResponse, most: int) -> bytes:
    """Read an answer whole, or more than `most` bytes of it; what is read at once is what has come."""
    data = b""
    while len(data) <= most and (more := await response.content.read(most + 1)):
        data += more
    return data


def _choose(index: Mapping[str, Any], uri: str) -> str:
    listed = index.get("manifests")
    items = [item for item in listed if isinstance(item, dict)] if isinstance(listed, list) else []
    linux = [item for item in items if _platform(item).get("os") == "linux"]
    amd64 = [item for item in linux if _platform(item).get("architecture") == "amd64"]
    for group in (items if len(items) == 1 else [], amd64):
        for item in group:
            if _DIGEST.match(str(item.get("digest", ""))):
                return str(item["digest"])
    raise RefusedError(Reason.SOURCE_INVALID, f"{uri} is an index of {len(items)} manifests and none is clearly meant")


def _platform(item: Mapping[str, Any]) -> Mapping[str, Any]:
    platform = item.get("platform")
    return platform if isinstance(platform, dict) else {}


def _read_layers(manifest: Mapping[str, Any], uri: str) -> tuple[RemoteFile, ...]:
    layers = manifest.get("layers")
    if not isinstance(layers, list) or len(layers) > 10_000:
        raise RefusedError(Reason.SOURCE_INVALID, f"the manifest of {uri} has no list of layers")
    files = []
    for layer in layers:
        annotations = layer.get("annotations") if isinstance(layer, dict) else None
        annotations = annotations if isinstance(annotations, dict) else {}
        title = annotations.get(_TITLE)
        if not isinstance(title, str) or annotations.get(_UNPACK) == "true":
            raise RefusedError(
                Reason.SOURCE_INVALID,
                f"a layer of {uri} is no plain file with a name ({_TITLE}); push plain files, as `oras push` does",
            )
        digest, size = layer.get("digest"), layer.get("size")
        if not _DIGEST.match(str(digest)) or isinstance(size, bool) or not isinstance(size, int) or size < 0:
            raise RefusedError(Reason.SOURCE_INVALID, f"layer {title[:80]!r} of {uri} has no sha256 digest and size")
        files.append(RemoteFile(title, size, str(digest), str(digest), str(digest)))
    return tuple(files)


@contextlib.asynccontextmanager
async def open_oci(
    uri: str, entry: SourceEntry, credential: Credential | None, *, expected: str | None
) -> AsyncIterator[OciSource]:
    """Open a registry for one fetch."""
    reference = parse_reference(uri)
    context = await asyncio.to_thread(build_context, entry)
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=30)
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=context, limit=8),
        timeout=timeout,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
        headers={"User-Agent": "sekisho-depot"},
    ) as session:
        yield OciSource(session, entry, credential, reference, uri, expected)


def build_context(entry: SourceEntry) -> ssl.SSLContext:
    """Build what verifies a source's certificate.

    Raises:
        RefusedError: CredentialsMissing: the configured CA cannot be read.
    """
    context = ssl.create_default_context()
    if entry.ca_file is not None:
        try:
            context.load_verify_locations(entry.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise RefusedError(
                Reason.CREDENTIALS_MISSING, f"the CA for {entry.prefix} cannot be read from {entry.ca_file}"
            ) from error
    return context
