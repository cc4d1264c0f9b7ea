"""Certificates in PEM, read strictly: each has exactly one spelling, so that no byte of one can change unseen."""

import base64
import binascii
import re
from typing import Final

from sekisho.errors import Reason, RefusedError

MAX_PEM_BYTES: Final = 64 * 1024
_BLOCK: Final = re.compile(
    rb"-----BEGIN CERTIFICATE-----\r?\n([A-Za-z0-9+/=\r\n]{1,16384}?)\r?\n-----END CERTIFICATE-----"
)


def parse_pem(pem: bytes, name: str, *, most: int, reason: Reason = Reason.EVIDENCE_INVALID) -> tuple[bytes, ...]:
    """Return the certificates of a PEM text as DER, in their order; between them and at the end only line ends stand.

    Args:
        pem: At most 64 KiB are looked at.
        name: What it is, for messages: "the quote's certificates".
        most: How many there may be; at least one must.
        reason: What a refusal gives as its reason.

    Raises:
        RefusedError: `reason`; it is something else, or spelt in another way than encoders do.
    """
    certificates: list[bytes] = []
    at = 0
    for block in _BLOCK.finditer(pem[:MAX_PEM_BYTES]):
        _check_between(pem[at : block.start()], name, reason)
        certificates.append(_decode(block[1], name, reason))
        at = block.end()
    _check_between(pem[at:], name, reason)
    if not 1 <= len(certificates) <= most:
        raise RefusedError(reason, f"{name} have {len(certificates)} in PEM, 1 to {most} are allowed")
    return tuple(certificates)


def _check_between(text: bytes, name: str, reason: Reason) -> None:
    if text.strip(b"\r\n"):
        raise RefusedError(reason, f"{name} have something in them that is no certificate in PEM")


def _decode(text: bytes, name: str, reason: Reason) -> bytes:
    digits = text.replace(b"\r\n", b"\n").replace(b"\n", b"")
    try:
        der = base64.b64decode(digits, validate=True)
    except binascii.Error as error:
        raise RefusedError(reason, f"{name} have a certificate that is not base64") from error
    if base64.b64encode(der) != digits:
        raise RefusedError(reason, f"{name} have a certificate that no encoder spells so")
    return der
