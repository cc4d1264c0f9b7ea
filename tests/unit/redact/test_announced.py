"""Names that something announces without a colon."""

import pytest

from sekisho.redact.announced import find_announced

NAMES = ["安田", "大野", "上野", "川崎", "山内", "一色", "平野", "松本", "四十万", "伊集院"]
NOUNS = ["住所", "受付", "議題", "関税", "方針", "目標", "責任", "関", "部長"]


def announced(text: str) -> list[str]:
    found = find_announced(text, lambda value: value in NAMES or value not in NOUNS, NAMES.__contains__)
    return [text[start:end] for start, end in found]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("氏名 安田\n", ["安田"]),
        ("| 氏名 | 川崎 隆 | 3 |", ["川崎 隆"]),
        ("【氏名】安田ひなた", ["安田ひなた"]),
        ("患者名 上野 月(62歳、男性)", ["上野 月"]),
        ("主治医|松本凪 医師\n", ["松本凪"]),
        ("■ご契約者名\n・大野心春\n", ["大野心春"]),
        ("出席者:安田、大野(記)、上野/川崎 隆\n欠席:山内\n", ["安田", "大野", "上野", "川崎 隆", "山内"]),
        ("メンバー : 安田様;大野", ["安田", "大野"]),
        ("[10:02] 松本: はい\n10:03:04\t上野\tいます\n2025/04/01 9:00 大野 : 了解", ["松本", "上野", "大野"]),
        ("はじめまして、安田と申します。弊社の大野 隆といいます", ["安田", "大野 隆"]),
        ("営業部の上野です。", ["上野"]),
        ("株式会社みかんの一色でございます。", ["一色"]),
        ("よろしくお願いします。\n\n安田\n", ["安田"]),
        ("お願いします!\n \n上野 拝", ["上野"]),
        ("担当は平野とし、伊集院が補佐する。", ["平野", "伊集院"]),
        ("その件、一色より折り返します", ["一色"]),
        ("担任:安田\n(長女・上野)", ["安田", "上野"]),
        ("担当看護師 平野\n承認 松本→一色", ["平野", "松本"]),
        ("共有済みです。\n山内\n", ["山内"]),
    ],
)
def test_what_is_announced_is_a_name(text: str, expected: list[str]) -> None:
    assert sorted(announced(text)) == sorted(expected)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "みかん",
        "氏名\n住所\n電話番号\n",
        "氏名 住所 電話番号",
        "氏名 必須",
        "| 氏名 | 備考 |",
        "フリガナ 省略可",
        "出席:全員",
        "参加者:10名、20名",
        "出席者:部長、各位",
        "10:00 受付: 一階",
        "10:15 議題: 予算",
        "これを関税といいます",
        "営業部の目標です。",
        "大学の方針でございます。",
        "以上です。\n\n目次\n",
        "以上です。\n方針",
        "担任:関税\n承認 目標、",
        "担当は責任とし、方針が補佐する。",
        "氏名 " + "あ" * 40,
    ],
)
def test_fields_words_and_headings_are_nobody(text: str) -> None:
    assert announced(text) == []
