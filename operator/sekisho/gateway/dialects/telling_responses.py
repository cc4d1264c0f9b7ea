"""Responses as their callers hear them. Pure."""

from typing import Any, Final

from sekisho.errors import Reason
from sekisho.gateway.dialects.answers import Channel
from sekisho.gateway.dialects.chunks import Called, Finished, Head, Usage
from sekisho.gateway.dialects.form import Asked
from sekisho.gateway.dialects.refusals import encode, spell_code
from sekisho.gateway.dialects.telling import Block, Told

_PARTS: Final = {"content": "output_text", "refusal": "refusal", "reasoning": "reasoning_text"}
_UNFINISHED: Final = {"length": "max_output_tokens", "content_filter": "content_filter"}
_EVENTS: Final = {
    "content": "response.output_text",
    "refusal": "response.refusal",
    "reasoning": "response.reasoning_text",
    "tool_arguments": "response.function_call_arguments",
}


class ResponsesTeller:
    """Spells responses; each text is an item of its own, numbered as it comes."""

    many = False
    keeps = True
    steady = False

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._number = -1
        self._told: Told | None = None
        self._blocks: list[Block] = []

    def begin(self, head: Head) -> bytes:
        """Begin."""
        self._told = Told(head)
        return self._lifecycle("created", "in_progress") + self._lifecycle("in_progress", "in_progress")

    def open(self, channel: Channel, call: Called | None) -> bytes:
        """Begin an item, and its only part where it is no call."""
        self._blocks.append(Block(channel, call))
        item = self._item(len(self._blocks) - 1, "in_progress")
        out = self._event("response.output_item.added", output_index=len(self._blocks) - 1, item=item)
        if call is None:
            out += self._event("response.content_part.added", **self._place(), part=_spell_part(channel, ""))
        return out

    def say(self, channel: Channel, text: str) -> bytes:
        """Tell a piece."""
        self._blocks[-1].pieces.append(text)
        more: dict[str, Any] = {"logprobs": []} if channel.kind == "content" else {}
        return self._event(f"{_EVENTS[channel.kind]}.delta", **self._place(), delta=text, **more)

    def close(self, channel: Channel) -> bytes:
        """Repeat what was told of the item, and end it."""
        block, at = self._blocks[-1], len(self._blocks) - 1
        kind, text = _EVENTS[channel.kind], block.text
        if block.call is not None:
            out = self._event(f"{kind}.done", **self._place(), name=block.call.name, arguments=text)
        else:
            name = "refusal" if channel.kind == "refusal" else "text"
            more: dict[str, Any] = {"logprobs": []} if channel.kind == "content" else {}
            out = self._event(f"{kind}.done", **self._place(), **{name: text}, **more)
            out += self._event("response.content_part.done", **self._place(), part=_spell_part(channel, text))
        return out + self._event("response.output_item.done", output_index=at, item=self._item(at, "completed"))

    def finish(self, finished: Finished) -> bytes:
        """Say nothing yet: why it ended is told with the counts."""
        return b""

    def end(self, told: Told) -> bytes:
        """Repeat everything, with the counts."""
        self._told = told
        status = _status(told)
        return self._lifecycle(status, status)

    def fail(self, reason: Reason, message: str) -> bytes:
        """End with an error, and with the response that failed."""
        code = spell_code(reason)
        out = self._event("error", code=code, message=message, param=None)
        error = {"code": "server_error", "message": f"{code}: {message}"}
        return out + self._lifecycle("failed", "failed", error=error)

    def whole(self, told: Told) -> bytes:
        """Spell a whole answer."""
        self._told, self._blocks = told, told.blocks
        return encode(self._spell(_status(told)))

    def _event(self, kind: str, **fields: Any) -> bytes:
        self._number += 1
        event = {"type": kind, "sequence_number": self._number, **fields}
        return b"event: " + kind.encode() + b"\ndata: " + encode(event) + b"\n\n"

    def _lifecycle(self, kind: str, status: str, **more: Any) -> bytes:
        return self._event(f"response.{kind}", response=self._spell(status) | more)

    def _place(self) -> dict[str, Any]:
        at = len(self._blocks) - 1
        place: dict[str, Any] = {"item_id": self._name(at), "output_index": at}
        return place if self._blocks[at].call is not None else place | {"content_index": 0}

    def _name(self, at: int) -> str:
        block = self._blocks[at]
        prefix = "fc" if block.call is not None else "rs" if block.channel.kind == "reasoning" else "msg"
        return f"{prefix}_{self._told.head.id if self._told else ''}_{at}"

    def _item(self, at: int, status: str) -> dict[str, Any]:
        block, done = self._blocks[at], status != "in_progress"
        item: dict[str, Any] = {"id": self._name(at), "status": status}
        if block.call is not None:
            called = {"call_id": block.call.id, "name": block.call.name, "arguments": block.text if done else ""}
            return item | {"type": "function_call"} | called
        content = [_spell_part(block.channel, block.text)] if done else []
        if block.channel.kind == "reasoning":
            return item | {"type": "reasoning", "summary": [], "content": content}
        return item | {"type": "message", "role": "assistant", "content": content}

    def _spell(self, status: str) -> dict[str, Any]:
        told, body = self._told or Told(Head("", 0)), self._asked.body
        finished = told.finishes.get(0)
        why = _UNFINISHED.get(finished.reason) if finished is not None and status == "incomplete" else None
        ended = status in {"completed", "incomplete"}
        return {
            "id": f"resp_{told.head.id}", "object": "response", "created_at": told.head.created, "status": status,
            "background": False, "error": None, "incomplete_details": {"reason": why} if why else None,
            "instructions": None, "max_output_tokens": body.get("max_tokens"), "metadata": {},
            "model": self._asked.model,
            "output": [self._item(at, "completed") for at in range(len(self._blocks))] if ended else [],
            "parallel_tool_calls": body.get("parallel_tool_calls", True), "previous_response_id": None,
            "reasoning": {"effort": body.get("reasoning_effort"), "summary": None}, "store": False,
            "temperature": body.get("temperature"), "text": {"format": _spell_format(body.get("response_format"))},
            "tool_choice": _spell_choice(body.get("tool_choice", "auto")),
            "tools": [{"type": "function", **tool["function"]} for tool in body.get("tools", ())],
            "top_p": body.get("top_p"), "truncation": "disabled",
            "usage": _spell_usage(told.usage) if ended and told.usage is not None else None,
        }  # fmt: skip


def _status(told: Told) -> str:
    return "incomplete" if told.finishes[0].reason in _UNFINISHED else "completed"


def _spell_format(wanted: Any) -> dict[str, Any]:
    if wanted is None:
        return {"type": "text"}
    return {"type": wanted["type"], **wanted.get("json_schema", {})}


def _spell_choice(choice: Any) -> Any:
    return choice if isinstance(choice, str) else {"type": "function", "name": choice["function"]["name"]}


def _spell_part(channel: Channel, text: str) -> dict[str, Any]:
    kind = _PARTS[channel.kind]
    if kind == "output_text":
        return {"type": kind, "text": text, "annotations": [], "logprobs": []}
    return {"type": kind, "refusal" if kind == "refusal" else "text": text}


def _spell_usage(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.prompt,
        "input_tokens_details": {"cached_tokens": usage.cached, "cache_write_tokens": 0},
        "output_tokens": usage.completion,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.prompt + usage.completion,
    }
