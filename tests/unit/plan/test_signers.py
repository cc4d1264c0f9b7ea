"""The signers of a policy, read and named by a digest."""

from datetime import UTC, datetime

import pytest

from sekisho.api.v1alpha1.classificationpolicy import ClassificationPolicySpec
from sekisho.errors import Reason, RefusedError
from sekisho.plan.signers import digest_signers, read_instant, read_signers
from tests.unit.classify.policies import build_signers
from tests.unit.plan.worlds import POLICY
from tests.unit.seal.signing import certify


def with_signers(*signers: object) -> ClassificationPolicySpec:
    return ClassificationPolicySpec.model_validate({**POLICY, "signers": signers})


def test_a_key_that_two_signers_share_makes_the_policy_unusable() -> None:
    first, second = build_signers("release", "board")
    with pytest.raises(RefusedError, match="share a key") as refused:
        read_signers(with_signers(first, {**second, "publicKeys": first["publicKeys"]}))
    assert refused.value.reason is Reason.POLICY_INVALID


def test_a_key_that_cannot_be_read_is_named() -> None:
    broken = "-----BEGIN PUBLIC KEY-----\nMCow\n-----END PUBLIC KEY-----\n"
    with pytest.raises(RefusedError, match='signer "release"') as refused:
        read_signers(with_signers({"name": "release", "publicKeys": [broken]}))
    assert refused.value.reason is Reason.POLICY_INVALID


def test_keys_and_authorities_of_one_signer_stand_under_one_name() -> None:
    root = certify("CN=root")
    authority = {"certificates": [root.pem], "subjects": ["email:a@example.test"]}
    other = {"certificates": [certify("CN=other").pem], "subjects": ["CN=release"]}
    (signer,) = read_signers(with_signers({**build_signers("release")[0], "authorities": [authority, other]}))
    assert (signer.name, len(signer.keys), len(signer.authorities)) == ("release", 1, 2)


def test_a_signer_may_have_an_authority_alone() -> None:
    authority = {"certificates": [certify("CN=root").pem], "subjects": ["CN=release"]}
    (signer,) = read_signers(with_signers({"name": "release", "authorities": [authority]}))
    assert (signer.keys, len(signer.authorities)) == ((), 1)


def test_the_digest_is_of_the_signers_alone() -> None:
    both, one = build_signers("release", "board"), build_signers("release")
    assert digest_signers(with_signers(*both)) != digest_signers(with_signers(*one))
    longer = {**POLICY, "signers": both, "levels": [*POLICY["levels"], {"name": "secret"}]}  # type: ignore[misc]
    assert digest_signers(ClassificationPolicySpec.model_validate(longer)) == digest_signers(with_signers(*both))


def test_seconds_become_an_aware_time() -> None:
    assert read_instant(0.0) == datetime(1970, 1, 1, tzinfo=UTC)
