"""The nearest word before a number says what it is, however it is looked for."""

# ruff: noqa: E501 - a Japanese sign counts as two columns, and tables read better unbroken

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.redact.context import POSTAL_MARK, REACH, TOPIC_OF, Topic, is_counted, read_heading, read_topic

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


@pytest.mark.parametrize(
    "before",
    [
        "口座番号 9573401\n", "口座番号：9573401。", '"zip": "6591234", "x": "', "<zip>6591234</zip><x>", "account=123&x=", "口座,電話\n", "口座|電話|\n", "9573401(口座番号)\n", "普通株式 ", "当座比率 ",
    ],
)  # fmt: skip
def test_a_word_that_has_its_number_says_nothing_of_the_next(before: str) -> None:
    assert read_topic(before, len(before), len(before)) is None


@pytest.mark.parametrize(
    ("before", "topic"),
    [
        ("口座番号\n", Topic.BANK), ("口座番号（7桁）\n", Topic.BANK), ("My Number (12 digits): ", Topic.MY_NUMBER), ("マイナンバー（12桁）：", Topic.MY_NUMBER), ("電話 03-1234-5678 / 携帯 ", Topic.PHONE),
        ("口座 9573401 と ", Topic.BANK), ("TEL（代表）\n", Topic.PHONE), ("ご住所（郵便番号）\n", Topic.POSTAL), ("MyNumber(社会保障・税番号): ", Topic.MY_NUMBER), ("(受付番号) ", Topic.OTHER), ("免許 証番号 ", Topic.LICENCE),
        ("口座番号を教えてください。\nA1. ", Topic.BANK), ("口座番号\n1) ", Topic.BANK), ("口座番号 7654321\n2) ", None), ('"口座番号": {"type": "SINGLE_LINE_TEXT", "value": "', Topic.BANK), ('{"name": "口座番号", "value": "', Topic.BANK), ('{"x": "value": "', None),
        ('<label for="i0">口座番号</label>\n<input id="i0" class="form-control" value="', Topic.BANK), ("保険証番号 1234 と ", None), ("口座番号 1 と 2\nA1. ", None),
        ("マイナ ンバー：", Topic.MY_NUMBER), ('"accountNumber": "', Topic.BANK), ("memberNo=", Topic.OTHER), ('<input type="text" name="tel" value="', Topic.PHONE), ("<td>口座番号</td><td>", Topic.BANK),
        ("<label>口座番号</label><input type='text' class='wide' value='", Topic.BANK), ("passport_id: ", Topic.PASSPORT), ("No. ", Topic.OTHER), ("No.", Topic.OTHER), ("Order number ", Topic.OTHER), ("zip code ", Topic.POSTAL),
        ("item code ", Topic.OTHER), ("the number ", None), ("the code ", None), ('{"label": "口座番号", "type": "text", "required": true, "answer": "', Topic.BANK), ('{"label": "TEL", "note": "口座番号", "answer": "', Topic.PHONE), ('form-data; name="koza_bango"\n\n', Topic.BANK),
        ('form-data; name="tel"\nContent-Type: text/plain\n\n', Topic.PHONE), ("口座番号教えて\n16:45\t片山\t", Topic.BANK), ("! 口座番号\n| ", Topic.BANK), ("健保番号：", Topic.INSURED), ('<Field name="accountNumber" value="', Topic.BANK), ('<Person accountNumber="', Topic.BANK), ('<tns:accountNumber xsi:type="xsd:string">', Topic.BANK), ('<field name="tel">', Topic.PHONE), ('<passport value="', Topic.PASSPORT), ("Error: accountNumber (", Topic.BANK), ("版数 ", Topic.OTHER), ("普通 ", Topic.BANK), ("普通で", Topic.BANK), ("( 口座)\n", Topic.BANK), ("コ(税番号) ", Topic.OTHER), ("(税番号)", Topic.OTHER),
    ],
)  # fmt: skip
def test_labels_are_read_through_notes_tags_gaps_and_keys(before: str, topic: Topic | None) -> None:
    assert read_topic(before, len(before), len(before)) is topic


@pytest.mark.parametrize(
    ("text", "topic"),
    [
        ("1234567(口座番号)", Topic.BANK), ("1234567 ← 口座番号", Topic.BANK), ("1234567 as account number", Topic.BANK), ("1234567という口座番号", Topic.BANK), ("1234567/口座番号", Topic.BANK), ("1234567 (LOT)", Topic.OTHER),
        ("1234567\n【口座番号】", None), ("1234567 口座番号", None),
    ],
)  # fmt: skip
def test_a_label_right_behind_counts_where_none_before_does(text: str, topic: Topic | None) -> None:
    assert read_topic(text, 0, 7) is topic
    before = "電話 03-1234-5678\n"
    assert read_topic(before + text, len(before), len(before) + 7) is topic


def test_a_label_right_behind_counts_before_one_of_the_line_above() -> None:
    before = "電話\n"
    assert read_topic(f"{before}1234567(口座番号)", len(before), len(before) + 7) is Topic.BANK
    assert read_topic(f"{before}1234567(あ)", len(before), len(before) + 7) is Topic.PHONE
    assert read_topic("電話 1234567(口座番号)", 3, 10) is Topic.PHONE


def test_a_word_counts_only_without_a_number_between_where_that_is_asked_for() -> None:
    text = "注文番号 12 と 10.2.3.4"
    assert read_topic(text, 11, len(text)) is Topic.OTHER
    assert read_topic(text, 11, len(text), near=True) is None


@pytest.mark.parametrize(("heading", "topic"), [("accountNumber", Topic.BANK), ("型番", Topic.OTHER), ("備考", None)])
def test_headings_of_columns_are_read_like_keys(heading: str, topic: Topic | None) -> None:
    assert read_heading(heading) is topic


@pytest.mark.parametrize("text", ["JPY 1234567", "¥1234567", "第1234567", "$ 1234567", "1234567株", "1234567ページ"])
def test_prices_and_counts_are_known_by_what_stands_beside_them(text: str) -> None:
    start = text.index("1")
    assert is_counted(text, start, start + 7)


@pytest.mark.parametrize("text", ["EY 1234567", "d 1234567", "1234567", "Tel.1234567"])
def test_other_letters_before_a_number_are_no_currency(text: str) -> None:
    start = text.index("1")
    assert not is_counted(text, start, start + 7)
