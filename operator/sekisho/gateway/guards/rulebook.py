"""What one policy asks of guards, read once and used for every request under it. Pure."""

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from sekisho.access.dictionaries import Dictionary
from sekisho.api.v1alpha1.classificationpolicy import ClassificationPolicySpec
from sekisho.classify.lattice import DataClass
from sekisho.classify.rules import EffectiveAnswers, EffectiveRules, rules_of
from sekisho.errors import Reason, RefusedError, UnavailableError
from sekisho.gateway.guards.inspect import Raising, read_raisings
from sekisho.gateway.guards.memory import Memory
from sekisho.gateway.guards.window import Watch
from sekisho.redact.categories import BY_TAGGER, Category, Selection, select
from sekisho.redact.custom import Custom, compile_custom, join_customs
from sekisho.redact.detect import Survey, Tagger
from sekisho.redact.fold import Folded, fold
from sekisho.redact.redactor import Redactor
from sekisho.redact.session import Find
from sekisho.redact.spans import Span

_MAX_KEPT: Final = 512
_MAX_TENANTS: Final = 32
_TENANT_BYTES: Final = 8 << 20
# With more finds than that a text is looked at anew.
_MAX_SPANS: Final = 64
_MAX_SURVEYED: Final = 20_000
_MAX_FOLDED: Final = 32 << 10
Key = TypeVar("Key")
Value = TypeVar("Value")


class Surveys:
    """What was found in the texts of one request, from its inspection to its masking; bounded, and secret as they are.

    What there was no room for is looked for anew.

    Args:
        whose: The caller of the request, as `name_caller` names it; nobody else meets what is remembered of its texts.
    """

    __slots__ = ("_by_text", "_folded", "_room", "_signs", "whose")

    def __init__(self, whose: bytes = b"") -> None:
        self.whose = whose
        self._by_text: dict[str, tuple[Survey, bytes | None]] = {}
        self._folded: dict[str, Folded] = {}
        self._room = _MAX_SURVEYED
        self._signs = _MAX_FOLDED

    def keep(self, text: str, survey: Survey, name: bytes | None = None) -> None:
        """Keep what was found in a text, and by what digest the text is known, if there is room."""
        self._room -= 1 + len(survey.spans)
        if self._room >= 0:
            self._by_text[text] = survey, name

    def get(self, text: str) -> Survey | None:
        """Return what was found in a text, None where that was not kept."""
        kept = self._by_text.get(text)
        return None if kept is None else kept[0]

    def name(self, text: str) -> bytes | None:
        """Return by what digest a text is known, None where that was not kept."""
        kept = self._by_text.get(text)
        return None if kept is None else kept[1]

    def fold(self, text: str) -> Folded:
        """Fold a text, once where there is room to keep what it comes to."""
        folded = self._folded.get(text)
        if folded is None:
            folded = fold(text)
            if len(text) <= self._signs:
                self._signs -= len(text)
                self._folded[text] = folded
        return folded


class Rulebook:
    """The guards' side of a policy.

    Args:
        spec: The policy.
        names: What knows names of people and places; None: nobody does.
        tenant: What a tenant wants found beside what the policy's own dictionary says.
        key: Of this process, by which texts are remembered (see `Memory`).

    Raises:
        RefusedError: `PolicyInvalid`, a class is to be raised for names, and nothing here knows any; or for what a
            dictionary says, and there is none, or one that cannot be compiled.
    """

    def __init__(
        self,
        spec: ClassificationPolicySpec,
        names: Tagger | None = None,
        tenant: Custom | None = None,
        *,
        key: bytes = b"",
    ) -> None:
        self._spec = spec
        self._names = names
        own = spec.dictionary
        self._custom = join_customs((compile_custom(own.words, own.patterns) if own is not None else None, tenant))
        self._tenants: dict[tuple[Dictionary, ...], Rulebook] = {}
        self.raisings: tuple[Raising, ...] = read_raisings(spec)
        raised = frozenset(category for rule in self.raisings for category in rule.categories)
        # Names cost more than all else together: they are looked for where the policy asks for them.
        wanted = frozenset(Category) - BY_TAGGER | raised
        self._demand_dictionary(raised)
        self._inspector = Redactor(Selection(wanted), self._custom, names).detector
        self._key = key
        self._seen: Memory[tuple[Survey, Sequence[Span]]] = Memory(key)
        self._rules: dict[DataClass, EffectiveRules] = {}
        self._redactors: dict[frozenset[str], Redactor] = {}

    def beside(self, dictionaries: tuple[Dictionary, ...]) -> "Rulebook":
        """Return the book of requests in which a tenant's dictionaries count as well; nothing of it is shared.

        Raises:
            UnavailableError: `PolicyInvalid`, one of them cannot be compiled.
        """
        if not dictionaries:
            return self
        if dictionaries not in self._tenants and len(self._tenants) >= _MAX_TENANTS:
            self._tenants.pop(next(iter(self._tenants)))
        return _keep(
            self._tenants,
            dictionaries,
            lambda: Rulebook(self._spec, self._names, join_customs(map(_compile, dictionaries)), key=self._key),
        )

    def find(self, text: str, surveys: Surveys | None = None) -> Sequence[Span]:
        """Return what stands in a text of a request; `surveys` keeps it for what else looks into this request.

        Where something stands in a text is remembered for the turns that follow.
        """
        name = self._seen.name(text, "found", b"" if surveys is None else surveys.whose)
        seen = self._seen.get(name)
        if seen is None:
            folding = fold if surveys is None else surveys.fold
            seen = self._remember(name, self._inspector.survey(text, fold=folding))
        if surveys is not None:
            surveys.keep(text, seen[0], name)
        return seen[1]

    def finder(self, redactor: Redactor, surveys: Surveys) -> Find:
        """Return what finds the same as a redactor of this book, by what `find` came to.

        Names alone may have to be looked for.
        """
        detector = redactor.detector

        def find(text: str) -> Sequence[Span]:
            known = surveys.get(text)
            survey = detector.survey(text, known, fold=surveys.fold)
            if survey is not known:
                self._remember(self._seen.name(text, "found", surveys.whose), survey)
            return detector.choose(survey)

        return find

    def _remember(self, name: bytes | None, survey: Survey) -> tuple[Survey, Sequence[Span]]:
        seen = survey, self._inspector.choose(survey)
        if len(survey.spans) <= _MAX_SPANS:
            self._seen.keep(name, seen)
        return seen

    def rules(self, value: DataClass) -> EffectiveRules:
        """Return what a class may do."""
        return _keep(self._rules, value, lambda: rules_of(self._spec, value))

    def redactor(self, words: frozenset[str]) -> Redactor:
        """Return what takes out what the words name.

        Raises:
            RefusedError: `PolicyInvalid`, a word is unknown, or asks for names, and nothing here knows any.
        """
        return _keep(self._redactors, words, lambda: self._build(select(words)))

    def _build(self, selection: Selection) -> Redactor:
        self._demand_dictionary(selection.categories)
        custom = self._custom if Category.CUSTOM in selection.categories else None
        return Redactor(selection, custom, self._names)

    def _demand_dictionary(self, categories: frozenset[Category]) -> None:
        if Category.CUSTOM in categories and self._custom is None:
            raise RefusedError(
                Reason.POLICY_INVALID,
                "the policy asks for custom, and its spec.dictionary holds no word and no pattern; give it some, or "
                "take the word out",
            )

    def watch(self, answers: EffectiveAnswers) -> Watch | None:
        """Return what looks into an answer, None where nobody does; refuses like `redactor`."""
        if answers.examine == "Off":
            return None
        return Watch(self.redactor(answers.detect).inspect, ends=answers.found == "End")


def _compile(item: Dictionary) -> Custom | None:
    try:
        return compile_custom(item.words, item.patterns, memory_bytes=_TENANT_BYTES)
    except RefusedError as error:
        raise UnavailableError(error.reason, f"AccessPolicy {item.policy}: {error.message}") from None


def _keep(kept: dict[Key, Value], key: Key, make: Callable[[], Value]) -> Value:
    value: Any = kept.get(key)
    if value is None:
        if len(kept) >= _MAX_KEPT:
            kept.clear()
        value = kept[key] = make()
    return value  # type: ignore[no-any-return]
