"""The way of one request: who, what, which class, cleared or not, recorded, then relayed. The order is the rule.

What fails on the way refuses. Nothing is relayed that was not recorded before; what became of it is recorded after.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import unquote

from opentelemetry.trace import INVALID_SPAN, Span

from sekisho import telemetry
from sekisho.access.budgets import BudgetError
from sekisho.access.decide import Question, find_dictionaries
from sekisho.access.policies import Policy
from sekisho.classify.rules import EffectiveRules
from sekisho.errors import Reason, RefusedError, SekishoError
from sekisho.gateway.access import AccessGate, Order
from sekisho.gateway.admission import Admission
from sekisho.gateway.choosing.attempts import Attempts, Prepared, TimedSink
from sekisho.gateway.choosing.choosing import Choice, Choosing, NobodyError
from sekisho.gateway.decide import (
    CLASS_HEADER,
    Law,
    ServiceFacts,
    check_cleared,
    check_opaque,
    check_user,
    decide_class,
    is_user,
    model_unknown,
    not_ready,
)
from sekisho.gateway.dialects.building import build_answerer, render_failure
from sekisho.gateway.dialects.form import SERVED, Asked, Endpoint, parse_request, split_model
from sekisho.gateway.dialects.listing import render_model, render_models
from sekisho.gateway.dialects.refusals import render_error
from sekisho.gateway.dialects.strict import BodyLimits, FieldError
from sekisho.gateway.facts import Facts
from sekisho.gateway.guards.guarding import Guarded, Guards, Way, guard_answerer
from sekisho.gateway.guards.masking import name_tenant
from sekisho.gateway.guards.rulebook import Rulebook
from sekisho.gateway.identity import Caller, Identity
from sekisho.gateway.measures import Measures
from sekisho.gateway.relay import Sink
from sekisho.gateway.trail import Receipt, Trail
from sekisho.gateway.turns import Turns
from sekisho.gateway.waking.holding import Held, Holding
from sekisho.gateway.waking.progress import Progress
from sekisho.recording.record import Record

_log = logging.getLogger(__name__)
RECEIPT_HEADER: Final = "sekisho-receipt"
MODELS_PATH: Final = "/v1/models"
_RETRY_SECONDS: Final = {Reason.OVERLOADED: 1, Reason.RECORD_UNAVAILABLE: 5, Reason.API_UNAVAILABLE: 2}
_DEFAULT_RETRY_SECONDS: Final = 10
_NOTHING_USED: Final[Mapping[str, int]] = {"prompt": 0, "completion": 0}
_ENDPOINTS: Final[Mapping[str, Endpoint]] = {item.value: item for item in Endpoint}


class Call(Protocol):
    """One request as it came, whatever carried it."""

    @property
    def method(self) -> str:
        """GET, POST, …."""
        ...

    @property
    def path(self) -> str:
        """The path as it was sent, without the query."""
        ...

    @property
    def peer(self) -> Mapping[str, Any] | None:
        """The certificate of the caller that the connection was verified by, None where it sent none."""
        ...

    def header(self, name: str) -> Sequence[str]:
        """Return every value of a header."""
        ...

    async def read_body(self, admission: Admission) -> bytes:
        """Read the body, within its limits; memory is reserved until the call ends.

        Raises:
            SekishoError: It is too large, too slow, or there is no room for it.
        """
        ...


class _Cleared(NamedTuple):
    """A request that may go to an engine, what it is charged by, and which AccessPolicies were asked what about it."""

    service: ServiceFacts
    choice: Choice
    prepared: Prepared
    order: Order
    law: Law
    policies: Sequence[Policy]
    question: Question


class _Ready(NamedTuple):
    """A request of which all is decided but who answers it."""

    asked: Asked
    service: ServiceFacts
    caller: Caller
    book: Rulebook
    rules: EffectiveRules
    guarded: Guarded


@dataclass(frozen=True, slots=True)
class Parts:
    """What the gateway works with."""

    facts: Facts
    identity: Identity
    record: Record
    choosing: Choosing
    attempts: Attempts
    admission: Admission
    measures: Measures
    guards: Guards
    access: AccessGate
    holding: Holding
    body_limits: BodyLimits = field(default_factory=BodyLimits)


class Front:
    """Answers requests."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._has_traces = telemetry.has_traces()
        self._turns = Turns()

    async def answer(self, call: Call, sink: Sink, *, request_id: str) -> None:
        """Answer one request; every outcome but a caller who has gone ends in an answer."""
        trail = Trail(request_id, time.monotonic(), find_endpoint(call.path), find_dialect(call))
        if self._has_traces:
            with telemetry.open_span("gateway.request") as span:
                await self._answer(call, sink, trail, span)
        else:
            await self._answer(call, sink, trail, INVALID_SPAN)

    async def _answer(self, call: Call, sink: Sink, trail: Trail, span: Span) -> None:
        try:
            with self._parts.admission.enter():
                await self._serve(call, sink, trail)
        except SekishoError as error:
            span.set_attribute(telemetry.KEY_REASON, error.reason.value)
            await self._refuse(sink, trail, error)

    async def _serve(self, call: Call, sink: Sink, trail: Trail) -> None:
        parts = self._parts
        await self._give_way(trail)
        trail.caller = caller = await parts.identity.authenticate(_read_credential(call), call.peer)
        with parts.admission.enter_caller(caller.username):
            if trail.endpoint in SERVED and call.method == "POST":
                await self._ask(call, sink, trail, caller)
            elif call.path == MODELS_PATH and call.method == "GET":
                await self._list(sink, trail, caller)
            elif call.path.startswith(f"{MODELS_PATH}/") and call.method == "GET":
                await self._show(call, sink, trail, caller)
            else:
                raise RefusedError(
                    Reason.ENDPOINT_UNKNOWN,
                    f"there is no {call.method[:16]} {unquote(call.path)[:128]!r} here; served are POST "
                    f"{', '.join(sorted(SERVED))} and GET {MODELS_PATH}",
                )

    async def _list(self, sink: Sink, trail: Trail, caller: Caller) -> None:
        usable, complete = await self._parts.identity.list_usable(caller, list(self._parts.facts.services()))
        policies, access = self._parts.facts.access_policies, self._parts.access
        answering = (
            item
            for item in usable
            if is_user(item, caller.username, caller.groups) and access.is_let_in(policies, caller, item.full_name)
        )
        names = [(item.namespace, item.name, item.created_at) for item in answering]
        await self._say(sink, render_models(trail.dialect, names, complete=complete))

    async def _show(self, call: Call, sink: Sink, trail: Trail, caller: Caller) -> None:
        namespace, name = split_model(unquote(call.path.removeprefix(f"{MODELS_PATH}/")))
        service = await self._find(caller, namespace, name)
        await self._say(sink, render_model(trail.dialect, (service.namespace, service.name, service.created_at)))

    async def _say(self, sink: Sink, body: bytes) -> None:
        await sink.begin(200, "application/json", length=len(body))
        await sink.write(body)
        await sink.end()
        self._parts.measures.ended("answered")

    async def _find(self, caller: Caller, namespace: str, name: str) -> ServiceFacts:
        """Return a service that the caller may use; whether another exists is not told, by time neither."""
        allowed = await self._parts.identity.may_use(caller, namespace, name)
        service = self._parts.facts.find(namespace, name)
        if service is None or not allowed:
            raise model_unknown(namespace, name)
        check_user(service, caller.username, caller.groups)
        self._parts.access.check(self._parts.facts.access_policies, caller, service.full_name)
        return service

    async def _ask(self, call: Call, sink: Sink, trail: Trail, caller: Caller) -> None:
        asked = await self._read(call, trail)
        with self._turns.streaming(asked.stream):
            await self._give_way(trail)
            await self._follow(call, sink, trail, caller, asked=asked)

    async def _follow(self, call: Call, sink: Sink, trail: Trail, caller: Caller, *, asked: Asked) -> None:
        parts = self._parts
        try:
            cleared = await self._clear(call, trail, caller, asked=asked)
        except NobodyError as nobody:
            if not nobody.is_awaited:
                raise
            if asked.stream:
                every, trail.fail = parts.holding.limits.progress_seconds, partial(render_failure, asked)
                trail.progress = Progress(sink, partial(self._note_held, trail), every_seconds=every)
            cleared = await self._hold(call, trail, nobody, asked=asked)
        with parts.holding.using(cleared.service):
            await self._relay(cleared, trail.progress or sink, trail, caller)

    async def _note_held(self, trail: Trail) -> Mapping[str, str]:
        """Record that a request is held, and return the headers of an answer that begins before it goes on."""
        written = await self._parts.record.append(trail.describe("request", decision="held"))
        return {RECEIPT_HEADER: self._parts.record.receipt(written)}

    async def _hold(self, call: Call, trail: Trail, nobody: NobodyError, *, asked: Asked) -> _Cleared:
        """Hold a request that was cleared but for that its model rests; everything about it is then decided anew."""
        parts = self._parts
        rules: Sequence[Policy] = parts.facts.access_policies

        def look() -> None:
            service = parts.facts.find(asked.namespace, asked.service)
            if service is None or trail.request_class is None:
                raise model_unknown(asked.namespace, asked.service)
            law = parts.facts.law
            if law.digest == trail.policy and parts.facts.access_policies is rules:
                parts.choosing.choose(law, service, trail.request_class, asked.body)

        async def clear() -> _Cleared:
            nonlocal rules
            rules = parts.facts.access_policies
            trail.caller = caller = await parts.identity.authenticate(_read_credential(call), call.peer)
            return await self._clear(call, trail, caller, asked=asked)

        tell = trail.progress.tell if trail.progress is not None else None
        try:
            return await parts.holding.hold(Held(nobody, trail.body_bytes, look, clear, tell))
        except (asyncio.CancelledError, ConnectionError, TimeoutError):
            self._leave(trail)
            raise

    async def _relay(self, cleared: _Cleared, sink: Sink, trail: Trail, caller: Caller) -> None:
        parts = self._parts
        trail.charge = parts.access.charge(trail.access, caller, cleared.order)
        ended = "cancelled"
        try:
            written = await parts.record.append(trail.describe("request", decision="relayed"))
            receipt = Receipt(parts.record, written)
        except asyncio.CancelledError:
            # The line may be on disk by now; what it announces did not happen.
            self._complete(trail, ended)
            raise
        except SekishoError:
            parts.access.give_back(trail.charge)
            raise
        try:
            # One commit may have freed many.
            await self._give_way(trail)
            self._check_access(cleared, trail, caller)
            timed, outcome = self._time(sink, trail, receipt), trail.outcome
            # Signed once the request has gone out, while the engine thinks.
            asyncio.get_running_loop().call_soon(receipt.sign_ahead)
            await parts.attempts.send(cleared.choice, cleared.prepared, timed, outcome=outcome, tries=trail.tries)
            ended = "failed" if outcome.reason else "relayed"
        except SekishoError as error:
            trail.outcome.reason = error.reason
            trail.outcome.status = trail.status_of(error.reason)
            ended = "failed"
            raise
        finally:
            self._complete(trail, ended)

    def _check_access(self, cleared: _Cleared, trail: Trail, caller: Caller) -> None:
        """Ask again whom the model answers, where that may have changed since the request was decided: some wait.

        Raises:
            SekishoError: Its caller is not let in any more, or not as the request was made ready.
        """
        facts, service = self._parts.facts, cleared.service
        found = facts.find(service.namespace, service.name)
        if found is not None and found is not service:
            check_user(found, caller.username, caller.groups)
        policies = facts.access_policies
        if policies is cleared.policies:
            return
        access = self._parts.access.decide(policies, caller, cleared.question, cleared.law.lattice)
        before, now = (find_dictionaries(item, service.full_name) for item in (cleared.policies, policies))
        if (access, now) != (trail.access, before):
            told = "the AccessPolicies that name it changed since the request was decided; ask again"
            raise not_ready(service, told)

    def _time(self, sink: Sink, trail: Trail, receipt: Receipt) -> TimedSink:
        """Return a sink whose answer carries the receipt of its request, and which measures its first byte."""
        first_byte, began_at = self._parts.measures.first_byte, trail.began_at

        def begun() -> Mapping[str, str]:
            first_byte(time.monotonic() - began_at)
            return {RECEIPT_HEADER: receipt.sign()}

        return TimedSink(sink, begun)

    async def _read(self, call: Call, trail: Trail) -> Asked:
        parts = self._parts
        body = await call.read_body(parts.admission)
        trail.body_bytes, trail.body_digest = len(body), parts.record.digest_body(body)
        asked = parse_request(_ENDPOINTS[call.path], body, parts.body_limits)
        trail.model, trail.stream = asked.model, asked.stream
        return asked

    def _give_way(self, trail: Trail) -> Awaitable[None]:
        """Let the chunks of streams out between two steps of a request, which are longer than a chunk may be late."""
        return self._turns.wait(own=trail.stream)

    async def _clear(self, call: Call, trail: Trail, caller: Caller, *, asked: Asked) -> _Cleared:
        """Decide everything about a request; whatever is not right refuses."""
        parts = self._parts
        service = await self._find(caller, asked.namespace, asked.service)
        law, policies = parts.facts.law, parts.facts.access_policies
        trail.policy = law.digest
        book = law.book.beside(find_dictionaries(policies, service.full_name))
        trail.guarded = guarded = await parts.guards.look(
            book, asked.body, body_bytes=trail.body_bytes, who=caller.username
        )
        await self._give_way(trail)
        trail.request_class = decided = decide_class(law, service, _read_class(call), guarded.inspection.floors)
        await parts.identity.check_class(caller, law.lattice, decided.value, because=decided.because)
        check_cleared(law, service, decided)
        question = Question(service.full_name, decided.value, service.site or None)
        trail.access = access = parts.access.decide(policies, caller, question, law.lattice)
        check_opaque(law, decided.value, asked.images)
        rules = book.rules(decided.value)
        await parts.guards.judge(rules, guarded)
        await self._give_way(trail)
        ready = _Ready(asked, service, caller, book, rules, guarded)
        order = Order(service.full_name, service.site or None, parts.facts.rates_of(service), trail.body_bytes)
        try:
            choice = await parts.choosing.choose_soon(law, service, decided, asked.body)
        except NobodyError as nobody:
            if nobody.is_awaited:
                # Nothing is woken by a request that would be refused further on.
                await self._prepare(ready, trail, parts.facts.place_of(service.site).tier)
                parts.access.give_back(parts.access.charge(access, caller, order))
            raise
        trail.backend = choice.describe()
        prepared = await self._prepare(ready, trail, choice.tier)
        await self._give_way(trail)
        return _Cleared(service, choice, prepared, order, law, policies, question)

    async def _prepare(self, ready: _Ready, trail: Trail, tier: str) -> Prepared:
        """Make a request ready for a site of a tier."""
        asked, service, guarded = ready.asked, ready.service, ready.guarded
        way = Way(tier, trail.access.redact, name_tenant(service.namespace, ready.caller.username))
        sent = await self._parts.guards.mask(ready.book, ready.rules, way, body=asked.body, guarded=guarded)
        answerer = guard_answerer(build_answerer(asked, guarded.text_filter), guarded)
        return Prepared(asked.engine_path, asked.render(service.full_name, sent), asked.stream, answerer)

    def _complete(self, trail: Trail, ended: str) -> None:
        """Record what became of a relayed request; the caller does not wait for it, and may have gone."""
        outcome = trail.outcome
        entry: dict[str, Any] = {
            "kind": "completion", "id": trail.id, "ended": ended, "status": outcome.status, "reason": outcome.reason,
            "sentBytes": outcome.sent_bytes, "events": outcome.events, "tokens": outcome.usage,
            "milliseconds": round((time.monotonic() - trail.began_at) * 1000), "tries": trail.tries.describe(),
        }  # fmt: skip
        if trail.guarded is not None:
            entry |= trail.guarded.describe_end()
            self._parts.measures.guarded(trail.guarded)
        # What no engine has begun costs nothing; it counts as a request all the same.
        counted = outcome.usage if trail.tries.reached else _NOTHING_USED
        cost = self._parts.access.settle(trail.charge, counted=counted, events=outcome.events)
        if cost is not None:
            entry["cost"] = cost
        self._parts.measures.ended(ended)
        try:
            self._parts.record.put(entry)
        except SekishoError as error:
            _tell_lost(entry, error)

    def _leave(self, trail: Trail) -> None:
        """Record that a request which may have woken its model went nowhere: its caller has gone."""
        entry = trail.describe("request", decision="left")
        self._parts.measures.ended("cancelled")
        try:
            self._parts.record.put(entry)
        except SekishoError as error:
            _tell_lost(entry, error)

    async def _append(self, entry: Mapping[str, Any]) -> None:
        try:
            await self._parts.record.append(entry)
        except SekishoError as error:
            _tell_lost(entry, error)

    async def _refuse(self, sink: Sink, trail: Trail, error: SekishoError) -> None:
        """Tell the caller why not; a refusal that cannot be recorded is a refusal all the same."""
        status = trail.status_of(error.reason)
        if trail.outcome.reason is None:
            self._parts.measures.refused(error.reason)
            if trail.guarded is not None:
                self._parts.measures.guarded(trail.guarded)
        # Strangers are counted, not recorded: whoever has no token must not be able to fill the disk.
        if trail.caller is not None and trail.outcome.reason is None:
            await self._append(trail.describe("request", decision="refused", reason=error.reason, status=status))
        if trail.progress is not None and trail.progress.has_begun and trail.fail is not None:
            await trail.progress.fail(trail.fail(error.reason, error.message))
            return
        retry = _RETRY_SECONDS.get(error.reason, _DEFAULT_RETRY_SECONDS) if error.retry else None
        if isinstance(error, BudgetError):
            retry = error.retry_seconds
        param = error.param if isinstance(error, FieldError) else None
        body = render_error(trail.dialect, error.reason, error.message, param=param)
        await sink.begin(status, "application/json", length=len(body), retry_seconds=retry)
        await sink.write(body)
        await sink.end()


def find_endpoint(path: str) -> Endpoint | None:
    """Return what a path asks for, None where it is nothing that models answer."""
    return _ENDPOINTS.get(path)


def find_dialect(call: Call) -> Endpoint | None:
    """Return whose error shape a caller understands; clients of Anthropic name their version wherever they ask."""
    endpoint = find_endpoint(call.path)
    if endpoint is None and (call.path.startswith(f"{Endpoint.MESSAGES}/") or call.header("anthropic-version")):
        return Endpoint.MESSAGES
    return endpoint


def _read_credential(call: Call) -> str | None:
    """Return what stands for the Authorization header, which clients of Anthropic spell as x-api-key.

    Raises:
        RefusedError: Unauthenticated: there are several, and nobody here chooses between them.
    """
    given = [*call.header("Authorization"), *(f"Bearer {key}" for key in call.header("x-api-key"))]
    if len(given) > 1:
        raise RefusedError(
            Reason.UNAUTHENTICATED, f"{len(given)} tokens or keys were sent; send one, in Authorization or in x-api-key"
        )
    return given[0] if given else None


def _tell_lost(entry: Mapping[str, Any], error: SekishoError) -> None:
    _log.error("an end was not recorded", extra={"id": entry.get("id"), "detail": error.message})


def _read_class(call: Call) -> str | None:
    values = call.header(CLASS_HEADER)
    if len(values) > 1:
        raise RefusedError(Reason.LABEL_INVALID, f"header {CLASS_HEADER} stands {len(values)} times; send it once")
    return values[0] if values else None
