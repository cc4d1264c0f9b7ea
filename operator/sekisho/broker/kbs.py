"""The face of the broker that speaks Trustee's Key Broker Service protocol, version 0.4.0 (RCAR).

`POST /kbs/v0/auth`, `POST /kbs/v0/attest`, `GET /kbs/v0/resource/{repository}/{type}/{tag}`. What is refused is told in
the protocol's own form with the broker's constant sentences; guests begin anew on 401 and give up on 404.
"""

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from sekisho.attest.jose import parse_token, verify_token
from sekisho.attest.jwk import TokenKey
from sekisho.broker.answering import Handler, answer, log_refusal
from sekisho.broker.bodies import Bodies
from sekisho.broker.kbs_peers import PodFinder
from sekisho.broker.kbs_release import KbsBroker
from sekisho.broker.kbs_sessions import Session
from sekisho.broker.kbs_shapes import MAX_BODY_BYTES, encode_error
from sekisho.broker.telling import ASK_AGAIN, is_about_evidence, tell
from sekisho.errors import Reason, RefusedError, SekishoError
from sekisho.seal.resource import parse_resource_path

PREFIX: Final = "/kbs/v0"
COOKIE: Final = "kbs-session-id"
_BODY_SECONDS: Final = 10.0
_MOST_BODIES: Final = 64
_ISSUER: Final = "sekisho-broker"
_KINDS: Final = {
    Reason.REQUEST_INVALID: "SerdeError",
    Reason.REQUEST_TOO_LARGE: "SerdeError",
    Reason.CHALLENGE_UNKNOWN: "TokenNotFound",
    Reason.UNAUTHENTICATED: "TokenVerifierError",
    Reason.ENDPOINT_UNKNOWN: "InvalidRequestPath",
    Reason.INTERNAL_ERROR: "PluginInternalError",
}


@dataclass(frozen=True, slots=True)
class Tokens:
    """Attestation tokens: they name a session to the one who began it, and say until when; nobody else believes them.

    Attributes:
        seconds: How long a session lives.
        key: Of this process alone.
    """

    seconds: float
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()), repr=False)

    def mint(self, session: Session) -> str:
        """Make the token of an attested session."""
        end = session.made_at + timedelta(seconds=self.seconds)
        claims = {
            "iss": _ISSUER, "iat": int(session.made_at.timestamp()), "exp": int(end.timestamp()), "jti": session.id,
            "tee-pubkey": session.attested.jwk if session.attested else None,
        }  # fmt: skip
        signed = f"{_encode({'alg': 'ES256', 'typ': 'JWT'})}.{_encode(claims)}"
        r, s = decode_dss_signature(self.key.sign(signed.encode(), ec.ECDSA(SHA256())))
        return f"{signed}.{_spell(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"

    def read(self, token: str, *, at: datetime) -> str:
        """Return the id of the session that a token of ours names.

        Raises:
            RefusedError: Unauthenticated; not ours.
        """
        own = TokenKey("", self.key.public_key(), ("ES256",))
        try:
            parsed = parse_token(token.encode())
            verify_token(parsed, (own,), (), at=at)
        except RefusedError as error:
            raise RefusedError(Reason.UNAUTHENTICATED, f"the token is not of this broker: {error.message}") from error
        return str(parsed.claims.get("jti", ""))


@dataclass(slots=True)
class KbsApi:
    """The routes.

    Attributes:
        now: UTC.
        outcome: Told route and reason of every answer; for metrics.
    """

    broker: KbsBroker
    pods: PodFinder
    tokens: Tokens
    now: Callable[[], datetime]
    outcome: Callable[[str, Reason], None] = lambda _route, _reason: None
    _bodies: Bodies = field(default_factory=Bodies)

    def build(self) -> web.Application:
        """Build the application that stands below `/kbs/v0`."""
        app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[self._answer_errors])
        app.router.add_post("/auth", self.post_auth)
        app.router.add_post("/attest", self.post_attest)
        app.router.add_get("/resource/{path:.*}", self.get_resource)
        return app

    async def post_auth(self, request: web.Request) -> web.Response:
        """Begin a session and give the guest something to commit its evidence to."""
        pod = await self.pods.find(request.remote or "")
        begun = self.broker.begin(pod, await self._read(request))
        return self._say(request, begun.challenge, Reason.READY, session=begun.session)

    async def post_attest(self, request: web.Request) -> web.Response:
        """Verify a guest's evidence."""
        pod = await self.pods.find(request.remote or "")
        session = await self.broker.attest(pod, request.cookies.get(COOKIE, ""), await self._read(request))
        return self._say(request, {"token": self.tokens.mint(session)}, Reason.ATTESTED, session=session)

    async def get_resource(self, request: web.Request) -> web.Response:
        """Release what stands behind a name, to the guest's key."""
        pod = await self.pods.find(request.remote or "")
        path = parse_resource_path(request.match_info["path"])
        answer = await self.broker.release(pod, self._find_session(request), path)
        return self._say(request, answer, Reason.KEY_RELEASED)

    def _find_session(self, request: web.Request) -> str:
        """Return the session that a request is of: by its cookie, or by the token of the session."""
        if cookie := request.cookies.get(COOKIE):
            return cookie
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise RefusedError(Reason.CHALLENGE_UNKNOWN, "the request has neither cookie nor token; begin a session")
        return self.tokens.read(token, at=self.now())

    async def _read(self, request: web.Request) -> bytes:
        return await self._bodies.read(request, most=_MOST_BODIES, seconds=_BODY_SECONDS)

    def _say(
        self, request: web.Request, body: dict[str, Any], reason: Reason, *, session: Session | None = None
    ) -> web.Response:
        self.outcome(_route(request), reason)
        response = web.json_response(body, headers={"Cache-Control": "no-store"})
        if session is not None:
            response.set_cookie(COOKIE, session.id, path=PREFIX, secure=True, httponly=True, samesite="Strict")
        return response

    @web.middleware
    async def _answer_errors(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Turn every error into the protocol's form; the details are logged here and nowhere else."""
        return await answer(request, handler, refuse=self._refuse, most_bytes=MAX_BODY_BYTES)

    def _refuse(self, request: web.Request, error: SekishoError) -> web.Response:
        told = tell(error)
        self.outcome(_route(request), told.reason)
        status = _status(told.status)
        headers = log_refusal(request, error, reason=told.reason, status=status)
        return web.json_response(encode_error(_kind(error.reason), told.sentence), status=status, headers=headers)


def _status(told: int) -> int:
    """Return 404 for what is not there, 429 and 503 where asking again helps, and 401 for everything else."""
    return told if told in {404, 429, ASK_AGAIN} else 401


def _kind(reason: Reason) -> str:
    """Name an error as Trustee does."""
    return _KINDS.get(reason) or ("AttestationError" if is_about_evidence(reason) else "PolicyDeny")


def _route(request: web.Request) -> str:
    """Name a route for metrics; names of resources are no part of it."""
    name = request.path.removeprefix(PREFIX).partition("/resource/")
    return f"{PREFIX}/resource" if name[1] else f"{PREFIX}{name[0]}" if name[0] in {"/auth", "/attest"} else "other"


def _encode(value: dict[str, Any]) -> str:
    return _spell(json.dumps(value, separators=(",", ":")).encode())


def _spell(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
