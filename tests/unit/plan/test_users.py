"""Whom the gateway lets through to a service whose key is guarded: whom service, owner and tenant all name."""

from typing import Any

import pytest

from sekisho.api import names
from sekisho.api.v1alpha1.datagrant import DataGrantSpec
from sekisho.api.v1alpha1.keyreleasepolicy import KeyReleasePolicySpec
from sekisho.plan.inferenceservice import plan
from sekisho.plan.world import GrantObject, World
from tests.unit.api.cases import GRANT, RELEASE
from tests.unit.plan.seals import build_inspection, sealed_model
from tests.unit.plan.test_release import BROKER, held
from tests.unit.plan.worlds import build_pod, build_policy, build_service, build_world, refused

USERS = ["group:legal", "user:ann"]
KEYS = [{"namespace": "owners", "kms": "openbao", "keyIds": ["transit/legal"]}]
BROKEN = refused("InvalidSpec", "x")


def build_owner(name: str = "o", namespace: str = "owners", **changes: Any) -> GrantObject[KeyReleasePolicySpec]:
    spec = {
        **RELEASE,
        "model": {"name": "legal/smollm2", "minVersion": 1},
        "key": {"kms": "openbao", "keyId": "transit/legal"},
        "workloads": [{"namespace": "legal", "service": "review", "images": RELEASE["workloads"][0]["images"]}],
        "users": ["group:legal", "group:web"],
        "expiresAt": None,
        **changes,
    }
    return GrantObject(namespace, name, 1, KeyReleasePolicySpec.model_validate(spec), {})


def build_tenant(name: str = "t", **changes: Any) -> GrantObject[DataGrantSpec]:
    spec = {
        **GRANT,
        "services": ["review"],
        "models": [{"owner": "owners", "name": "legal/smollm2"}],
        "users": ["group:legal", "user:ann"],
        **changes,
    }
    return GrantObject("legal", name, 1, DataGrantSpec.model_validate(spec), {})


def build_guarded(**changes: Any) -> World:
    law = build_policy().model_dump(by_alias=True, mode="json")
    policy = build_policy().model_validate({**law, "keyOwners": KEYS})
    base = {
        "policy": policy, "model": sealed_model(build_inspection(policy)), "settings": BROKER,
        "owners": (build_owner(),), "tenants": (build_tenant(),),
    }  # fmt: skip
    return build_world(**{**base, **changes})


def granted(world: World, users: list[str] | None = None) -> list[str] | None:
    return plan(build_service(users=USERS if users is None else users), world).status.get("users")


def test_only_whom_service_owner_and_tenant_name_is_let_through() -> None:
    assert granted(build_guarded()) == ["group:legal"]
    assert granted(build_guarded(), ["group:legal", "group:web", "user:ann", "group:x"]) == ["group:legal"]


NOBODY: dict[str, dict[str, Any]] = {
    "no tenant": {"tenants": ()},
    "a tenant who suspended it": {"tenants": (build_tenant(suspended=True),)},
    "a tenant who names another model": {"tenants": (build_tenant(models=[{"owner": "owners", "name": "other"}]),)},
    "a tenant whose grant cannot be read": {"tenants": (GrantObject("legal", "t", 1, BROKEN, {}),)},
    "an owner who suspended it": {"owners": (build_owner(suspended=True),)},
    "an owner whose policy ended": {"owners": (build_owner(expiresAt="2020-01-01T00:00:00Z"),)},
    "an owner of another model": {"owners": (build_owner(model={"name": "other", "minVersion": 1}),)},
    "an owner of another key": {"owners": (build_owner(key={"kms": "openbao", "keyId": "transit/web"}),)},
    "an owner who owns no key": {"owners": (build_owner(namespace="strangers"),)},
    "an owner whose policy cannot be read": {"owners": (GrantObject("owners", "o", 1, BROKEN, {}),)},
}


@pytest.mark.parametrize("changes", NOBODY.values(), ids=NOBODY)
def test_where_one_side_is_missing_nobody_is_let_through(changes: dict[str, Any]) -> None:
    assert granted(build_guarded(**changes)) == []


def test_a_service_that_names_nobody_lets_nobody_through_where_its_key_is_guarded() -> None:
    assert granted(build_guarded(), []) == []


def test_two_pairs_of_grants_add_up_and_halves_of_them_do_not() -> None:
    owners = (build_owner("a", users=["group:legal"]), build_owner("b", "strangers", users=["user:ann"]))
    assert granted(build_guarded(owners=owners)) == ["group:legal"]
    both = (build_owner("a", users=["group:legal"]), build_owner("b", users=["user:ann"]))
    assert granted(build_guarded(owners=both)) == ["group:legal", "user:ann"]


def test_without_a_guarded_key_the_service_alone_decides() -> None:
    assert granted(build_world()) is None
    assert granted(build_guarded(owners=(), tenants=())) is None
    assert granted(build_world(owners=(build_owner(),))) is None, "weights that are plain need no key"


def test_a_key_that_a_pod_holds_stays_guarded_though_every_policy_is_gone() -> None:
    pod = build_pod("a", conditions=held())
    assert granted(build_guarded(owners=(), tenants=(), pods=(pod,))) == []
    asked = build_pod("a", conditions={names.KEY_RELEASED_POD_CONDITION: {"status": "False"}})
    assert granted(build_guarded(owners=(), tenants=(), pods=(asked,))) is None


def test_a_service_that_is_not_accepted_lets_nobody_through_anyway() -> None:
    decided = plan(build_service(users=USERS), build_guarded(policy=None))
    assert "users" not in decided.status
