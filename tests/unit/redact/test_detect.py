"""Time grows with the text and no faster, whatever the text."""

# ruff: noqa: E501 - a Japanese sign counts as two columns, and tables read better unbroken

import time

import pytest

from sekisho.redact.categories import Category
from sekisho.redact.detect import CANDIDATES
from tests.unit.redact.texts import DETECTOR, found

SIZE = 60_000
BUDGET_SECONDS = 5.0  # of the processor; a pass that were quadratic would take minutes


@pytest.mark.slow
@pytest.mark.parametrize(
    "seed",
    ["1", "1 ", "1-", "1a", "1234567 ", "1234567a", "@", "a@", "aa@a.", "-----BEGIN PRIVATE KEY-----", "eyJaaaaaaaaa.", "AB12", "1:", "a:", ":", "市1-",
     "東京都港区1-1", "東京都港区芝1 ", "東京都", "password=", "口座番号", "口座番号 1", "[[EML-", "０", "㈱", "\\u0031", "\\", "1.1.1.1.", "(", "一丁目", "電話 12345678 ", "\u200b", "口座番号,", "口座番号,1\n", "記号 12 番号 3 ", "記号", "区一ノ",
     "か\u3099", "１ー", "AB12 3456 7890 1234 ", "password ", "パスワード(", "パ ス ワ ー ド", "://a:b", "://", "-u a:", "mysql a", "insert into a(b) values ('1')", "insert into a(b", "('",
     "被保険者番号<a ", "被保険者番号\n", "1-1 Aa, ", "1の", "1〜", "IP......", "<input ", "<td>1234567", "品番,口座番号;", "1234567(", "口座番号)\n1", "A1-1-1 B, ",
     "copy a (phone) from stdin\n", "create table a (b text);insert into a values ('1');", "<tr><td>電話", "電話  番号  \n1  2\n", "〇三-一二三四-", "1|2|", "03/1234/5678 ", "%E3%81%82", "&#45;", "=12+34", "://a:b%40", "я@", "1.2.3.4から"],
)  # fmt: skip
def test_no_text_takes_more_than_linear_time(seed: str) -> None:
    text = (seed * SIZE)[:SIZE]
    began = time.process_time()
    DETECTOR.detect(text)
    assert time.process_time() - began < BUDGET_SECONDS


def test_nothing_is_found_in_nothing() -> None:
    assert found("") == []


def test_a_refused_candidate_does_not_hide_what_follows_it() -> None:
    assert found("AB12 3456 7890 1235 090-1234-5678")[-1] == ("090-1234-5678", "phone")


def test_every_kind_of_candidate_has_a_rule() -> None:
    assert len(CANDIDATES) == 17
    assert len(Category) == 21


@pytest.mark.parametrize(
    "text",
    ["2024/01/02/0345", "連絡先 01/02/2024", "期間 0123/4567-8901-2", "2019、2020、2021年", "1|0|1|1|0|1|0|0|1|0|1|1", "電話 12|3|4|5|6|7|8|9", "〇一二三四五六七八九十", "二〇二三年一二月", "第一二三四五六七回"],
)  # fmt: skip
def test_lists_dates_and_tables_of_digits_are_no_numbers_of_anything(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize(
    ("text", "value", "category"),
    [
        ("TEL 03/1234/5678", "03/1234/5678", "phone"), ("090/1234/5678へ", "090/1234/5678", "phone"), ("(0422/12-3456)", "0422/12-3456", "phone"),
        ("電話は070、3782、7645です", "070、3782、7645", "phone"), ("マイナンバーは1234、5678、9018です", "1234、5678、9018", "jp-my-number"),
        ("個人番号\n|1|2|3|4|5|6|7|8|9|0|1|8|", "1|2|3|4|5|6|7|8|9|0|1|8", "jp-my-number"), ("口座番号 │3 │ 8│５│2│6│1│4│", "3 │ 8│５│2│6│1│4", "bank-account"),
        ("〒一〇〇－〇〇〇一 東京都", "一〇〇－〇〇〇一", "jp-postal-code"), ("電話 〇九〇・一二三四・五六七八", "〇九〇・一二三四・五六七八", "phone"), ("マイナンバー：一二三四五六七八九〇一八", "一二三四五六七八九〇一八", "jp-my-number"),
        ("090の、1234の、5678", "090の、1234の、5678", "phone"), ("03ハイフン1234ハイフン5678です", "03ハイフン1234ハイフン5678", "phone"), ("国際 010-81-90-1234-5678", "010-81-90-1234-5678", "phone"),
    ],
)  # fmt: skip
def test_numbers_are_found_with_odd_signs_between_and_in_kanji(text: str, value: str, category: str) -> None:
    assert found(text) == [(value, category)]


def test_an_address_is_found_behind_numerals_that_are_no_number() -> None:
    assert found("京都市上京区一二三四五六七三丁目") == [("京都市上京区一二三四五六七三丁目", "jp-address")]
    assert found("東京都港区一の二の三の四の五の六の七")[0][1] == "jp-address"
