"""Trees as files: tiles of 256 hashes and bundles of 256 entries, named as c2sp.org/tlog-tiles names them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from sekisho.errors import Reason, RefusedError
from sekisho.ledger.merkle import HASH_BYTES, find_root, hash_children

WIDTH: Final = 256
MAX_ENTRY: Final = (1 << 16) - 1
CHECKPOINT: Final = "checkpoint"
_BITS: Final = 8
_LENGTH_BYTES: Final = 2
Read = Callable[[str], bytes | None]
"""Returns a file of a log by its path; None where there is none."""


@dataclass(frozen=True, slots=True)
class Tile:
    """One file of a tree.

    Attributes:
        level: 0 for the hashes of entries; each level above is 256 times as high. None for the entries themselves.
        index: From the left.
        width: How many hashes or entries it holds; 256 where it is full.
    """

    level: int | None
    index: int
    width: int = WIDTH

    @property
    def path(self) -> str:
        """Where it is."""
        digits = f"{self.index:03d}"
        digits = digits.zfill(-(-len(digits) // 3) * 3)
        parts = [digits[at : at + 3] for at in range(0, len(digits), 3)]
        name = "/".join([*(f"x{part}" for part in parts[:-1]), parts[-1]])
        kind = "entries" if self.level is None else str(self.level)
        return f"tile/{kind}/{name}" + (f".p/{self.width}" if self.width < WIDTH else "")


def list_tiles(size: int, *, start: int = 0) -> Iterator[Tile]:
    """Yield every tile of hashes of a tree of `size` entries that one of `start` entries had not."""
    level = 0
    while size:
        for index in range(start >> _BITS, -(-size // WIDTH)):
            yield Tile(level, index, min(WIDTH, size - index * WIDTH))
        size, start, level = size >> _BITS, start >> _BITS, level + 1


def list_bundles(size: int, *, start: int = 0) -> Iterator[Tile]:
    """Yield every bundle of entries, from the one that holds entry `start` on."""
    for index in range(start >> _BITS, -(-size // WIDTH)):
        yield Tile(None, index, min(WIDTH, size - index * WIDTH))


def encode_bundle(entries: list[bytes]) -> bytes:
    """Return the file of at most 256 entries."""
    return b"".join(len(entry).to_bytes(_LENGTH_BYTES, "big") + entry for entry in entries)


def parse_bundle(data: bytes, tile: Tile) -> list[bytes]:
    """Read the entries of a bundle.

    Raises:
        RefusedError: RecordBroken; it does not hold as many as it should.
    """
    entries, at = list[bytes](), 0
    while at < len(data) and len(entries) <= tile.width:
        end = at + _LENGTH_BYTES + int.from_bytes(data[at : at + _LENGTH_BYTES], "big")
        entries.append(data[at + _LENGTH_BYTES : end])
        at = end
    if at != len(data) or len(entries) != tile.width:
        raise RefusedError(Reason.RECORD_BROKEN, f"{tile.path} does not hold {tile.width} whole entries")
    return entries


class Tree:
    """A tree that grows at its right edge, and knows the hashes of its tiles that are not full yet.

    Attributes:
        size: Number of entries.
    """

    def __init__(self) -> None:
        self.size = 0
        self._edge = [bytearray()]

    def copy(self) -> "Tree":
        """Return one that grows by itself."""
        other = Tree()
        other.size, other._edge = self.size, [bytearray(data) for data in self._edge]
        return other

    def root(self) -> bytes:
        """Return the root as of now; computed over the edge each time."""
        return find_root(self.size, self._node)

    def _node(self, level: int, index: int) -> bytes:
        """Return the hash of a whole subtree at the right edge, which none of the full tiles holds."""
        step, above = divmod(level, _BITS)
        return _fold(_split(self._edge[step], (index << above) % WIDTH, 1 << above))

    def append(self, leaf: bytes) -> list[tuple[Tile, bytes]]:
        """Add the hash of an entry; return the tiles that are full by it."""
        index, full = self.size, list[tuple[Tile, bytes]]()
        self.size += 1
        while len(self._put(len(full), leaf)) == WIDTH * HASH_BYTES:
            data, index = bytes(self._edge[len(full)]), index >> _BITS
            self._edge[len(full)].clear()
            full.append((Tile(len(full), index), data))
            leaf = _fold(_split(data, 0, WIDTH))
        return full

    def extend(self, leaves: Sequence[bytes]) -> list[tuple[Tile, bytes]]:
        """Add the hashes of entries; return the tiles that are full by them."""
        if len(self._edge[0]) + len(leaves) * HASH_BYTES < WIDTH * HASH_BYTES:
            self._edge[0] += b"".join(leaves)
            self.size += len(leaves)
            return []
        return [tile for leaf in leaves for tile in self.append(leaf)]

    def _put(self, level: int, node: bytes) -> bytearray:
        if level == len(self._edge):
            self._edge.append(bytearray())
        self._edge[level] += node
        return self._edge[level]

    def edge(self) -> list[tuple[Tile, bytes]]:
        """Return the tiles that are not full, as of now."""
        tiles = []
        for level, data in enumerate(self._edge):
            if width := len(data) // HASH_BYTES:
                tiles.append((Tile(level, self.size >> (_BITS * (level + 1)), width), bytes(data)))
        return tiles


class TileReader:
    """Hashes of whole subtrees, out of the tiles of a tree.

    Args:
        read: Returns files.
        size: Of the tree whose tiles are there.
    """

    def __init__(self, read: Read, size: int) -> None:
        self._read = read
        self._size = size
        self._known: dict[Tile, bytes] = {}

    def node(self, level: int, index: int) -> bytes:
        """Return the hash of a whole subtree of 2^level entries.

        Raises:
            RefusedError: RecordBroken; the tile that holds it is missing or has not its size.
        """
        step, above = divmod(level, _BITS)
        first, count = index << above, 1 << above
        data = self._load(step, first // WIDTH)
        at = first % WIDTH
        if (at + count) * HASH_BYTES > len(data):
            raise RefusedError(Reason.RECORD_BROKEN, f"the tree of {self._size} entries has no such subtree")
        return _fold(_split(data, at, count))

    def _load(self, level: int, index: int) -> bytes:
        width = min(WIDTH, (self._size >> (_BITS * level)) - index * WIDTH)
        tile = Tile(level, index, width)
        if tile not in self._known:
            data = self._read(tile.path) if width > 0 else None
            if data is None or len(data) != width * HASH_BYTES:
                raise RefusedError(Reason.RECORD_BROKEN, f"{tile.path} is missing or has not its {width} hashes")
            self._known = {**self._known, tile: data} if len(self._known) < WIDTH else {tile: data}
        return self._known[tile]


def _split(data: bytes | bytearray, first: int, count: int) -> list[bytes]:
    """Return some of the hashes that stand side by side."""
    places = range(first * HASH_BYTES, (first + count) * HASH_BYTES, HASH_BYTES)
    return [bytes(data[at : at + HASH_BYTES]) for at in places]


def _fold(hashes: list[bytes]) -> bytes:
    """Return the hash over a number of nodes that is a power of two."""
    while len(hashes) > 1:
        hashes = [hash_children(hashes[at], hashes[at + 1]) for at in range(0, len(hashes), 2)]
    return hashes[0]
