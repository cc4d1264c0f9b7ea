"""The key broker protocol over HTTP, as guests of Confidential Containers speak it."""

import asyncio
import base64
import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from sekisho.broker import kbs
from sekisho.broker.kbs import COOKIE, PREFIX, KbsApi, Tokens
from sekisho.broker.kbs_sessions import Session
from sekisho.errors import Reason, RefusedError, UnavailableError
from sekisho.kube.pods import PodFacts
from tests.unit.broker.guest import Guest, unspell
from tests.unit.broker.parts import DATA_KEY, POD, build_pod
from tests.unit.broker.release_cases import build_rules
from tests.unit.broker.test_kbs_release import AUTH, PATH, GuestWorld

ERRORS = "https://github.com/confidential-containers/kbs/errors/"


@dataclass
class Pods:
    """Pods by address; the loopback address is the guest's."""

    world: GuestWorld
    trouble: Exception | None = None
    name: str = POD

    async def find(self, address: str) -> PodFacts:
        assert address == "127.0.0.1"
        if self.trouble is not None:
            raise self.trouble
        return await self.world.pod(self.name)


@dataclass
class Face:
    """A running face, and a guest before it."""

    guest: GuestWorld = field(default_factory=GuestWorld)
    outcomes: list[tuple[str, Reason]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.pods = Pods(self.guest)
        self.tokens = Tokens(300)
        self.broker = self.guest.build()
        self.base, self.session = "", aiohttp.ClientSession()

    @asynccontextmanager
    async def serve(self) -> AsyncIterator["Face"]:
        api = KbsApi(
            self.broker, self.pods, self.tokens, self.guest.world.clock.now, lambda *told: self.outcomes.append(told)
        )
        app = web.Application()
        app.add_subapp(PREFIX, api.build())
        async with TestServer(app) as server, self.session:
            self.base = str(server.make_url(PREFIX))
            yield self

    async def ask(
        self, method: str, path: str, body: Any = None, **headers: str
    ) -> tuple[int, Any, aiohttp.ClientResponse]:
        data = None if body is None else io.BytesIO(body if isinstance(body, bytes) else json.dumps(body).encode())
        async with self.session.request(method, self.base + path, data=data, headers=headers) as response:
            assert response.headers["Cache-Control"] == "no-store"
            return response.status, json.loads(await response.read()), response

    async def attest(self) -> tuple[str, str]:
        """Return cookie and token of an attested session."""
        status, challenge, response = await self.ask("POST", "/auth", AUTH)
        assert status == 200
        cookie = response.cookies[COOKIE]
        assert (cookie["path"], cookie["secure"], cookie["httponly"]) == (PREFIX, True, True)
        assert cookie["samesite"] == "Strict"
        header = f"{COOKIE}={cookie.value}"
        status, body, response = await self.ask("POST", "/attest", self.guest.answer(challenge["nonce"]), Cookie=header)
        assert status == 200, body
        assert response.cookies[COOKIE].value == cookie.value
        return header, body["token"]

    async def refuse(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, str, str]:
        status, told, _ = await self.ask(method, path, body, **headers)
        assert set(told) == {"type", "detail"}
        return status, told["type"].removeprefix(ERRORS), told["detail"]


async def test_a_guest_gets_its_key_by_its_cookie() -> None:
    async with Face().serve() as face:
        cookie, _ = await face.attest()
        status, answer, _ = await face.ask("GET", f"/resource/{PATH}", Cookie=cookie)
        assert status == 200
        assert face.guest.guest.open(answer) == DATA_KEY
        assert face.outcomes == [
            ("/kbs/v0/auth", Reason.READY), ("/kbs/v0/attest", Reason.ATTESTED),
            ("/kbs/v0/resource", Reason.KEY_RELEASED),
        ]  # fmt: skip


async def test_what_is_refused_is_counted_by_its_route_and_never_by_the_name_of_a_resource() -> None:
    async with Face().serve() as face:
        asked = (
            ("POST", "/auth"), ("POST", "/attest"), ("GET", f"/resource/{PATH}"), ("GET", "/other"),
            ("GET", "/resource/"),
        )  # fmt: skip
        for method, path in asked:
            await face.refuse(method, path, b"{" if method == "POST" else None)
        assert [route for route, _ in face.outcomes] == [
            "/kbs/v0/auth", "/kbs/v0/attest", "/kbs/v0/resource", "other",
            "/kbs/v0/resource",
        ]  # fmt: skip
        assert face.outcomes[0][1] is Reason.REQUEST_INVALID
        assert face.outcomes[3][1] is Reason.ENDPOINT_UNKNOWN


async def test_a_guest_gets_its_key_by_its_token() -> None:
    async with Face().serve() as face:
        _, token = await face.attest()
        status, answer, _ = await face.ask("GET", f"/resource/{PATH}", Authorization=f"Bearer {token}")
        assert status == 200
        assert face.guest.guest.open(answer) == DATA_KEY
        claims = json.loads(unspell(token.split(".")[1]))
        assert claims["tee-pubkey"] == face.guest.guest.jwk()
        assert claims["exp"] - claims["iat"] == 300
        assert claims["iss"] == "sekisho-broker"
        assert kbs._spell(b"\0\0\x31") == "AAAx"


async def test_without_cookie_and_token_there_is_nothing() -> None:
    async with Face().serve() as face:
        await face.attest()
        told = (401, "TokenNotFound", "the challenge is not known here any more; begin with a new one")
        assert await face.refuse("GET", f"/resource/{PATH}") == told
        assert await face.refuse("GET", f"/resource/{PATH}", Authorization="Basic x") == told
        assert await face.refuse("GET", f"/resource/{PATH}", Cookie=f"{COOKIE}=unknown") == told
        assert await face.refuse("POST", "/attest", {}) == told


@pytest.mark.parametrize("part", ["header", "claims", "signature"])
async def test_a_token_of_another_broker_is_not_believed(part: str) -> None:
    async with Face().serve() as face:
        _, token = await face.attest()
        other = Tokens(300).mint(replace(next(iter(face.guest.sessions._open.values())).session))
        parts, foreign = token.split("."), other.split(".")
        index = ["header", "claims", "signature"].index(part)
        parts[index] = foreign[index] if part == "signature" else base64.urlsafe_b64encode(b"{}").decode().rstrip("=")
        status, kind, _ = await face.refuse("GET", f"/resource/{PATH}", Authorization=f"Bearer {'.'.join(parts)}")
        assert (status, kind) == (401, "TokenVerifierError")


async def test_a_token_from_another_pod_is_worth_nothing() -> None:
    async with Face().serve() as face:
        cookie, token = await face.attest()
        face.guest.world.api.put("pods", build_pod(name="other", uid="uid-2", address="10.8.0.6"))
        face.pods.name = "other"
        for header in ({"Cookie": cookie}, {"Authorization": f"Bearer {token}"}):
            assert (await face.refuse("GET", f"/resource/{PATH}", **header))[:2] == (401, "TokenNotFound")


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "kind"),
    [
        ("POST", "/auth", b"x", 401, "SerdeError"),
        ("POST", "/auth", {**AUTH, "version": "0.3.0"}, 401, "SerdeError"),
        ("POST", "/auth", {**AUTH, "tee": "sample"}, 401, "SerdeError"),
        ("POST", "/auth", b" " * (2**20 + 1), 401, "SerdeError"),
        ("GET", "/auth", None, 404, "InvalidRequestPath"),
        ("GET", "/nothing", None, 404, "InvalidRequestPath"),
        ("GET", "/resource/a/b", None, 404, "InvalidRequestPath"),
        ("POST", "/resource/a/b/c", b"secret", 404, "InvalidRequestPath"),
    ],
)
async def test_what_is_spelt_otherwise_is_refused_in_the_form_of_the_protocol(
    method: str, path: str, body: Any, status: int, kind: str
) -> None:
    async with Face().serve() as face:
        assert (await face.refuse(method, path, body))[:2] == (status, kind)


async def test_a_resource_that_is_not_there_is_told_apart_from_one_that_is_denied() -> None:
    async with Face().serve() as face:
        cookie, _ = await face.attest()
        told = await face.refuse("GET", "/resource/default/key/2", Cookie=cookie)
        assert told == (404, "InvalidRequestPath", "there is nothing here")
        face.guest.world.rules = build_rules(owners=())
        told = await face.refuse("GET", f"/resource/{PATH}", Cookie=cookie)
        assert told == (401, "PolicyDeny", "owner and tenant have not both granted this release")


async def test_evidence_that_does_not_hold_is_an_attestation_error() -> None:
    async with Face(GuestWorld(bound=lambda _: bytes(64))).serve() as face:
        _, challenge, response = await face.ask("POST", "/auth", AUTH)
        cookie = f"{COOKIE}={response.cookies[COOKIE].value}"
        told = await face.refuse("POST", "/attest", face.guest.answer(challenge["nonce"]), Cookie=cookie)
        assert told == (401, "AttestationError", "the evidence was made for something else than this request")


async def test_a_stranger_learns_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async with Face().serve() as face:
        face.pods.trouble = RefusedError(Reason.POD_NOT_KNOWN, "0 running pods have the address 10.1.2.3, one must")
        status, kind, detail = await face.refuse("POST", "/auth", AUTH)
        assert (status, kind) == (401, "PolicyDeny")
        assert "10.1.2.3" not in detail
        assert "0 running pods have the address 10.1.2.3" in caplog.text


async def test_what_helps_to_ask_again_is_told_as_such() -> None:
    async with Face().serve() as face:
        face.pods.trouble = UnavailableError(Reason.OVERLOADED, "too much")
        status, _, response = await face.ask("POST", "/auth", AUTH)
        assert (status, response.headers["Retry-After"]) == (429, "2")
        face.pods.trouble = UnavailableError(Reason.API_UNAVAILABLE, "no answer")
        status, _, response = await face.ask("POST", "/auth", AUTH)
        assert (status, response.headers["Retry-After"]) == (503, "2")


async def test_a_fault_of_ours_tells_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async with Face().serve() as face:
        face.pods.trouble = ValueError("secret detail")
        status, kind, detail = await face.refuse("POST", "/auth", AUTH)
        assert (status, kind) == (503, "PluginInternalError")
        assert "secret" not in detail
        assert "a request failed" in caplog.text


async def test_a_body_that_does_not_arrive_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kbs, "_BODY_SECONDS", 0.05)

    async def slowly() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(0.5)
        yield b"}"

    async with Face().serve() as face, face.session.post(face.base + "/auth", data=slowly()) as response:
        assert response.status == 401
        assert (await response.json())["type"] == ERRORS + "SerdeError"


async def test_few_bodies_are_held_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kbs, "_MOST_BODIES", 0)
    async with Face().serve() as face:
        assert (await face.refuse("POST", "/auth", AUTH))[0] == 429


async def test_a_token_is_minted_for_attested_sessions_with_their_key() -> None:
    session = Session("id", bytes(32), "uid", "snp", "sha384", datetime(2026, 11, 29, tzinfo=UTC))
    tokens = Tokens(60)
    assert tokens.read(tokens.mint(session), at=session.made_at + timedelta(seconds=1)) == "id"
    assert "PRIVATE" not in repr(tokens)
    assert Guest().jwk() != Guest().jwk()
