"""Weights from HTTPS servers and S3 stores, by way of obstore.

An HTTPS URI names one file, or, where it ends with a slash, a folder with a SHA256SUMS file. An S3 URI names one
object, or a prefix of several.
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import (
    BaseError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)
from obstore.store import HTTPStore, S3Store

from sekisho.depot.settings import SourceEntry
from sekisho.depot.sources.choice import Credential
from sekisho.depot.sources.listing import MAX_FILES, Listing, RemoteFile, judge_status
from sekisho.errors import Reason, RefusedError, SekishoError, UnavailableError

if TYPE_CHECKING:
    from obstore.store import ClientConfig

SUMS: Final = "SHA256SUMS"
MAX_SUMS_BYTES: Final = 1 << 20
_CHUNK_BYTES: Final = 4 << 20
_LINE = re.compile(r"^([0-9a-f]{64}) [ *](.{1,512})$")
_STATUS = re.compile(r"status code: ([0-9]{3})")
_RETRY: Any = {"max_retries": 2, "retry_timeout": timedelta(seconds=15)}


@dataclass(frozen=True, slots=True)
class ObjectSource:
    """Objects of one store below one name.

    Attributes:
        key: Name of the object, or of the folder that holds several; without slashes around it.
        many: Whether `key` is a folder.
    """

    store: Any
    key: str
    uri: str
    many: bool
    with_credentials: bool

    async def list_files(self) -> Listing:
        """List the objects, with digests where a SHA256SUMS file states them."""
        with _translate(self.uri, with_credentials=self.with_credentials):
            if not self.many:
                meta = await obstore.head_async(self.store, self.key)
                return Listing(None, (_remote(meta, self.key.rpartition("/")[2], None),))
            if isinstance(self.store, HTTPStore):
                return await self._read_sums()
            return await self._list_prefix()

    async def read(self, file: RemoteFile, offset: int) -> AsyncGenerator[bytes, None]:
        """Yield an object from `offset` on, if it is still the version that was listed."""
        options: dict[str, Any] = {}
        if offset:
            options["range"] = {"offset": offset}
        if file.version.startswith('"'):
            options["if_match"] = file.version
        with _translate(self.uri, with_credentials=self.with_credentials):
            result = await obstore.get_async(self.store, file.locator, options=options)  # type: ignore[arg-type]
            async for chunk in result.stream(min_chunk_size=_CHUNK_BYTES):
                yield bytes(chunk)

    async def _read_sums(self) -> Listing:
        result = await obstore.get_async(self.store, f"{self.key}/{SUMS}" if self.key else SUMS)
        if result.meta["size"] > MAX_SUMS_BYTES:
            raise RefusedError(Reason.SOURCE_INVALID, f"{self.uri}{SUMS} is larger than 1 MiB")
        files = []
        for path, digest in parse_sums(bytes(await result.bytes_async()), uri=self.uri):
            meta = await obstore.head_async(self.store, f"{self.key}/{path}" if self.key else path)
            files.append(_remote(meta, path, digest))
        return Listing(None, tuple(files))

    async def _list_prefix(self) -> Listing:
        prefix, files = f"{self.key}/" if self.key else "", []
        async for batch in obstore.list(self.store, self.key or None, chunk_size=1000):
            files += [_remote(meta, meta["path"].removeprefix(prefix), None) for meta in batch]
            if len(files) > MAX_FILES:
                raise RefusedError(Reason.SOURCE_INVALID, f"{self.uri} holds more than {MAX_FILES} objects")
        if not files:  # not a prefix, then: one object
            meta = await obstore.head_async(self.store, self.key)
            files = [_remote(meta, self.key.rpartition("/")[2], None)]
        return Listing(None, tuple(file for file in files if file.path and not file.path.endswith("/")))


def parse_sums(data: bytes, *, uri: str) -> list[tuple[str, str]]:
    """Parse what sha256sum prints into (path, digest).

    Raises:
        RefusedError: SourceInvalid, with the line's number.
    """
    lines = data.decode("utf-8", "replace").splitlines()
    if not 0 < len(lines) <= MAX_FILES:
        raise RefusedError(Reason.SOURCE_INVALID, f"{uri}{SUMS} has {len(lines)} lines, 1 to {MAX_FILES} allowed")
    entries = []
    for number, line in enumerate(lines, start=1):
        match = _LINE.match(line)
        if match is None:
            raise RefusedError(Reason.SOURCE_INVALID, f"line {number} of {uri}{SUMS} is not as sha256sum prints it")
        entries.append((match[2].removeprefix("./"), f"sha256:{match[1]}"))
    return entries


@contextlib.asynccontextmanager
async def open_https(uri: str, entry: SourceEntry, credential: Credential | None) -> AsyncIterator[ObjectSource]:
    """Open an HTTPS server for one fetch."""
    parts = urlsplit(uri)
    options = await asyncio.to_thread(_client_options, entry)
    if credential is not None:
        header = f"Bearer {credential.token}" if credential.token else credential.basic()
        options["default_headers"] = {"Authorization": header}
    scheme = "http" if entry.plain_http else "https"
    store = HTTPStore(f"{scheme}://{parts.netloc}", client_options=options, retry_config=_RETRY)
    yield ObjectSource(store, parts.path.strip("/"), uri, parts.path.endswith("/"), credential is not None)


@contextlib.asynccontextmanager
async def open_s3(uri: str, entry: SourceEntry, credential: Credential | None) -> AsyncIterator[ObjectSource]:
    """Open an S3 store for one fetch; without credentials requests are not signed and no metadata service is asked."""
    parts = urlsplit(uri)
    options = await asyncio.to_thread(_client_options, entry)
    config: dict[str, Any] = {"region": entry.region or "us-east-1"}
    if entry.endpoint is not None:
        config["endpoint"] = entry.endpoint
    if credential is None:
        config["skip_signature"] = True
    else:
        config |= {"access_key_id": credential.name, "secret_access_key": credential.secret}
        if credential.token:
            config["session_token"] = credential.token
    store = S3Store(parts.netloc, client_options=options, retry_config=_RETRY, **config)
    yield ObjectSource(store, parts.path.strip("/"), uri, True, credential is not None)


def _client_options(entry: SourceEntry) -> "ClientConfig":
    options: ClientConfig = {
        "connect_timeout": timedelta(seconds=5),
        "read_timeout": timedelta(seconds=30),
        "timeout": timedelta(hours=24),
        "user_agent": "sekisho-depot",
        "allow_http": entry.plain_http,
    }
    if entry.proxy is not None:
        options["proxy_url"] = entry.proxy
    if entry.ca_file is not None:
        try:
            options["root_certificate"] = Path(entry.ca_file).read_bytes()
        except OSError as error:
            raise RefusedError(
                Reason.CREDENTIALS_MISSING, f"the CA for {entry.prefix} cannot be read from {entry.ca_file}"
            ) from error
    return options


def _remote(meta: Any, path: str, digest: str | None) -> RemoteFile:
    return RemoteFile(path, int(meta["size"]), digest, str(meta.get("e_tag") or ""), str(meta["path"]))


@contextlib.contextmanager
def _translate(uri: str, *, with_credentials: bool) -> Iterator[None]:
    try:
        yield
    except (BaseError, OSError, ValueError) as error:
        raise _judge(uri, error, with_credentials=with_credentials) from None


def _judge(uri: str, error: Exception, *, with_credentials: bool) -> SekishoError:
    """Find the reason; what the library printed may hold signed addresses, so it is looked at and not repeated."""
    if isinstance(error, FileNotFoundError):
        return RefusedError(Reason.SOURCE_NOT_FOUND, f"{uri} was not found")
    if isinstance(error, PermissionDeniedError | UnauthenticatedError):
        hint = (
            "check the credentials in its Secret" if with_credentials else "it needs credentials; name a Secret for it"
        )
        return RefusedError(Reason.SOURCE_DENIED, f"{uri} denied access; {hint}")
    if isinstance(error, PreconditionError):
        return UnavailableError(Reason.SOURCE_UNREACHABLE, f"{uri} changed while it was read")
    text = str(error).lower()
    if match := _STATUS.search(text):
        return judge_status(int(match[1]), uri, "a request", with_credentials=with_credentials)
    for sign, why in _SIGNS:
        if sign in text:
            return UnavailableError(Reason.SOURCE_UNREACHABLE, f"{uri} cannot be reached: {why}")
    return UnavailableError(Reason.SOURCE_UNREACHABLE, f"{uri} cannot be read ({type(error).__name__})")


_SIGNS: Final = (
    ("certificate", "its certificate is not trusted; name its CA in depot.sources"),
    ("dns", "its name cannot be resolved"),
    ("connection refused", "Connection refused"),
    ("timed out", "it does not answer in time"),
    ("timedout", "it does not answer in time"),
    ("content-length", "it does not state the size of the file"),
    ("connect", "the connection failed"),
    ("body", "the connection broke off"),
)
