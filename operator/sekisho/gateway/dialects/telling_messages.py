"""Anthropic's Messages as their callers hear them. Pure."""

from typing import Any, Final

from sekisho.errors import Reason
from sekisho.gateway.dialects.answers import Channel
from sekisho.gateway.dialects.chunks import Called, Finished, Head, Usage, malformed
from sekisho.gateway.dialects.form import Asked, Endpoint
from sekisho.gateway.dialects.refusals import encode, render_error_event
from sekisho.gateway.dialects.strict import BodyLimits, FieldError, parse_json
from sekisho.gateway.dialects.telling import Block, Told

_STOPS: Final = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}


class MessagesTeller:
    """Spells messages; a refusal of the model is a text like any other, for the dialect has no other place."""

    many = False
    keeps = False
    steady = True

    def __init__(self, asked: Asked) -> None:
        self._model = asked.model
        self._stops = asked.body.get("stop") or ()
        self._index = -1
        self._called = False

    def begin(self, head: Head) -> bytes:
        """Begin; how long the prompt is becomes known at the end."""
        message = self._spell(head, [], None) | {"usage": _spell_usage(Usage())}
        return _event("message_start", message=message)

    def open(self, channel: Channel, call: Called | None) -> bytes:
        """Begin a block."""
        self._index += 1
        self._called = self._called or call is not None
        block = _spell_block(channel, call, "")
        return _event("content_block_start", index=self._index, content_block=block)

    def say(self, channel: Channel, text: str) -> bytes:
        """Tell a piece."""
        if channel.kind == "reasoning":
            delta = {"type": "thinking_delta", "thinking": text}
        elif channel.tool is None:
            delta = {"type": "text_delta", "text": text}
        else:
            delta = {"type": "input_json_delta", "partial_json": text}
        return _event("content_block_delta", index=self._index, delta=delta)

    def close(self, channel: Channel) -> bytes:
        """End a block."""
        return _event("content_block_stop", index=self._index)

    def finish(self, finished: Finished) -> bytes:
        """Say nothing yet: why it ended is told with the counts."""
        return b""

    def end(self, told: Told) -> bytes:
        """Tell why it ended, the counts, and the last word."""
        usage = _spell_usage(told.usage or Usage())
        return _event("message_delta", delta=self._spell_end(told), usage=usage) + _event("message_stop")

    def fail(self, reason: Reason, message: str) -> bytes:
        """End with an error."""
        return render_error_event(Endpoint.MESSAGES, reason, message)

    def whole(self, told: Told) -> bytes:
        """Spell a whole answer."""
        self._called = any(block.call is not None for block in told.blocks)
        # A call that was cut short is left out: half of its input would be another input.
        cut = told.finishes[0].reason == "length"
        spelt = [_spell_whole(block, cut=cut) for block in told.blocks]
        content = [block for block in spelt if block is not None]
        message = self._spell(told.head, content, None) | self._spell_end(told)
        return encode(message | {"usage": _spell_usage(told.usage or Usage())})

    def _spell(self, head: Head, content: list[dict[str, Any]], reason: str | None) -> dict[str, Any]:
        return {
            "id": f"msg_{head.id}",
            "type": "message",
            "role": "assistant",
            "model": self._model,
            "content": content,
            "stop_reason": reason,
            "stop_sequence": None,
        }

    def _spell_end(self, told: Told) -> dict[str, Any]:
        finished = told.finishes[0]
        if finished.reason == "stop" and finished.sequence in self._stops:
            return {"stop_reason": "stop_sequence", "stop_sequence": finished.sequence}
        if finished.reason == "stop" and self._called:
            # So engines end a call of a tool that was chosen by its name; a client would not call it.
            return {"stop_reason": "tool_use", "stop_sequence": None}
        return {"stop_reason": _STOPS[finished.reason], "stop_sequence": None}


def _event(kind: str, **fields: Any) -> bytes:
    return b"event: " + kind.encode() + b"\ndata: " + encode({"type": kind, **fields}) + b"\n\n"


def _spell_block(channel: Channel, call: Called | None, text: str) -> dict[str, Any]:
    if call is not None:
        return {"type": "tool_use", "id": call.id, "name": call.name, "input": {}}
    if channel.kind == "reasoning":
        return {"type": "thinking", "thinking": text, "signature": ""}
    return {"type": "text", "text": text}


def _spell_whole(block: Block, *, cut: bool) -> dict[str, Any] | None:
    spelt = _spell_block(block.channel, block.call, block.text)
    if block.call is None:
        return spelt
    try:
        given = parse_json(block.text.encode("utf-8") or b"{}", BodyLimits())
    except FieldError:
        if cut:
            return None
        raise malformed("the arguments of a tool call are not a JSON object") from None
    return spelt | {"input": given}


def _spell_usage(usage: Usage) -> dict[str, int]:
    return {
        "input_tokens": max(0, usage.prompt - usage.cached),
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": usage.cached,
        "output_tokens": usage.completion,
    }
