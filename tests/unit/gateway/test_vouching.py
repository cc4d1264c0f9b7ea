"""Who vouches for callers: files that change, keys fetched over real TLS, and what counts while they cannot be."""

import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from sekisho.access.apikeys import digest_key, spell_key
from sekisho.errors import Reason, RefusedError, UnavailableError
from sekisho.gateway.issuers import UnknownKeyError
from sekisho.gateway.vouching import Vouchers, VouchingTimes
from tests.unit.gateway.house import write_certificate
from tests.unit.gateway.test_issuers import CLAIMS, GOOD, NOW, SET, jwk, sign

KEY = spell_key(bytes(32))


@dataclass
class Clock:
    now: float = NOW

    def __call__(self) -> float:
        return self.now


@dataclass
class Publisher:
    """An issuer's place of keys."""

    url: str = ""
    answer: Any = field(default_factory=lambda: json.dumps(SET))
    status: int = 200
    asked: int = 0

    async def handle(self, _: web.Request) -> web.Response:
        self.asked += 1
        return web.Response(status=self.status, text=self.answer, headers={"Location": "/keys"})


@asynccontextmanager
async def publishing(folder: Path) -> AsyncIterator[Publisher]:
    write_certificate(folder)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    publisher, app = Publisher(), web.Application()
    app.router.add_get("/keys", publisher.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    publisher.url = f"https://localhost:{runner.addresses[0][1]}/keys"
    try:
        yield publisher
    finally:
        await runner.cleanup()


def vouchers(folder: Path, clock: Clock, *, issuers: Any = None, keys: Any = None) -> Vouchers:
    if issuers is not None:
        (folder / "issuers.json").write_text(issuers if isinstance(issuers, str) else json.dumps(issuers))
    if keys is not None:
        (folder / "keys.json").write_text(json.dumps({"keys": keys}))
    times = VouchingTimes(timeout_seconds=60)
    made = Vouchers(folder / "issuers.json", folder / "keys.json", folder, times=times, clock=clock)
    made.load()
    return made


def remote(publisher: Publisher, folder: Path) -> dict[str, Any]:
    spec = {key: value for key, value in GOOD.items() if key != "jwks"}
    return {**spec, "audiences": [CLAIMS["aud"]], "jwksUrl": publisher.url, "caFile": str(folder / "tls.crt")}


async def verify(made: Vouchers, token: str) -> str:
    issuer = made.find_issuer(CLAIMS["iss"])
    assert issuer is not None
    return (await made.verify(token, issuer)).username


def test_files_that_cannot_be_read_keep_the_gateway_from_starting(tmp_path: Path) -> None:
    for name, text in (("issuers.json", b"{"), ("keys.json", b"[]"), ("issuers.json", b"\xff")):
        folder = tmp_path / f"{name}-{text.hex()}"
        folder.mkdir()
        (folder / name).write_bytes(text)
        with pytest.raises(RefusedError) as refused:
            Vouchers(folder / "issuers.json", folder / "keys.json", folder).load()
        assert refused.value.reason is Reason.INVALID_SPEC


def test_where_nothing_is_configured_nobody_is_known(tmp_path: Path) -> None:
    made = vouchers(tmp_path, Clock())
    assert made.find_issuer(CLAIMS["iss"]) is None
    assert made.find_key(KEY) is None


async def test_a_file_that_breaks_later_leaves_what_was_read_before_in_force(tmp_path: Path) -> None:
    pinned = {**GOOD, "audiences": [CLAIMS["aud"]]}
    made = vouchers(tmp_path, Clock(), issuers=[pinned], keys=[{"name": "ci", "sha256": digest_key(KEY)}])
    (tmp_path / "issuers.json").write_text("{")
    with pytest.raises(RefusedError):
        made.load()
    assert await verify(made, sign()) == "corp:4711"
    assert made.find_key(KEY) is not None


async def test_a_key_that_is_taken_away_counts_no_more(tmp_path: Path) -> None:
    made = vouchers(tmp_path, Clock(), issuers=[GOOD], keys=[{"name": "ci", "sha256": digest_key(KEY)}])
    assert made.find_key(KEY) is not None
    (tmp_path / "keys.json").write_text('{"keys": []}')
    (tmp_path / "issuers.json").unlink()
    made.load()
    assert made.find_key(KEY) is None
    assert made.find_issuer(CLAIMS["iss"]) is None


async def test_keys_that_were_never_fetched_accept_nothing(tmp_path: Path) -> None:
    async with publishing(tmp_path) as publisher:
        for answer, status in (
            ("{", 200),
            (json.dumps({"keys": []}), 200),
            (json.dumps(SET), 500),
            (json.dumps(SET), 302),
        ):
            publisher.answer, publisher.status = answer, status
            folder = tmp_path / f"{status}-{len(answer)}"
            folder.mkdir()
            made = vouchers(folder, Clock(), issuers=[remote(publisher, tmp_path)])
            with pytest.raises(UnavailableError) as refused:
                await verify(made, sign())
            assert refused.value.reason is Reason.COLLATERAL_MISSING
            assert 'the keys of issuer "corp" could not be fetched for too long' in refused.value.message
        stranger = {**remote(publisher, tmp_path), "caFile": None}
        publisher.answer, publisher.status, asked = json.dumps(SET), 200, publisher.asked
        with pytest.raises(UnavailableError):
            await verify(vouchers(tmp_path, Clock(), issuers=[stranger]), sign())
        assert publisher.asked == asked


async def test_a_new_key_is_fetched_when_a_token_names_it_but_not_at_every_token(tmp_path: Path) -> None:
    clock = Clock()
    async with publishing(tmp_path) as publisher:
        publisher.answer = json.dumps({"keys": [jwk("ES256")]})
        made = vouchers(tmp_path, clock, issuers=[remote(publisher, tmp_path)])
        assert await verify(made, sign()) == "corp:4711"
        publisher.answer = json.dumps(SET)
        with pytest.raises(UnknownKeyError):
            await verify(made, sign("EdDSA"))
        assert publisher.asked == 1
        clock.now += 11
        assert await verify(made, sign("EdDSA")) == "corp:4711"
        with pytest.raises(UnknownKeyError):
            await verify(made, sign(headers={"kid": "never"}))
        assert publisher.asked == 2


async def test_keys_outlive_an_issuer_that_is_away_and_a_restart_but_not_for_ever(tmp_path: Path) -> None:
    clock = Clock()
    async with publishing(tmp_path) as publisher:
        made = vouchers(tmp_path, clock, issuers=[remote(publisher, tmp_path)])
        assert await verify(made, sign()) == "corp:4711"
        publisher.status = 503
        clock.now += 301
        again = sign(exp=clock.now + 10)
        assert await verify(made, again) == "corp:4711"
        restarted = vouchers(tmp_path, clock)
        assert await verify(restarted, again) == "corp:4711"
        clock.now += 86_400
        with pytest.raises(UnavailableError):
            await verify(restarted, sign(exp=clock.now + 10))


async def test_kept_keys_of_another_place_or_that_are_broken_do_not_count(tmp_path: Path) -> None:
    async with publishing(tmp_path) as publisher:
        made = vouchers(tmp_path, Clock(), issuers=[remote(publisher, tmp_path)])
        assert await verify(made, sign()) == "corp:4711"
        publisher.status = 503
        kept = tmp_path / "jwks-corp.json"
        moved = {**remote(publisher, tmp_path), "jwksUrl": publisher.url + "?moved"}
        with pytest.raises(UnavailableError):
            await verify(vouchers(tmp_path, Clock(), issuers=[moved]), sign())
        kept.write_text("[]")
        with pytest.raises(UnavailableError):
            await verify(vouchers(tmp_path, Clock(), issuers=[remote(publisher, tmp_path)]), sign())
