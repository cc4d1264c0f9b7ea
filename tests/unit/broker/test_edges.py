"""Bodies that are not as they must be, pods that go away, and more than anybody can do at once."""

import asyncio
import base64
import json
import threading
from typing import Any

import pytest

from sekisho.attest.claims import Claims
from sekisho.attest.evidence import UnverifiedEvidence
from sekisho.broker import announcing, verifying
from sekisho.broker.announcing import Announcer
from sekisho.broker.verifying import Verifier
from sekisho.broker.wire import encode_body, parse_ask, parse_proof_body
from sekisho.errors import Reason, RefusedError, UnavailableError
from sekisho.kube.conditions import PodCondition
from sekisho.seal.canonical import encode_canonical
from tests.unit.attest.claims import NOW, SNP
from tests.unit.broker.parts import Agent, Raw, World


async def build_body() -> Raw:
    world = World()
    agent = Agent(world)
    return agent.build_answer(await agent.ask(world.build_broker()), await agent.identify())


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "isolation that is no text": ({"isolation": 7}, "the request.isolation is not text"),
    "isolation that is too long": ({"isolation": "x" * 65537}, "has 65537 bytes, 65536 are allowed"),
    "a key of another length": ({"key": base64.b64encode(b"k" * 31).decode()}, "has 31 bytes, 32 are needed"),
    "no key": ({"key": None}, "the request.key is null"),
    "no evidence": ({"evidence": []}, "evidence is not a list of 1 to 24 pieces"),
    "a challenge that is too long": ({"challenge": "c" * 65}, "has 65 bytes, 1 to 64 are allowed"),
    "a field more": ({"more": 1}, "which this format does not know"),
    "a question that is none": ({"question": 7}, "the question is a number, an object is needed"),
}


@pytest.mark.parametrize("case", WRONG)
async def test_a_body_that_is_not_as_it_must_be_is_refused_by_its_first_fault(case: str) -> None:
    change, message = WRONG[case]
    with pytest.raises(RefusedError, match=message):
        parse_proof_body(encode_canonical(await build_body() | change), purpose="release")


async def test_a_body_of_signs_that_are_none_is_not_read() -> None:
    body = json.dumps(await build_body() | {"isolation": "\ud800"}, sort_keys=True, separators=(",", ":"))
    with pytest.raises(RefusedError, match="has no canonical spelling as JSON") as caught:
        parse_proof_body(body.encode(), purpose="release")
    assert caught.value.reason is Reason.SEAL_INVALID


async def test_parts_of_a_body_may_be_as_long_as_they_are_allowed() -> None:
    body = await build_body()
    key_file = "A" * (4 * 21846)
    proof = parse_proof_body(
        encode_canonical(body | {"isolation": "x" * 65536, "challenge": "c" * 64}), purpose="release"
    )
    assert (len(proof.isolation), len(proof.challenge)) == (65536, 64)
    question = body["question"] | {"model": "m" * 255, "version": 1, "class": "c" * 1024}
    context = parse_ask(encode_canonical({"purpose": "release", "question": question})).question.context
    assert (len(context.model), context.version, len(context.data_class)) == (255, 1, 1024)
    with pytest.raises(RefusedError) as caught:
        parse_ask(encode_canonical({"purpose": "release", "question": question | {"keyFile": key_file}}))
    assert caught.value.message == "sekisho.key.json has 65538 bytes, 65536 are allowed"


@pytest.mark.parametrize(
    ("purpose", "message"),
    [
        ("anything", "purpose is not one of release, renew, evicted"),
        ("p" * 16, "purpose is not one of release, renew, evicted"),
        ("p" * 17, "the request.purpose has 17 bytes, 1 to 16 are allowed"),
    ],
)
async def test_a_purpose_of_nobody_is_refused(purpose: str, message: str) -> None:
    with pytest.raises(RefusedError) as caught:
        parse_ask(encode_canonical({"purpose": purpose, "question": (await build_body())["question"]}))
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("size", "message"), [(1 << 20, "is not JSON"), ((1 << 20) + 1, "has 1048577 bytes, 1048576 are")]
)
def test_a_body_has_up_to_a_mebibyte(size: int, message: str) -> None:
    for read in (parse_ask, lambda data: parse_proof_body(data, purpose="renew")):
        with pytest.raises(RefusedError, match=message):
            read(b" " * size)


def test_an_answer_is_spelt_canonically() -> None:
    assert encode_body({"b": 1, "a": "é"}) == '{"a":"é","b":1}'.encode()


async def test_a_question_is_read_strictly() -> None:
    question = (await build_body())["question"]
    for change, message in (
        ({"keyFile": "!"}, "is not base64"),
        ({"keyFile": "A" * (4 * 21846 + 1)}, "has 87385 bytes, 1 to 87384 are allowed"),
        ({"model": "m" * 256}, "has 256 bytes, 1 to 255 are allowed"),
        ({"class": "c" * 1025}, "has 1025 bytes, 1 to 1024 are allowed"),
        ({"class": "secret+b+a"}, 'the question.class is "secret'),
        ({"version": 0}, "is 0"),
        ({"manifestDigest": "sha256:1"}, "not spelt as this format asks"),
        ({"class": ""}, "has 0 bytes"),
    ):
        with pytest.raises(RefusedError, match=message):
            parse_ask(encode_canonical({"purpose": "release", "question": question | change}))


async def test_a_key_is_no_part_of_a_renewal() -> None:
    with pytest.raises(RefusedError, match='has the field "key"'):
        parse_proof_body(encode_canonical(await build_body()), purpose="renew")


async def test_a_pod_that_goes_away_meanwhile_leaves_an_end_on_record() -> None:
    world = World()
    broker, agent = world.build_broker(), Agent(world)
    reached, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        reached.set()
        go_on.wait(60)

    world.vault.before = wait
    task = asyncio.create_task(agent.get(broker))
    await asyncio.to_thread(reached.wait, 60)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go_on.set()
    await broker.settle()
    assert [(item["kind"], item["id"], item.get("ended")) for item in world.book.entries] == [
        ("release", world.book.entries[0]["id"], None),
        ("release-end", world.book.entries[0]["id"], "cancelled"),
    ]


async def test_more_evidence_than_can_be_verified_is_sent_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifying, "_MOST_WAITING", 1)
    go_on = threading.Event()
    verifier = Verifier(lambda _piece, _at, _enrolled: (go_on.wait(60), SNP)[1], threads=1)
    piece = UnverifiedEvidence("snp", b"")
    first = asyncio.create_task(verifier.verify([piece], at=NOW, enrolled=frozenset()))
    await asyncio.sleep(0)
    with pytest.raises(UnavailableError, match="1 requests wait for their evidence's verification") as caught:
        await verifier.verify([piece], at=NOW, enrolled=frozenset())
    assert caught.value.reason is Reason.OVERLOADED
    go_on.set()
    assert await first == (SNP,)
    verifier.close()


async def test_short_evidence_is_verified_in_place_and_long_evidence_in_a_thread() -> None:
    threads: list[threading.Thread] = []

    def verify(piece: UnverifiedEvidence, _at: object, _enrolled: object) -> Claims:
        threads.append(threading.current_thread())
        if piece.kind == "tdx":
            raise RefusedError(Reason.EVIDENCE_UNTRUSTED, "the signature does not hold")
        return SNP

    verifier = Verifier(verify, threads=1)
    most = UnverifiedEvidence("snp", bytes(4096), (bytes(2048),), (("eventLog", bytes(2048)),))
    one = UnverifiedEvidence("snp", b"1")
    for pieces, here in (([one], True), ([most], True), ([most, one], False)):
        threads.clear()
        assert await verifier.verify(pieces, at=NOW, enrolled=frozenset()) == (SNP,) * len(pieces)
        assert [thread is threading.current_thread() for thread in threads] == [here] * len(pieces)
    for size in (1, 9000):
        with pytest.raises(RefusedError, match="the signature does not hold") as caught:
            await verifier.verify([UnverifiedEvidence("tdx", bytes(size))], at=NOW, enrolled=frozenset())
        assert caught.value.reason is Reason.EVIDENCE_UNTRUSTED
    verifier.close()


async def test_conditions_that_pile_up_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(announcing, "_MOST", 1)
    world, lost = World(), []
    announcer = Announcer(world.cluster, lost=lambda: lost.append(1))
    pod = await Agent(world).identify()
    condition = PodCondition("sekisho.dev/attested", True, Reason.ATTESTED, "", 0.0, 0.0)
    announcer.announce(pod, [])
    announcer.announce(pod, [condition])
    announcer.announce(pod, [condition])
    assert len(lost) == 1
    await announcer.settle()
    assert len(world.api.patches) == 1
    world.pod()["metadata"]["uid"] = "another"
    announcer.announce(pod, [condition])
    await announcer.settle()
    assert len(lost) == 2
