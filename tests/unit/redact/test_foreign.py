"""Foreign names: what touches them, where they stand, and how words sound that no dictionary has."""

# ruff: noqa: E501 - a Japanese sign counts as two columns, and tables read better unbroken

import pytest

from tests.unit.redact.lexicons import people


@pytest.mark.parametrize(
    "notation",
    [
        "エアー/NOUN アラン/NAME が/OTHER", "アラン/NAME 語/NOUN は/OTHER", "アラン/NAME 朝/SUFFIX の/OTHER", "スタッフ/NOUN さん/SUFFIX が/OTHER", "ママ/NOUN さん/SUFFIX に/OTHER",
        "ベルリン/PLACE 市長/NOUN が/OTHER", "ベルリン/PLACE は/OTHER", "ベルリン/PLACE を/OTHER", "フォード/PROPER が/OTHER",
        "FC/NOUN アラン/NAME が/OTHER", "FC/NOUN リンデル/NOUN! ・/SIGN ブルナー/NOUN! は/OTHER", "『/SIGN アラン/NAME 』/SIGN を/OTHER",
    ],
)  # fmt: skip
def test_firms_languages_places_and_whoever_works_somewhere_are_no_people(notation: str) -> None:
    assert people(notation, names="ベルリン フォード スタッフ ママ") == []


@pytest.mark.parametrize(
    ("notation", "expected"),
    [
        ("シスター/NOUN アラン/NAME が/OTHER", ["アラン"]), ("監督/NOUN アラン/NAME が/OTHER", ["アラン"]), ("メンバー/NOUN アラン/NAME が/OTHER", ["アラン"]),
        ("アラン/NAME 大統領/NOUN は/OTHER", ["アラン"]), ("アラン/NAME 航海/NOUN 長/SUFFIX は/OTHER", ["アラン"]), ("アラン/NAME 宛/NOUN に/OTHER", ["アラン"]),
    ],
)  # fmt: skip
def test_what_people_are_leaves_the_name_beside_it_a_persons(notation: str, expected: list[str]) -> None:
    assert people(notation) == expected


@pytest.mark.parametrize(
    ("notation", "expected"),
    [
        ("哲学/NOUN 者/SUFFIX セーレン/PROPER ・/SIGN ダイク/NAME は/OTHER", ["セーレン・ダイク"]), ("セーレン/PROPER ・/SIGN ダイク/NAME は/OTHER", []),
        ("デ/NOUN ・/SIGN ブルナ/NOUN 首相/NOUN が/OTHER", ["デ・ブルナ"]), ("デ/NOUN ・/SIGN ブルナ/NOUN が/OTHER", []),
        ("社長/NOUN ミラー/NAME ・/SIGN グループ/NOUN が/OTHER", []), ("社長/NOUN ミラー/NAME ・/SIGN アンド/NOUN ・/SIGN ダイク/NAME が/OTHER", []),
        ("ダグラス/NAME ・/SIGN フェア/NAME バンクス/NAME は/OTHER", ["ダグラス・フェアバンクス"]),
        ("オニカズラ/NOUN! ・/SIGN モクセイモドキ/NOUN! は/OTHER", []), ("オニカズラ/NOUN! ・/SIGN リンデル/NOUN! は/OTHER", ["オニカズラ・リンデル"]),
        ("リンデル/NOUN! ・/SIGN パリ/PLACE ・/SIGN ブルナー/NOUN! は/OTHER", []),
    ],
)  # fmt: skip
def test_names_of_several_parts_are_told_by_what_somebody_is_and_by_their_sound(
    notation: str, expected: list[str]
) -> None:
    assert people(notation, names="") == expected


@pytest.mark.parametrize(
    ("notation", "expected"),
    [
        ("レイブン/NOUN! を/OTHER", ["レイブン"]), ("ドラグニス/NOUN! を/OTHER", []), ("ドラグニス/NOUN! は/OTHER", ["ドラグニス"]), ("ドラグニス/NOUN! と/OTHER", ["ドラグニス"]),
        ("オニカズラ/NOUN! と/OTHER", []), ("アオタケ/NOUN! は/OTHER", []), ("リンデル/NOUN! です/OTHER", ["リンデル"]), ("ブルナー/NOUN! です/OTHER", []), ("レイブン/NOUN! !/SIGN", []),
        ("ハーゲンベル/NOUN! が/OTHER", ["ハーゲンベル"]), ("ハーゲンベル/NOUN! で/OTHER", []),
        ("リンデル/NOUN!", []), ("昨日/NOUN の/OTHER リンデル/NOUN!", ["リンデル"]),
        ("同年/NOUN リンデル/NOUN! は/OTHER", ["リンデル"]), ("企業/NOUN リンデル/NOUN! は/OTHER", []),
    ],
)  # fmt: skip
def test_a_word_that_nobody_knows_has_to_sound_like_a_name_where_it_stands(notation: str, expected: list[str]) -> None:
    assert people(notation, nouns="ハーゲン") == expected


@pytest.mark.parametrize(
    "notation",
    ["ハルト/NOUN マン/NOUN は/OTHER", "ハルト/NOUN は/OTHER", "ハルト/PROPER は/OTHER", "マウス/NOUN が/OTHER"],
)
def test_known_words_are_no_people_by_their_sound(notation: str) -> None:
    assert people(notation, names="ハルト マウス") == []


@pytest.mark.parametrize(
    ("notation", "expected"),
    [
        ("謝罪/NOUN し/OTHER た/OTHER フォード/PROPER は/OTHER", ["フォード"]), ("フォード/PROPER は/OTHER 謝罪/NOUN し/OTHER", ["フォード"]), ("フォード/PROPER を/OTHER 批判/NOUN し/OTHER", []),
        ("ベルリン/PLACE が/OTHER 演説/NOUN し/OTHER", ["ベルリン"]), ("ベルリン/PLACE が/OTHER 完成/NOUN し/OTHER", []), ("結婚/NOUN し/OTHER た/OTHER ベルリン/PLACE も/OTHER", ["ベルリン"]),
        ("課長/NOUN の/OTHER ベルリン/PLACE が/OTHER", ["ベルリン"]), ("課長/NOUN の/OTHER ベルリン/PLACE へ/OTHER", []),
        ("結婚/NOUN し/OTHER た/OTHER プラント/NOUN も/OTHER", ["プラント"]), ("プラント/NOUN も/OTHER 結婚/NOUN し/OTHER", []), ("結婚/NOUN し/OTHER た/OTHER ドイツ/COUNTRY は/OTHER", []),
        ("「/SIGN フォード/PROPER は/OTHER 謝罪/NOUN し/OTHER", []),
    ],
)  # fmt: skip
def test_places_firms_and_common_words_are_people_where_they_do_what_people_do(
    notation: str, expected: list[str]
) -> None:
    assert people(notation, names="フォード ベルリン プラント ドイツ") == expected
