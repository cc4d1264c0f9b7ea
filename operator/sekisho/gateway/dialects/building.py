"""Which way an answer takes back to its caller. Pure."""

from collections.abc import Callable, Mapping
from typing import Final

from sekisho.errors import Reason
from sekisho.gateway.dialects.answers import Answerer, TextFilter
from sekisho.gateway.dialects.form import Asked, Endpoint
from sekisho.gateway.dialects.telling import Conductor, Teller
from sekisho.gateway.dialects.telling_chat import ChatTeller, CompletionTeller
from sekisho.gateway.dialects.telling_messages import MessagesTeller
from sekisho.gateway.dialects.telling_responses import ResponsesTeller

_TELLERS: Final[Mapping[Endpoint, Callable[[Asked], Teller]]] = {
    Endpoint.CHAT: ChatTeller,
    Endpoint.COMPLETIONS: CompletionTeller,
    Endpoint.RESPONSES: ResponsesTeller,
    Endpoint.MESSAGES: MessagesTeller,
}


def build_answerer(asked: Asked, text_filter: TextFilter | None) -> Answerer | None:
    """Return what turns the answer to a request into the caller's; None where bytes pass as they are.

    They do where the engine speaks the caller's dialect and nothing is to be examined, and where the answer is no text.
    """
    is_own = asked.endpoint == asked.engine_path
    if asked.endpoint is Endpoint.EMBEDDINGS or (text_filter is None and is_own):
        return None
    return Conductor(asked.engine_path, _TELLERS[asked.endpoint](asked), text_filter, is_own=is_own)


def render_failure(asked: Asked, reason: Reason, message: str) -> bytes:
    """Return the last words of a stream of which nothing was told yet; of a request for texts."""
    return _TELLERS[asked.endpoint](asked).fail(reason, message)
