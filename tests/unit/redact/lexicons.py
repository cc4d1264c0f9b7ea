"""A dictionary of Japanese for tests: words as the test writes them."""

# ruff: noqa: E501 - a Japanese sign counts as two columns, and tables read better unbroken

from sekisho.redact.people import find_people
from sekisho.redact.words import Sort, Word


def build_words(notation: str) -> list[Word]:
    """Read words such as `田中/SURNAME さん/SUFFIX`; `!` behind the sort: the dictionary does not have it; `_` is a space."""
    words: list[Word] = []
    place = 0
    for item in notation.split():
        text, _, sort = item.rpartition("/")
        text = text.replace("_", " ")
        words.append(Word(place, place + len(text), text, Sort[sort.rstrip("!")], not sort.endswith("!")))
        place += len(text)
    return words


class Listed:
    """A dictionary that has what a test gives it."""

    def __init__(self, words: list[Word] | None = None, names: str = "", nouns: str = "", surnames: str = "") -> None:
        self.words = words or []
        self.names = set(names.split())
        self.surnames = set(surnames.split())
        self.nouns = set(nouns.split())

    def split(self, text: str) -> list[Word]:
        assert "".join(word.text for word in self.words) == text
        return self.words

    def is_name(self, text: str) -> bool:
        return text in self.names

    def is_surname(self, text: str) -> bool:
        return text in self.surnames

    def is_noun(self, text: str) -> bool:
        return text in self.nouns


def people(notation: str, names: str = "", nouns: str = "", surnames: str = "") -> list[str]:
    words = build_words(notation)
    text = "".join(word.text for word in words)
    return [text[start:end] for start, end in find_people(words, Listed(words, names, nouns, surnames))]
