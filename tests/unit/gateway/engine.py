"""An engine that speaks the OpenAI dialect as real ones do, and can be told to misbehave as real ones do."""

import asyncio
import base64
import json
import struct
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Behaviour = Callable[["Engine", web.Request, dict[str, Any]], Awaitable[web.StreamResponse]]
WORDS = ("Data ", "has ", "a ", "class", ". データ")
FINISHED = {"index": 0, "delta": {}, "finish_reason": "stop"}
USAGE = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}


def spell_event(value: Any) -> bytes:
    return b"data: " + (value if isinstance(value, bytes) else json.dumps(value).encode()) + b"\n\n"


def chunk_of(word: str, model: str) -> dict[str, Any]:
    choice = {"index": 0, "delta": {"content": word}, "finish_reason": None}
    return {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": model, "choices": [choice]}


async def begin_stream(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Server": "engine", "X-Node": "tk-1"})
    response.enable_chunked_encoding()
    await response.prepare(request)
    return response


def complete_of(text: str, model: str, reason: str | None) -> dict[str, Any]:
    choices = [{"index": 0, "text": text, "finish_reason": reason, "logprobs": None}]
    return {"id": "c1", "object": "text_completion", "created": 1, "model": model, "choices": choices}


async def complete(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    model = body["model"]
    if not body["stream"]:
        return web.json_response(complete_of("".join(WORDS), model, "stop") | {"usage": USAGE})
    response = await begin_stream(request)
    for word in WORDS:
        await response.write(spell_event(complete_of(word, model, None)))
    await response.write(spell_event(complete_of("", model, "stop")))
    await response.write(spell_event(b"[DONE]"))
    return response


def embed(body: dict[str, Any]) -> web.StreamResponse:
    texts = body["input"] if isinstance(body["input"], list) else [body["input"]]
    vectors: list[Any] = [[float(len(text)), 0.5] for text in texts]
    if body.get("encoding_format") == "base64":
        vectors = [base64.b64encode(struct.pack(f"<{len(item)}f", *item)).decode() for item in vectors]
    data = [{"object": "embedding", "index": at, "embedding": item} for at, item in enumerate(vectors)]
    usage = {"prompt_tokens": 3, "total_tokens": 3}
    return web.json_response({"object": "list", "data": data, "model": body["model"], "usage": usage})


async def answer_well(engine: "Engine", request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    model = body["model"]
    if request.path == "/v1/embeddings":
        return embed(body)
    if request.path == "/v1/completions":
        return await complete(request, body)
    if not body["stream"]:
        message = {"role": "assistant", "content": "".join(WORDS)}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        answer = {"id": "c1", "object": "chat.completion", "created": 1, "model": model, "choices": [choice]}
        return web.json_response(answer | {"usage": USAGE}, headers={"X-Node": "tk-1", "Set-Cookie": "a=b"})
    response = await begin_stream(request)
    for word in WORDS:
        await response.write(spell_event(chunk_of(word, model)))
        await asyncio.sleep(engine.pause_seconds)
    await response.write(spell_event(chunk_of("", model) | {"choices": [FINISHED]}))
    await response.write(spell_event(chunk_of("", model) | {"choices": [], "usage": USAGE}))
    await response.write(spell_event(b"[DONE]"))
    return response


THOUGHT, ARGUMENTS, FORECAST = ("Look ", "it up"), ('{"ci', 'ty": "東', '京"}'), "Sunny in Tokyo."


async def call_tools(engine: "Engine", request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    """Think, and call the first tool; say what came of it once its result is in the conversation."""
    model, usage = body["model"], {"usage": USAGE}
    if body["messages"][-1]["role"] == "tool":
        message: dict[str, Any] = {"role": "assistant", "content": FORECAST}
        deltas, reason = [{"content": FORECAST[:5]}, {"content": FORECAST[5:]}], "stop"
    else:
        name = body["tools"][0]["function"]["name"]
        call = {"id": "call-1", "type": "function", "function": {"name": name, "arguments": "".join(ARGUMENTS)}}
        message = {"role": "assistant", "content": None, "reasoning_content": "".join(THOUGHT), "tool_calls": [call]}
        begin = {"index": 0, **call, "function": {"name": name, "arguments": ""}}
        pieces = [{"tool_calls": [{"index": 0, "function": {"arguments": piece}}]} for piece in ARGUMENTS]
        deltas = [*({"reasoning_content": piece} for piece in THOUGHT), {"tool_calls": [begin]}, *pieces]
        reason = "tool_calls"
    if not body["stream"]:
        choice = {"index": 0, "message": message, "finish_reason": reason}
        answer = {"id": "c1", "object": "chat.completion", "created": 1, "model": model, "choices": [choice]}
        return web.json_response(answer | usage)
    response = await begin_stream(request)
    for delta in deltas:
        choice = {"index": 0, "delta": delta, "finish_reason": None}
        await response.write(spell_event(chunk_of("", model) | {"choices": [choice]}))
    await response.write(spell_event(chunk_of("", model) | {"choices": [FINISHED | {"finish_reason": reason}]}))
    await response.write(spell_event(chunk_of("", model) | {"choices": []} | usage))
    await response.write(spell_event(b"[DONE]"))
    return response


@dataclass
class Engine:
    """Serves one behaviour; notes what reached it, and which callers left."""

    behave: Behaviour = answer_well
    pause_seconds: float = 0.0
    requests: list[tuple[Mapping[str, str], dict[str, Any]]] = field(default_factory=list)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    under_way: int = 0
    metrics: bytes | None = None
    port: int = 0
    host: str = "127.0.0.1"
    _runner: web.AppRunner | None = None

    async def __aenter__(self) -> "Engine":
        await self.start()
        return self

    async def start(self) -> None:
        app = web.Application(client_max_size=16 << 20)
        for path in ("/v1/chat/completions", "/v1/completions", "/v1/embeddings"):
            app.router.add_post(path, self._handle)
        app.router.add_get("/metrics", self._tell_load)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        await web.TCPSite(self._runner, self.host, self.port).start()
        self.port = self._runner.addresses[0][1]

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _tell_load(self, _: web.Request) -> web.Response:
        return web.Response(status=404) if self.metrics is None else web.Response(body=self.metrics)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.under_way += 1
        try:
            body = await request.json()
            self.requests.append((dict(request.headers), body))
            return await self.behave(self, request, body)
        except asyncio.CancelledError:
            self.left.set()
            raise
        except ConnectionError:
            self.left.set()
            return web.Response()
        finally:
            self.under_way -= 1
