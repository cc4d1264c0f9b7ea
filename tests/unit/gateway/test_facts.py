"""What the gateway knows of the cluster: it follows changes, and says when it no longer hears."""

import asyncio
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.errors import Reason, UnavailableError
from sekisho.gateway.decide import read_service
from sekisho.gateway.facts import Facts
from sekisho.kube.client import KubeClient
from sekisho.kube.credentials import Credentials
from sekisho.kube.reflecting import Freshness
from tests.unit.api.cases import POLICY
from tests.unit.gateway.house import MODEL, House, build_house, build_service


@pytest.mark.slow
async def test_knowledge_that_is_too_old_is_not_used(tmp_path: Path) -> None:
    async with build_house(tmp_path, facts_max_age_seconds=5) as house:

        async def works() -> bool:
            return (await house.chat()).status == 200 and (await house.ready())[0] == 200

        await house.settle(works, what="the gateway to hear")
        house.api.deaf = True

        async def is_refused() -> bool:
            return (await house.chat()).status == 503

        await house.settle(is_refused, what="the gateway to notice")
        answer = await house.chat()
        assert answer.code == "api_unavailable"
        assert answer.message.startswith("what the gateway knows of the cluster is ")
        assert answer.message.endswith("5 s allowed: the API server is not heard")
        assert (await house.ready())[0] == 503
        house.api.deaf = False
        await house.settle(works, what="the gateway to hear again")


async def test_a_deleted_service_is_gone(house: House) -> None:
    assert (await house.chat()).status == 200
    house.api.remove("inferenceservices", "contract-review", "legal")

    async def is_gone() -> bool:
        return (await house.chat()).code == "model_unknown"

    await house.settle(is_gone, what="the removal to arrive")
    assert (await house.send("/v1/models", method="GET")).json["data"] == []


async def test_models_are_listed_for_those_who_may_use_them(house: House) -> None:
    for number in range(5):
        house.api.put("inferenceservices", build_service(f"bot-{number}", "web"))
        house.api.put("inferenceservices", build_service(f"bot-{number}", "hr"))
    house.api.grant("system:serviceaccount:legal:app", "inferenceservices", "", "web")

    async def listed() -> bool:
        return len((await house.send("/v1/models", method="GET")).json["data"]) == 6

    await house.settle(listed, what="the services to arrive")
    listing = (await house.send("/v1/models", method="GET")).json
    assert [item["id"] for item in listing["data"]] == [MODEL, *(f"web/bot-{n}" for n in range(5))]
    assert listing["has_more"] is False
    admin = house.api.token("admin")
    house.api.grant("admin", "inferenceservices")
    assert len((await house.send("/v1/models", method="GET", token=admin)).json["data"]) == 11
    assert (await house.send("/v1/models", method="GET", token=house.api.token("nobody"))).json["data"] == []


async def test_one_model_is_shown_and_another_is_hidden(house: House) -> None:
    shown = await house.send(f"/v1/models/{MODEL}", method="GET")
    assert shown.json == {"id": MODEL, "object": "model", "created": 1790812800, "owned_by": "legal"}
    hidden = await house.send("/v1/models/hr%2Fpayroll", method="GET")
    assert (hidden.status, hidden.code) == (404, "model_unknown")


async def test_many_requests_at_once_ask_the_api_server_once(house: House) -> None:
    await asyncio.gather(*(house.chat() for _ in range(30)))
    assert sorted(house.api.reviews) == sorted(set(house.api.reviews))
    assert house.api.reviews.count("TokenReview") == 1


def test_a_service_without_status_serves_nothing() -> None:
    facts = read_service({"metadata": {"name": "a", "namespace": "b"}})
    assert facts.unmet == "Isolated is not known yet"
    assert facts.cleared is None
    assert facts.full_name == "b/a"


def test_a_service_that_is_being_deleted_serves_nothing() -> None:
    raw = build_service()
    raw["metadata"]["deletionTimestamp"] = "now"
    assert read_service(raw).unmet == "it is being deleted"


def test_a_law_that_is_being_deleted_is_none_whatever_keeps_it() -> None:
    facts = Facts(KubeClient(Credentials(server="http://127.0.0.1:1"), process="test"), Freshness(max_age_seconds=5))
    kept = facts._keep_policy({"metadata": {"name": "default"}, "spec": POLICY})
    assert not isinstance(kept, UnavailableError)
    ended = facts._keep_policy({"metadata": {"name": "default", "deletionTimestamp": "now"}, "spec": POLICY})
    assert isinstance(ended, UnavailableError)
    assert ended.reason is Reason.POLICY_MISSING
    assert "an administrator creates it anew" in ended.message


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=30))
def test_knowledge_is_refused_as_soon_as_any_of_it_is_too_old_whenever_it_was_looked_at_before(
    steps: list[tuple[int, int]],
) -> None:
    now = 1000.0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("time.clock_gettime", lambda _clock: now)
        facts = Facts(
            KubeClient(Credentials(server="http://127.0.0.1:1"), process="test"), Freshness(max_age_seconds=5)
        )
        heard = dict.fromkeys(range(len(facts._reflectors)), float("-inf"))
        for seconds, who in [*((0, which) for which in heard), *steps]:
            now += seconds
            if who in heard:
                facts._reflectors[who]._hear()
                heard[who] = now
            age = now - min(heard.values())
            for _ in range(2):
                if age <= 5:
                    facts.check_fresh()
                    continue
                with pytest.raises(UnavailableError) as refusal:
                    facts.check_fresh()
                assert refusal.value.reason is Reason.API_UNAVAILABLE
                assert refusal.value.message == (
                    "nothing is known of the cluster yet"
                    if age == float("inf")
                    else f"what the gateway knows of the cluster is {age:.0f} s old, 5 s allowed: the API server is "
                    "not heard"
                )
