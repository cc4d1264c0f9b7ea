"""Key services behind the broker: which are opened, how long they may take, and how many may wait."""

import asyncio
import threading
from dataclasses import replace
from typing import Any, cast

import pytest

from sekisho.broker import keys as keys_module
from sekisho.broker.keys import ConfiguredServices, KeyLimits, Keys
from sekisho.errors import Reason, RefusedError, UnavailableError
from sekisho.kms.openbao import OpenBaoTransit
from sekisho.kms.service import KeyService, KeyState
from sekisho.seal.keys import WrappedKey
from tests.unit.broker.parts import CONTEXT, DATA_KEY, KEY_ID, Clock, Vault

ENVIRONMENT = {"BAO_ADDR": "https://127.0.0.1:8200", "SEKISHO_BAO_TOKEN_FILE": "/nowhere"}


def test_a_service_is_opened_once_for_all_its_keys() -> None:
    services = ConfiguredServices(ENVIRONMENT)
    first = services.open("openbao", "transit/legal")
    assert isinstance(first, OpenBaoTransit)
    assert services.open("openbao", "transit/other", 1) is first
    assert services.open("openbao", "transit/legal", 4) is not first


@pytest.mark.slow
def test_only_so_many_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys_module, "_MOST_SERVICES", 3)
    services = ConfiguredServices(ENVIRONMENT)
    first = services.open("openbao", "transit/legal", 1)
    for version in (2, 3):
        services.open("openbao", "transit/legal", version)
    assert services.open("openbao", "transit/legal", 1) is first
    services.open("openbao", "transit/legal", 4)
    assert services.open("openbao", "transit/legal", 1) is not first


@pytest.mark.parametrize(
    ("kms", "key_id", "reason", "message"),
    [
        ("unsafe-development", "/etc/passwd", Reason.KEY_UNSAFE, "the broker opens keys of real key services alone"),
        ("nobody", "x", Reason.KEY_NOT_FOUND, "names no key"),
        ("pkcs11", "legal", Reason.KEY_NOT_FOUND, "set SEKISHO_PKCS11_MODULE"),
    ],
)
def test_a_service_that_is_not_set_up_or_is_none_is_refused(
    kms: str, key_id: str, reason: Reason, message: str
) -> None:
    with pytest.raises(RefusedError, match=message) as caught:
        ConfiguredServices(ENVIRONMENT).open(kms, key_id)
    assert caught.value.reason is reason


async def test_more_than_may_wait_are_sent_away_and_time_is_limited() -> None:
    vault = Vault()
    wrapped = vault.wrap(DATA_KEY, key_id=KEY_ID, context=CONTEXT)
    enough = threading.Event()
    vault.before = enough.wait
    keys = Keys(vault.open, limits=KeyLimits(seconds=0.1, threads=1, waiting=2))
    asked: list[Any] = [keys.unwrap(wrapped, context=CONTEXT, minimum_version=1) for _ in range(3)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    enough.set()
    reasons = [item.reason for item in answers if isinstance(item, UnavailableError)]
    assert sorted(reasons) == [Reason.KMS_UNAVAILABLE, Reason.KMS_UNAVAILABLE, Reason.OVERLOADED]
    keys.close()


async def test_the_minimum_version_reaches_the_service() -> None:
    vault = Vault()
    wrapped = vault.wrap(DATA_KEY, key_id=KEY_ID, context=CONTEXT)
    keys = Keys(vault.open, clock=Clock())
    assert await keys.unwrap(wrapped, context=CONTEXT, minimum_version=4) == DATA_KEY
    with pytest.raises(RefusedError, match="5 is the minimum") as caught:
        await keys.unwrap(wrapped, context=CONTEXT, minimum_version=5)
    assert caught.value.reason is Reason.KEY_VERSION_REVOKED
    with pytest.raises(RefusedError, match="5 is the minimum"):
        await keys.check(wrapped, minimum_version=5)
    keys.close()


class Service:
    """A key service that only tells how a key stands; what it is asked is counted."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.trouble: Exception | None = None
        self.state = KeyState(
            kms="openbao",
            key_id=KEY_ID,
            enabled=True,
            latest_version=9,
            minimum_version=4,
            algorithm="aes",
            detail="off",
        )

    def open(self, _kms: str, _key_id: str, _minimum: int) -> KeyService:
        return cast("KeyService", self)

    def describe(self, key_id: str) -> KeyState:
        self.asked.append(key_id)
        if self.trouble is not None:
            raise self.trouble
        return self.state


async def check(service: Service, *, version: str = "4", keys: Keys | None = None, key_id: str = KEY_ID) -> None:
    asked = keys or Keys(service.open, clock=Clock())
    try:
        await asked.check(WrappedKey("openbao", key_id, version, b"opaque"), minimum_version=1)
    finally:
        if keys is None:
            asked.close()


async def test_a_key_that_was_disabled_is_not_used_any_more() -> None:
    service = Service()
    service.state = replace(service.state, enabled=False)
    with pytest.raises(RefusedError, match="off") as caught:
        await check(service)
    assert caught.value.reason is Reason.KEY_DISABLED


@pytest.mark.parametrize("version", ["0", "3"])
async def test_a_version_below_the_minimum_is_not_used_any_more(version: str) -> None:
    with pytest.raises(RefusedError, match=f"version {version} wrapped it, 4 is the minimum") as caught:
        await check(Service(), version=version)
    assert caught.value.reason is Reason.KEY_VERSION_REVOKED


@pytest.mark.parametrize("version", ["4", "5", "9" * 30, "", "v1", "arn:aws:kms", "３"])
async def test_a_version_that_is_no_lower_number_is_used(version: str) -> None:
    await check(Service(), version=version)


async def test_a_version_that_was_ended_between_others_is_not_used_any_more() -> None:
    service = Service()
    service.state = replace(service.state, minimum_version=1, usable=frozenset({1, 3}))
    for version in ("1", "3", "v2"):
        await check(service, version=version)
    for version in ("2", "4"):
        with pytest.raises(RefusedError, match=f"version {version} wrapped it, which is disabled") as caught:
            await check(service, version=version)
        assert caught.value.reason is Reason.KEY_VERSION_REVOKED


async def test_a_key_service_that_denies_us_says_nothing_against_the_pod() -> None:
    service = Service()
    service.trouble = RefusedError(Reason.KEY_DENIED, "permission denied")
    with pytest.raises(UnavailableError, match="permission denied") as caught:
        await check(service)
    assert caught.value.reason is Reason.KMS_UNAVAILABLE
    service.trouble = RefusedError(Reason.KEY_NOT_FOUND, "no such key")
    with pytest.raises(RefusedError, match="no such key") as gone:
        await check(service)
    assert gone.value.reason is Reason.KEY_NOT_FOUND


async def test_what_was_said_of_a_key_is_known_for_ten_seconds_from_when_it_was_asked() -> None:
    service, clock = Service(), Clock()
    keys = Keys(service.open, clock=clock)
    clock.seconds = 100
    for clock.seconds, asked in ((100, 1), (105, 1), (110, 1), (110.5, 2), (120.5, 2)):
        await check(service, keys=keys)
        assert len(service.asked) == asked
    keys.close()


async def test_what_is_known_of_keys_is_bounded_and_the_oldest_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys_module, "_MOST_STATES", 2)
    service, clock = Service(), Clock()
    keys = Keys(service.open, clock=clock)
    for name in ("a", "b", "c", "c", "b", "a"):
        await check(service, keys=keys, key_id=name)
    assert service.asked == ["a", "b", "c", "a"]
    clock.seconds = 11
    await check(service, keys=keys, key_id="c")  # asked anew, it is the newest
    await check(service, keys=keys, key_id="d")
    await check(service, keys=keys, key_id="c")
    assert service.asked == ["a", "b", "c", "a", "c", "d"]
    keys.close()


async def test_who_was_answered_waits_no_more_and_the_threads_end() -> None:
    service = Service()
    keys = Keys(service.open, limits=KeyLimits(threads=1, waiting=1), clock=Clock())
    for number in range(3):
        await check(service, keys=keys, key_id=str(number))
    assert sum(keys._waiting.values()) == 0
    keys.close()
    with pytest.raises(UnavailableError, match="cannot be asked: the threads keys-openbao are closed"):
        await check(service, keys=keys, key_id="another")


async def test_a_key_service_that_hangs_holds_up_no_other() -> None:
    vault = Vault()
    wrapped = vault.wrap(DATA_KEY, key_id=KEY_ID, context=CONTEXT)
    enough = threading.Event()

    def open_service(kms: str, key_id: str, minimum: int) -> KeyService:
        if kms == "pkcs11":
            enough.wait()
        return vault.open(kms, key_id, minimum)

    keys = Keys(open_service, limits=KeyLimits(seconds=0.3, threads=2, waiting=4))
    hung: list[Any] = [
        keys.unwrap(replace(wrapped, kms="pkcs11"), context=CONTEXT, minimum_version=1) for _ in range(4)
    ]
    waiting = asyncio.gather(*hung, return_exceptions=True)
    await asyncio.sleep(0.05)
    assert await keys.unwrap(wrapped, context=CONTEXT, minimum_version=1) == DATA_KEY
    assert [item.reason for item in await waiting] == [Reason.KMS_UNAVAILABLE] * 4
    assert await keys.unwrap(wrapped, context=CONTEXT, minimum_version=1) == DATA_KEY
    enough.set()
    keys.close()


async def test_what_a_client_library_throws_is_no_answer_and_nothing_of_it_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    service = Service()
    service.trouble = OverflowError(f"cannot use {DATA_KEY!r}")
    with pytest.raises(UnavailableError, match=r"its client failed \(OverflowError\)") as caught:
        await check(service)
    assert caught.value.reason is Reason.KMS_UNAVAILABLE
    (record,) = [record for record in caplog.records if record.name == "sekisho.kms.failures"]
    assert "cannot use" not in f"{record.getMessage()} {vars(record)}"
    assert record.error == "OverflowError"
    assert str(record.place).startswith("test_keys.py:")
