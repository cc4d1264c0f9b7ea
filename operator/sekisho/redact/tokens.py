"""Items that letters make: mail addresses, IBANs, IP addresses, keys and other secrets."""

import ipaddress
import re
from collections.abc import Iterator
from typing import Final

from sekisho.redact import checks
from sekisho.redact.categories import Category
from sekisho.redact.context import Topic, read_topic
from sekisho.redact.spans import Span

# Read backwards from the sign, since a search for what ends there would begin anew at every sign.
_LOCAL: Final = re.compile(r"[A-Za-z0-9_%+'~-](?:\.?[A-Za-z0-9_%+'~-]){0,63}", re.ASCII)
_DOMAIN: Final = re.compile(r"@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,8}[A-Za-z]{2,24}", re.ASCII)
_PLUS_TOKEN: Final = re.compile(r"[A-Za-z0-9_]")
MAX_PEM: Final = 16384
_PEM_END: Final = re.compile(r"-----END [A-Z0-9 ]{0,40}-----")
_PEM_LINES: Final = re.compile(r"[A-Za-z0-9+/=\s:,-]*")
_ASSIGNED: Final = re.compile(r"[\"']?\s{0,2}(?:[:=]|は|is)\s{0,2}[\"'「]?(?:Bearer\s)?([^\s\"'、。,;」]{8,256})")
_VERSION: Final = re.compile(r"(?:v|ver\.?|version|バージョン|版)\s?:?\Z", re.IGNORECASE)
_INSIDE_BEFORE: Final = re.compile(r"[A-Za-z0-9_.:]")
_INSIDE_AFTER: Final = re.compile(r"[A-Za-z0-9_:]|\.\d", re.ASCII)
_HARMLESS: Final = frozenset({"127.0.0.1", "0.0.0.0", "255.255.255.255", "::1", "::"})


def find_email(text: str, start: int, end: int) -> Iterator[Span]:
    """Yield the mail address whose sign `@` stands at `start`."""
    del end
    local = _LOCAL.match(text[max(0, start - 64) : start][::-1])
    domain = _DOMAIN.match(text, start)
    if local and domain:
        yield Span(start - len(local[0]), domain.end(), Category.EMAIL)


def find_iban(text: str, start: int, end: int) -> Iterator[Span]:
    """Yield the IBAN that begins at `start`: the longest of its groups for which the sum holds."""
    if start and _PLUS_TOKEN.match(text, start - 1):
        return
    for stop in range(end, start + 14, -1):
        plain = text[start:stop].replace(" ", "").replace("-", "")
        whole = text[stop - 1].isalnum() and not _PLUS_TOKEN.match(text, stop)
        if whole and checks.is_iban(plain.upper()):
            yield Span(start, stop, Category.IBAN)
            return


def find_ip(text: str, start: int, end: int) -> Iterator[Span]:
    """Yield the IP address at `start`, unless a version, the host itself, or part of a longer token stands there."""
    plain = text[start:end]
    if _INSIDE_BEFORE.match(text, max(0, start - 1), start) or _INSIDE_AFTER.match(text, end):
        return
    if ":" in plain and (len(plain) < 7 or not any(sign.isdigit() for sign in plain)):
        return
    if ":" not in plain and _VERSION.search(text[max(0, start - 12) : start]):
        return
    try:
        address = str(ipaddress.ip_address(plain))
    except ValueError:
        return
    if address not in _HARMLESS and read_topic(text, start, end) is not Topic.OTHER:
        yield Span(start, end, Category.IP_ADDRESS)


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
    """Yield the value that follows a word like "password" and a sign of assignment, if it looks like no word."""
    del start
    value = _ASSIGNED.match(text, end)
    if value and re.search(r"\d", value[1]) and re.search(r"[A-Za-z]", value[1]):
        yield Span(*value.span(1), Category.SECRET_KEY)


def find_placeholder(text: str, start: int, end: int) -> Iterator[Span]:
    """Yield what looks like a placeholder, so that restoring cannot take a caller's own text for one of ours."""
    del text
    yield Span(start, end, Category.PLACEHOLDER)
