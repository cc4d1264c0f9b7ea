"""Evidence of the node: for its pods, its attester quotes the TPM and asks the kernel, which pods cannot."""

import base64
import json
from dataclasses import dataclass
from typing import Final

from sekisho.agent.transport import ServerAccess, open_session
from sekisho.attest.binding import Binding
from sekisho.attest.evidence import KINDS, MAX_EVIDENCE_BYTES, UnverifiedEvidence, parse_evidence
from sekisho.errors import Reason, RefusedError, SekishoError, UnavailableError
from sekisho.seal.canonical import encode_canonical

TOTAL_SECONDS: Final = 30.0
MAX_ANSWER_BYTES: Final = 2 * MAX_EVIDENCE_BYTES
_GUESTS: Final = frozenset({"snp", "tdx"})
_DEVICES: Final = frozenset({"nvidia-gpu", "nvidia-switch"})


@dataclass(frozen=True, slots=True)
class NodeAttester:
    """The attester of the pod's own node, reached through a Service that leads nowhere else.

    Attributes:
        size: 64 asks for reports of the guest that the node is, 32 for a quote of its TPM.
    """

    access: ServerAccess
    size: int = 32

    @property
    def kinds(self) -> frozenset[str]:
        """Name what may come; devices are the pod's."""
        return _GUESTS if self.size == 64 else frozenset(KINDS) - _DEVICES - _GUESTS

    def collect(self, binding: Binding) -> tuple[UnverifiedEvidence, ...]:
        """Ask for a quote over 32 or 64 bytes of the binding (see the Protocol)."""
        body = encode_canonical({"bindingDigest": base64.b64encode(binding.digest(self.size)).decode()})
        try:
            with open_session(self.access) as session:
                data = session.post("/v1/quote", body, most=MAX_ANSWER_BYTES)
            return _parse_answer(data)
        except SekishoError as error:
            service, _, namespace = self.access.address.server_name.removesuffix(".svc").partition(".")
            message = f"{error.message}; see whether {service} in namespace {namespace} runs on this pod's node"
            raise UnavailableError(Reason.EVIDENCE_MISSING, message) from error


def _parse_answer(data: bytes) -> tuple[UnverifiedEvidence, ...]:
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict) or "evidence" not in body:
        raise RefusedError(Reason.EVIDENCE_INVALID, "the attester of the node answered something that is no evidence")
    return parse_evidence(body["evidence"])
