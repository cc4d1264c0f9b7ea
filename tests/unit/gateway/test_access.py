"""Who is let in, over real sockets: AccessPolicies, budgets, tokens of issuers, API keys and certificates."""

import asyncio
import functools
import json
import ssl
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sekisho.access.apikeys import digest_key, spell_key
from sekisho.access.decide import Access
from sekisho.access.policies import read_policy
from sekisho.errors import RefusedError
from sekisho.gateway import main
from sekisho.gateway.access import FILE, AccessGate, Order
from sekisho.gateway.identity import Caller, Identity, IdentityLimits
from sekisho.kube.client import KubeClient
from sekisho.kube.credentials import Credentials
from tests.unit.gateway.house import MODEL, USER, House, build_house, build_service
from tests.unit.gateway.test_issuers import CLAIMS, SET, sign

KEY = spell_key(bytes(32))


def policy(name: str = "team", namespace: str = "legal", **spec: Any) -> dict[str, Any]:
    whole = {"subjects": [{"user": "serviceaccount:legal:app"}], "models": [f"{namespace}/*"], **spec}
    return {"metadata": {"name": name, "namespace": namespace}, "spec": whole}


def grant(house: House, username: str) -> None:
    house.api.grant(username, "inferenceservices", "contract-review", "legal")
    house.api.grant(username, "classificationlevels", "confidential")
    house.api.grant(username, "compartments", "gdpr")


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch) -> float:
    """Let the clock of budgets stand still, and return its Unix seconds: no day ends while a test runs."""
    at = time.time()
    monkeypatch.setattr(main, "AccessGate", functools.partial(AccessGate, clock=lambda: at))
    return at


async def test_a_caller_whom_no_policy_means_is_refused_everywhere(tmp_path: Path) -> None:
    async with build_house(tmp_path, access=[policy(subjects=[{"cel": "claims.email == 'nobody'"}])]) as house:
        answer = await house.chat()
        assert (answer.status, answer.code) == (403, "not_allowed")
        assert f"{MODEL} answers those alone whom an AccessPolicy names" in answer.message
        assert (await house.send("/v1/models", method="GET")).json["data"] == []
        assert (await house.send(f"/v1/models/{MODEL}", method="GET")).status == 403
        assert house.engine.requests == []
        (entry,) = [item for item in await house.entries() if item.get("model") == MODEL]
        assert (entry["decision"], entry["reason"]) == ("refused", "NotAllowed")


async def test_a_class_above_a_policys_ceiling_never_reaches_the_engine(tmp_path: Path) -> None:
    async with build_house(tmp_path, access=[policy(ceiling={"level": "internal", "compartments": ["gdpr"]})]) as house:
        answer = await house.chat()
        assert (answer.status, answer.code) == (403, "class_above_ceiling")
        assert "the request is confidential+gdpr; AccessPolicy legal/team lets you ask" in answer.message
        assert house.engine.requests == []


async def test_a_budget_that_is_used_up_says_when_to_come_back(tmp_path: Path, stopped: float) -> None:
    async with build_house(tmp_path, access=[policy(budgets={"requestsPerMinute": 2})]) as house:
        assert [(await house.chat()).status for _ in range(2)] == [200, 200]
        answer = await house.chat()
        assert (answer.status, answer.code) == (429, "budget_exhausted")
        assert "your budget under AccessPolicy legal/team of 2 requests a minute is used up" in answer.message
        assert 1 <= int(answer.headers["Retry-After"]) <= 30
        assert len(house.engine.requests) == 2


async def test_a_budget_that_one_tenant_used_up_holds_up_no_other_who_asks_at_once(
    tmp_path: Path, stopped: float
) -> None:
    greedy, modest = "system:serviceaccount:legal:greedy", "system:serviceaccount:sales:modest"
    subjects = [{"user": "serviceaccount:legal:greedy"}, {"user": "serviceaccount:sales:modest"}]
    async with build_house(tmp_path, access=[policy(subjects=subjects, budgets={"requestsPerMinute": 2})]) as house:
        for user in (greedy, modest):
            grant(house, user)
        first, other = house.api.token(greedy), house.api.token(modest)
        asked = await asyncio.gather(*(house.chat(token=first) for _ in range(6)), house.chat(token=other))
        assert sorted(answer.status for answer in asked[:-1]) == [200, 200, 429, 429, 429, 429]
        assert {answer.code for answer in asked if answer.status == 429} == {"budget_exhausted"}
        assert asked[-1].status == 200
        assert (await house.chat(token=first)).status == 429
        assert (await house.chat(token=other)).status == 200
        assert len(house.engine.requests) == 4
        refused = [item for item in await house.entries() if item.get("reason") == "BudgetExhausted"]
        assert {item["caller"]["username"] for item in refused} == {greedy}


async def test_tokens_are_settled_as_the_engine_counts_them_and_outlive_the_gateway(
    tmp_path: Path, stopped: float
) -> None:
    async with build_house(tmp_path, access=[policy(budgets={"tokensPerDay": 1})]) as house:
        assert (await house.chat()).status == 200
        assert (await house.chat()).status == 429
        entries = await house.entries()
    saved = json.loads((tmp_path / "record" / FILE).read_text())
    ((name, caller, day, tokens, *_),) = saved["accounts"]
    assert (name, caller, day) == ("legal/team", USER, int(stopped // 86_400))
    assert tokens == next(sum(item["tokens"].values()) for item in entries if item["kind"] == "completion")
    async with build_house(tmp_path, access=[policy(budgets={"tokensPerDay": 1})]) as house:
        assert (await house.chat()).status == 429


@pytest.mark.parametrize(
    ("counted", "tokens"),
    [({}, 107), ({"prompt": 5}, 12), ({"completion": 3}, 103), ({"prompt": 5, "completion": 3}, 8)],
    ids=range(4),
)
def test_what_an_engine_does_not_count_is_charged_by_what_is_known(
    counted: dict[str, int], tokens: int, tmp_path: Path
) -> None:
    gate, caller = AccessGate(tmp_path, clock=lambda: 1_800_000_000.0), Caller(USER, USER)
    let_in = read_policy(policy(budgets={"tokensPerDay": 1000}), system_namespace="sekisho-system")
    charge = gate.charge(Access(let_in.full_name, let_in.budgets), caller, Order(MODEL, None, None, body_bytes=400))
    gate.settle(charge, counted=counted, events=7)
    gate.save()
    ((_, _, _, charged, *_),) = json.loads((tmp_path / FILE).read_text())["accounts"]
    assert charged == tokens


def test_counts_of_a_replica_that_was_replaced_before_it_ended_are_not_lost(tmp_path: Path) -> None:
    let_in = read_policy(policy(budgets={"tokensPerDay": 1000}), system_namespace="sekisho-system")
    access, caller, order = Access(let_in.full_name, let_in.budgets), Caller(USER, USER), Order(MODEL, None, None, 400)

    def count() -> int:
        return int(json.loads((tmp_path / FILE).read_text())["accounts"][0][3])

    ended = False
    before = AccessGate(tmp_path, clock=lambda: 1_800_000_000.0)
    after = AccessGate(tmp_path, clock=lambda: 1_800_000_000.0, is_ours=lambda: ended)
    before.charge(access, caller, order)
    before.save()
    after.save()
    assert count() == 100
    ended = True
    after.charge(access, caller, order)
    after.save()
    assert count() == 200


async def test_what_reached_no_engine_costs_no_tokens_and_counts_as_a_request(tmp_path: Path, stopped: float) -> None:
    budgets = {"requestsPerMinute": 3, "tokensPerDay": 1, "cost": {"perDay": "0.000001", "currency": "USD"}}
    async with build_house(
        tmp_path, access=[policy(budgets=budgets)], models=[price()], service=build_service(site="closed")
    ) as house:
        await house.engine.stop()
        assert [(await house.chat()).code for _ in range(3)] == ["upstream_failed"] * 3
        assert "of 3 requests a minute is used up" in (await house.chat()).message
        ended = [item for item in await house.entries() if item["kind"] == "completion"]
        assert [item["cost"] for item in ended] == [{"amount": "0", "currency": "USD"}] * 3


def price(name: str = "legal/*", currency: str = "USD") -> dict[str, Any]:
    rates = {"inputPerMillionTokens": "0.50", "outputPerMillionTokens": "1.50", "currency": currency}
    return {"name": name, "price": rates}


async def test_a_cost_is_counted_recorded_and_refused_once_it_is_spent(tmp_path: Path, stopped: float) -> None:
    budget = {"cost": {"perMonth": "0.000001", "currency": "USD"}}
    async with build_house(
        tmp_path, access=[policy(budgets=budget)], models=[price(), {"name": "*"}], service=build_service(site="closed")
    ) as house:
        assert (await house.chat()).status == 200
        answer = await house.chat()
        assert (answer.status, answer.code) == (429, "budget_exhausted")
        assert "your budget under AccessPolicy legal/team of 0.000001 USD a month is used up: " in answer.message
        assert "are allowed here; it begins anew at 20" in answer.message
        assert int(answer.headers["Retry-After"]) >= 1
        assert len(house.engine.requests) == 1
        (ended,) = [item for item in await house.entries() if item["kind"] == "completion"]
    used = ended["tokens"]
    spent = (used["prompt"] * 50 + used["completion"] * 150) * 10_000
    assert ended["cost"] == {"amount": f"0.{spent:012d}".rstrip("0"), "currency": "USD"}


@pytest.mark.parametrize(
    "models", [[], [price("sales/*")], [price(currency="EUR")]], ids=["none", "others", "currency"]
)
async def test_a_model_without_a_price_is_not_answered_where_cost_counts(
    tmp_path: Path, models: list[dict[str, Any]]
) -> None:
    access = [policy(budgets={"cost": {"perDay": "20"}})]
    async with build_house(tmp_path, access=access, models=models, service=build_service(site="closed")) as house:
        answer = await house.chat()
        assert (answer.status, answer.code) == (503, "price_unknown")
        assert f"AccessPolicy legal/team counts cost in USD, and {MODEL} is answered by site closed, " in answer.message
        assert house.engine.requests == []
        (entry,) = [item for item in await house.entries() if item.get("decision")]
        assert (entry["decision"], entry["reason"]) == ("refused", "PriceUnknown")


async def test_a_model_that_costs_nothing_is_answered_for_ever(tmp_path: Path) -> None:
    free = {"name": "*", "price": {"inputPerMillionTokens": "0", "outputPerMillionTokens": "0"}}
    access = [policy(budgets={"cost": {"perDay": "1"}})]
    async with build_house(tmp_path, access=access, models=[free], service=build_service(site="closed")) as house:
        assert [(await house.chat()).status for _ in range(2)] == [200, 200]


async def test_counts_that_cannot_be_read_begin_anew(tmp_path: Path) -> None:
    (tmp_path / "record").mkdir()
    (tmp_path / "record" / FILE).write_text("[")
    async with build_house(tmp_path) as house:
        assert (await house.chat()).status == 200


async def test_whom_a_policy_means_is_let_in_and_the_record_names_it(tmp_path: Path) -> None:
    async with build_house(
        tmp_path,
        access=[policy(subjects=[{"cel": "user == 'system:serviceaccount:legal:app' && issuer == 'kubernetes'"}])],
    ) as house:
        answer = await house.chat()
        assert answer.status == 200
        assert len(answer.headers["sekisho-receipt"]) > 64
        (entry,) = [item for item in await house.entries() if item.get("decision") == "relayed"]
        assert entry["accessPolicy"] == "legal/team"
        assert [item["id"] for item in (await house.send("/v1/models", method="GET")).json["data"]] == [MODEL]


def identity(folder: Path) -> dict[str, Any]:
    """Write the files that an installation mounts; return the settings that name them."""
    issuer = {
        "name": "corp", "issuer": CLAIMS["iss"], "audiences": [CLAIMS["aud"]], "jwks": SET, "usernameClaim": "email",
    }  # fmt: skip
    folder.mkdir(exist_ok=True)
    (folder / "issuers.json").write_text(json.dumps([issuer]))
    entry = {"name": "ci", "sha256": digest_key(KEY), "groups": ["builders"]}
    (folder / "keys.json").write_text(json.dumps({"keys": [entry]}))
    return {"issuers_file": folder / "issuers.json", "api_keys_file": folder / "keys.json"}


@pytest.mark.slow  # a denial is remembered for ten seconds
async def test_tokens_and_keys_of_others_are_known_by_their_own_names_and_need_rights(tmp_path: Path) -> None:
    let_in = policy(subjects=[
        {"cel": "issuer == 'corp' && claims.email.endsWith('@example.test')"}, {"user": "group:builders"},
    ])  # fmt: skip
    async with build_house(tmp_path, access=[let_in], **identity(tmp_path / "identity")) as house:
        now = time.time()
        token = sign(iat=now, exp=now + 600)
        for credential in (token, KEY):
            answer = await house.chat(token=credential)
            assert (answer.status, answer.code) == (404, "model_unknown"), "verified, and allowed nothing"
        other = await house.chat(token=spell_key(bytes([1]) * 32))
        assert (other.status, other.code) == (401, "unauthenticated")
        assert "the API key is not accepted" in other.message
        expired = await house.chat(token=sign(iat=now - 900, exp=now - 600))
        assert (expired.status, expired.code) == (401, "unauthenticated")
        assert 'says that it is of "corp", is not accepted: it has expired' in expired.message
        assert "TokenReview" not in house.api.reviews, "the API server is not asked about tokens of others"
        grant(house, "corp:ann@example.test")
        grant(house, "apikey:ci")
        fresh = sign(iat=now - 1, exp=now + 600)
        await house.settle(lambda: _is_answered(house, fresh), what="the remembered denial to be forgotten")
        await house.settle(lambda: _is_answered(house, KEY), what="the remembered denial to be forgotten")
        callers = {item["caller"]["username"] for item in await house.entries() if item.get("decision") == "relayed"}
        assert callers == {"corp:ann@example.test", "apikey:ci"}


async def _is_answered(house: House, credential: str) -> bool:
    return (await house.chat(token=credential)).status == 200


async def test_a_gateway_does_not_start_with_issuers_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "issuers.json").write_text("[{}]")
    with pytest.raises(Exception, match="issuers: name: Field required"):
        async with build_house(tmp_path, issuers_file=tmp_path / "issuers.json"):
            pass


def write_caller(folder: Path, name: str) -> None:
    """Write an authority, and a certificate of a caller under it."""
    now, root_key, key = (
        datetime.now(UTC),
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(ec.SECP256R1()),
    )
    folder.mkdir()
    root_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "callers")])
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()

    def issue(subject: x509.Name, public: Any, *, ca: bool) -> x509.Certificate:
        return (
            x509.CertificateBuilder().subject_name(subject).issuer_name(root_name).public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=5)).not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .sign(root_key, hashes.SHA256())
        )  # fmt: skip

    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    (folder / "ca.crt").write_bytes(issue(root_name, root_key.public_key(), ca=True).public_bytes(pem))
    (folder / "tls.crt").write_bytes(issue(subject, key.public_key(), ca=False).public_bytes(pem))
    (folder / "tls.key").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))


async def test_callers_with_a_certificate_are_known_by_it_and_strangers_get_no_connection(tmp_path: Path) -> None:
    write_caller(tmp_path / "caller", "batch")
    write_caller(tmp_path / "stranger", "batch")
    async with build_house(tmp_path, client_roots_file=tmp_path / "caller/ca.crt") as house:
        grant(house, "mtls:batch")
        assert (await house.chat(token=None)).status == 401, "who sends no certificate must send a token"
        assert (await house.chat()).status == 200
        assert await ask_with(house, tmp_path / "caller") == 200
        assert await ask_with(house, tmp_path / "caller", {"Authorization": "Bearer x", "x-api-key": "y"}) == 401
        with pytest.raises((aiohttp.ClientError, ssl.SSLError, ConnectionError)):
            await ask_with(house, tmp_path / "stranger")
        callers = [item["caller"]["username"] for item in await house.entries() if item.get("decision") == "relayed"]
        assert callers == [USER, "mtls:batch"]


async def test_a_certificate_that_ended_while_its_connection_stood_is_refused() -> None:
    identity = Identity(KubeClient(Credentials(server="http://127.0.0.1:1"), process="test"), IdentityLimits())
    peer = {"subject": ((("commonName", "batch"),),), "notAfter": "Jan  1 00:00:00 2040 GMT"}
    assert (await identity.authenticate(None, peer)).username == "mtls:batch"
    with pytest.raises(RefusedError, match="the certificate of the connection ended at Jan  1 00:00:00 2026 GMT"):
        await identity.authenticate(None, peer | {"notAfter": "Jan  1 00:00:00 2026 GMT"})


async def ask_with(house: House, folder: Path, headers: Mapping[str, str] | None = None) -> int:
    tls = ssl.create_default_context(cafile=str(house.folder / "tls/tls.crt"))
    tls.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    body = {"model": MODEL, "messages": [{"role": "user", "content": "x"}]}
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls)) as session,
        session.post(f"{house.url}/v1/chat/completions", json=body, headers=headers) as response,
    ):
        return response.status


def test_nobody_is_taken_for_a_caller_who_asked_before_however_many_there_were(tmp_path: Path) -> None:
    gate = AccessGate(tmp_path)
    let_in = [read_policy(policy(subjects=[{"user": "user:ann"}]), system_namespace="sekisho-system")]
    for at in range(600):
        # Each lives no longer than its question, so that places in memory come again.
        name = "ann" if at % 3 else "bob"
        assert gate.is_let_in(let_in, Caller(name, name), MODEL) == (name == "ann")
    assert len(gate._askers) <= 256
