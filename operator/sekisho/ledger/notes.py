"""Signed notes and verifier keys as c2sp.org/signed-note has them, for Ed25519 alone."""

import base64
import binascii
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from sekisho.errors import Reason, RefusedError

ED25519: Final = 0x01
COSIGNATURE: Final = 0x04
MAX_NOTE: Final = 64 << 10
MAX_SIGNATURES: Final = 64
_KEY_BYTES: Final = 32
_ID_BYTES: Final = 4
_DASH: Final = "\u2014 "
_KINDS: Final = {ED25519: "a log", COSIGNATURE: "a witness"}
Sign = Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True)
class NoteKey:
    """A public key under a name.

    Attributes:
        name: Without spaces and plus signs.
        kind: ED25519 for the signature of a log, COSIGNATURE for a witness's.
        public: 32 bytes.
    """

    name: str
    kind: int
    public: bytes

    @property
    def id(self) -> bytes:
        """Four bytes that name the key; no more than a name."""
        return hashlib.sha256(self.name.encode() + b"\n" + bytes([self.kind]) + self.public).digest()[:_ID_BYTES]

    def encode(self) -> str:
        """Return the verifier key as one line of text."""
        return f"{self.name}+{self.id.hex()}+{base64.b64encode(bytes([self.kind]) + self.public).decode()}"

    def verifies(self, message: bytes, signature: bytes) -> bool:
        """Tell whether this key made a signature."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """One line under a note.

    Attributes:
        key_id: Four bytes.
        value: What the key made; of a witness, its time in front.
    """

    name: str
    key_id: bytes
    value: bytes

    def encode(self) -> str:
        """Return the line, with its line break."""
        return f"{_DASH}{self.name} {base64.b64encode(self.key_id + self.value).decode()}\n"

    def is_by(self, key: NoteKey) -> bool:
        """Tell whether the line says that it is a key's; it proves nothing."""
        return self.name == key.name and self.key_id == key.id


@dataclass(frozen=True, slots=True)
class Note:
    """Text, and the signatures that stand under it; nothing of it is verified.

    Attributes:
        text: With its last line break.
    """

    text: str
    signatures: tuple[NoteSignature, ...]

    def encode(self) -> str:
        """Return the note as a file has it."""
        return self.text + "\n" + "".join(item.encode() for item in self.signatures)


def check_name(name: str) -> str:
    """Return a name that a key may have.

    Raises:
        RefusedError: InvalidSpec.
    """
    if not name or len(name) > 255 or "+" in name or not name.isprintable() or any(char.isspace() for char in name):
        raise RefusedError(
            Reason.INVALID_SPEC, f"{name[:64]!r} cannot name a key: 1 to 255 signs, no spaces and no plus sign"
        )
    return name


def parse_key(text: str) -> NoteKey:
    """Read a verifier key: NAME+ID+KEY.

    Raises:
        RefusedError: KeyMismatch; it is none, or its parts are not of one key.
    """
    name, *rest = text.strip().split("+", 2)
    if len(rest) != 2:
        raise RefusedError(Reason.KEY_MISMATCH, "a verifier key reads NAME+ID+KEY; this is none")
    data = decode_base64(rest[1])
    if data is None or len(data) != 1 + _KEY_BYTES or data[0] not in _KINDS:
        raise RefusedError(
            Reason.KEY_MISMATCH, f"the verifier key of {name[:64]} is no Ed25519 key of a log or witness"
        )
    key = NoteKey(check_name(name), data[0], data[1:])
    if key.id.hex() != rest[0]:
        raise RefusedError(
            Reason.KEY_MISMATCH, f"the verifier key of {name} says its id is {rest[0][:16]}, it is {key.id.hex()}"
        )
    return key


def parse_note(data: bytes) -> Note:
    """Read a note; verify nothing.

    Raises:
        RefusedError: SignatureInvalid; it is none.
    """
    if len(data) > MAX_NOTE:
        raise _no_note(f"has {len(data)} bytes, {MAX_NOTE} are allowed")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise _no_note("is not UTF-8") from None
    if any(char < " " and char != "\n" for char in text):
        raise _no_note("holds control characters")
    body, middle, tail = text.rpartition("\n\n")
    lines = tail.split("\n")
    if not middle or not body or lines.pop():
        raise _no_note("has no signatures below an empty line")
    if len(lines) > MAX_SIGNATURES:
        raise _no_note(f"has {len(lines)} signatures, {MAX_SIGNATURES} are allowed")
    return Note(body + "\n", tuple(parse_signature(line) for line in lines))


def parse_signature(line: str) -> NoteSignature:
    """Read one signature line without its line break.

    Raises:
        RefusedError: SignatureInvalid; it is none.
    """
    name, middle, value = line.removeprefix(_DASH).partition(" ")
    data = decode_base64(value)
    if not line.startswith(_DASH) or not name or "+" in name or not middle or data is None or len(data) <= _ID_BYTES:
        raise _no_note("has a line among its signatures that is none")
    return NoteSignature(name, data[:_ID_BYTES], data[_ID_BYTES:])


def sign_note(text: str, key: NoteKey, sign: Sign) -> Note:
    """Return a note with the signature of a log's key."""
    return Note(text, (NoteSignature(key.name, key.id, sign(text.encode())),))


def verify_note(note: Note, key: NoteKey) -> None:
    """Verify that a log's key signed a note.

    Raises:
        RefusedError: SignerNotTrusted where no signature is by this key, SignatureInvalid where one only says so.
    """
    found = [item for item in note.signatures if item.is_by(key)]
    if not found:
        told = ", ".join(sorted({f"{item.name} ({item.key_id.hex()})" for item in note.signatures}))
        raise RefusedError(
            Reason.SIGNER_NOT_TRUSTED, f"no signature is by {key.name} ({key.id.hex()}); there are those of {told}"
        )
    if not all(key.verifies(note.text.encode(), item.value) for item in found):
        raise RefusedError(
            Reason.SIGNATURE_INVALID, f"the signature of {key.name} ({key.id.hex()}) does not fit the text above it"
        )


def decode_base64(text: str) -> bytes | None:
    """Return the bytes of a text in the one spelling that base64 has for them; None where it is none."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return data if base64.b64encode(data).decode() == text else None


def _no_note(text: str) -> RefusedError:
    return RefusedError(Reason.SIGNATURE_INVALID, f"the signed note {text}")
