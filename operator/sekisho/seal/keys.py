"""The data key of a sealed model: what it is wrapped for, how its wrapped form is spelt, how it is recognised.

`sekisho.key.json` is not signed, so that a key can be wrapped anew without touching the weights. What it opens is
bound by the commitment in the signed manifest, and by the context that the key service authenticates.
"""

import base64
import hmac
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from sekisho.errors import Reason, RefusedError
from sekisho.seal.canonical import encode_canonical, parse_canonical
from sekisho.seal.facts import COMMITMENT_BYTES, FORMAT, KEY_BYTES, KEY_NAME, ModelIdentity
from sekisho.seal.fields import WORD, Fields

MAX_WRAPPED_BYTES: Final = 16 * 1024
MAX_KEY_FILE_BYTES: Final = 64 * 1024
_COMMITMENT_INFO: Final = b"sekisho-seal-v1 commitment"


@dataclass(frozen=True, slots=True)
class KeyContext:
    """What a data key is wrapped for; a key service opens it for the very same context only.

    Attributes:
        model: Name of the model.
        version: Version of the model.
        data_class: Class as displayed.
    """

    model: str
    version: int
    data_class: str

    @classmethod
    def of(cls, identity: ModelIdentity) -> "KeyContext":
        """Take the context from a manifest's model."""
        return cls(identity.name, identity.version, identity.data_class)

    def to_dict(self) -> dict[str, str]:
        """Spell the context as key services with named fields take it: all text."""
        return {"model": self.model, "version": str(self.version), "class": self.data_class}

    def encode(self) -> bytes:
        """Spell the context canonically, as associated data for key services that take bytes."""
        return encode_canonical(self.to_dict())


@dataclass(frozen=True, slots=True)
class WrappedKey:
    """A data key as only its key service can open it; not secret.

    Attributes:
        kms: Which kind of key service, "openbao".
        key_id: The key-encryption key there, "transit/legal".
        key_version: Its version, as that service spells it.
        wrapped: The opaque bytes that it returned.
    """

    kms: str
    key_id: str
    key_version: str
    wrapped: bytes


def encode_wrapped(key: WrappedKey) -> bytes:
    """Spell the content of `sekisho.key.json`.

    Raises:
        RefusedError: A part is empty or too long, so `parse_wrapped` would refuse it.
    """
    value = {
        "format": FORMAT,
        "keyId": key.key_id,
        "keyVersion": key.key_version,
        "kms": key.kms,
        "wrapped": base64.b64encode(key.wrapped).decode(),
    }
    data = encode_canonical(value)
    parse_wrapped(data)
    return data


def parse_wrapped(data: bytes) -> WrappedKey:
    """Read the content of `sekisho.key.json` strictly; only its key service can tell whether it is genuine."""
    value = parse_canonical(data, name=KEY_NAME, max_bytes=MAX_KEY_FILE_BYTES)
    fields = Fields.of(value, name=KEY_NAME, known=("format", "keyId", "keyVersion", "kms", "wrapped"))
    if value["format"] != FORMAT:
        raise fields.refuse("format", f"is not {FORMAT}")
    return WrappedKey(
        kms=fields.text("kms", pattern=WORD, most=64),
        key_id=fields.text("keyId", most=2048),
        key_version=fields.text("keyVersion", most=2048),
        wrapped=fields.base64("wrapped", most=MAX_WRAPPED_BYTES),
    )


def commit_key(data_key: bytes | bytearray) -> bytes:
    """Derive the commitment that tells this data key from every other without telling anything about it."""
    return derive(data_key, salt=b"", info=_COMMITMENT_INFO, length=COMMITMENT_BYTES)


def check_commitment(data_key: bytes | bytearray, commitment: bytes) -> None:
    """Check, in constant time, that `data_key` is the one the manifest was sealed with.

    Raises:
        RefusedError: It is another key.
    """
    if not hmac.compare_digest(commit_key(data_key), commitment):
        raise RefusedError(
            Reason.KEY_MISMATCH,
            "the data key is not the one this manifest was sealed with; its commitment differs: "
            "use the sekisho.key.json that belongs to this model and version",
        )


def derive(data_key: bytes | bytearray, *, salt: bytes, info: bytes, length: int) -> bytes:
    """Derive `length` bytes from a data key by HKDF-SHA256 (RFC 5869).

    Raises:
        RefusedError: The data key has not 32 bytes.
    """
    if len(data_key) != KEY_BYTES:
        raise RefusedError(Reason.KEY_MISMATCH, f"the data key has {len(data_key)} bytes, {KEY_BYTES} are needed")
    return HKDF(algorithm=hashes.SHA256(), length=length, salt=salt, info=info).derive(data_key)
