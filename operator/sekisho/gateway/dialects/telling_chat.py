"""Chat completions and completions as their callers hear them. Pure."""

from json.encoder import encode_basestring
from typing import Any, Final

from sekisho.errors import Reason
from sekisho.gateway.dialects.answers import Channel
from sekisho.gateway.dialects.chunks import Called, Finished, Head, Usage
from sekisho.gateway.dialects.form import Asked, Endpoint
from sekisho.gateway.dialects.refusals import encode, render_error_event
from sekisho.gateway.dialects.telling import Block, Told

_KEYS: Final = {"content": "content", "reasoning": "reasoning_content", "refusal": "refusal"}


class ChatTeller:
    """Spells chat completions."""

    many = True
    keeps = False
    steady = True

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._begun: set[int] = set()
        self._prefix = ""

    def begin(self, head: Head) -> bytes:
        """Keep what every chunk begins with."""
        fields = {"id": head.id, "object": "chat.completion.chunk", "created": head.created, "model": self._asked.model}
        self._prefix = encode(fields).decode()[:-1]
        return b""

    def open(self, channel: Channel, call: Called | None) -> bytes:
        """Name the role, once a choice, and the tool that is called."""
        delta: dict[str, Any] = {}
        if channel.choice not in self._begun:
            self._begun.add(channel.choice)
            delta["role"] = "assistant"
        if call is not None:
            delta["tool_calls"] = [{"index": call.tool, **_spell_call(call, "")}]
        return self._spell(channel.choice, encode(delta).decode()) if delta else b""

    def say(self, channel: Channel, text: str) -> bytes:
        """Tell a piece."""
        said = encode_basestring(text)
        if channel.tool is None:
            return self._spell(channel.choice, f'{{"{_KEYS[channel.kind]}":{said}}}')
        call = f'{{"index":{channel.tool},"function":{{"arguments":{said}}}}}'
        return self._spell(channel.choice, f'{{"tool_calls":[{call}]}}')

    def close(self, channel: Channel) -> bytes:
        """Say nothing: the dialect does not mark the ends of texts."""
        return b""

    def finish(self, finished: Finished) -> bytes:
        """End a choice."""
        return self._spell(finished.choice, "{}", f'"{finished.reason}"')

    def _spell(self, choice: int, delta: str, reason: str = "null") -> bytes:
        chunk = f'{{"index":{choice},"delta":{delta},"finish_reason":{reason}}}'
        return f'data: {self._prefix},"choices":[{chunk}]}}\n\n'.encode()

    def end(self, told: Told) -> bytes:
        """Tell the counts, where they were asked for, and the last word."""
        last = b"data: [DONE]\n\n"
        if not _wants_counts(self._asked) or told.usage is None:
            return last
        usage = encode(spell_usage(told.usage)).decode()
        return f'data: {self._prefix},"choices":[],"usage":{usage}}}\n\n'.encode() + last

    def fail(self, reason: Reason, message: str) -> bytes:
        """End with an error."""
        return render_error_event(Endpoint.CHAT, reason, message)

    def whole(self, told: Told) -> bytes:
        """Spell a whole answer."""
        choices = [
            {
                "index": at,
                "message": _spell_message([block for block in told.blocks if block.channel.choice == at]),
                "logprobs": None,
                "finish_reason": told.finishes[at].reason,
            }
            for at in sorted(told.finishes)
        ]
        return encode(spell_answer("chat.completion", self._asked.model, told) | {"choices": choices} | _usage_of(told))


class CompletionTeller:
    """Spells completions."""

    many = True
    keeps = False
    steady = True

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._fields: dict[str, Any] = {}

    def begin(self, head: Head) -> bytes:
        """Keep what every chunk begins with."""
        self._fields = spell_answer("text_completion", self._asked.model, Told(head))
        return b""

    def open(self, channel: Channel, call: Called | None) -> bytes:
        """Say nothing: texts begin with their first piece."""
        return b""

    def say(self, channel: Channel, text: str) -> bytes:
        """Tell a piece."""
        return self._spell([_spell_choice(channel.choice, text, None)])

    def close(self, channel: Channel) -> bytes:
        """Say nothing: the dialect does not mark the ends of texts."""
        return b""

    def finish(self, finished: Finished) -> bytes:
        """End a choice."""
        return self._spell([_spell_choice(finished.choice, "", finished.reason)])

    def _spell(self, choices: list[dict[str, Any]], **more: Any) -> bytes:
        return b"data: " + encode({**self._fields, "choices": choices, **more}) + b"\n\n"

    def end(self, told: Told) -> bytes:
        """Tell the counts, where they were asked for, and the last word."""
        counts = self._spell([], **_usage_of(told)) if _wants_counts(self._asked) and told.usage is not None else b""
        return counts + b"data: [DONE]\n\n"

    def fail(self, reason: Reason, message: str) -> bytes:
        """End with an error."""
        return render_error_event(Endpoint.COMPLETIONS, reason, message)

    def whole(self, told: Told) -> bytes:
        """Spell a whole answer."""
        choices = [
            _spell_choice(
                at, "".join(block.text for block in told.blocks if block.channel.choice == at), finished.reason
            )
            for at, finished in sorted(told.finishes.items())
        ]
        return encode(spell_answer("text_completion", self._asked.model, told) | {"choices": choices} | _usage_of(told))


def _wants_counts(asked: Asked) -> bool:
    return bool((asked.body.get("stream_options") or {}).get("include_usage"))


def spell_answer(kind: str, model: str, told: Told) -> dict[str, Any]:
    """Spell what every answer of these dialects begins with."""
    return {"id": told.head.id, "object": kind, "created": told.head.created, "model": model}


def spell_usage(usage: Usage) -> dict[str, Any]:
    """Spell counts of tokens."""
    counts: dict[str, Any] = {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "total_tokens": usage.prompt + usage.completion,
    }
    if usage.cached:
        counts["prompt_tokens_details"] = {"cached_tokens": usage.cached}
    if usage.reasoning:
        counts["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning}
    return counts


def _usage_of(told: Told) -> dict[str, Any]:
    return {} if told.usage is None else {"usage": spell_usage(told.usage)}


def _spell_choice(at: int, text: str, reason: str | None) -> dict[str, Any]:
    return {"index": at, "text": text, "logprobs": None, "finish_reason": reason}


def _spell_call(call: Called, arguments: str) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}


def _spell_message(blocks: list[Block]) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": None}
    for kind, key in _KEYS.items():
        texts = [block.text for block in blocks if block.channel.kind == kind]
        if texts:
            message[key] = "".join(texts)
    calls = [_spell_call(block.call, block.text) for block in blocks if block.call is not None]
    if calls:
        message["tool_calls"] = calls
    return message
