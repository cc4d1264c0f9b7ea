"""People and places together."""

# ruff: noqa: E501 - a Japanese sign counts as two columns, and tables read better unbroken

import pytest

from sekisho.redact.categories import Category
from sekisho.redact.detect import Detector
from sekisho.redact.latin import LatinNames
from sekisho.redact.names import NameTagger
from sekisho.redact.places import find_places
from sekisho.redact.words import Sort, Word, word_at
from tests.unit.redact.lexicons import Listed, build_words

NOBODY = LatinNames(frozenset(), frozenset(), frozenset())


def places(notation: str) -> list[str]:
    words = build_words(notation)
    text = "".join(word.text for word in words)
    return [text[start:end] for start, end in find_places(words)]


def test_places_in_names_of_firms_and_schools_are_none() -> None:
    assert places("株式会社/NOUN 大阪/PLACE は/OTHER") == []
    assert places("大阪/PLACE 大学/NOUN は/OTHER") == []
    assert places("県/NOUN は/OTHER") == []


def test_neighbouring_places_are_one_with_what_says_their_kind() -> None:
    assert places("日本/COUNTRY 大阪/PLACE 市/NOUN と/OTHER 京都/PLACE で/OTHER") == ["日本大阪市", "京都"]


@pytest.mark.parametrize(
    "notation",
    [
        "札幌/PLACE オリンピック/NOUN で/OTHER", "神田/PLACE 高等/OTHER 女学校/NOUN を/OTHER", "京都/PLACE 案/NOUN", "東京/PLACE 大/PREFIX 空襲/NOUN",
        "FC/NOUN バルセロナ/PLACE は/OTHER", "レゲエ/NOUN ジャパン/COUNTRY で/OTHER", "シカゴ/PLACE ・/SIGN ブルズ/NOUN! の/OTHER",
        "ドゥ/NOUN ・/SIGN フランス/COUNTRY で/OTHER", "デトロイト/PLACE ・/SIGN X/NOUN", "小川/SURNAME さん/SUFFIX", "カラヒー/NOUN! 氏/SUFFIX",
        "山/NOUN 川/NOUN",
    ],
)  # fmt: skip
def test_places_in_names_of_events_teams_and_works_are_none(notation: str) -> None:
    assert places(notation) == []


@pytest.mark.parametrize(
    ("notation", "expected"),
    [
        ("札幌/PLACE 市内/NOUN の/OTHER", "札幌"), ("東京/PLACE 在住/NOUN の/OTHER", "東京"), ("日本/COUNTRY 人/SUFFIX は/OTHER", "日本"),
        ("東/NOUN ドイツ/COUNTRY で/OTHER", "東ドイツ"), ("カラヒー/NOUN! 山/SUFFIX の/OTHER", "カラヒー山"), ("小川/SURNAME 町/SUFFIX から/OTHER", "小川町"),
        ("プロイセン/NAME 王国/NOUN は/OTHER", "プロイセン王国"), ("筑紫が丘/PLACE 二/NUMBER 丁目/NOUN に/OTHER", "筑紫が丘二丁目"),
        ("大阪/PLACE ・/SIGN 京都/PLACE で/OTHER", "大阪 京都"), ("韓国/COUNTRY ・/SIGN 朝鮮/PLACE 籍/SUFFIX の/OTHER", "韓国 朝鮮"),
        ("首都/NOUN 東京/PLACE に/OTHER", "東京"), ("大阪/PLACE ・/SIGN 万博/NOUN の/OTHER", "大阪"), ("0001/NUMBER 京都/PLACE で/OTHER", "京都"), ("京都/PLACE 3/NUMBER", ""),
    ],
)  # fmt: skip
def test_what_stands_beside_a_place_is_where_it_is_or_its_kind(notation: str, expected: str) -> None:
    assert places(notation) == expected.split()


def test_a_text_without_japanese_is_not_cut_into_words() -> None:
    found = list(NameTagger(Listed(), LatinNames(frozenset({"jane"}), frozenset(), frozenset())).tag("Jane, Berlin"))
    assert [(span.start, span.end, span.category) for span in found] == [(0, 4, Category.PERSON)]


def test_a_place_that_is_a_person_is_no_place() -> None:
    words = build_words("岡田/PLACE 社長/NOUN は/OTHER 大阪/PLACE で/OTHER 田中/SURNAME と/OTHER")
    detector = Detector(frozenset({Category.PERSON, Category.PLACE}), None, NameTagger(Listed(words, "岡田"), NOBODY))
    text = "岡田社長は大阪で田中と"
    found = [(text[span.start : span.end], span.category.value) for span in detector.detect(text)]
    assert found == [("岡田", "person"), ("大阪", "place"), ("田中", "person")]


def test_before_the_first_word_and_behind_the_last_stands_nothing() -> None:
    words = build_words("田中/SURNAME")
    assert (word_at(words, -1).text, word_at(words, 1).text) == ("", "")


def test_how_a_name_is_read_goes_with_it() -> None:
    words = build_words(
        "田中/SURNAME (/SIGN たなか/NOUN _/SPACE たろう/NOUN )/SIGN と/OTHER 鈴木/SURNAME (/SIGN 38/NUMBER )/SIGN"
    )
    detector = Detector(frozenset({Category.PERSON}), None, NameTagger(Listed(words), NOBODY))
    text = "田中(たなか たろう)と鈴木(38)"
    assert [text[span.start : span.end] for span in detector.detect(text)] == ["田中", "たなか たろう", "鈴木"]


def test_names_in_a_column_are_told_by_its_heading() -> None:
    text = "社員名,数\nTaro X,1\nやまだ,2\n"
    tagger = NameTagger(Listed(build_words(text.replace("\n", "").replace(" ", "_") + "/OTHER")), NOBODY)
    found = tagger.tag(text)
    assert [text[span.start : span.end] for span in (next(found), next(found))] == ["Taro X", "やまだ"]


class _Clauses(Listed):
    """A dictionary that cuts nothing but knows one name."""

    def split(self, text: str) -> list[Word]:
        self.asked = [*getattr(self, "asked", []), text]
        at = text.find("高橋")
        return [Word(at, at + 2, "高橋", Sort.SURNAME)] if at >= 0 else []


@pytest.mark.parametrize(
    ("text", "clauses"),
    [
        ("みかん。次の髙橋が来た。りんご", ["次の高橋が来た"]),
        ("髙橋\n", ["高橋"]),
        ("髙" * 3 + "橋", ["高高高橋"]),
        ("あ" * 40 + "髙橋" + "い" * 40 + "德", ["あ" * 24 + "高橋" + "い" * 22, "い" * 18 + "徳"]),
    ],
)
def test_a_dictionary_is_asked_for_the_usual_form_of_signs_in_names(text: str, clauses: list[str]) -> None:
    lexicon = _Clauses()
    spans = list(NameTagger(lexicon, NOBODY).tag(text))
    assert lexicon.asked == [*clauses, text]
    assert {text[span.start : span.end] for span in spans} == {"髙橋"}


def test_a_place_that_acts_is_a_person_and_no_place() -> None:
    tagger = NameTagger(Listed(build_words("鹿島/PLACE が/OTHER"), names="鹿島"), NOBODY)
    assert [(span.start, span.end, span.category) for span in tagger.tag("鹿島が")] == [(0, 2, Category.PERSON)]


def test_lines_without_a_table_hold_no_column() -> None:
    assert list(NameTagger(Listed(), NOBODY).tag("a\nb\n")) == []
