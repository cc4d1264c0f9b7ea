"""Receipts: the log's signed word that an entry stands at a place of it. One line, fit for a header."""

import base64
from dataclasses import dataclass
from typing import Final

from sekisho.errors import Reason, RefusedError
from sekisho.ledger.checkpoint import parse_number
from sekisho.ledger.merkle import HASH_BYTES
from sekisho.ledger.notes import NoteKey, Sign, decode_base64

VERSION: Final = "v1"
MAX_RECEIPT: Final = 1024
_ID_BYTES: Final = 4
_PARTS: Final = 6


@dataclass(frozen=True, slots=True)
class Written:
    """An entry that is on disk.

    Attributes:
        origin: Of its log.
        index: Its place there, from 0.
        leaf: Its hash in the tree.
    """

    origin: str
    index: int
    leaf: bytes


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a caller got; nothing of it is verified.

    Attributes:
        at: Unix milliseconds.
        key_id: Of the log's key.
    """

    entry: Written
    at: int
    key_id: bytes
    signature: bytes

    def encode(self) -> str:
        """Return the line."""
        entry = self.entry
        signature = base64.b64encode(self.key_id + self.signature).decode()
        return f"{VERSION} {entry.origin} {entry.index} {base64.b64encode(entry.leaf).decode()} {self.at} {signature}"

    def verify(self, key: NoteKey) -> None:
        """Verify that the log's key signed it.

        Raises:
            RefusedError: SignerNotTrusted where it is by another key or log, SignatureInvalid.
        """
        if (self.entry.origin, self.key_id) != (key.name, key.id):
            raise RefusedError(
                Reason.SIGNER_NOT_TRUSTED,
                f"the receipt is of {self.entry.origin} by key {self.key_id.hex()}, not {key.name} by {key.id.hex()}",
            )
        if not key.verifies(_message(self.entry, self.at), self.signature):
            raise RefusedError(Reason.SIGNATURE_INVALID, f"the receipt was not signed by {key.name} ({key.id.hex()})")


def sign_receipt(entry: Written, key: NoteKey, sign: Sign, *, at: int) -> Receipt:
    """Sign a receipt as of a Unix millisecond."""
    return Receipt(entry, at, key.id, sign(_message(entry, at)))


def parse_receipt(text: str) -> Receipt:
    """Read a receipt; verify nothing.

    Raises:
        RefusedError: SignatureInvalid; it is none.
    """
    parts = text.strip().split(" ") if len(text) <= MAX_RECEIPT else []
    if len(parts) == _PARTS and parts[0] == VERSION and parts[1]:
        index, leaf, at, signed = parse_number(parts[2]), decode_base64(parts[3]), parse_number(parts[4]), parts[5]
        signature = decode_base64(signed)
        if index is not None and at is not None and leaf and signature and len(leaf) == HASH_BYTES:
            return Receipt(Written(parts[1], index, leaf), at, signature[:_ID_BYTES], signature[_ID_BYTES:])
    raise RefusedError(Reason.SIGNATURE_INVALID, "this is no receipt: it reads v1 LOG INDEX HASH TIME SIGNATURE")


def _message(entry: Written, at: int) -> bytes:
    leaf = base64.b64encode(entry.leaf).decode()
    return f"sekisho-receipt/v1\n{entry.origin}\n{entry.index}\n{leaf}\n{at}\n".encode()
