"""The dictionaries as they are installed: what they know, and what they refuse."""

import threading
import time
from itertools import product

import pytest

from sekisho.errors import Reason, UnavailableError
from sekisho.gateway.tagging import MAX_PIECE, SudachiLexicon, _cut, _read_words, load_tagger
from sekisho.redact.categories import Category
from sekisho.redact.fold import fold
from sekisho.redact.names import NameTagger
from sekisho.redact.words import Lexicon, Sort


@pytest.fixture(scope="module")
def tagger() -> NameTagger:
    return load_tagger()


def found(tagger: NameTagger, text: str) -> list[tuple[str, str]]:
    return [(text[span.start : span.end], span.category.value) for span in tagger.tag(text)]


def test_a_dictionary_that_is_not_there_is_refused_at_once() -> None:
    with pytest.raises(UnavailableError) as refusal:
        load_tagger("/nowhere/system.dic")
    assert refusal.value.reason is Reason.INTERNAL_ERROR
    assert "'/nowhere/system.dic'" in refusal.value.message
    assert "install sekisho[gateway]" in refusal.value.message


FAMILIES = ["川崎", "秋山", "九条", "七海", "髙橋", "德永", "大野"]
GIVEN = ["隆", "月", "朝陽", "隼人", "岳", "ひなた", "茜"]
FORMS = [
    "氏名　{}\n住所",
    "| 氏名 | {} | 3 |",
    "■お名前\n{}\n■住所",
    "出席：{}、ほか",
    "品名,担当者\nりんご,{}\n",
    "名簿\n{}\n",
    "[10:02] {}: はい",
    "{}と申します。",
]


@pytest.mark.slow
def test_names_with_a_space_are_found_whole_in_every_form(tagger: NameTagger) -> None:
    for family, given, form in product(FAMILIES, GIVEN, FORMS):
        name = f"{family} {given}"
        text = fold(form.format(name)).text
        covered = {at for span in tagger.tag(text) for at in range(span.start, span.end)}
        start = text.index(name)
        assert covered.issuperset(range(start, start + len(family))), text
        assert covered.issuperset(range(start + len(family) + 1, start + len(name))), text


@pytest.mark.slow
def test_forms_that_nobody_filled_in_hold_no_names(tagger: NameTagger) -> None:
    for text in (
        "氏名\n住所\n電話番号\n",
        "| 氏名 | 生年月日 | 備考 |\n|---|---|---|\n",
        "出席：10名",
        "10:00 受付: 一階",
        "担当 必須入力",
        "カナ 入力",
        "顧客名,数量\n合計,10\n",
        "営業部の目標です。",
        "これを関税といいます",
        "神様にお願い",
    ):
        assert [item for item in found(tagger, fold(text).text) if item[1] == "person"] == [], text


@pytest.mark.slow
def test_people_and_places_of_common_texts_are_found(tagger: NameTagger) -> None:
    assert found(tagger, "総務部の中村です。山田 太郎様と佐藤部長が、大阪で会う。") == [
        ("中村", "person"), ("山田 太郎", "person"), ("佐藤", "person"), ("大阪", "place"),
    ]  # fmt: skip
    assert found(tagger, "田中製薬株式会社の注文番号は12です") == []
    assert found(tagger, "Please ask Jennifer Smith.") == [("Jennifer Smith", "person")]


@pytest.mark.slow
def test_long_texts_are_cut_at_sentences_and_nothing_is_lost(tagger: NameTagger) -> None:
    text = "山田太郎が来た。" * 4000
    assert found(tagger, text).count(("山田太郎", "person")) == 4000
    assert len(found(tagger, "漢" * 30_000 + "、山田太郎")) >= 1
    pieces = list(_cut("あ" * (2 * MAX_PIECE + 5)))
    assert pieces == [(0, MAX_PIECE), (MAX_PIECE, 2 * MAX_PIECE), (2 * MAX_PIECE, 2 * MAX_PIECE + 5)]


@pytest.mark.slow
@pytest.mark.parametrize(
    "seed",
    [
        "アイ・",
        "ジョン・",
        "ジョン",
        "田中",
        "田中銀行",
        "大阪銀行",
        "A ",
        "Aa-",
        "Jane ",
        "氏名: ",
        "氏名:あ ",
        "漢",
        "ア",
        "J・",
        "社長の",
    ],
)
def test_no_text_takes_more_than_linear_time(tagger: NameTagger, seed: str) -> None:
    text = (seed * 20_000)[:20_000]
    began = time.process_time()
    list(tagger.tag(text))
    assert time.process_time() - began < 20  # of the processor; a pass that were quadratic would take minutes


@pytest.mark.slow
def test_threads_share_a_tagger(tagger: NameTagger) -> None:
    results: list[int] = []

    def tag() -> None:
        results.append(len(found(tagger, "山田太郎と鈴木花子。" * 50)))

    threads = [threading.Thread(target=tag) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [100] * 4


@pytest.mark.slow
def test_words_have_the_sorts_that_rules_ask_for(tagger: NameTagger) -> None:
    lexicon: Lexicon = tagger.japanese
    assert isinstance(lexicon, SudachiLexicon)
    sorts = {
        word.text: word.sort for word in lexicon.split("日本の大阪で、山田 太郎さんがソニー株式会社に3回お電話した")
    }
    assert sorts["日本"] is Sort.COUNTRY
    assert sorts["大阪"] is Sort.PLACE
    assert (sorts["山田"], sorts["太郎"], sorts[" "]) == (Sort.SURNAME, Sort.GIVEN, Sort.SPACE)
    assert (sorts["さん"], sorts["3"], sorts["、"], sorts["の"]) == (Sort.SUFFIX, Sort.NUMBER, Sort.SIGN, Sort.OTHER)
    assert lexicon.is_name("岡田")
    assert not lexicon.is_name("電話")
    assert lexicon.is_noun("電話")
    assert lexicon.is_surname("岡田")
    assert not lexicon.is_surname("太郎")
    assert not lexicon.is_surname("電話")
    assert lexicon.split("all ASCII") == []


def test_what_is_no_list_has_no_words() -> None:
    assert _read_words("Jane") == set()
    assert _read_words({"Jane": 0.5, "Анна": 0.1, "Ő": 1}) == {"jane"}


@pytest.mark.slow
def test_names_are_of_many_languages(tagger: NameTagger) -> None:
    assert {"jane", "björn", "josé", "yuki"} <= tagger.latin.given | tagger.latin.family
    assert {"monday", "canada"} <= tagger.latin.common
    assert Category.PERSON.value == "person"
