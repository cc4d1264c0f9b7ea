"""Look into a text that comes in pieces, and let go of it only behind what was looked into. Pure."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from sekisho.errors import Reason, RefusedError
from sekisho.redact.categories import Category
from sekisho.redact.documents import fit
from sekisho.redact.spans import Span

WINDOW: Final = 256
_STEP: Final = 64
_SHARE: Final = 8
# What was let go of already still says what a number is.
_CONTEXT: Final = 128
MAX_HELD: Final = 1 << 20
Find = Callable[[str], Sequence[Span]]


@dataclass(slots=True)
class Watch:
    """What is looked for in the texts of one answer, and what was found.

    Attributes:
        find: Finds what must not be told.
        ends: Whether an answer that holds any of it ends; otherwise it is taken out.
    """

    find: Find
    ends: bool = False
    counts: Counter[Category] = field(default_factory=Counter)

    def look(self, text: str) -> list[Span]:
        """Return what must not be told.

        Raises:
            RefusedError: `AnswerRefused`, there is some, and the answer ends for it.
        """
        found = [span for span in self.find(text) if span.category is not Category.PLACEHOLDER]
        if found and self.ends:
            self.counts.update(span.category for span in found)
            raise RefusedError(
                Reason.ANSWER_REFUSED,
                f"the answer held {found[0].category}, which answers of this class may not hold; it ends here",
            )
        return found

    def mask(self, span: Span) -> str:
        """Return what stands for a find, and count it."""
        self.counts[span.category] += 1
        return f"[{span.category}]"

    def describe(self) -> Mapping[str, int]:
        """Return the counts, for the record."""
        return {category.value: count for category, count in sorted(self.counts.items())}


class Lens(Protocol):
    """Looks into one text."""

    def feed(self, piece: str) -> str:
        """Return what may go on by now."""
        ...

    def finish(self) -> str:
        """Return the rest."""
        ...


class Window:
    """Hold `WINDOW` characters back, and whole whatever began before them.

    An item that is longer than the window is found where its beginning tells what it is.
    """

    __slots__ = ("_due", "_held", "_past", "_watch", "_width")

    def __init__(self, watch: Watch, width: int = WINDOW) -> None:
        self._watch = watch
        self._width = width
        self._past = ""
        self._held = ""
        self._due = width + _STEP

    def feed(self, piece: str) -> str:
        """Return what stands before the window.

        Raises:
            RefusedError: `AnswerRefused`, something is found, or too much hangs together.
        """
        self._held += piece
        if len(self._held) < self._due:
            return ""
        if len(self._held) > MAX_HELD:
            raise RefusedError(
                Reason.ANSWER_REFUSED, f"{MAX_HELD} characters of the answer cannot be told apart; it ends here"
            )
        said = self._let_go(len(self._held) - self._width)
        # It grows by a share of itself before the next look: one at each piece of an endless item takes ever longer.
        self._due = max(self._width + _STEP, len(self._held) + len(self._held) // _SHARE)
        return said

    def finish(self) -> str:
        """Return the rest; refuses like `feed`."""
        return self._let_go(len(self._held))

    def _let_go(self, most: int) -> str:
        before = len(self._past)
        text = self._past + self._held
        cut = before + most
        spans = self._watch.look(text)
        for span in reversed(spans):
            if span.start < cut < span.end:
                cut = max(span.start, before)
        parts, taken = [], before
        for span in spans:
            if before < span.end <= cut:
                parts += [text[taken : max(span.start, before)], self._watch.mask(span)]
                taken = span.end
        parts.append(text[taken:cut])
        self._past = text[max(0, cut - _CONTEXT) : cut]
        self._held = text[cut:]
        return "".join(parts)


class Whole:
    """Hold everything back until the end.

    Args:
        watch: What is looked for.
        in_json: Whether the text is a JSON document, which has to stay one.
    """

    __slots__ = ("_in_json", "_length", "_parts", "_watch")

    def __init__(self, watch: Watch, *, in_json: bool) -> None:
        self._watch = watch
        self._in_json = in_json
        self._parts: list[str] = []
        self._length = 0

    def feed(self, piece: str) -> str:
        """Return nothing.

        Raises:
            RefusedError: `AnswerRefused`, it is too long to be held.
        """
        self._parts.append(piece)
        self._length += len(piece)
        if self._length > MAX_HELD:
            raise RefusedError(
                Reason.ANSWER_REFUSED,
                f"the answer is longer than the {MAX_HELD} characters that are held; it ends here",
            )
        return ""

    def finish(self) -> str:
        """Return the text without what was found; refuses like `feed`."""
        text = "".join(self._parts)
        self._parts, self._length = [], 0
        spans = self._watch.look(text)
        if not spans:
            return text
        pieces = fit(text, spans) if self._in_json else [(span, False) for span in spans]
        parts, taken = [], 0
        for span, bare in pieces:
            said = self._watch.mask(span)
            parts += [text[taken : span.start], f'"{said}"' if bare else said]
            taken = span.end
        return "".join([*parts, text[taken:]])
