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
    INSURED = auto()
    BANK = auto()
    PHONE = auto()
    POSTAL = auto()
    CARD = auto()
    SSN = auto()
    NETWORK = auto()
    OTHER = auto()

    # Enumerations hash their names by a function in Python.
    __hash__ = object.__hash__


_WORDS: Final[dict[Topic, str]] = {
    Topic.MY_NUMBER: (
        "マイナンバー マイナンバーカード マイナ番号 マイナンバー通知書 通知カード 個人番号 個人番号カード 個人no my_number mynumber individual_number individualnumber "
        "kojin_bango kojin_bangou my_number_card personal_number 個人番号又は法人番号 個人番号または法人番号 個人番号・法人番号"
    ),
    Topic.CORPORATE: (
        "法人番号 登録番号 インボイス番号 インボイス 適格請求書発行事業者 t番号 corp_number corp_no hojin_no houjin_no corporate_number corporate_no corporatenumber registration_number registration_no "
        "invoice_issuer_no invoice_issuer_number invoice_number hojin_bango houjin_bango houjin_bangou"
    ),
    Topic.LICENCE: (
        "免許 ライセンス番号 運転免許 免許証 免許番号 免許の番号 driver's_license driver's_licence driving_licence driver_license driver_licence drivers_license drivers_licence licensenumber licencenumber licenseno licenceno license_number licence_number license_no licence_no menkyo menkyosho"
    ),
    Topic.PASSPORT: "旅券 パスポート passport passportnumber passportno ryoken",
    Topic.RESIDENCE: "在留カード 在留番号 在留 residence_card zairyu",
    Topic.PENSION: "基礎年金番号 基礎年金 年金番号 年金手帳 年金手帳の記号番号 年金手帳記号番号 年金定期便 ねんきん pension nenkin nenkin_no nenkin_bango",
    Topic.INSURANCE: (
        "保険者番号 保険者 被保険者 保険証 健康保険 健保 国保 insurer insurance insurernumber hokensha hokensya hokensha_bango hokensya_bango hokensya_bangou hokenja_bango hokensha_no hokensya_no"
    ),
    Topic.INSURED: (
        "被保険者番号 健保番号 被保険者証番号 被保険者証の番号 保険証番号 保険証の番号 被保険者記号番号 被保険者証記号番号 被保険者証の記号番号 insured_person_number insured_number insured_no insured "
        "insuredno insurednumber health_insurance_number health_insurance_no health_insurance_id hihokensha_bango hihokensha hihokensya "
        "hokensho_no hokensho_bango hokensho"
    ),
    Topic.BANK: (
        "口座 口座番号 a/c 普通預金 普通 当座 当座預金 預金 振込先 ゆうちょ 支店 bank_account account_number account_no account_# acct bankaccount "
        "accountnumber accountno kouza koza kouza_bango kouza_bangou koza_bango koza_bangou"
    ),
    Topic.PHONE: (
        "電話 電話番号 ☎ 📞 ✆ 携帯 携帯番号 ケータイ スマホ 連絡先 ファックス ファクス ファクシミリ ダイヤル 直通 代表 tel fax phone "
        "telephone mobile cell call dial contact reach answering messages office desk landline hotline voicemail sms whatsapp phonenumber phoneno telno "
        "mobilephone homephone 発信者番号 着信番号 着信 発信 denwa denwa_bango keitai"
    ),
    Topic.POSTAL: "郵便番号 郵便 post_code zip postal postcode zipcode postalcode yubin yubin_bango yuubin_bangou",
    Topic.CARD: (
        "pan カード カード番号 クレジットカード クレカ デビットカード クレジット credit_card card cc visa mastercard jcb amex cardnumber creditcard"
    ),
    Topic.SSN: "ssn social_security 社会保障番号 ソーシャルセキュリティ番号 ソーシャルセキュリティーナンバー ソーシャルセキュリティナンバー",
    Topic.NETWORK: "ipアドレス グローバルip 接続元 送信元 ip ip_address client_ip source_ip remote_addr src",
    Topic.OTHER: (
        "注文 注文番号 オーダー 伝票 伝票番号 追跡 追跡番号 問い合わせ番号 お問い合わせ番号 問合せ番号 品番 型番 部品番号 商品番号 "
        "商品コード 管理番号 受付番号 整理番号 予約番号 会員番号 社員番号 学籍番号 顧客番号 シリアル シリアル番号 製造番号 ロット "
        "ロット番号 契約番号 請求書番号 請求番号 見積番号 見積 取引番号 案件番号 申請番号 チケット番号 番組コード バーコード "
        "型式 図番 バージョン 版数 ハッシュ タイムスタンプ jan isbn ean order tracking invoice serial sku lot version ticket timestamp build hash "
        "commit 送り状 宅配便 ヤマト運輸 佐川急便 機番 製番 ファームウェア ビルド リリース 部品 品名 バッチ 診察券 カルテ waybill awb barcode firmware release "
        "ver reference booking transaction batch 雇用保険被保険者番号 雇用保険 ヤマト ゆうパック 佐川 宅急便 普通郵便 普通自動車 普通車 model s/n"
    ),
}
TOPIC_OF: Final = {word.replace("_", " "): topic for topic, words in _WORDS.items() for word in words.split()}
_IN_WORDS: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_")
# By themselves they say nothing: the number of what?
GENERIC: Final = frozenset({"番号", "no", "id", "ード", "code", "number"})
# What is numbered in English, and is none of the above: Member No., Customer ID.
_THINGS: Final = frozenset(
    [
        "emp",
        "track",
        "parcel",
        "delivery",
        "asset",
        "device",
        "jan",
        "isbn",
        "order",
        "invoice",
        "ticket",
        "case",
        "reference",
        "booking",
        "transaction",
        "request",
        "member",
        "customer",
        "employee",
        "patient",
        "student",
        "part",
        "model",
        "serial",
        "product",
        "item",
        "batch",
        "lot",
        "tracking",
        "shipment",
        "session",
        "trace",
        "purchase",
        "po",
        "user",
        "staff",
        "client",
        "policy",
        "contract",
        "receipt",
        "confirmation",
        "reservation",
        "application",
    ]
)


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
    r"(?:[千百]?円(?![建貨])|[万億株枚台回冊票頁]|ページ|件(?!名)|人(?!事)|個(?!人)|世帯|ドル|ユーロ)|\s?(?:%|(?:yen|jpy|usd|eur)\b)"
    r"|\s(?:[千百万億]{0,3}円|[万億件人個]|世帯|ドル|ユーロ)(?![一-鿿々ァ-ヶー])",
    re.IGNORECASE,
)
_PRICE_ENDS: Final = frozenset("¥$€£第YDRydr")
_PRICED: Final = re.compile(r"(?:[¥$€£第]|\b(?:JPY|USD|EUR)) ?\Z", re.IGNORECASE)
_COUNTABLE: Final = frozenset({Topic.BANK, Topic.PHONE, Topic.CARD, Topic.PENSION, Topic.INSURANCE, Topic.LICENCE})
_LABEL_AFTER: Final = re.compile(r"[ -](?i:office|fax|mobile|cell|phone|work|home|direct)\b")
_LABEL_GAPS: Final = frozenset(" -")
_AFTER_BEGINS: Final = frozenset(" ([<「【←と/\"'")
# 090-1234-5678 (携帯), and assertEquals("…", form.tel).
_AFTER: Final = re.compile(
    r"(?: ?[(\[<「【] ?| ?←+ ?|という|/|[\"'], ?[A-Za-z_]{1,16}\.)([^)\]>」】\n]{1,24})| as ([^)\]>」】\n.,;]{1,32})"
)
# Turned round: a sign between a key and its value, which the number is in.
_KEYED: Final = re.compile(r"[\"'`「(\[]?\s{0,3}[:=>]\s?[\"'`*\])】]{0,2}\s?[^\s\"'`:=>]")
# Turned round: what may stand before a word of another line; no other cells, and no value that it stands behind in brackets.
_HEADS_LINE: Final = re.compile(r"[^\n,\t|;(\[【「]*(?:\n|\Z|[(\[【「][^\n,\t|;0-9a-z]*(?:\n|\Z))")
_CELLS: Final = re.compile(r"[,\t|;]")
_ENDS: Final = re.compile(r"[\n。]")
# Turned round: "A2. " and "3) " at the beginning of a line.
_MARKER: Final = re.compile(r"[.):]\d{1,2}[a-z]?\n", re.ASCII)
_DIGIT: Final = re.compile(r"[0-9]")
# マイナンバー（12桁）: how many digits it has.
_HOW_MANY: Final = re.compile(r"[ -]?(?:桁|ケタ|文字|digit)")
# What scans and forms put between the signs of a word: 免許 証番号.
_PARTED: Final = re.compile(r" (?<=[一-鿿々ぁ-んァ-ヶー] )(?=[一-鿿々ぁ-んァ-ヶー])")
# 普通 and 当座 before these are of an account; 普通株式 and 当座比率 are not.
_KINDS_OF_ACCOUNTS: Final = frozenset({"通普", "座当"})
_GOES_ON: Final = re.compile(r"[一-鿿ァ-ヶ](?<![預口貯総])")
_CAMEL: Final = re.compile(r"([a-z])([A-Z])")
_FEW: Final = 3
_KEY_TAIL: Final = " :=\"'>({["
_KEY_SIGNS: Final = frozenset(":=\"'>(")
_OF_THINGS: Final = frozenset({"edoc", "rebmun"})
_AT_NUMBER: Final = re.compile(r"[.:]\s?\Z")
_LAST_WORD: Final = re.compile(r"([a-z]{2,12}) ?\Z")
TAG_REACH: Final = 200
# {"口座番号": {"type": "TEXT", "value": "1234567"}}: a value in an object of its own; and
# {"label": "口座番号", "type": "text", "required": true, "answer": "1234567"}.
_ANSWERS: Final = re.compile(r'"(?:value|answer|text|content|response)"\s{0,4}:\s{0,4}"\Z')
_MEMBER: Final = r'(?!"(?:label|name|title|question|key|field|item|id)")"[A-Za-z_]{1,24}"\s{0,4}:\s{0,4}(?:"[^"\n]{0,40}"|true|false|null|\d{1,6})\s{0,4},\s{0,16}'
_WRAPPED: Final = re.compile(
    rf'(?:\{{\s{{0,16}}|(?<="),\s{{0,16}})(?:{_MEMBER}){{0,4}}"(?:value|answer|text|content|response)"\s{{0,4}}:\s{{0,4}}"\Z'
)
_CHAT: Final = re.compile(r"\n\d{1,2}:\d\d\t[^\t\n]{1,24}\t\Z")
# The head of a part of a form: name="koza", a line of a type, an empty line.
_PART: Final = re.compile(r'name="([^"\n]{1,64})"[^\n]{0,64}\n(?:[A-Za-z-]{1,32}:[^\n]{0,64}\n)?\n\Z')
_LINE_ENDS: Final = re.compile(r"</(?:t[dr]|li|p|d[dl]|div)>|<br ?/?>", re.IGNORECASE)
_TAG: Final = re.compile(
    r"</[^<>]{0,64}>|<(?:t[dhr]|t?body|table|span|div|p|b|i|strong|em|li|ul|ol|d[dtl]|label|a|font|h\d|code|small|section)(?:\s[^<>]{0,120})?>",
    re.IGNORECASE,
)
_OPEN_TAG: Final = re.compile(
    r"<(?=(?:input|td|th|div|span|option|a|img|button|meta|select|textarea)\s|[^<>]{0,192}\bvalue=[\"']\Z)"
    r"(?:[a-z][\w-]{0,15}:)?([a-z][\w.-]{0,40})\s[^<>]{0,160}\Z",
    re.IGNORECASE,
)
# An element of XML with attributes is a key of what is in it.
_ELEMENT: Final = re.compile(r"<(?:[A-Za-z][\w-]{0,15}:)?([A-Za-z_][\w.-]{0,40})\s[^<>]{0,160}>\Z")
_QUOTES: Final = frozenset("\"'")
_ATTRIBUTE: Final = re.compile(r"(?:name|id|placeholder|title|aria-label)=[\"']([^\"'<>0-9]{1,40})[\"']", re.IGNORECASE)


def read_topic(text: str, start: int, end: int, *, near: bool = False) -> Topic | None:
    """Return what the nearest word before `start` says, or else one right after `end`, such as "(携帯)".

    A label right behind, such as "office", counts before words of another line, and so does one in brackets. `near`: a
    word counts only where no other number stands between.
    """
    labelled = text[end : end + 1] in _LABEL_GAPS and _LABEL_AFTER.match(text, end)
    if labelled and text[start - 1 : start] in {"", "\n"}:
        return Topic.PHONE
    before = text[max(0, start - REACH) : start]
    last = before[-1:]
    quoted = last in _QUOTES
    if ">" in before or "<" in before or (quoted and before[-2:-1] == "="):
        before = _untag(text[max(0, start - TAG_REACH) : start])[-REACH:]
    elif quoted and _ANSWERS.search(before, max(0, len(before) - 16)):
        before = _WRAPPED.sub("", text[max(0, start - TAG_REACH) : start])[-REACH:]
    elif last == "\n" and before[-2:] == "\n\n":
        before = _PART.sub(r"\1: ", text[max(0, start - TAG_REACH) : start])[-REACH:]
    elif last == "\t":
        # The next line of a chat: a time and who says it.
        before = _CHAT.sub("\n", before)
    elif last == " " and before[-3:] == "\n| ":
        # A cell of a wiki, below its heading.
        before = before[:-2]
    topic, far = _read_last(before, near)
    if topic is not None and not far:
        return topic
    if topic is None and labelled:
        return Topic.PHONE
    after = _AFTER.match(text, end) if text[end : end + 1] in _AFTER_BEGINS else None
    return (_read_last(after[1] or after[2])[0] if after else None) or topic


def read_heading(text: str) -> Topic | None:
    """Return what the heading of a column says that its cells are."""
    return _read_last(_CAMEL.sub(r"\1 \2", text))[0]


def is_counted(text: str, start: int, end: int) -> bool:
    """Tell whether a number there is one of things or of money: 1234567円, JPY 1234567."""
    if _COUNTED.match(text, end) is not None:
        return True
    priced = text[start - 1 : start] in _PRICE_ENDS or text[start - 2 : start - 1] in _PRICE_ENDS
    return priced and _PRICED.search(text[max(0, start - 5) : start]) is not None


def _untag(text: str) -> str:
    """Return a text in HTML or XML without the tags that say nothing; of an open one its names remain."""
    opened = _OPEN_TAG.search(text)
    if opened is not None:
        text = f"{text[: opened.start()]}{_name_tag(opened)}="
    plain = _TAG.sub(" ", _LINE_ENDS.sub("\n", text))
    return _ELEMENT.sub(lambda element: f"{_name_tag(element)}=", plain) if plain[-1:] == ">" else plain


def _name_tag(tag: "re.Match[str]") -> str:
    """Return what a tag is called, by itself and by its attributes: passport of <passport value="…">."""
    return " ".join([tag[1], *_ATTRIBUTE.findall(tag[0])])


def _read_last(text: str, near: bool = False) -> tuple[Topic | None, bool]:
    """Return what the last word says that has not had its number yet, and whether a line or a number ends behind it."""
    # Keys of documents: account_number.
    low = text.lower()
    if low != text and (text[-1:] in _KEY_SIGNS or text[-2:-1] in _KEY_SIGNS):
        key = text.rstrip(_KEY_TAIL).rpartition(" ")[2]
        if not key[1:].islower():
            low = _CAMEL.sub(r"\1 \2", text).lower()
    low = low.replace("_", " ")
    topic, far = _read_low(low, near)
    if (topic is None or topic is Topic.OTHER) and not low.isascii() and " " in low[:-1]:
        joined = _PARTED.sub("", low)
        return _read_low(joined, near) if joined != low else (topic, far)
    return topic, far


def _read_low(low: str, near: bool) -> tuple[Topic | None, bool]:
    """Read a text in small letters; see `_read_last`."""
    turned = low[::-1]
    found = _NEAREST.search(turned)
    while found is not None:
        place = found.start()
        end = len(low) - place
        topic = _TURNED.get(found[0]) or read_generic(low, end, found[0])
        if topic is Topic.BANK and found[0] in _KINDS_OF_ACCOUNTS and _GOES_ON.match(low, end):
            topic = None
        if topic is not None:
            between = turned[:place]
            line = "\n" in between
            if not line or (_CELLS.search(between) is None and _HEADS_LINE.match(turned, found.end()) is not None):
                # So little between holds no number.
                digit = _DIGIT.search(between) if place >= _FEW else None
                if digit is not None and _is_served(between, digit.start(), near=near or topic is Topic.INSURED):
                    return None, False
                if topic in _COUNTABLE and _QUANTITY.match(low, end) is not None:
                    topic = Topic.OTHER
                return topic, line or digit is not None
        found = _NEAREST.search(turned, place + 1)
    return None, False


def _is_served(between: str, digit: int, *, near: bool) -> bool:
    """Tell whether what stands between a word and a number, turned round, holds the number of the word already.

    Args:
        between: From the number back to the word, turned round.
        digit: Where its first digit stands, which is the last one written.
        near: Whether any other number is enough.
    """
    plain = _MARKER.sub("\n", between)
    if plain != between:
        between, first = plain, _DIGIT.search(plain)
        if first is None:
            return False
        digit = first.start()
    ends = _ENDS.search(between)
    if ends is None:
        served = near or _KEYED.match(between) is not None
    else:
        found = _DIGIT.search(between, ends.start())
        served, digit = found is not None, found.start() if found else digit
    return served and _HOW_MANY.match(between[:digit][::-1]) is None


def read_generic(low: str, end: int, turned: str) -> Topic | None:
    """Read 受注番号, 請求No and Member ID by what stands before: a word that is known, or else something that is numbered.

    Args:
        low: A text in small letters.
        end: Where the word ends in it.
        turned: The word, turned round.
    """
    begin = end - len(turned)
    if turned == "ドー":
        begin -= 1
        if low[begin : begin + 1] != "コ":
            return None
    # passport id, 口座No.
    gap = 2 if turned.isascii() and low[begin - 1 : begin] == " " else 1
    found = _NEAREST.match(low[begin::-1], gap)
    known = _TURNED.get(found[0]) if found is not None and found[0] != POSTAL_MARK else None
    if known is not None:
        return known
    if turned in _OF_THINGS:
        return _read_thing(low, begin)
    if begin and _NUMBERED.match(low, begin - 1):
        return _read_before_note(low, begin) if low[end : end + 1] == ")" else Topic.OTHER
    # "ID: 1234", and a line's "No. 1234": of whom or of what is told nowhere, but it is no telephone's.
    before = low[begin - 1 : begin]
    if turned == "di":
        bare = before not in _IN_WORDS and low[end : end + 1] in {":", "="}
    else:
        bare = turned == "on" and before in {"", "\n"} and _AT_NUMBER.match(low, end) is not None
    return Topic.OTHER if bare else _read_thing(low, begin)


def _read_before_note(low: str, begin: int) -> Topic:
    """Read MyNumber(社会保障・税番号) by what the note in brackets is about."""
    note = low.rfind("(", 0, begin)
    found = _NEAREST.match(low[note::-1], 1) if note > 0 else None
    return (_TURNED.get(found[0]) if found is not None else None) or Topic.OTHER


def _read_thing(low: str, begin: int) -> Topic | None:
    thing = _LAST_WORD.search(low, 0, begin)
    return Topic.OTHER if thing is not None and thing[1] in _THINGS else None
