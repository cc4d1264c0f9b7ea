"""What is said of the key of a sealed model, as far as the release of keys has told."""

from dataclasses import replace
from typing import Any

import pytest

from sekisho.api.v1alpha1.model import Inspection
from sekisho.errors import Reason
from sekisho.plan.key_facts import read_key_facts
from sekisho.plan.keys import judge_key
from sekisho.plan.model import plan_model
from sekisho.plan.world import Published
from tests.unit.plan.seals import AT, build_inspection, plain_inspection, refused_inspection, sealed_model
from tests.unit.plan.worlds import NOW, build_policy, condition


def build_facts(**changes: Any) -> dict[str, Any]:
    whole = {
        "kms": "openbao", "keyId": "transit/legal", "state": "Enabled", "version": 4, "minVersion": 2, "checkedAt": AT,
    }  # fmt: skip
    return {key: value for key, value in {**whole, **changes}.items() if value is not None}


def tell(facts: Any, inspection: dict[str, Any] | None = None) -> Published:
    model = sealed_model(inspection)
    model = replace(model, status={**model.status, "key": facts})
    return plan_model(model, build_policy(), namespace_labels={}, now_at=NOW)


@pytest.mark.parametrize(
    ("facts", "status", "reason", "message"),
    [
        (
            build_facts(), "True", Reason.KEY_ENABLED,
            'key "transit/legal" of openbao is Enabled; version 3 wrapped it, 4 is the newest',
        ),
        (build_facts(version=None, minVersion=None), "True", Reason.KEY_ENABLED, "is Enabled; version 3 wrapped it"),
        (
            build_facts(state="Disabled", message="its state is Disabled"), "False", Reason.KEY_DISABLED,
            'key "transit/legal" of openbao is Disabled (its state is Disabled); enable it there, or seal the model',
        ),
        (
            build_facts(state="PendingDeletion"), "False", Reason.KEY_DISABLED,
            'key "transit/legal" of openbao is PendingDeletion; cancel its deletion there while that is possible, then',
        ),
        (
            build_facts(minVersion=4), "False", Reason.KEY_VERSION_REVOKED,
            (
                'version 3 of key "transit/legal" of openbao wrapped the data key, 4 is the oldest that opens anything'
                "; wrap it anew (`sekisho rewrap`) and push it again"
            ),
        ),
        (
            build_facts(state="Unknown", message="KmsUnavailable: it is down"), "Unknown", Reason.KMS_UNAVAILABLE,
            'the state of key "transit/legal" of openbao is not known: KmsUnavailable: it is down',
        ),
        (build_facts(state="Unknown"), "Unknown", Reason.KMS_UNAVAILABLE, "is not known"),
        (build_facts(keyId="transit/other"), "Unknown", Reason.PENDING, "was not asked for yet; a broker asks, where"),
        (build_facts(kms="aws"), "Unknown", Reason.PENDING, "was not asked for yet"),
        (None, "Unknown", Reason.PENDING, "was not asked for yet"),
        ({"state": "Enabled"}, "Unknown", Reason.PENDING, "was not asked for yet"),
        (build_facts(state="Fine"), "Unknown", Reason.PENDING, "was not asked for yet"),
    ],
)  # fmt: skip
def test_the_state_of_a_key_is_told_with_the_next_step(facts: Any, status: str, reason: Reason, message: str) -> None:
    told = condition(tell(facts), "KeyUsable")
    assert (told["status"], told["reason"]) == (status, reason)
    assert message in told["message"]


def test_it_informs_and_refuses_nothing() -> None:
    assert condition(tell(build_facts(state="Disabled")), "Ready")["status"] == "True"


@pytest.mark.parametrize("version", ["a1b2", "٣", "", "9" * 40])
def test_a_version_that_is_no_number_is_not_compared(version: str) -> None:
    facts = build_facts(minVersion=9)
    found = Inspection.model_validate(build_inspection()).model_copy(update={"key_version": version})
    aspect = judge_key(found, read_key_facts({"key": facts}))
    assert aspect is not None
    assert aspect.status == "True"


@pytest.mark.parametrize(
    "inspection", [plain_inspection(), refused_inspection("SealBroken", "broken")], ids=["plain", "refused"]
)
def test_where_no_key_is_known_nothing_is_said(inspection: dict[str, Any]) -> None:
    told = tell(build_facts(), inspection)
    assert "KeyUsable" not in {item["type"] for item in told.status["conditions"]}


def test_an_inspection_without_a_key_says_nothing() -> None:
    assert judge_key(None, None) is None
    found = Inspection.model_validate(build_inspection()).model_copy(update={"key_id": None})
    assert judge_key(found, None) is None


def test_what_the_broker_wrote_is_read_and_not_published_again() -> None:
    assert "key" not in tell(build_facts()).status
