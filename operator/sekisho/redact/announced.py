"""Names that a form, a list, a log or a speaker announces without a colon; whoever asks judges them by a dictionary.

氏名 川崎 隆, | 患者名 | 山中 空 |, 出席:安田、大野, [10:02] 松本: はい, 安田と申します, 営業部の上野です.
"""

# ruff: noqa: E501 - a Japanese sign counts as two columns

import re
from collections.abc import Callable, Iterator
from typing import Final

import re2

_SIGN: Final = r"[一-鿿々〆ヶ㐀-䶿豈-﫿ぁ-ゖァ-ヺー]"
_VALUE: Final = rf"{_SIGN}{{1,10}}?(?:[ ・]{_SIGN}{{1,10}}?)??"
_WORDS: Final = (
    "氏名|名前|姓名|宛名|名義人?|カナ|フリガナ|ふりがな|主治医|執刀医|患者名?|担当者?名?|保護者名?|世帯主|講師|司会|記入者|発表者|報告者|記録者|契約者名?|顧客名|会員名|社員名"
    "|従業員名|受取人|依頼主|送り主|親権者|申請者名?|申込者名?|申立人|請求者|被保険者|差出人|責任者|代表者"
)
_LISTS: Final = "出席者?|参加者|欠席者?|遅刻者?|同席者?|出席予定|メンバー|登壇者|審査員|出演者?|当番|幹事|委員"
# In most texts none of these stands.
_ANY: Final = re2.compile(
    f"{_WORDS}|{_LISTS}|[0-9]:[0-9]|と申し|と言い|といい|です|でござい|より|補佐|担当|後任|前任|[師任諭女男妻夫父母兄姉弟妹司僚手員者役長事責集影修甲乙成認案口][ ・:]|[。.!)]\\s?\\n"
)
_LABEL: Final = re.compile(
    rf"(?:{_WORDS})(?:\([^()\n]{{1,8}}\))?(?:\s?[|】\]」>\t]\s?|\n(?:[・■●*-] ?)?| )({_VALUE})(?=(?: ?(?:様|殿|さま|さん|医師|先生))?\s*(?:$|[|,、。(「【/;]))",
    re.MULTILINE,
)
_LIST: Final = re.compile(rf"(?:{_LISTS}) ?[::] ?([^\n:]{{1,200}})")
_OF_LIST: Final = re.compile(
    rf"(?:^|[、,/;・ ]) ?({_VALUE})(?=(?:様|殿|さん|氏)? ?(?:\([^()\n]{{0,8}}\))?(?:[、,/;・]|\s*$))"
)
_SPEAKER: Final = re.compile(
    rf"^\[?(?:\d{{4}}[-/]\d\d?[-/]\d\d? )?\d{{1,2}}:\d\d(?::\d\d)?\]?[ \t]+({_VALUE})(?=[ \t]*:[ \t]|\t)", re.MULTILINE
)
_SELF: Final = re.compile(
    rf"(?:^|[、。!,はの] ?)((?:{_SIGN}(?<![はのをが])){{1,6}}(?: {_SIGN}{{1,6}})?)(?=と申し|と言います|といいます)",
    re.MULTILINE,
)
_FROM: Final = re.compile(
    r"(?:(?:会社|法人|商事|商店|銀行|病院|大学|学校|工業|製作所|事務所|センター|企画|[部課室係店社局])|(?:会社|法人)[^\s、。の]{1,16})の([一-鿿々]{1,4})(?=です(?:[。\s]|$)|でござい)"
)
# These tell less of what is a name: it has to be one that the dictionary has.
_ROLE: Final = re.compile(
    r"(?:看護師|介護士|薬剤師|技師|担任|教諭|長女|長男|次女|次男|三女|三男|妻|夫|父|母|兄|姉|弟|妹|上司|同僚|運転手|乗務員|窓口|作成者?|承認者?|起案者?|発行者|報告者|請求者|申請者|配偶者|代表取締役|取締役"
    r"|理事長?|監事|施術者|検査者|文責|編集|撮影|著者|監修|甲|乙)(?: |・| ?: ?)([一-鿿々]{1,4})(?=[)\n、。,|;→]| ?$)",
    re.MULTILINE,
)
_CLOSING: Final = re.compile(
    r"[。.!)]\s?\n\s{0,3}\n ?([一-鿿々]{2,4})(?: ?(?:拝|より))?\s*(?=\n|\Z)|[。.!)]\n ?([一-鿿々]{2,4})\s*\Z"
)
_IS: Final = re.compile(
    r"(?:担当者?|司会|講師|幹事|議長|書記|名義|差出人|宛先|氏名|名前|責任者|後任|前任|補佐)は([一-鿿々]{1,4}(?: ?[一-鿿々]{1,3})?)(?=です|とし|に[決変交依お]|が|の予定|、|。|で)"
    r"|(?:^|[、。]\s?)([一-鿿々]{1,4})(?=より(?:折|ご|連|報|お|返|回)|が補佐|が担当|でございます)",
    re.MULTILINE,
)
_FIELD: Final = re.compile(
    r"(?:番号|住所|電話|年齢|性別|続柄|[月年]日|欄|先|メール|アドレス|所属|部署|役職|会社名?|印|内線|携帯|国籍|職業|備考|カナ|名|氏名|名前|日時?|場所|変更|届|確認|記入|入力|必須|任意|以下|同上|未定|なし"
    r"|[部課室係局所署会班可]|チーム|グループ|センター|各位|御中|一同|全員|ほか|など|他)$"
)


def find_announced(
    text: str, may_be: Callable[[str], bool], is_name: Callable[[str], bool]
) -> Iterator[tuple[int, int]]:
    """Yield names of folded text that something announces.

    Args:
        text: Folded.
        may_be: Tells whether a value can be a name rather than a word.
        is_name: Tells whether a dictionary has it as a name.
    """
    if not _ANY.search(text):
        return
    for start, end in _find_told(text):
        if not _FIELD.search(text, start, end) and may_be(text[start:end]):
            yield start, end
    for pattern in (_CLOSING, _IS, _ROLE):
        for found in pattern.finditer(text):
            group = found.lastindex or 1
            if is_name(found[group]):
                yield found.span(group)


def _find_told(text: str) -> Iterator[tuple[int, int]]:
    for pattern in (_LABEL, _SPEAKER, _SELF, _FROM):
        for found in pattern.finditer(text):
            yield found.span(1)
    for names in _LIST.finditer(text):
        at = names.start(1)
        for found in _OF_LIST.finditer(names[1]):
            yield at + found.start(1), at + found.end(1)
