"""The table of sounds, as it is learnt from a dictionary."""

import struct
from pathlib import Path

import pytest

from bench.redact import sounds


def build_dictionary(path: Path, words: list[str]) -> None:
    """Write what of a dictionary is read: the section of its keys, a double array with a block for each inner node."""
    keys = {word.encode() for word in words}
    nodes = sorted({key[:size] for key in keys for size in range(len(key) + 1)})
    bases = {node: 256 * block for block, node in enumerate(sorted({node[:-1] for node in nodes if node}), 1)}
    units = [0] * (256 * (len(bases) + 1))
    for node in nodes:
        at = bases[node[:-1]] + node[-1] if node else 0
        units[at] = (at ^ bases[node] if node in bases else 0) << 10 | (node in keys) << 8 | (node[-1] if node else 0)
    body = struct.pack(f"<{len(units)}I", *units)
    size = bytes([0x80 | len(body) & 127, 0x80 | len(body) >> 7 & 127, len(body) >> 14])
    path.write_bytes((b"SudachiBinaryDic\x09TrieIndex\x80\x20" + size).ljust(4096, b"\0") + body)


def test_words_of_katakana_are_read_from_a_dictionarys_keys(tmp_path: Path) -> None:
    build_dictionary(tmp_path / "system.dic", ["アイス", "アイスラ", "アイ", "アーク"])
    assert sorted(sounds.list_katakana(tmp_path / "system.dic")) == ["アイス", "アイスラ", "アーク"]


def test_what_is_a_name_and_a_noun_says_nothing() -> None:
    name, noun, verb = ("名詞", "固有名詞", "人名"), ("名詞", "普通名詞", "一般"), ("動詞", "一般", "*")
    number = ("名詞", "数詞", "*")
    parts = {
        "カレン": {name},
        "ビル": {name, noun},
        "カメラ": {noun, verb},
        "ググル": {verb},
        "ゼロ": {number},
        "アダム": {name, number},
    }
    assert sounds.sort_words(parts, parts) == [("アダム", True), ("カメラ", False), ("カレン", True)]


def test_pieces_of_names_weigh_more_than_those_of_things_and_rare_ones_nothing() -> None:
    words = [(f"{first}ソン", True) for first in "アイウエオカ"] + [(f"{first}バン", False) for first in "サシスセソタ"]
    _, weights = sounds.train(sorted(words), least=6)
    assert weights["ソン$"] > 0 > weights["バン$"]
    assert "アソン" not in weights
    assert sounds.train(sorted(words), least=6) == sounds.train(sorted(words), least=6)


def test_a_table_holds_weights_in_steps_and_leaves_out_those_of_none() -> None:
    many = {f"ア{chr(ord('ァ') + at)}{chr(ord('ァ') + at // 2)}": 0.4 for at in range(80)}
    module = sounds.write(0.6, {"ソン$": 1.0, "バン$": -1.0, "ン": 0.05, **many}, "a dictionary")
    told: dict[str, object] = {}
    exec(module, told)  # noqa: S102 - what was just written
    assert told["BIAS"] == 3
    weights = told["WEIGHTS"]
    assert isinstance(weights, dict)
    assert weights[5] == "ソン$"
    assert weights[-5] == "バン$"
    assert weights[2].split() == sorted(many)
    assert set(weights) == {5, -5, 2}


@pytest.mark.slow
def test_the_table_is_what_the_dictionary_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = sounds.TABLE.read_text("utf-8")
    monkeypatch.setattr(sounds, "TABLE", tmp_path / "soundtable.py")
    assert sounds.main() == 0
    assert (tmp_path / "soundtable.py").read_text("utf-8") == there
