"""Merkle tree hashing, proofs, and their verification as RFC 6962 and RFC 9162 have them, with SHA-256."""

import hashlib
from collections.abc import Callable, Sequence
from typing import Final

from sekisho.errors import Reason, RefusedError

HASH_BYTES: Final = 32
MAX_PROOF: Final = 64
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()
Node = Callable[[int, int], bytes]
"""Returns the hash of the whole subtree of 2^level leaves that is the index-th of its level."""


def hash_leaf(entry: bytes) -> bytes:
    """Return the hash of an entry."""
    return hashlib.sha256(b"\x00" + entry).digest()


def hash_children(left: bytes, right: bytes) -> bytes:
    """Return the hash of a node."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def find_root(size: int, node: Node) -> bytes:
    """Return the root of the first `size` leaves."""
    return _hash_range(0, size, node) if size else EMPTY_ROOT


def prove_inclusion(index: int, size: int, node: Node) -> tuple[bytes, ...]:
    """Return the audit path of a leaf in the tree of `size` leaves (RFC 9162, 2.1.3.1)."""
    if not 0 <= index < size:
        raise ValueError
    path, start, end = [], 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(_hash_range(middle, end, node))
            end = middle
        else:
            path.append(_hash_range(start, middle, node))
            start = middle
    return tuple(reversed(path))


def prove_consistency(old: int, size: int, node: Node) -> tuple[bytes, ...]:
    """Return the proof that the tree of `old` leaves became that of `size` by appending (RFC 9162, 2.1.4.1)."""
    if not 0 <= old <= size:
        raise ValueError
    if old in {0, size}:
        return ()
    path, start, end = [], 0, size
    while end != old:
        middle = start + _split(end - start)
        if old <= middle:
            path.append(_hash_range(middle, end, node))
            end = middle
        else:
            path.append(_hash_range(start, middle, node))
            start = middle
    if start:
        path.append(_hash_range(start, end, node))
    return tuple(reversed(path))


def root_by_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes:
    """Return the root that an audit path leads to (RFC 9162, 2.1.3.2).

    Raises:
        RefusedError: RecordBroken; the path has not the length that this place in the tree asks for.
    """
    if not 0 <= index < size:
        raise RefusedError(Reason.RECORD_BROKEN, f"entry {index} cannot be in a tree of {size} entries")
    place, last, root = index, size - 1, leaf
    for other in path:
        if last == 0:
            raise _wrong_length(path)
        if place & 1 or place == last:
            root = hash_children(other, root)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            root = hash_children(root, other)
        place, last = place >> 1, last >> 1
    if last:
        raise _wrong_length(path)
    return root


def verify_inclusion(leaf: bytes, index: int, path: Sequence[bytes], *, size: int, root: bytes) -> None:
    """Verify that a leaf stands where it is said to.

    Raises:
        RefusedError: RecordBroken.
    """
    if root_by_inclusion(leaf, index, size, path) != root:
        raise RefusedError(
            Reason.RECORD_BROKEN,
            f"the proof does not lead from entry {index} to the root of {size} entries: it is another entry, another "
            "place, or another tree",
        )


def verify_consistency(path: Sequence[bytes], *, old: tuple[int, bytes], new: tuple[int, bytes]) -> None:
    """Verify that one tree began with another (RFC 9162, 2.1.4.2).

    Args:
        path: The proof.
        old: Size and root of the smaller tree.
        new: Size and root of the larger one.

    Raises:
        RefusedError: RecordTruncated where the new tree is smaller; RecordForked where it did not begin with the old.
    """
    (old_size, old_root), (size, root) = old, new
    if size < old_size:
        raise RefusedError(
            Reason.RECORD_TRUNCATED, f"the log has {size} entries, it had {old_size}; something was cut off its end"
        )
    if not old_size:
        if path or old_root != EMPTY_ROOT:
            raise _forked(old_size, size)
    elif old_size == size:
        if path or old_root != root:
            raise _forked(old_size, size)
    else:
        # The proof leaves out the old root where it is a node of the new tree itself.
        whole = (old_root, *path) if _is_power(old_size) else tuple(path)
        if not path or _follow(whole, old_size, size) != (old_root, root):
            raise _forked(old_size, size)


def _follow(path: Sequence[bytes], old_size: int, size: int) -> tuple[bytes, bytes] | None:
    place, last = old_size - 1, size - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    old_root = root = path[0]
    for other in path[1:]:
        if last == 0:
            return None
        if place & 1 or place == last:
            old_root, root = hash_children(other, old_root), hash_children(other, root)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            root = hash_children(root, other)
        place, last = place >> 1, last >> 1
    return None if last else (old_root, root)


def _hash_range(start: int, end: int, node: Node) -> bytes:
    """Return the hash over leaves; ranges come from splitting, so their starts fit their sizes."""
    size = end - start
    if _is_power(size):
        return node(size.bit_length() - 1, start // size)
    middle = start + _split(size)
    return hash_children(_hash_range(start, middle, node), _hash_range(middle, end, node))


def _split(size: int) -> int:
    return 1 << ((size - 1).bit_length() - 1)


def _is_power(size: int) -> bool:
    return size & (size - 1) == 0


def _wrong_length(path: Sequence[bytes]) -> RefusedError:
    return RefusedError(Reason.RECORD_BROKEN, f"a proof of {len(path)} hashes does not fit this place in the tree")


def _forked(old_size: int, size: int) -> RefusedError:
    return RefusedError(
        Reason.RECORD_FORKED,
        f"nothing proves that the log of {size} entries began with the {old_size} that were signed before: its key "
        "signed two histories, or the proof is of something else",
    )
