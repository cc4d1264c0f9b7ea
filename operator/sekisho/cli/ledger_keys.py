"""Keys of logs and witnesses, as files name them."""

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from sekisho.cli.failures import refuse
from sekisho.errors import Reason, RefusedError
from sekisho.ledger.handover import find_successor
from sekisho.ledger.notes import COSIGNATURE, ED25519, Note, NoteKey, check_name, parse_key, parse_note
from sekisho.ledger.tiles import CHECKPOINT
from sekisho.ledger.verify import name_key
from sekisho.recording.reading import LogFiles

_MAX_BYTES: Final = 64 << 10


@dataclass(frozen=True, slots=True)
class LogKeys:
    """Whose logs count.

    Attributes:
        named: Under the names of writers; each counts for its own logs.
        bare: Public keys that count whatever the log is called.
    """

    named: tuple[NoteKey, ...]
    bare: tuple[bytes, ...]

    def find(self, origin: str, note: Note) -> NoteKey:
        """Return the key that a log's checkpoint says it is signed by, under the log's name.

        Raises:
            RefusedError: SignerNotTrusted; none of the keys is for this log.
        """
        found = [NoteKey(origin, ED25519, public) for public in self.bare]
        mine = (key for key in self.named if key.name == origin or origin.startswith(f"{key.name}/"))
        found += [name_key(key, origin) for key in mine]
        if not found:
            names = ", ".join(key.name for key in self.named)
            raise RefusedError(
                Reason.SIGNER_NOT_TRUSTED,
                f"no key was given for the log {origin[:255]!r}; there are keys of {names}; give its log.pub "
                "by --key too",
            )
        # The end of a log that was handed over bears two signatures, its own key's first.
        said = [key for line in note.signatures for key in found if line.is_by(key)]
        return (said or found)[0]

    def learn(self, logs: Iterable[LogFiles]) -> "LogKeys":
        """Return these keys, and those that logs under them were handed over to; broken logs are told of elsewhere."""
        keys = self
        for log in sorted(logs, key=lambda log: log.head.origin):
            with contextlib.suppress(RefusedError):
                note = parse_note(log.read(CHECKPOINT) or b"")
                successor = find_successor(log.read, keys.find(log.head.origin, note))
                keys = keys if successor is None else replace(keys, named=(*keys.named, successor))
        return keys


def read_log_keys(files: Sequence[Path]) -> LogKeys:
    """Read the files of --key: verifier keys of logs, or public keys in PEM.

    Raises:
        OSError: A file cannot be read.
        RefusedError: KeyMismatch; a file holds something else.
    """
    named: list[NoteKey] = []
    bare: list[bytes] = []
    for file in files:
        data = read_small(file)
        if b"-----BEGIN" in data:
            bare.append(_load_public(data, file))
        else:
            named += _parse_keys(data, file, ED25519, "a log")
    return LogKeys(tuple(named), tuple(bare))


def read_witnesses(files: Sequence[Path]) -> tuple[NoteKey, ...]:
    """Read the files of --witness: verifier keys of witnesses, one a line.

    Raises:
        OSError: A file cannot be read.
        RefusedError: KeyMismatch; a file holds something else.
    """
    return tuple(key for file in files for key in _parse_keys(read_small(file), file, COSIGNATURE, "a witness"))


def describe_key(given: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Return the verifier key of a key in PEM."""
    data = read_small(given["key"])
    if b"PRIVATE KEY" in data:
        public = load_private(given["key"]).public_key().public_bytes_raw()
    else:
        public = _load_public(data, given["key"])
    kind = COSIGNATURE if given["is_witness"] else ED25519
    key = NoteKey(check_name(given["name"]), kind, public)
    return {"key": key.encode(), "name": key.name, "id": key.id.hex()}, key.encode()


def load_private(file: Path) -> Ed25519PrivateKey:
    """Load a private key; secret.

    Raises:
        OSError: The file cannot be read.
        RefusedError: KeyMismatch; it is none of this kind.
    """
    try:
        key = load_pem_private_key(read_small(file), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise refuse(f"{file} is no Ed25519 private key in PEM without a passphrase", reason=Reason.KEY_MISMATCH)
    return key


def read_small(file: Path) -> bytes:
    """Read a file that cannot be large.

    Raises:
        OSError: It cannot be read.
        RefusedError: KeyMismatch; it is larger than 64 KiB.
    """
    with file.open("rb") as stream:
        data = stream.read(_MAX_BYTES + 1)
    if len(data) > _MAX_BYTES:
        raise refuse(f"{file} is larger than {_MAX_BYTES} bytes", reason=Reason.KEY_MISMATCH)
    return data


def _load_public(data: bytes, file: Path) -> bytes:
    try:
        key = load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise refuse(f"{file} is no Ed25519 public key in PEM", reason=Reason.KEY_MISMATCH)
    return key.public_bytes_raw()


def _parse_keys(data: bytes, file: Path, kind: int, whose: str) -> list[NoteKey]:
    try:
        keys = [parse_key(line) for line in data.decode("utf-8", "replace").splitlines() if line.strip()]
    except RefusedError as error:
        raise refuse(f"{file} holds no verifier keys of {whose}: {error.message}", reason=error.reason) from None
    if not keys or any(key.kind != kind for key in keys):
        raise refuse(f"{file} holds something else than verifier keys of {whose}", reason=Reason.KEY_MISMATCH)
    return keys
