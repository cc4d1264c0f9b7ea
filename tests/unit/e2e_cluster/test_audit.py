"""Reading the audit log."""

import json
from pathlib import Path

import pytest

from e2e.cluster.audit import AuditLog, parse_request, render_policy


def event(
    audit_id: str, verb: str, *, user: str = "alice", uri: str = "/api/v1/namespaces/n/pods/p", **ref: str
) -> str:
    reference = {"resource": "pods", "namespace": "n", "name": "p", **ref}
    return json.dumps(
        {
            "auditID": audit_id,
            "verb": verb,
            "requestURI": uri,
            "user": {"username": user},
            "objectRef": reference,
            "responseStatus": {"code": 200},
            "userAgent": "test",
        }
    )


@pytest.fixture
def log(tmp_path: Path) -> AuditLog:
    return AuditLog(tmp_path / "audit.jsonl")


def test_a_dry_run_is_no_write() -> None:
    assert not parse_request(event("1", "patch", uri="/api/v1/namespaces/n/pods/p?dryRun=All")).is_write


@pytest.mark.parametrize(("verb", "is_write"), [("get", False), ("list", False), ("watch", False), ("patch", True)])
def test_reads_are_no_writes(verb: str, is_write: bool) -> None:
    assert parse_request(event("1", verb)).is_write is is_write


def test_a_request_is_counted_once_however_many_stages_it_has(log: AuditLog) -> None:
    log.file.write_text("\n".join([event("1", "watch"), event("1", "watch"), event("2", "get"), ""]))
    assert log.counts() == {("alice", "watch", "pods"): 1, ("alice", "get", "pods"): 1}


def test_only_what_came_after_the_mark_is_seen(log: AuditLog) -> None:
    assert log.mark() == 0
    log.file.write_text(event("1", "create") + "\n")
    mark = log.mark()
    with log.file.open("a") as file:
        file.write(event("2", "update", user="bob") + "\n")
    assert [request.audit_id for request in log.requests(mark)] == ["2"]
    assert [request.audit_id for request in log.writes(user="alice")] == ["1"]


def test_a_line_that_is_still_being_written_waits(log: AuditLog) -> None:
    log.file.write_text(event("1", "create") + "\n" + event("2", "create")[:20])
    assert [request.audit_id for request in log.requests()] == ["1"]


def test_the_resource_carries_group_and_subresource() -> None:
    request = parse_request(event("1", "patch", resource="widgets", apiGroup="example.dev", subresource="status"))
    assert request.resource == "widgets.example.dev/status"


def test_a_request_of_no_resource_is_named_by_its_path() -> None:
    line = json.dumps({"auditID": "1", "verb": "get", "requestURI": "/readyz?verbose", "user": {"username": "x"}})
    assert parse_request(line).resource == "/readyz"


def test_the_policy_records_metadata_only_and_drops_reads_when_asked() -> None:
    every, writes = json.loads(render_policy("all")), json.loads(render_policy("writes"))
    assert [rule["level"] for rule in every["rules"]] == ["Metadata"]
    assert writes["rules"][0] == {"level": "None", "verbs": ["get", "list", "watch"]}
