"""What all makers' libraries have in common: they may hang, fail, or be there for nothing."""

import queue
import threading
from collections.abc import Callable
from typing import Any, Final, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from sekisho.attest.evidence import MAX_CERTIFICATES
from sekisho.errors import Reason, UnavailableError

T = TypeVar("T")
NONCE_BYTES: Final = 32
TOTAL_SECONDS: Final = 30.0
MAX_DEVICES: Final = 16
MAX_HANGING: Final = 4


class AbsentError(Exception):
    """There is no driver, no device, or none that gives evidence."""


def ask_bounded(work: Callable[[], T], absent: T, *, seconds: float, what: str) -> T:
    """Do something in a thread of its own: a driver that hangs holds up nobody.

    Returns `absent` where nothing is there.

    Raises:
        UnavailableError: EvidenceMissing; it failed, did not end in time, or 4 earlier ones have not ended either.
    """
    if sum(thread.name == what for thread in threading.enumerate()) >= MAX_HANGING:
        raise failed(what, f"{MAX_HANGING} earlier questions are not answered yet; see the driver's log")
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def run() -> None:
        try:
            answers.put((work(), None))
        except AbsentError:
            answers.put((absent, None))
        except UnavailableError as error:
            answers.put((absent, error))

    threading.Thread(target=run, name=what, daemon=True).start()
    try:
        answer, error = answers.get(timeout=seconds)
    except queue.Empty:
        raise failed(what, f"the driver did not answer within {seconds:.0f} s") from None
    if error is not None:
        raise error
    return answer  # type: ignore[no-any-return]  # what `work` returned


def take_bytes(buffer: Any, size: int, *, what: str, part: str) -> bytes:
    """Take what a library says it wrote.

    Raises:
        UnavailableError: EvidenceMissing; it says that it wrote nothing, or more than there is room for.
    """
    if not 0 < size <= len(buffer):
        raise failed(what, f"the {part} has {size} bytes, 1 to {len(buffer)} are possible")
    return bytes(buffer[:size])


def read_chain(pem: bytes, *, what: str) -> tuple[bytes, ...]:
    """Read certificates in PEM as DER.

    Raises:
        UnavailableError: EvidenceMissing; there is none that can be read, or too many.
    """
    try:
        found = x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise failed(what, "the certificate chain is not PEM") from error
    if len(found) > MAX_CERTIFICATES:
        raise failed(what, f"there are {len(found)} certificates, {MAX_CERTIFICATES} are allowed")
    return tuple(item.public_bytes(Encoding.DER) for item in found)


def failed(what: str, why: str) -> UnavailableError:
    """Say that a device is there and gave nothing."""
    return UnavailableError(Reason.EVIDENCE_MISSING, f"the {what} gives no evidence: {why}")
