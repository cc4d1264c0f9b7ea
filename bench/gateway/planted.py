"""G6: personal data planted in every place and spelling of requests, and a checker behind the upstream that counts it.

The gateway is the product's, over real sockets; the upstream is an HTTP server that keeps what it was sent, byte for
byte. What is counted is the value itself, whatever it is spelt like there: full width, with gaps, escaped. The upstream
says what it was sent back, and what the caller gets must be what the caller wrote.
"""

# ruff: noqa: E501 - tables read better unbroken

import itertools
import json
import random
import tempfile
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from bench.harness import Benchmark, Count, Registry, WrongAnswerError, always
from bench.redact.made import KINDS
from sekisho.gateway.main import run_on_loop
from sekisho.redact.categories import Category
from tests.unit.gateway.engine import Engine, answer_well, begin_stream, chunk_of, spell_event
from tests.unit.gateway.house import MODEL, USER, build_house, build_service

WORDS = ("contact", "government-id", "payment")
POLICY = {
    "unlabelled": "internal",
    "levels": [
        {"name": "internal", "rules": {"tiers": ["Closed", "OwnCloud"], "burst": "AfterRedaction", "redact": [*WORDS]}}
    ],
}
_WORD_OF = {
    Category.JP_MY_NUMBER: "個人番号",
    Category.PHONE: "電話",
    Category.EMAIL: "mail",
    Category.CARD: "カード番号",
}
# What makes a number no longer one string of digits.
_GAPS = str.maketrans("", "", " -‐‑–—−ーｰ－()（）.・　\t\n")
_DEPTH = 4


@dataclass(frozen=True, slots=True)
class Item:
    """One value, the word that tells what it is, and what of it is counted."""

    word: str
    value: str

    @property
    def core(self) -> str:
        """The value without gaps, country prefix and case."""
        return squeeze(self.value).removeprefix("+81").lstrip("0")


def build_items(rng: random.Random) -> list[Item]:
    """Make one value of each kind that is planted."""
    values = ((word, KINDS[kind][0](rng)) for kind, word in _WORD_OF.items())
    return [Item(word, value if "@" in value else squeeze(value).replace("+81", "0")) for word, value in values]


def squeeze(text: str) -> str:
    """Return a text in one width and without gaps, as values are compared."""
    return unicodedata.normalize("NFKC", text).translate(_GAPS).lower()


def _group(value: str, mark: str) -> str:
    if "@" in value:
        return value
    return (
        mark.join(value[at : at + 4] for at in range(0, len(value), 4))
        if len(value) != 11
        else (f"{value[:3]}{mark}{value[3:7]}{mark}{value[7:]}")
    )


def _widen(value: str) -> str:
    return "".join(chr(ord(sign) + 0xFEE0) if sign.isascii() and sign.isalnum() else sign for sign in value)


def _prefix(item: Item) -> str:
    return f"+81 {item.value[1:]}" if item.word == "電話" else _group(item.value, "-")


SPELLINGS: dict[str, Callable[[Item], str]] = {
    "plain": lambda item: f"{item.word}: {item.value} ",
    "glued": lambda item: f"私の{item.word}は{item.value}です。",
    "full width": lambda item: f"{item.word}は{_widen(item.value)}、",
    "spaced": lambda item: f"{item.word} {_group(item.value, ' ')} ",
    "hyphenated": lambda item: f"{item.word} {_group(item.value, '-')} ",
    "country prefix": lambda item: f"{item.word} {_prefix(item)} ",
    "escaped in a document": lambda item: (
        "".join(f"\\u{ord(sign):04x}" if sign.isalnum() else sign for sign in f"{item.word} {item.value}") + " "
    ),
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a text is planted: the path of the request, and what makes the body around it."""

    path: str
    build: Callable[[str], dict[str, Any]]


def _chat(**fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "go on"}], **fields}


def _turn(role: str, **fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": "so", **fields}, {"role": "user", "content": "go on"}]}


def _call(arguments: str, name: str = "f") -> dict[str, Any]:
    call = {"id": "c1", "type": "function", "function": {"name": name, "arguments": arguments}}
    return {"messages": [{"role": "assistant", "content": None, "tool_calls": [call]},
                         {"role": "tool", "tool_call_id": "c1", "content": "ok"}]}  # fmt: skip


def _schema(properties: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, **more}


def _tool(**fields: Any) -> dict[str, Any]:
    return _chat(tools=[{"type": "function", "function": {"name": "f", "parameters": _schema({}), **fields}}])


def _format(schema: dict[str, Any]) -> dict[str, Any]:
    return _chat(response_format={"type": "json_schema", "json_schema": {"name": "s", "schema": schema}})


def _anthropic(**fields: Any) -> dict[str, Any]:
    return {"max_tokens": 9, "messages": [{"role": "user", "content": "go on"}], **fields}


CHAT, MESSAGES, RESPONSES = "/v1/chat/completions", "/v1/messages", "/v1/responses"
PLACES: dict[str, Place] = {
    "last turn": Place(CHAT, lambda t: {"messages": [{"role": "user", "content": t}]}),
    "parts of a turn": Place(
        CHAT, lambda t: {"messages": [{"role": "user", "content": [{"type": "text", "text": x} for x in ("x", t)]}]}
    ),
    "earlier turn": Place(CHAT, lambda t: _turn("user", content=t)),
    "system": Place(CHAT, lambda t: _turn("system", content=t)),
    "developer": Place(CHAT, lambda t: _turn("developer", content=t)),
    "answer before": Place(CHAT, lambda t: _turn("assistant", content=t)),
    "refusal before": Place(CHAT, lambda t: _turn("assistant", refusal=t)),
    "thought before": Place(CHAT, lambda t: _turn("assistant", reasoning_content=t)),
    "name": Place(CHAT, lambda t: _turn("user", name=t)),
    "argument": Place(CHAT, lambda t: _call(json.dumps({"note": t}))),
    "argument as it is": Place(CHAT, lambda t: _call(json.dumps({"note": t}, ensure_ascii=False))),
    "name of an argument": Place(CHAT, lambda t: _call(json.dumps({t: 1}))),
    "document in an argument": Place(CHAT, lambda t: _call(json.dumps({"body": json.dumps({"note": t})}))),
    "arguments that are no document": Place(CHAT, lambda t: _call(f"note {t}")),
    "name of a called tool": Place(CHAT, lambda t: _call("{}", t)),
    "id of a call": Place(CHAT, lambda t: _turn("tool", tool_call_id=t)),
    "result": Place(CHAT, lambda t: _turn("tool", tool_call_id="c", content=t)),
    "document as a result": Place(CHAT, lambda t: _turn("tool", tool_call_id="c", content=json.dumps([{"a": [t]}]))),
    "description of a tool": Place(CHAT, lambda t: _tool(description=t)),
    "name of a tool": Place(CHAT, lambda t: _tool(name=t)),
    "name of a property": Place(CHAT, lambda t: _tool(parameters=_schema({t: {"type": "string"}}))),
    "description of a property": Place(CHAT, lambda t: _tool(parameters=_schema({"a": {"description": t}}))),
    "choices of a property": Place(CHAT, lambda t: _tool(parameters=_schema({"a": {"enum": ["x", t]}}))),
    "default of a property": Place(CHAT, lambda t: _tool(parameters=_schema({"a": {"default": {"b": [t]}}}))),
    "chosen tool": Place(CHAT, lambda t: _chat(tool_choice={"type": "function", "function": {"name": t}})),
    "format of the answer": Place(CHAT, lambda t: _format(_schema({t: {"const": t}}, title=t))),
    "name of the answer's format": Place(CHAT, lambda t: _chat(response_format={
        "type": "json_schema", "json_schema": {"name": t, "description": t, "schema": _schema({})}})),
    "all words of a schema": Place(CHAT, lambda t: _tool(parameters=_schema(
        {"a": {"pattern": t, "examples": [t], "title": t, "$comment": t, "anyOf": [{"items": {"const": t}}]}},
        required=[t], **{"$defs": {t: {"type": "string"}}}))),
    "list as an argument": Place(CHAT, lambda t: _call(json.dumps([[t, {"x": [t]}]]))),
    "parts of a result": Place(CHAT, lambda t: _turn("tool", tool_call_id="c", content=[{"type": "text", "text": t}])),
    "parts of the system's turn": Place(CHAT, lambda t: _turn("system", content=[{"type": "text", "text": t}])),
    "stop as it is": Place(CHAT, lambda t: _chat(stop=t)),
    "stop": Place(CHAT, lambda t: _chat(stop=[t])),
    "effort": Place(CHAT, lambda t: _chat(reasoning_effort=t[:200])),
    "user": Place(CHAT, lambda t: _chat(user=t[:200])),
    "biases": Place(CHAT, lambda t: _chat(logit_bias={t: 1})),
    "prompt": Place("/v1/completions", lambda t: {"prompt": t}),
    "prompts": Place("/v1/completions", lambda t: {"prompt": ["x", t], "stop": t}),
    "input as it is": Place("/v1/embeddings", lambda t: {"input": t}),
    "input": Place("/v1/embeddings", lambda t: {"input": ["x", t]}),
    "Anthropic's system": Place(MESSAGES, lambda t: _anthropic(system=[{"type": "text", "text": t}])),
    "Anthropic's turn": Place(MESSAGES, lambda t: _anthropic(messages=[{"role": "user", "content": t}])),
    "Anthropic's tool": Place(
        MESSAGES,
        lambda t: _anthropic(tools=[{"name": "f", "description": t, "input_schema": _schema({t: {"type": "string"}})}]),
    ),
    "Anthropic's call and result": Place(
        MESSAGES,
        lambda t: _anthropic(messages=[
            {"role": "user", "content": "go on"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "f", "input": {"a": t, t: 1}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": t}]},
        ]),
    ),
    "Anthropic's system as it is": Place(MESSAGES, lambda t: _anthropic(system=t)),
    "Anthropic's user": Place(MESSAGES, lambda t: _anthropic(metadata={"user_id": t[:200]})),
    "Anthropic's thought": Place(MESSAGES, lambda t: _anthropic(messages=[
        {"role": "user", "content": "so"},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": t, "signature": t}, {"type": "text", "text": "x"}]},
        {"role": "user", "content": "go on"}])),
    "Anthropic's parts of a result": Place(MESSAGES, lambda t: _anthropic(messages=[
        {"role": "user", "content": "so"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": t, "name": t, "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": t, "content": [{"type": "text", "text": t}]}]}])),
    "Anthropic's chosen tool": Place(MESSAGES, lambda t: _anthropic(
        tools=[{"name": "f", "input_schema": _schema({})}], tool_choice={"type": "tool", "name": t})),
    "Anthropic's stop": Place(MESSAGES, lambda t: _anthropic(stop_sequences=[t])),
    "Responses' input": Place(RESPONSES, lambda t: {"input": t, "instructions": t}),
    "Responses' turns of others": Place(RESPONSES, lambda t: {"input": [
        {"role": "developer", "content": t}, {"role": "user", "content": [{"type": "input_text", "text": t}]}]}),
    "Responses' tools": Place(RESPONSES, lambda t: {
        "input": "go on",
        "tools": [{"type": "function", "name": "f", "description": t, "parameters": _schema({t: {"description": t}})}],
        "tool_choice": {"type": "function", "name": t}}),
    "Responses' format of the answer": Place(RESPONSES, lambda t: {"input": "go on", "text": {
        "format": {"type": "json_schema", "name": "n", "description": t, "schema": _schema({t: {"const": t}})}}}),
    "Responses' parts of a result": Place(RESPONSES, lambda t: {"input": [
        {"type": "function_call", "call_id": t, "name": t, "arguments": "{}"},
        {"type": "function_call_output", "call_id": t, "output": [{"type": "input_text", "text": t}]}]}),
    "Responses' call and result": Place(
        RESPONSES,
        lambda t: {"input": [
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": t}]},
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": json.dumps({"a": t})},
            {"type": "function_call_output", "call_id": "c", "output": t},
        ]},
    ),
}  # fmt: skip

# Where the gateway takes nothing: fields that it does not know, and words of the dialect that are none.
REFUSED: dict[str, Place] = {
    "address of a picture": Place(CHAT, lambda t: {"messages": [{"role": "user", "content": [
        {"type": "image_url", "image_url": {"url": f"https://x.example/i.png?q={t}"}}]}]}),
    "name of a file": Place(CHAT, lambda t: {"messages": [{"role": "user", "content": [
        {"type": "file", "file": {"filename": t, "file_data": "data:text/plain;base64,AAAA"}}]}]}),
    "metadata": Place(CHAT, lambda t: _chat(metadata={"a": t[:400], t[:60]: "a"})),
    "prediction": Place(CHAT, lambda t: _chat(prediction={"type": "content", "content": t})),
    "template": Place(CHAT, lambda t: _chat(chat_template=t, chat_template_kwargs={"a": t})),
    "role": Place(CHAT, _turn),
    "type of a part": Place(CHAT, lambda t: {"messages": [{"role": "user", "content": [{"type": t, "text": "x"}]}]}),
    "unknown field": Place(CHAT, lambda t: _chat(extra={"a": t})),
    "unknown field of a turn": Place(CHAT, lambda t: _turn("user", extra=t)),
    "suffix": Place("/v1/completions", lambda t: {"prompt": "x", "suffix": t}),
    "Anthropic's document": Place(MESSAGES, lambda t: _anthropic(messages=[{"role": "user", "content": [
        {"type": "document", "title": t, "context": t, "source": {"type": "text", "media_type": "text/plain", "data": t}}]}])),
    "Anthropic's search result": Place(MESSAGES, lambda t: _anthropic(messages=[{"role": "user", "content": [
        {"type": "search_result", "source": t, "title": t, "content": [{"type": "text", "text": t}]}]}])),
    "Responses' prompt": Place(RESPONSES, lambda t: {"input": "x", "prompt": {"id": "p", "variables": {"a": t}}}),
    "Responses' answer before": Place(RESPONSES, lambda t: {"input": "x", "previous_response_id": t}),
}  # fmt: skip


def add_to(registry: Registry) -> None:
    """Register the benchmark."""
    seeds = itertools.count(1)
    registry.register(
        Benchmark(
            id="G6",
            what=f"planted bytes of personal data that reached the upstream, in {len(PLACES) + len(REFUSED)} places and "
            f"{len(SPELLINGS) + 1} spellings",
            reference="a checker behind the upstream",
            goal=0,
            direction="max",
            open=lambda: always(Count(lambda: run_on_loop(plant(next(seeds))).leaked_bytes, notes=lambda: NOTES)),
        )
    )


NOTES = "every answer that repeats a prompt came back as it was written"


@dataclass(slots=True)
class Found:
    """What came of planting.

    Attributes:
        requests: Sent by the caller.
        arrived: That reached the upstream.
        refused: Places and spellings that the gateway does not take.
        leaks: Where a value reached the upstream: place, spelling, word.
    """

    requests: int = 0
    arrived: int = 0
    leaked_bytes: int = 0
    refused: list[tuple[str, str]] = field(default_factory=list)
    leaks: list[tuple[str, str, str]] = field(default_factory=list)


@dataclass(slots=True)
class Upstream:
    """Keeps every body as it came, and repeats what it was told."""

    bodies: list[bytes] = field(default_factory=list)

    async def answer(self, engine: Engine, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        """Answer as an engine does, by the last turn where there is one."""
        self.bodies.append(await request.read())
        if "messages" not in body or not body["stream"]:
            return await answer_well(engine, request, body)
        said, model = body["messages"][-1]["content"], body["model"]
        response = await begin_stream(request)
        text = said if isinstance(said, str) else "".join(part["text"] for part in said)
        for at in range(0, len(text), 5):
            await response.write(spell_event(chunk_of(text[at : at + 5], model)))
        last = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
        await response.write(spell_event(chunk_of("", model) | last))
        await response.write(spell_event(b"[DONE]"))
        return response


async def plant(
    seed: int,
    *,
    places: Sequence[str] = (*PLACES, *REFUSED),
    site: str = "owncloud",
    spellings: Sequence[str] | None = None,
) -> Found:
    """Send every spelling in every place through a gateway, and look at what came out behind it.

    Raises:
        WrongAnswerError: A caller was not told what it wrote.
    """
    every = PLACES | REFUSED
    rng = random.Random(seed)  # noqa: S311 - made-up data
    found, upstream = Found(), Upstream()
    with tempfile.TemporaryDirectory() as folder:
        key = Path(folder) / "placeholders"
        key.write_bytes(rng.randbytes(32))
        service = build_service(level="internal", compartments=(), site=site)
        async with build_house(Path(folder), policy=POLICY, service=service, placeholder_key_file=key) as house:
            house.engine.behave = upstream.answer
            house.api.grant(USER, "classificationlevels", "internal")
            for place in places:
                for spelling in spellings or (*SPELLINGS, "escaped in the body"):
                    items = build_items(rng)
                    text = "".join(SPELLINGS.get(spelling, SPELLINGS["plain"])(item) for item in items)
                    body = {"model": MODEL, "stream": place == "last turn", **every[place].build(text)}
                    if every[place].path == "/v1/embeddings":
                        del body["stream"]
                    answer = await house.send(
                        every[place].path, data=spell_body(body, items, escaped=spelling == "escaped in the body"),
                        headers={"Content-Type": "application/json"},
                    )  # fmt: skip
                    found.requests += 1
                    if answer.status != 200:
                        found.refused.append((place, spelling))
                    elif place == "last turn" and hear(answer.text) != text:
                        raise WrongAnswerError(f"{spelling}: the caller was told something else than what it wrote")
                    for item in items:
                        size = sum(count(raw, item) for raw in upstream.bodies)
                        found.leaked_bytes += size
                        found.leaks += [(place, spelling, item.word)] if size else []
                    found.arrived += len(upstream.bodies)
                    upstream.bodies.clear()
    return found


def spell_body(body: dict[str, Any], items: Sequence[Item], *, escaped: bool) -> bytes:
    """Return a body as JSON, with the values escaped sign by sign where that is asked for."""
    text = json.dumps(body, ensure_ascii=False)
    for item in items if escaped else ():
        text = text.replace(item.value, "".join(f"\\u{ord(sign):04x}" for sign in item.value))
    return text.encode()


def hear(stream: str) -> str:
    """Return the text of a chat's stream."""
    events = [json.loads(line[6:]) for line in stream.split("\n") if line.startswith("data: {")]
    return "".join(choice["delta"].get("content") or "" for event in events for choice in event.get("choices", ()))


def count(raw: bytes, item: Item) -> int:
    """Return how many bytes of a value stand in a body, in whatever spelling."""
    return max(squeeze(text).count(item.core) for text in unfold(raw.decode(), _DEPTH)) * len(item.core)


def unfold(text: str, depth: int) -> Iterator[str]:
    """Yield a text, and what it is when its escapes are read, and theirs."""
    for _ in range(depth):
        yield text
        text = "".join(_read_escapes(text))


def _read_escapes(text: str) -> Iterator[str]:
    at = 0
    while at < len(text):
        if text[at] == "\\" and text[at + 1 : at + 2] == "u" and len(text[at + 2 : at + 6]) == 4:
            try:
                yield chr(int(text[at + 2 : at + 6], 16))
                at += 6
                continue
            except ValueError:
                pass
        if text[at] == "\\" and at + 1 < len(text):
            at += 1
        yield text[at]
        at += 1
