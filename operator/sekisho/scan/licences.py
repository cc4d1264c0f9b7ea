"""Read licences: SPDX expressions as they are declared, and the texts that lie in the model."""

import re
from functools import cache
from typing import Final

from license_expression import get_spdx_licensing

MAX_EXPRESSION_BYTES: Final = 256
_MAX_DEPTH: Final = 8
_TOKENS: Final = re.compile(r"\s*(\(|\)|[A-Za-z0-9][A-Za-z0-9.+-]*(?::LicenseRef-[A-Za-z0-9.-]+)?)")
_OWN: Final = re.compile(r"(DocumentRef-[A-Za-z0-9.-]+:)?LicenseRef-[A-Za-z0-9.-]+")
_IDENTIFIER: Final = re.compile(r"SPDX-License-Identifier:[ \t]*([^\r\n*]{1,200})")
# Words that must all stand in the first 4 KiB of a text, in lower case; the first that fits is taken.
_TEXTS: Final = (
    ("Apache-2.0", ("apache license", "version 2.0, january 2004")),
    ("AGPL-3.0-only", ("gnu affero general public license", "version 3")),
    ("LGPL-3.0-only", ("gnu lesser general public license", "version 3")),
    ("GPL-3.0-only", ("gnu general public license", "version 3")),
    ("GPL-2.0-only", ("gnu general public license", "version 2")),
    ("MPL-2.0", ("mozilla public license version 2.0",)),
    ("CC-BY-NC-4.0", ("attribution-noncommercial 4.0 international",)),
    ("CC-BY-SA-4.0", ("attribution-sharealike 4.0 international",)),
    ("CC-BY-4.0", ("attribution 4.0 international",)),
    ("BSD-3-Clause", ("redistribution and use in source and binary forms", "neither the name")),
    ("BSD-2-Clause", ("redistribution and use in source and binary forms",)),
    ("ISC", ("permission to use, copy, modify, and/or distribute",)),
    ("MIT", ("permission is hereby granted, free of charge", "the software is provided")),
)
# Families of one text: which of them is meant stands elsewhere.
_SAME_TEXT: Final = re.compile(r"-(only|or-later)$|\+$")


class _NoExpressionError(Exception):
    pass


def read_expression(text: str) -> tuple[str, frozenset[str]] | None:
    """Read an SPDX licence expression.

    Returns:
        Its one spelling (ids as SPDX writes them) and the licences in it; None where it is none.
    """
    if len(text.encode(errors="replace")) > MAX_EXPRESSION_BYTES:
        return None
    tokens = _cut(text)
    licences: set[str] = set()
    try:
        spelt = _read_choice(tokens, licences, 0)
    except _NoExpressionError:
        return None
    return (spelt, frozenset(licences)) if not tokens else None


def recognise_text(text: str) -> str:
    """Name the licence whose text this is; empty where it is none of the common ones."""
    if (identifier := _IDENTIFIER.search(text)) and (read := read_expression(identifier[1].strip())):
        return read[0]
    plain = " ".join(text.lower().split())
    return next((name for name, words in _TEXTS if all(word in plain for word in words)), "")


def agree(declared: frozenset[str], found: frozenset[str]) -> bool:
    """Tell whether what was found is among what was declared; -only and -or-later share one text."""
    base = {_SAME_TEXT.sub("", name) for name in declared}
    return all(_SAME_TEXT.sub("", name) in base for name in found)


def _cut(text: str) -> list[str]:
    """Cut into tokens, last first; something that is none ends up as a token that no rule takes."""
    tokens, place = [], 0
    while text[place:].strip():
        match = _TOKENS.match(text, place)
        if match is None:
            return [""]
        tokens.append(match[1])
        place = match.end()
    return tokens[::-1]


def _read_choice(tokens: list[str], licences: set[str], depth: int) -> str:
    parts = [_read_part(tokens, licences, depth)]
    while tokens and tokens[-1].upper() in {"AND", "OR"}:
        parts += [tokens.pop().upper(), _read_part(tokens, licences, depth)]
    return " ".join(parts)


def _read_part(tokens: list[str], licences: set[str], depth: int) -> str:
    if not tokens or depth > _MAX_DEPTH:
        raise _NoExpressionError
    token = tokens.pop()
    if token == "(":  # noqa: S105
        inner = _read_choice(tokens, licences, depth + 1)
        if not tokens or tokens.pop() != ")":
            raise _NoExpressionError
        return f"({inner})"
    name = token if _OWN.fullmatch(token) else _known().get(token.lower(), ("", True))[0]
    if not name or _known().get(name.lower(), ("", False))[1]:
        raise _NoExpressionError
    licences.add(name)
    if not (tokens and tokens[-1].upper() == "WITH"):
        return name
    tokens.pop()
    exception, is_exception = _known().get(tokens.pop().lower() if tokens else "", ("", False))
    if not is_exception:
        raise _NoExpressionError
    return f"{name} WITH {exception}"


@cache
def _known() -> dict[str, tuple[str, bool]]:
    """Map lower case to (the id as SPDX writes it, whether it is an exception)."""
    symbols = get_spdx_licensing().known_symbols
    return {key.lower(): (key, bool(symbol.is_exception)) for key, symbol in symbols.items()}
