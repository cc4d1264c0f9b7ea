"""Names that a form or a letter announces: 氏名：…, 担当者: …, "name": "…"."""

# ruff: noqa: E501 - a Japanese sign counts as two columns

import re
from collections.abc import Iterator
from typing import Final

# What may announce a name; 担当 may also announce a department.
_LABEL: Final = re.compile(
    r"(?:氏名|お名前|姓名|宛名|担当者?名?|申請者|申込者|契約者|患者|差出人|送信者|受信者|記入者|署名|責任者|代表者|フリガナ|ふりがな"
    r"|\b(?i:full[ _]?name|first[ _]?name|last[ _]?name|surname|name|contact person|signed))(?:\([^()\n]{1,8}\))?"
    r"\"?\s?[:=]\s?\"?"
)
_VALUE: Final = re.compile(
    r"[一-鿿々〆ヶ㐀-䶿豈-﫿ぁ-んァ-ヺー]{1,10}(?:[ ・][一-鿿々〆ヶ㐀-䶿豈-﫿ぁ-んァ-ヺー]{1,10})?(?=[様殿]|さま|さん|\s*$|[\s\"、,。()「/|;])"
    r"|[A-Z][\w'.-]{0,24}(?: [A-Z][\w'.-]{0,24}){0,3}(?=\s*$|[\s\",。、();/|])",
    re.MULTILINE,
)
_HONORIFIC: Final = re.compile(r"(?:様|殿|さま|さん)?$")
_NOBODY: Final = re.compile(
    r"(?:[部課室係店局所署社会班]|チーム|グループ|センター|未定|なし|不明|株式会社.*|同上|必須|任意|以下)$"
)


def find_labelled(text: str) -> Iterator[tuple[int, int]]:
    """Yield names behind labels of folded text; departments and firms are none."""
    for label in _LABEL.finditer(text):
        value = _VALUE.match(text, label.end())
        if value and not _NOBODY.search(value[0]):
            yield value.start(), value.end() - len(_HONORIFIC.search(value[0])[0])  # type: ignore[index]
