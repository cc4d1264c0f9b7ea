"""What attesters may ask of the trust controller: enrol, activate, challenge, attest; always about their own node."""

import base64
import binascii
import json
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from aiohttp import web

from sekisho.attest.evidence import MAX_EVIDENCE_BYTES, parse_evidence
from sekisho.errors import Reason, RefusedError, SekishoError, UnavailableError
from sekisho.trust.challenges import CHALLENGE_SECONDS, Challenges
from sekisho.trust.devices import check_elsewhere
from sekisho.trust.enrolment import Enrolments, Makers, Request
from sekisho.trust.identity import Doorman
from sekisho.trust.judging import DAMNING, Rules, Verify, judge_node
from sekisho.trust.nodes import Nodes, TrustedNode, spell_enrolment, spell_result
from sekisho.trust.sweeping import Sweeper

MAX_BODY_BYTES: Final = MAX_EVIDENCE_BYTES * 4 // 3 + 16 * 1024
_MAX_FIELD: Final = 16 * 1024
_MAX_CERTIFICATES: Final = 8
_LOG: Final = logging.getLogger(__name__)
_STATUS: Final = {
    Reason.REQUEST_INVALID: 400,
    Reason.EVIDENCE_INVALID: 400,
    Reason.UNAUTHENTICATED: 401,
    Reason.CHALLENGE_UNKNOWN: 409,
    Reason.OVERLOADED: 429,
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Standing:
    """By what this process judges just now; read anew for every question, so that it may change while it runs."""

    makers: Callable[[], Makers]
    rules: Callable[[], Rules]
    verify: Verify


@dataclass(frozen=True, slots=True)
class Times:
    """How long an attestation counts, and after how many seconds a node is asked to come again."""

    valid_seconds: int = 3600
    interval_seconds: int = 300


@dataclass(slots=True)
class TrustApi:
    """The routes.

    Attributes:
        leads: Whether this process may write; another one does where it may not.
        outcome: Told the reason of every attestation; for metrics.
        enrolled: Told the reason of every enrolment; for metrics.
    """

    nodes: Nodes
    doorman: Doorman
    challenges: Challenges
    enrolments: Enrolments
    standing: Standing
    times: Times
    sweeper: Sweeper
    clock: Callable[[], float] = time.time
    leads: Callable[[], bool] = lambda: True
    outcome: Callable[[Reason], None] = lambda _reason: None
    enrolled: Callable[[Reason], None] = lambda _reason: None

    def build(self) -> web.Application:
        """Build the application; bodies are bounded by the size of evidence."""
        app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[self._answer_errors])
        for what in (self.post_enrol, self.post_activate, self.post_challenge, self.post_attest):
            app.router.add_post(f"/v1/nodes/{what.__name__.removeprefix('post_')}", what)
        return app

    async def post_enrol(self, request: web.Request) -> web.Response:
        """Begin to make an attestation key the node's."""
        node, body = await self._read(request, {"node", "akPublic", "ekPublic", "certificates"})
        certificates = body["certificates"]
        if not isinstance(certificates, list) or len(certificates) > _MAX_CERTIFICATES:
            raise _invalid(f'"certificates" is not a list of at most {_MAX_CERTIFICATES}')
        asked = Request(
            endorsement=_decode(body["ekPublic"], "ekPublic"),
            attestation=_decode(body["akPublic"], "akPublic"),
            certificates=tuple(_decode(item, "certificates") for item in certificates),
        )
        now = datetime.fromtimestamp(self.clock(), UTC)
        try:
            name, credential = self.enrolments.begin(node, asked, self.standing.makers(), at=now)
        except RefusedError as error:
            self.enrolled(error.reason)
            raise
        answer = {"enrolment": name, "credential": _encode(credential.blob), "secret": _encode(credential.secret)}
        return _answer(answer)

    async def post_activate(self, request: web.Request) -> web.Response:
        """Make an attestation key the node's, once its TPM has opened what was made for it."""
        node, body = await self._read(request, {"enrolment", "proof"})
        try:
            ak_name, ek_digest = self.enrolments.finish(node, _text(body, "enrolment"), _decode(body["proof"], "proof"))
        except RefusedError as error:
            self.enrolled(error.reason)
            raise
        await self.nodes.write(node, spell_enrolment(ak_name, ek_digest))
        self.enrolled(Reason.ATTESTED)
        _LOG.info("a key was enrolled", extra={"node": node.name, "ak_name": ak_name.hex(), "ek_digest": ek_digest})
        return _answer({"akName": ak_name.hex()})

    async def post_challenge(self, request: web.Request) -> web.Response:
        """Ask the node for fresh evidence."""
        node, _ = await self._read(request, {"node"})
        challenge = self.challenges.issue(node.name, node.uid, self.standing.rules().digest)
        return _answer({
            "challenge": challenge.id,
            "nonce": _encode(challenge.nonce),
            "uid": node.uid,
            "policyDigest": challenge.policy_digest,
            "akName": node.ak_name,
            "seconds": CHALLENGE_SECONDS,
        })  # fmt: skip

    async def post_attest(self, request: web.Request) -> web.Response:
        """Judge the evidence of the node, and write what it has proven; take back what it proved where it is bad."""
        node, body = await self._read(request, {"challenge", "evidence"})
        challenge = self.challenges.take(node.name, node.uid, _text(body, "challenge"))
        try:
            result = judge_node(
                parse_evidence(body["evidence"]),
                node,
                challenge,
                rules=self.standing.rules(),
                verify=self.standing.verify,
                valid_seconds=self.times.valid_seconds,
                now_at=self.clock(),
            )
            check_elsewhere(node, result.devices, self.nodes.all())
        except RefusedError as error:
            self.outcome(error.reason)
            if error.reason in DAMNING:
                await self.sweeper.withdraw(node, error.reason, error.message)
            raise
        await self.nodes.write(node, spell_result(node, result))
        self.sweeper.forgive(node)
        self.outcome(Reason.ATTESTED)
        _LOG.info("a node is attested", extra={"node": node.name, "tees": result.tees, "expires_at": result.expires_at})
        answer = {"expiresAt": result.expires_at, "againAfterSeconds": self.times.interval_seconds}
        return _answer(answer | ({"remark": result.remark} if result.remark else {}))

    async def _read(self, request: web.Request, fields: set[str]) -> tuple[TrustedNode, Mapping[str, Any]]:
        """Return the node that asks and what it says; a node speaks of no other one."""
        if not self.leads():
            raise UnavailableError(Reason.API_UNAVAILABLE, "another trust controller leads; ask again")
        name = await self.doorman.identify(request.headers.get("Authorization", ""), peer=request.remote or "")
        node = self.nodes.find(name)
        if node is None:
            raise UnavailableError(Reason.API_UNAVAILABLE, f"node {name} is not known yet; ask again")
        body = _parse(await request.read(), fields)
        said = body.get("node", name)
        if said != name:
            raise RefusedError(
                Reason.NOT_ALLOWED,
                f"the attester of node {name} speaks of node {str(said)[:64]!r}; each speaks of its own node alone",
            )
        return node, body

    @web.middleware
    async def _answer_errors(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Turn every error into a body with reason and message."""
        try:
            return await handler(request)
        except SekishoError as error:
            _LOG.warning(error.message, extra={"reason": error.reason, "peer": request.remote or ""})
            status = _STATUS.get(error.reason, 503 if error.retry else 403)
            headers = {"Retry-After": "5"} if error.retry else {}
            body = {"reason": error.reason, "message": error.message}
            return web.json_response(body, status=status, headers=headers)
        except web.HTTPRequestEntityTooLarge:
            message = f"the body is larger than {MAX_BODY_BYTES} bytes"
            return web.json_response({"reason": Reason.REQUEST_TOO_LARGE, "message": message}, status=413)
        except web.HTTPException as error:
            message = f"there is nothing at {request.method} {request.path[:80]}"
            return web.json_response({"reason": Reason.REQUEST_INVALID, "message": message}, status=error.status)


def _parse(data: bytes, fields: set[str]) -> Mapping[str, Any]:
    try:
        body = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _invalid("it is not JSON") from error
    if not isinstance(body, dict) or set(body) != fields:
        raise _invalid(f"it is not an object of {', '.join(sorted(fields))}")
    return body


def _text(body: Mapping[str, Any], name: str) -> str:
    value = body[name]
    if not isinstance(value, str) or len(value) > 64 or not value.isascii():
        raise _invalid(f'"{name}" is not a text of at most 64 characters')
    return value


def _decode(value: Any, name: str) -> bytes:
    if isinstance(value, str) and len(value) <= _MAX_FIELD:
        try:
            return base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError) as error:
            raise _invalid(f'"{name}" is not base64') from error
    raise _invalid(f'"{name}" is not base64 of at most {_MAX_FIELD} characters')


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _invalid(why: str) -> RefusedError:
    return RefusedError(Reason.REQUEST_INVALID, f"the body cannot be read: {why}")


def _answer(body: Mapping[str, Any]) -> web.Response:
    return web.json_response(body, headers={"Cache-Control": "no-store"})
