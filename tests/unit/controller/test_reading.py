"""Objects are parsed once a generation; what cannot be read is a value that says why."""

from datetime import UTC, datetime
from typing import Any

from sekisho.controller.announce import choose, render_event
from sekisho.controller.publishing import tell_failure
from sekisho.controller.reading import Reader
from sekisho.errors import Reason, RefusedError, Rejection, UnavailableError
from sekisho.kube.resources import INFERENCE_SERVICES
from sekisho.plan.conditions import Announcement
from tests.unit.api.cases import EVIDENCE, GRANT, POLICY, RELEASE, SITE


def build(spec: Any, *, generation: int = 1) -> dict[str, Any]:
    meta = {"name": "chat", "namespace": "a", "uid": "u1", "generation": generation, "resourceVersion": "7"}
    return {"metadata": meta, "spec": spec}


FINE = {"predictor": {"model": {"modelRef": {"name": "m"}}}}


def test_a_spec_that_cannot_be_read_says_which_field_and_what_to_do() -> None:
    spec = Reader().service(build({"predictor": {"model": {}}, "surprise": 1})).spec
    assert isinstance(spec, Rejection)
    assert spec.reason == Reason.INVALID_SPEC
    assert "spec.surprise: Extra inputs are not permitted" in spec.detail
    assert "correct it and apply again" in spec.detail


def test_a_policy_that_cannot_be_read_is_told_as_such() -> None:
    spec = Reader().policy(build({"levels": []})).spec
    assert isinstance(spec, Rejection)
    assert spec.reason == Reason.POLICY_INVALID


def test_a_policy_and_a_site_that_are_being_deleted_count_for_nothing_whatever_keeps_them() -> None:
    reader = Reader()
    for read, spec in ((reader.policy, POLICY), (reader.site, SITE)):
        raw = build(spec)
        assert not isinstance(read(raw).spec, Rejection)
        raw["metadata"]["deletionTimestamp"] = "2026-12-01T00:00:00Z"
        ended = read(raw).spec
        assert isinstance(ended, Rejection)
        assert ended.reason == Reason.TERMINATING
        assert "take them off, and create it anew" in ended.detail
        raw["metadata"]["uid"] = "another"


def test_many_problems_are_counted_and_the_message_is_bounded() -> None:
    spec = Reader().service(build({**FINE, **{f"extra{n}": 1 for n in range(50)}})).spec
    assert isinstance(spec, Rejection)
    assert "and 47 more" in spec.detail
    assert len(spec.detail) <= 1024


def test_a_spec_is_parsed_once_a_generation() -> None:
    reader = Reader()
    first = reader.service(build(FINE)).spec
    assert reader.service(build({"never": "looked at"})).spec is first
    assert reader.service(build(FINE, generation=2)).spec is not first
    reader.forget(INFERENCE_SERVICES, build(FINE))
    assert isinstance(reader.service(build({}, generation=2)).spec, Rejection)


def test_grants_and_evidence_policies_are_read_or_say_what_is_wrong() -> None:
    reader = Reader()
    for read in (reader.key_release, reader.data_grant, reader.evidence_policy):
        spec = read(build({})).spec  # type: ignore[operator]
        assert isinstance(spec, Rejection)
        assert spec.reason == Reason.INVALID_SPEC
        assert "Field required" in spec.detail
    release = Reader().key_release(build(RELEASE))
    assert not isinstance(release.spec, Rejection)
    assert (release.full_name, release.generation, release.spec.lease_seconds) == ("a/chat", 1, 900)
    assert not isinstance(Reader().data_grant(build(GRANT)).spec, Rejection)
    assert not isinstance(Reader().evidence_policy(build(EVIDENCE)).spec, Rejection)


def test_of_many_announcements_the_first_warning_is_told_and_what_passes_by_itself_is_not() -> None:
    pending = Announcement("Warning", Reason.ISOLATION_PENDING, "soon")
    leak = Announcement("Warning", Reason.ISOLATION_LEAK, "a canary answered")
    other = Announcement("Warning", Reason.NO_SITE, "nowhere")
    ready = Announcement("Normal", Reason.READY, "it serves")
    assert choose([pending]) == []
    assert choose([ready, pending, leak, other]) == [leak]
    assert choose([Announcement("Normal", Reason.PLACED, "there"), ready]) == [ready]


def test_the_same_transition_makes_the_same_event_and_another_another() -> None:
    at = datetime(2026, 11, 25, tzinfo=UTC)
    told = Announcement("Warning", Reason.NO_SITE, "x" * 5000)
    one = render_event(told, INFERENCE_SERVICES, build({}), instance="i", at=at)
    again = render_event(told, INFERENCE_SERVICES, build({}), instance="another", at=at)
    raw = build({})
    raw["metadata"]["resourceVersion"] = "8"
    later = render_event(told, INFERENCE_SERVICES, raw, instance="i", at=at)
    assert one["metadata"]["name"] == again["metadata"]["name"] != later["metadata"]["name"]
    assert len(one["note"]) == 1024


def test_a_failure_makes_ready_false_and_keeps_what_else_was_decided() -> None:
    planned = {
        "class": {"level": "internal"},
        "conditions": [
            {"type": "Placed", "status": "True", "reason": "Placed", "message": "there"},
            {"type": "Ready", "status": "True", "reason": "Ready", "message": "yes"},
        ],
    }
    error = RefusedError(Reason.NOT_OURS, "ConfigMap a/chat-predictor exists")
    status, told = tell_failure(planned, {}, error, generation=3, now_at=0)
    conditions = {c["type"]: c for c in status["conditions"]}
    assert (conditions["Ready"]["status"], conditions["Ready"]["reason"]) == ("False", "NotOurs")
    assert conditions["Placed"]["status"] == "True"
    assert "Stalled" in conditions
    assert status["class"] == {"level": "internal"}
    assert (told[0].type, told[0].reason) == ("Warning", "NotOurs")
    moving, _ = tell_failure(planned, {}, UnavailableError(Reason.API_UNAVAILABLE, "busy"), generation=3, now_at=0)
    assert {c["type"] for c in moving["conditions"]} == {"Placed", "Ready", "Reconciling"}
