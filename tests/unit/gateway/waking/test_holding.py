"""A request for a model that sleeps: it wakes it where it may be answered, is held within limits, and decided anew."""

import asyncio
import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from sekisho.gateway.choosing.choosing import Choice
from sekisho.gateway.turns import Turns
from sekisho.gateway.waking.holding import WakeLimits
from sekisho.gateway.wire.connection import Connection
from tests.unit.gateway.guards.test_guarded import REDACTING
from tests.unit.gateway.house import MODEL, POLICY, USER, House, build_chat, build_pod, build_service
from tests.unit.gateway.test_access import policy as access_policy
from tests.unit.gateway.waking.resting_house import RESTING, build_resting, demands, resting_house, stand_up

UNTOLD = "the operator could not be told that it is asked for; the gateway's log says why. It cannot be woken"
PIXEL = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(64)).decode()
PICTURE = [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}]


def rules(**told: Any) -> dict[str, Any]:
    """Return the policy with rules for confidential."""
    levels = [item | ({"rules": told} if item["name"] == "confidential" else {}) for item in POLICY["levels"]]
    return POLICY | {"levels": levels}


async def ask_without_rights(house: House) -> Any:
    return await house.chat(token=house.api.token("system:serviceaccount:legal:stranger"))


async def ask_badly(house: House) -> Any:
    return await house.chat(build_chat(seed="none"))


async def ask_above(house: House) -> Any:
    return await house.chat(headers={"x-sekisho-classification": "restricted"})


async def ask_pictures(house: House) -> Any:
    return await house.chat(build_chat(messages=[{"role": "user", "content": PICTURE}]))


async def ask_anonymously(house: House) -> Any:
    return await house.chat(token=None)


def unpriced() -> dict[str, Any]:
    return access_policy(budgets={"cost": {"perMonth": "10", "currency": "JPY"}})


BAD = {
    "unauthenticated": ask_anonymously, "model_unknown": ask_without_rights, "request_invalid": ask_badly,
    "class_above_service": ask_above, "opaque_not_allowed": ask_pictures,
}  # fmt: skip


async def test_a_request_that_is_refused_for_itself_wakes_nothing(tmp_path: Path) -> None:
    async with resting_house(tmp_path, wake_seconds=300) as house:
        for code, ask in BAD.items():
            answer = await ask(house)
            assert answer.code == code, answer.text
        assert house.api.applied == []
        assert house.engine.requests == []


@pytest.mark.parametrize(
    ("how", "code"),
    [
        ({"service": build_resting(level="restricted")}, "class_above_ceiling"),
        ({"service": build_resting(spec={"users": ["group:judges"]})}, "not_allowed"),
        ({"access": [access_policy(subjects=[{"user": "user:somebody"}])]}, "not_allowed"),
        ({"access": [unpriced()]}, "price_unknown"),
        ({"policy": rules(tiers=["Closed"]), "service": build_resting(site="owncloud")}, "model_not_ready"),
        ({"policy": REDACTING, "service": build_resting(site="owncloud", compartments=())}, "redaction_unavailable"),
        ({"service": build_resting(reason="Stopped")}, "model_not_ready"),
    ],
    ids=["above the caller", "no user of it", "no policy's", "no price", "no site for it", "no redaction", "stopped"],
)
async def test_a_request_that_is_refused_for_its_model_wakes_nothing(
    how: dict[str, Any], code: str, tmp_path: Path
) -> None:
    async with resting_house(tmp_path, wake_seconds=300, **how) as house:
        answer = await house.chat()
        assert answer.code == code, answer.text
        assert house.api.applied == []
        assert house.engine.requests == []


@pytest.mark.parametrize("off", [{"minReplicas": 0, "maxReplicas": 0}, {"minReplicas": 1}])
async def test_a_model_that_no_request_wakes_is_refused_at_once(off: dict[str, Any], tmp_path: Path) -> None:
    async with resting_house(tmp_path, service=build_resting(spec={"predictor": off}), wake_seconds=300) as house:
        answer = await house.chat()
        assert (answer.status, answer.code) == (503, "model_not_ready")
        assert house.api.applied == []


async def test_a_request_wakes_its_model_and_is_answered_once_that_serves(tmp_path: Path) -> None:
    async with resting_house(tmp_path, wake_seconds=300) as house:
        task = asyncio.create_task(house.chat())
        await house.settle(lambda: house.api.applied, what="the model to be asked for")
        assert [list(item) for item in demands(house)] == [["demand"]]
        house.api.put("inferenceservices", build_resting(reason="EngineStarting", message="pods are starting"))
        house.api.put("pods", build_pod(build_service(), port=1, conditions={"Ready": {"status": "False"}}))
        stand_up(house)
        answer = await task
        assert (answer.status, answer.json["choices"][0]["finish_reason"]) == (200, "stop")
        (request,) = [item for item in await house.entries() if item["kind"] == "request"]
        assert request["decision"] == "relayed"
        assert request["backend"]["name"] == "contract-review-predictor-0"
        assert len(house.engine.requests) == 1


async def test_a_request_that_wakes_its_model_counts_once_in_a_budget(tmp_path: Path) -> None:
    access = [access_policy(budgets={"requestsPerMinute": 1})]
    async with resting_house(tmp_path, wake_seconds=300, access=access) as house:
        task = asyncio.create_task(house.chat())
        await house.settle(lambda: house.api.applied, what="the model to be asked for")
        stand_up(house)
        answer = await task
        assert answer.status == 200, answer.text
        assert (await house.chat()).code == "budget_exhausted"
        assert len(house.engine.requests) == 1


async def test_what_is_in_use_is_said_to_be_asked_for_before_it_would_fall_asleep(tmp_path: Path) -> None:
    async with resting_house(tmp_path, wake_seconds=300) as house:
        stand_up(house)

        async def answers() -> bool:
            return (await house.chat()).status == 200

        await house.settle(answers, what="the model to answer")
        await house.settle(lambda: demands(house), what="its use to be told")


async def test_a_request_that_waited_long_enough_is_told_what_is_in_the_way(tmp_path: Path) -> None:
    starting = build_resting(reason="EngineStarting", message="0 of 1 replicas serve; pods are starting")
    async with resting_house(tmp_path, wake_seconds=0.4, service=starting) as house:

        async def is_told() -> bool:
            answer = await house.chat()
            assert (answer.status, answer.code) == (503, "model_not_ready")
            assert int(answer.headers["Retry-After"]) >= 1
            # On a busy machine the operator is not told within the first one's wait.
            return answer.message == (
                f"model {MODEL} does not answer yet: 0 of 1 replicas serve; pods are starting. It is being woken, and "
                "the request waited 0.4 s for it; ask again shortly"
            )

        await house.settle(is_told, what="what is in the way to be told")
        await house.settle(lambda: demands(house), what="the model to be asked for")
        entries = await house.entries()
        assert {(item["decision"], item["reason"]) for item in entries} == {("refused", "ModelNotReady")}


async def test_a_refusal_has_the_shape_of_the_dialect_that_was_spoken(tmp_path: Path) -> None:
    async with resting_house(tmp_path, wake_seconds=0) as house:
        body = {"model": MODEL, "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
        answer = await house.send("/v1/messages", json=body)
        assert (answer.status, answer.json["error"]["type"]) == (503, "overloaded_error")
        assert "it is asleep, and the operator is told that it is asked for" in answer.message
        await house.settle(lambda: demands(house), what="the model to be asked for")


async def test_only_so_many_are_held_and_whoever_comes_then_is_refused_at_once(tmp_path: Path) -> None:
    async with resting_house(tmp_path, wake_seconds=300, max_requests=4) as house:
        held = asyncio.create_task(house.chat())
        await house.settle(lambda: house.api.applied, what="the first to be held")
        answer = await house.chat()
        assert (answer.status, answer.code) == (503, "model_not_ready")
        assert "It is being woken, and no more may be held: 1 wait already; ask again shortly" in answer.message
        assert "sekisho_gateway_held 1" in house.metrics()
        stand_up(house)
        assert (await held).status == 200


async def test_bodies_that_are_held_take_only_so_much_memory(tmp_path: Path) -> None:
    async with resting_house(tmp_path, wake_seconds=300, max_buffered=4096) as house:
        answer = await house.chat(build_chat(messages=[{"role": "user", "content": "x" * 2000}]))
        assert (answer.status, answer.code) == (503, "model_not_ready")
        assert "0 wait already" in answer.message


async def test_held_requests_count_as_the_callers(tmp_path: Path) -> None:
    async with resting_house(tmp_path, wake_seconds=300, max_requests_per_caller=1) as house:
        held = asyncio.create_task(house.chat())
        await house.settle(lambda: house.api.applied, what="the first to be held")
        answer = await house.chat()
        assert (answer.status, answer.code) == (429, "overloaded")
        stand_up(house)
        assert (await held).status == 200


async def test_a_caller_who_goes_is_not_waited_for(tmp_path: Path) -> None:
    async with resting_house(tmp_path, wake_seconds=300, max_requests_per_caller=1) as house:
        held = asyncio.create_task(house.chat())
        await house.settle(lambda: house.api.applied, what="the first to be held")
        held.cancel()
        await asyncio.gather(held, return_exceptions=True)
        stand_up(house)

        async def answers() -> bool:
            return (await house.chat()).status == 200

        await house.settle(answers, what="the caller's place to be free")
        decided = [item["decision"] for item in await house.entries() if item["kind"] == "request"]
        assert (decided[0], decided.count("relayed"), decided.count("left")) == ("left", 1, 1)
        assert 'sekisho_gateway_requests_total{outcome="cancelled"} 1' in house.metrics()


async def test_a_caller_who_goes_after_being_told_so_leaves_an_end_in_the_record(tmp_path: Path) -> None:
    async with resting_house(tmp_path, wake_seconds=300, wake_progress_seconds=0.05) as house:
        headers = {"Authorization": f"Bearer {house.token}"}
        url = f"{house.url}/v1/chat/completions"
        async with house.session.post(url, json=build_chat(stream=True), headers=headers) as answer:
            assert answer.headers["sekisho-receipt"]
            answer.close()

        async def is_recorded() -> bool:
            return [item["decision"] for item in await house.entries()] == ["held", "left"]

        await house.settle(is_recorded, what="the end to be recorded")
        assert len({item["id"] for item in await house.entries()}) == 1
        assert "sekisho_gateway_held 0" in house.metrics()


async def test_a_caller_who_is_gone_when_told_what_is_awaited_leaves_an_end_in_the_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(connection: Connection, data: bytes) -> None:
        raise ConnectionResetError("the caller has gone")

    async with resting_house(tmp_path, wake_seconds=300, wake_progress_seconds=1e-6) as house:
        with monkeypatch.context() as patch:
            patch.setattr(Connection, "write", write)
            with pytest.raises(aiohttp.ClientError):
                await house.chat(build_chat(stream=True))

        async def is_recorded() -> bool:
            return [item["decision"] for item in await house.entries()] == ["held", "left"]

        await house.settle(is_recorded, what="the end to be recorded")
        assert "sekisho_gateway_held 0" in house.metrics()


async def test_a_caller_who_goes_before_a_model_that_woke_is_asked_leaves_an_end_in_the_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen, reached = list[Choice](), asyncio.Event()
    real, wait = Choice.describe, Turns.wait

    def describe(choice: Choice) -> dict[str, Any]:
        chosen.append(choice)
        return real(choice)

    async def stay(turns: Turns, *, own: bool) -> None:
        if chosen:
            reached.set()
            await asyncio.Event().wait()
        await wait(turns, own=own)

    async with resting_house(tmp_path, wake_seconds=300) as house:
        held = asyncio.create_task(house.chat())
        await house.settle(lambda: house.api.applied, what="the request to be held")
        monkeypatch.setattr(Choice, "describe", describe)
        monkeypatch.setattr(Turns, "wait", stay)
        stand_up(house)
        async with asyncio.timeout(60):
            await reached.wait()
        held.cancel()
        await asyncio.gather(held, return_exceptions=True)

        async def is_recorded() -> bool:
            return [item["decision"] for item in await house.entries()] == ["left"]

        await house.settle(is_recorded, what="the end to be recorded")
        assert house.engine.requests == []


def enact(house: House, spec: dict[str, Any]) -> None:
    house.api.put("classificationpolicies", {"metadata": {"name": "default"}, "spec": spec})


def forbid_site(house: House) -> None:
    enact(house, rules(tiers=["OwnCloud"]))


def forbid_text(house: House) -> None:
    closed = [*POLICY["compartments"], {"name": "people", "detect": ["contact"]}]
    enact(house, POLICY | {"compartments": closed})


def forget_class(house: House) -> None:
    levels = [item for item in POLICY["levels"] if item["name"] != "confidential"]
    enact(house, POLICY | {"levels": levels})


def repeal_law(house: House) -> None:
    house.api.remove("classificationpolicies", "default")


def name_others(house: House) -> None:
    house.api.put("accesspolicies", access_policy(subjects=[{"user": "user:somebody"}]))


@pytest.mark.parametrize(
    ("change", "code", "told"),
    [
        (forbid_site, "model_not_ready", "does not allow tier Closed of site closed"),
        (forbid_text, "class_above_ceiling", 'the right to "use" compartments/people'),
        (
            forget_class,
            "model_not_ready",
            'asks for level "confidential"; the policy knows public, internal, restricted',
        ),
        (repeal_law, "policy_missing", "without one nothing is relayed"),
        (name_others, "not_allowed", "answers those alone whom an AccessPolicy names"),
    ],
)
async def test_a_law_that_changes_ends_what_is_held_while_the_model_still_sleeps(
    change: Callable[[House], None], code: str, told: str, tmp_path: Path
) -> None:
    mail = build_chat(messages=[{"role": "user", "content": "write to taro@example.test"}])
    async with resting_house(tmp_path, wake_seconds=300) as house:
        held = asyncio.create_task(house.chat(mail))
        await house.settle(lambda: house.api.applied, what="the request to be held")
        change(house)
        answer = await held
        assert (answer.code, told in answer.message) == (code, True), answer.text
        assert house.engine.requests == []
        assert [item["decision"] for item in await house.entries()] == ["refused"]


async def test_a_law_that_changes_and_still_allows_a_held_request_lets_it_be_held_on(tmp_path: Path) -> None:
    async with resting_house(tmp_path, wake_seconds=300) as house:
        held = asyncio.create_task(house.chat())
        await house.settle(lambda: house.api.applied, what="the request to be held")
        forbid_text(house)
        house.api.put("accesspolicies", access_policy())
        stand_up(house)
        assert (await held).status == 200
        (relayed,) = [item for item in await house.entries() if item["kind"] == "request"]
        assert relayed["decision"] == "relayed"


def seal(service: dict[str, Any], *, status: str, reason: str, message: str = "") -> dict[str, Any]:
    """Have a service say that a broker releases the key of its weights, and what the broker says by now."""
    told = {"type": "KeyReleased", "status": status, "reason": reason, "message": message}
    service["status"]["conditions"].append(told)
    return service


async def test_a_sealed_model_answers_once_its_pod_holds_the_key_and_no_sooner(tmp_path: Path) -> None:
    asleep = seal(build_resting(), status="Unknown", reason="Pending")
    lease = {"status": "True", "message": json.dumps({"leaseEndsAt": "2099-01-01T00:00:00Z"})}
    async with resting_house(tmp_path, wake_seconds=300, service=asleep) as house:
        held = asyncio.create_task(house.chat())
        await house.settle(lambda: house.api.applied, what="the request to be held")
        starting = build_resting(reason="Pending", message="a pod holds no key yet; WeightsAvailable tells")
        house.api.put("inferenceservices", seal(starting, status="Unknown", reason="Pending"))
        keyless = build_pod(build_service(), port=house.engine.port)
        house.api.put("pods", keyless)
        other = asyncio.create_task(house.chat(build_chat(stream=False)))
        await house.settle(lambda: "sekisho_gateway_held 2" in house.metrics(), what="another to be held for the key")
        assert house.engine.requests == []
        conditions = {"sekisho.dev/attested": lease, "sekisho.dev/key-released": lease}
        house.api.put("pods", build_pod(build_service(), port=house.engine.port, conditions=conditions))
        assert [(await task).status for task in (held, other)] == [200, 200]


async def test_who_is_held_for_a_sealed_model_hears_that_the_broker_refuses_its_pod(tmp_path: Path) -> None:
    asleep = seal(build_resting(), status="Unknown", reason="Pending")
    async with resting_house(tmp_path, wake_seconds=300, service=asleep) as house:
        held = asyncio.create_task(house.chat())
        await house.settle(lambda: house.api.applied, what="the request to be held")
        why = "the broker refuses a pod of the service: KeyReleasePolicy owners/x is suspended"
        refused = build_resting(reason="ReleaseNotGranted", message=why)
        house.api.put("inferenceservices", seal(refused, status="False", reason="ReleaseNotGranted", message=why))
        answer = await held
        assert (answer.status, answer.code) == (503, "model_not_ready")
        assert why in answer.message
        assert house.engine.requests == []


async def test_a_model_that_was_made_anew_is_not_waited_for_by_who_asked_for_the_old_one(tmp_path: Path) -> None:
    async with resting_house(tmp_path, wake_seconds=300) as house:
        held = asyncio.create_task(house.chat())
        await house.settle(lambda: house.api.applied, what="the request to be held")
        again = build_resting()
        again["metadata"]["uid"] = "another"
        house.api.put("inferenceservices", again)
        answer = await held
        assert (answer.status, answer.code) == (503, "model_not_ready")
        assert "It is being woken" not in answer.message
        assert len(house.api.applied) == 1


def raise_class(house: House) -> None:
    house.api.put("inferenceservices", build_resting(level="restricted"))
    service = build_service(level="restricted")
    house.api.put("pods", build_pod(service, port=house.engine.port))


def drop_user(house: House) -> None:
    stand_up(house)
    service = build_service(spec=RESTING | {"users": ["group:judges"]})
    house.api.put("inferenceservices", service)


def drop_service(house: House) -> None:
    house.api.remove("inferenceservices", "contract-review", "legal")


def stop_service(house: House) -> None:
    house.api.put("inferenceservices", build_resting(reason="Stopped", message="it moves"))


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (raise_class, "class_above_ceiling"),
        (drop_user, "not_allowed"),
        (drop_service, "model_unknown"),
        (stop_service, "model_not_ready"),
    ],
)
async def test_what_changes_while_a_request_is_held_counts(
    change: Callable[[House], None], code: str, tmp_path: Path
) -> None:
    async with resting_house(tmp_path, wake_seconds=300) as house:
        held = asyncio.create_task(house.chat())
        await house.settle(lambda: house.api.applied, what="the request to be held")
        change(house)
        assert (await held).code == code
        assert house.engine.requests == []


async def test_a_gateway_that_may_not_tell_says_so_at_once(tmp_path: Path) -> None:
    async with resting_house(tmp_path, wake_seconds=300) as house:
        house.api.refuses = 403
        answer = await house.chat()
        assert (answer.status, answer.code) == (503, "model_not_ready")
        assert answer.message == (
            f"model {MODEL} does not answer yet: {UNTOLD}, and the request is not held for that; ask again shortly"
        )
        (refused,) = await house.entries()
        assert (refused["decision"], refused["reason"]) == ("refused", "ModelNotReady")


async def test_a_request_that_waited_in_vain_for_the_api_server_is_not_told_that_the_model_wakes(
    tmp_path: Path,
) -> None:
    async with resting_house(tmp_path, wake_seconds=0.5) as house:
        house.api.refuses = 500

        async def is_told() -> bool:
            answer = await house.chat()
            assert (answer.status, answer.code) == (503, "model_not_ready")
            return f"{UNTOLD}, and the request waited 0.5 s for it; ask again shortly" in answer.message

        await house.settle(is_told, what="the failure to be told")
        house.api.refuses = 0

        async def is_asked_for() -> bool:
            return "It is being woken, and the request waited" in (await house.chat()).message

        await house.settle(is_asked_for, what="the model to be asked for once the API server takes it")
        assert house.engine.requests == []


async def test_a_model_that_starts_all_the_same_is_waited_for_whoever_could_not_tell(tmp_path: Path) -> None:
    starting = build_resting(reason="EngineStarting", message="pods are starting")
    async with resting_house(tmp_path, wake_seconds=300) as house:
        house.api.refuses = 500
        held = asyncio.create_task(house.chat())
        await house.settle(lambda: "sekisho_gateway_held 1" in house.metrics(), what="the request to be held")
        house.api.put("inferenceservices", starting)
        stand_up(house)
        assert (await held).status == 200


async def test_a_held_request_is_refused_once_the_api_server_is_not_heard_any_more(tmp_path: Path) -> None:
    async with resting_house(tmp_path, wake_seconds=300, facts_max_age_seconds=5) as house:
        held = asyncio.create_task(house.chat())

        def is_held() -> bool:
            nonlocal held
            if held.done():  # a busy machine may let what is known become too old before it is asked
                held = asyncio.create_task(house.chat())
            return bool(house.api.applied)

        await house.settle(is_held, what="the request to be held")
        house.api.deaf = True
        answer = await held
        assert (answer.status, answer.code) == (503, "api_unavailable")
        assert "the API server is not heard" in answer.message
        assert house.engine.requests == []


async def test_a_gateway_that_ends_lets_go_of_what_it_holds(tmp_path: Path) -> None:
    async with resting_house(tmp_path, wake_seconds=300, drain_seconds=60) as house:
        held = asyncio.create_task(house.chat())
        await house.settle(lambda: house.api.applied, what="the request to be held")
        await house.gateway.__aexit__(None, None, None)
        answer = await held
        assert (answer.status, answer.code) == (503, "model_not_ready")
        assert "this gateway is about to end; ask again shortly" in answer.message


def test_limits_are_a_part_of_what_may_be_under_way() -> None:
    assert WakeLimits() == WakeLimits(120.0, 128, 24 << 20)


async def test_a_user_of_the_model_is_the_only_one_who_wakes_it(tmp_path: Path) -> None:
    async with resting_house(tmp_path, wake_seconds=300) as house:
        for name in ("stranger", "other"):
            assert (await house.chat(token=house.api.token(name))).status == 404
        assert house.api.applied == []
        task = asyncio.create_task(house.chat(token=house.api.token(USER)))
        await house.settle(lambda: house.api.applied, what="the model to be asked for")
        stand_up(house)
        assert json.loads((await task).text)["model"] == MODEL
