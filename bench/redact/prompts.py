"""Prompts of one to four kilobytes, Japanese and English, with some items in each."""

# ruff: noqa: E501 - a Japanese sign counts as two columns

import random

from bench.redact.made import make

_JAPANESE = (
    "お世話になっております。先日ご相談した件について、資料を確認のうえ要点をまとめてください。", "会議は来週の火曜日に延期になりました。参加者には改めて連絡します。",
    "本製品は温度管理が必要なため、到着後は速やかに冷蔵庫で保管してください。", "売上は前年同期と比べて一割ほど増え、海外の需要がそれを支えました。",
    "次の文章を読み、著者の主張を三つの箇条書きに要約してください。", "契約の更新にあたり、条件の変更点と、その理由を説明する必要があります。",
)  # fmt: skip
_ENGLISH = (
    "Please summarise the following conversation in a few sentences and list what is still open. ",
    "The customer would like to know why the delivery took longer than it was promised. ",
    "Write a polite answer that explains the delay and offers a refund where it is due. ",
    "The function returns an error when the list is empty; change it so that it returns nothing. ",
    "Our team meets every Monday at ten, and notes are kept in the shared folder for everyone. ",
)
_ITEMS_EN = (
    "my card is 4111 1111 1111 1111. ",
    "write to jane.doe@example.com. ",
    "call me at 555-123-4567. ",
    "IBAN DE89370400440532013000. ",
    "it came from 10.20.30.40. ",
    "my SSN is 536-90-4399. ",
)


def build_prompts(seed: int, count: int, *, english: bool = False) -> list[str]:
    """Make prompts; about one item in half a kilobyte."""
    rng = random.Random(seed)  # noqa: S311 - made-up data
    items = [item.text + "。" for item in make(seed, 20)]
    prompts = []
    for _ in range(count):
        size, parts, length = rng.randint(1000, 4000), [], 0
        while length < size:
            item = rng.random() < 0.15
            pool = (
                (_ITEMS_EN if item else _ENGLISH) if english else items if item else rng.choice((_JAPANESE, _ENGLISH))
            )
            part = rng.choice(pool)
            parts.append(part)
            length += len(part.encode())
        prompts.append("".join(parts))
    return prompts
