"""Nodes as this process sees them: what was written about their trust, and the writing of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from sekisho.api import names
from sekisho.api.times import format_time, parse_time_or_zero
from sekisho.errors import Reason, RefusedError
from sekisho.kube.client import KubeClient
from sekisho.kube.failures import ApiConflictError, ApiRefusedError
from sekisho.kube.resources import NODES

_MAX_REFUSAL: Final = 512
_HEX_DIGITS: Final = frozenset("0123456789abcdef")


@dataclass(frozen=True, slots=True)
class TrustedNode:
    """What a Node says about its own trust.

    Attributes:
        ak_name: Name of the attestation key that was enrolled, in hex; empty where none was.
        ek_digest: SHA-256 of the endorsement key's public area, in hex; empty where none was enrolled.
        attested: For which hardware this process wrote labels.
        expires_at: Unix seconds at which these labels end; 0 where there is no end to be read.
        devices: Identities of the NVIDIA devices that it proved to have, in hex.
        gpus: How many GPUs it offers to pods, by its own word; 0 where it says nothing.
    """

    name: str
    uid: str
    ak_name: str = ""
    ek_digest: str = ""
    attested: tuple[str, ...] = ()
    expires_at: float = 0.0
    devices: tuple[str, ...] = ()
    gpus: int = 0


@dataclass(frozen=True, slots=True)
class Result:
    """What an attestation came to.

    Attributes:
        tees: For which hardware labels are written.
        evidence: "sha256:…" of each piece of evidence, in its order.
        at: Unix seconds of the verification.
        expires_at: Unix seconds at which it counts no longer.
        devices: Identities of the NVIDIA devices, in hex, sorted.
        remark: Why something that was shown is worth no label; empty where all is.
    """

    tees: tuple[str, ...]
    evidence: tuple[str, ...]
    at: int
    expires_at: int
    devices: tuple[str, ...] = ()
    remark: str = ""


class Nodes(Protocol):
    """Where nodes are read and written."""

    def find(self, name: str) -> TrustedNode | None:
        """Return a node as it was last seen."""
        ...

    def all(self) -> tuple[TrustedNode, ...]:
        """Return every node as it was last seen."""
        ...

    async def write(self, node: TrustedNode, patch: Mapping[str, Any]) -> None:
        """Patch labels and annotations of this very node.

        Raises:
            RefusedError: NotAllowed; it is gone or another one has its name.
            UnavailableError: The API server does not answer.
        """
        ...


def read_node(raw: Mapping[str, Any]) -> TrustedNode:
    """Read what a Node says; what cannot be read counts as not said."""
    meta = raw.get("metadata") or {}
    said = meta.get("annotations") or {}
    return TrustedNode(
        name=str(meta.get("name", "")),
        uid=str(meta.get("uid", "")),
        ak_name=_read_hex(said.get(names.NODE_AK_ANNOTATION)),
        ek_digest=str(said.get(names.NODE_EK_ANNOTATION, "")),
        attested=_split(said.get(names.NODE_ATTESTED_ANNOTATION)),
        expires_at=parse_time_or_zero(said.get(names.NODE_EXPIRY_ANNOTATION)),
        devices=_split(said.get(names.NODE_DEVICES_ANNOTATION)),
        gpus=_parse_count(((raw.get("status") or {}).get("capacity") or {}).get(names.GPU_RESOURCE)),
    )


def spell_enrolment(ak_name: bytes, ek_digest: str) -> dict[str, Any]:
    """Return the patch that makes a key a node's."""
    return {"annotations": {names.NODE_AK_ANNOTATION: ak_name.hex(), names.NODE_EK_ANNOTATION: ek_digest}}


def spell_result(node: TrustedNode, result: Result) -> dict[str, Any]:
    """Return the patch that says what a node has proven; what it proved before and not now is taken back."""
    labels: dict[str, str | None] = dict.fromkeys((names.trust_label(tee) for tee in node.attested), None)
    labels |= {names.trust_label(tee): str(result.at) for tee in result.tees}
    annotations: dict[str, str | None] = {
        names.NODE_ATTESTED_ANNOTATION: ",".join(sorted(result.tees)),
        names.NODE_EVIDENCE_ANNOTATION: ",".join(result.evidence),
        names.NODE_EXPIRY_ANNOTATION: format_time(result.expires_at),
        names.NODE_DEVICES_ANNOTATION: ",".join(result.devices) or None,
        names.NODE_REFUSAL_ANNOTATION: result.remark[:_MAX_REFUSAL] or None,
    }
    return {"labels": labels, "annotations": annotations}


def spell_withdrawal(node: TrustedNode, reason: Reason, message: str) -> dict[str, Any]:
    """Return the patch that takes back all that was written about a node but its key, and says why."""
    annotations: dict[str, str | None] = dict.fromkeys(
        (
            names.NODE_ATTESTED_ANNOTATION,
            names.NODE_EVIDENCE_ANNOTATION,
            names.NODE_EXPIRY_ANNOTATION,
            names.NODE_DEVICES_ANNOTATION,
        ),
        None,
    )
    annotations[names.NODE_REFUSAL_ANNOTATION] = f"{reason}: {message}"[:_MAX_REFUSAL]
    labels = dict.fromkeys((names.trust_label(tee) for tee in node.attested), None)
    return {"labels": labels, "annotations": annotations}


async def patch_node(client: KubeClient, node: TrustedNode, patch: Mapping[str, Any]) -> Mapping[str, Any]:
    """Patch a Node if it is still the same; returns it as it then stands.

    Raises:
        RefusedError: NotAllowed; it is gone, another one has its name, or an admission policy refuses.
        UnavailableError: The API server does not answer.
    """
    body = {"metadata": {"uid": node.uid, **patch}}
    try:
        return await client.patch(NODES, node.name, body)
    except (ApiConflictError, ApiRefusedError) as error:
        raise RefusedError(Reason.NOT_ALLOWED, f"node {node.name} cannot be written: {error.message}") from error


def _split(text: Any) -> tuple[str, ...]:
    return tuple(item for item in str(text or "").split(",") if item)


def _parse_count(text: Any) -> int:
    value = str(text or "")
    return int(value) if value.isascii() and value.isdigit() and len(value) <= 4 else 0


def _read_hex(text: Any) -> str:
    value = str(text or "")
    return value if len(value) % 2 == 0 and _HEX_DIGITS.issuperset(value) else ""
