"""What pods of this node may ask of its attester: a signature of the node's hardware under 32 or 64 bytes of theirs."""

import base64
import binascii
import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web

from sekisho.api.names import ATTESTER_AUDIENCE
from sekisho.attest.evidence import encode_evidence
from sekisho.attester.collecting import TPM_DIGEST, TSM_DIGEST, Hardware
from sekisho.errors import Reason, RefusedError, SekishoError
from sekisho.kube.bearer import Authenticator, RateLimit
from sekisho.kube.client import KubeClient
from sekisho.kube.failures import own_trouble
from sekisho.kube.pods import PodFacts, PodIdentity, build_review, parse_pod, parse_review
from sekisho.kube.resources import PODS

MAX_BODY_BYTES: Final = 1024
PODS_PER_SECOND: Final = 1.0
_NODE_PER_SECOND: Final = 5.0
_LOG: Final = logging.getLogger(__name__)
_STATUS: Final = {Reason.REQUEST_INVALID: 400, Reason.UNAUTHENTICATED: 401, Reason.OVERLOADED: 429}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class KubePods:
    """The API server, asked who asks."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client

    async def review_token(self, token: str) -> PodIdentity:
        """Verify a token with the API server."""
        with own_trouble("the attester"):
            review = await self._client.create(build_review(token, audience=ATTESTER_AUDIENCE))
        return parse_review(review, audience=ATTESTER_AUDIENCE)

    async def read_pod(self, namespace: str, name: str) -> PodFacts | None:
        """Read a pod; None where there is none."""
        with own_trouble("the attester"):
            raw = await self._client.get(PODS, name, namespace=namespace)
        return None if raw is None else parse_pod(raw)


@dataclass(slots=True)
class QuoteApi:
    """The route.

    Attributes:
        node: Name of the node whose hardware this is.
        outcome: Told the reason of every answer; for metrics.
    """

    node: str
    authenticator: Authenticator
    hardware: Hardware
    outcome: Callable[[Reason], None] = lambda _reason: None
    _pace: RateLimit = field(
        default_factory=lambda: RateLimit(per_second=_NODE_PER_SECOND, burst=20, reason=Reason.OVERLOADED)
    )

    def build(self) -> web.Application:
        """Build the application; bodies are bounded by the size of a digest."""
        app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[self._answer_errors])
        app.router.add_post("/v1/quote", self.post_quote)
        return app

    async def post_quote(self, request: web.Request) -> web.Response:
        """Sign a digest for a pod that runs on this node.

        What the digest stands for is not known here and need not be: who verifies the evidence binds it to a pod, and
        learns from that pod's own token which one it talks with.
        """
        header = request.headers.get("Authorization", "")
        pod = await self.authenticator.identify(header, peer=request.remote or "")
        if pod.node != self.node:
            raise RefusedError(
                Reason.POD_NOT_KNOWN,
                f"pod {pod.namespace}/{pod.name} runs on node {pod.node or 'none'}, this attester on {self.node}",
            )
        digest = parse_question(await request.read())
        self._pace.check(self.node)
        evidence = await self.hardware.sign(digest)
        self.outcome(Reason.ATTESTED)
        kinds = [piece.kind for piece in evidence]
        _LOG.info("signed for a pod", extra={"namespace": pod.namespace, "pod": pod.name, "evidence": kinds})
        return web.json_response({"evidence": encode_evidence(evidence)}, headers={"Cache-Control": "no-store"})

    @web.middleware
    async def _answer_errors(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Turn every error into a body with reason and message."""
        try:
            return await handler(request)
        except SekishoError as error:
            self.outcome(error.reason)
            _LOG.warning(error.message, extra={"reason": error.reason, "peer": request.remote or ""})
            status = _STATUS.get(error.reason, 503 if error.retry else 403)
            headers = {"Retry-After": "2"} if error.retry else {}
            body = {"reason": error.reason, "message": error.message}
            return web.json_response(body, status=status, headers=headers)
        except web.HTTPRequestEntityTooLarge:
            message = f"the body is larger than {MAX_BODY_BYTES} bytes"
            return web.json_response({"reason": Reason.REQUEST_TOO_LARGE, "message": message}, status=413)
        except web.HTTPException as error:
            message = f"there is nothing at {request.method} {request.path[:80]}"
            return web.json_response({"reason": Reason.REQUEST_INVALID, "message": message}, status=error.status)


def parse_question(data: bytes) -> bytes:
    """Read what shall be signed.

    Raises:
        RefusedError: RequestInvalid.
    """
    try:
        body = json.loads(data)
        text = body.get("bindingDigest") if isinstance(body, dict) and len(body) == 1 else None
        digest = base64.b64decode(text, validate=True) if isinstance(text, str) else b""
    except (ValueError, RecursionError, binascii.Error) as error:
        raise _invalid() from error
    if len(digest) not in {TPM_DIGEST, TSM_DIGEST}:
        raise _invalid()
    return digest


def _invalid() -> RefusedError:
    what = f"base64 of {TPM_DIGEST} or {TSM_DIGEST} bytes"
    return RefusedError(Reason.REQUEST_INVALID, f'the body is no JSON object of "bindingDigest", {what}, alone')
