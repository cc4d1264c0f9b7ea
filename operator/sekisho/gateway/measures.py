"""What the gateway measures of itself; never whose request it was, nor what stood in it."""

from collections.abc import Callable, Iterable, Mapping

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from sekisho import telemetry
from sekisho.errors import Reason
from sekisho.gateway.admission import Admission
from sekisho.gateway.facts import Facts
from sekisho.gateway.guards.guarding import Guarded
from sekisho.recording.record import Record
from sekisho.redact.categories import Category
from sekisho.telemetry import Counts

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Measures:
    """Counts requests, refusals, records and their times."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._requests = Counts(
            meter, telemetry.GATEWAY_REQUESTS, telemetry.KEY_OUTCOME, description="Requests by outcome."
        )
        self._refusals = Counts(
            meter, telemetry.GATEWAY_REFUSALS, telemetry.KEY_REASON, description="Refusals by reason."
        )
        self._first_byte = meter.create_histogram(
            telemetry.GATEWAY_SECONDS,
            description="Time from a request to the first byte of its answer.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        self._found = Counts(
            meter, telemetry.GATEWAY_FOUND, telemetry.KEY_CATEGORY, telemetry.KEY_PLACE,
            description="Items found in requests and answers, and what was taken out.",
        )  # fmt: skip
        self._attacks = Counts(
            meter, telemetry.GATEWAY_ATTACKS, telemetry.KEY_RULE, description="Requests that look like attacks."
        )
        self._placeholders = Counts(
            meter, telemetry.GATEWAY_PLACEHOLDERS, telemetry.KEY_STATE, description="Placeholders met in answers."
        )
        self._records = Counts(meter, telemetry.GATEWAY_RECORDS, description="Records on disk.")
        self._record_seconds = meter.create_histogram(
            telemetry.GATEWAY_RECORD_SECONDS,
            description="Time until the disk has the oldest entry of a commit.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )

    def show(self, admission: Admission, facts: Facts, record: Record) -> None:
        """Show what is under way, how old the knowledge of the cluster is, and how far the record's copy is behind."""

        def in_flight(_: CallbackOptions) -> Iterable[Observation]:
            yield Observation(admission.in_flight)

        def age(_: CallbackOptions) -> Iterable[Observation]:
            yield Observation(min(facts.age_seconds(), 1e9))

        def lag(_: CallbackOptions) -> Iterable[Observation]:
            yield Observation(record.lag.seconds)

        self._meter.create_observable_gauge(telemetry.GATEWAY_RECORD_LAG, callbacks=[lag])
        self._meter.create_observable_gauge(telemetry.GATEWAY_IN_FLIGHT, callbacks=[in_flight])
        self._meter.create_observable_gauge(telemetry.GATEWAY_FACTS_AGE, callbacks=[age])

    def show_held(self, count: Callable[[], int]) -> None:
        """Show how many requests wait for a model that wakes."""

        def held(_: CallbackOptions) -> Iterable[Observation]:
            yield Observation(count())

        self._meter.create_observable_gauge(telemetry.GATEWAY_HELD, callbacks=[held])

    def refused(self, reason: Reason) -> None:
        """Count a refusal."""
        self._requests.add(1, "refused")
        self._refusals.add(1, reason.value)

    def ended(self, outcome: str) -> None:
        """Count a request that was relayed or answered by the gateway itself."""
        self._requests.add(1, outcome)

    def guarded(self, guarded: Guarded) -> None:
        """Count what the guards found in one request and its answer."""
        text_filter = guarded.text_filter
        self._note("request", guarded.inspection.counts)
        self._note("redacted", guarded.redacted)
        if text_filter is not None and text_filter.watch is not None:
            self._note("answer", text_filter.watch.counts)
        for rule in {verdict.rule for verdict in guarded.verdicts}:
            self._attacks.add(1, rule)
        if guarded.judgement is not None:
            said = {True: "classifier", False: None, None: "classifier-failed"}[guarded.judgement.attack]
            if said is not None:
                self._attacks.add(1, said)
        if text_filter is not None:
            tally = text_filter.tally
            for state, count in (("restored", tally.restored), ("invented", tally.invented), ("half", tally.halves)):
                if count:
                    self._placeholders.add(count, state)

    def _note(self, place: str, counts: Mapping[Category, int]) -> None:
        for category, count in counts.items():
            self._found.add(count, str(category), place)

    def first_byte(self, seconds: float) -> None:
        """Note the time to the first byte of a relayed answer."""
        self._first_byte.record(seconds)

    def committed(self, seconds: float, entries: int) -> None:
        """Note one commit of the record; none were written where it failed."""
        self._record_seconds.record(seconds)
        if entries:
            self._records.add(entries)
