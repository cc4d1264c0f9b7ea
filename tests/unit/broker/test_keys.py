"""Key services behind the broker: which are opened, how long they may take, and how many may wait."""

import asyncio
import threading
from typing import Any

import pytest

from sekisho.broker import keys as keys_module
from sekisho.broker.keys import ConfiguredServices, KeyLimits, Keys
from sekisho.errors import Reason, RefusedError, UnavailableError
from sekisho.kms.openbao import OpenBaoTransit
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
