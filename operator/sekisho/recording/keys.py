"""The two keys of a ledger: one signs, the other makes digests of bodies. Both are secret, and told nobody."""

import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from sekisho.errors import Reason, UnavailableError
from sekisho.ledger.notes import ED25519, NoteKey

BODY_KEY: Final = "body.key"
LOG_KEY: Final = "log.key"
PUBLIC_KEY: Final = "log.pub"
_BODY_BYTES: Final = 32
_MAX_BYTES: Final = 16 << 10
_MAX_PUBLIC: Final = 64


@dataclass(frozen=True, slots=True)
class LogKey:
    """The key that signs for a writer's logs; secret."""

    secret: Ed25519PrivateKey = field(repr=False)

    def named(self, name: str) -> NoteKey:
        """Return the public key under the name of a log."""
        return NoteKey(name, ED25519, self.secret.public_key().public_bytes_raw())

    def sign(self, message: bytes) -> bytes:
        """Sign."""
        return self.secret.sign(message)


def read_body_key(folder: Path) -> bytes:
    """Return the key of this installation's digests of bodies; made once.

    Raises:
        OSError: The disk.
        UnavailableError: RecordUnavailable; the file is not as it was made.
    """
    key = _read_or_make(folder / BODY_KEY, lambda: secrets.token_bytes(_BODY_BYTES))
    if len(key) != _BODY_BYTES:
        raise UnavailableError(
            Reason.RECORD_UNAVAILABLE, f"{BODY_KEY} has {len(key)} bytes, {_BODY_BYTES} expected; restore or remove it"
        )
    return key


def read_log_key(folder: Path, given: Path | None) -> LogKey:
    """Return the key that signs: the one that was given, or else one of this folder's own, made once.

    Raises:
        OSError: The disk.
        UnavailableError: RecordUnavailable; the file holds no Ed25519 private key in PEM.
    """
    if given is not None:
        return _load(given.read_bytes(), given.name)
    return make_log_key(folder / LOG_KEY)


def read_keys_before(folder: Path, given: Path | None, before: Path | None) -> tuple[LogKey, ...]:
    """Return keys that signed before: the one that was given as such, and this folder's own where another signs now.

    Raises:
        OSError: The disk.
        UnavailableError: RecordUnavailable; a file holds no Ed25519 private key in PEM.
    """
    own = folder / LOG_KEY if given is not None else None
    return tuple(_load(path.read_bytes(), path.name) for path in (before, own) if path is not None and path.exists())


def write_public(folder: Path, key: NoteKey) -> None:
    """Write the verifier key of a folder's logs first; those of before stay below, for the logs that they signed.

    Raises:
        OSError: The disk.
    """
    path, line = folder / PUBLIC_KEY, f"{key.encode()}\n".encode()
    known = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    if known[:1] != [line]:
        write_whole(path, b"".join([line, *(item for item in known if item != line)][:_MAX_PUBLIC]))


def make_log_key(path: Path) -> LogKey:
    """Return the key of a file, made where there is none.

    Raises:
        OSError: The disk.
        UnavailableError: RecordUnavailable; the file holds no Ed25519 private key in PEM.
    """
    return _load(_read_or_make(path, _make_log_key), path.name)


def _load(data: bytes, name: str) -> LogKey:
    try:
        key = load_pem_private_key(data[:_MAX_BYTES], None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise UnavailableError(
            Reason.RECORD_UNAVAILABLE,
            f"{name} is no Ed25519 private key in PEM without a passphrase (openssl genpkey -algorithm ed25519)",
        )
    return LogKey(key)


def _make_log_key() -> bytes:
    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _read_or_make(path: Path, make: Callable[[], bytes]) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        write_whole(path, make(), mode=0o600)
    with path.open("rb") as file:
        return file.read(_MAX_BYTES)


def write_whole(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Write a file that is there whole and durably, or not at all."""
    fresh = path.with_name(f"{path.name}.new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        write_all(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    fresh.rename(path)
    sync_folder(path.parent)


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of it, however many calls that takes."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def sync_folder(folder: Path) -> None:
    """Wait until the disk knows the names in a folder."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
