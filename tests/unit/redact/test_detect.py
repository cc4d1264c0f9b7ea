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
     "被保険者番号<a ", "被保険者番号\n", "1-1 Aa, ", "1の", "1〜", "IP......", "<input ", "<td>1234567", "品番,口座番号;", "1234567(", "口座番号)\n1", "A1-1-1 B, "],
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
    assert len(CANDIDATES) == 14
    assert len(Category) == 21
