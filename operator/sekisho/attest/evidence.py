"""Evidence as it travels: one canonical JSON object a piece, nothing in it believed yet."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from sekisho.errors import Reason, RefusedError

MAX_EVIDENCE_BYTES: Final = 512 * 1024
MAX_PIECES: Final = 24
MAX_CERTIFICATES: Final = 16
MAX_EXTRAS: Final = 16
KINDS: Final = (
    "snp", "tdx", "nitro", "tpm", "nvidia-gpu", "nvidia-switch", "azure-snp", "azure-tdx", "ear-token", "gcs-token",
)  # fmt: skip
_FIELDS: Final = frozenset({"kind", "report", "certificates", "extras"})
_MAX_NAME: Final = 64
_MOST_HELD: Final = 512
_MOST_HELD_LETTERS: Final = 4096


@dataclass(frozen=True, slots=True)
class UnverifiedEvidence:
    """One piece of evidence as somebody sent it.

    Attributes:
        kind: Which verifier reads it; one of KINDS.
        report: The signed bytes: report, quote, document or token.
        certificates: DER certificates that came along, leaf first; they prove nothing by coming along.
        extras: Other parts by name, e.g. "eventLog", "akPublic", "signature", "hclReport", "measurements".
    """

    kind: str
    report: bytes
    certificates: tuple[bytes, ...] = ()
    extras: tuple[tuple[str, bytes], ...] = ()

    @property
    def size(self) -> int:
        """Bytes of everything that came."""
        return len(self.report) + sum(map(len, self.certificates)) + sum(len(value) for _, value in self.extras)

    def part(self, name: str) -> bytes:
        """Return a part by name.

        Raises:
            RefusedError: EvidenceInvalid; it did not come along.
        """
        for key, value in self.extras:
            if key == name:
                return value
        raise RefusedError(Reason.EVIDENCE_INVALID, f'{self.kind} evidence comes without its part "{name}"')


def encode_evidence(pieces: Sequence[UnverifiedEvidence]) -> list[dict[str, Any]]:
    """Spell pieces of evidence as JSON values."""
    return [
        {
            "kind": piece.kind,
            "report": _encode(piece.report),
            "certificates": [_encode(der) for der in piece.certificates],
            "extras": {name: _encode(value) for name, value in piece.extras},
        }
        for piece in pieces
    ]


def parse_evidence(value: Any) -> tuple[UnverifiedEvidence, ...]:
    """Parse JSON values that came from outside, 1 to 24 pieces of together at most 512 KiB.

    Raises:
        RefusedError: EvidenceInvalid, naming the first thing that is not as it must be.
    """
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_PIECES:
        raise _invalid(f"evidence is not a list of 1 to {MAX_PIECES} pieces")
    pieces = tuple(_parse_piece(item) for item in value)
    size = sum(piece.size for piece in pieces)
    if size > MAX_EVIDENCE_BYTES:
        raise _invalid(f"evidence has {size} bytes, {MAX_EVIDENCE_BYTES} allowed")
    return pieces


def _parse_piece(value: Any) -> UnverifiedEvidence:
    if not isinstance(value, Mapping) or not _FIELDS.issuperset(value):
        raise _invalid(f"a piece of evidence is not an object of {', '.join(sorted(_FIELDS))}")
    kind, certificates, extras = value.get("kind"), value.get("certificates", []), value.get("extras", {})
    if kind not in KINDS:
        raise _invalid(f"the kind of a piece of evidence is not one of {', '.join(KINDS)}")
    if not isinstance(certificates, list) or len(certificates) > MAX_CERTIFICATES:
        raise _invalid(f"certificates of {kind} evidence are not a list of at most {MAX_CERTIFICATES}")
    if not isinstance(extras, Mapping) or len(extras) > MAX_EXTRAS:
        raise _invalid(f"extras of {kind} evidence are not an object of at most {MAX_EXTRAS}")
    if not all(isinstance(name, str) and 0 < len(name) <= _MAX_NAME for name in extras):
        raise _invalid(f"an extra of {kind} evidence has no name of 1 to {_MAX_NAME} characters")
    return UnverifiedEvidence(
        kind=kind,
        report=_decode(value.get("report"), f"report of {kind} evidence"),
        certificates=tuple(_decode_certificate(item, f"certificate of {kind} evidence") for item in certificates),
        extras=tuple((name, _decode(item, f"extra of {kind} evidence")) for name, item in sorted(extras.items())),
    )


def _decode_certificate(value: Any, what: str) -> bytes:
    """Decode what machines bring again and again; texts up to the length of usual certificates are remembered."""
    if isinstance(value, str) and len(value) <= _MOST_HELD_LETTERS:
        return _decode_once(value, what)
    return _decode(value, what)


@lru_cache(_MOST_HELD)
def _decode_once(value: str, what: str) -> bytes:
    return _decode(value, what)


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _decode(value: Any, what: str) -> bytes:
    if not isinstance(value, str) or len(value) > MAX_EVIDENCE_BYTES * 4 // 3 + 4:
        raise _invalid(f"the {what} is not base64 of at most {MAX_EVIDENCE_BYTES} bytes")
    try:
        return binascii.a2b_base64(value, strict_mode=True)
    except (binascii.Error, ValueError) as error:
        raise _invalid(f"the {what} is not base64") from error


def _invalid(message: str) -> RefusedError:
    return RefusedError(Reason.EVIDENCE_INVALID, message)
