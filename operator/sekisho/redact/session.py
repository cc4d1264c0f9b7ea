"""One request's redaction: its map of originals, which lives as long as the request and no longer."""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from sekisho.errors import Reason, RefusedError
from sekisho.redact.categories import Category
from sekisho.redact.documents import fit
from sekisho.redact.known import Known
from sekisho.redact.placeholders import ConversationKey, make_placeholder
from sekisho.redact.restore import Restorer
from sekisho.redact.spans import Span, resolve

MAX_VALUES: Final = 10_000
Find = Callable[[str], Sequence[Span]]
# Between the parts of a name.
_PARTS: Final = re.compile(r"[\s・=＝.]+")


class Redaction:
    """Redact the texts of one request and restore the texts of its answer.

    The values are secret: the object says nothing of them in its `repr`, and must not outlive the request.

    Args:
        find: Returns what must be taken out of a text, in order, without overlaps.
        key: Of placeholders, or what derives it once something is found.
    """

    __slots__ = ("_counts", "_find", "_key", "_known", "_listed", "_names", "_values")

    def __init__(self, find: Find, key: ConversationKey | Callable[[], ConversationKey]) -> None:
        self._find = find
        self._key = key
        self._names: dict[tuple[Category, str], str] = {}
        self._known: dict[str, Category] = {}
        # What is known, as it is looked for; None where more was learnt since.
        self._listed: Known | None = None
        self._values: dict[str, str] = {}
        self._counts: dict[Category, int] = {}

    @property
    def values(self) -> Mapping[str, str]:
        """Originals by placeholder; secret."""
        return MappingProxyType(self._values)

    @property
    def counts(self) -> Mapping[Category, int]:
        """How many places were redacted, by category; nothing secret."""
        return MappingProxyType(self._counts)

    def learn(self, text: str, *, in_json: bool = False) -> Sequence[Span]:
        """Take note of what is detected in a text, so that the request's other texts lose it too; return where it is.

        Args:
            text: Of any content, or the text of a JSON document.
            in_json: Which of the two.

        Raises:
            RefusedError: `RequestInvalid`, it was to be JSON and is not; `RequestTooLarge`, too much is found.
        """
        spans, known = self._find(text), len(self._names)
        if in_json:
            for span, _ in fit(text, spans):
                self._name(span.category, _read(text, span))
        else:
            for start, end, category in spans:
                self._name(category, text[start:end])
        if len(self._names) > known:
            self._listed = None
        return spans

    def redact(self, text: str) -> str:
        """Return a text without what is detected in it, nor any value that the request's texts held before."""
        return self.redact_all((text,))[0]

    def redact_all(self, texts: Sequence[str]) -> list[str]:
        """Redact all texts of a request: what one gives away by its context is taken out of all."""
        found = [self.learn(text) for text in texts]
        known = self._list_known()
        return [self._redact(text, spans, known) for text, spans in zip(texts, found, strict=True)]

    def _redact(self, text: str, spans: Sequence[Span], known: Known) -> str:
        again = known.find(text, found=spans)
        parts, taken, counts, names = [], 0, self._counts, self._names
        for start, end, category in resolve([*spans, *again]) if again else spans:
            value = text[start:end]
            parts += [text[taken:start], names.get((category, value)) or self._name(category, value)]
            taken = end
            counts[category] = counts.get(category, 0) + 1
        if not parts:
            return text
        parts.append(text[taken:])
        return "".join(parts)

    def redact_json(self, document: str) -> str:
        """Redact the text of a JSON document; its form stays, and a bare number that is found becomes a string.

        What a name says ("phone": …) counts as the context of its value. Restored by `restorer(in_json=True)`. Refuses
        like `learn`.
        """
        found = self.learn(document, in_json=True)
        again = self._list_known().find(document, found=found, in_json=True)
        return self._replace(document, fit(document, resolve([*found, *again])))

    def restorer(self, *, in_json: bool = False) -> Restorer:
        """Return a restorer for one stream of the answer."""
        return Restorer(self.values, in_json=in_json)

    def _list_known(self) -> Known:
        """Return what the request's texts lose wherever it stands: values, and the parts of people's names."""
        if self._listed is None:
            self._listed = Known(_add_parts(self._known))
        return self._listed

    def _name(self, category: Category, value: str) -> str:
        given = self._names.get((category, value))
        if given is not None:
            return given
        key = self._key
        if not isinstance(key, ConversationKey):
            key = self._key = key()
        name = make_placeholder(key, category, value)
        if self._values.setdefault(name, value) != value:
            raise RefusedError(
                Reason.INTERNAL_ERROR,
                f"two values of category {category} came to one placeholder; start another conversation",
            )
        self._known[value] = category
        self._names[category, value] = name
        if len(self._values) > MAX_VALUES:
            raise RefusedError(
                Reason.REQUEST_TOO_LARGE,
                f"the request holds more than {MAX_VALUES} values that must be redacted; send it in parts",
            )
        return name

    def _replace(self, document: str, spans: Iterable[tuple[Span, bool]]) -> str:
        parts, taken = [], 0
        for span, bare in spans:
            name = self._name(span.category, _read(document, span))
            parts += [document[taken : span.start], f'"{name}"' if bare else name]
            taken = span.end
            self._counts[span.category] = self._counts.get(span.category, 0) + 1
        return "".join([*parts, document[taken:]])

    def __repr__(self) -> str:
        """Say how many values there are, and none of them."""
        return f"Redaction({len(self._values)} values)"


def _add_parts(known: Mapping[str, Category]) -> Mapping[str, Category]:
    if Category.PERSON not in known.values():
        return {**known}
    people = [value for value, category in known.items() if category is Category.PERSON]
    parts = (part for value in people for part in _PARTS.split(value))
    return {part: Category.PERSON for part in parts if len(part) >= (3 if part.isascii() else 2)} | {**known}


def _read(document: str, span: Span) -> str:
    return str(json.loads(f'"{document[span.start : span.end]}"'))
