"""Wrap inside a hardware security module over PKCS#11 (client: python-pkcs11).

The key is an AES-256 secret key that never leaves the token; it encrypts with CKM_AES_GCM and the context as associated
data, so the token itself refuses another context. CKM_AES_KEY_WRAP_KWP is not used: it has no associated data.

A key's versions are the secret keys of one label; the version's number is CKA_ID read as a big-endian number. A version
is revoked by its destruction or by CKA_DECRYPT false.
"""

import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sekisho.errors import RefusedError
from sekisho.kms import failures, service
from sekisho.kms.envelope import NONCE_BYTES, Envelope
from sekisho.kms.service import KeyState
from sekisho.seal.keys import KeyContext, WrappedKey

KMS: Final = "pkcs11"
_LABEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_MAX_VERSIONS: Final = 256
_MAX_ID_BYTES: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Pkcs11Settings:
    """Name the module and the token.

    Attributes:
        module: The vendor's PKCS#11 library. It is code: whoever may write there is us.
        token: The token's label.
        pin_file: The user's PIN. A PIN that was refused is not tried again until the file changes: tokens lock.
        minimum_version: Older versions are refused.
        allow_unsafe: Take keys that the token would hand out.
    """

    module: Path
    token: str
    pin_file: Path
    minimum_version: int = 1
    allow_unsafe: bool = False


@dataclass(frozen=True, slots=True)
class _Version:
    number: int
    key: Any
    encrypts: bool
    decrypts: bool
    leaves: bool


class Pkcs11Keys:
    """Keys of one token; a key's id is its label. Time limits are the vendor library's own."""

    def __init__(self, settings: Pkcs11Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._refused_pin = ""

    def wrap(self, data_key: bytes, *, key_id: str, context: KeyContext) -> WrappedKey:
        """Encrypt in the token with the version of the highest number."""
        service.check_data_key(data_key)
        with self.open_session(key_id) as session:
            newest = max(_list_versions(session, key_id), key=_number)
            if newest.leaves and not self._settings.allow_unsafe:
                raise failures.unsafe(KMS, key_id, "it is not sensitive, or is extractable")
            if not newest.encrypts:
                raise failures.disabled(KMS, key_id, f"CKA_ENCRYPT of version {newest.number} is false")
            service.check_version(KMS, key_id, newest.number, self._settings.minimum_version)
            nonce = os.urandom(NONCE_BYTES)
            aad = Envelope(newest.number, nonce, b"").bind(context)
            sealed = newest.key.encrypt(data_key, **_gcm(nonce, aad))
        data = service.check_fresh(Envelope(newest.number, nonce, sealed).encode(), KMS)
        return WrappedKey(kms=KMS, key_id=key_id, key_version=str(newest.number), wrapped=data)

    def unwrap(self, wrapped: WrappedKey, *, context: KeyContext) -> bytes:
        """Decrypt in the token."""
        service.check_wrapped(wrapped, KMS)
        envelope = Envelope.parse(wrapped)
        key_id = wrapped.key_id
        service.check_version(KMS, key_id, envelope.version, self._settings.minimum_version)
        with self.open_session(key_id, decrypts=True) as session:
            found = {version.number: version for version in _list_versions(session, key_id)}
            version = found.get(envelope.version)
            if version is None:
                raise _explain_absent(key_id, envelope.version, max(found))
            if not version.decrypts:
                raise _explain_disabled(key_id, envelope.version, max(found))
            data_key = version.key.decrypt(envelope.sealed, **_gcm(envelope.nonce, envelope.bind(context)))
        return service.check_opened(data_key, wrapped)

    def rewrap(self, wrapped: WrappedKey, *, context: KeyContext) -> WrappedKey:
        """Decrypt and encrypt: the data key passes through this process for a moment."""
        return self.wrap(self.unwrap(wrapped, context=context), key_id=wrapped.key_id, context=context)

    def describe(self, key_id: str) -> KeyState:
        """Read the attributes of the versions."""
        with self.open_session(key_id) as session:
            versions = _list_versions(session, key_id)
            newest = max(versions, key=_number)
            usable = [version.number for version in versions if version.decrypts]
        detail = "it is not sensitive, or is extractable" if newest.leaves else ""
        return KeyState(
            kms=KMS, key_id=key_id, enabled=newest.encrypts, latest_version=newest.number,
            minimum_version=max(min(usable, default=newest.number), self._settings.minimum_version),
            usable=frozenset(usable), algorithm="CKM_AES_GCM", unsafe=newest.leaves,
            detail=detail if newest.encrypts else f"CKA_ENCRYPT of version {newest.number} is false",
        )  # fmt: skip

    @contextmanager
    def open_session(self, key_id: str, *, decrypts: bool = False) -> Iterator[Any]:
        """Log in, one caller at a time, and turn what the library raises into our refusals."""
        if not _LABEL.fullmatch(key_id):
            raise failures.invalid_name(KMS, key_id, "a label of letters, digits, dot, dash and underscore is needed")
        pkcs11 = load_client()
        pin = failures.read_secret_file(KMS, self._settings.pin_file)
        with self._lock:
            if pin == self._refused_pin:
                raise failures.denied(KMS, key_id, "a PIN that the token accepts; it refused this one before")
            try:
                with self._log_in(pkcs11, pin) as session:
                    yield session
            except pkcs11.PinIncorrect:
                self._refused_pin = pin
                raise failures.denied(KMS, key_id, "the user PIN; the token refused the one in the file") from None
            except (pkcs11.PKCS11Error, RuntimeError) as error:
                raise _explain(pkcs11, error, key_id, decrypts=decrypts) from None

    def _log_in(self, pkcs11: Any, pin: str) -> Any:
        if not self._settings.module.is_file():
            raise failures.unavailable(KMS, f"there is no library {self._settings.module}")
        token = pkcs11.lib(str(self._settings.module)).get_token(token_label=self._settings.token)
        try:
            return token.open(user_pin=pin)
        except pkcs11.UserAlreadyLoggedIn:
            # another service on the same token in this process: the login belongs to the process
            return token.open()


def load_client() -> Any:
    """Import the client library; only who uses a token has it."""
    try:
        import pkcs11  # noqa: PLC0415 -- only who uses a token has its client
    except ImportError:
        raise failures.not_installed(KMS, "kms-pkcs11") from None
    return pkcs11


def _gcm(nonce: bytes, aad: bytes) -> dict[str, Any]:
    pkcs11 = load_client()
    return {"mechanism": pkcs11.Mechanism.AES_GCM, "mechanism_param": pkcs11.GCMParams(nonce, aad, 128)}


def _list_versions(session: Any, key_id: str) -> list[_Version]:
    from pkcs11 import Attribute, KeyType, ObjectClass  # noqa: PLC0415

    wanted = {Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.KEY_TYPE: KeyType.AES, Attribute.LABEL: key_id}
    keys = []
    for key in session.get_objects(wanted):
        keys.append(key)
        if len(keys) > _MAX_VERSIONS:
            raise failures.unavailable(KMS, f"more than {_MAX_VERSIONS} keys have this label")
    versions = [_read_version(key, Attribute) for key in keys if 0 < len(key[Attribute.ID]) <= _MAX_ID_BYTES]
    if not versions:
        raise failures.not_found(KMS, key_id)
    if len({version.number for version in versions}) != len(versions):
        raise failures.unavailable(KMS, "two keys of this label have the same CKA_ID")
    return versions


def _read_version(key: Any, attribute: Any) -> _Version:
    return _Version(
        number=int.from_bytes(key[attribute.ID], "big"),
        key=key,
        encrypts=bool(key[attribute.ENCRYPT]),
        decrypts=bool(key[attribute.DECRYPT]),
        leaves=bool(key[attribute.EXTRACTABLE]) or not bool(key[attribute.SENSITIVE]),
    )


def _number(version: _Version) -> int:
    return version.number


def _explain_absent(key_id: str, version: int, newest: int) -> RefusedError:
    if version < newest:
        return failures.version_revoked(KMS, key_id, f"version {version} is not in the token any more")
    return failures.mismatch(KMS, key_id)


def _explain_disabled(key_id: str, version: int, newest: int) -> RefusedError:
    if version < newest:
        return failures.version_revoked(KMS, key_id, f"CKA_DECRYPT of version {version} is false")
    return failures.disabled(KMS, key_id, f"CKA_DECRYPT of version {version} is false")


def _explain(pkcs11: Any, error: Exception, key_id: str, *, decrypts: bool) -> Exception:
    """Turn an error of the library into ours; only its class name is told."""
    denied = (pkcs11.PinLocked, pkcs11.PinExpired, pkcs11.PinInvalid, pkcs11.PinLenRange, pkcs11.UserPinNotInitialized)
    if isinstance(error, denied):
        return failures.denied(KMS, key_id, f"a working user PIN ({type(error).__name__})")
    changed = (pkcs11.EncryptedDataInvalid, pkcs11.EncryptedDataLenRange, pkcs11.GeneralError)
    if decrypts and isinstance(error, changed):
        # SoftHSM answers CKR_GENERAL_ERROR where the tag does not fit
        return failures.mismatch(KMS, key_id)
    return failures.unavailable(KMS, f"the token failed ({type(error).__name__})")
