"""The broker on the real OpenBao, with the rights that the how-to gives it and no others."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sekisho.broker.keys import ConfiguredServices, KeyLimits, Keys
from sekisho.broker.release import Broker
from sekisho.errors import Reason, RefusedError, SekishoError
from sekisho.kms.openbao import OpenBaoSettings, OpenBaoTransit
from sekisho.kms.openbao_login import TokenFile
from tests.contract.kms.benches import Bao, fresh
from tests.unit.broker.parts import CONTEXT, DATA_KEY, Agent, Binding, World
from tests.unit.broker.release_cases import LAW, build_law, build_owner, build_rules


class Scene:
    """A broker whose account may decrypt with one key and read its state; an owner who may wrap."""

    def __init__(self, bao: Bao, folder: Path) -> None:
        self.bao, self.name = bao, fresh("legal")
        self.key_id = f"transit/{self.name}"
        bao.admin("POST", f"transit/keys/{self.name}", {"type": "aes256-gcm96"})
        for _ in range(3):
            bao.admin("POST", f"transit/keys/{self.name}/rotate")
        rules = (
            f'path "transit/decrypt/{self.name}" {{ capabilities = ["update"] }}\n'
            f'path "transit/keys/{self.name}" {{ capabilities = ["read"] }}'
        )
        bao.admin("PUT", f"sys/policies/acl/{self.name}", {"policy": rules})
        self.token_file = folder / "token"
        self.token_file.write_text(self.make_token(self.name))
        owner = folder / "owner"
        owner.write_text(bao.root)
        self.owner = OpenBaoTransit(
            OpenBaoSettings(address=bao.tls_address, login=TokenFile(owner), ca_file=bao.ca_file)
        )
        environment = {
            "BAO_ADDR": bao.tls_address, "BAO_CACERT": str(bao.ca_file), "SEKISHO_BAO_TOKEN_FILE": str(self.token_file),
        }  # fmt: skip
        self.keys = Keys(ConfiguredServices(environment).open, limits=KeyLimits(seconds=60))
        self.world = World()
        self.world.wrapped = self.owner.wrap(DATA_KEY, key_id=self.key_id, context=CONTEXT)
        key = {"kms": "openbao", "keyId": self.key_id, "minVersion": 4}
        owners = [{**LAW["keyOwners"][0], "keyIds": ["transit/*"]}]
        self.world.rules = build_rules(law=build_law(keyOwners=owners), owners=(build_owner(key=key),))
        self.broker = Broker(self.world.build_parts(keys=self.keys))
        self.agent = Agent(self.world)

    def make_token(self, policy: str) -> str:
        answer = self.bao.admin("POST", "auth/token/create", {"policies": [policy], "no_default_policy": True})
        return str(answer["auth"]["client_token"])

    async def refuse(self, purpose: str) -> SekishoError:
        with pytest.raises(SekishoError) as caught:
            await self.agent.get(self.broker, purpose)
        await self.broker.settle()
        return caught.value


@pytest.fixture
def scene(bao: Bao, tmp_path: Path) -> Iterator[Scene]:
    made = Scene(bao, tmp_path)
    yield made
    made.keys.close()


async def test_a_key_is_released_and_renewed_with_two_rights(scene: Scene) -> None:
    seen: list[Binding] = []
    scene.agent.bind = lambda binding: (seen.append(binding), binding)[1]
    answer = await scene.agent.get(scene.broker)
    assert scene.agent.open(answer, seen[0]) == DATA_KEY
    assert (await scene.agent.get(scene.broker, "renew"))["lease"]["seconds"] == 600


async def test_those_rights_wrap_nothing_and_open_no_other_key(scene: Scene) -> None:
    service = ConfiguredServices(
        {"BAO_ADDR": scene.bao.tls_address, "BAO_CACERT": str(scene.bao.ca_file),
         "SEKISHO_BAO_TOKEN_FILE": str(scene.token_file)}
    ).open("openbao", scene.key_id)  # fmt: skip
    with pytest.raises(RefusedError, match="denied us") as caught:
        service.wrap(DATA_KEY, key_id=scene.key_id, context=CONTEXT)
    assert caught.value.reason is Reason.KEY_DENIED
    other = fresh("other")
    scene.bao.admin("POST", f"transit/keys/{other}", {"type": "aes256-gcm96"})
    wrapped = scene.owner.wrap(DATA_KEY, key_id=f"transit/{other}", context=CONTEXT)
    with pytest.raises(RefusedError, match="denied us"):
        service.unwrap(wrapped, context=CONTEXT)


async def test_a_key_wrapped_for_another_model_opens_for_nobody(scene: Scene) -> None:
    scene.world.wrapped = scene.owner.wrap(DATA_KEY, key_id=scene.key_id, context=replace(CONTEXT, model="legal/other"))
    assert (await scene.refuse("release")).reason is Reason.KEY_MISMATCH


async def test_a_version_below_the_servers_minimum_is_neither_released_nor_renewed(scene: Scene) -> None:
    await scene.agent.get(scene.broker)
    scene.bao.admin("POST", f"transit/keys/{scene.name}/rotate")
    scene.bao.admin("POST", f"transit/keys/{scene.name}/config", {"min_decryption_version": 5})
    assert (await scene.refuse("renew")).reason is Reason.KEY_VERSION_REVOKED
    assert (await scene.refuse("release")).reason is Reason.KEY_VERSION_REVOKED


async def test_a_version_below_the_owners_minimum_is_refused_whatever_the_key_file_says_of_itself(scene: Scene) -> None:
    key = {"kms": "openbao", "keyId": scene.key_id, "minVersion": 5}
    rules = scene.world.rules
    scene.world.rules = build_rules(law=rules.law, owners=(build_owner(key=key),))
    scene.world.wrapped = replace(scene.world.wrapped, key_version="9")
    error = await scene.refuse("release")
    assert error.reason is Reason.KEY_VERSION_REVOKED
    assert "version 4 wrapped it, 5 is the minimum" in error.message


async def test_a_key_that_is_gone_is_lost_with_the_next_renewal(scene: Scene) -> None:
    await scene.agent.get(scene.broker)
    scene.bao.admin("POST", f"transit/keys/{scene.name}/config", {"deletion_allowed": True})
    scene.bao.admin("DELETE", f"transit/keys/{scene.name}")
    assert (await scene.refuse("renew")).reason is Reason.KEY_NOT_FOUND


async def test_an_account_that_lost_its_rights_releases_nothing_and_takes_nothing_away(scene: Scene) -> None:
    await scene.agent.get(scene.broker)
    scene.token_file.write_text(scene.make_token("nobody"))
    error = await scene.refuse("renew")
    assert (error.reason, error.retry) == (Reason.KMS_UNAVAILABLE, True)
    assert (await scene.refuse("release")).reason is Reason.KEY_DENIED
