"""Logs in memory, with all their files, for tests."""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sekisho.ledger.checkpoint import Checkpoint, sign_checkpoint
from sekisho.ledger.merkle import EMPTY_ROOT, hash_children, hash_leaf
from sekisho.ledger.notes import COSIGNATURE, ED25519, NoteKey
from sekisho.ledger.tiles import CHECKPOINT, Tree, encode_bundle, list_bundles

VECTORS = json.loads((Path(__file__).parents[2] / "vectors/ledger/tlog.json").read_text())
ORIGIN = "ledger.example/gateway-0/20261001T000000000Z"
SECRET = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
WITNESS = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))


def public(secret: Ed25519PrivateKey) -> bytes:
    return secret.public_key().public_bytes_raw()


def log_key(origin: str = ORIGIN, secret: Ed25519PrivateKey = SECRET) -> NoteKey:
    return NoteKey(origin, ED25519, public(secret))


def witness_key(name: str = "witness.example/a", secret: Ed25519PrivateKey = WITNESS) -> NoteKey:
    return NoteKey(name, COSIGNATURE, public(secret))


def hashes(texts: Sequence[str]) -> tuple[bytes, ...]:
    return tuple(base64.b64decode(text) for text in texts)


def leaves(count: int) -> list[bytes]:
    return [hash_leaf(b"entry %d" % number) for number in range(count)]


def plain_root(items: Sequence[bytes]) -> bytes:
    """The definition of RFC 6962, word for word."""
    if len(items) == 1:
        return items[0]
    split = 1
    while split * 2 < len(items):
        split *= 2
    return hash_children(plain_root(items[:split]), plain_root(items[split:]))


class Frontier:
    """A tree that grows at its right edge, by one hash for each bit of its size: written apart from the product's."""

    def __init__(self) -> None:
        self.size = 0
        self._edge: list[tuple[int, bytes]] = []

    def append(self, leaf: bytes) -> None:
        level = 0
        while self._edge and self._edge[-1][0] == level:
            leaf = hash_children(self._edge.pop()[1], leaf)
            level += 1
        self._edge.append((level, leaf))
        self.size += 1

    def root(self) -> bytes:
        if not self._edge:
            return EMPTY_ROOT
        root = self._edge[-1][1]
        for _, left in reversed(self._edge[:-1]):
            root = hash_children(left, root)
        return root


@dataclass
class Log:
    """A log's files by their paths.

    Attributes:
        files: What a reader gets.
    """

    entries: list[bytes]
    origin: str = ORIGIN
    secret: Ed25519PrivateKey = SECRET
    files: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        tree = Tree()
        for entry in self.entries:
            self.files |= {tile.path: data for tile, data in tree.append(hash_leaf(entry))}
        self.files |= {tile.path: data for tile, data in tree.edge()}
        for bundle in list_bundles(len(self.entries)):
            start = bundle.index * 256
            self.files[bundle.path] = encode_bundle(self.entries[start : start + bundle.width])
        self.head = Checkpoint(self.origin, tree.size, tree.root())
        self.files[CHECKPOINT] = sign_checkpoint(self.head, self.key, self.secret.sign)

    @property
    def key(self) -> NoteKey:
        return log_key(self.origin, self.secret)

    def read(self, path: str) -> bytes | None:
        return self.files.get(path)


def spell(**entry: Any) -> bytes:
    return json.dumps(entry, sort_keys=True, separators=(",", ":")).encode()


def opened(previous: Checkpoint | None = None) -> bytes:
    if previous is None:
        return spell(kind="opened")
    link = {
        "origin": previous.origin,
        "size": previous.size,
        "root": base64.b64encode(previous.root).decode(),
    }
    return spell(kind="opened", previous=link)
