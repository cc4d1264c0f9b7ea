"""Have this node attested again and again: enrol its key once, then answer challenges while the process lives."""

import asyncio
import base64
import binascii
import logging
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from sekisho.attest.binding import Binding
from sekisho.attest.evidence import encode_evidence
from sekisho.attester.collecting import TPM_DIGEST, Hardware
from sekisho.errors import Reason, SekishoError, UnavailableError

_LOG: Final = logging.getLogger(__name__)
FIRST_PAUSE_SECONDS: Final = 5.0
MAX_PAUSE_SECONDS: Final = 300.0
_JITTER: Final = 0.2
_MAX_REMARK: Final = 1024


class Controller(Protocol):
    """The trust controller as the attester sees it."""

    async def ask(self, what: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Ask for one of enrol, activate, challenge, attest."""
        ...


@dataclass(slots=True)
class NodeAttestation:
    """Keeps one node attested.

    Attributes:
        outcome: Told the reason of every attempt; for metrics.
        attested_at: Unix seconds of the last success; 0 before the first.
    """

    node: str
    hardware: Hardware
    controller: Controller
    outcome: Callable[[Reason], None] = lambda _reason: None
    attested_at: float = 0.0

    async def run(self) -> None:
        """Attest until cancelled; what fails is told and tried again, ever later."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                rest = await self.attest()
                pause = FIRST_PAUSE_SECONDS
                self.outcome(Reason.ATTESTED)
            except SekishoError as error:
                self.outcome(error.reason)
                _LOG.warning("the node is not attested", extra={"reason": error.reason, "detail": error.message})
                rest, pause = pause, min(pause * 2, MAX_PAUSE_SECONDS)
            await asyncio.sleep(rest * random.uniform(1 - _JITTER, 1))  # noqa: S311 - jitter, no secret

    async def attest(self) -> float:
        """Answer one challenge; returns after how many seconds to do it again.

        Raises:
            SekishoError: The hardware gives no evidence, or the controller refuses or does not answer.
        """
        challenge = await self.controller.ask("challenge", {"node": self.node})
        if self.hardware.tpm is not None and await self._is_enrolled(challenge) is False:
            challenge = await self.controller.ask("challenge", {"node": self.node})
        binding = read_binding(self.node, challenge)
        pieces = await self.hardware.sign_for_node(binding.digest(TPM_DIGEST))
        body = {"challenge": challenge.get("challenge"), "evidence": encode_evidence(pieces)}
        answer = await self.controller.ask("attest", body)
        self.attested_at = time.time()
        _LOG.info("the node is attested", extra={"expires_at": str(answer.get("expiresAt", ""))})
        if remark := str(answer.get("remark", "")):
            _LOG.warning("not all evidence of the node counts", extra={"detail": remark[:_MAX_REMARK]})
        return min(max(_number(answer, "againAfterSeconds"), 1.0), 86_400.0)

    async def _is_enrolled(self, challenge: Mapping[str, Any]) -> bool:
        """Enrol the TPM's key where the controller does not know it; returns whether it knew it."""
        endorsement, public, name = await self.hardware.read_identity()
        if challenge.get("akName") == name.hex():
            return True
        asked = {
            "node": self.node,
            "akPublic": _encode(public),
            "ekPublic": _encode(endorsement.public),
            "certificates": [_encode(endorsement.certificate)],
        }
        answer = await self.controller.ask("enrol", asked)
        proof = await self.hardware.activate(
            endorsement, blob=_decode(answer, "credential"), secret=_decode(answer, "secret")
        )
        await self.controller.ask("activate", {"enrolment": answer.get("enrolment"), "proof": _encode(proof)})
        _LOG.info("the node's attestation key is enrolled", extra={"ak_name": name.hex()})
        return False


def read_binding(node: str, challenge: Mapping[str, Any]) -> Binding:
    """Return what evidence for a challenge must commit to.

    Raises:
        UnavailableError: The challenge cannot be read.
    """
    return Binding(
        purpose="node",
        nonce=_decode(challenge, "nonce"),
        public_key=b"",
        namespace="",
        pod=node,
        uid=str(challenge.get("uid", "")),
        policy_digest=str(challenge.get("policyDigest", "")),
        isolation_digest="",
        question_digest="",
    )


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _decode(answer: Mapping[str, Any], name: str) -> bytes:
    value = answer.get(name)
    try:
        return base64.b64decode(value if isinstance(value, str) else "!", validate=True)
    except (binascii.Error, ValueError) as error:
        raise _unreadable(name) from error


def _number(answer: Mapping[str, Any], name: str) -> float:
    value = answer.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _unreadable(name)
    return float(value)


def _unreadable(name: str) -> UnavailableError:
    return UnavailableError(Reason.API_UNAVAILABLE, f'the trust controller\'s answer has no usable "{name}"')
