"""The guards of one gateway: look into a request, judge it, mask it, and watch its answer.

Long texts are looked into beside the loop, so that one caller's do not hold up the streams of others.
"""

import asyncio
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar, TypeVarTuple
from weakref import WeakValueDictionary

from sekisho.classify.rules import EffectiveRules
from sekisho.errors import Reason, RefusedError, UnavailableError
from sekisho.gateway.dialects.answers import Answerer
from sekisho.gateway.guards.answering import AnswerFilter, HeldAnswerer
from sekisho.gateway.guards.attacks import Found, Verdict, find_attacks
from sekisho.gateway.guards.classifier import Classifier, Judgement
from sekisho.gateway.guards.inspect import Inspection, inspect_request
from sekisho.gateway.guards.masking import find_words, mask_body, open_redaction
from sekisho.gateway.guards.masterkey import MasterKey
from sekisho.gateway.guards.memory import Memory, name_caller
from sekisho.gateway.guards.rulebook import Rulebook, Surveys
from sekisho.gateway.guards.texts import Walked, walk, wants_json
from sekisho.redact.categories import Category

_LONG_BYTES: Final = 16 << 10
_MAX_RECORDED: Final = 8
# More would not go faster: one interpreter runs them all by turns.
_THREADS: Final = 2
_NOTHING: Final = Inspection()
_UNWALKED: Final = Walked()
Result = TypeVar("Result")
Given = TypeVarTuple("Given")


@dataclass(slots=True)
class Guarded:
    """What the guards know of one request by now; its texts are secret, what `describe` tells is not."""

    who: str = ""
    body_bytes: int = 0
    walked: Walked = field(default=_UNWALKED, repr=False)
    surveys: Surveys = field(default_factory=Surveys, repr=False)
    inspection: Inspection = _NOTHING
    opaque: int = 0
    verdicts: tuple[Verdict, ...] = ()
    judgement: Judgement | None = None
    words: frozenset[str] = frozenset()
    redacted: Mapping[Category, int] = field(default_factory=dict)
    text_filter: AnswerFilter | None = field(default=None, repr=False)

    def describe(self) -> dict[str, Any]:
        """Return what the record says before the request is relayed."""
        told: dict[str, Any] = {"found": self.inspection.describe()} if self.inspection.counts else {}
        if self.opaque:
            told["opaque"] = self.opaque
        if self.verdicts:
            told["attacks"] = [str(verdict) for verdict in self.verdicts[:_MAX_RECORDED]]
        if self.judgement is not None and (said := self.judgement.describe()):
            told["classifier"] = said
        if self.words:
            told["redactedFor"] = sorted(self.words)
        if self.redacted:
            told["redacted"] = {str(category): count for category, count in sorted(self.redacted.items())}
        return told

    def describe_end(self) -> dict[str, Any]:
        """Return what the record says of the answer."""
        if self.text_filter is None:
            return {}
        tally, watch = self.text_filter.tally, self.text_filter.watch
        told = {
            "restored": tally.restored,
            "inventedPlaceholders": tally.invented,
            "halfPlaceholders": tally.halves,
            "answerFound": dict(watch.describe()) if watch is not None else {},
        }
        return {key: value for key, value in told.items() if value}


@dataclass(frozen=True, slots=True)
class Way:
    """Where a request is about to go.

    Attributes:
        tier: Of the site that answers; None where the site is not known.
        profile: Words that the caller's access policies have taken out wherever it goes.
        tenant: Whose placeholders these are.
    """

    tier: str | None
    profile: frozenset[str]
    tenant: str


class Guards:
    """Looks into requests and answers; see the module.

    Args:
        key: Of placeholders.
        classifier: Of prompt attacks; None: the rules are alone.
    """

    def __init__(self, key: MasterKey, classifier: Classifier | None = None) -> None:
        self._key = key
        self._classifier = classifier
        self._attacks: Memory[Found] = Memory(os.urandom(32))
        # Kept as long as somebody works or waits.
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="guards")

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    async def look(self, book: Rulebook, body: Mapping[str, Any], *, body_bytes: int, who: str) -> Guarded:
        """Find and inspect every text of a request; `who` asks, and takes turns with itself where texts are long."""
        guarded = Guarded(who, body_bytes, surveys=Surveys(name_caller(who)))
        await self._beside(guarded, _look, book, body, guarded)
        return guarded

    async def judge(self, rules: EffectiveRules, guarded: Guarded) -> None:
        """Look for prompt attacks, as the class of the request wants it.

        Raises:
            RefusedError: `PromptAttack`.
            UnavailableError: `ClassifierUnavailable`, attacks are refused and the classifier did not say.
        """
        if rules.prompt_attacks == "Off":
            return
        texts, surveys = guarded.walked.texts, guarded.surveys
        guarded.verdicts = await self._beside(guarded, find_attacks, texts, self._attacks, surveys.fold, surveys.name)
        refuses = rules.prompt_attacks == "Refuse"
        if refuses and guarded.verdicts:
            raise _attack(f"{guarded.verdicts[0]}")
        if self._classifier is None:
            return
        guarded.judgement = said = await self._classifier.judge(guarded.walked.texts)
        if refuses and said.attack is None:
            raise UnavailableError(
                Reason.CLASSIFIER_UNAVAILABLE,
                f"the class of this request wants attacks refused, and the classifier did not say: {said.problem};"
                " try again shortly",
            )
        if refuses and said.attack:
            raise _attack(f"the classifier says so{f' ({said.label})' if said.label else ''}")

    async def mask(
        self, book: Rulebook, rules: EffectiveRules, way: Way, *, body: Mapping[str, Any], guarded: Guarded
    ) -> Mapping[str, Any]:
        """Return the body that may go this way, and set up what its answer goes through.

        Raises:
            SekishoError: It may go redacted only, and cannot be redacted; nothing of it may be sent.
        """
        guarded.words = words = find_words(rules, way.tier, way.profile)
        watch = book.watch(rules.answers)
        values: Mapping[str, str] | None = None
        if words:
            redactor = book.redactor(words)
            find = book.finder(redactor, guarded.surveys)
            redaction = open_redaction(redactor, self._key.read(), tenant=way.tenant, body=body, find=find)
            walked = guarded.walked if guarded.walked.texts else None
            body = await self._beside(guarded, mask_body, body, redaction, walked)
            guarded.redacted, values = redaction.counts, redaction.values
        if values or watch is not None:
            held, in_json = rules.answers.examine == "Held", wants_json(body)
            guarded.text_filter = AnswerFilter(values or None, watch, held=held, json_content=in_json)
        # They hold what may have to be forgotten first.
        guarded.walked, guarded.surveys = _UNWALKED, Surveys()
        return body

    async def _beside(self, guarded: Guarded, work: Callable[[*Given], Result], *given: *Given) -> Result:
        """Work in a thread where there is much to do; one caller never takes more than one."""
        if guarded.body_bytes < _LONG_BYTES:
            return work(*given)
        turn = self._turns.get(guarded.who)
        if turn is None:
            turn = self._turns[guarded.who] = asyncio.Lock()
        async with turn:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work, *given)


def guard_answerer(answerer: Answerer | None, guarded: Guarded) -> Answerer | None:
    """Return an answerer that says nothing before its end, where the class wants that."""
    held = guarded.text_filter is not None and guarded.text_filter.held
    return HeldAnswerer(answerer) if held and answerer is not None else answerer


def _look(book: Rulebook, body: Mapping[str, Any], guarded: Guarded) -> None:
    guarded.walked, surveys = walk(body), guarded.surveys
    guarded.inspection = inspect_request(guarded.walked, lambda text: book.find(text, surveys), book.raisings)
    guarded.opaque = len(guarded.walked.opaque)


def _attack(why: str) -> RefusedError:
    return RefusedError(
        Reason.PROMPT_ATTACK,
        f"the request looks like an attack on the model's instructions ({why}), which its class refuses; say it "
        "another way, or ask who answers for the policy",
    )
