"""The nearest word before a number says what it is, however it is looked for."""

# ruff: noqa: E501 - a Japanese sign counts as two columns, and tables read better unbroken

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.redact.context import POSTAL_MARK, REACH, TOPIC_OF, Topic, read_topic

WORDS = sorted(TOPIC_OF, key=len, reverse=True)
PIECES = st.sampled_from([*TOPIC_OF, *(word.upper() for word in TOPIC_OF if word.isascii()), POSTAL_MARK, *"は:_ x1の"])


def _read_by_all_words(text: str) -> Topic | None:
    low = text.lower().replace("_", " ")
    for end in range(len(low), 0, -1):
        if low[end - 1] == POSTAL_MARK:
            return Topic.POSTAL
        for word in WORDS:
            start = end - len(word)
            around = low[max(0, start - 1) : max(0, start)] + low[end : end + 1]
            inside = word.isascii() and any(sign.isascii() and sign.isalnum() for sign in around)
            if low.endswith(word, 0, end) and not inside:
                return TOPIC_OF[word]
    return None


@given(st.lists(PIECES, max_size=6).map("".join))
def test_the_nearest_word_is_met_as_when_all_are_tried_at_every_place(text: str) -> None:
    before = text[-REACH:]
    expected = _read_by_all_words(before)
    # Words for numbers of anything (番号, No) are read where nothing that is known ends behind them.
    assert read_topic(before, len(before), len(before)) in {expected, Topic.OTHER}


@pytest.mark.parametrize(
    ("text", "topic"),
    [
        ("hotel", None), ("tel", Topic.PHONE), ("tel_", Topic.PHONE), ("telx", None), ("1tel", None), ("個人note", Topic.MY_NUMBER),
        ("credit card", Topic.CARD), ("credit_card", Topic.CARD), ("CREDIT_CARD:", Topic.CARD), ("口座の電話", Topic.PHONE), ("電話の口座は", Topic.BANK),
        ("〒", Topic.POSTAL), ("電話〒", Topic.POSTAL), ("〒電話", Topic.PHONE), ("〒番号", Topic.POSTAL), ("〒ID:", Topic.OTHER), ("受注番号", Topic.OTHER),
        ("マイナンバー番号", Topic.MY_NUMBER), ("口座No", Topic.BANK), ("口座none", Topic.BANK), ("カード残高", Topic.OTHER), ("", None), ("番号", None),
        ("スピード", None), ("番組コード", Topic.OTHER), ("バーコード", Topic.OTHER),
    ],
)  # fmt: skip
def test_words_are_whole_where_they_are_english(text: str, topic: Topic | None) -> None:
    assert read_topic(text, len(text), len(text)) is topic
