"""Names that forms and letters announce."""

import pytest

from sekisho.redact.labelled import find_labelled


def labelled(text: str) -> list[str]:
    return [text[start:end] for start, end in find_labelled(text)]


@pytest.mark.parametrize(
    "text",
    [
        "担当:営業部",
        "担当: 未定",
        "氏名:",
        "氏名について",
        "担当者:株式会社花丸",
        "filename: Report",
        "名前 やまだ",
        "name: 12",
    ],
)
def test_departments_firms_and_other_labels_announce_nobody(text: str) -> None:
    assert labelled(text) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("氏名:やまだたろう", ["やまだたろう"]),
        ("お名前:﨑山 みほ様", ["﨑山 みほ"]),
        ('{"氏名": "山田 太郎", "年齢": 3}', ["山田 太郎"]),
        ('{"name": "Rubija Liberšar"}', ["Rubija Liberšar"]),
        ("氏名(カナ):ヤマダ タロウ\n住所:", ["ヤマダ タロウ"]),
        ("Name: Toshimi Arata\nPhone: 0", ["Toshimi Arata"]),
        ("担当:佐々木、連絡先は後日", ["佐々木"]),
    ],
)
def test_what_a_label_announces_is_a_name(text: str, expected: list[str]) -> None:
    assert labelled(text) == expected
