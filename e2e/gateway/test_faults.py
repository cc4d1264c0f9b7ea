"""The gateway while things break: replicas die and roll, a disk is full, engines fail, law and certificate change."""

import contextlib
import http.client
import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography import x509

from e2e.cluster.patience import TIMEOUT
from e2e.gateway.caller import CHAT, MESSAGES, Address, Answer, Network, Stream, ask, finish, send
from e2e.gateway.conftest import PODS, RESTING, RESTING_SECONDS, Stage
from e2e.gateway.ledgers import verify_ledger
from e2e.gateway.load import Load
from e2e.installation import NAMESPACE
from e2e.observe import find_pod, kill_process, lives_of, pods_of, wait_for, writes_of_controller
from sekisho.api.times import parse_time
from sekisho.controller.certificates import Pair, decode, encode, issue

FIRST, SECOND = PODS
MIB = 1 << 20
GATEWAYS = f"system:serviceaccount:{NAMESPACE}:sekisho-gateway"
SILENT = "the engine of {} was silent for too long"
BROKEN = "the engine of {} ended in the middle of its answer"
# Where a good event comes just before, the caller has it or not: the stream ends with the error, or is one.
EITHER = 0
# What an engine does, whether a stream was wanted, by which path: the status, the code, and what the caller is told.
FAULTS: tuple[tuple[str, bool, str, int, str, str], ...] = (
    ("stall", False, CHAT, 504, "upstream_timeout", SILENT),
    ("stall", True, CHAT, 504, "upstream_timeout", SILENT),
    ("stall", True, MESSAGES, 504, "upstream_timeout", SILENT),
    ("pause", False, CHAT, 504, "upstream_timeout", SILENT),
    ("pause", True, CHAT, 200, "upstream_timeout", SILENT),
    ("pause", True, MESSAGES, 200, "upstream_timeout", SILENT),
    ("long-event", True, CHAT, 502, "upstream_failed", "the engine sent an event longer than 262144 bytes"),
    ("flood", True, CHAT, 200, "upstream_failed", "the engine sent a stream of more than 25165824 bytes"),
    ("long-head", True, CHAT, 502, "upstream_failed", "the engine of {}"),
    ("long-head", False, CHAT, 502, "upstream_failed", "the engine of {}"),
    ("long-answer", False, CHAT, 502, "upstream_failed", "the engine of {} answered with more than 8388608 bytes"),
    ("noise", True, CHAT, 502, "upstream_failed", "the engine of {}"),
    ("noise", False, MESSAGES, 502, "upstream_failed", "the engine of {}"),
    ("page", True, CHAT, 502, "upstream_failed", "the engine of {} answered with text/html, text/event-stream was exp"),
    ("broken", False, CHAT, 502, "upstream_failed", "the engine of {} answered with status 500"),
    ("odd-event", True, CHAT, EITHER, "upstream_failed", "the engine sent an event of a type that is not known"),
    ("half-json", True, MESSAGES, EITHER, "upstream_failed", "the engine's answer ends here"),
    ("binary", False, CHAT, 502, "upstream_failed", "the engine of {} did not answer with a JSON object"),
    ("short", True, CHAT, EITHER, "upstream_failed", BROKEN),
)


@pytest.fixture(autouse=True)
def whole(stage: Stage) -> None:
    """Both replicas are ready before each test."""
    stage.wait_ready()


def test_a_replica_that_is_killed_under_load_loses_no_record_and_others_answer(stage: Stage) -> None:
    load = Load(replace(stage.address, patience=10))
    with load.running(stage.network):
        wait_for(lambda: all(len(load.receipts(pod)) >= 10 for pod in PODS), "both replicas answer")
        stage.on_node(FIRST, "ctr", "-n", "k8s.io", "tasks", "kill", "-s", "SIGKILL", stage.task(FIRST))
        answered = load.whole()
        wait_for(lambda: load.whole() >= answered + 20, "others are answered")
        old = stage.pod(SECOND)["metadata"]["uid"]
        kill_by_force(stage, SECOND)
        wait_for(lambda: stage.pod(SECOND).get("metadata", {}).get("uid", old) != old, f"{SECOND} is replaced")
        stage.wait_ready()
        before = {pod: len(load.receipts(pod)) for pod in PODS}
        wait_for(lambda: all(len(load.receipts(pod)) >= before[pod] + 5 for pod in PODS), "both answer again")
    assert (load.refusals, load.unanswered) == ([], 0)
    for pod in PODS:
        said = verify_ledger(stage, pod, load.receipts(pod))
        assert f"{len(load.receipts(pod))} receipts kept" in said
        assert "begins" not in said, "the replica began anew instead of going on"


def kill_by_force(stage: Stage, pod: str) -> None:
    """Take a pod away without waiting for it; whatever else its node thinks, its process is dead."""
    stage.cluster.kubectl("delete", "pod", pod, "-n", NAMESPACE, "--grace-period=0", "--force")


def test_a_rollout_under_load_loses_no_request_and_cuts_no_answer(stage: Stage) -> None:
    load, before = Load(stage.address), {pod: stage.pod(pod)["metadata"]["uid"] for pod in PODS}
    with load.running(stage.network):
        wait_for(lambda: load.whole() >= 10, "callers are answered")
        stage.cluster.kubectl("rollout", "restart", "statefulset/sekisho-gateway", "-n", NAMESPACE)
        stage.cluster.kubectl("rollout", "status", "statefulset/sekisho-gateway", "-n", NAMESPACE, TIMEOUT)
        answered = load.whole()
        wait_for(lambda: load.whole() >= answered + 10, "callers are answered afterwards")
    assert all(stage.pod(pod)["metadata"]["uid"] != uid for pod, uid in before.items())
    assert (load.refusals, load.unanswered) == ([], 0)
    assert [item for item in load.answers if not item.whole] == []


def test_a_full_disk_stops_what_goes_out_until_there_is_room(stage: Stage) -> None:
    network, alone = stage.network, stage.replica(FIRST)
    ballast = stage.disks[FIRST][1] / "ballast"
    answers = [network.run(ask, alone, "say it")]
    assert answers[0].status == 200
    lives, before = restarts(stage, FIRST), stage.seen()["asked"]["say"]
    stage.on_node(FIRST, "dd", "if=/dev/zero", f"of={ballast}", "bs=64k", check=False)
    stage.on_node(FIRST, "sh", "-c", f"head -c 65536 /dev/zero >> {ballast}", check=False)
    try:
        # The last page of the journal may have room for one more entry, or for a shorter one.
        wait_for(lambda: are_refused(network, alone, answers), "the last bytes are used", pause=0)
        for refusal in answers[-5:]:
            assert (refusal.status, refusal.error["code"]) == (503, "record_unavailable")
            assert refusal.error["message"] == (
                "nothing is relayed that cannot be recorded: /var/lib/sekisho: No space left on device"
            )
            assert refusal.headers["retry-after"] == "5"
        relayed = sum(answer.status == 200 for answer in answers[1:])
        assert stage.seen()["asked"]["say"] == before + relayed, "something reached the engine without a record"
        wait_for(lambda: not stage.is_ready(FIRST), f"{FIRST} says that it is not ready")
        answers.clear()
        wait_for(lambda: others_answer(stage, answers), "the Service leads to the other replica", pause=0)
    finally:
        stage.on_node(FIRST, "rm", "-f", str(ballast))
    wait_for(lambda: stage.is_ready(FIRST), f"{FIRST} recovers")
    answer = network.run(ask, alone, "say it", stream=True)
    assert (answer.status, answer.whole) == (200, True)
    assert restarts(stage, FIRST) == lives, "it recovered by a restart"
    verify_ledger(stage, FIRST, [answer.receipt])


def refused(answer: Answer) -> Answer | None:
    return answer if answer.status != 200 else None


def are_refused(network: Network, address: Address, answers: list[Answer]) -> bool:
    """Ask; tell whether the last five were refused."""
    answers.append(network.run(ask, address, "say it", stream=bool(len(answers) % 2)))
    return len(answers) >= 5 and all(item.status != 200 for item in answers[-5:])


def others_answer(stage: Stage, answers: list[Answer]) -> bool:
    """Ask the Service; tell whether the last ten were answered."""
    answers.append(stage.network.run(ask, stage.address, "say it"))
    return len(answers) >= 10 and all(item.status == 200 for item in answers[-10:])


def restarts(stage: Stage, pod: str) -> tuple[str, int]:
    found = stage.pod(pod)
    return found["metadata"]["uid"], found["status"]["containerStatuses"][0]["restartCount"]


def test_engines_that_stall_flood_or_talk_nonsense_end_in_errors_while_others_are_served(stage: Stage) -> None:
    network, alone = stage.network, stage.replica(FIRST)
    network.run(ask, alone, "say it")
    lives, peak = restarts(stage, FIRST), read_peak(stage, FIRST)
    load = Load(alone)
    with load.running(network, callers=2):
        asked = [network.start(ask, alone, word, stream=stream, path=path) for word, stream, path, *_ in FAULTS]
        with network.streaming(alone, "flood") as flood:
            for fault, future in zip(FAULTS, asked, strict=True):
                check_fault(stage, fault, future)
            answered = load.whole()
            wait_for(lambda: load.whole() >= answered + 5, "others are served")
            assert flood.answer.status == 200  # nobody has read from it all the while
    assert (load.refusals, load.broken) == ([], [])
    assert restarts(stage, FIRST) == lives
    assert read_peak(stage, FIRST) - peak < 96 * MIB, "a replica holds what engines flood it with"
    for word in ("stall", "pause", "flood", "long-event", "long-head", "long-answer"):
        wait_for(lambda word=word: stage.seen()["left"].get(word), f"the engine's {word} is cut")  # type: ignore[misc]


def check_fault(stage: Stage, fault: tuple[str, bool, str, int, str, str], future: "Future[Answer]") -> None:
    word, stream, path, status, code, message = fault
    answer = future.result()
    told = f"{word} stream={stream} {path}: {answer.status} {answer.text[-500:]}"
    assert answer.status in ((200, 502) if status == EITHER else (status,)), told
    assert answer.whole, told
    error = answer.error
    assert error.get("code") == code, told
    assert error["message"].startswith(message.format(stage.address.model)), told
    # In the shape of the dialect: Anthropic's says twice that it is an error.
    assert (b'"type":"error"' in answer.body) == (path == MESSAGES), told


def read_peak(stage: Stage, pod: str) -> int:
    """Return the most memory that a replica's process ever held, in bytes."""
    tasks = stage.on_node(pod, "ctr", "-n", "k8s.io", "tasks", "ls").splitlines()
    process = next(line.split()[1] for line in tasks if line.startswith(stage.task(pod)))
    lines = stage.on_node(pod, "cat", f"/proc/{process}/status").splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM:"))) * 1024


def test_a_stream_outlives_a_change_of_the_law_and_of_the_certificate(stage: Stage) -> None:
    network, alone = stage.network, stage.replica(FIRST)
    mail = "say that mail goes to taro@example.test"
    assert network.run(ask, alone, mail).status == 200
    with network.streaming(alone, "tick on") as stream:
        stream.wait(3)
        with stricter_law(stage):
            refusal = wait_for(lambda: refused(network.run(ask, alone, mail)), "the next request meets the new law")
            assert (refusal.status, refusal.error["code"]) == (403, "class_above_ceiling")
            assert "mail" in refusal.error["message"]
            stream.wait(3)
        with contextlib.closing(network.run(alone.connect)) as kept:
            old = network.run(read_serial, alone)
            replace_certificate(stage)

            def is_replaced() -> bool:
                assert network.run(ask_over, alone, kept).status == 200
                return bool(network.run(read_serial, alone) != old)

            wait_for(is_replaced, "new connections get the new certificate, and old ones go on")
            assert network.run(ask_over, alone, kept).status == 200
        stream.wait(3)
        stage.seen("/end/on")
        answer = stream.finish()
    assert answer.whole
    assert answer.body.endswith(b"data: [DONE]\n\n")


def ask_over(address: Address, connection: Any) -> Answer:
    return finish(connection, send(address, connection, "say it", stream=False))


def read_serial(address: Address) -> int:
    """Return the serial number of the certificate that a new connection is shown."""
    connection = address.connect()
    try:
        secured: Any = connection.sock
        return x509.load_der_x509_certificate(secured.getpeercert(True)).serial_number
    finally:
        connection.close()


@contextlib.contextmanager
def stricter_law(stage: Stage) -> Iterator[None]:
    """Let what holds a mail address be of a compartment that nobody here may use."""
    policy = stage.installation.get("classificationpolicy", "default")["spec"]
    closed = [*policy.get("compartments", []), {"name": "people", "detect": ["contact"]}]
    patch_law(stage, "merge", {"spec": {"compartments": closed}})
    try:
        yield
    finally:
        patch_law(stage, "json", [{"op": "replace", "path": "/spec", "value": policy}])


def patch_law(stage: Stage, kind: str, patch: Any) -> None:
    stage.cluster.kubectl("patch", "classificationpolicy", "default", f"--type={kind}", "-p", json.dumps(patch))


def replace_certificate(stage: Stage) -> None:
    """Issue the gateway another certificate by the installation's own authority, as the controller does in time."""
    kubectl = stage.cluster.kubectl
    authority = decode(stage.installation.get("secret", "sekisho-ca", namespace=NAMESPACE)["data"])
    assert isinstance(authority, Pair)
    data = encode(issue(authority, "sekisho-gateway", NAMESPACE, now=datetime.now(UTC)))
    kubectl("patch", "secret", "sekisho-gateway-tls", "-n", NAMESPACE, "-p", json.dumps({"data": data}))
    # A node looks at a pod's Secrets when it looks at the pod, which a change of the pod hastens.
    kubectl("annotate", "pod", FIRST, "-n", NAMESPACE, "--overwrite", "touched=by-the-test")


def test_an_engine_is_cut_off_when_its_caller_goes(stage: Stage) -> None:
    network, before = stage.network, stage.seen()["left"]
    with network.streaming(stage.address, "tick forever") as stream:
        stream.wait(3)
    wait_for(lambda: stage.seen()["left"].get("tick", 0) > before.get("tick", 0), "the engine's stream is cut")
    connection = network.run(stage.address.connect)
    asked = stage.seen()["asked"].get("stall", 0)
    waiting = network.start(send, stage.address, connection, "stall", stream=False)
    wait_for(lambda: stage.seen()["asked"].get("stall", 0) > asked, "the engine works")
    connection.sock.shutdown(socket.SHUT_RDWR)
    with pytest.raises((OSError, http.client.HTTPException)):
        waiting.result()
    connection.close()
    wait_for(lambda: stage.seen()["left"].get("stall", 0) > before.get("stall", 0), "the engine's work is cut")


def test_a_model_that_rests_is_kept_awake_by_replicas_together_and_whatever_befalls_the_operator(
    stage: Stage,
) -> None:
    network, cluster = stage.network, stage.cluster
    stage.installation.wait_condition(RESTING, "Ready", "True", namespace=stage.namespace, reason="ScaledToZero")
    first, second = (replace(stage.replica(pod), model=f"{stage.namespace}/{RESTING}") for pod in PODS)
    before, mark, began = generation(stage), cluster.audit.mark(), time.monotonic()
    with network.streaming(first, "tick one") as one, network.streaming(second, "tick other") as other:
        kill_operator(stage)  # in the middle of the waking
        for stream in (one, other):
            network.run(wait_word, stream)
        lives = lives_of(pods_of(cluster, RESTING, namespace=stage.namespace))
        cluster.kubectl("delete", "pod", find_pod(cluster, "controller"), "-n", NAMESPACE, "--wait=false")
        stage.on_node(FIRST, "ctr", "-n", "k8s.io", "tasks", "kill", "-s", "SIGKILL", stage.task(FIRST))
        assert not network.run(one.finish).whole
        asked_at = demand(stage)["askedAt"]
        # It would be asleep by then, were the caller that is left not told of, and he alone tells.
        wait_for(lambda: parse_time(demand(stage)["askedAt"]) >= parse_time(asked_at) + RESTING_SECONDS, "time passes")
        assert demand(stage)["by"] == SECOND
        assert lives_of(pods_of(cluster, RESTING, namespace=stage.namespace)) == lives
        stage.seen("/end/other", of=RESTING)
        answer = network.run(other.finish)
        assert (answer.status, answer.whole, answer.error) == (200, True, {})
    stage.installation.wait_condition(RESTING, "Ready", "True", namespace=stage.namespace, reason="ScaledToZero")
    windows = (time.monotonic() - began) / (RESTING_SECONDS / 3) + 1
    told = [item for item in cluster.audit.writes(mark, user=GATEWAYS) if item.name == RESTING]
    assert {item.status for item in told} == {200}
    assert len(told) <= 2 * windows, "two replicas tell what one would, or a little more"
    done = [item for item in writes_of_controller(cluster, mark, namespaces=(stage.namespace,)) if RESTING in item.name]
    assert len(done) <= 24, done
    assert generation(stage) == before + 2, "it is started once and ended once"


def demand(stage: Stage) -> dict[str, str]:
    """Read when a gateway last said that the model is asked for, and which."""
    status = stage.installation.get("inferenceservice", RESTING, namespace=stage.namespace)["status"]
    found: dict[str, str] = status["demand"]
    return found


def generation(stage: Stage) -> int:
    """Read how often what the Deployment asks for was changed."""
    found = stage.installation.get("deployment", f"{RESTING}-predictor", namespace=stage.namespace)
    return int(found["metadata"]["generation"])


def wait_word(stream: Stream) -> None:
    """Wait until the engine has said something; what came before is what is awaited."""
    while b"tick " not in stream.answer.body:
        stream.wait(1)


def kill_operator(stage: Stage) -> None:
    """Kill the operator's process by force; its node starts it anew."""
    name = find_pod(stage.cluster, "controller")
    kill_process(stage.cluster, stage.installation.get("pod", name, namespace=NAMESPACE))
