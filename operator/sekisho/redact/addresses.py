"""Japanese addresses: a prefecture or a city before, block and house numbers, a building behind."""

# ruff: noqa: E501 - a Japanese sign counts as two columns, and patterns read better unbroken

import re
from typing import Final

from sekisho.redact.categories import Category
from sekisho.redact.spans import Span

PREFECTURE: Final = (
    "北海道|東京都|(?:大阪|京都)府|(?:青森|岩手|宮城|秋田|山形|福島|茨城|栃木|群馬|埼玉|千葉|神奈川|新潟|富山|石川|福井|山梨"
    "|長野|岐阜|静岡|愛知|三重|滋賀|兵庫|奈良|和歌山|鳥取|島根|岡山|広島|山口|徳島|香川|愛媛|高知|福岡|佐賀|長崎|熊本|大分"
    "|宮崎|鹿児島|沖縄)県"
)
_PREFECTURE: Final = re.compile(PREFECTURE)
REACH: Final = 40
# Without a prefecture before, a place of which the name is not in kanji has to be known.
_KANA_CITY: Final = (
    "さいたま|つくばみらい|つくば|いわき|ひたちなか|かすみがうら|あきる野|ふじみ野|いちき串木野|えびの|みどり|むつ|さくら|あわら"
    "|みやま|かほく|にかほ|つがる|いすみ|南アルプス|北アルプス|いなべ|あま|みよし|たつの|さぬき|東かがわ|うきは|うるま|おいらせ|せたな|むかわ|ニセコ"
    "|みなかみ|ときがわ|おおい|かつらぎ|みなべ|すさみ|つるぎ|まんのう|みやこ|みやき|あさぎり|さつま|あさひ|いの|南さつま|紀の川|もとす|やまと"
)
_CITY: Final = re.compile(rf"(?:{_KANA_CITY}|[一-鿿々ヶケノ]{{1,6}}?)[市郡区町村](?!町村)(?<!市町)(?<!市町村)")
_ANY_CITY: Final = re.compile(
    rf"(?:{_KANA_CITY}|[一-鿿々ぁ-ねは-んァ-ヶー]{{1,8}}?)[市郡区町村](?!町村)(?<!市町)(?<!市町村)"
)
# Read backwards from the number, since a search for what ends there would begin anew at every sign.
_LEAD_SIGNS: Final = re.compile(r" ?[一-鿿々ぁ-んァ-ヶー][一-鿿々ぁ-んァ-ヶー ]*")
_NAMED: Final = re.compile(
    r"^(?:現住所|住所|所在地|本社|支社|自宅|宛先|送付先|届け先|勤務先|実家|居住地|本籍|は|が|を|に(?!かほ)|も|の|\s|先)+"
)
_SAID: Final = re.compile(r"(?:住所|所在地)\s?[はが]?\s?")
# One of these is part of all that names a place (see `_find_place`), 所在地 too; before most numbers none stands.
_PLACED: Final = re.compile("[市郡区町村住所]")
_NUMERAL: Final = r"(?:\d{1,5}|[〇一二三四五六七八九十百]{1,5})"
_BLOCK: Final = re.compile(
    rf"(?:{_NUMERAL}条[東西南北]?(?={_NUMERAL}))?"
    rf"{_NUMERAL}(?:(?:丁目|番地の?|番町|番耕地|地割|番|号|[-ー]|[のノ]) ?{_NUMERAL}){{0,4}}(?:丁目|番地|番町|番|号室?)?",
    re.ASCII,
)
_ROOM: Final = r"[A-Za-z]?-?\d{1,4}(?:号室|号館|号|室|階|F)"
_ROOMS: Final = r"(?:\s?[A-Za-z]?\d{0,3}号?棟)?\s?(?:[A-Za-z]?-?\d{1,4}(?:-\d{1,4})?(?:号室|号館|号|室|階|F)?(?!\d))?"
_NO_ROOM: Final = r"(?![-:/.,%年月日時円名人個件本回\d]| ?\d)"
_FIRST: Final = "(?:コーポ|シャトー|メゾン|ハイツ|パレス|グラン|ヴィラ|ドミール|サンハイツ|レジデンス|プラウド|ライオンズ|シティ|テラス|ガーデン|コート|プラザ|メゾネット|リバーサイド|パークサイド|フォレスト|エステート|カーサ|ロイヤル|アーバン|ルミエール)"
# Parts of a building: its name, with what says that it is one before or behind, and floors and rooms; or any name in katakana or
# Latin letters with a room behind.
_BUILDING: Final = re.compile(
    rf"[\s(]?(?:(?:(?:[一-鿿々ァ-ヶーA-Za-z0-9・○]{{1,20}}?|(?![のはがをにでへともや])[ぁ-ん]{{2,8}})"
    r"(?:ビル(?:ディング)?|マンション|ハイツ|コーポ|荘|アパート|タワー|レジデンス|ハウス|メゾン|棟|号?館|寮|団地|住宅|プラザ|庁舎|ヒルズ|コート|パレス|テラス"
    r"|スクエア|センター|ホール|ガーデン|シティ)"
    rf"|{_FIRST}[一-鿿々ァ-ヶー]{{1,12}}(?![ぁ-ん・]))"
    rf"[一-鿿ァ-ヶーA-Z]{{0,8}}{_ROOMS})\)?"
    rf"|[ (]?UR[一-鿿々ぁ-んァ-ヶー]{{1,12}} ?\d{{1,4}}(?:-\d{{1,4}})?(?:号室|号|室|階|F)?{_NO_ROOM}\)?"
    rf"|[\s(]?{_FIRST}[一-鿿々ぁ-んァ-ヶー・]{{1,12}}?\s?(?:[A-Za-z]?\d{{0,3}}号?棟)?[A-Za-z]?-?\d{{1,4}}(?:号室|号|室|階|F)?{_NO_ROOM}\)?"
    rf"|[ (]?(?!(?i:tel|fax|mobile|phone|e?-?mail)\b)[A-Zァ-ヶー][A-Za-zァ-ヶー・一-鿿]{{1,16}}(?: [A-Z][A-Za-z]{{1,12}})?\s?[A-Za-z]?-?\d{{2,4}}(?:号室|号|室|階|F)?{_NO_ROOM}\)?"
    rf"|[\s(]?{_ROOM}\)?",
    re.ASCII,
)
# A prefecture, or a ward of a city: 京都市中京区.
_SURE: Final = re.compile(rf"{PREFECTURE}|[一-鿿]市[一-鿿]{{1,3}}区")
_SCORE: Final = re.compile(r"[市区町村] ")
_PAIR: Final = re.compile(r"\d{1,2}-\d{1,2}(?![-\d]|\s?[一-鿿ァ-ヶA-Z])", re.ASCII)
_LONE: Final = re.compile(r"\d{1,5}", re.ASCII)
_COUNTED_BEFORE: Final = re.compile(r"(?:[数率約第計全各年]|人口|面積|世帯|平成|令和|昭和)")
_ENDS: Final = re.compile(r"\Z|[\s、。,()」\"'|│]|で|に|へ|まで|宛|より|から|の|は|を|が")
_MAX_PARTS: Final = 4


def find_address(text: str, start: int) -> Span | None:
    """Return the address whose first number stands at `start`; None where what stands before names no place."""
    before = text[max(0, start - REACH) : start]
    if not _PLACED.search(before):
        return None
    lead = _LEAD_SIGNS.match(before[::-1])
    begin = _find_place(lead[0][::-1]) if lead else None
    block = _BLOCK.match(text, start)
    if lead is None or begin is None or block is None or not _is_block(block[0]):
        return None
    # 横浜市 3-1 で勝利: a score.
    if (
        _SCORE.search(lead[0][::-1], len(lead[0]) - 2)
        and _PAIR.match(text, start)
        and not _PREFECTURE.search(lead[0][::-1])
    ):
        return None
    return Span(start - len(lead[0]) + begin, _find_building(text, block.end()), Category.JP_ADDRESS)


def find_lone_address(text: str, start: int, end: int) -> Span | None:
    """Return the address whose city's sign stands at `start`, and whose only number is behind: 瑞穂町箱根ケ崎2335.

    A prefecture has to stand before, and nothing that is counted behind.
    """
    number = _LONE.search(text, start, end)
    lead = _LEAD_SIGNS.match(text[max(0, start - REACH) : start + 1][::-1])
    begin = _find_place(lead[0][::-1]) if lead else None
    if number is None or lead is None or begin is None or not _SURE.search(lead[0][::-1]):
        return None
    end = _find_building(text, number.end())
    counted = _COUNTED_BEFORE.search(text, start, number.start())
    if counted or (end == number.end() and not _ENDS.match(text, end)):
        return None
    return Span(start + 1 - len(lead[0]) + begin, end, Category.JP_ADDRESS)


def _find_building(text: str, end: int) -> int:
    for _ in range(_MAX_PARTS):
        part = _BUILDING.match(text, end)
        if part is None:
            break
        end = part.end()
    return end


def _is_block(block: str) -> bool:
    return any(sign in block for sign in ("丁目", "番", "-", "ー", "号", "の", "ノ", "条"))


def _find_place(lead: str) -> int | None:
    prefectures = list(_PREFECTURE.finditer(lead))
    if prefectures:
        return prefectures[-1].start() if _ANY_CITY.search(lead, prefectures[-1].end()) else None
    named = _NAMED.match(lead)
    city = _CITY.search(lead, named.end() if named else 0)
    if city is not None:
        return city.start()
    said = _SAID.search(lead)
    return said.end() if said and said.end() < len(lead) else None
