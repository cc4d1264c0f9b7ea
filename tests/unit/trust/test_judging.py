"""Evidence of a node: fresh, its own, of its enrolled key, of what the policy wants; nothing else."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sekisho.api.v1alpha1.evidencepolicy import EvidencePolicySpec
from sekisho.attest.claims import Claims, TcbStatus, Tee, Window
from sekisho.attest.evidence import UnverifiedEvidence
from sekisho.attest.verifiers.select import Collateral
from sekisho.attester.collecting import spell_quote
from sekisho.attester.tpm import Tpm
from sekisho.errors import Reason, RefusedError
from sekisho.plan.evidence import read_evidence_policy
from sekisho.trust.challenges import Challenge
from sekisho.trust.judging import Rules, judge_node
from sekisho.trust.nodes import Result, TrustedNode
from sekisho.trust.verifying import Verifier
from tests.simulators.tpm.simulated import Maker, SimulatedTpm, SocketTpm
from tests.unit.trust.house import spell_policy

NOW = 1_796_000_000.5
TPM = SimulatedTpm(Maker())
CHALLENGE = Challenge("c" * 32, "n1", "uid-1", b"n" * 32, "sha256:policy", 0.0)
VERIFY = Verifier(Collateral)


def rules_of(*registers: int) -> Rules:
    spec = EvidencePolicySpec.model_validate(spell_policy(TPM, *registers)["spec"])
    return Rules(read_evidence_policy("nodes", spec, site=""), "sha256:policy")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def quote(folder: Path, challenge: Challenge = CHALLENGE, *, tpm: SimulatedTpm = TPM, **changes: Any) -> Any:
    path = folder / "tpm.sock"
    path.unlink(missing_ok=True)
    with SocketTpm(path, tpm):
        return spell_quote(Tpm(path, **changes).quote(challenge.binding.digest(32)), b"")


def node_of(folder: Path, tpm: SimulatedTpm = TPM) -> TrustedNode:
    path = folder / "key.sock"
    path.unlink(missing_ok=True)
    with SocketTpm(path, tpm):
        return TrustedNode("n1", "uid-1", ak_name=Tpm(path).read_attestation_key().name.hex())


def judge(pieces: list[UnverifiedEvidence], node: TrustedNode, **changes: Any) -> Result:
    how = {"challenge": CHALLENGE, "rules": rules_of(), "verify": VERIFY, "now_at": NOW} | changes
    return judge_node(
        pieces, node, how["challenge"], rules=how["rules"], verify=how["verify"], valid_seconds=3600,
        now_at=how["now_at"],
    )  # fmt: skip


def refusal(reason: Reason, *args: Any, **changes: Any) -> str:
    with pytest.raises(RefusedError) as raised:
        judge(*args, **changes)
    assert raised.value.reason is reason, raised.value.message
    return raised.value.message


def test_a_quote_made_for_another_challenge_is_refused(folder: Path) -> None:
    replayed = quote(folder, replace(CHALLENGE, nonce=b"o" * 32))
    told = refusal(Reason.EVIDENCE_NOT_BOUND, [replayed], node_of(folder))
    assert "the tpm evidence of node n1 was made for something else than its challenge" in told


@pytest.mark.parametrize("changes", [{"node": "n2"}, {"uid": "uid-2"}, {"policy_digest": "sha256:other"}])
def test_a_quote_that_commits_to_another_node_or_policy_is_refused(folder: Path, changes: dict[str, str]) -> None:
    refusal(Reason.EVIDENCE_NOT_BOUND, [quote(folder, replace(CHALLENGE, **changes))], node_of(folder))


def test_a_quote_by_another_key_is_refused(folder: Path) -> None:
    other = quote(folder, tpm=SimulatedTpm(Maker()))
    told = refusal(Reason.EVIDENCE_UNTRUSTED, [other], node_of(folder))
    assert "enrolled" in told


def test_a_quote_of_a_node_whose_key_is_not_enrolled_is_refused(folder: Path) -> None:
    told = refusal(Reason.CHALLENGE_UNKNOWN, [quote(folder)], TrustedNode("n1", "uid-1"))
    assert "no attestation key is enrolled for node n1; enrol it" in told


def test_a_quote_of_other_pcrs_is_refused(folder: Path) -> None:
    told = refusal(Reason.MEASUREMENT_UNKNOWN, [quote(folder, pcrs=(0, 7))], node_of(folder))
    assert "register pcr4 is not told" in told


def test_a_quote_whose_values_were_exchanged_is_refused(folder: Path) -> None:
    good = quote(folder)
    pcrs = dict(good.extras)["pcrs"].replace(TPM.pcrs[7].hex().encode(), (b"\x00" * 32).hex().encode())
    forged = replace(good, extras=tuple((k, pcrs if k == "pcrs" else v) for k, v in good.extras))
    with pytest.raises(RefusedError):
        judge([forged], node_of(folder))


def test_a_quote_with_any_part_of_its_signature_changed_is_refused(folder: Path) -> None:
    good, node = quote(folder), node_of(folder)
    for at in range(0, len(good.report), 7):
        changed = good.report[:at] + bytes([good.report[at] ^ 1]) + good.report[at + 1 :]
        with pytest.raises(RefusedError):
            judge([replace(good, report=changed)], node)


def test_a_firmware_that_measured_nothing_is_refused(folder: Path) -> None:
    blank = SimulatedTpm(Maker(), pcrs={**TPM.pcrs, 0: bytes(32)})
    refusal(Reason.DEBUG_ENABLED, [quote(folder, tpm=blank)], node_of(folder, blank))


def test_evidence_of_a_kind_that_nothing_verifies_here_is_refused(folder: Path) -> None:
    told = refusal(Reason.COLLATERAL_MISSING, [UnverifiedEvidence("nitro", b"x")], node_of(folder))
    assert "there is no collateral for nitro evidence" in told


def test_a_policy_that_was_changed_since_the_challenge_wants_another_one(folder: Path) -> None:
    told = refusal(
        Reason.CHALLENGE_UNKNOWN, [quote(folder)], node_of(folder), rules=replace(rules_of(), digest="sha256:new")
    )
    assert "evidence policy nodes was changed since the challenge; ask anew" in told


def test_good_evidence_is_worth_a_label_until_it_ends(folder: Path) -> None:
    result = judge([quote(folder)], node_of(folder))
    assert (result.tees, result.at, result.expires_at) == (("tpm",), 1_796_000_000, 1_796_003_600)
    assert [digest[:7] for digest in result.evidence] == ["sha256:"]


def claims(tee: Tee, bound: bytes, **changes: Any) -> Claims:
    window = Window(datetime.fromtimestamp(NOW - 10, UTC), datetime.fromtimestamp(NOW + 100, UTC))
    facts = {
        "tee": tee, "debug": False, "tcb_status": TcbStatus.UNKNOWN, "measurement": b"m" * 48, "bound_data": bound,
        "chip_id": b"c" * 64, "evidence_digest": "sha256:e", "window": window, "facts": (("vmpl", "0"),),
        "tcb": (("microcode", 9),),
    }  # fmt: skip
    return Claims(**(facts | changes))


SNP = {
    "anyOf": [
        {
            "name": "snp",
            "evidence": [
                {
                    "tee": "snp",
                    "measurements": [(b"m" * 48).hex()],
                    "minimumTcb": [{"component": "microcode", "version": 1}],
                }
            ],
        }
    ]
}
SNP_RULES = Rules(
    read_evidence_policy("nodes", EvidencePolicySpec.model_validate(SNP), site=""), CHALLENGE.policy_digest
)


@pytest.mark.parametrize(
    "bound",
    [CHALLENGE.binding.digest(64), CHALLENGE.binding.digest(32) + bytes(32)],
    ids=["64 bytes", "32 bytes and zeros"],
)
def test_a_report_of_a_confidential_machine_counts_no_longer_than_what_it_rests_on(bound: bytes) -> None:
    result = judge(
        [UnverifiedEvidence("snp", b"r")], TrustedNode("n1", "uid-1"), rules=SNP_RULES,
        verify=lambda *_: claims(Tee.SNP, bound),
    )  # fmt: skip
    assert (result.tees, result.expires_at) == (("snp",), 1_796_000_100)


def test_a_report_that_stands_behind_a_virtual_tpm_counts_too() -> None:
    inner = claims(Tee.SNP, b"whatever stands there is the verifier's to check")
    outer = claims(Tee.TPM, CHALLENGE.binding.digest(32), parts=(inner,), chip_id=b"k" * 32)
    behind = {"anyOf": [{"name": "azure", "evidence": [{**SNP["anyOf"][0]["evidence"][0], "behind": "tpm"}]}]}
    rules = replace(SNP_RULES, policy=read_evidence_policy("nodes", EvidencePolicySpec.model_validate(behind), site=""))
    result = judge(
        [UnverifiedEvidence("azure-snp", b"r")], TrustedNode("n1", "uid-1"), rules=rules, verify=lambda *_: outer
    )
    assert result.tees == ("snp", "tpm")


def test_evidence_that_no_class_could_ask_for_is_worth_no_label() -> None:
    spec = {"anyOf": [{"name": "r", "evidence": [{"tee": "attestation-result", "measurements": [(b"m" * 48).hex()]}]}]}
    rules = replace(SNP_RULES, policy=read_evidence_policy("nodes", EvidencePolicySpec.model_validate(spec), site=""))
    told = refusal(
        Reason.APPRAISAL_FAILED,
        [UnverifiedEvidence("ear-token", b"r")],
        TrustedNode("n1", "uid-1"),
        rules=rules,
        verify=lambda *_: claims(Tee.RESULT, CHALLENGE.binding.digest(32)),
    )
    assert "proves no hardware that a class could ask for" in told
