"""The client of the broker: evidence for this attempt, an answer that it alone opens, no key after a doubt."""

import base64
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from sekisho.agent import broker as client
from sekisho.agent.broker import Broker, BrokerKeys, Pod
from sekisho.agent.config import ServerAddress
from sekisho.agent.release import KeyRequest, parse_request
from sekisho.agent.transport import ServerAccess
from sekisho.attest.binding import Binding, digest_bytes
from sekisho.attest.evidence import UnverifiedEvidence
from sekisho.attest.unsealing import REPORTABLE
from sekisho.errors import Reason, RefusedError, SekishoError, UnavailableError
from tests.simulators.broker import RefusedAnswerError, SimulatedBroker, other_key, serve_broker
from tests.simulators.hardware.snp import SimulatedSnp
from tests.unit.depot.parts import Keys, build_keys

NAME = "sekisho-broker.sekisho-system.svc"
KEY = bytes(range(32))
TOKEN = "release-token-of-chat-0"
POD = ("team-a", "chat-0", "uid-0")
PROOF = b'{"at":1.5,"results":[]}'
WANTED = KeyRequest(b'{"wrapped":1}', f"sha256:{'a' * 64}", "legal/reviewer", 7, "confidential+gdpr")
CHIP = SimulatedSnp()


@dataclass(frozen=True)
class ChipAttester:
    """Hardware in the pod: signs whatever it is asked to."""

    kinds: frozenset[str] = frozenset({"snp"})

    def collect(self, binding: Binding) -> tuple[UnverifiedEvidence, ...]:
        return (CHIP.evidence(binding.digest(64)),)


@dataclass
class Scene:
    server: SimulatedBroker
    broker: Broker
    folder: Path

    def refuse(self, ask: Callable[[], Any] | None = None) -> SekishoError:
        with pytest.raises(SekishoError) as caught:
            (ask or (lambda: self.broker.release(WANTED)))()
        for secret in (KEY.hex(), base64.b64encode(KEY).decode(), TOKEN):
            assert secret not in str(caught.value)
        return caught.value


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return build_keys(tmp_path_factory.mktemp("tls"), NAME)


@pytest.fixture
def scene(tls: Keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    monkeypatch.setattr(client, "_PAUSE_SECONDS", 0.01)
    (tmp_path / "token").write_text(TOKEN)
    with serve_broker(SimulatedBroker({TOKEN: POD}, KEY), tls) as server:
        access = ServerAccess(
            ServerAddress("127.0.0.1", server.port, NAME), token_file=tmp_path / "token", ca_file=tls.ca,
            what="broker", unreachable=Reason.BROKER_UNAVAILABLE, total_seconds=60.0,
        )  # fmt: skip
        yield Scene(server, Broker(access, Pod(*POD), (ChipAttester(),), lambda: PROOF), tmp_path)


def bend(purpose: str, **changes: Any) -> Callable[[str, dict[str, Any]], Any]:
    """Change fields of the answers of one purpose; None takes a field away."""

    def change(found: str, answer: dict[str, Any]) -> Any:
        if found != purpose:
            return answer
        return {name: value for name, value in (answer | changes).items() if value is not None}

    return change


def test_the_key_comes_with_its_lease_for_evidence_bound_to_everything(scene: Scene) -> None:
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    released = scene.broker.release(WANTED)
    assert bytes(released.key) == KEY
    assert released.terms.seconds == 900
    assert released.terms.policy_digest == scene.server.policy_digest
    assert before <= released.asked <= time.clock_gettime(time.CLOCK_BOOTTIME)
    (binding,) = scene.server.bindings
    assert (binding.purpose, binding.namespace, binding.pod, binding.uid) == ("release", *POD)
    assert binding.isolation_digest == digest_bytes(PROOF)
    assert binding.question_digest == digest_bytes(WANTED.encode())
    assert len(binding.public_key) == 32


def test_challenge_and_answer_share_a_connection_and_no_attempt_shares_a_key(scene: Scene) -> None:
    for _ in range(2):
        scene.broker.release(WANTED)
    (first, second) = (scene.server.answered[:2], scene.server.answered[2:])
    assert {number for _, number in first} != {number for _, number in second}
    assert [len({number for _, number in pair}) for pair in (first, second)] == [1, 1]
    one, other = scene.server.bindings
    assert one.public_key != other.public_key
    assert one.nonce != other.nonce


def test_a_lease_is_renewed_and_an_eviction_told_without_any_key(scene: Scene) -> None:
    assert scene.broker.renew(WANTED).seconds == 900
    scene.broker.tell_evicted(WANTED)
    assert [binding.public_key for binding in scene.server.bindings] == [b"", b""]
    assert [binding.purpose for binding in scene.server.bindings] == ["renew", "evicted"]


# --- answers that are not for this attempt


def replayed(scene: Scene) -> None:
    kept: dict[str, Any] = {}

    def replay(purpose: str, answer: dict[str, Any]) -> Any:
        if purpose == "release":
            kept.setdefault("answer", answer)
            return kept["answer"]
        return answer

    scene.server.bend = replay
    assert bytes(scene.broker.release(WANTED).key) == KEY


def for_another_key(scene: Scene) -> None:
    scene.server.seal_for = {"key": other_key()}


def for_another_binding(scene: Scene) -> None:
    scene.server.seal_for = {"info": b"another attempt"}


def longer_key(scene: Scene) -> None:
    scene.server.seal_for = {"plaintext": bytes(33)}


def tampered(scene: Scene) -> None:
    def flip(purpose: str, answer: dict[str, Any]) -> Any:
        if purpose == "release":
            data = bytearray(base64.b64decode(answer["ciphertext"]))
            data[3] ^= 1
            answer["ciphertext"] = base64.b64encode(data).decode()
        return answer

    scene.server.bend = flip


def bent(purpose: str, **changes: Any) -> Callable[[Scene], None]:
    def change(scene: Scene) -> None:
        scene.server.bend = bend(purpose, **changes)

    change.__name__ = f"{purpose} {', '.join(f'{name}={str(value)[:24]}' for name, value in changes.items())}"
    return change


DOES_NOT_OPEN = "the key in it does not open with the key that it was asked for with"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (replayed, DOES_NOT_OPEN),
        (for_another_key, DOES_NOT_OPEN),
        (for_another_binding, DOES_NOT_OPEN),
        (tampered, DOES_NOT_OPEN),
        (bent("release", enc=base64.b64encode(bytes(32)).decode()), DOES_NOT_OPEN),
        (longer_key, "its field ciphertext is not as it must be"),
        (bent("release", enc="AAAA"), "its field enc has 3 bytes, 32 are needed"),
        (bent("release", enc=None), "its field enc is not as it must be"),
        (bent("release", ciphertext=7), "its field ciphertext is not as it must be"),
        (bent("release", lease=None), "it names no lease"),
        (bent("release", lease={"seconds": 0, "endsAt": "x"}), "lease.seconds is 0"),
        (bent("release", lease={"seconds": 10**9, "endsAt": "x"}), "lease.seconds is 1000000000"),
        (bent("release", lease={"seconds": 900}), 'lease lacks the field "endsAt"'),
        (bent("release", lease={"seconds": 900, "endsAt": ""}), "lease.endsAt has 0 bytes"),
        (bent("release", evidenceDigest="x"), "the answer.evidenceDigest"),
        (bent("release", policyDigest=f"sha256:{'c' * 64}"), "decided by other rules than the challenge named"),
        (bent("challenge", nonce=base64.b64encode(bytes(31)).decode()), "the nonce has 31 bytes, 32 are needed"),
        (bent("challenge", nonce=None), "the challenge is not as it must be"),
        (bent("challenge", challenge=""), "the challenge.challenge has 0 bytes"),
        (bent("challenge", challenge="x" * 5000), "the challenge.challenge has 5000 bytes"),
        (bent("challenge", policyDigest="none"), "the challenge.policyDigest"),
        (bent("challenge", evidence="snp"), "the challenge.evidence is text"),
        (bent("challenge", evidence=["snp"] * 11), "has 11 items, 10 are allowed"),
        (bent("challenge", evidence=["snp", "trust-me"]), "is no kind of evidence that this agent knows"),
        (bent("challenge", evidence=[["snp"]]), "is no kind of evidence that this agent knows"),
        (bent("release", more="x" * (1 << 15)), "the answer has more than 16384 bytes"),
        (bent("challenge", more="x" * (1 << 20)), "the answer has more than 16384 bytes"),
        (lambda scene: setattr(scene.server, "bend", lambda *_: [1]), "it is not a JSON object"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_an_answer_that_is_not_for_this_attempt_gives_no_key(
    scene: Scene, change: Callable[[Scene], None], message: str
) -> None:
    change(scene)
    error = scene.refuse()
    assert (error.reason, error.retry) == (Reason.BROKER_UNAVAILABLE, True)
    assert message in error.message
    assert "see whether the pods behind Service sekisho-broker in namespace sekisho-system run" in error.message


# --- replicas that come and go


@pytest.mark.parametrize("ask", ["release", "renew", "tell_evicted"])
def test_a_challenge_that_another_replica_made_is_asked_for_anew(scene: Scene, ask: str) -> None:
    scene.server.forget = 2
    getattr(scene.broker, ask)(WANTED)
    assert scene.server.count("challenge") == 3


@pytest.mark.slow
def test_replicas_that_never_know_a_challenge_are_asked_a_bounded_number_of_times(scene: Scene) -> None:
    scene.server.forget = 1000
    error = scene.refuse()
    assert (error.reason, error.retry) == (Reason.BROKER_UNAVAILABLE, True)
    assert "no replica of the broker knew its own challenge in 4 attempts; see whether" in error.message
    assert scene.server.count("challenge") == 4


@pytest.mark.slow
@pytest.mark.parametrize("lost", ["challenge", "release"])
def test_a_replica_that_dies_before_it_answers_is_left_for_another(scene: Scene, lost: str) -> None:
    scene.server.drop = [lost, lost]
    assert bytes(scene.broker.release(WANTED).key) == KEY
    scene.server.drop = [lost] * 4
    error = scene.refuse()
    assert (error.reason, error.retry) == (Reason.BROKER_UNAVAILABLE, True)
    assert "cannot be used" in error.message


@pytest.mark.slow
def test_a_replica_that_lets_no_connection_in_is_left_soon(scene: Scene) -> None:
    """A replica that is gone swallows what opens a connection, until the Service forgets it."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, contextlib.ExitStack() as held:
        where = full.getsockname()
        for _ in range(2):  # nobody accepts: the queue is full, and what comes then is dropped by the kernel
            waiting = held.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(where)
        address = ServerAddress("127.0.0.1", where[1], NAME)
        quick = replace(scene.broker, access=replace(scene.broker.access, connect_seconds=0.2, address=address))
        error = scene.refuse(lambda: quick.release(WANTED))
    assert (error.reason, error.retry) == (Reason.BROKER_UNAVAILABLE, True)
    assert "cannot be used: no connection within 0.2 s" in error.message


@pytest.mark.slow
def test_a_slow_broker_is_left_after_a_bounded_time(scene: Scene) -> None:
    scene.server.slow_seconds = 1.0
    quick = replace(scene.broker, access=replace(scene.broker.access, total_seconds=0.3))
    error = scene.refuse(lambda: quick.release(WANTED))
    assert (error.reason, error.retry) == (Reason.BROKER_UNAVAILABLE, True)
    assert "no whole answer within 0 s" in error.message


@pytest.mark.slow
def test_a_broker_that_sends_byte_by_byte_is_left_after_a_bounded_time(scene: Scene, tls: Keys) -> None:
    import ssl  # noqa: PLC0415

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls.certificate, tls.key)
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def trickle() -> None:
            while not over.is_set():
                try:
                    raw, _ = listener.accept()
                    with context.wrap_socket(raw, server_side=True) as peer:
                        peer.recv(65536)
                        for sign in b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n" + b" " * 9999:
                            peer.sendall(bytes([sign]))
                            time.sleep(0.02)
                except OSError:
                    continue

        thread = threading.Thread(target=trickle, daemon=True)
        thread.start()
        address = ServerAddress("127.0.0.1", listener.getsockname()[1], NAME)
        quick = replace(scene.broker, access=replace(scene.broker.access, total_seconds=0.3, address=address))
        error = scene.refuse(lambda: quick.release(WANTED))
        over.set()
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(60)
    assert "no whole answer within 0 s" in error.message


# --- refusals


def refuses(reason: str, status: int = 403, message: str = "not so") -> Callable[[str], None]:
    def refuse(purpose: str) -> None:
        if purpose != "challenge":
            raise RefusedAnswerError(status, reason, message)

    return refuse


@pytest.mark.parametrize(
    ("status", "reason", "retry"),
    [
        (403, "ReleaseNotGranted", False),
        (403, "TcbTooOld", False),
        (403, "EvidenceNotBound", False),
        (503, "KmsUnavailable", True),
        (429, "Overloaded", True),
    ],
)
def test_a_refusal_comes_with_the_brokers_reason(scene: Scene, status: int, reason: str, retry: bool) -> None:
    scene.server.refuse = refuses(reason, status)
    error = scene.refuse()
    assert (error.reason, error.retry, error.message) == (Reason(reason), retry, "not so")
    assert scene.server.count("challenge") == (4 if retry else 1)


def test_a_token_of_nobody_and_a_pod_that_is_another_get_nothing(scene: Scene) -> None:
    (scene.folder / "token").write_text("stolen")
    assert scene.refuse().reason is Reason.UNAUTHENTICATED
    scene.server.tokens["stolen"] = ("team-a", "chat-1", "uid-1")
    error = scene.refuse()
    assert (error.reason, error.message) == (
        Reason.EVIDENCE_NOT_BOUND, "the evidence was not made for this challenge",
    )  # fmt: skip


def test_evidence_of_another_attempt_is_worth_nothing(scene: Scene) -> None:
    old = CHIP.evidence(Binding("release", bytes(32), bytes(32), *POD, "", "", "").digest(64))

    class Replaying:
        kinds = frozenset({"snp"})

        def collect(self, _binding: Binding) -> tuple[UnverifiedEvidence, ...]:
            return (old,)

    error = scene.refuse(lambda: replace(scene.broker, attesters=(Replaying(),)).release(WANTED))
    assert error.reason is Reason.EVIDENCE_NOT_BOUND


def test_a_pod_without_evidence_or_without_a_proof_asks_for_no_key(scene: Scene) -> None:
    error = scene.refuse(lambda: replace(scene.broker, attesters=()).release(WANTED))
    assert (error.reason, error.retry) == (Reason.EVIDENCE_MISSING, False)
    assert "wants evidence (snp, tdx, tpm)" in error.message

    def no_proof() -> bytes:
        raise UnavailableError(Reason.ISOLATION_NOT_PROVEN, "the depot has not accepted a proof yet")

    error = scene.refuse(lambda: replace(scene.broker, proof=no_proof).release(WANTED))
    assert (error.reason, error.retry) == (Reason.ISOLATION_NOT_PROVEN, True)
    assert scene.server.count("release") == 0


def test_a_broker_of_another_authority_or_name_is_not_spoken_to(scene: Scene, tmp_path: Path) -> None:
    other = build_keys(tmp_path / "other", NAME)
    elsewhere = ServerAddress("127.0.0.1", scene.server.port, "elsewhere.svc")
    for change in ({"ca_file": other.ca}, {"address": elsewhere}, {"token_file": tmp_path / "none"}):
        access = replace(scene.broker.access, **change)  # type: ignore[arg-type]
        error = scene.refuse(lambda access=access: replace(scene.broker, access=access).release(WANTED))
        assert error.reason is Reason.BROKER_UNAVAILABLE
    assert scene.server.answered == []


# --- as a source of keys


def test_a_key_is_used_once_its_lease_is_kept(scene: Scene) -> None:
    kept: list[Any] = []

    def take(*words: Any) -> bool:
        kept.append(words)
        return True

    assert bytes(BrokerKeys(scene.broker, take).ask(WANTED)) == KEY
    assert kept[0][0] == WANTED
    assert kept[0][1].seconds == 900


def test_a_key_whose_lease_cannot_be_kept_is_wiped(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    released = scene.broker.release(WANTED)
    monkeypatch.setattr(Broker, "release", lambda *_: released)
    with pytest.raises(UnavailableError, match="an earlier lease is still ending") as caught:
        BrokerKeys(scene.broker, lambda *_: False).ask(WANTED)
    assert caught.value.reason is Reason.WEIGHTS_PENDING
    assert not any(released.key)


@pytest.mark.parametrize(
    ("status", "reason", "told", "message"),
    [
        (403, "PodNotKnown", Reason.KEY_DENIED, "the broker refuses this pod: PodNotKnown: not so"),
        (503, "ApiUnavailable", Reason.BROKER_UNAVAILABLE, "the broker cannot answer: ApiUnavailable: not so"),
        (403, "GrantExpired", Reason.GRANT_EXPIRED, "not so"),
    ],
)
def test_a_source_of_keys_refuses_with_what_the_pod_can_report(
    scene: Scene, status: int, reason: str, told: Reason, message: str
) -> None:
    scene.server.refuse = refuses(reason, status)
    error = scene.refuse(lambda: BrokerKeys(scene.broker, lambda *_: True).ask(WANTED))
    assert (error.reason, error.message) == (told, message)
    assert error.reason in REPORTABLE


def test_a_question_is_read_as_it_was_spelt_and_no_other_way() -> None:
    assert parse_request(WANTED.encode()) == WANTED
    for data in (b"{}", b"[]", WANTED.encode() + b" ", WANTED.encode().replace(b"legal", b"legal\\n")):
        with pytest.raises(RefusedError) as caught:
            parse_request(data)
        assert caught.value.reason is Reason.SEAL_INVALID
