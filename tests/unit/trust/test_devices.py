"""GPUs of a node: every one, its own, in a machine that is closed as well; anything less is worth less, or nothing."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sekisho.api.v1alpha1.evidencepolicy import EvidencePolicySpec
from sekisho.attest.claims import Claims, Tee
from sekisho.attest.evidence import UnverifiedEvidence
from sekisho.attest.manifests import verify_manifest
from sekisho.attest.verifiers.nvidia import NvidiaCollateral
from sekisho.attest.verifiers.select import Collateral, verify_evidence
from sekisho.attest.verifiers.snp import SnpCollateral
from sekisho.errors import Reason, RefusedError
from sekisho.kube.collateral import CollateralStore
from sekisho.plan.evidence import read_evidence_policy
from sekisho.trust.challenges import Challenge
from sekisho.trust.devices import check_elsewhere, find_lack
from sekisho.trust.judging import DAMNING, Rules, judge_node
from sekisho.trust.nodes import Result, TrustedNode, read_node, spell_result, spell_withdrawal
from sekisho.trust.verifying import Verifier
from tests.simulators.hardware.authorities import NOW
from tests.simulators.hardware.manifests import Publisher
from tests.simulators.hardware.nvidia import MEASUREMENTS, Device, Maker, wire
from tests.simulators.hardware.snp import SimulatedSnp
from tests.unit.attest.verifiers.test_nvidia import AT, recorded_list

MAKER, CHIP, PUBLISHER = Maker(), SimulatedSnp("Genoa"), Publisher()
GPUS = tuple(MAKER.make(number) for number in range(1, 9))
SWITCHES = tuple(MAKER.make(number, kind="nvidia-switch") for number in (21, 22))
CHALLENGE = Challenge("c" * 32, "n1", "uid-1", b"n" * 32, "sha256:policy", 0.0)
NODE = TrustedNode("n1", "uid-1", gpus=8)
MEASURED = CHIP.report()[0x90:0xC0].hex()
SNP_RULE = {"tee": "snp", "measurements": [MEASURED], "minimumTcb": [{"component": "microcode", "version": 1}]}
MATCHED = {"name": "measurements", "values": ["matched"]}
GOLDEN = {index: [value] for index, value in enumerate(MEASUREMENTS)}


@functools.cache
def machine() -> UnverifiedEvidence:
    """Return the machine's own evidence; the first who asks makes the keys above it, which takes seconds."""
    return CHIP.evidence(CHALLENGE.binding.digest(64))


@functools.cache
def snp() -> SnpCollateral:
    """Return the maker's certificates; see `machine`."""
    return SnpCollateral((CHIP.ark,), (CHIP.ask,))


def publish(golden: dict[int, list[bytes]]) -> NvidiaCollateral:
    """Return the maker's root with manifests of all versions that its devices tell."""
    data = [PUBLISHER.publish("550.90.07", golden), PUBLISHER.publish("96.00.9f.00.01", {40: [b"\x55" * 48]})]
    manifests = tuple(verify_manifest(each, [PUBLISHER.root.der], at=NOW) for each in data)
    return NvidiaCollateral((MAKER.root.der,), manifests=manifests)


PLAIN = NvidiaCollateral((MAKER.root.der,))
UNCHECKED = {"name": "measurements", "values": ["unchecked"]}


def rules_of(*kinds: str, fact: dict[str, Any] = UNCHECKED, more: Sequence[tuple[str, ...]] = ()) -> Rules:
    """Return a policy of one alternative that wants all these kinds, and further ones."""
    known = {
        "snp": SNP_RULE,
        "nvidia-gpu": {"tee": "nvidia-gpu", "facts": [fact]},
        "nvidia-switch": {"tee": "nvidia-switch", "facts": [fact]},
    }
    spelt = [
        {"name": f"a{number}", "evidence": [known[kind] for kind in each]} for number, each in enumerate((kinds, *more))
    ]
    spec = EvidencePolicySpec.model_validate({"anyOf": spelt})
    return Rules(read_evidence_policy("nodes", spec, site=""), CHALLENGE.policy_digest)


BOTH = rules_of("snp", "nvidia-gpu")


def show(devices: Sequence[Device], *, challenge: Challenge = CHALLENGE, **options: Any) -> list[UnverifiedEvidence]:
    return [each.evidence(challenge.binding.digest(32), **options) for each in devices]


def judge(pieces: Sequence[UnverifiedEvidence], node: TrustedNode = NODE, **changes: Any) -> Result:
    how = {"challenge": CHALLENGE, "rules": BOTH, "nvidia": PLAIN, "at": NOW} | changes
    collateral = Collateral(snp=snp(), nvidia=how["nvidia"])
    return judge_node(
        pieces, node, how["challenge"], rules=how["rules"], verify=how.get("verify", Verifier(lambda: collateral)),
        valid_seconds=3600, now_at=how["at"].timestamp(),
    )  # fmt: skip


def refused(pieces: Sequence[UnverifiedEvidence], node: TrustedNode = NODE, **changes: Any) -> tuple[Reason, str]:
    with pytest.raises(RefusedError) as raised:
        judge(pieces, node, **changes)
    assert raised.value.reason in DAMNING, "what the node had proven before must be taken back"
    return raised.value.reason, raised.value.message


# --- refused, and all that the node had proven is taken back


def test_a_gpu_that_signs_for_another_challenge_is_refused() -> None:
    late = replace(CHALLENGE, nonce=b"o" * 32)
    pieces = [machine(), *show(GPUS[:7]), *show(GPUS[7:], challenge=late)]
    assert refused(pieces) == (
        Reason.EVIDENCE_NOT_BOUND, "the nvidia-gpu evidence of node n1 was made for something else than its challenge",
    )  # fmt: skip


def test_gpus_that_sign_for_the_challenge_of_another_node_are_refused() -> None:
    pieces = [machine(), *show(GPUS, challenge=replace(CHALLENGE, node="n2"))]
    assert refused(pieces)[0] is Reason.EVIDENCE_NOT_BOUND


def test_a_gpu_that_stands_for_two_is_refused() -> None:
    reason, told = refused([machine(), *show(GPUS[:7]), *show(GPUS[6:7])])
    assert reason is Reason.APPRAISAL_FAILED
    assert told == 'evidence policy "nodes": two pieces of nvidia-gpu evidence speak of one device'


def test_a_report_under_the_certificates_of_another_gpu_is_refused() -> None:
    swapped = UnverifiedEvidence("nvidia-gpu", GPUS[7].report(CHALLENGE.binding.digest(32)), MAKER.make(8).certificates)
    assert refused([machine(), *show(GPUS[:7]), swapped]) == (
        Reason.EVIDENCE_UNTRUSTED,
        "the signature of the GPU report does not hold under the key that should have made it",
    )


def test_a_gpu_of_a_maker_that_nobody_pinned_is_refused() -> None:
    reason, told = refused([machine(), *show([Maker().make(1)])], replace(NODE, gpus=1))
    assert reason is Reason.EVIDENCE_UNTRUSTED
    assert told.endswith("under the certificate of CN=Device Identity CA does not hold")


def test_a_gpu_whose_certificates_have_ended_is_refused() -> None:
    assert refused([machine(), *show(GPUS)], at=NOW + timedelta(days=400))[0] is Reason.EVIDENCE_UNTRUSTED


def test_a_gpu_that_runs_something_else_than_the_manifests_say_is_refused() -> None:
    golden = {**GOLDEN, 2: [b"\x99" * 48]}
    pieces = [machine(), *show(GPUS, measurements=(*MEASUREMENTS, *[b"\x55" * 48] * 37))]
    reason, told = refused(pieces, rules=rules_of("snp", "nvidia-gpu", fact=MATCHED), nvidia=publish(golden))
    assert reason is Reason.MEASUREMENT_UNKNOWN
    assert told == "measurements 2 of the device are not those of driver 550.90.07"


def test_a_gpu_that_no_manifest_speaks_of_is_not_matched_and_refused_by_a_policy_that_wants_it() -> None:
    reason, told = refused([machine(), *show(GPUS)], rules=rules_of("snp", "nvidia-gpu", fact=MATCHED))
    assert reason is Reason.APPRAISAL_FAILED
    assert "measurements" in told


def test_gpus_in_different_modes_are_refused() -> None:
    odd = [GPUS[7].evidence(CHALLENGE.binding.digest(32), fields=GPUS[7].fields(f36=b"\x02\0"))]
    assert refused([machine(), *show(GPUS[:7]), *odd]) == (
        Reason.APPRAISAL_FAILED, "the GPUs are in different modes: PPCIE, SPT",
    )  # fmt: skip


def test_a_node_whose_gpus_no_longer_give_evidence_is_refused_where_the_policy_wants_them() -> None:
    reason, told = refused([machine()], replace(NODE, attested=("nvidia-cc", "snp")))
    assert reason is Reason.EVIDENCE_MISSING
    assert "nvidia-gpu evidence of 1 devices is wanted, 0 are there (brought: snp)" in told


def test_a_gpu_alone_is_refused_where_nothing_else_would_count() -> None:
    reason, told = refused(show(GPUS), rules=rules_of("nvidia-gpu"))
    assert reason is Reason.APPRAISAL_FAILED
    assert told == (
        "the GPUs of node n1 are proven, the machine they are in is not: beside them counts nothing, and snp or tdx is "
        "wanted"
    )


def through_switches(gpus: Sequence[Device], switches: Sequence[Device]) -> list[UnverifiedEvidence]:
    """Return evidence of GPUs that talk through switches, and of these."""
    of_gpu, of_switch = wire(gpus, switches)
    digest = CHALLENGE.binding.digest(32)
    return [
        *(each.evidence(digest, fields=each.fields(f36=b"\x02\0") | of_gpu) for each in gpus),
        *(each.evidence(digest, fields=each.fields() | of_switch) for each in switches),
    ]


def test_a_switch_that_nobody_has_evidence_of_is_refused() -> None:
    whole = through_switches(GPUS, SWITCHES)
    reason, told = refused([machine(), *whole[:-1]])
    assert reason is Reason.APPRAISAL_FAILED
    assert "is wired to 0000000000000016 switches without evidence here" in told


# --- worth less, and told as such


def test_evidence_of_seven_of_eight_gpus_is_worth_no_label_of_gpus() -> None:
    result = judge([machine(), *show(GPUS[:7])])
    assert (result.tees, result.devices) == (("snp",), ())
    assert result.remark == (
        "EvidenceMissing: node n1 offers 8 nvidia.com/gpu, its evidence is of 7 GPUs; every GPU that a pod could get "
        "must be shown"
    )


def test_gpus_that_talk_in_the_clear_through_switches_that_are_not_shown_are_worth_no_label() -> None:
    result = judge([machine(), *through_switches(GPUS, SWITCHES)[:8]])
    assert result.tees == ("snp",)
    assert result.remark == (
        "EvidenceMissing: 8 GPUs of node n1 send each other plain text through NVSwitches "
        "(0000000000000015,0000000000000016), of which there is no evidence"
    )


def test_gpus_that_encrypt_what_passes_their_switches_need_no_evidence_of_them() -> None:
    of_gpu, _ = wire(GPUS, SWITCHES)
    digest = CHALLENGE.binding.digest(32)
    quiet = [each.evidence(digest, fields=each.fields() | of_gpu) for each in GPUS]
    assert judge([machine(), *quiet]).tees == ("nvidia-cc", "snp")
    alone = [each.evidence(digest, fields=each.fields(f36=b"\x02\0")) for each in GPUS]
    assert judge([machine(), *alone]).tees == ("nvidia-cc", "snp")


def test_what_counts_beside_gpus_and_is_no_confidential_machine_is_named() -> None:
    lack = find_lack([], TrustedNode("n1", "uid-1"), frozenset({Tee.NVIDIA_GPU, Tee.TPM, Tee.SGX, Tee.NVIDIA_SWITCH}))
    assert lack is not None
    assert "beside them counts sgx, tpm, and snp or tdx is wanted" in lack.detail


def test_gpus_in_a_machine_whose_memory_is_open_are_worth_no_label() -> None:
    """The policy is content with either; the SNP report beside the GPUs is of a guest that it does not know."""
    other = CHIP.evidence(CHALLENGE.binding.digest(64), measurement=b"\x01" * 48)
    rules = rules_of("nvidia-gpu", more=[("snp",)])
    reason, told = refused([other, *show(GPUS)], rules=rules)
    assert (reason, "the machine they are in is not" in told) == (Reason.APPRAISAL_FAILED, True)


def test_genuine_gpus_that_the_policy_does_not_speak_of_are_worth_no_label() -> None:
    result = judge([machine(), *show(GPUS)], rules=rules_of("snp"))
    assert (result.tees, result.devices, result.remark) == (("snp",), (), "")


def test_gpus_that_fail_an_alternative_are_worth_no_label_by_another_one() -> None:
    rules = rules_of("snp", "nvidia-gpu", fact=MATCHED, more=[("snp",)])
    assert judge([machine(), *show(GPUS)], rules=rules).tees == ("snp",)


# --- good


def test_all_gpus_of_a_confidential_machine_are_worth_a_label() -> None:
    result = judge([machine(), *show(GPUS)])
    assert (result.tees, result.remark) == (("nvidia-cc", "snp"), "")
    assert result.devices == tuple(f"41{number:016x}" for number in range(1, 9))
    assert len(result.evidence) == 9


def test_gpus_that_match_their_manifests_are_worth_a_label() -> None:
    pieces = [machine(), *show(GPUS, measurements=(*MEASUREMENTS, *[b"\x55" * 48] * 37))]
    rules = rules_of("snp", "nvidia-gpu", fact=MATCHED)
    assert judge(pieces, rules=rules, nvidia=publish(GOLDEN)).tees == ("nvidia-cc", "snp")


def test_gpus_and_switches_that_see_each_other_are_worth_a_label() -> None:
    result = judge([machine(), *through_switches(GPUS, SWITCHES)])
    assert (result.tees, len(result.devices)) == (("nvidia-cc", "snp"), 10)


def test_a_node_that_says_nothing_of_gpus_is_taken_by_what_it_shows() -> None:
    assert judge([machine(), *show(GPUS[:2])], replace(NODE, gpus=0)).tees == ("nvidia-cc", "snp")
    assert judge([machine(), *show(GPUS[:2])], replace(NODE, gpus=1)).tees == ("nvidia-cc", "snp")


# --- whose they are


def test_a_gpu_that_another_node_has_proven_to_have_is_refused() -> None:
    devices = judge([machine(), *show(GPUS)]).devices
    other = TrustedNode("n2", "uid-2", devices=devices[2:3])
    with pytest.raises(RefusedError) as raised:
        check_elsewhere(NODE, devices, [NODE, other])
    assert (raised.value.reason, raised.value.reason in DAMNING) == (Reason.CHIP_UNKNOWN, True)
    assert raised.value.message == (
        f"device {devices[2]} is one of node n2; node n1 may not show it before that one has stopped"
    )


def test_a_nodes_own_gpus_and_those_that_another_node_has_lost_are_no_strangers() -> None:
    devices = ("aa", "bb")
    check_elsewhere(NODE, devices, [replace(NODE, devices=devices), TrustedNode("n2", "uid-2", devices=("cc",))])
    check_elsewhere(NODE, (), [TrustedNode("n2", "uid-2", devices=devices)])


def test_devices_and_remarks_are_written_read_and_taken_back() -> None:
    result = judge([machine(), *show(GPUS[:2])], replace(NODE, gpus=2))
    raw = {"metadata": {"name": "n1", **spell_result(NODE, result)}, "status": {"capacity": {"nvidia.com/gpu": "2"}}}
    read = read_node(raw)
    assert (read.devices, read.gpus, read.attested) == (result.devices, 2, ("nvidia-cc", "snp"))
    short = spell_result(read, judge([machine(), *show(GPUS[:1])], replace(NODE, gpus=2)))
    prefix = "sekisho.node-restriction.kubernetes.io/"
    assert short["labels"][f"{prefix}nvidia-cc-attested-at"] is None
    assert short["annotations"][f"{prefix}nvidia-devices"] is None
    assert short["annotations"][f"{prefix}refusal"].startswith("EvidenceMissing: node n1 offers 2")
    gone = spell_withdrawal(read, Reason.EVIDENCE_STALE, "it ended")
    assert gone["annotations"][f"{prefix}nvidia-devices"] is None
    assert gone["labels"][f"{prefix}nvidia-cc-attested-at"] is None


@pytest.mark.parametrize("said", ["", "-1", "8k", "10000", "\u0668", None])
def test_a_number_of_gpus_that_cannot_be_read_counts_as_not_said(said: Any) -> None:
    assert read_node({"status": {"capacity": {"nvidia.com/gpu": said}}}).gpus == 0


def test_any_number_of_gpus_that_a_machine_could_have_is_read() -> None:
    assert read_node({"status": {"capacity": {"nvidia.com/gpu": "9999"}}}).gpus == 9999


# --- what is shipped, and what was recorded


def test_no_folder_of_collateral_makes_a_made_up_root_count(tmp_path: Path) -> None:
    (tmp_path / "nvidia-root.simulated.der").write_bytes(MAKER.root.der)
    folder = CollateralStore(tmp_path, now=lambda: NOW)
    assert folder.load()
    assert "is none of its maker's that this version knows" in folder.loaded.problems[0].message
    with pytest.raises(RefusedError) as raised:
        judge(show(GPUS), rules=rules_of("nvidia-gpu"), verify=Verifier(lambda: folder.loaded.collateral))
    assert raised.value.reason is Reason.COLLATERAL_MISSING


@dataclass(frozen=True)
class RecordedBinding:
    """Stands for a binding whose digest was the nonce that somebody once asked with."""

    nonce: bytes

    def digest(self, size: int) -> bytes:
        return self.nonce.ljust(size, b"\0")

    def matches(self, bound: bytes) -> bool:
        return bound in (self.digest(32), self.digest(64))


@dataclass(frozen=True)
class RecordedChallenge:
    binding: RecordedBinding
    policy_digest: str = CHALLENGE.policy_digest


@pytest.fixture(scope="module")
def recorded() -> tuple[list[UnverifiedEvidence], Any, bytes]:
    """Return evidence of a machine of eight GPUs and four switches, its challenge, and the root it leads to."""
    found = [*recorded_list("h100x8_gpu_evidence.json"), *recorded_list("nvswitchx4_evidence.json")]
    nonce, root = found[0][1], found[0][2].roots[0]
    machine = CHIP.evidence(nonce.ljust(64, b"\0"))
    return [machine, *(piece for piece, _, _ in found)], RecordedChallenge(RecordedBinding(nonce)), root


@pytest.fixture
def verify(recorded: Any, tmp_path: Path) -> Callable[..., Claims]:
    """Verify devices by the folder of collateral as it is shipped, with NVIDIA's own root."""
    (tmp_path / "nvidia-root.device.der").write_bytes(recorded[2])
    folder = CollateralStore(tmp_path, now=lambda: AT)
    folder.load()
    assert folder.loaded.problems == ()
    shipped = Verifier(lambda: folder.loaded.collateral)

    def choose(piece: UnverifiedEvidence, node: TrustedNode, at: datetime) -> Claims:
        return verify_evidence(piece, Collateral(snp=snp()), at=at) if piece.kind == "snp" else shipped(piece, node, at)

    return choose


RECORDED_RULES = rules_of("snp", "nvidia-gpu", "nvidia-switch")


def test_a_recorded_machine_of_eight_gpus_and_four_switches_is_worth_a_label(recorded: Any, verify: Any) -> None:
    pieces, challenge, _ = recorded
    result = judge(pieces, challenge=challenge, rules=RECORDED_RULES, verify=verify, at=AT)
    assert (result.tees, len(result.devices), result.remark) == (("nvidia-cc", "snp"), 12, "")


def test_a_recorded_machine_without_one_of_its_parts_is_worth_less_or_nothing(recorded: Any, verify: Any) -> None:
    pieces, challenge, _ = recorded
    how = {"challenge": challenge, "rules": RECORDED_RULES, "verify": verify, "at": AT}
    assert refused(pieces[:-1], **how)[0] is Reason.APPRAISAL_FAILED
    assert refused([pieces[0], *pieces[2:]], replace(NODE, gpus=0), **how)[0] is Reason.APPRAISAL_FAILED
    assert refused(pieces[1:], **how)[0] is Reason.EVIDENCE_MISSING
    other = RecordedChallenge(RecordedBinding(b"x" * 32))
    assert refused(pieces, **(how | {"challenge": other}))[0] is Reason.EVIDENCE_NOT_BOUND
    assert refused(pieces, **(how | {"at": datetime(1999, 1, 1, tzinfo=UTC)}))[0] is Reason.EVIDENCE_UNTRUSTED
