"""Words and patterns of an organisation or a tenant, within limits that keep one tenant from costing the others."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import re2

from sekisho.errors import Reason, RefusedError
from sekisho.redact.categories import Category
from sekisho.redact.fold import fold
from sekisho.redact.spans import Span

MAX_WORDS: Final = 5000
MAX_PATTERNS: Final = 64
MAX_LENGTH: Final = 256
MIN_WORD: Final = 2
MAX_PROGRAM: Final = 16000
_MAX_MEMORY: Final = 32 << 20


@dataclass(frozen=True, slots=True)
class Custom:
    """Compiled words and patterns of one dictionary or several; see `compile_custom`."""

    unions: tuple[Any, ...]

    def find(self, text: str) -> Iterator[Span]:
        """Yield what is found in folded text; of several of one dictionary that begin at one place, the longest."""
        for union in self.unions:
            for match in union.finditer(text):
                yield Span(match.start(), match.end(), Category.CUSTOM)


def join_customs(customs: Iterable[Custom | None]) -> Custom | None:
    """Return what finds all that any of several dictionaries finds; None where there are none."""
    unions = tuple(union for custom in customs if custom is not None for union in custom.unions)
    return Custom(unions) if unions else None


def compile_custom(words: Sequence[str], patterns: Sequence[str], *, memory_bytes: int = _MAX_MEMORY) -> Custom | None:
    """Compile a dictionary's words (taken literally, in any width and case) and patterns (RE2's syntax); None for none.

    Args:
        words: Of 2 to 256 characters.
        patterns: None of which matches the empty text.
        memory_bytes: What the compiled whole may take.

    Raises:
        RefusedError: `PolicyInvalid`: too many, too long, too short, not RE2, or a pattern that matches the empty text.
    """
    if len(words) > MAX_WORDS or len(patterns) > MAX_PATTERNS:
        raise _refuse(
            f"{len(words)} words and {len(patterns)} patterns; at most {MAX_WORDS} and {MAX_PATTERNS} are taken"
        )
    parts = [_literal(word, index) for index, word in enumerate(words)]
    compiled = [_compile_pattern(pattern, index) for index, pattern in enumerate(patterns)]
    size = sum(item.programsize for item in compiled)
    if size > MAX_PROGRAM:
        raise _refuse(f"its patterns compile to {size} instructions; at most {MAX_PROGRAM} are taken")
    parts += [f"(?:{pattern})" for pattern in patterns]
    if not parts:
        return None
    union = _compile("|".join(parts), memory=memory_bytes)
    if union is None:
        raise _refuse(f"all {len(parts)} entries together take more than {memory_bytes >> 20} MiB; shorten them")
    return Custom((union,))


def _literal(word: str, index: int) -> str:
    folded = fold(word).text.strip()
    if not MIN_WORD <= len(folded) <= MAX_LENGTH:
        raise _refuse(f"word {index} has {len(folded)} characters; from {MIN_WORD} to {MAX_LENGTH} are taken")
    return f"(?i:{re2.escape(folded)})"


def _compile_pattern(pattern: str, index: int) -> Any:
    if len(pattern) > MAX_LENGTH:
        raise _refuse(f"pattern {index} has {len(pattern)} characters; at most {MAX_LENGTH} are taken")
    compiled = _compile(pattern, memory=1 << 20)
    if compiled is None:
        raise _refuse(
            f"pattern {index} is not of RE2's syntax, or too large; look-around and back-references do not exist there"
        )
    if compiled.search("") is not None:
        raise _refuse(f"pattern {index} matches the empty text; let it ask for at least one character")
    return compiled


def _compile(pattern: str, *, memory: int) -> Any | None:
    options = re2.Options()
    options.max_mem = memory
    options.log_errors = False
    options.longest_match = True
    try:
        return re2.compile(pattern, options)
    except (re2.error, UnicodeEncodeError):
        return None


def _refuse(what: str) -> RefusedError:
    return RefusedError(Reason.POLICY_INVALID, f"the dictionary is refused: {what}")
