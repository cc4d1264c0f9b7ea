"""Two replicas of one service behind a gateway, over real sockets: failures, load, and the record of who was asked."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from sekisho.gateway.choosing.polling import Poller, PollLimits
from tests.unit.gateway.engine import Engine, begin_stream, chunk_of, spell_event
from tests.unit.gateway.house import MODEL, House, build_chat, build_house, build_pod, build_service


@pytest.fixture
async def second() -> AsyncIterator[Engine]:
    async with Engine(host="127.0.0.2") as engine:
        yield engine


@pytest.fixture
async def both(tmp_path: Path, second: Engine) -> AsyncIterator[House]:
    async with build_house(tmp_path) as house:
        put_second(house, second)
        await house.settle(lambda: reach_both(house, second), what="both replicas to be asked")
        house.engine.requests.clear()
        second.requests.clear()
        yield house


def put_second(house: House, second: Engine, **how: Any) -> None:
    pod = build_pod(build_service(), "contract-review-predictor-1", address=second.host, port=second.port, **how)
    house.api.put("pods", pod)


async def reach_both(house: House, second: Engine) -> bool:
    for number in range(8):
        await house.chat(say(number))
    return bool(house.engine.requests and second.requests)


def say(number: int, **fields: Any) -> dict[str, Any]:
    return build_chat(messages=[{"role": "user", "content": f"conversation {number}"}], **fields)


async def test_a_conversation_stays_at_one_of_them_and_many_are_shared_out(both: House, second: Engine) -> None:
    for number in range(16):
        for _ in range(2):
            assert (await both.chat(say(number))).status == 200
    ours, theirs = ([body["messages"][0]["content"] for _, body in e.requests] for e in (both.engine, second))
    assert ours
    assert theirs
    assert not set(ours) & set(theirs)


async def test_where_one_is_down_every_request_is_answered_by_the_other(both: House, second: Engine) -> None:
    await second.stop()
    answers = await asyncio.gather(*(both.chat(say(number)) for number in range(16)))
    assert {answer.status for answer in answers} == {200}
    assert len(both.engine.requests) == 16
    entries = await both.entries()
    moved = [item["tries"] for item in entries if item["kind"] == "completion" and len(item["tries"]) > 1]
    assert moved
    assert moved[0] == [
        {"name": "contract-review-predictor-1", "reason": "UpstreamFailed"},
        {"name": "contract-review-predictor-0"},
    ]
    backends = [item["backend"] for item in entries if item.get("decision") == "relayed"][-16:]
    assert {tuple(sorted(item["candidates"])) for item in backends} >= {
        ("contract-review-predictor-0", "contract-review-predictor-1")
    }


async def test_one_that_takes_no_more_passes_its_requests_on(both: House, second: Engine) -> None:
    async def refuse(_: Engine, __: web.Request, ___: Any) -> web.StreamResponse:
        return web.json_response({"error": {"message": "full"}}, status=503)

    second.behave = refuse
    answers = [await both.chat(say(number)) for number in range(12)]
    assert {answer.status for answer in answers} == {200}
    both.engine.behave = refuse
    answer = await both.chat(say(0))
    assert (answer.status, answer.code) == (429, "overloaded")


@pytest.mark.parametrize("stream", [False, True])
async def test_a_request_that_an_engine_has_begun_is_never_sent_to_another(
    both: House, second: Engine, stream: bool
) -> None:
    async def hang_up(_: Engine, request: web.Request, body: Any) -> web.StreamResponse:
        if stream:
            response = await begin_stream(request)
            await response.write(spell_event(chunk_of("a", body["model"])))
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    both.engine.behave = second.behave = hang_up
    answer = await both.chat(say(1, stream=stream))
    if stream:
        assert json.loads(answer.text.strip().split("\n\n")[-1].removeprefix("data: "))["error"]["code"] == (
            "upstream_failed"
        )
    else:
        assert (answer.status, answer.code) == (502, "upstream_failed")
    assert len(both.engine.requests) + len(second.requests) == 1


@pytest.mark.parametrize(
    ("how", "rule"),
    [
        ({"labels": {"sekisho.dev/classification": "internal"}}, "class"),
        ({"labels": {"sekisho.dev/site": "owncloud"}}, "site"),
        ({"conditions": {"sekisho.dev/isolated": None}}, "isolation"),
        ({"conditions": {"sekisho.dev/key-released": {"status": "False"}}}, "key"),
        ({"conditions": {"Ready": {"status": "False"}}}, "readiness"),
    ],
)  # fmt: skip
async def test_one_that_may_not_answer_is_not_asked_even_where_nobody_else_can(
    both: House, second: Engine, how: dict[str, Any], rule: str
) -> None:
    put_second(both, second, **how)

    async def is_out() -> bool:
        await both.chat(say(0))
        entries = await both.entries()
        last = [item["backend"] for item in entries if item.get("decision") == "relayed"][-1]
        return bool(last["excluded"] == {"contract-review-predictor-1": rule})

    await both.settle(is_out, what="the change to arrive")
    await both.engine.stop()
    second.requests.clear()
    for number in range(4):
        answer = await both.chat(say(number))
        assert (answer.status, answer.code) == (502, "upstream_failed")
        assert answer.message == f"the engine of {MODEL} could not be reached; try again shortly"
    assert not second.requests


async def test_replicas_are_told_apart_while_one_is_starting_and_the_service_is_not_ready(
    both: House, second: Engine
) -> None:
    put_second(both, second, conditions={"Ready": {"status": "False"}})
    service = build_service()
    service["status"]["conditions"] = [
        {"type": "Accepted", "status": "True", "reason": "Accepted"},
        {"type": "Placed", "status": "True", "reason": "Placed"},
        {"type": "Isolated", "status": "Unknown", "reason": "IsolationPending", "message": "not yet"},
        {"type": "Ready", "status": "False", "reason": "EngineStarting", "message": "1 of 2"},
    ]
    both.api.put("inferenceservices", service)
    answers = [await both.chat(say(number)) for number in range(8)]
    assert {answer.status for answer in answers} == {200}


@pytest.mark.slow
async def test_engines_that_share_requests_are_asked_for_their_load(both: House, second: Engine) -> None:
    both.engine.metrics = b"llamacpp:requests_processing 2\nllamacpp:requests_deferred 9\n"
    second.metrics = b"llamacpp:requests_processing 0\nllamacpp:requests_deferred 0\n"

    async def is_left_alone() -> bool:
        both.engine.requests.clear()
        for number in range(8):
            await both.chat(say(number))
        return not both.engine.requests

    await both.settle(is_left_alone, what="the load to be known")
    assert len(second.requests) >= 8


def test_a_poller_that_would_be_too_slow_is_refused() -> None:
    with pytest.raises(ValueError, match="would be stale"):
        Poller(None, None, PollLimits(every_seconds=20.0))  # type: ignore[arg-type]
