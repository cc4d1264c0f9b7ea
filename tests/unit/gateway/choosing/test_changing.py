"""What was decided counts when it is sent: a law or an AccessPolicy that changes before that keeps a request here."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sekisho.gateway import main
from sekisho.gateway.choosing.choosing import Choosing
from sekisho.gateway.facts import Facts
from tests.unit.gateway.guards.test_guarded import MAIL, build_key, build_policy, say
from tests.unit.gateway.house import Answer, House, build_house, build_pod, build_service
from tests.unit.gateway.test_access import policy as access_policy

LAW = build_policy(burst="Allowed")


def change_law(**changed: Any) -> Callable[[House], None]:
    def change(house: House) -> None:
        spec = build_policy(**changed.pop("rules", {"burst": "Allowed"})) | changed
        house.api.put("classificationpolicies", {"metadata": {"name": "default"}, "spec": spec})

    return change


def change_access(**spec: Any) -> Callable[[House], None]:
    return lambda house: house.api.put("accesspolicies", access_policy(**spec))


@dataclass
class Inside:
    """What a gateway decides by."""

    facts: list[Facts] = field(default_factory=list)
    choosing: list[Choosing] = field(default_factory=list)

    async def hold(self, house: House, body: dict[str, Any], change: Callable[[House], None]) -> Answer:
        """Ask while the only pod is starting, let the gateway hear of a change, and have the pod serve."""
        (service,) = house.api.objects["inferenceservices"].values()
        starting = {"Ready": {"status": "False"}}
        house.api.put("pods", build_pod(service, port=house.engine.port, conditions=starting))
        (facts,), (choosing,) = self.facts, self.choosing
        asked = asyncio.create_task(house.chat(body))
        await house.settle(lambda: choosing._held, what="the request to wait for its pod")

        def known() -> tuple[Any, ...]:
            return facts.law, facts.access_policies, facts.find("legal", "contract-review")

        before = known()
        change(house)
        await house.settle(
            lambda: any(now is not then for now, then in zip(known(), before, strict=True)),
            what="the gateway to hear of the change",
        )
        house.api.put("pods", build_pod(service, port=house.engine.port))
        return await asked


@pytest.fixture
def inside(monkeypatch: pytest.MonkeyPatch) -> Inside:
    seen = Inside()

    def open_facts(*given: Any, **how: Any) -> Facts:
        seen.facts.append(Facts(*given, **how))
        return seen.facts[-1]

    def open_choosing(*given: Any, **how: Any) -> Choosing:
        seen.choosing.append(Choosing(*given, **how))
        return seen.choosing[-1]

    monkeypatch.setattr(main, "Facts", open_facts)
    monkeypatch.setattr(main, "Choosing", open_choosing)
    return seen


def change_service(**spec: Any) -> Callable[[House], None]:
    return lambda house: house.api.put("inferenceservices", build_service(site="owncloud", spec=spec))


RAISING = [*LAW["levels"][:1], LAW["levels"][1] | {"detect": ["contact"]}, *LAW["levels"][2:]]


@pytest.mark.parametrize(
    ("change", "status", "code", "said"),
    [
        (change_law(rules={"burst": "AfterRedaction", "redact": ["contact"]}), 503, "model_not_ready", "the policy"),
        (change_law(rules={"promptAttacks": "Refuse"}), 503, "model_not_ready", "changed since the request"),
        (change_law(dictionary={"words": ["hello"]}), 503, "model_not_ready", "ask again"),
        (change_law(levels=RAISING), 503, "model_not_ready", "the policy"),
        (change_access(subjects=[{"user": "user:somebody"}]), 403, "not_allowed", "none in force names you"),
        (change_access(redact=["contact"]), 503, "model_not_ready", "the AccessPolicies"),
        (change_access(dictionary={"words": ["hello"]}), 503, "model_not_ready", "changed since the request"),
        (change_access(suspended=True), 403, "not_allowed", "none in force names you"),
        (change_service(users=["group:judges"]), 403, "not_allowed", "spec.users of"),
    ],
    ids=range(9),
)
async def test_a_request_that_was_decided_by_what_does_not_hold_any_more_is_not_sent(
    change: Callable[[House], None], status: int, code: str, said: str, tmp_path: Path, inside: Inside
) -> None:
    build_key(tmp_path)
    async with build_house(
        tmp_path, policy=LAW, service=build_service(site="owncloud"), has_pod=False, access=[access_policy()],
        hold_seconds=60, placeholder_key_file=tmp_path / "placeholders",
    ) as house:  # fmt: skip
        answer = await inside.hold(house, say(f"hello, I am {MAIL}"), change)
        assert (answer.status, answer.code) == (status, code), answer.text
        assert said in answer.message
        assert house.engine.requests == []
        assert (await house.entries())[-1]["ended"] == "failed"


@pytest.mark.parametrize(
    "change",
    [
        change_law(),
        change_access(),
        change_access(name="other", models=["legal/other"]),
        change_service(users=["group:g"]),
    ],
    ids=range(4),
)
async def test_a_change_that_says_the_same_of_a_request_does_not_keep_it(
    change: Callable[[House], None], tmp_path: Path, inside: Inside
) -> None:
    async with build_house(
        tmp_path, policy=LAW, service=build_service(site="owncloud"), has_pod=False, access=[access_policy()],
        hold_seconds=60,
    ) as house:  # fmt: skip
        assert (await inside.hold(house, say("hello"), change)).status == 200
        assert len(house.engine.requests) == 1
