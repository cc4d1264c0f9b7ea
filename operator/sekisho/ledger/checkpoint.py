"""Checkpoints, cosignatures of witnesses, and proofs, in the text forms of c2sp.org: tlog-checkpoint and its kin."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sekisho.errors import Reason, RefusedError
from sekisho.ledger.merkle import HASH_BYTES, MAX_PROOF, verify_consistency, verify_inclusion
from sekisho.ledger.notes import (
    COSIGNATURE,
    Note,
    NoteKey,
    NoteSignature,
    Sign,
    decode_base64,
    parse_note,
    sign_note,
    verify_note,
)

PROOF_HEAD: Final = "c2sp.org/tlog-proof@v1"
MAX_SIZE: Final = 1 << 48
_TIME_BYTES: Final = 8
_MAX_DIGITS: Final = 15


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The head of a log.

    Attributes:
        origin: Which log.
        size: Number of its entries.
        root: Of the tree over them.
    """

    origin: str
    size: int
    root: bytes

    def encode(self) -> str:
        """Return the text that is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    def __str__(self) -> str:
        return f"{self.size} entries, root {self.root.hex()[:16]}"


@dataclass(frozen=True, slots=True)
class Cosigned:
    """What a witness said of a checkpoint.

    Attributes:
        at: Unix second at which the witness had seen no larger tree.
    """

    witness: str
    at: int


def parse_checkpoint(text: str) -> Checkpoint:
    """Read the text of a checkpoint; lines of extensions are passed over.

    Raises:
        RefusedError: RecordBroken.
    """
    lines = text.split("\n")
    if len(lines) < 4 or not all(lines[:-1]) or lines[-1]:
        raise _no_checkpoint("it has not the lines origin, size and root")
    size, root = parse_number(lines[1]), decode_base64(lines[2])
    if size is None:
        raise _no_checkpoint("its size is no number")
    if root is None or len(root) != HASH_BYTES:
        raise _no_checkpoint("its root is no hash")
    return Checkpoint(lines[0], size, root)


def sign_checkpoint(checkpoint: Checkpoint, key: NoteKey, sign: Sign) -> bytes:
    """Return a checkpoint with the log's signature, as a file has it."""
    return sign_note(checkpoint.encode(), key, sign).encode().encode()


def countersign(data: bytes, key: NoteKey, sign: Sign) -> bytes:
    """Return a signed checkpoint with the signature of a second key of its log below those that are there."""
    note = parse_note(data)
    return Note(note.text, (*note.signatures, *sign_note(note.text, key, sign).signatures)).encode().encode()


def read_signed(data: bytes, key: NoteKey) -> tuple[Checkpoint, Note]:
    """Read a checkpoint and verify that its log signed it.

    Args:
        data: The note.
        key: Of the log; the origin has to be its name.

    Raises:
        RefusedError: It is none, of another log, or not signed by this key.
    """
    note = parse_note(data)
    checkpoint = parse_checkpoint(note.text)
    if checkpoint.origin != key.name:
        raise RefusedError(
            Reason.SIGNER_NOT_TRUSTED,
            f"the checkpoint is of log {checkpoint.origin[:255]!r}, the key of {key.name}",
        )
    verify_note(note, key)
    return checkpoint, note


def cosign(text: str, key: NoteKey, sign: Sign, *, at: int) -> NoteSignature:
    """Cosign the text of a checkpoint as a witness that has seen nothing larger at this Unix second."""
    return NoteSignature(key.name, key.id, at.to_bytes(_TIME_BYTES, "big") + sign(_cosigned_message(text, at)))


def verify_cosignatures(note: Note, witnesses: Sequence[NoteKey]) -> tuple[Cosigned, ...]:
    """Return what witnesses said, each once; lines of others are passed over.

    Raises:
        RefusedError: SignatureInvalid; a line says that it is by one of these witnesses and is not.
    """
    found: dict[str, Cosigned] = {}
    for signature in note.signatures:
        for key in witnesses:
            if key.kind == COSIGNATURE and signature.is_by(key):
                found[key.name] = _verify_cosignature(note.text, signature, key)
    return tuple(found.values())


def _verify_cosignature(text: str, signature: NoteSignature, key: NoteKey) -> Cosigned:
    at = int.from_bytes(signature.value[:_TIME_BYTES], "big")
    if not 0 < at < 1 << 63 or not key.verifies(_cosigned_message(text, at), signature.value[_TIME_BYTES:]):
        raise RefusedError(
            Reason.SIGNATURE_INVALID, f"the cosignature of {key.name} ({key.id.hex()}) does not fit the checkpoint"
        )
    return Cosigned(key.name, at)


def _cosigned_message(text: str, at: int) -> bytes:
    return f"cosignature/v1\ntime {at}\n{text}".encode()


@dataclass(frozen=True, slots=True)
class InclusionProof:
    """That an entry stands in a log; carries the entry, so that nothing else is needed.

    Attributes:
        checkpoint: The signed note.
    """

    index: int
    path: tuple[bytes, ...]
    checkpoint: bytes
    entry: bytes

    def encode(self) -> bytes:
        """Return the file."""
        head = f"{PROOF_HEAD}\nextra {base64.b64encode(self.entry).decode()}\nindex {self.index}\n"
        return (head + _spell_hashes(self.path) + "\n").encode() + self.checkpoint

    def verify(self, leaf: bytes, key: NoteKey) -> tuple[Checkpoint, Note]:
        """Verify the log's signature, and that the entry with this leaf hash is in it.

        Raises:
            RefusedError: One of them does not hold.
        """
        checkpoint, note = read_signed(self.checkpoint, key)
        verify_inclusion(leaf, self.index, self.path, size=checkpoint.size, root=checkpoint.root)
        return checkpoint, note


def parse_inclusion(data: bytes) -> InclusionProof:
    """Read the file of a proof; verify nothing.

    Raises:
        RefusedError: RecordBroken.
    """
    head, middle, checkpoint = data.partition(b"\n\n")
    lines = _decode_lines(head)
    extra = lines[1].removeprefix("extra ") if len(lines) > 2 else ""
    entry = decode_base64(extra)
    index = parse_number(lines[2].removeprefix("index ")) if len(lines) > 2 else None
    if not middle or lines[0] != PROOF_HEAD or entry is None or extra == lines[1] or index is None:
        raise RefusedError(
            Reason.RECORD_BROKEN, f"this is no proof: it has not the lines {PROOF_HEAD}, extra and index"
        )
    return InclusionProof(index, _parse_hashes(lines[3:]), checkpoint, entry)


@dataclass(frozen=True, slots=True)
class WitnessRequest:
    """What a witness is shown: a checkpoint, and the proof that it goes on from the one of size `old`."""

    old: int
    path: tuple[bytes, ...]
    checkpoint: bytes

    def encode(self) -> bytes:
        """Return the file; also the body of `add-checkpoint` of c2sp.org/tlog-witness."""
        return f"old {self.old}\n{_spell_hashes(self.path)}\n".encode() + self.checkpoint


def parse_request(data: bytes) -> WitnessRequest:
    """Read a request to a witness; verify nothing.

    Raises:
        RefusedError: RecordBroken.
    """
    head, middle, checkpoint = data.partition(b"\n\n")
    lines = _decode_lines(head)
    old = parse_number(lines[0].removeprefix("old ")) if lines[0].startswith("old ") else None
    if not middle or old is None:
        raise RefusedError(Reason.RECORD_BROKEN, "this is no request to a witness: it begins with no line old SIZE")
    return WitnessRequest(old, _parse_hashes(lines[1:]), checkpoint)


def check_request(request: WitnessRequest, checkpoint: Checkpoint, *, seen: tuple[int, bytes]) -> None:
    """Check that a checkpoint goes on from what a witness has seen of its log.

    Args:
        request: With the proof.
        checkpoint: Its checkpoint, whose signature was verified.
        seen: Size and root of the largest tree that this witness cosigned; the empty tree's at first.

    Raises:
        RefusedError: RecordTruncated, RecordForked; RecordBroken where the proof begins elsewhere.
    """
    if checkpoint.size >= seen[0] != request.old:
        raise RefusedError(
            Reason.RECORD_BROKEN,
            f"the proof begins at {request.old} entries, this witness has seen {seen[0]} of {checkpoint.origin}; make "
            f"it with sekisho ledger prove --since {seen[0]}",
        )
    verify_consistency(request.path, old=seen, new=(checkpoint.size, checkpoint.root))


def parse_number(text: str) -> int | None:
    """Return a size or index in its one spelling; None where it is none."""
    if not text.isascii() or not text.isdigit() or len(text) > _MAX_DIGITS or (text[0] == "0" and text != "0"):
        return None
    return int(text)


def _decode_lines(data: bytes) -> list[str]:
    try:
        return data.decode().split("\n")
    except UnicodeDecodeError:
        return [""]


def _spell_hashes(hashes: Sequence[bytes]) -> str:
    return "".join(base64.b64encode(item).decode() + "\n" for item in hashes)


def _parse_hashes(lines: Sequence[str]) -> tuple[bytes, ...]:
    found = [decode_base64(line) for line in lines]
    if len(found) >= MAX_PROOF or any(item is None or len(item) != HASH_BYTES for item in found):
        raise RefusedError(Reason.RECORD_BROKEN, "a line of the proof is no hash, or there are more than 63")
    return tuple(item for item in found if item is not None)


def _no_checkpoint(text: str) -> RefusedError:
    return RefusedError(Reason.RECORD_BROKEN, f"this is no checkpoint: {text}")
