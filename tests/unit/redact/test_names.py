"""People and places together."""

from sekisho.redact.categories import Category
from sekisho.redact.detect import Detector
from sekisho.redact.latin import LatinNames
from sekisho.redact.names import NameTagger
from sekisho.redact.places import find_places
from sekisho.redact.words import word_at
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
    assert places("日本/COUNTRY 大阪/PLACE 市/NOUN と/OTHER 京都/PLACE 案/NOUN") == ["日本大阪市", "京都"]


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
