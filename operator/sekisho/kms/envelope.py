"""The wrapped bytes where the service itself names neither key version nor context: AES-256-GCM, all of it bound.

    1 byte format (1) ‖ 8 bytes version of the key, big endian ‖ 12 bytes nonce ‖ ciphertext ‖ 16 bytes tag

Associated data: "sekisho-kms-v1" ‖ 0 ‖ the first nine bytes ‖ the context's canonical JSON. The nonce is random: by
NIST SP 800-38D section 8.3 a key takes 2^32 of them, and a key wraps once for each version of a model.
"""

from dataclasses import dataclass, field
from typing import Final

from sekisho.kms import failures
from sekisho.seal.keys import KeyContext, WrappedKey

NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
_FORMAT: Final = b"\x01"
_HEAD_BYTES: Final = 9
_LABEL: Final = b"sekisho-kms-v1\0"


@dataclass(frozen=True, slots=True)
class Envelope:
    """One wrapped data key with what is needed to find its key.

    Attributes:
        version: Number of the key's version.
        nonce: 12 bytes.
        sealed: Ciphertext and tag.
    """

    version: int
    nonce: bytes
    sealed: bytes = field(repr=False)

    @classmethod
    def parse(cls, wrapped: WrappedKey) -> "Envelope":
        """Take the bytes apart; nothing is authenticated yet."""
        data = wrapped.wrapped
        if data[:1] != _FORMAT or len(data) <= _HEAD_BYTES + NONCE_BYTES + _TAG_BYTES:
            raise failures.mismatch(wrapped.kms, wrapped.key_id)
        end = _HEAD_BYTES + NONCE_BYTES
        return cls(int.from_bytes(data[1:_HEAD_BYTES], "big"), data[_HEAD_BYTES:end], data[end:])

    def encode(self) -> bytes:
        """Put the bytes together."""
        return self._head() + self.nonce + self.sealed

    def bind(self, context: KeyContext) -> bytes:
        """Return the associated data."""
        return _LABEL + self._head() + context.encode()

    def _head(self) -> bytes:
        return _FORMAT + self.version.to_bytes(_HEAD_BYTES - 1, "big")
