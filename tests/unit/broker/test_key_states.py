"""Each sealed Model is told what its key service says of its key; nothing that is asked opens anything."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sekisho.api.v1alpha1.model import KeyFacts
from sekisho.broker import key_states
from sekisho.broker.key_states import KeyStates, spell_state
from sekisho.errors import Reason, RefusedError, UnavailableError
from sekisho.kms.service import KeyService, KeyState
from sekisho.kms.unsafe_development import (
    UnsafeDevelopmentKeys,
    UnsafeDevelopmentSettings,
    create_unsafe_key,
    rotate_unsafe_key,
)
from tests.unit.plan.seals import build_inspection, plain_inspection, refused_inspection

NOW = datetime(2026, 11, 25, 6, tzinfo=UTC)


@dataclass
class Register:
    """The Models of a cluster, whose statuses are written as an API server would."""

    models: dict[str, dict[str, Any]] = field(default_factory=dict)
    writes: list[str] = field(default_factory=list)
    down: bool = False

    def add(self, name: str, **inspection: Any) -> None:
        found = build_inspection(kms="unsafe-development", keyId="owner", keyVersion="1", **inspection)
        self.models[name] = {"metadata": {"namespace": "a", "name": name, "uid": name}, "status": {"inspection": found}}

    async def list_models(self) -> list[Mapping[str, Any]]:
        if self.down:
            raise UnavailableError(Reason.API_UNAVAILABLE, "the API server does not answer")
        return list(self.models.values())

    async def tell(self, model: Mapping[str, Any], facts: KeyFacts) -> None:
        name = model["metadata"]["name"]
        self.writes.append(name)
        self.models[name]["status"]["key"] = facts.model_dump(by_alias=True, exclude_none=True, mode="json")

    def key(self, name: str = "m") -> dict[str, Any]:
        found: dict[str, Any] = self.models[name]["status"]["key"]
        return found


@dataclass
class House:
    """A register, a development key, and what looks at both."""

    register: Register
    file: Path
    states: KeyStates = field(init=False)
    opened: list[tuple[str, str]] = field(default_factory=list)
    at: datetime = NOW

    def open(self, kms: str, key_id: str) -> KeyService:
        self.opened.append((kms, key_id))
        if kms != "unsafe-development":
            raise RefusedError(Reason.KMS_UNAVAILABLE, f"no key service {kms} is configured")
        return UnsafeDevelopmentKeys(UnsafeDevelopmentSettings(file=self.file, allow_unsafe=True))

    def hang(self, is_hung: Callable[[str, str], bool], enough: threading.Event) -> None:
        """Have some key services, by kind and key, answer nothing before it is enough."""

        def open_late(kms: str, key_id: str) -> KeyService:
            if is_hung(kms, key_id):
                enough.wait()
            return self.open(kms, key_id)

        self.states.open_service = open_late


@pytest.fixture
def house(tmp_path: Path) -> House:
    file = tmp_path / "owner.json"
    create_unsafe_key(file)
    made = House(Register(), file)
    made.states = KeyStates(made.register, made.open, now=lambda: made.at)
    return made


async def test_state_and_versions_of_a_key_reach_every_model_that_uses_it_by_one_question(house: House) -> None:
    for name in ("m", "n"):
        house.register.add(name)
    assert await house.states.look() == 2
    assert house.opened == [("unsafe-development", "owner")]
    for name in ("m", "n"):
        assert house.register.key(name) == {
            "kms": "unsafe-development", "keyId": "owner", "state": "Enabled", "version": 1, "minVersion": 1,
            "message": "", "checkedAt": "2026-11-25T06:00:00Z",
        }  # fmt: skip


async def test_a_rotated_and_a_disabled_key_are_told_and_what_did_not_change_is_not_written(house: House) -> None:
    house.register.add("m")
    await house.states.look()
    assert await house.states.look() == 0
    rotate_unsafe_key(house.file)
    assert await house.states.look() == 1
    assert house.register.key()["version"] == 2
    house.file.write_text(json.dumps(json.loads(house.file.read_text()) | {"enabled": False, "minimumVersion": 2}))
    assert await house.states.look() == 1
    assert (house.register.key()["state"], house.register.key()["minVersion"]) == ("Disabled", 2)
    assert house.register.writes == ["m"] * 3


async def test_an_answer_that_says_the_same_is_renewed_now_and_then(house: House) -> None:
    house.register.add("m")
    await house.states.look()
    house.at += timedelta(minutes=29)
    assert await house.states.look() == 0
    house.at += timedelta(minutes=2)
    assert await house.states.look() == 1
    assert house.register.key()["checkedAt"] == "2026-11-25T06:31:00Z"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda house: house.file.unlink(), "KeyNotFound: "),
        (lambda house: house.file.write_text("no"), "KmsUnavailable: "),
        (
            lambda house: house.register.models["m"]["status"]["inspection"].update(kms="aws", keyId="alias/legal"),
            "KmsUnavailable: no key service aws is configured",
        ),
        (
            lambda house: house.register.models["m"]["status"]["inspection"].update(kms="nobody"),
            "KeyNotFound: there is no kind of key service 'nobody'",
        ),
    ],
    ids=["gone", "broken", "not configured", "no kind"],
)
async def test_a_key_service_that_does_not_say_leaves_the_state_unknown_with_its_reason(
    house: House, spoil: Any, message: str
) -> None:
    house.register.add("m")
    spoil(house)
    await house.states.look()
    assert house.register.key()["state"] == "Unknown"
    assert house.register.key()["message"].startswith(message)
    assert "version" not in house.register.key()


async def test_a_key_service_that_hangs_does_not_hold_the_others_up(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_states, "_ASK_SECONDS", 1.0)
    enough = threading.Event()
    house.register.add("m")
    house.register.add("n")
    house.register.models["n"]["status"]["inspection"].update(keyId="slow")
    house.hang(lambda _, key_id: key_id == "slow", enough)
    assert await house.states.look() == 2
    enough.set()
    assert house.register.key("m")["state"] == "Enabled"
    assert house.register.key("n")["state"] == "Unknown"
    assert house.register.key("n")["message"] == "no answer within 1 s"


async def test_key_services_that_hang_for_ever_take_neither_the_process_nor_each_others_turns(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_states, "_ASK_SECONDS", 0.05)
    enough = threading.Event()
    house.register.add("m")
    for number in range(40):
        house.register.add(f"hung-{number}")
        house.register.models[f"hung-{number}"]["status"]["inspection"].update(kms="pkcs11", keyId=f"key-{number}")
    house.hang(lambda kms, _: kms == "pkcs11", enough)
    assert await house.states.look() == 41
    try:
        assert await asyncio.wait_for(asyncio.to_thread(lambda: 7), 10) == 7
        assert house.register.key("m")["state"] == "Enabled"
        assert house.register.key("hung-39")["state"] == "Unknown"
    finally:
        enough.set()
        house.states.close()


async def test_a_process_without_a_thread_to_be_had_ends_no_job(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.register.add("m")

    def fail(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        assert await house.states.look() == 1
    assert house.register.key()["message"] == "InternalError: can't start new thread"
    assert await house.states.look() == 1
    assert house.register.key()["state"] == "Enabled"
    house.states.close()


async def test_what_a_client_library_throws_ends_no_job_and_is_told_by_its_kind_alone(house: House) -> None:
    house.register.add("m")

    def fail(_kms: str, _key_id: str) -> KeyService:
        raise OverflowError("cannot convert float infinity to integer")

    house.states.open_service = fail
    assert await house.states.look() == 1
    assert house.register.key()["state"] == "Unknown"
    assert house.register.key()["message"].endswith("its client failed (OverflowError)")


@pytest.mark.parametrize(
    "status",
    [{}, {"inspection": plain_inspection()}, {"inspection": refused_inspection("SealBroken", "x")}, {"inspection": 7}],
    ids=["fresh", "plain", "refused", "garbage"],
)
async def test_models_without_a_verified_key_are_not_asked_for(house: House, status: dict[str, Any]) -> None:
    house.register.add("m")
    house.register.models["m"]["status"] = status
    assert await house.states.look() == 0
    assert house.opened == []


async def test_a_model_that_is_going_away_is_left_alone(house: House) -> None:
    house.register.add("m")
    house.register.models["m"]["metadata"]["deletionTimestamp"] = "2026-11-25T06:00:00Z"
    assert await house.states.look() == 0


async def test_more_keys_than_a_round_asks_for_are_asked_in_turns(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_states, "MAX_KEYS", 2)
    for number in range(5):
        house.register.add(str(number))
        house.register.models[str(number)]["status"]["inspection"]["keyId"] = f"key-{number}"
    assert await house.states.look() == 2
    assert len(house.opened) == 2


async def test_an_api_server_that_is_down_ends_no_job(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_states, "_ROUND_SECONDS", 0.02)
    house.register.add("m")
    house.register.down = True
    job = asyncio.create_task(house.states.run())
    await asyncio.sleep(0.1)
    assert not job.done()
    house.register.down = False
    until = time.monotonic() + 60
    while not house.register.writes and time.monotonic() < until:
        await asyncio.sleep(0.02)
    job.cancel()
    assert house.register.writes == ["m"]


def build_state(**changes: Any) -> KeyState:
    whole = {
        "kms": "aws", "key_id": "alias/legal", "enabled": True, "latest_version": 3, "minimum_version": 2,
        "algorithm": "SYMMETRIC_DEFAULT",
    }  # fmt: skip
    return KeyState(**{**whole, **changes})


@pytest.mark.parametrize(
    ("state", "word"),
    [
        (build_state(), "Enabled"),
        (build_state(enabled=False, detail="its state is Disabled"), "Disabled"),
        (build_state(enabled=False, deleting=True, detail="its state is PendingDeletion"), "PendingDeletion"),
        (build_state(deleting=True), "PendingDeletion"),
    ],
)
def test_every_state_of_a_key_service_has_its_word(state: KeyState, word: str) -> None:
    facts = spell_state(state, ("aws", "alias/legal"), at="2026-11-25T06:00:00Z")
    assert (facts.state, facts.version, facts.min_version) == (word, 3, 2)
    assert bool(facts.message) == bool(state.detail)


def test_numbers_and_words_of_a_key_service_are_bounded() -> None:
    state = build_state(enabled=False, latest_version=2**60, minimum_version=-1, detail="x" * 4096)
    facts = spell_state(state, ("aws", "alias/legal"), at="2026-11-25T06:00:00Z")
    assert (facts.version, facts.min_version, len(facts.message)) == (2**53 - 1, 0, 512)
