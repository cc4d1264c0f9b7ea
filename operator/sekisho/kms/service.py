"""What every key service does, and the checks that all of them share.

Wrapping binds the context {model, version, class}: the same bytes unwrap for no other model, version or class. What
unwraps is what the service says, never what `sekisho.key.json` says of itself: that file is not signed.
"""

from dataclasses import dataclass
from typing import Final, Protocol

from sekisho.errors import Reason, RefusedError
from sekisho.kms import failures
from sekisho.seal.keys import KeyContext, WrappedKey

DATA_KEY_BYTES: Final = 32
MAX_WRAPPED_BYTES: Final = 4096
DEFAULT_TIMEOUT_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyState:
    """Say what a key service knows about a key-encryption key now.

    Attributes:
        kms: Which service, as in `WrappedKey.kms`.
        key_id: Which key, as in `WrappedKey.key_id`.
        enabled: Whether a data key can be wrapped with it now.
        deleting: Whether it is going to be deleted, and would have to be brought back to open anything.
        latest_version: Number of the version that wraps; versions count from 1.
        minimum_version: Number of the oldest version that still unwraps.
        algorithm: What the service encrypts with, in the service's own words.
        unsafe: Whether the key-encryption key can leave the service or never was in one.
        detail: Why it is not enabled, or why it is unsafe; empty otherwise.
        usable: Numbers of the versions that unwrap now; None where the service has no way to end a single one.
    """

    kms: str
    key_id: str
    enabled: bool
    latest_version: int
    minimum_version: int
    algorithm: str
    unsafe: bool = False
    deleting: bool = False
    detail: str = ""
    usable: frozenset[int] | None = None


class KeyService(Protocol):
    """One key service. Calls block for at most the time in its settings, may come from several threads, try once.

    Every method raises `RefusedError` (KEY_NOT_FOUND, KEY_DENIED, KEY_DISABLED, KEY_VERSION_REVOKED, KEY_MISMATCH,
    KEY_UNSAFE) or `UnavailableError` (KMS_UNAVAILABLE), never anything of the client library. Whether `key_id` is the
    key that the model's owner named is for the caller to check.
    """

    def wrap(self, data_key: bytes, *, key_id: str, context: KeyContext) -> WrappedKey:
        """Encrypt a data key of 32 bytes with the newest version of a key, bound to the context."""
        ...

    def unwrap(self, wrapped: WrappedKey, *, context: KeyContext) -> bytes:
        """Return the data key; secret. Any other context than that of `wrap` is refused as KEY_MISMATCH."""
        ...

    def rewrap(self, wrapped: WrappedKey, *, context: KeyContext) -> WrappedKey:
        """Wrap the same data key with the newest version of the same key."""
        ...

    def describe(self, key_id: str) -> KeyState:
        """Read the state of a key; nothing secret."""
        ...


def check_data_key(data_key: bytes) -> None:
    """Refuse to wrap what is not a data key."""
    if len(data_key) != DATA_KEY_BYTES:
        raise RefusedError(Reason.SEAL_INVALID, f"a data key has {len(data_key)} bytes, {DATA_KEY_BYTES} are needed")


def check_wrapped(wrapped: WrappedKey, kms: str) -> None:
    """Refuse, before anybody is asked, what another service wrapped or what is too large to be a wrapped key."""
    if wrapped.kms != kms:
        raise failures.mismatch(kms, wrapped.key_id, f"was wrapped by {wrapped.kms[:32]!r}, not by {kms!r}")
    if not 1 <= len(wrapped.wrapped) <= MAX_WRAPPED_BYTES:
        text = f"has {len(wrapped.wrapped)} wrapped bytes, 1 to {MAX_WRAPPED_BYTES} are allowed"
        raise failures.mismatch(kms, wrapped.key_id, text)


def check_fresh(data: bytes, kms: str) -> bytes:
    """Refuse a wrapping that this house would not read back."""
    if not 1 <= len(data) <= MAX_WRAPPED_BYTES:
        raise failures.unavailable(kms, f"it wrapped into {len(data)} bytes, 1 to {MAX_WRAPPED_BYTES} are allowed")
    return data


def check_opened(data_key: bytes, wrapped: WrappedKey) -> bytes:
    """Return what was unwrapped where it has the length of a data key."""
    if len(data_key) != DATA_KEY_BYTES:
        text = f"unwraps to {len(data_key)} bytes, a data key has {DATA_KEY_BYTES}"
        raise failures.mismatch(wrapped.kms, wrapped.key_id, text)
    return data_key


def check_version(kms: str, key_id: str, version: int, minimum: int) -> None:
    """Refuse a version below the minimum that the owner set."""
    if version < minimum:
        raise failures.version_revoked(kms, key_id, f"version {version} wrapped it, {minimum} is the minimum")
