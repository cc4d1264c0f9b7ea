"""Trees as files."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.errors import Reason, RefusedError
from sekisho.ledger.merkle import EMPTY_ROOT, find_root, prove_inclusion, verify_inclusion
from sekisho.ledger.tiles import Tile, TileReader, Tree, encode_bundle, list_bundles, list_tiles, parse_bundle
from tests.unit.ledger.trees import VECTORS, Frontier, leaves

ALL = leaves(1000)


def files_of(size: int) -> dict[str, bytes]:
    tree, files = Tree(), {}
    for leaf in ALL[:size]:
        files.update({tile.path: data for tile, data in tree.append(leaf)})
    return files | {tile.path: data for tile, data in tree.edge()}


@pytest.mark.parametrize("data", [b"", b"\0", b"\0\1ab", b"\0\1a\0\1b\0", b"\0\1a\0\1b\0\1c", b"\0\1a\0\2b"])
def test_a_bundle_that_does_not_hold_what_it_should_is_refused(data: bytes) -> None:
    with pytest.raises(RefusedError) as refusal:
        parse_bundle(data, Tile(None, 7, 2))
    assert refusal.value.reason is Reason.RECORD_BROKEN
    assert refusal.value.message == "tile/entries/007.p/2 does not hold 2 whole entries"


def test_a_tile_that_is_missing_or_cut_is_refused() -> None:
    files = files_of(300)
    with pytest.raises(RefusedError, match=r"the tree of 300 entries has no such subtree"):
        TileReader(files.get, 300).node(3, 37)
    with pytest.raises(RefusedError, match=r"tile/0/001.p/44 is missing or has not its 44 hashes"):
        TileReader({**files, "tile/0/001.p/44": b"x" * 32}.get, 300).node(0, 256)
    with pytest.raises(RefusedError, match=r"tile/0/002.* is missing"):
        TileReader(files.get, 300).node(0, 600)


@pytest.mark.parametrize("place", sorted(VECTORS["tiles"]))
def test_paths_are_those_of_another_implementation(place: str) -> None:
    level, index, width = (int(part) for part in place.split("/"))
    told = VECTORS["tiles"][place].replace("tile/8/", "tile/").replace("/data/", "/entries/")
    assert Tile(None if level < 0 else level, index, width).path == told


def test_the_tiles_of_a_tree_are_those_of_the_specification() -> None:
    tiles = list(list_tiles(70_000))
    assert sum(tile.level == 0 and tile.width == 256 for tile in tiles) == 273
    assert [tile for tile in tiles if tile.width < 256] == [Tile(0, 273, 112), Tile(1, 1, 17), Tile(2, 0, 1)]
    assert list(list_tiles(256)) == [Tile(0, 0, 256), Tile(1, 0, 1)]
    assert list(list_tiles(600, start=520)) == [Tile(0, 2, 88), Tile(1, 0, 2)]
    assert list(list_bundles(600, start=511)) == [Tile(None, 1), Tile(None, 2, 88)]


@settings(deadline=None, max_examples=15)
@given(st.integers(1, 1000), st.data())
def test_what_a_tree_leaves_as_files_proves_every_entry(size: int, data: st.DataObject) -> None:
    files, tree = files_of(size), Frontier()
    for leaf in ALL[:size]:
        tree.append(leaf)
    assert sorted(tile.path for tile in list_tiles(size)) == sorted(files)
    reader = TileReader(files.get, size)
    assert find_root(size, reader.node) == tree.root()
    index = data.draw(st.integers(0, size - 1))
    path = prove_inclusion(index, size, reader.node)
    verify_inclusion(ALL[index], index, path, size=size, root=tree.root())


@given(st.lists(st.binary(max_size=40), max_size=9))
def test_bundles_give_back_their_entries(entries: list[bytes]) -> None:
    assert parse_bundle(encode_bundle(entries), Tile(None, 0, len(entries))) == entries


def test_a_reader_forgets_tiles_rather_than_keep_all() -> None:
    reads: list[str] = []

    def read(path: str) -> bytes:
        reads.append(path)
        return b"\0" * 32 * 256

    reader = TileReader(read, 1 << 24)
    for index in range(300):
        reader.node(0, index * 256)
    reader.node(0, 0)
    assert len(reads) == 301


def test_the_root_of_a_tree_is_known_at_every_size() -> None:
    tree, plain = Tree(), Frontier()
    assert tree.root() == EMPTY_ROOT
    for leaf in ALL[:600]:
        tree.append(leaf)
        plain.append(leaf)
        assert (tree.size, tree.root()) == (plain.size, plain.root())


def test_the_root_of_a_tree_of_three_levels_is_known() -> None:
    tree, plain, known = Tree(), Frontier(), {65_535, 65_536, 65_537, 65_791, 65_792, 66_100}
    for number in range(66_100):
        leaf = number.to_bytes(32, "big")
        tree.append(leaf)
        plain.append(leaf)
        if tree.size in known:
            assert tree.root() == plain.root()
    assert [tile for tile, _ in tree.edge()] == [Tile(0, 258, 52), Tile(1, 1, 2), Tile(2, 0, 1)]


@given(st.lists(st.integers(0, 300), max_size=4))
def test_entries_that_are_added_together_make_the_same_tree(counts: list[int]) -> None:
    together, alone, at = Tree(), Tree(), 0
    for count in counts:
        added = ALL[at : at + count]
        at += len(added)
        assert together.extend(added) == [tile for leaf in added for tile in alone.append(leaf)]
        assert (together.size, together.edge(), together.root()) == (alone.size, alone.edge(), alone.root())


def test_a_copy_of_a_tree_grows_by_itself() -> None:
    tree = Tree()
    for leaf in ALL[:300]:
        tree.append(leaf)
    other = tree.copy()
    for leaf in ALL[300:600]:
        other.append(leaf)
    assert (tree.size, tree.edge()) == (300, files_as_list(300))
    assert (other.size, other.edge()) == (600, files_as_list(600))


def files_as_list(size: int) -> list[tuple[Tile, bytes]]:
    files = files_of(size)
    return [(tile, files[tile.path]) for tile in list_tiles(size) if tile.width < 256]
