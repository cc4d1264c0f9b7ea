"""What the controller measures of itself."""

import time
from collections.abc import Iterable

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from sekisho import telemetry
from sekisho.controller.cluster import Cluster
from sekisho.controller.health import Health
from sekisho.controller.loop import Outcome
from sekisho.controller.queue import KeyQueue
from sekisho.controller.routes import Key


class Measures:
    """Counts reconciles and shows the state of queue and watches."""

    def __init__(self, meter: Meter, queue: KeyQueue[Key], cluster: Cluster, health: Health) -> None:
        self._reconciles = telemetry.Counts(
            meter, telemetry.RECONCILES, telemetry.KEY_KIND, telemetry.KEY_OUTCOME,
            description="Reconciles by kind and outcome.",
        )  # fmt: skip
        self._seconds = meter.create_histogram(
            telemetry.RECONCILE_SECONDS,
            description="Duration of reconciles.",
            explicit_bucket_boundaries_advisory=[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
        )
        self._drift = meter.create_counter(telemetry.DRIFT_REPAIRS, description="Fields or objects put back.")

        def watch_ages(_: CallbackOptions) -> Iterable[Observation]:
            now = time.monotonic()
            for resource, store in cluster.stores.items():
                yield Observation(now - store.shown_at, {telemetry.KEY_KIND: resource.kind})

        def depth(_: CallbackOptions) -> Iterable[Observation]:
            yield Observation(len(queue))

        def oldest(_: CallbackOptions) -> Iterable[Observation]:
            yield Observation(queue.oldest_seconds())

        def leader(_: CallbackOptions) -> Iterable[Observation]:
            yield Observation(int(health.leading))

        meter.create_observable_gauge(telemetry.QUEUE_DEPTH, callbacks=[depth])
        meter.create_observable_gauge(telemetry.QUEUE_OLDEST_SECONDS, callbacks=[oldest])
        meter.create_observable_gauge(telemetry.LEADER, callbacks=[leader])
        meter.create_observable_gauge(telemetry.WATCH_AGE_SECONDS, callbacks=[watch_ages])

    def count(self, key: Key, outcome: str, seconds: float) -> None:
        """Count one reconcile."""
        kind = key[0].kind
        self._reconciles.add(1, kind, outcome)
        if outcome == "ok":
            self._seconds.record(seconds, {telemetry.KEY_KIND: kind})

    def add_outcome(self, outcome: Outcome) -> None:
        """Add what a reconcile put back."""
        if outcome.drift:
            self._drift.add(outcome.drift)
