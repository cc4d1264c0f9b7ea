"""The models refuse what the API server refuses, and read what people write."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from sekisho.api.meta import ApiModel, Condition, Quantity, parse_quantity, read_quantity
from sekisho.api.names import name_child, trust_label
from sekisho.api.v1alpha1 import KINDS
from sekisho.api.v1alpha1.inferenceservice import InferenceServiceSpec, InferenceServiceStatus
from sekisho.api.v1alpha1.site import SiteSpec
from tests.unit.api.cases import BAD, GOOD, SITE, Bad

SPECS: dict[str, type[ApiModel]] = {kind["kind"]: kind["spec"] for kind in KINDS}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_a_bad_spec_is_refused_in_words(bad: Bad) -> None:
    with pytest.raises(ValidationError) as refused:
        SPECS[bad.kind].model_validate(bad.spec)
    assert (bad.model or bad.server) in str(refused.value)


@pytest.mark.parametrize("kind", GOOD)
def test_an_unknown_field_is_refused(kind: str) -> None:
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        SPECS[kind].model_validate({**GOOD[kind], "podSpec": {}})


@pytest.mark.parametrize("kind", GOOD)
def test_a_good_spec_reads_back_as_it_was_written(kind: str) -> None:
    spec = SPECS[kind].model_validate(GOOD[kind])
    assert SPECS[kind].model_validate(spec.model_dump(mode="json", by_alias=True, exclude_none=True)) == spec


def test_a_managed_site_needs_no_nodes() -> None:
    spec = SiteSpec.model_validate({**SITE, "tier": "ManagedApi", "nodes": None})
    assert spec.nodes is None


def test_names_on_the_wire_are_those_of_kserve() -> None:
    spec = InferenceServiceSpec.model_validate(
        {
            "predictor": {
                "minReplicas": 0,
                "maxReplicas": 2,
                "model": {
                    "modelFormat": {"name": "gguf"},
                    "storageUri": "pvc://claim/a",
                    "runtime": "llamacpp",
                    "resources": {"limits": {"cpu": 2, "memory": "4Gi", "nvidia.com/gpu": "1"}},
                },
                "nodeSelector": {"kubernetes.io/arch": "amd64"},
                "tolerations": [{"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}],
                "runtimeClassName": "kata",
            },
            "egress": [{"cidr": "10.0.0.0/8", "ports": [443]}],
        }
    )
    assert spec.predictor.model.resources.limits["cpu"] == "2"
    assert spec.predictor.tolerations[0].toleration_seconds == 5


def test_a_status_of_a_newer_version_is_read() -> None:
    status = InferenceServiceStatus.model_validate({"observedGeneration": 3, "class": None, "future": {"a": 1}})
    assert status.observed_generation == 3
    assert InferenceServiceStatus().observed_generation == -1


def test_a_condition_speaks_of_no_generation_until_told() -> None:
    condition = Condition.model_validate(
        {"type": "Ready", "status": "True", "reason": "Ready", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    )
    assert condition.observed_generation == -1


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("4Gi", 4 * 2**30), ("500m", Decimal("0.5")), ("2", 2), (3, 3), ("1.5G", 1_500_000_000), ("0", 0), ("1k", 1000),
    ],
)  # fmt: skip
def test_a_quantity_is_read_in_base_units(text: str | int, value: Decimal) -> None:
    assert parse_quantity(text) == value
    assert TypeAdapter(Quantity).validate_python(text) == str(text)


@pytest.mark.parametrize("text", ["", "Gi", "4 Gi", "-1", "1e3", "4GiB", "1" * 16, "٤Gi", "4\n", "1.2.3"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a quantity such as 4Gi, 500m or 2"):
        parse_quantity(text)


@pytest.mark.parametrize("value", [True, 1.5, None, ["1"]])
def test_a_quantity_of_another_type_is_refused(value: object) -> None:
    with pytest.raises(ValidationError, match="a quantity is a string such as 4Gi, or a whole number"):
        TypeAdapter(Quantity).validate_python(value)


@pytest.mark.parametrize("value", ["9224P", "8Ei", "999999999999999Pi", "8192Pi"])
def test_a_quantity_that_the_api_server_cannot_count_is_refused(value: str) -> None:
    with pytest.raises(ValidationError, match=r"the most that an amount may be|is not a quantity"):
        TypeAdapter(Quantity).validate_python(value)
    assert TypeAdapter(Quantity).validate_python("9223P") == "9223P"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e3", "1000"), ("1E3", "1000"), ("1e+3", "1000"), ("5e-1", "0.5"), ("2E", "2e18"), ("1Ei", 2**60),
        ("100n", "1e-7"), ("3u", "0.000003"), ("1.", "1"), (".5", "0.5"), ("+2", "2"), ("1152921504606846976", 2**60),
        (4, "4"), ("500m", "0.5"), ("4Gi", 2**32),
    ],
)  # fmt: skip
def test_what_the_api_server_writes_is_read(text: str | int, value: str | int) -> None:
    assert read_quantity(text) == Decimal(value)


@pytest.mark.parametrize("text", ["", ".", "-1", "1e", "1e999", "1 Gi", "1gi", "Ki", "1eE", "0x1", "\u0663", None])
def test_what_nobody_could_count_is_no_quantity(text: object) -> None:
    with pytest.raises(ValueError, match="is not a quantity"):
        read_quantity(text)


@given(st.decimals(min_value=0, max_value=10**17, places=3), st.sampled_from(["", "m", "k", "Ki", "Gi"]))
def test_what_users_may_write_is_read_alike(number: Decimal, suffix: str) -> None:
    text = f"{number.normalize():f}"[:15].rstrip(".") + suffix
    assert read_quantity(text) == parse_quantity(text)


@given(text=st.text(max_size=40))
def test_any_text_is_a_quantity_or_refused(text: str) -> None:
    try:
        assert parse_quantity(text) >= 0
    except ValueError as refused:
        assert "is not a quantity" in str(refused)  # noqa: PT017 - either outcome is right


def test_names_of_children_and_labels_are_fixed() -> None:
    assert name_child("chat") == "chat-predictor"
    assert trust_label("snp") == "sekisho.node-restriction.kubernetes.io/snp-attested-at"
