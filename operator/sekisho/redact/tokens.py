"""Items that letters make: mail addresses, IBANs, IP addresses, keys and other secrets."""

# ruff: noqa: E501 - a Japanese sign counts as two columns, and patterns read better unbroken

import ipaddress
import re
from collections.abc import Iterator
from typing import Final

from sekisho.redact import checks
from sekisho.redact.categories import Category
from sekisho.redact.context import Topic, read_topic
from sekisho.redact.spans import Span

# Read backwards from the sign, since a search for what ends there would begin anew at every sign.
_LETTERS: Final = "A-Za-z"
# And those of Latin, Greek and Cyrillic; kana and kanji stand before an address without a gap.
_ALL_LETTERS: Final = f"{_LETTERS}À-ÖØ-öø-ɏͰ-ӿ"
_FAR_LETTER: Final = re.compile("[À-ÖØ-öø-ɏͰ-ӿ]")


def _spell_local(letters: str) -> "re.Pattern[str]":
    return re.compile(rf"[{letters}0-9_%+'~-](?:\.?[{letters}0-9_%+'~-]){{0,63}}", re.ASCII)


def _spell_domain(letters: str) -> "re.Pattern[str]":
    return re.compile(
        rf"@(?:[ぁ-んァ-ヶー一-鿿々]{{1,32}}\.)?(?:[{letters}0-9](?:[{letters}0-9-]{{0,61}}[{letters}0-9])?\.){{0,8}}(?<=\.)[{letters}]{{2,24}}",
        re.ASCII,
    )


_LOCAL: Final = _spell_local(_LETTERS)
_DOMAIN: Final = _spell_domain(_LETTERS)
_FAR_LOCAL: Final = _spell_local(_ALL_LETTERS)
_FAR_DOMAIN: Final = _spell_domain(_ALL_LETTERS)
# logo@2x.png is a file; none of these is a top-level domain.
_FILES: Final = frozenset({"png", "jpg", "jpeg", "gif", "svg", "webp", "css", "js", "ts", "html"})
_PLUS_TOKEN: Final = re.compile(r"[A-Za-z0-9_]")
_GOES_ON: Final = re.compile("_?[A-Za-z0-9]")
MAX_PEM: Final = 16384
_PEM_END: Final = re.compile(r"-----END [A-Z0-9 ]{0,40}-----")
_PEM_LINES: Final = re.compile(r"[A-Za-z0-9+/=\s:,-]*")
_VALUE: Final = r"(?:[!#-%(-+\--:=-\[\]-~]|&(?![A-Za-z_]\w{0,40}=)){6,256}"
_TAGS: Final = r"\s?(?:<[^<>\n]{1,64}>\s{0,8}){1,4}"
# What may stand between a word like "password" and its value: a note, closing signs, and one that tells what follows.
_ASSIGNED: Final = re.compile(
    rf"(?:[ _-]?(?:access )?(?:(?i:key(?:_base)?)|キー|鍵|番号|コード))?(?:\s?\([^()\n]{{1,14}}\)|\s?※[^\s:]{{1,6}})?[\"'`\])】」』》*]{{0,3}}(?:\s?\([^()\n]{{1,14}}\))?"
    rf"(?P<sign>(?:</[a-z]{{1,8}}>)?\s{{0,8}}(?:::?|:=|=>?|[|│→⇒>—/]|[-.・_]{{2,40}}|は、?|に関しては|って|です→|には|こちらです|として|が|(?: [a-z]{{1,8}}){{0,3}} (?:is|to)\b)\s{{0,4}}(?:{_TAGS})?|(?:{_TAGS})?<input[^<>\n]{{0,160}}value=|{_TAGS}|,?\s{{1,16}}\"?(?:value|内容|値)\"?\s?:\s?|\n[>\s]{{0,4}}|[ \t]{{1,20}}(?:[0578] )?|を ?|)"
    rf"[\"'`「『(\[]{{0,2}}(?:(?i:bearer|basic) )?(?P<value>{_VALUE})",
)
_CELLS: Final = re.compile(r"[,\t|;]")
_OPENING: Final = frozenset("「『【】」』》]")
_BRACKETS: Final = frozenset("([)*'\"`")
# ID/PASS: admin / …
_PAIRS: Final = frozenset("/・")
_OF_PAIR: Final = re.compile(rf"\s?[:=]\s?[^\s/]{{1,64}}\s?[/・]\s?({_VALUE})")
_QUOTES: Final = frozenset("\"'")
# How what sets a password is called.
_SETTER: Final = re.compile(r"set_?[A-Za-z]{0,16}\Z")
_ENDS_LABEL: Final = frozenset("\n :】」』》]>(")
# Behind these a gap is enough: PW abc12345.
_CLOSING_TAG: Final = re.compile(r"</[A-Za-z_]{0,24}\Z")
_PASSWORDS: Final = re.compile(r"パ ?ス ?ワ ?ー ?ド|password|passwd|pw|pwd|pass", re.IGNORECASE)
# (value)(パスワード), turned round from the word.
_BEFORE: Final = re.compile(r"[^\s()]{0,6}[(\[【「] ?([!#-&*+\--:=-\[\]-~]{6,64})(?![^\s])", re.ASCII)
_LETTER: Final = re.compile(r"[A-Za-z]")
_UNLIKE_WORDS: Final = re.compile(r"\d|[!@#$%^&*?+~](?!\Z)", re.ASCII)
_JOINED: Final = re.compile(r"[_!@#$%^&*?+~-]")
_CAMEL: Final = re.compile(r"[A-Z]?[a-z]{2,}|[^A-Za-z]")
_WORD_AND_NUMBER: Final = re.compile(r"[A-Z]?[a-z]+\d{0,5}", re.ASCII)
# ${NAME}, {{ name }}, <name>, a call, or a path in a program: the value stands elsewhere.
_ELSEWHERE: Final = re.compile(
    r"sha\d{1,3}[:-]|[$%]?[{(<\[]|[A-Za-z_][\w.]*[(\[]|(?:os|process|self|config|settings|env|ENV|var|secrets)\.",
    re.ASCII,
)
# scheme://user:value@host, curl -u user:value, mysql -pvalue.
_CREDENTIALS: Final = re.compile(
    r"(?i:identified by) {1,4}['\"](?P<sql>[^'\"\n]{4,128})['\"]|://[^\s:/@]{0,64}:(?P<url>[^\s/@]{3,128})@|-u(?:ser)?[ =]['\"]?[\w.-]{1,64}:(?P<user>[^\s'\"]{4,128})"
    r"|[a-z]{5,16} (?:[^\n|;]{0,64}? )?-p ?['\"]?(?P<option>[^\s'\"-][^\s'\"]{3,64})",
    re.ASCII,
)
_URL_REACH: Final = 240
_IN_URL: Final = re.compile(r"://[^\s:/@]{0,64}:[^\s/@]{0,160}\Z")
_VERSION: Final = re.compile(r"(?:(?<![a-z])(?:v|ver\.?|version)|バージョン|版数?|==)\s?:?\Z", re.IGNORECASE)
# Behind the first of two: バージョン1.2.3.4から1.2.3.5へ.
_FIRST_VERSION: Final = re.compile(
    r"(?:バージョン|版数?|version)\s?:?[\d.]{5,20}\s?(?:から|→|->|to)\s?\Z", re.IGNORECASE
)
_FIRST_ENDS: Final = frozenset({"ら", "→", ">", "o"})
_INSIDE_BEFORE: Final = re.compile(r"[A-Za-z0-9_.]")
_INSIDE_AFTER: Final = re.compile(r"[A-Za-z0-9]|_[A-Za-z0-9]|\.\d", re.ASCII)
_GLUED: Final = re.compile(r"(?:\A|[^A-Za-z0-9_])(?:ip|host|from)\Z", re.IGNORECASE)
# 7.6.3.3 はじめに, at the beginning of a line: a heading.
_SECTION: Final = re.compile(r"(?:\d{1,2}\.){3}\d{1,2} [A-Zぁ-んァ-ヶ一-鿿]", re.ASCII)
_BEFORE_TITLES: Final = frozenset(" 節章項")
# Chrome/120.0.6099.109, but IP/1.2.3.4.
_PRODUCT: Final = re.compile("[A-Za-z]{3}/")
_OF_SECTIONS: Final = re.compile(r" ?[節章項]")
_HEADS: Final = re.compile(r"(?:\A|\n)[ ・※>#-]{0,3}\Z")
IP6: Final = r"(?:[0-9A-Fa-f]{1,4})?:(?:[0-9A-Fa-f]{0,4}:){1,6}(?:[0-9]{1,3}(?:\.[0-9]{1,3}){3}|[0-9A-Fa-f]{1,4})?"
_IP6: Final = re.compile(IP6)
_HEX: Final = frozenset("0123456789abcdefABCDEF:")
_HARMLESS: Final = frozenset({"127.0.0.1", "0.0.0.0", "255.255.255.255", "::1", "::"})


def find_email(text: str, start: int, end: int) -> Iterator[Span]:
    """Yield the mail address whose sign `@` stands at `start`."""
    del end
    # Most are of ASCII, which is read faster alone.
    name = text[max(0, start - 64) : start][::-1]
    local = _LOCAL.match(name)
    if not name.isascii() and _FAR_LETTER.match(name, local.end() if local else 0):
        local = _FAR_LOCAL.match(name)
    domain = _DOMAIN.match(text, start)
    if domain is None or not text[domain.end() : domain.end() + 1].isascii():
        domain = _FAR_DOMAIN.match(text, start)
    if local is None or domain is None or domain[0].rpartition(".")[2].lower() in _FILES:
        return
    before = text[max(0, start - _URL_REACH) : start]
    # Not the password of a URL; without a colon there is none to look for.
    if ":" not in before or not _IN_URL.search(before):
        yield Span(start - len(local[0]), domain.end(), Category.EMAIL)


def find_iban(text: str, start: int, end: int) -> Iterator[Span]:
    """Yield the IBAN that begins at `start`: the longest of its groups for which the sum holds."""
    lead = text[max(0, start - 2) : start - 1]
    filled = text[start - 1 : start] == "_" and not (lead.isascii() and lead.isalnum())
    if start and not filled and _PLUS_TOKEN.match(text, start - 1):
        return
    for stop in range(end, start + 14, -1):
        plain = text[start:stop].replace(" ", "").replace("-", "")
        whole = text[stop - 1].isalnum() and not _GOES_ON.match(text, stop)
        if whole and (plain[:2].isupper() or " " not in text[start:stop]) and checks.is_iban(plain.upper()):
            yield Span(start, stop, Category.IBAN)
            return


def find_ip(text: str, start: int, end: int) -> Iterator[Span]:
    """Yield the IP address at `start`, unless a version, the host itself, or part of a longer token stands there."""
    # IP:fd00::1, and (1.2.3.4), which begins like a telephone number.
    if text[start] == ":" and text[start + 1 : start + 2] != ":":
        start += 1
        whole = _IP6.match(text, start)
        end = whole.end() if whole else end
    plain = text[start:end]
    before = text[max(0, start - 1) : start]
    # Leaders of a form: IP......1.2.3.4, IP _1.2.3.4_
    lead = text[max(0, start - 2) : start - 1]
    if (before == "." and lead == ".") or (before == "_" and not (lead.isascii() and lead.isalnum())):
        before = ""
    inside = _INSIDE_BEFORE.match(before) or (before == ":" and ":" in plain and start > 1 and text[start - 2] in _HEX)
    if (inside and not _GLUED.search(text[max(0, start - 5) : start])) or _INSIDE_AFTER.match(text, end):
        return
    if ":" in plain and (len(plain) < 7 or not any(sign.isdigit() for sign in plain) or text[end : end + 1] == ":"):
        return
    if ":" not in plain and (
        _VERSION.search(text[max(0, start - 12) : start])
        or (
            text[max(0, start - 2) : start].rstrip()[-1:] in _FIRST_ENDS
            and _FIRST_VERSION.search(text[max(0, start - 40) : start])
        )
        or (text[end : end + 1] in _BEFORE_TITLES and _is_section(text, start, end))
        or (before == "/" and _PRODUCT.fullmatch(text, max(0, start - 4), start) is not None)
    ):
        return
    try:
        address = str(ipaddress.ip_address(plain))
    except ValueError:
        return
    if (
        address not in _HARMLESS
        and not address.startswith("255.")
        and (":" in plain or read_topic(text, start, end, near=True) is not Topic.OTHER)
    ):
        yield Span(start, end, Category.IP_ADDRESS)


def _is_section(text: str, start: int, end: int) -> bool:
    if _OF_SECTIONS.match(text, end) is not None:
        return True
    return _SECTION.match(text, start) is not None and _HEADS.search(text[max(0, start - 4) : start]) is not None


def find_key(text: str, start: int, end: int) -> Iterator[Span]:
    """Yield a token that its own prefix tells to be a key, unless it is the middle of a longer one."""
    if not (start and _PLUS_TOKEN.match(text, start - 1)):
        yield Span(start, end, Category.SECRET_KEY)


def find_pem(text: str, start: int, end: int) -> Iterator[Span]:
    """Yield a private key in PEM, to its last line; without one, as far as the lines look like a key."""
    closing = _PEM_END.search(text, end, end + MAX_PEM)
    stop = closing.end() if closing else _PEM_LINES.match(text, end, end + MAX_PEM).end()  # type: ignore[union-attr]
    yield Span(start, stop, Category.SECRET_KEY)


def find_assigned(text: str, start: int, end: int) -> Iterator[Span]:
    """Yield the value that follows a word like "password" and a sign of assignment, or that the word in brackets follows.

    It must look like no word, the more so where no sign says that it is a value.
    """
    if text[end : end + 1] in {")", "]", "】", "」"}:
        before = _BEFORE.match(text[max(0, start - 80) : start][::-1])
        # value (password), but not a call: digest1(secret).
        apart = before is not None and (
            not text[start:end].isascii()
            or before[0][before.start(1) - 1] != "("
            or (
                text[max(0, start - before.end(1) - 1) : start - before.end(1)] in {"", "\n"}
                and _PASSWORDS.fullmatch(text, start, end) is not None
            )
        )
        if before is not None and apart and _is_secret(before[1][::-1]):
            yield Span(start - before.end(1), start - before.start(1), Category.SECRET_KEY)
            return
    paired = _OF_PAIR.match(text, end) if text[max(0, start - 1) : start] in _PAIRS else None
    if paired is not None and _is_secret(paired[1]):
        yield Span(*paired.span(1), Category.SECRET_KEY)
        return
    found = _ASSIGNED.match(text, end)
    if found is None or text[start - 2 : start] == "</" or _CLOSING_TAG.search(text[max(0, start - 32) : start]):
        return
    # 「…(value)」
    value, sign = found["value"].rstrip("()[]{}.;"), found["sign"]
    begin = found.start("value")
    # 'password' => '…', and not what a program names there.
    suits = text[begin - 1] in _QUOTES if "=>" in sign else _suits(text, start, end, sign, value)
    if suits and _is_secret(value):
        yield Span(begin, begin + len(value), Category.SECRET_KEY)


def _suits(text: str, start: int, end: int, sign: str, value: str) -> bool:
    """Tell whether a sign between a word and a value says enough: a gap is enough behind a word for passwords.

    Programs hold such words too: a call's bracket, a line's end or a gap is no sign behind "pass", "token" and the like.
    """
    word, behind = text[start:end].lower(), text[end : end + 1]
    told = not word.isascii() or (word != "pass" and _PASSWORDS.fullmatch(word) is not None)
    if "|" in sign:
        return " " in sign and (told or word == "pass" or _WORD_AND_NUMBER.fullmatch(value) is None)
    if sign.strip() not in {"", "を"}:
        return True
    if not sign:
        return (
            behind in _OPENING
            or (not word.isascii() and (behind in _BRACKETS or not text[start].isascii()))
            or (behind == "(" and _is_given(text, start, end, told=told))
        )
    if sign[0] == "を":
        return told and _WORD_AND_NUMBER.fullmatch(value) is None
    if "\n" in sign:
        # Not below a heading of a table.
        line = text[max(text.rfind("\n", 0, start) + 1, start - 256) : start]
        return told and behind in _ENDS_LABEL and _CELLS.search(line) is None and value[0] not in "@#/"
    if text[max(0, start - 1) : start] in {".", "_"} and "." in text[max(0, start - 8) : start]:
        return False
    return told or (word != "pass" and (len(sign) > 1 or sign == "\t")) or behind in _OPENING


def _is_given(text: str, start: int, end: int, *, told: bool) -> bool:
    """Tell whether the bracket behind a word opens its value: in ログインPW(…), and where a string is set."""
    if told and start and not text[start - 1].isascii():
        return True
    return text[end + 1 : end + 2] in _QUOTES and _SETTER.search(text[max(0, start - 24) : start]) is not None


def _is_secret(value: str) -> bool:
    if len(value) < 6 or _LETTER.search(value) is None or _ELSEWHERE.match(value) is not None:
        return False
    # No words: letters of both cases at random.
    mixed = value.upper() != value != value.lower() and len(_CAMEL.sub("", value)) > 3
    return _UNLIKE_WORDS.search(value) is not None or (mixed and len(value) > 9 and _JOINED.sub("", value).isalnum())


def find_credentials(text: str, start: int, end: int) -> Iterator[Span]:
    """Yield the password of a URL, or the one that a command or a statement of SQL is given."""
    del end
    found = _CREDENTIALS.match(text, start)
    # -u admin:…, but not pre-u.
    if found is None or (text[start] == "-" and text[max(0, start - 1) : start].strip(" -\n")):
        return
    group = found.lastindex or 0
    if _LETTER.search(found[group]) and _ELSEWHERE.match(found[group]) is None:
        yield Span(*found.span(group), Category.SECRET_KEY)


def find_placeholder(text: str, start: int, end: int) -> Iterator[Span]:
    """Yield what looks like a placeholder, so that restoring cannot take a caller's own text for one of ours."""
    del text
    yield Span(start, end, Category.PLACEHOLDER)
