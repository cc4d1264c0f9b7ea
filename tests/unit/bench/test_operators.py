"""What the operator's benchmarks compute from logs, manifests and processes. Nothing is measured here."""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from bench.catalogue import build_registry
from bench.harness import Sample, WrongAnswerError
from bench.operators.answers import find_untold
from bench.operators.api import CHILDREN, KINDS, path_of
from bench.operators.benchmarks import (
    Family,
    compare_cpu,
    compare_restart,
    must_be_equal,
    restart_of,
    spell_bursts,
    spell_repairs,
    spell_restart,
)
from bench.operators.burst import Burst, Restart, Tape, measure_seconds
from bench.operators.demo import parse_seconds, time_demo
from bench.operators.idle import Idle, measure_latencies
from bench.operators.lab import CANDIDATE, REFERENCE, SharedLab, _little_garbage
from bench.operators.manifests import (
    TEMPLATE_NAMESPACE,
    TEMPLATE_SERVICE,
    fill_template,
    make_template,
    render_facts,
    render_service,
)
from bench.operators.process import MachineClock, TimedOutError, parse_cpu_ticks, wait_for
from bench.operators.progress import Progress, spell_step
from bench.operators.repairs import Edit, Repair, _try, list_edits, normalise
from bench.operators.requests import SERVICES, Entry, Tail, count_reads, count_writes, parse_entry, spell_counts
from bench.operators.storage import Storage, deal_by_kind, find_keys
from e2e.cluster.netns import NetworkNamespace

NUMBERS: Iterator[int] = iter(range(10**6))
GROUPS = {"deployments": "apps", "inferenceservices": "inference.sekisho.dev", "leases": "coordination.k8s.io"}


def line(
    user: str, verb: str, plural: str, name: str = "a", *, sub: str = "", at: float = 0.0, took: float = 0.1,
    status: int = 201, audit_id: str = "", uri: str = "/x",
) -> str:  # fmt: skip
    def stamp(second: float) -> str:
        return f"2026-01-01T00:00:{second:09.6f}Z"

    reference = {"resource": plural, "apiGroup": GROUPS.get(plural, ""), "namespace": "n", "name": name}
    return json.dumps({
        "auditID": audit_id or str(next(NUMBERS)),
        "user": {"username": user},
        "verb": verb,
        "requestURI": uri,
        "objectRef": {**reference, **({"subresource": sub} if sub else {})},
        "responseStatus": {"code": status},
        "requestReceivedTimestamp": stamp(at),
        "stageTimestamp": stamp(at + took),
    })  # fmt: skip


def entries(*lines: str) -> list[Entry]:
    return [parse_entry(text) for text in lines]


def burst(**changes: Any) -> Burst:
    values: dict[str, Any] = {
        "objects": 10, "made_seconds": 1.0, "done_seconds": 2.0, "bound_seconds": 4.0, "others_share": 0.25,
        "cpu_seconds": 4.0, "control_cpu_seconds": {"apiserver": 8.0, "etcd": 2.0}, "peak_mib": 100.0, "writes": 70,
        "reads": 3, "told": "", "children": {}, "idle": Idle((0.1,), 0.1, {}), "restart": Restart(0, 1.5, 0.5),
    }  # fmt: skip
    return Burst(**{**values, **changes})


def said(kind: str, *, generation: int) -> dict[str, Any]:
    return {"type": kind, "status": "True", "observedGeneration": generation}


def test_a_refused_write_counts_and_a_dry_run_does_not() -> None:
    found = entries(
        line("u", "patch", "services", status=409),
        line("u", "patch", "services", uri="/x?dryRun=All"),
        line("u", "watch", "pods"),
        line("u", "get", "pods"),
        line("u", "list", "pods"),
    )
    assert count_writes(found) == 1
    assert count_reads(found) == 2
    assert spell_counts(found, objects=2).startswith("1.00 patch services")


def test_the_tail_gives_each_request_once_and_waits_for_the_end_of_a_line(tmp_path: Path) -> None:
    log = tmp_path / "audit.jsonl"
    log.write_text(line("u", "get", "pods") + "\n")
    tail, broken = Tail(log), line("v", "get", "pods")
    with log.open("a") as file:
        file.write(line("u", "watch", "pods", audit_id="w", took=0.1) + "\n" + broken[:40])
    assert [entry.request.verb for entry in tail.read()] == ["watch"]
    with log.open("a") as file:
        file.write(broken[40:] + "\n" + line("u", "watch", "pods", audit_id="w", took=9) + "\n")
    assert [entry.request.user for entry in tail.read()] == ["v"]
    tail.restart()
    assert tail.read() == tail.entries == []


def test_of_two_lines_about_one_watch_the_first_counts(tmp_path: Path) -> None:
    log = tmp_path / "audit.jsonl"
    tail = Tail(log)
    log.write_text(
        line("u", "watch", "pods", audit_id="w", took=1) + "\n" + line("u", "watch", "pods", audit_id="w", took=9)
    )
    with log.open("a") as file:
        file.write("\n")
    (entry,) = tail.read()
    assert entry.answered_at - entry.received_at == pytest.approx(1)


def test_leases_are_no_requests_of_an_object(tmp_path: Path) -> None:
    log = tmp_path / "audit.jsonl"
    tail = Tail(log)
    log.write_text(line("u", "update", "leases") + "\n" + line("u", "update", "services") + "\n")
    tail.read()
    assert [entry.request.resource for entry in tail.of("u")] == ["services"]


def test_a_burst_lasts_from_the_first_request_to_the_last_service_marked_done() -> None:
    user = CANDIDATE.user
    log = entries(
        line("admin", "create", "inferenceservices", "a", at=1.0),
        line("admin", "create", "inferenceservices", "b", at=2.0),
        line(user, "patch", "deployments", "a-predictor", at=3.0),
        line(user, "patch", "deployments", "b-predictor", at=4.0, status=409),
        line(user, "patch", "deployments", "b-predictor", at=5.0),
        line(user, "patch", "inferenceservices", "a", sub="status", at=6.0, status=200),
        line(user, "patch", "inferenceservices", "b", sub="status", at=7.0, status=200),
        line(user, "patch", "inferenceservices", "b", sub="status", at=30.0, status=200),
        line("scheduler", "create", "pods", "a-predictor-x-y", sub="binding", at=9.0),
    )
    assert measure_seconds(log, CANDIDATE, namespace="n") == (pytest.approx(4.1), pytest.approx(6.1), None)
    log += entries(line("scheduler", "create", "pods", "b-predictor-x-y", sub="binding", at=8.0))
    assert measure_seconds(log, CANDIDATE, namespace="n") == pytest.approx((4.1, 6.1, 8.1))


def test_a_service_without_a_deployment_in_the_log_has_no_latency() -> None:
    log = entries(line("admin", "create", "inferenceservices", "a", at=1.0))
    with pytest.raises(WrongAnswerError, match="the log does not tell of"):
        measure_latencies(log, REFERENCE, namespace="n", names=["a"])
    log += entries(line(REFERENCE.user, "create", "deployments", "a-predictor", at=1.5))
    assert measure_latencies(log, REFERENCE, namespace="n", names=["a"]) == pytest.approx((0.6,))


def test_both_sides_are_done_by_a_write_to_the_service() -> None:
    assert REFERENCE.done_by == SERVICES
    assert f"{SERVICES}/status" == CANDIDATE.done_by


@pytest.mark.parametrize(
    ("conditions", "untold"),
    [
        (None, ["Accepted", "Placed"]),
        ([{"type": "Accepted", "status": "False"}, {"type": "Placed", "status": "True"}], ["Accepted"]),
        ([said("Accepted", generation=1), said("Placed", generation=1)], ["Accepted", "Placed"]),
        ([said("Accepted", generation=2), said("Placed", generation=2)], []),
    ],
)  # fmt: skip
def test_a_status_must_speak_of_the_present_generation(conditions: Any, untold: list[str]) -> None:
    status = {"conditions": conditions} if conditions is not None else None
    assert find_untold({"metadata": {"generation": 2}, "status": status}) == untold


def test_a_tape_repeats_its_last_whole_series_and_then_runs_anew() -> None:
    numbers = iter(range(100))
    tape = Tape(lambda: next(numbers), length=3)
    first = tape.play()
    assert [next(first) for _ in range(4)] == [0, 1, 2, 3]
    second = tape.play()
    assert [next(second) for _ in range(4)] == [1, 2, 3, 4]


def test_a_series_that_is_not_whole_is_not_repeated() -> None:
    numbers = iter(range(100))
    tape = Tape(lambda: next(numbers), length=3)
    assert [next(tape.play()), next(tape.play())] == [0, 1]
    assert tape.kept() == []
    assert next(tape.play()) == 2
    assert tape.kept() == [0, 1, 2]


def test_a_wrong_answer_is_everybodys_and_nobody_waits_for_it_twice() -> None:
    runs = []

    def run() -> int:
        runs.append(1)
        raise WrongAnswerError("a child is missing")

    tape = Tape(run)
    for _ in range(2):
        with pytest.raises(WrongAnswerError, match="a child is missing"):
            next(tape.play())
    assert len(runs) == 1


def test_latencies_are_those_before_the_bursts_and_then_no_burst_is_run_for_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bursts: list[str] = []

    def run_burst(_: object, side: Any, **__: object) -> Burst:
        bursts.append(side.name)
        return burst(idle=Idle((0.1 if side is REFERENCE else 0.2,), 0.1, {}))

    monkeypatch.setattr("bench.operators.benchmarks.run_burst", run_burst)
    monkeypatch.setattr(
        "bench.operators.benchmarks.run_idle", lambda _, side: Idle((0.4,), 0.1, {side.name: frozenset()})
    )
    lab = SharedLab()
    monkeypatch.setattr(lab, "get", lambda: "the lab")
    told: list[str] = []
    family = Family(lab, told.append)
    speed, latency = family.speed(), None
    for _ in range(5):
        speed.check(speed.reference()[1], speed.candidate()[1])
    assert bursts == ["reference", "candidate"] * 6, "one of each goes before, then five in turn"
    assert [line.partition(" s;")[0] for line in told[1:]] == [
        f"{number} of 10: burst of 500, {('candidate', 'reference')[number % 2]}, 0{'' if number < 10 else ' s'}"
        for number in range(1, 11)
    ]
    latency = family.latency()
    assert latency.measure is not None
    for _ in range(5):
        (slow, expected), (fast, found) = latency.reference(), latency.candidate()
        latency.check(expected, found)
        assert latency.measure(slow, fast) == pytest.approx(2)  # type: ignore[arg-type]
    with pytest.raises(WrongAnswerError):
        latency.check(latency.reference()[1], latency.candidate()[1])
    assert len(bursts) == 12


def test_what_is_left_is_told_as_long_as_something_is() -> None:
    assert spell_step("a burst", [10.0, 20.0], steps=4) == "2 of 4: a burst, 20 s; about 30 s left"
    assert spell_step("a burst", [60.0], steps=3) == "1 of 3: a burst, 60 s; about 2.0 min left"
    assert spell_step("a burst", [1.0, 2.0], steps=2) == "2 of 2: a burst, 2 s"
    assert spell_step("a burst", [1.0, 2.0, 3.0], steps=2) == "3: a burst, 3 s"


def test_nothing_is_told_of_a_step_that_fails() -> None:
    told: list[str] = []
    progress = Progress(told.append, steps=1)
    with pytest.raises(WrongAnswerError), progress.step("a burst"):
        raise WrongAnswerError("no")
    assert told == []


def test_what_a_namespace_holds_is_found_by_its_keys_and_nothing_else_is() -> None:
    keys = [
        "/registry/configmaps/n/a", "/registry/deployments/n/b", "/registry/deployments/n/a",
        "/registry/deployments/n2/a", "/registry/inference.sekisho.dev/inferenceservices/n/a",
        "/registry/minions/n", "/registry/namespaces/n", "/registry/configmaps/other/n", "/registry/pods/n/n",
        "/registry/services/specs/n/a",
    ]  # fmt: skip
    assert find_keys(keys, ["n"]) == [
        "/registry/deployments/n/a",
        "/registry/deployments/n/b",
        "/registry/pods/n/n",
        "/registry/services/specs/n/a",
        "/registry/configmaps/n/a",
        "/registry/inference.sekisho.dev/inferenceservices/n/a",
    ]
    assert find_keys(keys, []) == []


def test_no_two_keys_of_a_kind_are_removed_together() -> None:
    keys = ["/registry/pods/n/a", "/registry/pods/m/a", "/registry/services/specs/n/a", "/registry/ipaddresses/1"]
    assert deal_by_kind(keys) == [
        ["/registry/pods/n/a", "/registry/services/specs/n/a", "/registry/ipaddresses/1"],
        ["/registry/pods/m/a"],
    ]
    assert deal_by_kind([]) == []


def test_keys_are_removed_over_one_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    held = {"/registry/pods/n/a", "/registry/pods/n/b", "/registry/pods/n0/a", "/registry/namespaces/n"}
    asked_by: list[tuple[str, int]] = []
    is_broken = False

    class Etcd(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            asked_by.append(self.client_address)
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path == "/v3/kv/txn":
                keys = [base64.b64decode(each["requestDeleteRange"]["key"]).decode() for each in asked["success"]]
                # As the server does, it does not say how many there were where there was none.
                deleted = [{"deleted": "1"} if key in held else {} for key in keys]
                held.difference_update(keys)
                told: dict[str, Any] = {"responses": [{"response_delete_range": each} for each in deleted]}
            else:
                first, last = (base64.b64decode(asked[name]).decode() for name in ("key", "range_end"))
                hit = sorted(key for key in held if first <= key < last)
                told = {"kvs": [{"key": base64.b64encode(key.encode()).decode()} for key in hit]}
            body = json.dumps(told).encode()
            self.send_response(500 if is_broken else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    monkeypatch.setattr(NetworkNamespace, "enter", lambda _: None)
    with ThreadingHTTPServer(("127.0.0.1", 0), Etcd) as server, ThreadPoolExecutor(1) as pool:
        serving = pool.submit(server.serve_forever, 0.05)
        monkeypatch.setattr("bench.operators.storage.ETCD_CLIENT", f"http://127.0.0.1:{server.server_port}")
        try:
            storage = Storage(NetworkNamespace("none"))
            assert storage.list_keys("/registry/pods/") == sorted(key for key in held if "/pods/" in key)
            before = len(asked_by)
            assert storage.delete(["/registry/pods/n/a", "/registry/pods/n/b", "/registry/namespaces/n", "/none"]) == 3
            assert len(asked_by) == before + 2
            assert len(set(asked_by[before:])) == 1
            assert held == {"/registry/pods/n0/a"}
            is_broken = True
            with pytest.raises(OSError, match="etcd answered txn with 500"):
                storage.delete(["/none"])
        finally:
            server.shutdown()
            serving.result(timeout=30)


@pytest.mark.parametrize("chosen", [None, "50"])
def test_programs_collect_garbage_seldom_unless_it_was_chosen_otherwise(
    monkeypatch: pytest.MonkeyPatch, chosen: str | None
) -> None:
    monkeypatch.delenv("GOGC", raising=False)
    if chosen is not None:
        monkeypatch.setenv("GOGC", chosen)
    with _little_garbage():
        assert os.environ["GOGC"] == (chosen or "800")
    assert os.environ.get("GOGC") == chosen


def test_an_edit_that_changes_nothing_is_no_edit() -> None:
    class Unmoved:
        def find(self, *_: object, **__: object) -> dict[str, Any]:
            return {"metadata": {"name": "a", "labels": {"x": "y"}}, "spec": {}}

    edit = Edit("Service", "nothing", lambda api, *_: api.find())  # type: ignore[call-arg]
    with pytest.raises(WrongAnswerError, match="Service: nothing: that is no edit"):
        _try(Unmoved(), edit, "n", "a")  # type: ignore[arg-type]


def test_the_reference_makes_what_the_candidate_made_under_another_name() -> None:
    child = {
        "metadata": {
            "name": f"{TEMPLATE_SERVICE}-predictor", "namespace": TEMPLATE_NAMESPACE, "uid": "own",
            "resourceVersion": "7", "labels": {"sekisho.dev/service": TEMPLATE_SERVICE},
            "ownerReferences": [{"uid": "11-22-33", "name": TEMPLATE_SERVICE}],
        },
        "spec": {"clusterIP": "10.0.0.7", "clusterIPs": ["10.0.0.7"], "ports": [{"port": 80}]},
        "status": {"loadBalancer": {}},
    }  # fmt: skip
    text = make_template(child, kind="Service", api_version="v1", owner_uid="11-22-33")
    assert fill_template(text, name="s", namespace="n", uid="u") == {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "s-predictor",
            "namespace": "n",
            "labels": {"sekisho.dev/service": "s"},
            "ownerReferences": [{"uid": "u", "name": "s"}],
        },
        "spec": {"ports": [{"port": 80}]},
    }


def test_every_kind_that_is_made_has_a_path() -> None:
    for manifest in (*render_facts(), render_service("a", "n")):
        assert manifest["kind"] in KINDS
    assert path_of("Deployment", "n", "a") == "/apis/apps/v1/namespaces/n/deployments/a"
    assert path_of("Deployment") == "/apis/apps/v1/deployments"
    assert path_of("Site", name="a").endswith("/sites/a")


def test_cpu_time_is_read_past_a_name_that_looks_like_fields() -> None:
    fields = ["S", *["0"] * 10, "250", "50", *["0"] * 30]
    assert parse_cpu_ticks(f"1 (a) b 9 9) {' '.join(fields)}") == 300
    assert parse_cpu_ticks(Path(f"/proc/{os.getpid()}/stat").read_text()) >= 0


def test_what_others_take_of_the_machine_is_told_without_what_is_known() -> None:
    clock = MachineClock()
    burn = "import time\nwhile time.process_time() < 0.3: pass"
    subprocess.run([sys.executable, "-c", burn], check=True)
    assert 0 < clock.share_of_others(0.0) <= 1
    assert clock.share_of_others(1e9) == 0


def test_a_wait_ends_with_what_was_awaited() -> None:
    with pytest.raises(TimedOutError, match="a thing was not so within 0 s"):
        wait_for(lambda: None, seconds=0, what="a thing")
    assert wait_for(lambda: "here", seconds=0, what="a thing") == "here"


def test_every_child_is_edited_deleted_and_stripped() -> None:
    edits = list_edits()
    for kind in CHILDREN:
        told = {edit.what for edit in edits if edit.kind == kind}
        assert {"deleted", "owner removed", "label sekisho.dev/service removed"} < told
        assert len(told) >= 5, "no field of it is changed"


def test_an_object_made_anew_equals_the_old_one_and_an_edited_one_does_not() -> None:
    old = {
        "metadata": {"name": "a", "uid": "1", "labels": {"x": "y"}},
        "spec": {"clusterIP": "1", "ports": []},
        "status": {},
    }
    new = {"metadata": {"name": "a", "uid": "2", "labels": {"x": "y"}}, "spec": {"clusterIP": "2", "ports": []}}
    edited = {"metadata": {"name": "a", "uid": "1", "labels": {}}, "spec": {"ports": []}}
    assert normalise(old) == normalise(new) != normalise(edited)


def test_what_was_not_repaired_is_named() -> None:
    repairs = [Repair("Service", "deleted", 0.5), Repair("Deployment", "paused", None)]
    assert spell_repairs(repairs) == (
        "2 edits, repaired in 0.50 s in the middle and 0.50 s at most; not repaired: Deployment: paused"
    )


def test_ratios_are_per_unit() -> None:
    assert compare_cpu(Sample(10, 1.0, 1.0), Sample(5, 1.0, 1.0)) == 2
    assert compare_restart(burst()) == pytest.approx(0.25)


def test_a_burst_without_a_restart_has_no_figures_of_one() -> None:
    with pytest.raises(WrongAnswerError, match="the operator was not restarted"):
        restart_of(burst(restart=None))
    assert spell_restart(burst()) == (
        "10 objects: the start took 1.50 s CPU (0.50 s with none there), their creation 4.00 s; 0 writes"
    )
    told = spell_bursts([burst()])
    assert told.startswith("5.0 objects/s until marked done (10.0 until the last child, 2.5 until the last pod has")
    assert "last pod has its node" not in spell_bursts([burst(bound_seconds=None)])
    assert "400.0 ms CPU (and 1000.0 ms of the control plane)" in told
    assert told.endswith("others took 25% of the machine at most")


def test_other_children_are_a_wrong_answer() -> None:
    must_be_equal({"Service": frozenset({"a"})}, {"Service": frozenset({"a"})})
    with pytest.raises(WrongAnswerError, match="did not make the same children"):
        must_be_equal({"Service": frozenset({"a"})}, {"Service": frozenset()})


def test_the_lab_is_not_used_outside_its_block() -> None:
    with pytest.raises(RuntimeError, match="outside its block"):
        SharedLab().get()


def test_the_demo_must_tell_its_time() -> None:
    with pytest.raises(WrongAnswerError, match="did not say"):
        parse_seconds("both services are ready 12.0 s after they were applied")
    assert parse_seconds("  first answer 41.5 s after `make demo` began\n") == 41.5


def test_the_demo_that_somebody_looks_at_is_neither_replaced_nor_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[tuple[str, str]] = []

    def run(command: list[str], *, env: dict[str, str], **_: Any) -> subprocess.CompletedProcess[str]:
        ran.append((command[-1], env["SEKISHO_DEMO_NAME"]))
        return subprocess.CompletedProcess(command, 0, "first answer 41.5 s after `make demo` began", "")

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setenv("SEKISHO_DEMO_NAME", "mine")
    assert time_demo() == 41.5
    assert ran == [("up", "demo-bench"), ("down", "demo-bench")]


def test_the_demo_runs_only_where_it_is_asked_for() -> None:
    registry = build_registry()
    assert "D1" not in [benchmark.id for benchmark in registry.choose([])]
    assert [benchmark.id for benchmark in registry.choose(["D1"])] == ["D1"]
    assert {"C1", "C2", "C3", "C4", "C6", "C7", "C8", "C9"} <= {benchmark.id for benchmark in registry.choose([])}
