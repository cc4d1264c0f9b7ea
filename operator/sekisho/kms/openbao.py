"""Wrap with the transit engine of OpenBao or HashiCorp Vault.

The context is the request's associated data; a key made with `derived=true` derives its key from it as well. The server
holds both and refuses any other. Its own `rewrap` cannot take associated data, so rewrapping is decrypt and encrypt.
"""

import base64
import binascii
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sekisho.errors import SekishoError
from sekisho.kms import failures, service
from sekisho.kms.openbao_login import Login, Session
from sekisho.kms.openbao_wire import KMS, Answer, Wire
from sekisho.kms.service import DEFAULT_TIMEOUT_SECONDS, KeyState
from sekisho.seal.keys import KeyContext, WrappedKey

_KEY_ID: Final = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9._-]{0,63}/){1,8}[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_CIPHERTEXT: Final = re.compile(rb"vault:v([1-9][0-9]{0,8}):[A-Za-z0-9+/=]+")
_BINDING: Final = frozenset({"aes256-gcm96", "chacha20-poly1305", "xchacha20-poly1305"})
_RIGHTS: Final = {"keys": "read", "encrypt": "update", "decrypt": "update"}


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenBaoSettings:
    """Name the server and the way in.

    Attributes:
        address: https://host:port; http only on this machine.
        login: How to get a token.
        ca_file: Roots that may vouch for the server, instead of the system's.
        namespace: Of OpenBao or Vault Enterprise; empty for the root.
        timeout_seconds: For one request as a whole.
        minimum_version: Older versions are refused; the server's own `min_decryption_version` holds as well.
        allow_unsafe: Take keys that the server would export.
    """

    address: str
    login: Login
    ca_file: Path | None = None
    namespace: str = ""
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
    minimum_version: int = 1
    allow_unsafe: bool = False


class OpenBaoTransit:
    """Keys of transit engines on one server; a key's id is `mount/name`."""

    def __init__(self, settings: OpenBaoSettings) -> None:
        self._settings = settings
        self._wire = Wire(
            settings.address, ca_file=settings.ca_file, namespace=settings.namespace,
            timeout_seconds=settings.timeout_seconds,
        )  # fmt: skip
        self._session = Session(settings.login, self._wire)

    def wrap(self, data_key: bytes, *, key_id: str, context: KeyContext) -> WrappedKey:
        """Encrypt in the server, after a look at the key: encrypting with a name that is unknown would create it."""
        service.check_data_key(data_key)
        state = self.describe(key_id)
        if not state.enabled:
            raise failures.disabled(KMS, key_id, state.detail)
        if state.unsafe and not self._settings.allow_unsafe:
            raise failures.unsafe(KMS, key_id, state.detail)
        answer = self._ask("encrypt", key_id, {"plaintext": _encode(data_key), **_bind(context)})
        ciphertext = _read_text(answer, "ciphertext").encode()
        found = _CIPHERTEXT.fullmatch(ciphertext)
        if found is None:
            raise failures.unavailable(KMS, "what it encrypted is not a ciphertext of transit")
        version = found[1].decode()
        return WrappedKey(
            kms=KMS, key_id=key_id, key_version=version, wrapped=service.check_fresh(ciphertext, KMS)
        )  # fmt: skip

    def unwrap(self, wrapped: WrappedKey, *, context: KeyContext) -> bytes:
        """Decrypt in the server. The version that counts is the one in the ciphertext: the server goes by it."""
        service.check_wrapped(wrapped, KMS)
        found = _CIPHERTEXT.fullmatch(wrapped.wrapped)
        if found is None:
            raise failures.mismatch(KMS, wrapped.key_id)
        service.check_version(KMS, wrapped.key_id, int(found[1]), self._settings.minimum_version)
        ciphertext = wrapped.wrapped.decode()
        answer = self._ask("decrypt", wrapped.key_id, {"ciphertext": ciphertext, **_bind(context)})
        try:
            data_key = base64.b64decode(_read_text(answer, "plaintext"), validate=True)
        except (binascii.Error, ValueError):
            raise failures.unavailable(KMS, "what it decrypted is not base64") from None
        return service.check_opened(data_key, wrapped)

    def rewrap(self, wrapped: WrappedKey, *, context: KeyContext) -> WrappedKey:
        """Decrypt and encrypt: the data key passes through this process for a moment."""
        return self.wrap(self.unwrap(wrapped, context=context), key_id=wrapped.key_id, context=context)

    def describe(self, key_id: str) -> KeyState:
        """Read the key's settings."""
        data = self._ask("keys", key_id, None).data
        try:
            return _read_state(key_id, data, self._settings.minimum_version)
        except (KeyError, TypeError, ValueError, OverflowError):
            raise failures.unavailable(KMS, "what it says of the key is not what transit says") from None

    def _ask(self, operation: str, key_id: str, body: dict[str, str] | None) -> Answer:
        if len(key_id) > 256 or not _KEY_ID.fullmatch(key_id):
            raise failures.invalid_name(KMS, key_id, "MOUNT/NAME is needed, for example transit/legal")
        mount, _, name = key_id.rpartition("/")
        path = f"{mount}/{operation}/{name}"
        token = self._session.token()
        answer = self._send(path, body, token)
        if answer.status == 403 and self._session.forget(token):
            # a lease can end early when its accessor is revoked: one new login, then the answer stands
            answer = self._send(path, body, self._session.token())
        if answer.status != 200:
            raise _explain(answer, key_id, f'"{_RIGHTS[operation]}" on {path}')
        return answer

    def _send(self, path: str, body: dict[str, str] | None, token: str) -> Answer:
        return self._wire.call("GET" if body is None else "POST", path, body, token=token)


def _bind(context: KeyContext) -> dict[str, str]:
    bound = _encode(context.encode())
    # a key that is not derived ignores "context"
    return {"associated_data": bound, "context": bound}


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _read_text(answer: Answer, field: str) -> str:
    value = answer.data.get(field)
    if not isinstance(value, str):
        raise failures.unavailable(KMS, f"its answer lacks {field!r}")
    return value


def _read_state(key_id: str, data: dict[str, Any], minimum: int) -> KeyState:
    algorithm = str(data["type"])[:64]
    if algorithm not in _BINDING:
        raise failures.mismatch(KMS, key_id, f"cannot be: a key of type {algorithm!r} binds no associated data")
    exportable = bool(data.get("exportable")) or bool(data.get("allow_plaintext_backup"))
    deleted = bool(data.get("soft_deleted"))
    detail = "the server would export it (exportable or allow_plaintext_backup)" if exportable else ""
    return KeyState(
        kms=KMS, key_id=key_id, enabled=not deleted, latest_version=int(data["latest_version"]),
        minimum_version=max(int(data["min_decryption_version"]), minimum, 1),
        algorithm=algorithm + (" derived" if data.get("derived") else ""), unsafe=exportable,
        detail="it is soft-deleted" if deleted else detail,
    )  # fmt: skip


def _explain(answer: Answer, key_id: str, right: str) -> SekishoError:
    """Turn a refusal into ours; the server's words choose the reason and are not repeated."""
    if answer.status == 403:
        return failures.denied(KMS, key_id, right)
    if answer.status == 404 or answer.has_error("key not found"):
        return failures.not_found(KMS, key_id)
    if answer.has_error("soft-deleted"):
        return failures.disabled(KMS, key_id, "it is soft-deleted")
    if answer.has_error("too old"):
        return failures.version_revoked(KMS, key_id, "it is below the server's min_decryption_version")
    if answer.has_error("message authentication failed", "invalid ciphertext", "unable to decrypt"):
        return failures.mismatch(KMS, key_id)
    return failures.unavailable(KMS, f"it answered with status {answer.status}")
