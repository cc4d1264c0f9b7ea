"""The words that say what a number is: the one nearest before it counts."""

# ruff: noqa: E501 - a Japanese sign counts as two columns

import re
from collections.abc import Iterable
from enum import Enum, auto
from typing import Final

REACH: Final = 40
POSTAL_MARK: Final = "〒"


class Topic(Enum):
    """What a word says that a number near it is."""

    MY_NUMBER = auto()
    CORPORATE = auto()
    LICENCE = auto()
    PASSPORT = auto()
    RESIDENCE = auto()
    PENSION = auto()
    INSURANCE = auto()
    BANK = auto()
    PHONE = auto()
    POSTAL = auto()
    CARD = auto()
    SSN = auto()
    OTHER = auto()

    # Enumerations hash their names by a function in Python.
    __hash__ = object.__hash__


_WORDS: Final[dict[Topic, str]] = {
    Topic.MY_NUMBER: "マイナンバー マイナンバーカード マイナ番号 通知カード 個人番号 個人no my_number mynumber individual_number individualnumber",
    Topic.CORPORATE: "法人番号 登録番号 インボイス番号 corporate_number corporatenumber",
    Topic.LICENCE: (
        "免許 ライセンス番号 運転免許 免許証 免許番号 免許の番号 driver's_license driver's_licence driving_licence driver_license driver_licence drivers_license drivers_licence licensenumber license_number licence_number"
    ),
    Topic.PASSPORT: "旅券 パスポート passport passportnumber passportno",
    Topic.RESIDENCE: "在留カード 在留番号 在留 residence_card",
    Topic.PENSION: "基礎年金番号 基礎年金 年金番号 年金手帳 pension",
    Topic.INSURANCE: "保険者番号 被保険者 保険証 健康保険 健保 国保 insurer insurance",
    Topic.BANK: (
        "口座 口座番号 普通預金 普通 当座 当座預金 預金 振込先 ゆうちょ 支店 bank_account account_number account_no acct bankaccount accountnumber accountno"
    ),
    Topic.PHONE: (
        "電話 電話番号 携帯 携帯番号 ケータイ スマホ 連絡先 ファックス ファクス ファクシミリ ダイヤル 直通 代表 tel fax phone "
        "telephone mobile cell call dial contact reach answering messages office landline hotline voicemail sms whatsapp phonenumber phoneno telno "
        "mobilephone homephone 発信者番号 着信番号 着信 発信"
    ),
    Topic.POSTAL: "郵便番号 zip postal postcode zipcode postalcode",
    Topic.CARD: (
        "カード カード番号 クレジットカード クレカ デビットカード クレジット credit_card card cc visa mastercard jcb amex cardnumber creditcard"
    ),
    Topic.SSN: "ssn social_security",
    Topic.OTHER: (
        "注文 注文番号 オーダー 伝票 伝票番号 追跡 追跡番号 問い合わせ番号 お問い合わせ番号 問合せ番号 品番 型番 部品番号 商品番号 "
        "商品コード 管理番号 受付番号 整理番号 予約番号 会員番号 社員番号 学籍番号 顧客番号 シリアル シリアル番号 製造番号 ロット "
        "ロット番号 契約番号 請求書番号 請求番号 見積番号 見積 取引番号 案件番号 申請番号 チケット番号 番組コード バーコード "
        "型式 図番 バージョン ハッシュ タイムスタンプ jan isbn ean order tracking invoice serial sku lot version ticket timestamp build hash "
        "commit"
    ),
}
TOPIC_OF: Final = {word.replace("_", " "): topic for topic, words in _WORDS.items() for word in words.split()}
_IN_WORDS: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_")
# By themselves they say nothing: the number of what?
GENERIC: Final = frozenset({"番号", "no", "id", "ード"})


def _spell(turned: Iterable[str], *, whole: bool, inside: bool = False) -> str:
    """Return an expression for words, of those that begin alike the longest first; `whole`: they are no parts of words."""
    behind: dict[str, list[str]] = {}
    for word in turned:
        behind.setdefault(word[:1], []).append(word[1:])
    ends = ["(?![a-z0-9_])" if whole else ""] if behind.pop("", None) else []
    branches = [
        # A branch begins with its sign, so that most places are passed over without a try.
        sign + (f"(?<![a-z0-9_]{sign})" if whole and not inside else "") + _spell(rest, whole=whole, inside=True)
        for sign, rest in behind.items()
    ]
    return f"(?:{'|'.join([*branches, *ends])})" if inside else "|".join(branches)


_TURNED: Final = {word[::-1]: topic for word, topic in (*TOPIC_OF.items(), (POSTAL_MARK, Topic.POSTAL))}
_ALL_TURNED: Final = (*_TURNED, *(word[::-1] for word in GENERIC))
# Texts are read backwards, so that the nearest word is met first. English words are whole words ("hotel" is no "tel");
# Japanese has no gaps between words.
_NEAREST: Final = re.compile(
    f"{_spell((word for word in _ALL_TURNED if not word.isascii()), whole=False)}"
    f"|{_spell((word for word in _ALL_TURNED if word.isascii()), whole=True)}"
)
_NUMBERED: Final = re.compile(r"[一-鿿々ァ-ヶー]")
# 口座残高, 電話代, 携帯料金: how much or how many, and no number of one. 電話代表 and 口座名義 are none of these.
_QUANTITY: Final = re.compile(
    r"(?:残高|総?額|料金?|代(?![表理])|件?数|振替額?|契約数|人口|開設数)|\s(?:balance|amount|fee|count|total|model|limit)s?\b"
)
# Behind a gap, what goes on is a word of its own: 円山支店, 人形町, 万田 太郎.
_COUNTED: Final = re.compile(
    r"(?:[千百]?円(?![建貨])|[万億]|件(?!名)|人(?!事)|個(?!人)|世帯|ドル|ユーロ)|\s?(?:%|(?:yen|jpy|usd|eur)\b)"
    r"|\s(?:[千百万億]{0,3}円|[万億件人個]|世帯|ドル|ユーロ)(?![一-鿿々ァ-ヶー])",
    re.IGNORECASE,
)
_COUNTABLE: Final = frozenset({Topic.BANK, Topic.PHONE, Topic.CARD, Topic.PENSION, Topic.INSURANCE, Topic.LICENCE})
_LABEL_AFTER: Final = re.compile(r"[ -](?i:office|fax|mobile|cell|phone|work|home|direct)\b")
_LABEL_GAPS: Final = frozenset(" -")
_AFTER: Final = re.compile(r"\s?[(\[<「]([^)\]>」]{1,16})")


def read_topic(text: str, start: int, end: int) -> Topic | None:
    """Return what the nearest word before `start` says, or else one right after `end`, such as "(携帯)".

    A label right behind, such as "office", counts before words of another line.
    """
    labelled = text[end : end + 1] in _LABEL_GAPS and _LABEL_AFTER.match(text, end)
    if labelled and text[start - 1 : start] in {"", "\n"}:
        return Topic.PHONE
    topic = _read_last(text[max(0, start - REACH) : start])
    if topic is None:
        if labelled:
            return Topic.PHONE
        after = _AFTER.match(text, end)
        topic = _read_last(after[1]) if after else None
    return topic


def is_counted(text: str, end: int) -> bool:
    """Tell whether a number that ends there is one of things or of money: 1234567円."""
    return _COUNTED.match(text, end) is not None


def _read_last(text: str) -> Topic | None:
    # Keys of documents: account_number.
    low = text.lower().replace("_", " ")
    turned = low[::-1]
    found = _NEAREST.search(turned)
    while found is not None:
        end = len(low) - found.start()
        topic = _TURNED.get(found[0]) or read_generic(low, end)
        if topic is not None:
            return Topic.OTHER if topic in _COUNTABLE and _QUANTITY.match(low, end) else topic
        found = _NEAREST.search(turned, found.start() + 1)
    return None


def read_generic(low: str, end: int) -> Topic | None:
    """Read 受注番号, 請求No and 受付ID by what stands before: a word that is known, or else something that is numbered."""
    begin = end - (3 if low.startswith("コード", end - 3) else 2)
    if low[begin:end] == "ード":
        return None
    word = _NEAREST.match(low[begin::-1], 1)
    known = _TURNED.get(word[0]) if word is not None and word[0] != POSTAL_MARK else None
    if known is None and begin and _NUMBERED.match(low, begin - 1):
        return Topic.OTHER
    alone = low[begin:end] == "id" and low[end : end + 1] in {":", "="} and low[begin - 1 : begin] not in _IN_WORDS
    return Topic.OTHER if known is None and alone else known
