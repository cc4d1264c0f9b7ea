"""Receipts: the log's signed word that an entry stands at a place of it. One line, fit for a header.

What one commit wrote is signed once, over the root of a small tree of it; each receipt has its path to that root.
"""

from binascii import b2a_base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from sekisho.errors import Reason, RefusedError
from sekisho.ledger.checkpoint import parse_number
from sekisho.ledger.merkle import EMPTY_ROOT, HASH_BYTES, hash_children, root_by_inclusion
from sekisho.ledger.notes import NoteKey, Sign, decode_base64

VERSION: Final = "v1"
MAX_RECEIPT: Final = 4096
_ID_BYTES: Final = 4
_PARTS: Final = 8
_MAX_PATH: Final = 24


@dataclass(frozen=True, slots=True)
class Batch:
    """Entries that stand side by side in a log.

    Attributes:
        first: Place of the first.
        leaves: Their hashes.
    """

    origin: str
    first: int
    leaves: tuple[bytes, ...] = field(repr=False)
    _levels: list[Sequence[bytes]] = field(default_factory=list, init=False, repr=False, compare=False)

    def take(self, place: int) -> "Written":
        """Return one of them, by its place among them."""
        return Written(self.origin, self.first + place, self.leaves[place], self)

    def root(self) -> bytes:
        """Return the root of the tree of these entries."""
        return self._grow()[-1][0]

    def path(self, index: int) -> tuple[bytes, ...]:
        """Return the audit path of one of them, as `merkle.prove_inclusion` does for a tree of which it reads nodes."""
        if not 0 <= index < len(self.leaves):
            raise ValueError
        path: list[bytes] = []
        for nodes in self._grow():
            other = index ^ 1
            # Nothing, where the last of an odd number has nobody beside it.
            path += nodes[other : other + 1]
            index >>= 1
        return tuple(path)

    def _grow(self) -> Sequence[Sequence[bytes]]:
        """Return all nodes by level, computed once; the last of an odd number stands on the next level as it is."""
        if not self._levels:
            levels: list[Sequence[bytes]] = [self.leaves or (EMPTY_ROOT,)]
            while len(nodes := levels[-1]) > 1:
                above = [hash_children(nodes[at], nodes[at + 1]) for at in range(0, len(nodes) - 1, 2)]
                levels.append([*above, nodes[-1]] if len(nodes) & 1 else above)
            self._levels.extend(levels)
        return self._levels


@dataclass(frozen=True, slots=True)
class Written:
    """An entry that is on disk.

    Attributes:
        origin: Of its log.
        index: Its place there, from 0.
        leaf: Its hash in the tree.
        batch: What was written with it; by itself where None.
    """

    origin: str
    index: int
    leaf: bytes
    batch: Batch | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a caller got; nothing of it is verified.

    Attributes:
        at: Unix milliseconds.
        key_id: Of the log's key.
        first: Place of the first of the entries that were signed together.
        count: How many those were.
        path: From the entry to the root over them.
    """

    entry: Written
    at: int
    key_id: bytes
    signature: bytes
    first: int
    count: int
    path: tuple[bytes, ...]

    def encode(self) -> str:
        """Return the line."""
        entry = self.entry
        signature = _spell(self.key_id + self.signature)
        head = f"{VERSION} {entry.origin} {entry.index} {_spell(entry.leaf)} {self.at} {signature}"
        return " ".join([head, str(self.first), str(self.count), *map(_spell, self.path)])

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
        try:
            root = root_by_inclusion(self.entry.leaf, self.entry.index - self.first, self.count, self.path)
        except RefusedError:
            root = b""
        message = _message(self.entry.origin, self.first, self.count, root=root, at=self.at)
        if not root or not key.verifies(message, self.signature):
            raise RefusedError(Reason.SIGNATURE_INVALID, f"the receipt was not signed by {key.name} ({key.id.hex()})")


@dataclass(frozen=True, slots=True)
class SignedBatch:
    """A batch and the log's signature over it."""

    batch: Batch
    at: int
    key_id: bytes
    signature: bytes
    _shared: list[str] = field(default_factory=list, init=False, repr=False, compare=False)

    def receipt(self, entry: Written) -> Receipt:
        """Return the receipt of one of its entries."""
        batch, count = self.batch, len(self.batch.leaves)
        path = batch.path(entry.index - batch.first)
        return Receipt(entry, self.at, self.key_id, self.signature, batch.first, count, path)

    def spell(self, entry: Written) -> str:
        """Return the line of a receipt, as `Receipt.encode` does; what all of them share is spelt once."""
        batch = self.batch
        if not self._shared:
            signature = _spell(self.key_id + self.signature)
            self._shared.append(f"{self.at} {signature} {batch.first} {len(batch.leaves)}")
        path = [b" " + b2a_base64(node, newline=False) for node in batch.path(entry.index - batch.first)]
        head = f"{VERSION} {batch.origin} {entry.index} {_spell(entry.leaf)} {self._shared[0]}"
        return head + b"".join(path).decode()


def sign_batch(batch: Batch, key: NoteKey, sign: Sign, *, at: int) -> SignedBatch:
    """Sign entries as of a Unix millisecond."""
    message = _message(batch.origin, batch.first, len(batch.leaves), root=batch.root(), at=at)
    return SignedBatch(batch, at, key.id, sign(message))


def batch_of(entry: Written) -> Batch:
    """Return what an entry is signed with."""
    return entry.batch or Batch(entry.origin, entry.index, (entry.leaf,))


def parse_receipt(text: str) -> Receipt:
    """Read a receipt; verify nothing.

    Raises:
        RefusedError: SignatureInvalid; it is none.
    """
    parts = text.strip().split(" ") if len(text) <= MAX_RECEIPT else []
    if len(parts) >= _PARTS and parts[0] == VERSION and parts[1]:
        numbers = [found for place in (2, 4, 6, 7) if (found := parse_number(parts[place])) is not None]
        leaf, signature, *path = map(decode_base64, (parts[3], parts[5], *parts[8:]))
        whole = [item for item in (leaf, *path) if item is not None and len(item) == HASH_BYTES]
        if len(numbers) == 4 and signature and len(whole) == len(path) + 1 <= _MAX_PATH:
            index, at, first, count = numbers
            signed = signature[:_ID_BYTES], signature[_ID_BYTES:]
            return Receipt(Written(parts[1], index, whole[0]), at, *signed, first, count, tuple(whole[1:]))
    raise RefusedError(
        Reason.SIGNATURE_INVALID, "this is no receipt: it reads v1 LOG INDEX HASH TIME SIGNATURE FIRST COUNT and hashes"
    )


def _message(origin: str, first: int, count: int, *, root: bytes, at: int) -> bytes:
    return f"sekisho-receipt/v1\n{origin}\n{first}\n{count}\n{_spell(root)}\n{at}\n".encode()


def _spell(data: bytes) -> str:
    return b2a_base64(data, newline=False).decode()
