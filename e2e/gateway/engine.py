"""An engine that does what the first word of its prompt says: answer well, or fail as engines fail.

It has the standard library alone, and is handed to a pod as text. `GET /seen` tells what was asked and which callers
left, `GET /end/WORD` ends the streams of `tick WORD`.
"""

import asyncio
import collections
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable

EVENTS, JSON, PAGE = "text/event-stream", "application/json", "text/html"
TICK_SECONDS = 0.1
asked: collections.Counter[str] = collections.Counter()
left: collections.Counter[str] = collections.Counter()
ended: set[str] = set()


class Wire:
    """One request and the connection it came by."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, prompt: str, stream: bool) -> None:
        self.reader, self.writer, self.prompt, self.stream = reader, writer, prompt, stream

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def begin(self, kind: str, *, status: str = "200 OK", size: int | None = None) -> None:
        length = "Transfer-Encoding: chunked" if size is None else f"Content-Length: {size}"
        await self.send(f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n{length}\r\n\r\n".encode())

    async def chunk(self, data: bytes) -> None:
        await self.send(b"%x\r\n%b\r\n" % (len(data), data))

    async def event(self, word: str) -> None:
        await self.chunk(f"data: {json.dumps(spell(word))}\n\n".encode())

    async def finish(self) -> None:
        done = json.dumps(spell("", reason="stop"))
        await self.chunk(f"data: {done}\n\ndata: [DONE]\n\n".encode())
        await self.send(b"0\r\n\r\n")

    async def wait_left(self) -> None:
        """Wait until the caller is gone."""
        while await self.reader.read(1024):
            pass
        raise ConnectionError


def spell(word: str, *, reason: str | None = None) -> dict[str, object]:
    delta = {"content": word} if word else {}
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


async def say(wire: Wire) -> None:
    if wire.stream:
        await wire.begin(EVENTS)
        for word in ("It ", "is ", "so."):
            await wire.event(word)
        await wire.finish()
        return
    choice = {"index": 0, "message": {"role": "assistant", "content": "It is so."}, "finish_reason": "stop"}
    answer = {"id": "c1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
    body = json.dumps(answer).encode()
    await wire.begin(JSON, size=len(body))
    await wire.send(body)


async def tick(wire: Wire) -> None:
    """Say a word ten times a second until that is ended."""
    key = wire.prompt.split()[1]
    gone = asyncio.ensure_future(wire.wait_left())
    try:
        await wire.begin(EVENTS)
        while key not in ended:
            await wire.event("tick ")
            if (await asyncio.wait({gone}, timeout=TICK_SECONDS))[0]:
                raise ConnectionError
        await wire.finish()
    finally:
        gone.cancel()
        with contextlib.suppress(asyncio.CancelledError, ConnectionError):
            await gone


async def stall(wire: Wire) -> None:
    await wire.wait_left()


async def pause(wire: Wire) -> None:
    """Stop in the middle of an answer."""
    await (wire.begin(EVENTS) if wire.stream else wire.begin(JSON, size=1000))
    await (wire.event("It ") if wire.stream else wire.send(b'{"id":'))
    await wire.wait_left()


async def flood(wire: Wire) -> None:
    """Say good words without end, as fast as they are taken."""
    await wire.begin(EVENTS)
    while True:
        await wire.event("word " * 200)


async def long_event(wire: Wire) -> None:
    await wire.begin(EVENTS)
    await wire.chunk(b"data: ")
    while True:
        await wire.chunk(b"x" * 65536)


async def long_head(wire: Wire) -> None:
    await wire.send(b"HTTP/1.1 200 OK\r\n")
    number = 0
    while True:
        number += 1
        await wire.send(b"X-%d: %b\r\n" % (number, b"y" * 4000))


async def long_answer(wire: Wire) -> None:
    await wire.begin(JSON)
    await wire.chunk(b'{"id":"')
    while True:
        await wire.chunk(b"z" * 65536)


async def noise(wire: Wire) -> None:
    await wire.send(bytes(range(256)) * 64 + b"\r\n\r\n")


async def page(wire: Wire) -> None:
    await wire.begin(PAGE, size=13)
    await wire.send(b"<html></html>")


async def broken(wire: Wire) -> None:
    await wire.begin(PAGE, status="500 Oops", size=13)
    await wire.send(b"<html></html>")


async def odd_event(wire: Wire) -> None:
    await wire.begin(EVENTS)
    await wire.event("It ")
    await wire.chunk(b'event: run\ndata: {"do": "this"}\n\n')
    await wire.finish()


async def half_json(wire: Wire) -> None:
    await wire.begin(EVENTS)
    await wire.event("It ")
    await wire.chunk(b'data: {"id": "c1", "choices": [\n\n')
    await wire.finish()


async def binary(wire: Wire) -> None:
    await wire.begin(JSON, size=256)
    await wire.send(bytes(range(256)))


async def short(wire: Wire) -> None:
    """Promise more than comes."""
    await wire.begin(EVENTS)
    await wire.event("It ")
    await wire.send(b"ffff\r\ndata: {")
    wire.writer.close()


BEHAVIOURS: dict[str, Callable[[Wire], Awaitable[None]]] = {
    "say": say, "tick": tick, "stall": stall, "pause": pause, "flood": flood, "long-event": long_event,
    "long-head": long_head, "long-answer": long_answer, "noise": noise, "page": page, "broken": broken,
    "odd-event": odd_event, "half-json": half_json, "binary": binary, "short": short,
}  # fmt: skip


async def read_requests(reader: asyncio.StreamReader) -> AsyncIterator[tuple[str, bytes]]:
    with contextlib.suppress(asyncio.IncompleteReadError):
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            sizes = [line for line in head.lower().split("\r\n") if line.startswith("content-length:")]
            yield head.split()[1], await reader.readexactly(int(sizes[0][15:])) if sizes else b""


async def answer(path: str, body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    if not body:
        if path.startswith("/end/"):
            ended.add(path[5:])
        told = json.dumps({"asked": asked, "left": left}).encode()
        wire = Wire(reader, writer, "", stream=False)
        await wire.begin(JSON, size=len(told))
        await wire.send(told)
        return
    parsed = json.loads(body)
    prompt = parsed["messages"][-1]["content"]
    if not isinstance(prompt, str):
        prompt = prompt[0]["text"]
    word = prompt.split()[0]
    asked[word] += 1
    try:
        await BEHAVIOURS[word](Wire(reader, writer, prompt, parsed.get("stream", False)))
    except ConnectionError:
        left[word] += 1
        raise


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        async for path, body in read_requests(reader):
            await answer(path, body, reader, writer)
    except ConnectionError:
        pass
    finally:
        writer.close()


async def main(port: int) -> None:
    server = await asyncio.start_server(serve, "0.0.0.0", port, limit=8 << 20)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[-1])))
