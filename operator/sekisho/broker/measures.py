"""The broker's metrics."""

import time
from collections.abc import Callable

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from sekisho import telemetry
from sekisho.broker.challenges import ChallengeBook
from sekisho.errors import Reason
from sekisho.kube.collateral import CollateralStore


class Measures:
    """Counts what happens, and shows what is."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._answers = meter.create_counter(telemetry.BROKER_ANSWERS)
        self._records = meter.create_counter(telemetry.BROKER_RECORDS)
        self._seconds = meter.create_histogram(telemetry.BROKER_RECORD_SECONDS, unit="s")
        self._lost = meter.create_counter(telemetry.BROKER_LOST_CONDITIONS)

    def answered(self, route: str, reason: Reason) -> None:
        """Count an answer."""
        self._answers.add(1, {telemetry.KEY_ROUTE: route, telemetry.KEY_REASON: reason.value})

    def committed(self, seconds: float, entries: int) -> None:
        """Count entries that are on disk, and how long that took."""
        self._records.add(entries)
        self._seconds.record(seconds)

    def lost_condition(self) -> None:
        """Count a condition of a pod that was not written."""
        self._lost.add(1)

    def show_lag(self, seconds: Callable[[], float]) -> None:
        """Show how far the copy of the record is behind."""

        def observe(_options: CallbackOptions) -> list[Observation]:
            return [Observation(seconds())]

        self._meter.create_observable_gauge(telemetry.BROKER_RECORD_LAG, callbacks=[observe], unit="s")

    def show(self, *, challenges: ChallengeBook, store: CollateralStore, facts_age: Callable[[], float]) -> None:
        """Show what is whenever somebody looks."""

        def observe_challenges(_options: CallbackOptions) -> list[Observation]:
            return [Observation(len(challenges))]

        def observe_facts(_options: CallbackOptions) -> list[Observation]:
            age = facts_age()
            return [] if age == float("inf") else [Observation(age)]

        def observe_age(_options: CallbackOptions) -> list[Observation]:
            return [Observation(age, {telemetry.KEY_KIND: kind}) for kind, age, _ in store.ages(time.time())]

        def observe_left(_options: CallbackOptions) -> list[Observation]:
            return [Observation(left, {telemetry.KEY_KIND: kind}) for kind, _, left in store.ages(time.time())]

        def observe_bad(_options: CallbackOptions) -> list[Observation]:
            return [Observation(len(store.problems))]

        gauge = self._meter.create_observable_gauge
        gauge(telemetry.BROKER_CHALLENGES, callbacks=[observe_challenges])
        gauge(telemetry.BROKER_FACTS_AGE, callbacks=[observe_facts], unit="s")
        gauge(telemetry.BROKER_COLLATERAL_AGE, callbacks=[observe_age], unit="s")
        gauge(telemetry.BROKER_COLLATERAL_LEFT, callbacks=[observe_left], unit="s")
        gauge(telemetry.BROKER_COLLATERAL_BAD, callbacks=[observe_bad])
