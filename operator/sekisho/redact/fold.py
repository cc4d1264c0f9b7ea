"""One spelling for many: NFKC, one hyphen, ASCII digits, no signs that nobody sees; with a map back to the original.

What JSON, HTML and URLs escape counts as what it stands for, as does + for a gap where a form is sent.
"""

import html
import json
import re
import unicodedata
from bisect import bisect_right
from functools import lru_cache
from typing import Final, NamedTuple

from sekisho.redact.linear import Linear

# Hyphens, dashes and minus signs that NFKC leaves; the long vowel mark stays, since words are written with it.
_DASHES: Final = (
    "\u02d7\u1806\u2010\u2011\u2012\u2013\u2014\u2015\u2043\u207b\u208b\u2212\u2500\u2501\u30a0\ufe58\ufe63\uff0d"
)
# Signs that nobody sees: Unicode's default ignorable code points, notes between lines, and control signs but for those
# that end or indent a line.
_INVISIBLE: Final = (
    "\u00ad\u034f\u061c\u115f-\u1160\u17b4-\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
    "\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f"
)
# What is drawn over a sign: strokes, rings, and accents of which no letter is made.
_DRAWN_OVER: Final = "\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"
_NOTHING: Final = re.compile(f"[{_INVISIBLE}{_DRAWN_OVER}]")
# Of ASCII, what may be no sign for itself: controls, what begins escapes, and what parts the fields of a form.
_UNPLAIN: Final = bytes([*range(9), *range(14, 32), 127, *b"\\%&"])
_TABLE: Final = dict.fromkeys(map(ord, _DASHES), "-")
# What folding leaves as it is: ASCII, Latin-1 letters, kana, the usual punctuation, ideographs, Hangul.
_KEPT: Final = (
    r"\x09-\x0d\x20-\x7e\x{c0}-\x{ff}\x{3001}-\x{3029}\x{3041}-\x{3096}\x{30a1}-\x{30fe}\x{3400}-\x{9fff}"
    r"\x{ac00}-\x{d7a3}"
)
_WIDE: Final = r"\x{ff01}-\x{ff5e}"
# One character of UTF-8 as URLs escape it, and one of HTML.
_IN_URL: Final = (
    "%[0-7][0-9A-Fa-f]|%[c-dC-D][0-9A-Fa-f]%[89abAB][0-9A-Fa-f]|%[eE][0-9A-Fa-f](?:%[89abAB][0-9A-Fa-f]){2}"
    "|%[fF][0-4](?:%[89abAB][0-9A-Fa-f]){3}"
)
_IN_HTML: Final = (
    "&(?:#[0-9]{2,6}|#[xX][0-9A-Fa-f]{2,5}|nbsp|ensp|emsp|thinsp|shy|amp|lt|gt|quot|apos|commat|hyphen|dash|ndash|mdash"
    "|minus|lpar|rpar|plus|period|colon|sol|num);"
)
# All that folds but ASCII in full width by itself. Both RE2 and, for comparison, the standard library read this.
FOLDABLE: Final = (
    rf"[\x{{3041}}-\x{{30fe}}][\x{{3099}}\x{{309a}}]|[{_WIDE}]?[^{_KEPT}{_WIDE}]+"
    rf'|\\u[0-9A-Fa-f]{{4}}(?:\\u[0-9A-Fa-f]{{4}})*|\\["\\/bfnrt]|\+?(?:{_IN_URL})(?:\+?(?:{_IN_URL}))*\+?|{_IN_HTML}'
    # The password of a URL stays as it is spelt: decoded, it may hold what ends it.
    r"|://[!-.0-9;-?A-~]*:[!-.0-?A-~]*@"
    # phone=03+1234+5678
    r"|=[0-9A-Z]{2,4}(?:\+[0-9A-Z]{1,4}){1,9}"
)
_FOLDABLE: Final = Linear(FOLDABLE, memory_bytes=8 << 20)
_CLUSTER: Final = re.compile(
    r"\\u[dD][89abAB][0-9A-Fa-f]{2}\\u[dD][c-fC-F][0-9A-Fa-f]{2}|\\u[0-9A-Fa-f]{4}|\\."
    rf"|{_IN_URL}|{_IN_HTML}|.[\u0300-\u036f\u3099\u309a\uff9e\uff9f]?",
    re.DOTALL,
)
# What is written in full width becomes ASCII, sign by sign. It begins with one byte in UTF-8, as nothing kept does.
_WIDE_BYTE: Final = b"\xef"
_NARROWED: Final = {chr(code).encode()[1:]: chr(code - 0xFEE0).encode() for code in range(0xFF01, 0xFF5F)}
_ESCAPES: Final = frozenset("\\%&+=")
_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")


class Folded(NamedTuple):
    """Folded text and where each of its signs came from; a tuple, since every text of a request becomes one.

    Attributes:
        text: What detectors read.
        data: The same in UTF-8, which RE2 reads.
        folded: Where pieces begin in `text`, ascending.
        original: Where the same pieces begin in the original.
        whole: Whether a piece only maps as a whole, since it became longer or shorter.
        odd: Whether any sign was folded that is neither ASCII in full width nor an escape of JSON.
    """

    text: str
    data: bytes
    folded: tuple[int, ...]
    original: tuple[int, ...]
    whole: tuple[bool, ...]
    odd: bool = False

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Return what `text[start:end]`, which is not empty, was in the original."""
        if len(self.folded) == 1:
            return start, end
        first = bisect_right(self.folded, start) - 1
        last = bisect_right(self.folded, end - 1) - 1
        begin = self.original[first] + (0 if self.whole[first] else start - self.folded[first])
        stop = self.original[last + 1] if self.whole[last] else self.original[last] + end - self.folded[last]
        return begin, stop


def fold(text: str) -> Folded:
    """Fold a text of any content; JSON's escapes count as what they stand for."""
    try:
        data = text.encode()
    except UnicodeEncodeError:
        # RE2 reads UTF-8, where half a surrogate pair has no spelling.
        data = _SURROGATE.sub("\ufffd", text).encode()
    if len(data) == len(text) and len(data.translate(None, _UNPLAIN)) == len(data):
        return Folded(text, data, (0,), (0,), (False,))
    found = _FOLDABLE.find(data)
    if not found:
        if _WIDE_BYTE in data:
            data = _narrow(data)
            text = data.decode()
        return Folded(text, data, (0,), (0,), (False,))
    parts: list[bytes] = []
    pieces: list[tuple[int, int, bool]] = [(0, 0, False)]
    taken = counted = place = shift = 0
    odd = False
    for start, end in found:
        parts.append(_narrow(data[taken:start]))
        taken, at, run = end, start, data[start:end].decode()
        if run[0] == ":":
            parts.append(data[start:end])
            continue
        odd = odd or run[0] not in _ESCAPES
        for cluster in _CLUSTER.findall(run):
            became = _fold_cluster(cluster)
            if len(became) != len(cluster):
                place += len(data[counted:at].decode())
                counted = at
                pieces.append((place + shift, place, True))
                shift += len(became) - len(cluster)
                pieces.append((place + len(cluster) + shift, place + len(cluster), False))
            parts.append(became.encode())
            at += len(cluster.encode())
    parts.append(_narrow(data[taken:]))
    folded, original, whole = zip(*pieces, strict=True)
    joined = b"".join(parts)
    return Folded(joined.decode(), joined, folded, original, whole, odd)


def _narrow(data: bytes) -> bytes:
    """Return UTF-8 with ASCII in the place of full width, of which all but that is kept."""
    first, *wide = data.split(_WIDE_BYTE)
    return b"".join([first, *[_NARROWED[part[:2]] + part[2:] for part in wide]]) if wide else data


@lru_cache(maxsize=4096)
def _fold_cluster(cluster: str) -> str:
    if cluster.startswith("\\"):
        cluster = _SURROGATE.sub("\ufffd", json.loads(f'"{cluster}"'))
    elif cluster[0] == "%" and len(cluster) > 2:
        cluster = bytes.fromhex(cluster.replace("%", "")).decode(errors="replace")
    elif cluster[0] == "&" and len(cluster) > 3:
        cluster = _SURROGATE.sub("\ufffd", html.unescape(cluster))
    elif cluster == "+":
        return " "
    normal = _NOTHING.sub("", unicodedata.normalize("NFKC", cluster).translate(_TABLE))
    if normal.isascii():
        return normal
    return "".join(str(unicodedata.digit(sign)) if sign.isdigit() else sign for sign in normal)
