"""What the two sides of a release are about, and whether they are in force."""

from datetime import UTC, datetime, timedelta

import pytest

from sekisho.api.v1alpha1.classificationpolicy import KeyOwner
from sekisho.api.v1alpha1.datagrant import DataGrantSpec
from sekisho.api.v1alpha1.keyreleasepolicy import KeyReleasePolicySpec
from sekisho.errors import Reason
from sekisho.plan.grants import judge_force, names_model, names_workload, owns_key
from tests.unit.api.cases import GRANT, IMAGE, RELEASE

NOW = datetime(2027, 1, 1, tzinfo=UTC)
WORKLOADS = [*RELEASE["workloads"], {"namespace": "hr", "service": "bot", "images": [IMAGE]}]
MODELS = [*GRANT["models"], {"owner": "others", "name": "bot"}]
OWNER = KeyReleasePolicySpec.model_validate({**RELEASE, "workloads": WORKLOADS})
TENANT = DataGrantSpec.model_validate({**GRANT, "models": MODELS})


def test_a_workload_is_a_namespace_and_a_service() -> None:
    assert names_workload(OWNER, "legal", "chat")
    assert names_workload(OWNER, "hr", "bot")
    assert not names_workload(OWNER, "legal", "bot")
    assert not names_workload(OWNER, "legal", "other")
    assert not names_workload(OWNER, "web", "chat")


def test_a_model_is_one_of_an_owner() -> None:
    assert names_model(TENANT, "model-owners", "legal/reviewer")
    assert names_model(TENANT, "others", "bot")
    assert not names_model(TENANT, "model-owners", "bot")
    assert not names_model(TENANT, "strangers", "legal/reviewer")
    assert not names_model(TENANT, "model-owners", "legal/other")


@pytest.mark.parametrize(
    ("namespace", "kms", "key_id", "owned"),
    [
        ("owners", "openbao", "transit/legal", True),
        ("owners", "openbao", "transit/legal-2", False),
        ("owners", "openbao", "transit/web-1", True),
        ("owners", "openbao", "transit/web-", True),
        ("owners", "openbao", "transit/web", False),
        ("owners", "aws", "transit/legal", False),
        ("strangers", "openbao", "transit/legal", False),
        ("all", "aws", "anything", True),
    ],
)
def test_a_key_is_owned_by_the_namespaces_that_the_law_names(
    namespace: str, kms: str, key_id: str, *, owned: bool
) -> None:
    owners = [
        KeyOwner.model_validate(
            {"namespace": "owners", "kms": "openbao", "keyIds": ["transit/legal", "transit/web-*"]}
        ),
        KeyOwner.model_validate({"namespace": "all", "kms": "aws", "keyIds": ["*"]}),
    ]
    assert owns_key(owners, namespace, kms=kms, key_id=key_id) is owned
    assert not owns_key([], namespace, kms=kms, key_id=key_id)


def test_a_grant_is_in_force_until_it_ends_or_is_suspended() -> None:
    assert judge_force(OWNER, NOW - timedelta(seconds=1)) is None
    ended = judge_force(OWNER, NOW)
    assert ended is not None
    assert (ended.reason, ended.detail) == (
        Reason.GRANT_EXPIRED, "it ended at 2027-01-01T00:00:00Z, now is 2027-01-01T00:00:00Z; set a later expiresAt",
    )  # fmt: skip
    assert judge_force(TENANT, NOW + timedelta(days=9999)) is None
    stopped = judge_force(TENANT.model_copy(update={"suspended": True}), NOW)
    assert stopped is not None
    assert (stopped.reason, stopped.detail) == (
        Reason.GRANT_SUSPENDED, "it is suspended; set suspended to false to put it in force",
    )  # fmt: skip
