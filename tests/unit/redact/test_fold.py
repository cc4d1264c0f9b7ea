"""Folding: many spellings become one, and every place maps back."""

# ruff: noqa: E501 - a Japanese sign counts as two columns, and tables read better unbroken

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.redact.fold import fold

SIGNS = st.sampled_from(
    [
        *"aA1-09 \\u/",
        "０",
        "９",
        "㈱",
        "ﬃ",
        "ｶ",
        "ﾞ",
        "か",
        "\u3099",
        "\u200b",
        "−",
        "ー",
        "㍻",
        "é",
        "e",
        "\u0301",
        "𝟙",
        "\ud800",
        "漢",
        "\\uff11",
        "\\n",
        "😀",
        "٣",
    ]
)


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("０３−１２３４", "03-1234"), ("ﾏｲﾅﾝﾊﾞｰ", "マイナンバー"), ("パス", "パス"), ("1\u200b2\ufeff3", "123"),
        ("㈱", "(株)"), ("\\uff11\\u0031", "11"), ("a\\nb", "a\nb"), ("\\ud835\\udfd9", "1"), ("\\ud800", "\ufffd"), ("\ud800", "\ufffd"),
        ("1\x002\x1b3\x7f4\x9f5\\u00006", "123456"), ("1\u202e2\u20663\u206a4\ufff95\u180b6\ufe007\u31648\U000e00419\U000e01000", "1234567890"),
        ("4\ufe0f\u20e31\u0336\u03352\u20dd", "412"), ("e\u0301", "e"), ("❶➂⓿", "130"), ("a\tb\r\n\x0bc\x85", "a\tb\r\n\x0bc\x85"),
        ("٣", "3"), ("データ", "データ"), ("a\\\\u0031", "a\\u0031"), ("C:\\x", "C:\\x"), ("", ""),
        ("氏名：０１−２３（ア）", "氏名:01-23(ア)"), ("Ａか\u3099Ｂ\u0301１\u3000２", "AがB1 2"), ("１\\uff11２", "112"),
    ],
)  # fmt: skip
def test_spellings_become_one(text: str, folded: str) -> None:
    assert fold(text).text == folded


@pytest.mark.parametrize(
    ("text", "part", "was"),
    [
        ("あ㈱い123", "123", "123"), ("x㈱y", "株", "㈱"), ("1\u200b2\u200b3", "123", "1\u200b2\u200b3"), ("\\uff11\\uff12z", "12", "\\uff11\\uff12"),
        ("ﾊﾞｰ9", "バ", "ﾊﾞ"), ("a1b", "1", "1"),
    ],
)  # fmt: skip
def test_a_part_maps_to_what_it_was(text: str, part: str, was: str) -> None:
    folded = fold(text)
    at = folded.text.index(part)
    start, end = folded.span(at, at + len(part))
    assert text[start:end] == was


@settings(deadline=None, max_examples=200)
@given(st.lists(SIGNS, max_size=20).map("".join), st.data())
def test_every_span_maps_inside_the_text_and_folds_to_itself_again(text: str, data: st.DataObject) -> None:
    folded = fold(text)
    if not folded.text:
        return
    start = data.draw(st.integers(0, len(folded.text) - 1))
    end = data.draw(st.integers(start + 1, len(folded.text)))
    begin, stop = folded.span(start, end)
    assert 0 <= begin < stop <= len(text)
    assert folded.text[start:end] in fold(text[begin:stop]).text or "\u0301" in text or "\u3099" in text or "\\" in text


@settings(deadline=None, max_examples=100)
@given(st.lists(SIGNS, max_size=20).map("".join))
def test_neighbouring_spans_map_to_neighbours(text: str) -> None:
    folded = fold(text)
    ends = [folded.span(index, index + 1) for index in range(len(folded.text))]
    assert all(one[0] <= two[0] and one[1] <= two[1] for one, two in itertools.pairwise(ends))


@pytest.mark.parametrize(
    "run", ["＠", "－", "＼", "～", "！＂＃＄％＆＇（）＊＋，－．／０９：；＜＝＞？＠ＡＺ［＼］＾＿｀ａｚ｛｜｝～"]
)
def test_a_run_of_full_width_comes_to_what_its_signs_come_to(run: str) -> None:
    # A zero-width sign behind lets every sign be folded by itself.
    assert fold(f"漢{run}字").text == fold(f"漢{run}\u200b字").text
    assert fold(run).text == "".join(fold(sign + "\u200b").text for sign in run)
    assert fold(run).folded == (0,)


def test_a_full_width_sign_with_a_mark_stays_one_sign() -> None:
    assert fold("Ａ\u0301").text == "Á"


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("50%", "50%"), ("%zz %E3%81", "%zz %E3%81"), ("R&D; &amp &#1; &foo;", "R&D; &amp &#1; &foo;"), ("1 + 2 = 3+4", "1 + 2 = 3+4"), ("a=b+c", "a=b+c"), ("https://u:a%40b%2Fc@h/x%40y", "https://u:a%40b%2Fc@h/x@y"),
        ("taro%40example.jp", "taro@example.jp"), ("%E6%9D%B1%E4%BA%AC+%EF%BC%91", "東京 1"), ("03&#45;1234&#x2D;5678&nbsp;&hyphen;", "03-1234-5678 -"), ("&#xD800;&#65;", "\ufffdA"),
        ("a&tel=03+1234+5678", "a&tel=03 1234 5678"), ("%F0%9F%98%80%00", "😀"), ("&#65313;", "A"),
    ],
)  # fmt: skip
def test_escapes_of_urls_forms_and_html_become_what_they_stand_for(text: str, folded: str) -> None:
    assert fold(text).text == folded


@pytest.mark.parametrize(
    ("text", "part", "was"),
    [
        ("a%40b.jp", "@", "%40"),
        ("é%E6%9D%B1x1", "東x", "%E6%9D%B1x"),
        ("0&#45;1", "-1", "&#45;1"),
        ("://a:%41@%41z", "Az", "%41z"),
    ],
)
def test_a_part_of_an_escaped_text_maps_to_its_escapes(text: str, part: str, was: str) -> None:
    folded = fold(text)
    at = folded.text.rindex(part)
    start, end = folded.span(at, at + len(part))
    assert text[start:end] == was
