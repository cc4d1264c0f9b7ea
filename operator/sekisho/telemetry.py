"""Logs, metrics and traces of every process: their names as constants, and their set-up.

Logs are one JSON object a line on standard output, without secrets. Metrics are scraped at /metrics; metrics and traces
also go out by OTLP where OTEL_EXPORTER_OTLP_ENDPOINT names a collector.
"""

import json
import logging
import os
import re
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from typing import Any, Final, TextIO

from opentelemetry import trace
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import CallbackOptions, Meter, Observation
from opentelemetry.sdk.metrics import AlwaysOffExemplarFilter, MeterProvider, TraceBasedExemplarFilter
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest

SCOPE: Final = "sekisho"
METRICS_CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
OTLP_ENDPOINT: Final = "OTEL_EXPORTER_OTLP_ENDPOINT"

# Metrics of the controller
RECONCILES: Final = "sekisho_reconciles"
RECONCILE_SECONDS: Final = "sekisho_reconcile_seconds"
API_REQUESTS: Final = "sekisho_api_requests"
API_WRITES_AVOIDED: Final = "sekisho_api_writes_avoided"
DRIFT_REPAIRS: Final = "sekisho_drift_repairs"
QUEUE_DEPTH: Final = "sekisho_queue_depth"
QUEUE_OLDEST_SECONDS: Final = "sekisho_queue_oldest_seconds"
WATCH_AGE_SECONDS: Final = "sekisho_watch_age_seconds"
LEADER: Final = "sekisho_leader"
REFUSALS: Final = "sekisho_refusals"

# Metrics of the gateway
GATEWAY_REQUESTS: Final = "sekisho_gateway_requests"
GATEWAY_REFUSALS: Final = "sekisho_gateway_refusals"
GATEWAY_SECONDS: Final = "sekisho_gateway_first_byte_seconds"
GATEWAY_IN_FLIGHT: Final = "sekisho_gateway_in_flight"
GATEWAY_HELD: Final = "sekisho_gateway_held"
GATEWAY_RECORDS: Final = "sekisho_gateway_records"
GATEWAY_RECORD_SECONDS: Final = "sekisho_gateway_record_seconds"
GATEWAY_FOUND: Final = "sekisho_gateway_items"
GATEWAY_ATTACKS: Final = "sekisho_gateway_prompt_attacks"
GATEWAY_PLACEHOLDERS: Final = "sekisho_gateway_placeholders"
GATEWAY_RECORD_LAG: Final = "sekisho_gateway_record_copy_lag_seconds"
GATEWAY_FACTS_AGE: Final = "sekisho_gateway_facts_age_seconds"

# Metrics of the depot
DEPOT_FETCHES: Final = "sekisho_depot_fetches"
DEPOT_FETCHED_BYTES: Final = "sekisho_depot_fetched_bytes"
DEPOT_SERVED_BYTES: Final = "sekisho_depot_served_bytes"
DEPOT_CACHE_BYTES: Final = "sekisho_depot_cache_bytes"
DEPOT_PROOFS: Final = "sekisho_depot_proofs"
DEPOT_REPORTS: Final = "sekisho_depot_unseal_reports"

# Metrics of the broker
BROKER_ANSWERS: Final = "sekisho_broker_answers"
BROKER_RECORD_SECONDS: Final = "sekisho_broker_record_seconds"
BROKER_RECORD_LAG: Final = "sekisho_broker_record_copy_lag_seconds"
BROKER_RECORDS: Final = "sekisho_broker_records"
BROKER_FACTS_AGE: Final = "sekisho_broker_facts_age_seconds"
BROKER_CHALLENGES: Final = "sekisho_broker_open_challenges"
BROKER_LOST_CONDITIONS: Final = "sekisho_broker_lost_conditions"
BROKER_COLLATERAL_AGE: Final = "sekisho_broker_collateral_age_seconds"
BROKER_COLLATERAL_LEFT: Final = "sekisho_broker_collateral_left_seconds"
BROKER_COLLATERAL_BAD: Final = "sekisho_broker_collateral_unusable_items"

# Metrics of attester and trust controller
ATTESTER_QUOTES: Final = "sekisho_attester_quotes"
ATTESTER_ATTESTATIONS: Final = "sekisho_attester_attestations"
ATTESTER_ATTESTED_AT: Final = "sekisho_attester_attested_timestamp_seconds"
TRUST_ATTESTATIONS: Final = "sekisho_trust_attestations"
TRUST_ENROLMENTS: Final = "sekisho_trust_enrolments"
TRUST_WITHDRAWALS: Final = "sekisho_trust_withdrawals"
TRUST_NODES: Final = "sekisho_trust_attested_nodes"

# Metrics of the unsafe development release
UNSAFE_RELEASES: Final = "sekisho_unsafe_releases"

# Keys of log records and attributes of metrics and spans
KEY_KIND: Final = "kind"
KEY_NAMESPACE: Final = "namespace"
KEY_NAME: Final = "object"
KEY_REASON: Final = "reason"
KEY_OUTCOME: Final = "outcome"
KEY_VERB: Final = "verb"
KEY_STATUS: Final = "status"
KEY_ROUTE: Final = "route"
KEY_CATEGORY: Final = "category"
KEY_PLACE: Final = "place"
KEY_RULE: Final = "rule"
KEY_STATE: Final = "state"

REDACTED: Final = "[redacted]"
MAX_TEXT: Final = 8192
MAX_ITEMS: Final = 64
_SECRET_KEY = re.compile(
    r"(?i)(authorization|cookie|credential|passw|secret|(^|[_.-])token$|bearer|api[_-]?key|private[_-]?key|access[_-]?key)"
)
_SECRET_TEXT = re.compile(
    r"(?is)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|$)"
    r"|\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]*"  # a JSON web token, wherever it stands
    r"|(?<=bearer )[A-Za-z0-9._~+/=-]{8,}"
    r"|(?<=basic )[A-Za-z0-9+/=]{8,}"
    r"|(?<=://)[^/\s:@]{1,256}:[^/\s@]{1,256}(?=@)"  # user:password in an address
    r"|(?<=X-Amz-Signature=)[0-9a-f]{16,}"
)
_STANDARD = frozenset(logging.LogRecord("", 0, "", 0, "", None, None).__dict__) | {"message", "asctime", "taskName"}

tracer: Final = trace.get_tracer(SCOPE)


def redact_text(text: str) -> str:
    """Replace what looks like a credential; texts longer than MAX_TEXT are cut."""
    cut = text if len(text) <= MAX_TEXT else text[:MAX_TEXT] + "…"
    return _SECRET_TEXT.sub(REDACTED, cut)


def redact_value(key: str, value: Any, *, depth: int = 4) -> Any:
    """Return `value` as JSON can hold it, without what its key or its form shows to be secret."""
    if _SECRET_KEY.search(key):
        return REDACTED
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping) and depth:
        items = list(value.items())[:MAX_ITEMS]
        return {str(k): redact_value(str(k), v, depth=depth - 1) for k, v in items}
    if isinstance(value, list | tuple | set | frozenset) and depth:
        return [redact_value("", item, depth=depth - 1) for item in list(value)[:MAX_ITEMS]]
    return redact_text(str(value))


class JsonFormatter(logging.Formatter):
    """Write a record as one line of JSON; whatever was given as `extra` becomes a key."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; it never contains a line break, so no text can forge a record."""
        line: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "process": self._process,
            "logger": record.name,
            "message": redact_text(record.getMessage()),
        }
        for key, value in record.__dict__.items():
            if key not in _STANDARD and key not in line and not key.startswith("_"):
                line[key] = redact_value(key, value)
        if record.exc_info and record.exc_info[0] is not None:
            line["error"] = redact_text("".join(traceback.format_exception(*record.exc_info)))
        return json.dumps(line, ensure_ascii=False, default=str)


def setup_logging(process: str, *, level: str = "INFO", stream: TextIO | None = None) -> None:
    """Send every record of this process, those of libraries included, to standard output as JSON."""
    handler = logging.StreamHandler(stream or sys.stdout)
    handler.setFormatter(JsonFormatter(process))
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)


def setup_metrics(process: str, *, registry: CollectorRegistry = REGISTRY) -> Meter:
    """Return the meter of this process; call it once for each registry."""
    readers: list[MetricReader] = [
        PrometheusMetricReader(disable_target_info=True, scope_info_enabled=False, registry=registry)
    ]
    # A scrape shows no exemplars, and looking for them is a third of what a measurement costs.
    exemplars: AlwaysOffExemplarFilter | TraceBasedExemplarFilter = AlwaysOffExemplarFilter()
    if os.environ.get(OTLP_ENDPOINT):
        # What sends is imported where there is a collector alone: it is 240 modules, 2 MiB and 0.06 s of a start.
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter  # noqa: PLC0415

        readers.append(PeriodicExportingMetricReader(OTLPMetricExporter()))
        exemplars = TraceBasedExemplarFilter()
    provider = MeterProvider(metric_readers=readers, resource=_describe(process), exemplar_filter=exemplars)
    return provider.get_meter(SCOPE)


class Counts:
    """A counter that is read when it is scraped: until then a number in a table, which costs a request next to nothing.

    One thread adds; any may scrape.

    Args:
        meter: Of the process.
        name: Of the metric.
        keys: Names of its attributes.
        description: Of the metric.
    """

    def __init__(self, meter: Meter, name: str, *keys: str, description: str) -> None:
        self._keys = keys
        self._counts: dict[tuple[str, ...], int] = {}
        meter.create_observable_counter(name, callbacks=[self._observe], description=description)

    def add(self, count: int, *values: str) -> None:
        """Count, under values of the attributes in the order of their names."""
        self._counts[values] = self._counts.get(values, 0) + count

    def _observe(self, _: CallbackOptions) -> Iterator[Observation]:
        for values, count in list(self._counts.items()):
            yield Observation(count, dict(zip(self._keys, values, strict=True)))


def render_metrics(registry: CollectorRegistry = REGISTRY) -> bytes:
    """Return every metric in Prometheus' text format; see METRICS_CONTENT_TYPE."""
    return generate_latest(registry)


def setup_traces(process: str) -> None:
    """Send spans to the collector that OTEL_EXPORTER_OTLP_ENDPOINT names; without one they cost next to nothing."""
    if not os.environ.get(OTLP_ENDPOINT):
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - as above

    provider = TracerProvider(resource=_describe(process))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)


def has_traces() -> bool:
    """Tell whether spans go anywhere; asked once by who begins many, since the library looks at the environment."""
    return not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


def open_span(name: str) -> AbstractContextManager[trace.Span]:
    """Begin a span; where spans go nowhere, nothing is begun."""
    if not has_traces():
        return nullcontext(trace.INVALID_SPAN)
    return tracer.start_as_current_span(name, record_exception=False)


def _describe(process: str) -> Resource:
    pod = os.environ.get("SEKISHO_POD_NAME", "")
    return Resource.create({"service.name": f"sekisho-{process}", "service.instance.id": pod or "local"})
