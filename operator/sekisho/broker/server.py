"""What pods of models may ask of the broker, over TLS and by their projected token."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web

from sekisho.broker.answering import Handler, answer, log_refusal
from sekisho.broker.bodies import Bodies
from sekisho.broker.release import Broker
from sekisho.broker.telling import tell
from sekisho.broker.wire import EVICTED, MAX_BODY_BYTES, RELEASE, RENEW, encode_body, parse_ask, parse_proof_body
from sekisho.broker.workload import check_peer
from sekisho.errors import Reason, SekishoError
from sekisho.kube.bearer import Authenticator
from sekisho.kube.pods import PodFacts

_MOST_BODIES: Final = 128
_BODY_SECONDS: Final = 10.0


@dataclass(slots=True)
class BrokerApi:
    """The routes.

    Attributes:
        outcome: Told route and reason of every answer; for metrics.
    """

    broker: Broker
    authenticator: Authenticator
    outcome: Callable[[str, Reason], None] = lambda _route, _reason: None
    _bodies: Bodies = field(default_factory=Bodies)

    def build(self) -> web.Application:
        """Build the application."""
        app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[self._answer_errors])
        app.router.add_post("/v1/challenge", self.post_challenge)
        app.router.add_post("/v1/keys", self.post_keys)
        app.router.add_post("/v1/renew", self.post_renew)
        app.router.add_post("/v1/evicted", self.post_evicted)
        return app

    async def post_challenge(self, request: web.Request) -> web.Response:
        """Give a pod something to commit its evidence to."""
        pod = await self._identify(request)
        ask = parse_ask(await self._read(request))
        return self._say(await self.broker.challenge(pod, ask), Reason.READY, request)

    async def post_keys(self, request: web.Request) -> web.Response:
        """Release a data key for evidence."""
        pod = await self._identify(request)
        proof = parse_proof_body(await self._read(request), purpose=RELEASE)
        return self._say(await self.broker.release(pod, proof), Reason.KEY_RELEASED, request)

    async def post_renew(self, request: web.Request) -> web.Response:
        """Renew a lease for fresh evidence."""
        pod = await self._identify(request)
        proof = parse_proof_body(await self._read(request), purpose=RENEW)
        return self._say(await self.broker.renew(pod, proof), Reason.ATTESTED, request)

    async def post_evicted(self, request: web.Request) -> web.Response:
        """Take down that a pod has dropped its key."""
        pod = await self._identify(request)
        proof = parse_proof_body(await self._read(request), purpose=EVICTED)
        await self.broker.evicted(pod, proof)
        return self._say({}, Reason.LEASE_EXPIRED, request)

    async def _identify(self, request: web.Request) -> PodFacts:
        """Return the pod that asks, from its own address."""
        peer = request.remote or ""
        pod = await self.authenticator.identify(request.headers.get("Authorization", ""), peer=peer)
        check_peer(peer, pod.addresses, pod=f"{pod.namespace}/{pod.name}")
        return pod

    async def _read(self, request: web.Request) -> bytes:
        return await self._bodies.read(request, most=_MOST_BODIES, seconds=_BODY_SECONDS)

    def _say(self, body: dict[str, object], reason: Reason, request: web.Request) -> web.Response:
        self.outcome(request.path, reason)
        headers = {"Cache-Control": "no-store"}
        return web.Response(body=encode_body(body), content_type="application/json", headers=headers)

    @web.middleware
    async def _answer_errors(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Turn every error into a reason and its constant sentence; the details are logged here and nowhere else."""
        return await answer(request, handler, refuse=self._refuse, most_bytes=MAX_BODY_BYTES)

    def _refuse(self, request: web.Request, error: SekishoError) -> web.Response:
        told = tell(error)
        known = request.match_info.route.resource is not None
        self.outcome(request.path if known else "other", told.reason)
        headers = log_refusal(request, error, reason=told.reason, status=told.status)
        return web.json_response({"reason": told.reason, "message": told.sentence}, status=told.status, headers=headers)
