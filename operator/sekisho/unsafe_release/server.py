"""What pods may ask of the unsafe development release: one key, by one route, over TLS and by their projected token."""

import asyncio
import base64
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiohttp import web

from sekisho.api.names import BROKER_AUDIENCE
from sekisho.errors import Reason, SekishoError
from sekisho.kube.bearer import Authenticator
from sekisho.kube.client import KubeClient
from sekisho.kube.failures import own_trouble
from sekisho.kube.pods import PodFacts, PodIdentity, build_review, parse_pod, parse_review
from sekisho.kube.resources import PODS
from sekisho.unsafe_release.keys import MAX_BODY_BYTES, open_key, parse_question

_LOG: Final = logging.getLogger(__name__)
_WHO: Final = "the release of keys"
_STATUS: Final = {
    Reason.REQUEST_INVALID: 400,
    Reason.SEAL_INVALID: 400,
    Reason.UNAUTHENTICATED: 401,
    Reason.OVERLOADED: 429,
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class KubePods:
    """The API server, asked who asks."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client

    async def review_token(self, token: str) -> PodIdentity:
        """Verify a token with the API server."""
        with own_trouble(_WHO):
            review = await self._client.create(build_review(token, audience=BROKER_AUDIENCE))
        return parse_review(review, audience=BROKER_AUDIENCE)

    async def read_pod(self, namespace: str, name: str) -> PodFacts | None:
        """Read a pod; None where there is none."""
        with own_trouble(_WHO):
            raw = await self._client.get(PODS, name, namespace=namespace)
        return None if raw is None else parse_pod(raw)


@dataclass(slots=True)
class ReleaseApi:
    """The route.

    Attributes:
        outcome: Told the reason of every answer; for metrics.
    """

    authenticator: Authenticator
    keys_dir: Path
    minimum_version: int = 1
    outcome: Callable[[Reason], None] = lambda _reason: None

    def build(self) -> web.Application:
        """Build the application; bodies are bounded by the size of a question."""
        app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[self._answer_errors])
        app.router.add_post("/v1/release", self.post_release)
        return app

    async def post_release(self, request: web.Request) -> web.Response:
        """Release one data key to a pod of a service of ours."""
        header = request.headers.get("Authorization", "")
        pod = await self.authenticator.identify(header, peer=request.remote or "")
        question = parse_question(await request.read())
        data_key = await asyncio.to_thread(
            open_key, question, keys_dir=self.keys_dir, minimum_version=self.minimum_version
        )
        self.outcome(Reason.READY)
        facts = {"model": question.context.model, "version": question.context.version, "key": question.wrapped.key_id}
        _LOG.info("a data key was released without evidence", extra=_name(pod) | facts)
        headers = {"Cache-Control": "no-store"}
        return web.json_response({"dataKey": base64.b64encode(data_key).decode()}, headers=headers)

    @web.middleware
    async def _answer_errors(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Turn every error into a body with reason and message; nothing of the body that came is repeated."""
        try:
            return await handler(request)
        except SekishoError as error:
            self.outcome(error.reason)
            _LOG.warning(error.message, extra={"reason": error.reason, "peer": request.remote or ""})
            status = _STATUS.get(error.reason, 503 if error.retry else 403)
            return web.json_response({"reason": error.reason, "message": error.message}, status=status)
        except web.HTTPRequestEntityTooLarge:
            message = f"the body is larger than {MAX_BODY_BYTES} bytes"
            return web.json_response({"reason": Reason.REQUEST_TOO_LARGE, "message": message}, status=413)
        except web.HTTPException as error:
            message = f"there is nothing at {request.method} {request.path[:80]}"
            return web.json_response({"reason": Reason.REQUEST_INVALID, "message": message}, status=error.status)


def _name(pod: PodFacts) -> dict[str, object]:
    return {"namespace": pod.namespace, "pod": pod.name, "service": pod.service}
