"""One pass of RE2 over the folded text finds candidates; bounded rules decide what each is.

RE2 takes time linear in the text, whatever the text. Each rule reads a bounded stretch around its candidate, and the
pass goes on behind the candidate, so the whole is linear as well.
"""

# ruff: noqa: E501 - a Japanese sign counts as two columns, and patterns read better unbroken

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

from sekisho.redact import numbered, tokens
from sekisho.redact.addresses import find_address, find_lone_address
from sekisho.redact.categories import BY_TAGGER, MEANINGS, Category
from sekisho.redact.context import REACH, TAG_REACH, Topic, read_topic
from sekisho.redact.custom import Custom
from sekisho.redact.fold import Folded, fold
from sekisho.redact.linear import Linear
from sekisho.redact.numbers import find_numbers
from sekisho.redact.romanised import find_romanised
from sekisho.redact.spans import Span, resolve
from sekisho.redact.tables import tell_cells

_RUN: Final = r"[+(]{0,2}[0-9](?:(?:[-ー一・.() ~〜の]{0,3}|の、 ?|ハイフン)[0-9]){6,}"
_PREFIXED: Final = "|".join((
    r"sk-[A-Za-z0-9_-]{20,}", r"sk_(?:live|test)_[A-Za-z0-9]{16,}", r"rk_live_[A-Za-z0-9]{16,}",
    r"gh[pousr]_[A-Za-z0-9]{30,}", r"github_pat_[A-Za-z0-9_]{30,}", r"glpat-[A-Za-z0-9_-]{20,}",
    r"xox[abposr]-[A-Za-z0-9-]{10,}", r"(?:AKIA|ASIA)[0-9A-Z]{16}", r"AIza[0-9A-Za-z_-]{35}",
    r"ya29\.[0-9A-Za-z_-]{20,}", r"hf_[A-Za-z0-9]{30,}", r"npm_[A-Za-z0-9]{36}", r"pypi-[A-Za-z0-9_-]{40,}",
    r"SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}", r"hvs\.[A-Za-z0-9_-]{20,}", r"dop_v1_[a-f0-9]{64}",
    r"eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*",
    r"gsk_[A-Za-z0-9]{40,}", r"whsec_[A-Za-z0-9+/=]{24,}", r"xapp-[0-9]-[A-Za-z0-9-]{20,}", r"GOCSPX-[A-Za-z0-9_-]{20,}",
    r"shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}", r"tskey-[a-z]{2,12}-[A-Za-z0-9-]{16,}", r"dckr_pat_[A-Za-z0-9_-]{20,}", r"nvapi-[A-Za-z0-9_-]{40,}",
    r"xai-[A-Za-z0-9]{40,}", r"pplx-[A-Za-z0-9]{40,}", r"sntrys_[A-Za-z0-9+/=_-]{40,}", r"figd_[A-Za-z0-9_-]{30,}", r"lin_api_[A-Za-z0-9]{30,}",
    r"rubygems_[a-f0-9]{40,}", r"dapi[a-f0-9]{32}", r"sq0[a-z]{3}-[A-Za-z0-9_-]{22,}", r"ATATT3[A-Za-z0-9_=-]{60,}", r"NRAK-[A-Z0-9]{27}", r"glptt-[a-f0-9]{40}", r"phc_[A-Za-z0-9]{40,}", r"r8_[A-Za-z0-9]{37}", r"key-[a-f0-9]{32}", r"SK[a-f0-9]{32}", r"AGE-SECRET-KEY-1[A-Z0-9]{58}", r"hooks\.slack\.com/services/T[A-Z0-9]{6,}/B[A-Z0-9]{6,}/[A-Za-z0-9]{20,}",
))  # fmt: skip
_CODES: Final = "|".join(sorted(meaning.code for meaning in MEANINGS.values()))
_NUMERALS: Final = "〇一二三四五六七八九十百"
_KANJI_DIGITS: Final = "〇一二三四五六七八九零"
# In the order of precedence where two begin at one place. Both RE2 and the standard library read this.
CANDIDATES: Final = {
    "placeholder": rf"\[\[(?:{_CODES})-[0-9A-Z]{{12}}\]\]",
    "pem": r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----",
    "key": _PREFIXED,
    "assigned": (
        r"(?i:password|passwd|passphrase|secret|api[ _-]?key|access[_-]?key|encryption[_-]?key|signing[_-]?key|private[_-]?key|account[_-]?key|token|authorization|bearer"
        r"|\bpwd?\b|(?:\b|_)pass\b)|パ ?ス ?ワ ?ー ?ド|パスフレーズ|暗証番号|秘密鍵|APIキー|トークン|シークレット|パスは|アクセスキー"
    ),
    # The rest is read by the rule: bounded repetitions would slow the pass down.
    "credentials": r"://|(?i:identified by) |-u(?:ser)?[ =]|(?:mysql|sshpass)[a-z]{0,8} ",
    "iban": r"[A-Za-z]{2}[0-9]{2}(?:[ -]?[A-Za-z0-9]{4}){2,7}(?:[ -]?[A-Za-z0-9]{1,3})?",
    "ip6": tokens.IP6,
    "ip": r"[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}",
    # 03/1234/5678 and 03、1234、5678, and digits in boxes of a form: |1|2|3|4|5|6|7|
    "slashed": r"0[0-9]{1,4}(?:/[0-9]{1,4}[-/]|、[0-9]{1,4}、)[0-9]{3,4}|[0-9]{4}、[0-9]{4}、[0-9]{4}",
    "boxed": r"[0-9](?: ?[|│] ?[0-9]){6,}",
    "kanji": rf"[{_KANJI_DIGITS}](?:[-ー・.() ~〜の]{{0,2}}[{_KANJI_DIGITS}]){{6,}}",
    "block": (
        rf"(?:[0-9]{{1,5}}|[{_NUMERALS}]{{1,5}})(?:丁目|番地|番町|地割|番耕地)|[0-9]{{1,5}}番[0-9]{{1,4}}|(?:[0-9]{{1,3}}|[{_NUMERALS}]{{1,4}})条[東西南北][0-9{_NUMERALS}]"
        rf"|[0-9]{{1,4}}[-ー][0-9]{{1,4}}(?:[-ー][0-9]{{1,4}}){{0,2}}号室|[{_NUMERALS}]{{1,4}}[のノ-][0-9{_NUMERALS}]{{1,4}}"
    ),
    "lone": r"(?:[市区町村][一-鿿々ヶケノ]{1,12}|町)[0-9]{1,5}(?:[^-0-9ー丁番号の条.,:]|$)",
    "run": _RUN,
    "short": r"[0-9]{1,4}[-ーのノ][0-9]{1,4}(?:[-ーのノ][0-9]{1,4}){0,2}",
    "email": "@",
    "numbered": numbered.PATTERN,
}
UNION: Final = "|".join(CANDIDATES.values())


def _name(kinds: Iterable[str]) -> "re.Pattern[str]":
    return re.compile("|".join(f"(?P<{kind}>{CANDIDATES[kind]})" for kind in kinds), re.ASCII)


_KINDS: Final = _name(CANDIDATES)
# Most candidates begin with a digit, and few kinds do.
_KINDS_OF_DIGITS: Final = _name(("ip6", "ip", "slashed", "boxed", "block", "run", "short"))
_BLOCK_INSIDE: Final = re.compile(f"{CANDIDATES['block']}|{CANDIDATES['short']}")
_DIGITS: Final = frozenset("0123456789+(")
_BEFORE_NAMES: Final = frozenset(" ,")
_BLOCK_SIGNS: Final = "0123456789-"
_BEFORE_QUADS: Final = frozenset(" (")
_QUAD: Final = re.compile(CANDIDATES["ip"])
_ANY_RUN: Final = re.compile(_RUN)
_JOINS: Final = frozenset("0123456789/-.")
# A date in these groups has fewer digits than a telephone number: 01/02-2024.
_LEAST_SLASHED: Final = 11
_BOXES: Final = re.compile("[ |│]")
_KANJI_ALONE: Final = frozenset(_KANJI_DIGITS)
_DIGITS_OF_KANJI: Final = str.maketrans(_KANJI_DIGITS, "01234567890")
# One of these stands in all other kinds that begin with a digit.
_OTHERS: Final = frozenset(":.丁番条号/|│、")
_PASS: Final = Linear(UNION)


def _find_block(text: str, start: int, end: int) -> Iterable[Span]:
    del end
    address = find_address(text, start) or find_romanised(text, start)
    return (address,) if address else ()


def _find_run(text: str, start: int, end: int) -> Iterable[Span]:
    quad = _QUAD.search(text, start, end + 1) if text.find(".", start, end) >= 0 else None
    if quad is not None and text[quad.start() - 1 : quad.start()] in _BEFORE_QUADS and start <= quad.start() - 1:
        # (1.2.3.4) and "A1. 1.2.3.4" begin like telephone numbers.
        found = list(tokens.find_ip(text, *quad.span()))
        if found:
            return found
    # The first number of an address has five digits at most.
    address = None if text[start : start + 6].isdigit() else find_address(text, start)
    if address is None and text[end : end + 1] in _BEFORE_NAMES and text.find("-", end - 6, end) >= 0:
        # #201 3-4-5 Umeda, Kita-ku, Osaka: the block is the last in the run.
        block = max(start, end - 24)
        address = find_romanised(text, block + len(text[block:end].rstrip(_BLOCK_SIGNS)))
    if address is None:
        return find_numbers(text, start, end)
    before = find_numbers(text, start, address.start) if start < address.start else ()
    start = max(start, address.end)
    return [*before, address, *(find_numbers(text, start, end) if start < end else ())]


def _find_slashed(text: str, start: int, end: int) -> Iterable[Span]:
    # 2024/01/02/0345 and 01/1234-5678-9 are something else.
    if text[start - 1 : start] in _JOINS or text[end : end + 1] in _JOINS:
        return ()
    found = _find_as(text, start, end, text[start:end].replace("/", "-").replace("、", "-"))
    told = found and read_topic(text, start, end) is Topic.MY_NUMBER
    wanted = Category.JP_MY_NUMBER if told else Category.PHONE
    return [span for span in found if span.category is wanted and end - start > _LEAST_SLASHED]


def _find_boxed(text: str, start: int, end: int) -> Iterable[Span]:
    if text[start - 1 : start].isdigit() or text[end : end + 1].isdigit():
        return ()
    digits = _BOXES.sub("", text[start:end])
    before = f"{text[max(0, start - REACH) : start].rstrip('|│ ')} "
    plain, begin = before + digits, len(before)
    if read_topic(plain, begin, len(plain)) is None:
        return ()
    found = find_numbers(plain, begin, len(plain))
    return [Span(start, end, span.category) for span in found]


def _find_kanji(text: str, start: int, end: int) -> Iterable[Span]:
    # The signs of numbers in a row are a list of them, unless a word tells what they are.
    told = not _KANJI_ALONE.issuperset(text[start:end]) or read_topic(text, start, end) is not None
    found = _find_as(text, start, end, text[start:end].translate(_DIGITS_OF_KANJI)) if told else []
    if found:
        return found
    block = _BLOCK_INSIDE.search(text, start, end + 8)
    return _find_block(text, block.start(), end) if block and block.start() < end else ()


def _find_as(text: str, start: int, end: int, digits: str) -> list[Span]:
    """Return the numbers of a stretch that is spelt as digits otherwise, sign by sign."""
    begin = max(0, start - TAG_REACH)
    shifted = f"{text[begin:start]}{digits}{text[end : end + REACH]}"
    found = find_numbers(shifted, start - begin, end - begin)
    return [Span(span.start + begin, span.end + begin, span.category) for span in found]


def _find_lone(text: str, start: int, end: int) -> Iterable[Span]:
    # 別所四ノ6: the sign of a city, names, and a block.
    block = _BLOCK_INSIDE.search(text, start, end + 8)
    address = (find_address(text, block.start()) if block and block.start() < end else None) or find_lone_address(
        text, start, end
    )
    return (address,) if address else ()


Rule = Callable[[str, int, int], Iterable[Span]]
_RULES: Final[dict[str, Rule]] = {
    "placeholder": tokens.find_placeholder,
    "pem": tokens.find_pem,
    "key": tokens.find_key,
    "assigned": tokens.find_assigned,
    "credentials": tokens.find_credentials,
    "iban": tokens.find_iban,
    "ip6": tokens.find_ip,
    "ip": tokens.find_ip,
    "slashed": _find_slashed,
    "boxed": _find_boxed,
    "kanji": _find_kanji,
    "block": _find_block,
    "lone": _find_lone,
    "run": _find_run,
    # A run without signs, which nothing else consists of; no address begins with so many digits.
    "digits": find_numbers,
    "short": _find_block,
    "email": tokens.find_email,
    "numbered": numbered.find_numbered,
}
# Rules whose refused candidates may hide a run of digits.
_MAY_HIDE: Final = frozenset({"iban", "ip6", "ip", "block", "key", "lone", "slashed", "boxed"})


Fold = Callable[[str], Folded]


class Tagger(Protocol):
    """What knows names; it may hold a dictionary of many megabytes, and is the same in all threads."""

    def tag(self, text: str) -> Iterable[Span]:
        """Return people and places in folded text of any length and content, in time linear in it."""
        ...


class Survey(NamedTuple):
    """All that stands in one text, overlaps and all, whatever is wanted of it: `Detector.choose` takes from it.

    Attributes:
        spans: In no order, by offsets of the text itself.
        named: Whether names of people and places were looked for.
    """

    spans: tuple[Span, ...]
    named: bool


@dataclass(frozen=True, slots=True)
class Detector:
    """What is looked for.

    Attributes:
        categories: Kinds that are reported, besides look-alikes of placeholders, which always are. All are searched
            for, so that a card is not taken for something else.
        custom: The tenant's own words and patterns; None: there are none.
        names: What knows names of people and places; None: none are looked for.
    """

    categories: frozenset[Category]
    custom: Custom | None = None
    names: Tagger | None = None
    _wanted: frozenset[Category] = field(init=False, repr=False, compare=False)
    _tagger: Tagger | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Work out once what each find is held against, and who looks for names."""
        own = {Category.CUSTOM} if self.custom is not None else frozenset[Category]()
        wanted = (self.categories - {Category.CUSTOM}) | own | {Category.PLACEHOLDER}
        object.__setattr__(self, "_wanted", wanted)
        object.__setattr__(self, "_tagger", None if self.categories.isdisjoint(BY_TAGGER) else self.names)

    def detect(self, text: str) -> tuple[Span, ...]:
        """Return what is found in a text of any content, without overlaps, by offsets of the text itself."""
        return self.choose(self.survey(text))

    def survey(self, text: str, known: Survey | None = None, *, fold: Fold = fold) -> Survey:
        """Look into a text of any content for everything, for names where some are wanted.

        Args:
            text: What to look into.
            known: What is known of it by a detector with the same `custom` and `names`; only what lacks is looked for.
            fold: Folds, or knows what that comes to.
        """
        names = self._tagger
        if known is not None and (known.named or names is None):
            return known
        folded = fold(text)
        spans = list(known.spans if known is not None else _trace(folded, self._scan(folded)))
        if names is not None:
            spans.extend(_trace(folded, names.tag(folded.text)))
        return Survey(tuple(spans), names is not None)

    def choose(self, survey: Survey) -> tuple[Span, ...]:
        """Return what of a survey is wanted here, without overlaps."""
        wanted = self._wanted
        return resolve([span for span in survey.spans if span[2] in wanted]) if survey.spans else ()

    def _scan(self, folded: Folded) -> list[Span]:
        spans = scan(folded)
        if self.custom is not None:
            spans.extend(self.custom.find(folded.text))
        return spans


def scan(folded: Folded) -> list[Span]:
    """Return what every rule finds in folded text; spans may overlap."""
    spans = judge(folded.text, _find_candidates(folded.text, folded.data))
    told = tell_cells(folded.text, folded.data, people=False)
    if told is not None:
        spans = list(told.settle(spans))
        for span in judge(told.text, _find_candidates(told.text, told.text.encode())):
            place = told.find(span.start, span.end)
            if place is not None:
                spans.append(Span(*place, span.category))
    return spans


def _find_candidates(text: str, data: bytes) -> list[tuple[int, int]]:
    # RE2 tells places in bytes.
    found = _PASS.find(data)
    if len(data) == len(text):
        return found
    counted = place = 0
    places = []
    for start, end in found:
        begin = place + len(data[counted:start].decode())
        place = begin + len(data[start:end].decode())
        counted = end
        places.append((begin, place))
    return places


def judge(text: str, candidates: Iterable[tuple[int, int]]) -> list[Span]:
    """Return what candidates come to; a candidate that begins inside what was judged already is passed over."""
    found: list[Span] = []
    done = told = 0
    for start, end in candidates:
        if start < done:
            continue
        kind = _read_kind(text, start, end)
        for span in _RULES[kind](text, start, end):
            found.append(span)
            done = max(done, span[1])
        if len(found) > told:
            told = len(found)
        elif kind in _MAY_HIDE:
            run = _ANY_RUN.search(text, start, end + 40)
            if run and run.start() < end:
                done = run.end()
                found.extend(find_numbers(text, *run.span()))
                told = len(found)
    return found


def _read_kind(text: str, start: int, end: int) -> str:
    candidate = text[start:end]
    if candidate.isdigit():
        return "digits"
    sign = candidate[0]
    if sign == "@":
        return "email"
    if sign not in _DIGITS:
        kind = _KINDS.match(text, start)
    elif _OTHERS.isdisjoint(candidate):
        # Where a run is one, it comes before a short one.
        return "run" if _ANY_RUN.match(text, start) else "short"
    else:
        kind = _KINDS_OF_DIGITS.match(text, start)
    return str(kind.lastgroup) if kind else "run"


def _trace(folded: Folded, spans: Iterable[Span]) -> Iterable[Span]:
    """Return spans of folded text as those of the original."""
    if len(folded.folded) == 1:
        return spans
    return [Span(*folded.span(start, end), category) for start, end, category in spans]
