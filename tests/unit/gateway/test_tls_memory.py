"""TLS connections hold little memory, and what is larger than they hold comes whole all the same."""

from asyncio import sslproto
from pathlib import Path

import pytest

from sekisho.gateway.tls import spare_memory
from tests.unit.gateway.house import build_chat, build_house


async def test_bodies_larger_than_what_a_connection_sets_aside_come_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sslproto.SSLProtocol, "max_size", sslproto.SSLProtocol.max_size)
    assert sslproto.SSLProtocol.max_size > 16 << 10
    spare_memory()
    assert sslproto.SSLProtocol.max_size == 16 << 10
    text = "x" * 300_000
    async with build_house(tmp_path) as house:
        answer = await house.chat(build_chat(messages=[{"role": "user", "content": text}]))
        assert answer.status == 200
        ((_, body),) = house.engine.requests
        assert body["messages"][0]["content"] == text
