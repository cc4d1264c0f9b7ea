"""How both faces of the broker answer what fails: with a refusal of their own form, the details in the log alone."""

import logging
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web

from sekisho.broker.telling import ASK_AGAIN
from sekisho.errors import Reason, RefusedError, SekishoError, UnavailableError

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Refuse = Callable[[web.Request, SekishoError], web.Response]
_LOG: Final = logging.getLogger(__name__)
_RETRY_SECONDS: Final = "2"
_MOST_PATH: Final = 80


async def answer(request: web.Request, handler: Handler, *, refuse: Refuse, most_bytes: int) -> web.StreamResponse:
    """Answer a request; whatever fails becomes a refusal as the face spells it."""
    try:
        return await handler(request)
    except SekishoError as error:
        return refuse(request, error)
    except web.HTTPRequestEntityTooLarge:
        return refuse(request, RefusedError(Reason.REQUEST_TOO_LARGE, f"the body is larger than {most_bytes} bytes"))
    except web.HTTPException as error:
        return refuse(request, RefusedError(Reason.ENDPOINT_UNKNOWN, f"status {error.status}"))
    except Exception:  # noqa: BLE001 - whatever it is, it releases nothing and tells nothing
        _LOG.exception("a request failed", extra={"path": request.path[:_MOST_PATH], "peer": request.remote or ""})
        return refuse(request, UnavailableError(Reason.INTERNAL_ERROR, "see the error before"))


def log_refusal(request: web.Request, error: SekishoError, *, reason: Reason, status: int) -> dict[str, str]:
    """Log a refusal with its details, and what the outside is told; return the headers of its answer."""
    facts = {"reason": reason, "status": status, "path": request.path[:_MOST_PATH], "peer": request.remote or ""}
    _LOG.warning(error.message, extra=facts)
    again = {"Retry-After": _RETRY_SECONDS} if status in {429, ASK_AGAIN} else {}
    return {"Cache-Control": "no-store"} | again
