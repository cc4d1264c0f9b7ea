"""What an engine says, for tests of how it is told on: events, answers, filters that behave."""

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from hypothesis import strategies as st

from sekisho.gateway.dialects.answers import Answerer, Channel
from sekisho.gateway.dialects.building import build_answerer
from sekisho.gateway.dialects.form import Asked, Endpoint
from sekisho.gateway.sse import EventFramer

USAGE = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
CUTS = st.lists(st.integers(0, 5000), max_size=12)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


class Holding:
    """Holds the last characters of every text back until it ends; puts [ and ] around what went through."""

    def __init__(self, most: int = 3) -> None:
        self.most = most
        self.held: dict[Channel, str] = {}
        self.fed: dict[Channel, str] = {}

    def feed(self, channel: Channel, piece: str) -> str:
        self.fed[channel] = self.fed.get(channel, "") + piece
        text = self.held.get(channel, "") + piece
        cut = max(0, len(text) - self.most)
        self.held[channel] = text[cut:]
        return text[:cut]

    def finish(self, channel: Channel) -> str:
        return self.held.pop(channel, "") + f"<{channel.kind}>"

    def spares(self, answer: bytes) -> bool:
        return False


def ask(endpoint: Endpoint, engine_path: str = Endpoint.CHAT, *, stream: bool = True, **body: Any) -> Asked:
    return Asked(endpoint, "legal", "review", stream, engine_path, body)


def build(asked: Asked, held: Holding | None = None) -> Answerer:
    answerer = build_answerer(asked, held)
    assert answerer is not None
    return answerer


def chunk(delta: Mapping[str, Any], reason: str | None = None, *, choice: int = 0, **more: Any) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 9, "model": "m",
        "choices": [{"index": choice, "delta": dict(delta), "finish_reason": reason, **more}],
    }  # fmt: skip


def call(index: int, arguments: str | None, name: str | None = None) -> dict[str, Any]:
    function = {"arguments": arguments} | ({"name": name} if name else {})
    named = {"id": f"call-{index}", "type": "function"} if name else {}
    return {"tool_calls": [{"index": index, **named, "function": function}]}


def counts() -> dict[str, Any]:
    return chunk({}) | {"choices": [], "usage": USAGE}


def spell(events: Sequence[Any], *, done: bool = True, ascii_only: bool = False) -> bytes:
    lines = [b"data: " + json.dumps(event, ensure_ascii=ascii_only).encode() + b"\n\n" for event in events]
    return b"".join(lines) + (b"data: [DONE]\n\n" if done else b"")


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    at = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[begin:end] for begin, end in pairwise(at) if begin < end]


def carry(answerer: Answerer, data: bytes, cuts: Sequence[int] = ()) -> bytes:
    """Carry a stream as the relay does, cut anywhere."""
    framer, out = EventFramer(1 << 18), b""
    for piece in split(data, list(cuts)):
        if whole := framer.feed(piece):
            out += answerer.feed(whole)
    return out + answerer.end()


def hear(data: bytes) -> list[dict[str, Any]]:
    """Return the events of a stream; each names its own type where it has one."""
    heard = []
    for event in data.decode("utf-8").split("\n\n"):
        if not event or event == "data: [DONE]":
            continue
        head, _, text = event.rpartition("data: ")
        raw = json.loads(text)
        assert head in ("", f"event: {raw.get('type')}\n")
        heard.append(raw)
    return heard
