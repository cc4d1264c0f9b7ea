"""What fails becomes a refusal of the face's form; the log alone has the details."""

import logging
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from sekisho.broker.answering import Handler, answer, log_refusal
from sekisho.errors import Reason, RefusedError, SekishoError, UnavailableError

LONG = "/" + "p" * 100


async def ask(fault: Exception, path: str = "/path") -> tuple[int, str, str | None]:
    """Return status, body and Retry-After of the answer where a handler fails."""

    def refuse(request: web.Request, error: SekishoError) -> web.Response:
        status = {Reason.OVERLOADED: 429}.get(error.reason, 503 if isinstance(error, UnavailableError) else 403)
        headers = log_refusal(request, error, reason=error.reason, status=status)
        return web.Response(text=error.message, status=status, headers=headers)

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        return await answer(request, handler, refuse=refuse, most_bytes=7)

    async def fail(_request: web.Request) -> web.Response:
        raise fault

    app = web.Application(middlewares=[middleware])
    app.router.add_get("/{path:p.*}", fail)
    async with (
        TestServer(app) as server,
        aiohttp.ClientSession() as session,
        session.get(server.make_url(path)) as response,
    ):
        assert response.headers["Cache-Control"] == "no-store"
        return response.status, await response.text(), response.headers.get("Retry-After")


def said(caplog: pytest.LogCaptureFixture, level: int) -> dict[str, Any]:
    (record,) = [each for each in caplog.records if each.levelno == level and each.name == "sekisho.broker.answering"]
    return {"message": record.getMessage()} | {
        name: vars(record)[name] for name in ("reason", "status", "path", "peer") if name in vars(record)
    }


async def test_a_refusal_is_logged_with_where_it_came_from(caplog: pytest.LogCaptureFixture) -> None:
    assert await ask(RefusedError(Reason.DEBUG_ENABLED, "two facts"), LONG) == (403, "two facts", None)
    assert said(caplog, logging.WARNING) == {
        "message": "two facts", "reason": Reason.DEBUG_ENABLED, "status": 403, "path": LONG[:80], "peer": "127.0.0.1",
    }  # fmt: skip


async def test_what_may_pass_by_itself_is_to_be_asked_again() -> None:
    assert await ask(UnavailableError(Reason.KMS_UNAVAILABLE, "not now")) == (503, "not now", "2")
    assert await ask(UnavailableError(Reason.OVERLOADED, "not now")) == (429, "not now", "2")


async def test_what_nobody_foresaw_is_logged_whole_and_tells_nothing(caplog: pytest.LogCaptureFixture) -> None:
    assert await ask(ValueError("secret"), LONG) == (503, "see the error before", "2")
    assert said(caplog, logging.ERROR) == {"message": "a request failed", "path": LONG[:80], "peer": "127.0.0.1"}


@pytest.mark.parametrize(
    ("fault", "reason", "message"),
    [
        (web.HTTPRequestEntityTooLarge(7, 8), Reason.REQUEST_TOO_LARGE, "the body is larger than 7 bytes"),
        (web.HTTPNotFound(), Reason.ENDPOINT_UNKNOWN, "status 404"),
        (web.HTTPFound("/elsewhere"), Reason.ENDPOINT_UNKNOWN, "status 302"),
    ],
    ids=["too large", "not there", "elsewhere"],
)
async def test_what_the_server_itself_refuses_is_a_refusal_too(
    caplog: pytest.LogCaptureFixture, fault: Exception, reason: Reason, message: str
) -> None:
    assert await ask(fault) == (403, message, None)
    assert said(caplog, logging.WARNING)["reason"] is reason
