"""What of a published inspection is read, and for how long it counts."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.plan.inspection import explain_wait, read_accepted, read_inspection
from tests.unit.plan.seals import ARTIFACT, URI, build_inspection, plain_inspection, refused_inspection

GARBAGE: dict[str, Any] = {
    "nothing": None,
    "text": "sealed",
    "a list": [build_inspection()],
    "no source": build_inspection(uri=None),
    "no signers": build_inspection(policyDigest=None),
    "a digest that is none": build_inspection(manifestDigest="sha256:ab"),
    "a version of zero": build_inspection(version=0),
    "a version beyond all numbers": build_inspection(version=2**53),
    "a version that is true": build_inspection(version=True),
    "sealed in words": build_inspection(sealed="true"),
    "too many signers": build_inspection(signedBy=[f"s{index}" for index in range(17)]),
    "a scan of no result": build_inspection(scan={"result": "Perhaps", "scanner": "x", "at": "2026-11-25T06:00:00Z"}),
    "too many evaluations": build_inspection(evaluations=build_inspection()["evaluations"] * 65),
    "a message without end": refused_inspection("SealInvalid", "x" * 1025),
}
FACTS = ("manifestDigest", "model", "version", "class", "kms", "keyId", "keyVersion", "signedBy")


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_counts_as_nothing(name: str) -> None:
    assert read_inspection({"inspection": GARBAGE[name]}) is None


@pytest.mark.parametrize("fact", FACTS)
def test_a_sealed_model_that_lacks_a_fact_counts_as_nothing(fact: str) -> None:
    assert read_inspection({"inspection": build_inspection(**{fact: None})}) is None


def test_what_is_whole_is_read_and_what_is_unknown_is_left_out() -> None:
    found = read_inspection({"inspection": build_inspection(future={"a": 1})})
    assert found is not None
    assert (found.version, found.class_, found.signed_by) == (7, "internal", ("release",))
    assert read_inspection({"inspection": plain_inspection()}) is not None
    assert read_inspection({"inspection": refused_inspection("SignatureMissing", "x")}) is not None
    assert read_inspection({}) is None


@pytest.mark.parametrize(("value", "read"), [(None, 0), ("7", 0), (-1, 0), (True, 0), (0, 0), (7, 7)])
def test_a_version_that_was_accepted_is_a_number_or_nothing(value: Any, read: int) -> None:
    assert read_accepted({"acceptedVersion": value}) == read


def test_an_inspection_counts_for_its_source_its_signers_and_its_digest_alone() -> None:
    found = read_inspection({"inspection": build_inspection()})
    assert found is not None
    signers = found.policy_digest
    assert explain_wait(None, uri=URI, digest=None, signers=signers) == f"the depot has not inspected {URI} yet"
    other = explain_wait(found, uri="oci://other/x:1", digest=None, signers=signers)
    assert other == "the depot inspects oci://other/x:1; what it last saw was somewhere else"
    assert "the signers of the ClassificationPolicy are others now" in explain_wait(
        found, uri=URI, digest=None, signers="sha256:0"
    )
    assert "spec.digest asks for another artifact" in explain_wait(
        found, uri=URI, digest="sha256:" + "00" * 32, signers=signers
    )
    assert explain_wait(found, uri=URI, digest=ARTIFACT, signers=signers) == ""
    bare = found.model_copy(update={"artifact_digest": None})
    assert explain_wait(bare, uri=URI, digest=ARTIFACT, signers=signers) == ""


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(value=JSON, key=st.sampled_from(sorted(build_inspection())))
def test_whatever_stands_in_a_status_is_read_or_left(value: Any, key: str) -> None:
    found = read_inspection({"inspection": {**build_inspection(), key: value}})
    assert found is None or not found.sealed or (found.version is not None and found.signed_by)
    assert read_inspection({"inspection": value}) is None
    assert read_accepted({"acceptedVersion": value}) >= 0
