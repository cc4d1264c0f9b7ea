"""Whether the NVIDIA devices of a node are all shown and its own, and whether a confidential machine has them. Pure."""

from collections.abc import Iterable, Sequence
from typing import Final

from sekisho.api.names import GPU_RESOURCE
from sekisho.attest.claims import Claims, Tee
from sekisho.attest.devices import ExpectedDevices, check_devices
from sekisho.errors import Reason, RefusedError, Rejection
from sekisho.trust.nodes import TrustedNode

_NVIDIA: Final = frozenset({Tee.NVIDIA_GPU, Tee.NVIDIA_SWITCH})
_MACHINES: Final = frozenset({Tee.SNP, Tee.TDX})
_THROUGH_SWITCHES: Final = "PPCIE"


def check_node_devices(claims: Sequence[Claims], *, nonce: bytes) -> None:
    """Hold the devices of a node against each other.

    Raises:
        RefusedError: EvidenceNotBound, EvidenceInvalid where one stands for two, AppraisalFailed where modes or wires
            do not fit together.
    """
    gpus, switches = _select(claims, Tee.NVIDIA_GPU), _select(claims, Tee.NVIDIA_SWITCH)
    check_devices(claims, ExpectedDevices(len(gpus), len(switches)), nonce=nonce)


def find_lack(claims: Sequence[Claims], node: TrustedNode, shown: frozenset[Tee]) -> Rejection | None:
    """Return what the GPUs of a node lack to be worth their label; None where they lack nothing.

    All that a pod could get must be shown, and so must the switches, where GPUs send each other plain text through
    them. And a GPU protects what is in it alone: what the processor hands to it lies in the machine's memory before, so
    that memory must be closed as well.

    Args:
        claims: All that was brought.
        node: Whose GPUs they are.
        shown: The kinds that count by the policy; GPUs are among them.
    """
    gpus = _select(claims, Tee.NVIDIA_GPU)
    if len(gpus) < node.gpus:
        return Rejection(
            Reason.EVIDENCE_MISSING,
            f"node {node.name} offers {node.gpus} {GPU_RESOURCE}, its evidence is of {len(gpus)} GPUs; every GPU that "
            "a pod could get must be shown",
        )
    through = [each for each in gpus if each.fact("mode") == _THROUGH_SWITCHES and each.fact("switches")]
    if through and not _select(claims, Tee.NVIDIA_SWITCH):
        return Rejection(
            Reason.EVIDENCE_MISSING,
            f"{len(through)} GPUs of node {node.name} send each other plain text through NVSwitches "
            f"({through[0].fact('switches')}), of which there is no evidence",
        )
    if shown & _MACHINES:
        return None
    beside = ", ".join(sorted(shown - _NVIDIA)) or "nothing"
    return Rejection(
        Reason.APPRAISAL_FAILED,
        f"the GPUs of node {node.name} are proven, the machine they are in is not: beside them counts {beside}, and "
        "snp or tdx is wanted",
    )


def _select(claims: Sequence[Claims], tee: Tee) -> list[Claims]:
    return [each for each in claims if each.tee is tee]


def name_devices(claims: Sequence[Claims]) -> tuple[str, ...]:
    """Return the identities of all NVIDIA devices, in hex, sorted."""
    return tuple(sorted(each.chip_id.hex() for each in claims if each.tee in _NVIDIA and each.chip_id is not None))


def check_elsewhere(node: TrustedNode, devices: Sequence[str], others: Iterable[TrustedNode]) -> None:
    """Refuse a device that another node has proven to have, and has not lost since.

    Raises:
        RefusedError: ChipUnknown.
    """
    own = frozenset(devices)
    if not own:
        return
    for other in others:
        if other.name != node.name and (twice := own.intersection(other.devices)):
            raise RefusedError(
                Reason.CHIP_UNKNOWN,
                f"device {min(twice)} is one of node {other.name}; node {node.name} may not show it before that one "
                "has stopped",
            )
