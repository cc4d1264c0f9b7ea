"""Ask a classifier of prompt attacks inside the closed network; it is bounded, and that it failed is told."""

import asyncio
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

import aiohttp

from sekisho.gateway.guards.attack_rules import TRUSTED
from sekisho.gateway.guards.texts import Text

_MAX_ANSWER: Final = 64 << 10
# A word, and no text: it goes into the record.
_LABEL: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,31}")


@dataclass(frozen=True, slots=True)
class ClassifierLimits:
    """Bounds of one question."""

    seconds: float = 2.0
    max_characters: int = 64 << 10
    max_asked: int = 32


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a classifier said.

    Attributes:
        attack: None where it did not say.
        label: Its own word for it.
        problem: Why it did not say.
    """

    attack: bool | None
    label: str = ""
    problem: str = ""

    def describe(self) -> dict[str, Any]:
        """Return it for the record."""
        told = {"attack": self.attack, "label": self.label, "problem": self.problem}
        return {key: value for key, value in told.items() if value not in ("", None)}


class Classifier:
    """Asks over HTTP: `{"texts": [{"role", "text"}]}` is answered with `{"attack": true|false, "label": …}`.

    Use it as a context manager.

    Args:
        url: Of the classifier; it sees texts before anything is taken out of them.
        limits: Bounds.
    """

    def __init__(self, url: str, limits: ClassifierLimits | None = None) -> None:
        self._url = url
        self._limits = limits or ClassifierLimits()
        self._turns = asyncio.Semaphore(self._limits.max_asked)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), trust_env=False)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def judge(self, texts: Iterable[Text]) -> Judgement:
        """Return what the classifier says of texts; whatever goes wrong is a judgement without a verdict."""
        chosen, whole = self._choose(texts)
        if not chosen:
            return Judgement(attack=False)
        try:
            async with asyncio.timeout(self._limits.seconds), self._turns:
                said = await self._ask(chosen)
        except TimeoutError:
            return Judgement(None, problem=f"no answer within {self._limits.seconds:g} s")
        except (aiohttp.ClientError, OSError):
            return Judgement(None, problem="not reached")
        except (ValueError, RecursionError):
            return Judgement(None, problem="the answer is not what it must be")
        if not said.attack and not whole:
            return Judgement(None, said.label, f"only the last {self._limits.max_characters} characters were judged")
        return said

    def _choose(self, texts: Iterable[Text]) -> tuple[list[dict[str, str]], bool]:
        """Return what is asked about, the newest first where there is not room for all, and whether that is all."""
        chosen: list[dict[str, str]] = []
        left = self._limits.max_characters
        for text in reversed([text for text in texts if text.role not in TRUSTED]):
            if not left:
                return chosen[::-1], False
            part = text.value[-left:]
            left -= len(part)
            chosen.append({"role": text.role, "text": part.encode("utf-8", "replace").decode()})
            if len(part) < len(text.value):
                return chosen[::-1], False
        return chosen[::-1], True

    async def _ask(self, chosen: list[dict[str, str]]) -> Judgement:
        if self._session is None:
            raise RuntimeError("the classifier is used outside its context")
        async with self._session.post(self._url, json={"texts": chosen}, allow_redirects=False) as response:
            if response.status != 200:
                return Judgement(None, problem=f"it answered with status {response.status}")
            body = await response.content.read(_MAX_ANSWER + 1)
            while len(body) <= _MAX_ANSWER and (more := await response.content.read(_MAX_ANSWER)):
                body += more
        if len(body) > _MAX_ANSWER:
            raise ValueError("too long")
        said = json.loads(body)
        attack = said.get("attack") if isinstance(said, dict) else None
        if not isinstance(attack, bool):
            raise ValueError("no verdict")
        label = said.get("label")
        named = isinstance(label, str) and _LABEL.fullmatch(label)
        return Judgement(attack, label if named else "")
