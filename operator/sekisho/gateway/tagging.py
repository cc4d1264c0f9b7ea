"""The dictionaries of names, as they are loaded into this process once."""

import pkgutil
import re
import threading
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any, Final

from sekisho.errors import Reason, UnavailableError
from sekisho.redact.latin import LatinNames
from sekisho.redact.names import NameTagger
from sekisho.redact.words import Sort, Word

# SudachiPy takes 49,149 bytes at once; a sign has four at most.
MAX_PIECE: Final = 12_000
_PIECE_ENDS: Final = re.compile(r"[。\n!?]")
_LOOK_BACK: Final = 2_000
_SORTS: Final = {
    "接尾辞": Sort.SUFFIX,
    "接頭辞": Sort.PREFIX,
    "補助記号": Sort.SIGN,
    "記号": Sort.SIGN,
    "空白": Sort.SPACE,
}
_WORD: Final = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
# Languages, days and months: capitalised in English, and some are names as well.
_COMMON: Final = """
    monday tuesday wednesday thursday friday saturday sunday january february march april may june july august september
    october november december english german danish french spanish italian dutch swedish norwegian finnish polish czech
    russian chinese japanese korean american british canadian australian irish scottish welsh portuguese brazilian
    mexican greek turkish arabic hebrew hindi thai vietnamese indian african european asian latin hungarian austrian
    swiss belgian date note subject hello thanks regards dear hi
"""
_PEOPLE: Final = {"姓": Sort.SURNAME, "名": Sort.GIVEN}


def load_tagger(dictionary: str = "core") -> NameTagger:
    """Load the dictionary of Japanese; takes milliseconds, since it is mapped and not read.

    Args:
        dictionary: Which edition of SudachiDict, or a path to one.

    Raises:
        UnavailableError: `ConfigurationInvalid`, it is not installed or not readable.
    """
    try:
        from sudachipy import Dictionary  # noqa: PLC0415 - installed with the gateway alone
        from sudachipy.errors import SudachiError  # noqa: PLC0415
    except ImportError as error:
        raise _refuse(dictionary) from error
    try:
        return NameTagger(SudachiLexicon(Dictionary(dict=dictionary)), load_latin())
    except (SudachiError, ImportError, OSError, ValueError, RuntimeError) as error:
        raise _refuse(dictionary) from error


def _refuse(dictionary: str) -> UnavailableError:
    return UnavailableError(
        Reason.INTERNAL_ERROR,
        f"the dictionary of names {dictionary!r} cannot be loaded, so people would leave unmasked; install "
        "sekisho[gateway], which brings SudachiPy and its dictionary",
    )


class SudachiLexicon:
    """SudachiPy's dictionary as a `Lexicon`; nothing of a text is kept."""

    __slots__ = ("_dictionary", "_local", "_sorts")

    def __init__(self, dictionary: Any) -> None:
        self._dictionary = dictionary
        # A tokenizer serves one thread at a time.
        self._local = threading.local()
        self._sorts: dict[int, Sort] = {}

    def split(self, text: str) -> list[Word]:
        """Cut a text into words, piece by piece; lines in ASCII alone are left out."""
        tokenizer = getattr(self._local, "tokenizer", None)
        if tokenizer is None:
            tokenizer = self._local.tokenizer = self._dictionary.tokenizer()
        words: list[Word] = []
        for start, end in _cut(text):
            piece = text[start:end]
            if piece.isascii():
                continue
            words.extend(
                Word(start + item.begin(), start + item.end(), item.surface(), self._sort(item), not item.is_oov())
                for item in tokenizer.tokenize(piece)
            )
        return words

    def is_name(self, text: str) -> bool:
        """Tell whether the dictionary has a word as a person's name."""
        return any(item.part_of_speech()[2] == "人名" for item in self._dictionary.lookup(text))

    def is_surname(self, text: str) -> bool:
        """Tell whether the dictionary has a word as the name of a family."""
        return any(item.part_of_speech()[2:4] == ("人名", "姓") for item in self._dictionary.lookup(text))

    def is_noun(self, text: str) -> bool:
        """Tell whether the dictionary has a word as a common noun."""
        return any(item.part_of_speech()[1] == "普通名詞" for item in self._dictionary.lookup(text))

    def _sort(self, item: Any) -> Sort:
        number = item.part_of_speech_id()
        sort = self._sorts.get(number)
        if sort is None:
            sort = self._sorts[number] = _read_sort(item.part_of_speech())
        return sort


def _read_sort(parts: tuple[str, ...]) -> Sort:
    kind, second, third, fourth = parts[:4]
    if kind != "名詞":
        return _SORTS.get(kind, Sort.OTHER)
    if second != "固有名詞":
        return Sort.NUMBER if second == "数詞" else Sort.NOUN
    if third == "人名":
        return _PEOPLE.get(fourth, Sort.NAME)
    if third == "地名":
        return Sort.COUNTRY if fourth == "国" else Sort.PLACE
    return Sort.PROPER


def _cut(text: str) -> Iterator[tuple[int, int]]:
    """Yield pieces that end with a sentence where one ends near enough."""
    start = 0
    while len(text) - start > MAX_PIECE:
        end = start + MAX_PIECE
        ends = [match.end() for match in _PIECE_ENDS.finditer(text, end - _LOOK_BACK, end)]
        yield start, ends[-1] if ends else end
        start = ends[-1] if ends else end
    yield start, len(text)


def load_latin() -> LatinNames:
    """Read Faker's lists of names, of some eighty languages; and its lists of words and places, which are none."""
    given: set[str] = set()
    family: set[str] = set()
    for provider in _read_providers("faker.providers.person"):
        for attribute in dir(provider):
            if attribute.startswith(("first_", "last_")):
                (given if attribute.startswith("first") else family).update(_read_words(getattr(provider, attribute)))
    common = set(_COMMON.split())
    for module in ("faker.providers.lorem.en_US", "faker.providers.address.en_US", "faker.providers.address.en"):
        provider = import_module(module).Provider
        for attribute in ("word_list", "countries", "states", "cities"):
            common |= _read_words(getattr(provider, attribute, ()))
    return LatinNames(frozenset(given), frozenset(family), frozenset(common))


def _read_providers(package: str) -> Iterator[Any]:
    for module in pkgutil.iter_modules(import_module(package).__path__):
        if module.ispkg:
            yield import_module(f"{package}.{module.name}").Provider


def _read_words(values: Any) -> set[str]:
    """Return words of Latin letters, in lower case, of a list or a table of frequencies; nothing of anything else."""
    if not isinstance(values, list | tuple | Mapping):
        return set()
    words = (word.lower() for value in values if isinstance(value, str) for word in _WORD.findall(value))
    return {word for word in words if len(word) > 1 and max(word) < "\u0250"}
