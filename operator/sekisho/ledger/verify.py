"""Verification of a whole log from its files, and of logs that go on from each other. Trusts the files in nothing."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sekisho.errors import Reason, RefusedError
from sekisho.ledger.checkpoint import Checkpoint, read_signed
from sekisho.ledger.entry import LINK, OPENED, parse_entry
from sekisho.ledger.handover import LAST, check_consent, name_writer, read_handover
from sekisho.ledger.merkle import HASH_BYTES, hash_leaf
from sekisho.ledger.notes import ED25519, Note, NoteKey, decode_base64
from sekisho.ledger.tiles import CHECKPOINT, Read, Tile, Tree, list_bundles, parse_bundle

FIRST: Final = "first"
EXPIRED: Final = "expired"
Visit = Callable[[int, bytes], None]


@dataclass(frozen=True, slots=True)
class VerifiedLog:
    """A log whose every entry is under its signed checkpoint.

    Attributes:
        expired: How many entries have no text any more; their hashes are under the checkpoint all the same.
        link: What the log goes on from, by its own first entry; None where it is a beginning.
        removed: Origins of logs whose text retention removed, by entries of this log.
        key: That signed it, under the log's name.
        successor: That signs the next log, under the writer's name; None where the log does not say.
        end_known: Whether its last entry has its text, so that it is known to say no more than that.
    """

    checkpoint: Checkpoint
    note: Note
    expired: int
    link: Checkpoint | None
    removed: frozenset[str]
    key: NoteKey
    successor: NoteKey | None = None
    end_known: bool = True

    @property
    def chain(self) -> str:
        """Who wrote it: the origin without the log's own last part."""
        return name_writer(self.checkpoint.origin)

    @property
    def next_key(self) -> NoteKey:
        """The key that signs the log after this one, under the writer's name."""
        return self.successor or NoteKey(self.chain, ED25519, self.key.public)


@dataclass(frozen=True, slots=True)
class Chain:
    """The logs of one writer, in their order.

    Attributes:
        after: What its first log goes on from and is not here; None where it is the beginning.
        beginnings: How many of the logs go on from nothing.
    """

    name: str
    logs: tuple[VerifiedLog, ...]
    after: Checkpoint | None
    beginnings: int


def name_key(key: NoteKey, origin: str) -> NoteKey:
    """Return a writer's key under the name of one of its logs.

    Raises:
        RefusedError: SignerNotTrusted; the log is not this writer's.
    """
    if origin != key.name and not origin.startswith(f"{key.name}/"):
        raise RefusedError(
            Reason.SIGNER_NOT_TRUSTED, f"the log {origin[:255]!r} is none of {key.name}; give the key of its writer"
        )
    return NoteKey(origin, ED25519, key.public)


def verify_log(
    read: Read,
    key: NoteKey,
    *,
    marks: Sequence[Checkpoint] = (),
    promised: Iterable[tuple[int, bytes]] = (),
    visit: Visit | None = None,
) -> VerifiedLog:
    """Verify a log from its first entry to its checkpoint.

    Args:
        read: Returns its files.
        key: Of the log, under its origin.
        marks: Checkpoints of this log from before, whose signatures were verified.
        promised: Place and leaf hash of entries that receipts were given for, whose signatures were verified.
        visit: Is shown every entry that has its text, before the log is verified as a whole.

    Raises:
        RefusedError: RecordTruncated, RecordRewritten, RecordForked, RecordBroken; the checkpoint is not trusted.
    """
    data = read(CHECKPOINT)
    if data is None:
        raise RefusedError(Reason.RECORD_BROKEN, f"the log {key.name} has no checkpoint")
    checkpoint, note = read_signed(data, key)
    walk = _Walk(read, checkpoint, visit or _pass)
    for mark in marks:
        walk.mark(mark)
    for index, leaf in promised:
        walk.promise(index, leaf)
    walk.run()
    if walk.successor is not None:
        check_consent(note, walk.successor, origin=key.name)
    removed = frozenset(walk.removed)
    return VerifiedLog(checkpoint, note, walk.expired, walk.link, removed, key, walk.successor, walk.end_known)


class _Walk:
    """Builds the tree of a log anew."""

    def __init__(self, read: Read, checkpoint: Checkpoint, visit: Visit) -> None:
        self._read = read
        self._checkpoint = checkpoint
        self._marks: dict[int, set[bytes]] = {}
        self._promised: dict[int, set[bytes]] = {}
        self._visit = visit
        self._tree = Tree()
        self.expired = 0
        self.link: Checkpoint | None = None
        self.removed: set[str] = set()
        self.successor: NoteKey | None = None
        self.end_known = False

    def mark(self, mark: Checkpoint) -> None:
        """Hold the log against a checkpoint from before; there may be two of one size."""
        name, size = self._checkpoint.origin, self._checkpoint.size
        if mark.size > size:
            raise RefusedError(
                Reason.RECORD_TRUNCATED,
                f"{name} ends with entry {size}; a checkpoint of {mark.size} entries was signed before",
            )
        self._marks.setdefault(mark.size, set()).add(mark.root)

    def promise(self, index: int, leaf: bytes) -> None:
        """Hold the log against a receipt; there may be two of one place."""
        name, size = self._checkpoint.origin, self._checkpoint.size
        if index >= size:
            raise RefusedError(
                Reason.RECORD_TRUNCATED,
                f"{name} ends with entry {size}; a receipt was given for entry {index}. Where it is younger than the "
                "checkpoint, take a newer copy",
            )
        self._promised.setdefault(index, set()).add(leaf)

    def run(self) -> None:
        checkpoint = self._checkpoint
        self._check_mark()
        for bundle in list_bundles(checkpoint.size):
            for leaf in self._leaves(bundle):
                self._append(leaf)
        if self._tree.root() != checkpoint.root:
            raise RefusedError(
                Reason.RECORD_REWRITTEN,
                f"the {checkpoint.size} entries of {checkpoint.origin} do not make the root that was signed: an entry "
                "was changed, exchanged, added or removed after that",
            )
        for tile, data in self._tree.edge():
            self._check_tile(tile, data)

    def _leaves(self, bundle: Tile) -> Iterator[bytes]:
        data, first = self._read(bundle.path), self._tree.size
        if data is None:
            yield from self._expired(bundle)
            return
        for number, entry in enumerate(parse_bundle(data, bundle), first):
            self._look(number, entry)
            self._visit(number, entry)
            yield hash_leaf(entry)

    def _expired(self, bundle: Tile) -> Iterator[bytes]:
        tile = Tile(0, bundle.index, bundle.width)
        data = self._read(tile.path)
        if data is None or len(data) != tile.width * HASH_BYTES:
            raise RefusedError(
                Reason.RECORD_TRUNCATED,
                f"{self._checkpoint.origin} lacks its entries from {self._tree.size} on, and their hashes: "
                f"{self._checkpoint.size} were signed. Where it was copied while it grew, copy it again",
            )
        self.expired += tile.width
        if self._tree.size == 0 and (first := self._read(FIRST)) is not None and hash_leaf(first) == data[:HASH_BYTES]:
            self._look(0, first)
        end = self._tree.size + tile.width
        if (
            end == self._checkpoint.size
            and (last := self._read(LAST)) is not None
            and hash_leaf(last) == data[-HASH_BYTES:]
        ):
            self._look(end - 1, last)
        yield from (data[at : at + HASH_BYTES] for at in range(0, len(data), HASH_BYTES))

    def _look(self, number: int, data: bytes) -> None:
        is_last = number == self._checkpoint.size - 1
        self.end_known |= is_last
        if (successor := read_handover(data, origin=self._checkpoint.origin)) is not None:
            if not is_last:
                raise RefusedError(
                    Reason.RECORD_FORKED,
                    f"{self._checkpoint.origin} goes on behind entry {number}, which ended it and handed it over to "
                    f"another key ({successor.id.hex()})",
                )
            self.successor = successor
        if number == 0:
            self.link = read_link(parse_entry(data))
        elif b'"expired"' in data and (entry := parse_entry(data)).get("kind") == EXPIRED:
            self.removed.add(str(entry.get("log")))

    def _append(self, leaf: bytes) -> None:
        index = self._tree.size
        if self._promised.get(index, set()) - {leaf}:
            raise RefusedError(
                Reason.RECORD_REWRITTEN,
                f"entry {index} of {self._checkpoint.origin} is not the one that the receipt was given for; the log "
                "was rewritten",
            )
        for tile, data in self._tree.append(leaf):
            self._check_tile(tile, data)
        self._check_mark()

    def _check_tile(self, tile: Tile, data: bytes) -> None:
        if (found := self._read(tile.path)) is not None and found != data:
            raise RefusedError(
                Reason.RECORD_REWRITTEN,
                f"{self._checkpoint.origin}: {tile.path} does not have the hashes of the {self._tree.size} entries "
                "before its end: entries were changed, or the tile was",
            )

    def _check_mark(self) -> None:
        size = self._tree.size
        if size in self._marks and self._marks[size] != {self._tree.root()}:
            raise RefusedError(
                Reason.RECORD_FORKED,
                f"{self._checkpoint.origin}: its first {size} entries are not those of a checkpoint that was signed "
                "before; its key signed two histories",
            )


def read_link(entry: dict[str, Any]) -> Checkpoint | None:
    """Return what a log goes on from, by its first entry; None where it is a beginning."""
    link = entry.get(LINK) if entry.get("kind") == OPENED else None
    if not isinstance(link, dict):
        return None
    root, size = decode_base64(str(link.get("root"))), link.get("size")
    if root is None or len(root) != HASH_BYTES or not isinstance(size, int):
        return None
    return Checkpoint(str(link.get("origin")), size, root)


def verify_chains(logs: Sequence[VerifiedLog]) -> tuple[Chain, ...]:
    """Verify that logs go on from each other as they say.

    Raises:
        RefusedError: RecordTruncated where one is missing or shorter than the next says, or text is gone that no record
            says was removed; RecordForked where two go on from one, or one went on after it was closed.
    """
    known = {log.checkpoint.origin: log for log in logs}
    if len(known) != len(logs):
        raise RefusedError(Reason.RECORD_FORKED, "one log is here twice; verify each copy by itself")
    _check_expired(logs)
    chains, follows = [], dict[str, str]()
    for name in sorted({log.chain for log in logs}):
        members = sorted((log for log in logs if log.chain == name), key=lambda log: log.checkpoint.origin)
        for log in members[1:]:
            _check_link(log, known, follows)
        after = members[0].link
        chains.append(Chain(name, tuple(members), after, sum(log.link is None for log in members)))
    return tuple(chains)


def _check_link(log: VerifiedLog, known: dict[str, VerifiedLog], follows: dict[str, str]) -> None:
    link, origin = log.link, log.checkpoint.origin
    if link is None:
        return
    before = known.get(link.origin)
    if before is None:
        raise RefusedError(
            Reason.RECORD_TRUNCATED, f"the log {link.origin} is missing ({link.size} entries); {origin} goes on from it"
        )
    if (other := follows.setdefault(link.origin, origin)) != origin:
        raise RefusedError(Reason.RECORD_FORKED, f"{other} and {origin} both go on from {link.origin}")
    if before.checkpoint.size < link.size:
        raise RefusedError(
            Reason.RECORD_TRUNCATED,
            f"{link.origin} has {before.checkpoint.size} entries; {origin} says that it ended with {link.size}",
        )
    if before.checkpoint != link:
        raise RefusedError(
            Reason.RECORD_FORKED,
            f"{link.origin} has {before.checkpoint}; {origin} says that it ended with {link}: its key signed "
            "two histories",
        )
    _check_key(log, before)


def _check_key(log: VerifiedLog, before: VerifiedLog) -> None:
    """Refuse a log that goes on from another and is not signed by the key that has to sign it."""
    if log.key.public == before.next_key.public or (before.successor is None and not before.end_known):
        return
    origin, signer = log.checkpoint.origin, NoteKey(log.chain, ED25519, log.key.public).id.hex()
    said = f"handed over to {before.successor.id.hex()}" if before.successor else "handed over to no other"
    raise RefusedError(
        Reason.SIGNER_NOT_TRUSTED,
        f"{origin} is signed by {signer} and goes on from {before.checkpoint.origin}, which was {said}",
    )


def _check_expired(logs: Sequence[VerifiedLog]) -> None:
    # Each writer speaks of its own logs alone.
    removed = {origin for log in logs for origin in log.removed if name_writer(origin) == log.chain}
    for log in logs:
        if log.expired and log.checkpoint.origin not in removed:
            raise RefusedError(
                Reason.RECORD_TRUNCATED,
                f"{log.expired} entries of {log.checkpoint.origin} have no text, and no record says that retention "
                "removed it",
            )


def _pass(_index: int, _entry: bytes) -> None:
    """Look at nothing."""
