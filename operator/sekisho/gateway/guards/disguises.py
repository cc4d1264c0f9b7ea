"""Orders in disguise, which a reader knows all the same; and orders that are spoken of and given to nobody. Pure."""

# ruff: noqa: E501 - a Japanese sign counts as two columns

import codecs
import re
from collections.abc import Iterator
from typing import Final

# Letters of two scripts in one word, words by rot13 or backwards, with digits for letters, or joined by signs.
DISGUISED: Final = "|".join((
    r"[a-z][\x{370}-\x{3ff}\x{400}-\x{4ff}]|[\x{370}-\x{3ff}\x{400}-\x{4ff}][a-z]",
    r"vafgehpgvba|cebzcg|qvfertneq|vtaber nyy",
    r"snoitcurtsni|tpmorp",
    r"\b(?:[i1!]gn[o0]r[e3]|d[i1]sr[e3]g[a4@]rd|f[o0]rg[e3]t|[o0]v[e3]rr[i1]d[e3]|r[e3]v[e3][a4]l|pr[i1]nt)[a-z]*[ _-].{0,40}\b(?:[a-z]{1,5}[01345@][a-z]{1,8}|[a-z]+[_-](?:all|your|previous|prior|system|the)[_-][a-z]+)",
    r"[a-z]{2,}[_-](?:all|your|the|any)[_-](?:previous|prior|above|earlier|safety|system|instructions|rules)",
)).replace(" ", r"\s")  # fmt: skip
# Letters of Greek and Cyrillic that look like those of Latin.
_ALIKE: Final = str.maketrans(
    "\u0430\u0435\u0456\u043e\u0440\u0441\u0445\u0443\u0455\u0458\u0501\u051b\u0475\u043a\u043c\u0442\u0432\u043d"
    "\u0410\u0415\u0406\u041e\u0420\u0421\u0425\u0423\u0405\u0408\u041a\u041c\u0422\u0412\u041d"
    "\u03b1\u03b5\u03b9\u03bf\u03c1\u03c5\u03bd\u03c4\u03ba\u0391\u0395\u0399\u039f\u03a1\u03a5\u039d\u03a4\u039a\u0397\u039c\u0392",
    "aeiopcxysjdqvkmtbhAEIOPCXYSJKMTBHaeiopyvtkAEIOPYNTKHMB",
)
_DIGITS: Final = str.maketrans("013457@$!", "oieastasi")
_SIGNS: Final = str.maketrans("_-", "  ")
# What is said of an order that is quoted or told: what it means, how it is put, who said it.
SAYABLE: Final = frozenset({"instruction-override", "prompt-extraction"})
_REACH: Final = 48
_BEHIND: Final = re.compile(
    r"^[^\n\u3002!?]{0,16}?[\u300d\u300f\"]?[\u3001,]? ?(?:という(?!指示|命令|とおり|通り|ように)|と(?:[一-鿿]{1,4})?(?:に|から)?(?:言|い)われ|とは|を(?:英訳|翻訳|和訳|丁寧|敬語|添削|校正|説明|英語)|の(?:意味|仕組み|英訳|言い方|マナー)"
    r"|(?:と(?:言|い)う)(?:場面|台詞|セリフ|文|攻撃))"
)
_BEFORE: Final = re.compile(
    r"\b(?:phrase|sentence|words|wording|saying|expression|classify|grammar|meaning of|such as|attacks? like|prompts? like|translate|paraphrase|rephrase|rewrite|correct|shorten|regex|matches|do you say)\b[^\"\u201c\u201d\u2018\n]{0,40}[\"'\u201c\u2018][^\"\u201c\u201d\n]{0,16}$",
    re.IGNORECASE,
)
_CLOSING: Final = re.compile("[\"'\u201d\u2019]")
# Whose instructions a model works by: they are nobody's whom a letter or a story is about.
_STRONG: Final = re.compile(
    r"\b(?:your|you|yourself|system|developer|operator)\b|あなた|お前|君|システム|与えられ", re.IGNORECASE
)
# Instructions for a thing, which people give each other.
_OF_THING: Final = re.compile(
    r"^ ?(?:on|for|of|about|regarding) (?:the|an?|my|our|how|this) (?!rest|remainder|conversation|chat|session|moment|time|duration|user|system|next|following|model|assistant|ai\b)\w",
    re.IGNORECASE,
)
_TOLD: Final = re.compile(
    r"\b(?:(?:write|tell|compose|draft|create) (?:me )?(?:an?|the|some) (?:\w+ ){0,2}(?:story|novel|scene|play|letter|dialogue|monologue|essay|song|script|mail|e-?mail|fairy tale)|how (?:do|can|could|should|would|to|does|did))\b[^.!?]{0,64}$",
    re.IGNORECASE,
)
_PASSED_ON: Final = re.compile(
    r"^[^\u3002!?]{0,32}?(?:よう(?:に)?(?:[一-鿿]{1,4}(?:に|へ))?(?:伝え|促|依頼|お願い)|と(?:伝え|書)|(?:メール|通知|案内|掲示|文面|文書)を(?:書|作))"
)
# A letter to a person, by whose name it begins.
_LETTER: Final = re.compile(
    r"\b(?:Hi|Hello|Dear|Hey) (?:(?:Mr|Ms|Mrs|Dr)\.? )?(?!AI\b|Assistant|ChatGPT|Claude|Gemini|Copilot|GPT|Bot\b|Model|Chatbot)[A-Z][\w-]+(?: [A-Z][\w-]+)?,|\bDear (?:all|team|colleagues)\b"
    r"|[一-鿿ァ-ヶー]{1,6}(?:さん|様|部長|課長|係長|社長|先生)[、, ]|各位|お世話になって|お疲れ(?:様|さま)"
)
_LETTER_REACH: Final = 120


def read_disguised(text: str) -> Iterator[str]:
    """Yield a text as it reads without each of the disguises that are known."""
    yield text.translate(_ALIKE)
    yield codecs.decode(text, "rot13")
    yield text[::-1]
    yield text.translate(_DIGITS)
    yield text.translate(_SIGNS)


def is_mentioned(text: str, start: int, end: int, *, letters: bool = False) -> bool:
    """Tell whether what stands at a place is spoken of: quoted behind "the phrase", or before "as somebody said".

    What a model is not spoken to by may also be told of others: in a story, in a question how, of a thing, and, where
    `letters` may be excused, in a letter to a person.
    """
    if _BEFORE.search(text[max(0, start - _REACH - 16) : start]) and _CLOSING.search(text, end - 1, end + _REACH):
        return True
    behind = text[end : end + _REACH]
    if _BEHIND.search(behind):
        return True
    if _STRONG.search(text[start:end]):
        return False
    if _OF_THING.search(behind) or _PASSED_ON.search(behind) or _TOLD.search(text[max(0, start - 2 * _REACH) : start]):
        return True
    return letters and _LETTER.search(text[max(0, start - _LETTER_REACH) : start]) is not None
