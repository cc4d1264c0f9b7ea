"""Inspect every Model: when it is new, when its source or the policy's signers change, and now and then again.

What is found goes into the Model's `status.inspection`, written where it differs from what stands there. A source that
cannot be read now does not undo what was found before.
"""

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import ValidationError

from sekisho.api.v1alpha1.classificationpolicy import ClassificationPolicySpec
from sekisho.api.v1alpha1.model import Inspection, ModelSpec
from sekisho.depot.following import Name, Raw
from sekisho.depot.inspection import Question, refuse_source
from sekisho.depot.register import Register
from sekisho.depot.turns import Turns
from sekisho.errors import Reason, SekishoError, UnavailableError
from sekisho.plan.inspection import explain_wait, read_inspection
from sekisho.plan.signers import digest_signers, read_signers
from sekisho.seal.trust import Signer

Signers = Callable[[], Sequence[Signer]]
Examine = Callable[[Question, Signers], Awaitable[Inspection]]
Mark = tuple[str, int, str, bool]
"""The uid and generation of a Model, the digest of the signers, and whether it is going away."""
_LOG: Final = logging.getLogger(__name__)
_AT_ONCE: Final = 4
_OF_ONE: Final = 2
"""How many inspections of one namespace run at once."""
_LOOK_SECONDS: Final = 2.0
_AGAIN_SECONDS: Final = 600.0
_RETRY_SECONDS: Final = 5.0
_LOST_SECONDS: Final = 10.0
_MOST_RETRY_SECONDS: Final = 300.0
_UNSTABLE: Final = frozenset({"inspectedAt"})


@dataclass(slots=True)
class _Job:
    mark: Mark
    question: Question | None
    due_at: float
    failures: int = 0
    task: "asyncio.Task[None] | None" = None
    lost_at: float | None = None


@dataclass(slots=True)
class Inspector:
    """Keeps inspections true.

    Attributes:
        examine: Looks at a source; raises where it cannot be read.
        clock: Monotonic seconds.
        settle_seconds: Changes come in groups; how long the first waits for the rest.
    """

    register: Register
    examine: Examine
    clock: Callable[[], float] = time.monotonic
    settle_seconds: float = 0.2
    _jobs: dict[Name, _Job] = field(default_factory=dict)
    _turns: Turns = field(default_factory=lambda: Turns(_AT_ONCE, of_one=_OF_ONE))

    async def run(self) -> None:
        """Work until cancelled; what is under way is cancelled with it."""
        try:
            while True:
                self.register.changed.clear()
                self._look()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.register.changed.wait(), _LOOK_SECONDS)
                    await asyncio.sleep(self.settle_seconds)
        finally:
            tasks = [job.task for job in self._jobs.values() if job.task is not None]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _look(self) -> None:
        """Begin every inspection that is due."""
        models, policy = self.register.models(), _read_policy(self.register.policy())
        if models is None or policy is None:
            return
        for name in [name for name in self._jobs if name not in models]:
            self._forget(name)
        digest = digest_signers(policy)
        for name, raw in models.items():
            job = self._jobs.get(name)
            mark = _mark(raw, digest)
            if job is None or job.mark != mark:
                job = self._renew(name, raw, mark)
            if job.question is not None and job.task is None and self._is_due(job, raw, job.question):
                job.task = asyncio.create_task(self._inspect(name, job, job.question, lambda: read_signers(policy)))

    def _renew(self, name: Name, raw: Raw, mark: Mark) -> _Job:
        """Begin anew with a Model that asks for something else; what its status answers already can wait."""
        self._forget(name)
        question = read_question(raw, mark[2])
        known = question is not None and _find_old(raw, question) is not None
        wait = _AGAIN_SECONDS * random.random() if known else 0.0  # noqa: S311 - only spreads load
        job = self._jobs[name] = _Job(mark, question, self.clock() + wait)
        return job

    def _is_due(self, job: _Job, raw: Raw, question: Question) -> bool:
        """Tell whether to look now: as planned, or because what was published is not there, or not there any more.

        A write for an earlier question may arrive after ours, and services wait for the answer to this one.
        """
        now = self.clock()
        if job.failures or _find_old(raw, question) is not None:
            job.lost_at = None
        elif job.lost_at is None:
            job.lost_at = now
        return job.due_at <= now or (job.lost_at is not None and now - job.lost_at >= _LOST_SECONDS)

    def _forget(self, name: Name) -> None:
        job = self._jobs.pop(name, None)
        if job is not None and job.task is not None:
            job.task.cancel()

    async def _inspect(self, name: Name, job: _Job, question: Question, signers: Signers) -> None:
        again = _AGAIN_SECONDS
        try:
            async with self._turns.take(name[0]):
                found = await self._ask(name, question, signers)
                if found is not None:
                    await self._publish(name, job, found)
            if found is not None and found.refusal is None:
                job.failures = 0
            else:
                again = self._fail(job)
        except SekishoError as error:
            again = self._fail(job)
            _LOG.warning(error.message, extra={"model": "/".join(name), "reason": error.reason})
        finally:
            job.task, job.lost_at = None, None
            job.due_at = self.clock() + again * random.uniform(0.8, 1.2)  # noqa: S311

    async def _ask(self, name: Name, question: Question, signers: Signers) -> Inspection | None:
        """Return what is there; None where the source cannot be read and what was found before stays."""
        try:
            return await self.examine(question, signers)
        except SekishoError as error:
            failure = error
            _LOG.warning(error.message, extra={"model": "/".join(name), "reason": error.reason})
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told, and tried again
            said = f"the inspection ended with {type(error).__name__}, of which the depot's log says more"
            failure = UnavailableError(Reason.INTERNAL_ERROR, said)
            _LOG.exception("an inspection failed in a way that nobody foresaw", extra={"model": "/".join(name)})
        raw = (self.register.models() or {}).get(name, {})
        old = _find_old(raw, question)
        if old is not None and old.refusal is None:
            return None
        last = read_inspection(_status(raw))
        return refuse_source(question, failure, data_class=last.class_ if last is not None else None)

    async def _publish(self, name: Name, job: _Job, found: Inspection) -> None:
        raw = (self.register.models() or {}).get(name)
        if raw is None or _stable(_status(raw).get("inspection")) == _stable(_dump(found)):
            return
        await self.register.publish(name, job.mark[0], found)

    def _fail(self, job: _Job) -> float:
        job.failures += 1
        return min(_MOST_RETRY_SECONDS, _RETRY_SECONDS * 2.0 ** min(job.failures - 1, 10))


def read_question(raw: Raw, signers: str) -> Question | None:
    """Return what of a Model is to be looked at; None where it cannot be read, and for a claim, which is never seen."""
    try:
        spec = ModelSpec.model_validate(raw.get("spec") or {})
    except ValidationError:
        return None
    if spec.storage_uri.startswith("pvc://") or "deletionTimestamp" in raw["metadata"]:
        return None
    return Question(spec.storage_uri, spec.digest, signers, str(raw["metadata"].get("namespace", "")))


def _mark(raw: Raw, signers: str) -> Mark:
    meta = raw["metadata"]
    return str(meta.get("uid", "")), int(meta.get("generation", 0)), signers, "deletionTimestamp" in meta


def _read_policy(raw: Raw | None) -> ClassificationPolicySpec | None:
    if ((raw or {}).get("metadata") or {}).get("deletionTimestamp"):
        return None
    try:
        return ClassificationPolicySpec.model_validate((raw or {}).get("spec") or {})
    except ValidationError:
        return None


def _find_old(raw: Raw, question: Question) -> Inspection | None:
    """Return what stands in the status of a Model, if it answers the question."""
    last = read_inspection(_status(raw))
    return None if explain_wait(last, uri=question.uri, digest=question.digest, signers=question.signers) else last


def _status(raw: Raw) -> Raw:
    return raw.get("status") or {}


def _dump(found: Inspection) -> dict[str, Any]:
    return found.model_dump(by_alias=True, exclude_none=True, mode="json")


def _stable(inspection: Any) -> Any:
    if not isinstance(inspection, dict):
        return None
    return {key: value for key, value in inspection.items() if key not in _UNSTABLE and value not in ((), [])}
