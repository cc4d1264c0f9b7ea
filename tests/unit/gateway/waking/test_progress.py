# ruff: noqa: PLC0415 - the clients take seconds to import, and every worker collects every test
"""A caller who waits for a stream hears what is awaited, and real clients read over it."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from sekisho.gateway.waking.progress import Progress, spell_comment
from tests.unit.gateway.callers import load_clients, open_anthropic, open_openai
from tests.unit.gateway.engine import WORDS
from tests.unit.gateway.house import MODEL, House, build_chat
from tests.unit.gateway.waking.resting_house import build_resting, resting_house, stand_up

OFTEN = {"wake_seconds": 300, "wake_progress_seconds": 0.05}
# The first comment goes out before the first look at the clock, so that no machine is too slow for it.
BRIEFLY = {"wake_seconds": 0.5, "wake_progress_seconds": 1e-6}
STARTING = build_resting(reason="EngineStarting", message="pods are\nstarting")
ASKED: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": build_chat(stream=True),
    "/v1/completions": {"model": MODEL, "prompt": "x", "stream": True},
    "/v1/responses": {"model": MODEL, "input": "x", "stream": True, "store": False},
    "/v1/messages": {
        "model": MODEL, "max_tokens": 9, "messages": [{"role": "user", "content": "x"}], "stream": True,
    },
}  # fmt: skip


async def test_a_stream_begins_with_what_is_awaited_and_goes_on_with_the_answer(tmp_path: Path) -> None:
    async with resting_house(tmp_path, service=STARTING, **OFTEN) as house:
        headers = {"Authorization": f"Bearer {house.token}"}
        url = f"{house.url}/v1/chat/completions"
        async with house.session.post(url, json=build_chat(stream=True), headers=headers) as answer:
            assert (answer.status, answer.content_type) == (200, "text/event-stream")
            held = answer.headers["sekisho-receipt"]
            first = await answer.content.readline()
            assert first == b": pods are starting\n"
            assert house.engine.requests == []
            stand_up(house)
            text = (await answer.text()).lstrip().split("\n\n")
        comments = [item for item in text if item.startswith(": ")]
        events = [json.loads(item[6:]) for item in text if item.startswith("data: {")]
        assert set(comments[:-1]) <= {": pods are starting"}
        assert comments[-1].startswith(": sekisho-receipt: ")
        assert held not in comments[-1]
        said = "".join(item["choices"][0]["delta"].get("content") or "" for item in events if item["choices"])
        assert said == "".join(WORDS)
        requests = [item for item in await house.entries() if item["kind"] == "request"]
        assert [item["decision"] for item in requests] == ["held", "relayed"]
        assert len({item["id"] for item in requests}) == 1
        assert "backend" not in requests[0]
        assert requests[1]["backend"]["name"] == "contract-review-predictor-0"


@pytest.mark.parametrize("path", ASKED)
async def test_a_stream_that_has_begun_ends_with_an_error_of_its_dialect(path: str, tmp_path: Path) -> None:
    async with resting_house(tmp_path, service=STARTING, **BRIEFLY) as house:
        answer = await house.send(path, json=ASKED[path])
        assert answer.status == 200
        assert answer.text.startswith(": pods are starting\n\n")
        last = next(item for item in answer.text.split("\n\n") if not item.startswith(": "))
        assert "the request waited 0.5 s for it; ask again shortly" in last
        assert "model_not_ready" in last
        assert last.startswith("data: {" if path in ("/v1/chat/completions", "/v1/completions") else "event: error\n")
        entries = await house.entries()
        assert [(item["decision"], item.get("status")) for item in entries] == [("held", None), ("refused", 200)]


async def test_an_answer_that_is_no_stream_tells_nothing_before_its_end(tmp_path: Path) -> None:
    async with resting_house(tmp_path, service=STARTING, **BRIEFLY) as house:
        answer = await house.chat()
        assert (answer.status, answer.code) == (503, "model_not_ready")
        assert [item["decision"] for item in await house.entries()] == ["refused"]


async def fail_later(house: House) -> None:
    """Have the model stand up with an engine that nobody reaches."""
    await house.engine.stop()
    stand_up(house)


async def test_an_engine_that_fails_once_it_is_awake_is_the_last_event(tmp_path: Path) -> None:
    async with resting_house(tmp_path, service=STARTING, **OFTEN) as house:
        headers = {"Authorization": f"Bearer {house.token}"}
        url = f"{house.url}/v1/chat/completions"
        async with house.session.post(url, json=build_chat(stream=True), headers=headers) as answer:
            await answer.content.readline()
            await fail_later(house)
            text = await answer.text()
        assert "upstream_failed" in text.split("\n\n")[-2]
        ended = next(item for item in await house.entries() if item["kind"] == "completion")
        assert (ended["ended"], ended["status"], ended["reason"]) == ("failed", 200, "UpstreamFailed")


class Heard:
    """A sink that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    async def begin(self, status: int, content_type: str, **how: Any) -> None:
        self.told.append((status, content_type, how.get("headers")))

    async def write(self, data: bytes) -> None:
        self.told.append(data)

    def push(self, data: bytes) -> bool:
        self.told.append(data)
        return True

    async def end(self) -> None:
        self.told.append(None)


async def test_nothing_is_told_where_that_the_request_is_held_cannot_be_recorded() -> None:
    async def fail() -> dict[str, str]:
        raise RuntimeError("the disk is full")

    heard = Heard()
    progress = Progress(heard, fail, every_seconds=0.0)
    with pytest.raises(RuntimeError):
        await progress.tell("x")
    assert (heard.told, progress.has_begun) == ([], False)


async def test_a_moment_passes_before_anything_is_told_and_an_answer_may_begin_as_it_likes() -> None:
    async def record() -> dict[str, str]:
        raise AssertionError("it is not time yet")

    heard = Heard()
    progress = Progress(heard, record, every_seconds=3600.0)
    await progress.tell("x")
    await progress.begin(503, "application/json", length=2, headers={"a": "b"})
    assert heard.told == [(503, "application/json", {"a": "b"})]


@pytest.mark.parametrize("text", ["a\nb", "a\r\nb", "a\x85b\u2028", "x" * 5000, "\ud800", "日本"])
def test_a_comment_is_one_line_whatever_stands_in_it(text: str) -> None:
    spelt = spell_comment(text)
    assert spelt.startswith(b": ")
    assert spelt.endswith(b"\n\n")
    assert len(spelt[:-2].decode().splitlines()) == 1
    assert len(spelt) < 4096


@pytest.mark.slow
async def test_the_openai_client_reads_over_what_is_told_and_raises_the_last_event(tmp_path: Path) -> None:
    await asyncio.to_thread(load_clients)
    import openai

    async with resting_house(tmp_path, service=STARTING, **OFTEN) as house, open_openai(house) as client:
        asked: Any = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], "stream": True}
        stream = await client.chat.completions.create(**asked)
        stand_up(house)
        said = [item.choices[0].delta.content or "" async for item in stream if item.choices]
        assert "".join(said) == "".join(WORDS)
    async with resting_house(tmp_path / "late", service=STARTING, **BRIEFLY) as house, open_openai(house) as client:
        stream = await client.chat.completions.create(**asked)
        with pytest.raises(openai.APIError) as failed:
            _ = [item async for item in stream]
        assert failed.value.code == "model_not_ready"


@pytest.mark.slow
async def test_the_anthropic_client_reads_over_what_is_told_and_raises_the_last_event(tmp_path: Path) -> None:
    await asyncio.to_thread(load_clients)
    import anthropic

    asked: Any = {"model": MODEL, "max_tokens": 50, "messages": [{"role": "user", "content": "hi"}]}
    async with resting_house(tmp_path, service=STARTING, **OFTEN) as house, open_anthropic(house) as client:
        stream = await client.messages.create(**asked, stream=True)
        stand_up(house)
        events = [item async for item in stream]
        said = [item.delta.text for item in events if item.type == "content_block_delta"]
        assert "".join(said) == "".join(WORDS)
    async with resting_house(tmp_path / "late", service=STARTING, **BRIEFLY) as house, open_anthropic(house) as client:
        stream = await client.messages.create(**asked, stream=True)
        with pytest.raises(anthropic.APIStatusError) as failed:
            _ = [item async for item in stream]
        assert "model_not_ready" in str(failed.value)
