"""What stands around a measured gateway, and the gateway itself, each a process of its own (`WHAT FILE`)."""

import asyncio
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from bench.gateway.streams import ECHO_TOKENS, spell_stamp
from sekisho.gateway import main as product
from tests.unit.gateway.api_server import ApiServer
from tests.unit.gateway.house import MODEL, USER, build_pod, build_service

_HEAD: Final = b"\r\n".join(
    (b"HTTP/1.1 200 OK", b"Content-Type: text/event-stream", b"Transfer-Encoding: chunked", b"", b"")
)
_CHUNK: Final = (
    '{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":%s,'
    '"finish_reason":%s}]}'
)
_WORDS: Final = "It is so."


def main(what: str, file: str = "") -> None:
    """Serve until told to end."""
    if what == "gateway":
        run_gateway()
    else:
        asyncio.run(serve_world(json.loads(Path(file).read_text())))


def run_gateway() -> None:
    """Run the product's process."""
    product.main()


async def serve_world(world: Mapping[str, Any]) -> None:
    """Serve an API server with one model of one caller, and its engine; the first line tells where."""
    engine = await asyncio.get_running_loop().create_server(_Engine, "127.0.0.1", 0, backlog=512)
    port = engine.sockets[0].getsockname()[1]
    async with ApiServer() as api:
        api.put("classificationpolicies", {"metadata": {"name": "default"}, "spec": world["policy"]})
        api.put("runtimes", {"metadata": {"name": "llamacpp"}, "spec": {}})
        for tier in ("Closed", "OwnCloud"):
            api.put("sites", {"metadata": {"name": tier.lower()}, "spec": {"tier": tier, "jurisdiction": "JP"}})
        service = build_service(level="internal", compartments=(), site=world["site"])
        api.put("inferenceservices", service)
        api.put("pods", build_pod(service, port=port))
        api.grant(USER, "inferenceservices", MODEL.split("/")[1], MODEL.split("/")[0])
        api.grant(USER, "classificationlevels", "internal")
        print(json.dumps({"api": api.url, "engine": port, "token": api.token(USER, seconds=3600)}), flush=True)
        while True:
            await asyncio.sleep(60)
            api.put("pods", build_pod(service, port=port))  # its proof of isolation is renewed


class _Engine(asyncio.Protocol):
    """Answers chat requests as fast as the protocol goes: as many chunks as `max_tokens`, `seed` µs apart."""

    def __init__(self) -> None:
        self._held = b""
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        self._held += data
        head, found, body = self._held.partition(b"\r\n\r\n")
        if not found:
            return
        size = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        if len(body) >= size:
            self._held = body[size:]
            self._answer(json.loads(body[:size]))

    def _answer(self, asked: Mapping[str, Any]) -> None:
        if not asked.get("stream"):
            self._transport.write(_spell_whole(asked))
            return
        pause = asked.get("seed", 0) / 1e6
        self._transport.write(_HEAD)
        self._say(0, asked["max_tokens"], asyncio.get_running_loop().time(), pause)

    def _say(self, at: int, count: int, began: float, pause: float) -> None:
        while at < count:
            self._event(_CHUNK % (f'{{"content":"{spell_stamp(at, time.monotonic_ns())}"}}', "null"))
            at += 1
            if pause and at < count:
                due = began + at * pause
                self._timer = asyncio.get_running_loop().call_at(due, self._say, at, count, began, pause)
                return
        self._event(_CHUNK % ("{}", '"stop"'))
        self._event("[DONE]", last=b"0\r\n\r\n")

    def _event(self, data: str, *, last: bytes = b"") -> None:
        event = f"data: {data}\n\n".encode()
        self._transport.write(b"%x\r\n%b\r\n%b" % (len(event), event, last))


def _spell_whole(asked: Mapping[str, Any]) -> bytes:
    said = asked["messages"][-1]["content"] if asked.get("max_tokens") == ECHO_TOKENS else _WORDS
    choice = {"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
    usage = {"prompt_tokens": said.count("[["), "completion_tokens": 1, "total_tokens": said.count("[[") + 1}
    answer = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
    body = json.dumps(answer | {"usage": usage}).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


if __name__ == "__main__":
    main(*sys.argv[1:])
