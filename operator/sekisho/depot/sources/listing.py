"""The interface of a source: it lists files, and it reads one from any byte on."""

import hashlib
from collections.abc import AsyncGenerator, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Final, Protocol

from sekisho.errors import Reason, RefusedError, SekishoError, UnavailableError

MAX_FILES: Final = 8200  # a sealed model has up to 8192 files, and five beside them
MAX_PATH: Final = 512


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file of a model where it comes from.

    Attributes:
        path: Where it goes below the model's folder.
        digest: "sha256:…" where the source or its list states it; None where only reading it will tell.
        version: Tag of this very content (an ETag); lets a broken read go on. Empty where the source has none.
        locator: How the source itself finds it.
    """

    path: str
    size: int
    digest: str | None
    version: str
    locator: str


@dataclass(frozen=True, slots=True)
class Listing:
    """The files of a model, and the digest of their manifest where the source has one."""

    digest: str | None
    files: tuple[RemoteFile, ...]


class Source(Protocol):
    """One place of weights, opened for one fetch."""

    async def list_files(self) -> Listing:
        """List the files; raise SekishoError with a reason of the weights family."""
        ...

    def read(self, file: RemoteFile, offset: int) -> AsyncGenerator[bytes, None]:
        """Yield the bytes from `offset` on; raise as `list_files` does."""
        ...


OpenSource = AbstractAsyncContextManager[Source]


def check_listing(files: Iterable[RemoteFile], *, limit_bytes: int, uri: str) -> tuple[RemoteFile, ...]:
    """Check paths and sizes before a byte is read.

    Raises:
        RefusedError: SourceInvalid or SizeExceeded.
    """
    checked = tuple(sorted(files, key=lambda file: file.path))
    if not checked:
        raise RefusedError(Reason.SOURCE_NOT_FOUND, f"{uri} holds no files")
    if len(checked) > MAX_FILES:
        raise RefusedError(Reason.SOURCE_INVALID, f"{uri} holds {len(checked)} files, {MAX_FILES} allowed")
    for file in checked:
        check_path(file.path, uri=uri)
    if len({file.path for file in checked}) != len(checked):
        raise RefusedError(Reason.SOURCE_INVALID, f"{uri} names a path twice")
    total = sum(file.size for file in checked)
    if total > limit_bytes:
        raise size_exceeded(uri, total, limit_bytes)
    return checked


def size_exceeded(uri: str, total: int, limit_bytes: int) -> RefusedError:
    """Say that weights are larger than stated or allowed."""
    return RefusedError(
        Reason.SIZE_EXCEEDED,
        f"{uri} holds {total} bytes, {limit_bytes} allowed; state the true size, or raise the depot's limit",
    )


def check_path(path: str, *, uri: str) -> None:
    """Refuse a path that would leave the model's folder or hide in it."""
    parts = path.split("/")
    if (
        not 0 < len(path) <= MAX_PATH
        or not path.isascii()
        or not path.isprintable()
        or "\\" in path
        or any(not part or part.startswith((".", " ")) for part in parts)
    ):
        raise RefusedError(
            Reason.SOURCE_INVALID,
            f"{uri} names the path {path[:80]!r}, which is absolute, climbs, is hidden or unusual",
        )


def digest_of_list(files: Iterable[tuple[str, str]]) -> str:
    """Return the digest of (path, "sha256:…") pairs as sha256sum would print them, sorted by path."""
    lines = "".join(f"{digest.removeprefix('sha256:')}  {path}\n" for path, digest in sorted(files))
    return f"sha256:{hashlib.sha256(lines.encode()).hexdigest()}"


def judge_status(status: int, uri: str, what: str, *, with_credentials: bool) -> SekishoError:
    """Turn an HTTP status of a source into a refusal or a failure for now."""
    if status in (401, 403):
        hint = (
            "check the credentials in its Secret" if with_credentials else "it needs credentials; name a Secret for it"
        )
        return RefusedError(Reason.SOURCE_DENIED, f"{uri} denied {what} with status {status}; {hint}")
    if status in (404, 410):
        return RefusedError(Reason.SOURCE_NOT_FOUND, f"{uri}: {what} was not found (status {status})")
    if status in (408, 425, 429) or status >= 500:
        return UnavailableError(Reason.SOURCE_UNREACHABLE, f"{uri} answered {what} with status {status}")
    return RefusedError(Reason.SOURCE_INVALID, f"{uri} answered {what} with status {status}")
