"""Logs are one line of JSON each and carry no secret; metrics can be scraped."""

import io
import json
import logging
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import CollectorRegistry

from sekisho import telemetry

TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJtZSJ9.c2lnbmF0dXJl"


def format_record(message: str, **extra: object) -> dict[str, object]:
    record = logging.makeLogRecord({"name": "sekisho.test", "levelname": "INFO", "msg": message, **extra})
    line = telemetry.JsonFormatter("controller").format(record)
    assert "\n" not in line
    parsed: dict[str, object] = json.loads(line)
    return parsed


@pytest.mark.parametrize(
    "text",
    [
        f"GET /x Authorization: Bearer {TOKEN}",
        "bearer abcdefghijkl",
        f"token was {TOKEN} there",
        "https://user:hunter22@registry/v2",
        "-----BEGIN EC PRIVATE KEY-----\nhunter22\n-----END EC PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\nhunter22",
    ],
)
def test_a_credential_in_a_message_is_replaced(text: str) -> None:
    message = str(format_record(text)["message"])
    assert telemetry.REDACTED in message
    assert not any(secret in message for secret in ("hunter22", TOKEN, "abcdefghijkl"))


@pytest.mark.parametrize("key", ["authorization", "token", "session_token", "password", "api_key", "clientSecret"])
def test_a_field_whose_key_names_a_secret_is_replaced(key: str) -> None:
    assert format_record("x", **{key: "hunter22"})[key] == telemetry.REDACTED
    assert format_record("x", headers={key: ["hunter22"]})["headers"] == {key: telemetry.REDACTED}


def test_a_line_break_in_a_message_cannot_forge_a_record() -> None:
    assert format_record('a\n{"level":"ERROR"}')["message"] == 'a\n{"level":"ERROR"}'


def test_a_long_message_is_cut() -> None:
    assert len(str(format_record("x" * 100_000)["message"])) == telemetry.MAX_TEXT + 1


def test_what_is_given_as_extra_becomes_a_key() -> None:
    line = format_record("applied", kind="Service", namespace="a", count=3)
    assert (line["kind"], line["namespace"], line["count"], line["process"]) == ("Service", "a", 3, "controller")


def test_an_exception_is_part_of_the_same_line_and_redacted() -> None:
    try:
        raise ValueError(f"bearer {TOKEN}")
    except ValueError as error:
        info = (ValueError, error, error.__traceback__)
    line = format_record("failed", exc_info=info)
    assert "ValueError" in str(line["error"])
    assert TOKEN not in str(line["error"])


def test_logging_is_set_up_once_however_often_it_is_asked_for() -> None:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    stream = io.StringIO()
    try:
        telemetry.setup_logging("depot", stream=stream)
        telemetry.setup_logging("depot", stream=stream)
        logging.getLogger("sekisho.x").info("hello")
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        logging.captureWarnings(capture=False)
    assert [json.loads(line)["message"] for line in stream.getvalue().splitlines()] == ["hello"]


def test_a_counter_can_be_scraped() -> None:
    registry = CollectorRegistry()
    meter = telemetry.setup_metrics("controller", registry=registry)
    meter.create_counter(telemetry.RECONCILES).add(2, {telemetry.KEY_OUTCOME: "ok"})
    assert b'sekisho_reconciles_total{outcome="ok"} 2.0' in telemetry.render_metrics(registry)


def test_counts_are_scraped_as_the_counter_that_they_stand_for_and_not_before_something_was_counted() -> None:
    registry = CollectorRegistry()
    meter = telemetry.setup_metrics("test", registry=registry)
    counts = telemetry.Counts(meter, "sekisho_things", "kind", "place", description="Things by kind.")
    alone = telemetry.Counts(meter, "sekisho_others", description="Others.")
    assert b"sekisho_things" not in telemetry.render_metrics(registry)
    counts.add(1, "email", "request")
    counts.add(2, "email", "request")
    counts.add(1, "email", "answer")
    alone.add(3)
    for _ in range(2):
        told = telemetry.render_metrics(registry).decode()
        assert "# HELP sekisho_things_total Things by kind.\n# TYPE sekisho_things_total counter\n" in told
        assert 'sekisho_things_total{kind="email",place="request"} 3.0\n' in told
        assert 'sekisho_things_total{kind="email",place="answer"} 1.0\n' in told
        assert "sekisho_others_total 3.0\n" in told


def test_no_key_of_ours_is_one_that_logging_refuses() -> None:
    keys = {value for name, value in vars(telemetry).items() if name.startswith("KEY_")}
    assert keys
    for key in keys:
        logging.getLogger("sekisho.keys").makeRecord("n", logging.INFO, "f", 1, "m", (), None, extra={key: "x"})


def test_spans_are_begun_where_they_go_somewhere_and_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(kept))
    monkeypatch.setattr(telemetry, "tracer", provider.get_tracer(telemetry.SCOPE))
    with telemetry.open_span("nobody.looks") as span:
        span.set_attribute("a", 1)
        assert not span.is_recording()
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    with telemetry.open_span("somebody.looks") as span:
        span.set_attribute("a", 1)
    provider.shutdown()
    assert [(item.name, dict(item.attributes or {})) for item in kept.get_finished_spans()] == [
        ("somebody.looks", {"a": 1})
    ]


TELLING = """
import sys
from sekisho import telemetry
counter = telemetry.setup_metrics("test").create_counter("sekisho_things")
telemetry.setup_traces("test")
counter.add(3)
with telemetry.open_span("a.span"):
    pass
print(sum(name.startswith("opentelemetry.exporter.otlp") for name in sys.modules))
"""


def tell(endpoint: str) -> int:
    """Let a process count and trace until it ends; return how many modules of the way to a collector it has."""
    environment = {**os.environ, telemetry.OTLP_ENDPOINT: endpoint}
    done = subprocess.run([sys.executable, "-c", TELLING], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return int(done.stdout)


@pytest.mark.slow
def test_a_collector_that_is_named_is_told_metrics_and_spans() -> None:
    told: dict[str, bytes] = {}

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told[self.path] = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Collector) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            assert tell(f"http://127.0.0.1:{server.server_port}") > 0
        finally:
            server.shutdown()
            thread.join()
    assert set(told) == {"/v1/metrics", "/v1/traces"}
    assert b"sekisho_things" in told["/v1/metrics"]
    assert b"a.span" in told["/v1/traces"]
    assert all(b"sekisho-test" in body for body in told.values())


@pytest.mark.slow
def test_without_a_collector_nothing_of_the_way_to_one_is_loaded() -> None:
    assert tell("") == 0
