"""Wrap with a key in a local file. For tests and laptops only: whoever reads the file has every model.

Production settings refuse it: the constructor raises KEY_UNSAFE unless `allow_unsafe` was asked for by name.
"""

import json
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sekisho.kms import failures, service
from sekisho.kms.envelope import NONCE_BYTES, Envelope
from sekisho.kms.service import KeyState
from sekisho.seal.keys import KeyContext, WrappedKey

KMS: Final = "unsafe-development"
_WARNING: Final = "development only: whoever reads this file can open every model sealed with it"
_MAX_FILE_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class UnsafeDevelopmentSettings:
    """Name the file.

    Attributes:
        file: Made by `create_unsafe_key`; the key's id is its name without the suffix.
        allow_unsafe: Must be true, or nothing works.
        minimum_version: Older versions are refused; the file may demand more.
    """

    file: Path
    allow_unsafe: bool = False
    minimum_version: int = 1


@dataclass(frozen=True, slots=True)
class _KeyFile:
    enabled: bool
    minimum: int
    versions: dict[int, bytes] = field(repr=False)

    @property
    def latest(self) -> int:
        return max(self.versions)


class UnsafeDevelopmentKeys:
    """The key service that is none."""

    def __init__(self, settings: UnsafeDevelopmentSettings) -> None:
        if not settings.allow_unsafe:
            text = "it is a file on a disk; production needs openbao, pkcs11, aws, gcp or azure"
            raise failures.unsafe(KMS, settings.file.stem, text)
        self._settings = settings

    def wrap(self, data_key: bytes, *, key_id: str, context: KeyContext) -> WrappedKey:
        """Encrypt with AES-256-GCM here."""
        service.check_data_key(data_key)
        keys = self._read(key_id)
        if not keys.enabled:
            raise failures.disabled(KMS, key_id, "the file says so")
        nonce = secrets.token_bytes(NONCE_BYTES)
        envelope = Envelope(keys.latest, nonce, b"")
        sealed = AESGCM(keys.versions[keys.latest]).encrypt(nonce, data_key, envelope.bind(context))
        data = Envelope(keys.latest, nonce, sealed).encode()
        return WrappedKey(kms=KMS, key_id=key_id, key_version=str(keys.latest), wrapped=data)

    def unwrap(self, wrapped: WrappedKey, *, context: KeyContext) -> bytes:
        """Decrypt here."""
        service.check_wrapped(wrapped, KMS)
        envelope = Envelope.parse(wrapped)
        keys = self._read(wrapped.key_id)
        if not keys.enabled:
            raise failures.disabled(KMS, wrapped.key_id, "the file says so")
        service.check_version(KMS, wrapped.key_id, envelope.version, keys.minimum)
        if envelope.version not in keys.versions:
            raise failures.mismatch(KMS, wrapped.key_id)
        try:
            key = AESGCM(keys.versions[envelope.version])
            data_key = key.decrypt(envelope.nonce, envelope.sealed, envelope.bind(context))
        except InvalidTag:
            raise failures.mismatch(KMS, wrapped.key_id) from None
        return service.check_opened(data_key, wrapped)

    def rewrap(self, wrapped: WrappedKey, *, context: KeyContext) -> WrappedKey:
        """Decrypt and encrypt here."""
        return self.wrap(self.unwrap(wrapped, context=context), key_id=wrapped.key_id, context=context)

    def describe(self, key_id: str) -> KeyState:
        """Read the file."""
        keys = self._read(key_id)
        return KeyState(
            kms=KMS, key_id=key_id, enabled=keys.enabled, latest_version=keys.latest, minimum_version=keys.minimum,
            algorithm="AES-256-GCM", unsafe=True, detail=_WARNING,
        )  # fmt: skip

    def _read(self, key_id: str) -> _KeyFile:
        if key_id != self._settings.file.stem:
            raise failures.not_found(KMS, key_id)
        keys = _read_file(self._settings.file)
        return _KeyFile(keys.enabled, max(keys.minimum, self._settings.minimum_version), keys.versions)


def create_unsafe_key(file: Path) -> None:
    """Write a new development key that only this user can read; an existing file is never replaced."""
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as out:
        out.write(_spell(_KeyFile(enabled=True, minimum=1, versions={1: secrets.token_bytes(32)})))


def rotate_unsafe_key(file: Path) -> int:
    """Add a version, whole or not at all, and return its number."""
    keys = _read_file(file)
    latest = keys.latest + 1
    part = file.with_suffix(".part")
    part.unlink(missing_ok=True)
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as out:
        out.write(_spell(_KeyFile(keys.enabled, keys.minimum, keys.versions | {latest: secrets.token_bytes(32)})))
    part.replace(file)
    return latest


def _spell(keys: _KeyFile) -> str:
    versions = {str(number): key.hex() for number, key in keys.versions.items()}
    shape = {"warning": _WARNING, "enabled": keys.enabled, "minimumVersion": keys.minimum, "versions": versions}
    return json.dumps(shape, indent=1) + "\n"


def _read_file(file: Path) -> _KeyFile:
    try:
        with file.open("rb") as handle:
            value: Any = json.loads(handle.read(_MAX_FILE_BYTES))
        versions = {int(number): bytes.fromhex(key) for number, key in value["versions"].items()}
        keys = _KeyFile(bool(value["enabled"]), int(value["minimumVersion"]), versions)
    except FileNotFoundError:
        raise failures.not_found(KMS, file.stem) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise failures.unavailable(KMS, f"{file.name} is not a file of development keys") from None
    if not versions or min(versions) < 1 or any(len(key) != 32 for key in versions.values()):
        raise failures.unavailable(KMS, f"{file.name} is not a file of development keys")
    return keys
