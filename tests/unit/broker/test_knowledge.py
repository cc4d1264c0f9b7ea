"""What the broker knows of grants: followed, read strictly, and not used when it is too old."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from sekisho.broker.challenges import ChallengeBook
from sekisho.broker.knowledge import Knowledge
from sekisho.errors import Reason, RefusedError, UnavailableError
from sekisho.kube.client import KubeClient
from sekisho.kube.credentials import Credentials
from sekisho.kube.reflecting import Freshness
from tests.unit.broker.release_cases import EVIDENCE, LAW, OWNER, TENANT
from tests.unit.gateway.api_server import ApiServer

SITE = {"tier": "Closed", "jurisdiction": "JP", "operatedBy": "own", "nodes": {"matchLabels": {"site": "tokyo"}}}
KINDS = ("classificationpolicies", "sites", "evidencepolicies", "keyreleasepolicies", "datagrants")


def build(name: str, spec: Any, namespace: str = "", **meta: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, **({"namespace": namespace} if namespace else {}), **meta}, "spec": dict(spec)}


def fill(api: ApiServer) -> None:
    api.put("classificationpolicies", build("default", LAW))
    api.put("sites", build("tokyo", SITE))
    api.put("evidencepolicies", build("genoa", EVIDENCE))
    api.put("keyreleasepolicies", build("reviewer", OWNER, "owners"))
    api.put("datagrants", build("contracts", TENANT, "legal"))


@pytest.fixture
async def api() -> AsyncIterator[ApiServer]:
    server = ApiServer(objects={kind: {} for kind in KINDS})
    async with server:
        fill(server)
        yield server


@pytest.fixture
def max_age_seconds() -> float:
    """How old what is known may be; far more than a busy machine lets it become."""
    return 600


@pytest.fixture
async def knowledge(api: ApiServer, max_age_seconds: float) -> AsyncIterator[Knowledge]:
    async with KubeClient(Credentials(server=api.url), process="broker") as client:
        made = Knowledge(client, Freshness(watch_seconds=1, max_age_seconds=max_age_seconds))
        with pytest.raises(UnavailableError, match="nothing is known of the cluster yet"):
            made.rules()
        following = asyncio.create_task(made.run())
        await until(lambda: made.age_seconds() < max_age_seconds)
        yield made
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


async def until(check: Callable[[], object], *, seconds: float = 60.0) -> None:
    async with asyncio.timeout(seconds):
        while not check():
            await asyncio.sleep(0.02)


async def test_everything_that_decides_is_known(knowledge: Knowledge) -> None:
    rules = knowledge.rules()
    assert rules.law is not None
    assert list(rules.sites) == ["tokyo"]
    assert [(item.namespace, item.name) for item in rules.owners] == [("owners", "reviewer")]
    assert [(item.namespace, item.name) for item in rules.tenants] == [("legal", "contracts")]
    assert list(rules.evidence) == ["genoa"]


async def test_rules_stay_the_same_object_until_something_changes(api: ApiServer, knowledge: Knowledge) -> None:
    rules = knowledge.rules()
    assert knowledge.rules() is rules
    api.put("datagrants", build("contracts", {**TENANT, "suspended": True}, "legal"))
    await until(lambda: knowledge.rules().tenants[0].spec.suspended)
    api.remove("datagrants", "contracts", "legal")
    await until(lambda: knowledge.rules().tenants == ())
    assert rules.tenants[0].spec.suspended is False


async def test_what_cannot_be_read_or_is_being_deleted_grants_nothing(api: ApiServer, knowledge: Knowledge) -> None:
    api.put("keyreleasepolicies", build("reviewer", {**OWNER, "sites": []}, "owners"))
    await until(lambda: knowledge.rules().owners == ())
    api.put("datagrants", build("contracts", TENANT, "legal", deletionTimestamp="2026-11-29T12:00:00Z"))
    await until(lambda: knowledge.rules().tenants == ())
    api.put("classificationpolicies", build("default", {"levels": []}))
    await until(lambda: knowledge.rules().law is None)
    api.remove("classificationpolicies", "default")
    await until(lambda: knowledge.rules().law is None)


@pytest.mark.slow
@pytest.mark.parametrize("max_age_seconds", [6])
async def test_knowledge_that_is_too_old_is_not_used(api: ApiServer, knowledge: Knowledge) -> None:
    api.deaf = True

    await until(lambda: knowledge.age_seconds() > 6)
    with pytest.raises(UnavailableError, match="6 s allowed; nothing is released") as caught:
        knowledge.rules()
    assert caught.value.reason is Reason.API_UNAVAILABLE
    api.deaf = False
    await until(lambda: knowledge.age_seconds() < 6)
    assert knowledge.rules().law is not None


async def test_what_was_fresh_before_a_machine_was_suspended_is_old_after_it(
    knowledge: Knowledge, monkeypatch: pytest.MonkeyPatch
) -> None:
    knowledge.check_fresh()
    real = time.clock_gettime
    monkeypatch.setattr(time, "clock_gettime", lambda clock: real(clock) + 3600 * (clock == time.CLOCK_BOOTTIME))
    with pytest.raises(UnavailableError, match=r"what the broker knows of grants is 36\d\d s old, 600 s allowed"):
        knowledge.rules()


def test_a_challenge_that_was_made_before_a_machine_was_suspended_is_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    book = ChallengeBook(seconds=30)
    made = book.issue(purpose="release", pod_uid="u", question_digest="q", policy_digest="p", now=datetime.now(UTC))
    real = time.clock_gettime
    monkeypatch.setattr(time, "clock_gettime", lambda clock: real(clock) + 3600 * (clock == time.CLOCK_BOOTTIME))
    with pytest.raises(RefusedError, match="was good for 30 s and is too old"):
        book.take(made.id, purpose="release", pod_uid="u", question_digest="q")
