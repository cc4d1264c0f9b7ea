"""Bodies that cannot be read, tokens that are none, and what is answered to them."""

import asyncio
import functools
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sekisho.trust.identity import Doorman
from tests.simulators.tpm.simulated import SimulatedTpm
from tests.unit.trust.house import House, open_house, settle, spell_policy


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path) as made:
        made.api.put("evidencepolicies", spell_policy(SimulatedTpm(made.maker)))
        await settle(lambda: made.running.policy.is_there)
        yield made


async def ask(house: House, what: str, body: Any, *, token: str = "") -> tuple[int, dict[str, Any]]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()

    def send() -> tuple[int, dict[str, Any]]:
        url = f"https://127.0.0.1:{house.running.https_port}{what}"
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        request = urllib.request.Request(url, data=data, headers=headers, method="POST")
        context = ssl.create_default_context(cafile=str(house.tls.ca))
        try:
            with urllib.request.urlopen(request, timeout=60, context=context) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())

    return await asyncio.to_thread(send)


async def test_without_a_token_nothing_is_answered(house: House) -> None:
    status, said = await ask(house, "/v1/nodes/challenge", {"node": "n1"})
    assert (status, said["reason"]) == (401, "Unauthenticated")
    assert said["message"] == "the request carries no bearer token"


@pytest.mark.parametrize(
    ("what", "body", "told"),
    [
        ("challenge", b"{", "it is not JSON"),
        ("challenge", b"[" * 60_000, "it is not JSON"),
        ("challenge", [], "it is not an object of node"),
        ("challenge", {"node": "n1", "more": 1}, "it is not an object of node"),
        ("attest", {"challenge": "x"}, "it is not an object of challenge, evidence"),
        ("attest", {"challenge": 7, "evidence": []}, '"challenge" is not a text of at most 64 characters'),
        ("attest", {"challenge": "x" * 65, "evidence": []}, '"challenge" is not a text of at most 64 characters'),
        ("activate", {"enrolment": "x", "proof": "!"}, '"proof" is not base64'),
        ("activate", {"enrolment": "x", "proof": 7}, '"proof" is not base64 of at most 16384 characters'),
        ("enrol", {"node": "n1", "akPublic": "", "ekPublic": "", "certificates": {}}, '"certificates" is not a list'),
        ("enrol", {"node": "n1", "akPublic": "", "ekPublic": "", "certificates": [""] * 9}, "not a list of at most 8"),
        ("enrol", {"node": "n1", "akPublic": "A" * 16_388, "ekPublic": "", "certificates": []}, "at most 16384"),
    ],
)
async def test_a_body_that_cannot_be_read_is_refused(house: House, what: str, body: Any, told: str) -> None:
    status, said = await ask(house, f"/v1/nodes/{what}", body, token=house.api.add_attester("n1"))
    assert (status, said["reason"]) == (400, "RequestInvalid")
    assert told in said["message"]


async def test_a_body_that_is_too_large_is_not_read(house: House) -> None:
    status, said = await ask(house, "/v1/nodes/attest", b" " * 800_000, token=house.api.add_attester("n1"))
    assert (status, said["reason"]) == (413, "RequestTooLarge")


async def test_there_is_nothing_elsewhere(house: House) -> None:
    status, said = await ask(house, "/v1/nodes", {}, token=house.api.add_attester("n1"))
    assert (status, said["message"]) == (404, "there is nothing at POST /v1/nodes")


async def test_an_enrolment_of_what_is_no_key_is_refused(house: House) -> None:
    body = {"node": "n1", "akPublic": "AAAA", "ekPublic": "AAAA", "certificates": ["AAAA"]}
    status, said = await ask(house, "/v1/nodes/enrol", body, token=house.api.add_attester("n1"))
    assert (status, said["reason"]) == (400, "EvidenceInvalid")


async def test_a_challenge_is_for_the_node_that_asked_and_evidence_without_one_is_refused(house: House) -> None:
    mine, other = house.api.add_attester("n1"), house.api.add_attester("n2")
    _, asked = await ask(house, "/v1/nodes/challenge", {"node": "n1"}, token=mine)
    answer = {"challenge": asked["challenge"], "evidence": []}
    status, said = await ask(house, "/v1/nodes/attest", answer, token=other)
    assert (status, said["reason"]) == (409, "ChallengeUnknown")
    status, said = await ask(house, "/v1/nodes/attest", answer, token=mine)
    assert (status, said["reason"]) == (400, "EvidenceInvalid")
    status, said = await ask(house, "/v1/nodes/attest", answer, token=mine)
    assert (status, said["reason"]) == (409, "ChallengeUnknown")


async def test_a_node_that_is_not_there_yet_may_ask_again(house: House) -> None:
    status, said = await ask(house, "/v1/nodes/challenge", {"node": "n9"}, token=house.api.add_attester("n9"))
    assert (status, said["reason"]) == (503, "ApiUnavailable")
    assert said["message"] == "node n9 is not known yet; ask again"


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let all that is asked be asked at one moment, however long it takes."""
    monkeypatch.setattr("sekisho.trust.process.Doorman", functools.partial(Doorman, clock=lambda: 0.0))


async def test_who_asks_too_often_is_sent_away(at_once: None, house: House) -> None:
    token = house.api.add_attester("n1")
    answers = [await ask(house, "/v1/nodes/challenge", {"node": "n1"}, token=token) for _ in range(25)]
    assert {status for status, _ in answers} == {200, 429}
    assert house.api.requests.count("TokenReview") == 1
