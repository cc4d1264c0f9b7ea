"""Trees and proofs: against the definition, against another implementation, and with every bit turned."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.errors import Reason, RefusedError
from sekisho.ledger.merkle import (
    EMPTY_ROOT,
    find_root,
    hash_leaf,
    prove_consistency,
    prove_inclusion,
    root_by_inclusion,
    verify_consistency,
    verify_inclusion,
)
from tests.unit.ledger.trees import VECTORS, Frontier, hashes, leaves, plain_root

ALL = leaves(1000)


def node(level: int, index: int) -> bytes:
    return plain_root(ALL[index << level : (index + 1) << level])


def grow(count: int) -> Frontier:
    tree = Frontier()
    for leaf in ALL[:count]:
        tree.append(leaf)
    return tree


def test_a_place_outside_the_tree_has_no_proof() -> None:
    for index, size in ((3, 3), (-1, 3), (0, 0)):
        with pytest.raises(ValueError, match=r"^$"):
            prove_inclusion(index, size, node)
        with pytest.raises(RefusedError) as refusal:
            root_by_inclusion(ALL[0], index, size, ())
        assert refusal.value.reason is Reason.RECORD_BROKEN
        assert refusal.value.message == f"entry {index} cannot be in a tree of {size} entries"
    with pytest.raises(ValueError, match=r"^$"):
        prove_consistency(4, 3, node)


@pytest.mark.parametrize("change", [-1, 1])
def test_a_proof_of_another_length_is_refused(change: int) -> None:
    path = prove_inclusion(5, 8, node)
    wrong = path[:change] if change < 0 else (*path, path[0])
    with pytest.raises(RefusedError, match=f"a proof of {len(wrong)} hashes does not fit this place in the tree"):
        verify_inclusion(ALL[5], 5, wrong, size=8, root=find_root(8, node))


def test_a_smaller_tree_is_a_truncation() -> None:
    with pytest.raises(RefusedError) as refusal:
        verify_consistency((), old=(8, find_root(8, node)), new=(7, find_root(7, node)))
    assert refusal.value.reason is Reason.RECORD_TRUNCATED
    assert refusal.value.message == "the log has 7 entries, it had 8; something was cut off its end"


@pytest.mark.parametrize(
    ("path", "old", "size"),
    [((), 0, 5), (("x",), 0, 5), ((), 4, 4), (("x",), 4, 4), ((), 4, 8), ((), 3, 8), (("x",) * 9, 3, 8)],
)
def test_another_beginning_is_a_fork(path: tuple[str, ...], old: int, size: int) -> None:
    wrong = tuple(hashlib.sha256(item.encode()).digest() for item in path)
    root = b"\0" * 32 if not path else (find_root(old, node))
    with pytest.raises(RefusedError) as refusal:
        verify_consistency(wrong, old=(old, root), new=(size, find_root(size, node)))
    assert refusal.value.reason is Reason.RECORD_FORKED
    assert (
        f"nothing proves that the log of {size} entries began with the {old} that were signed" in refusal.value.message
    )


def test_the_known_roots_of_rfc_6962_come_out() -> None:
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert hash_leaf(b"").hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    assert Frontier().root() == find_root(0, node) == EMPTY_ROOT


@pytest.mark.parametrize("size", sorted(map(int, VECTORS["roots"])))
def test_roots_are_those_of_another_implementation(size: int) -> None:
    (root,) = hashes([VECTORS["roots"][str(size)]])
    assert grow(size).root() == find_root(size, node) == root


@pytest.mark.parametrize("place", sorted(VECTORS["inclusion"]))
def test_inclusion_proofs_are_those_of_another_implementation(place: str) -> None:
    index, size = map(int, place.split("/"))
    path = hashes(VECTORS["inclusion"][place] or [])
    assert prove_inclusion(index, size, node) == path
    verify_inclusion(ALL[index], index, path, size=size, root=find_root(size, node))


@pytest.mark.parametrize("place", sorted(VECTORS["consistency"]))
def test_consistency_proofs_are_those_of_another_implementation(place: str) -> None:
    old, size = map(int, place.split("/"))
    path = hashes(VECTORS["consistency"][place])
    assert prove_consistency(old, size, node) == path
    verify_consistency(path, old=(old, find_root(old, node)), new=(size, find_root(size, node)))


def turn(data: bytes, bit: int) -> bytes:
    return (int.from_bytes(data, "big") ^ (1 << bit)).to_bytes(len(data), "big")


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_any_turned_bit_of_a_proof_is_refused(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 70))
    index = data.draw(st.integers(0, size - 1))
    bit = data.draw(st.integers(0, 255))
    path, root = prove_inclusion(index, size, node), find_root(size, node)
    verify_inclusion(ALL[index], index, path, size=size, root=root)
    at = data.draw(st.integers(-2, len(path) - 1))
    given_root = turn(root, bit) if at == -2 else root
    leaf = turn(ALL[index], bit) if at == -1 else ALL[index]
    turned = tuple(turn(item, bit) if number == at else item for number, item in enumerate(path))
    with pytest.raises(RefusedError, match="the proof does not lead from entry"):
        verify_inclusion(leaf, index, turned, size=size, root=given_root)
    other = data.draw(st.integers(0, size - 1).filter(lambda item: item != index)) if size > 1 else None
    if other is not None:
        with pytest.raises(RefusedError):
            verify_inclusion(ALL[index], other, path, size=size, root=root)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_any_turned_bit_of_a_consistency_proof_is_refused(data: st.DataObject) -> None:
    size = data.draw(st.integers(2, 70))
    old = data.draw(st.integers(1, size - 1))
    bit = data.draw(st.integers(0, 255))
    path, roots = prove_consistency(old, size, node), (find_root(old, node), find_root(size, node))
    verify_consistency(path, old=(old, roots[0]), new=(size, roots[1]))
    verify_consistency((), old=(0, EMPTY_ROOT), new=(size, roots[1]))
    verify_consistency((), old=(size, roots[1]), new=(size, roots[1]))
    at = data.draw(st.integers(-2, len(path) - 1))
    turned = tuple(turn(item, bit) if number == at else item for number, item in enumerate(path))
    before, after = (turn(root, bit) if at == -2 + number else root for number, root in enumerate(roots))
    with pytest.raises(RefusedError) as refusal:
        verify_consistency(turned, old=(old, before), new=(size, after))
    assert refusal.value.reason is Reason.RECORD_FORKED
    with pytest.raises(RefusedError):
        verify_consistency(path[:-1], old=(old, roots[0]), new=(size, roots[1]))
