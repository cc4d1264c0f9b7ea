"""How a word in katakana sounds."""

import pytest

from sekisho.redact.sounds import STEPS, cut, rate
from sekisho.redact.soundtable import BIAS, WEIGHTS


def test_a_word_is_cut_into_pieces_of_up_to_three_signs_and_its_ends() -> None:
    assert cut("アイ") == {"ア", "イ", "^ア", "アイ", "イ$", "^アイ", "アイ$"}


def test_a_word_of_unknown_pieces_is_as_likely_as_any() -> None:
    assert rate("") == BIAS / STEPS


def test_no_piece_weighs_twice_and_none_weighs_nothing() -> None:
    pieces = [piece for listed in WEIGHTS.values() for piece in listed.split()]
    assert len(pieces) == len(set(pieces))
    assert 0 not in WEIGHTS


@pytest.mark.parametrize(
    ("name", "thing"),
    [("ブルナー", "モクセイモドキ"), ("リンデル", "オニカズラ"), ("ハーゲンベル", "ソフトメータ")],
)
def test_names_that_nobody_knows_sound_more_like_names_than_things_do(name: str, thing: str) -> None:
    assert rate(name) > 0 > -2 > rate(thing)
