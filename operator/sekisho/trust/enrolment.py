"""Make an attestation key a node's: the maker's certificate of the TPM, and a secret that only that TPM opens."""

import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from cryptography.hazmat.primitives import serialization

from sekisho.attest.chains import Purpose, arrange, verify_chain
from sekisho.attest.tpm2.credential import ENTROPY_BYTES, SECRET_BYTES, Credential, make_credential
from sekisho.attest.tpm2.structures import TpmKey, check_attestation_key, check_endorsement_key, parse_public
from sekisho.errors import Reason, RefusedError
from sekisho.trust.nodes import Nodes, TrustedNode

ENROLMENT_SECONDS: Final = 120.0
MAX_OPEN: Final = 20_000
# TCG EK Credential Profile 2.5, clause 3.2.6.
_RSA_USAGE: Final = Purpose(usage="key_encipherment")
_ECC_USAGE: Final = Purpose(usage="key_agreement")


@dataclass(frozen=True, slots=True)
class Makers:
    """Whose TPMs are believed.

    Attributes:
        roots: Pinned roots of TPM makers, DER.
        intermediates: Their further authorities, DER; they prove nothing without a root.
        crls: Revocation lists, DER.
        allowed: SHA-256 (hex) of the endorsement keys that may be enrolled, by node, "*" standing for any; empty: every
            TPM of these makers.
    """

    roots: tuple[bytes, ...]
    intermediates: tuple[bytes, ...] = ()
    crls: tuple[bytes, ...] = ()
    allowed: Mapping[str, frozenset[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Request:
    """What a node says its TPM is; nothing of it is believed.

    Attributes:
        endorsement: TPMT_PUBLIC of the endorsement key.
        attestation: TPMT_PUBLIC of the attestation key.
        certificates: DER, the endorsement key's first.
    """

    endorsement: bytes
    attestation: bytes
    certificates: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class _Pending:
    id: str
    uid: str
    ak_name: bytes
    ek_digest: str
    secret: bytes = field(repr=False)
    ends_at: float = 0.0


@dataclass(slots=True)
class Enrolments:
    """All open enrolments, one a node.

    Attributes:
        clock: Seconds since the boot of the machine.
        draw: Returns random bytes.
    """

    nodes: Nodes
    clock: Callable[[], float]
    draw: Callable[[int], bytes]
    _open: OrderedDict[str, _Pending] = field(default_factory=OrderedDict)

    def begin(self, node: TrustedNode, request: Request, makers: Makers, *, at: datetime) -> tuple[str, Credential]:
        """Check who the TPM is and wrap a secret for it; returns the enrolment's id and what its TPM must open.

        Raises:
            RefusedError: EvidenceInvalid, EvidenceUntrusted, EvidenceRevoked, ChipUnknown, Collateral….
        """
        endorsement, attestation = parse_public(request.endorsement), parse_public(request.attestation)
        check_attestation_key(attestation)
        check_endorsement_key(endorsement)
        verify_endorsement(endorsement, request.certificates, makers, at=at)
        ek_digest = hashlib.sha256(endorsement.area).hexdigest()
        self._check_place(node, ek_digest, makers)
        secret = self.draw(SECRET_BYTES)
        credential = make_credential(endorsement, attestation.name, secret, entropy=self.draw(ENTROPY_BYTES))
        name, ends_at = self.draw(16).hex(), self.clock() + ENROLMENT_SECONDS
        self._open.pop(node.name, None)
        self._open[node.name] = _Pending(name, node.uid, attestation.name, ek_digest, secret, ends_at)
        if len(self._open) > MAX_OPEN:
            self._open.popitem(last=False)
        return name, credential

    def finish(self, node: TrustedNode, name: str, proof: bytes) -> tuple[bytes, str]:
        """Check that the TPM opened the secret; returns the attestation key's Name and the endorsement key's digest.

        Raises:
            RefusedError: ChallengeUnknown or EvidenceUntrusted; the enrolment is over either way.
        """
        pending = self._open.pop(node.name, None)
        known = pending is not None and hmac.compare_digest(pending.id, name) and pending.uid == node.uid
        if pending is None or not known or self.clock() > pending.ends_at:
            raise RefusedError(Reason.CHALLENGE_UNKNOWN, f"node {node.name} has no such enrolment open; begin anew")
        if not hmac.compare_digest(pending.secret, proof):
            raise RefusedError(
                Reason.EVIDENCE_UNTRUSTED,
                f"the TPM of node {node.name} did not open what was made for it: endorsement key and attestation "
                "key are not of one TPM",
            )
        self._check_elsewhere(node, pending.ek_digest)
        return pending.ak_name, pending.ek_digest

    def _check_place(self, node: TrustedNode, ek_digest: str, makers: Makers) -> None:
        """Refuse a TPM that is not this node's, as far as anybody has said whose it is."""
        if makers.allowed:
            allowed = makers.allowed.get(node.name, frozenset()) | makers.allowed.get("*", frozenset())
            if ek_digest not in allowed:
                raise RefusedError(
                    Reason.CHIP_UNKNOWN,
                    f"endorsement key {ek_digest} is not one of those allowed for node {node.name}; add it to the list",
                )
        if node.ek_digest not in {"", ek_digest}:
            raise RefusedError(
                Reason.CHIP_UNKNOWN,
                f"node {node.name} was enrolled with endorsement key {node.ek_digest}, it shows {ek_digest}; if its "
                "TPM was exchanged, remove the Node's annotation ek-digest",
            )
        self._check_elsewhere(node, ek_digest)

    def _check_elsewhere(self, node: TrustedNode, ek_digest: str) -> None:
        other = next(
            (item for item in self.nodes.all() if item.ek_digest == ek_digest and item.name != node.name), None
        )
        if other is not None:
            raise RefusedError(
                Reason.CHIP_UNKNOWN,
                f"endorsement key {ek_digest} is that of node {other.name}; node {node.name} may not show its TPM",
            )


def verify_endorsement(key: TpmKey, certificates: Sequence[bytes], makers: Makers, *, at: datetime) -> None:
    """Check that a maker certified this very endorsement key.

    Raises:
        RefusedError: EvidenceUntrusted, EvidenceRevoked, EvidenceInvalid, or Collateral….
    """
    if not certificates:
        raise RefusedError(Reason.EVIDENCE_INVALID, "no certificate of the endorsement key came along")
    is_rsa = key.area[:2] == b"\x00\x01"
    pool = (*certificates[1:], *makers.intermediates)
    chain = arrange(certificates[0], pool)
    leaf = verify_chain(chain, makers.roots, at=at, crls=makers.crls, purpose=_RSA_USAGE if is_rsa else _ECC_USAGE).leaf
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    if leaf.key.public_bytes(*form) != key.public.public_bytes(*form):
        raise RefusedError(
            Reason.EVIDENCE_UNTRUSTED, "the endorsement key is another than the one its maker's certificate is about"
        )
