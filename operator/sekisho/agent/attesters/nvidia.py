"""Evidence of NVIDIA GPUs in confidential mode, from the driver's library; structures as its nvml.h declares them."""

import ctypes
import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from sekisho.attest.binding import Binding
from sekisho.attest.evidence import MAX_CERTIFICATES, UnverifiedEvidence
from sekisho.errors import Reason, UnavailableError

LIBRARY: Final = "libnvidia-ml.so.1"
TOTAL_SECONDS: Final = 30.0
MAX_DEVICES: Final = 16
_SUCCESS, _NOT_SUPPORTED, _NO_DRIVER, _NO_DEVICE, _NO_FUNCTION = 0, 3, 9, 6, 13
_ABSENT: Final = frozenset({_NOT_SUPPORTED, _NO_DRIVER, _NO_DEVICE, _NO_FUNCTION})


class _Certificate(ctypes.Structure):
    _fields_ = (
        ("certChainSize", ctypes.c_uint),
        ("attestationCertChainSize", ctypes.c_uint),
        ("certChain", ctypes.c_ubyte * 0x1000),
        ("attestationCertChain", ctypes.c_ubyte * 0x1400),
    )


class _Report(ctypes.Structure):
    _fields_ = (
        ("isCecAttestationReportPresent", ctypes.c_uint),
        ("attestationReportSize", ctypes.c_uint),
        ("cecAttestationReportSize", ctypes.c_uint),
        ("nonce", ctypes.c_ubyte * 32),
        ("attestationReport", ctypes.c_ubyte * 0x2000),
        ("cecAttestationReport", ctypes.c_ubyte * 0x1000),
    )


class _AbsentError(Exception):
    """There is no driver, no device, or none in confidential mode."""


@dataclass(frozen=True, slots=True)
class NvidiaGpus:
    """The GPUs that this container sees."""

    library: str = LIBRARY
    seconds: float = TOTAL_SECONDS

    @property
    def kinds(self) -> frozenset[str]:
        """Name the kind."""
        return frozenset({"nvidia-gpu"})

    def collect(self, binding: Binding) -> tuple[UnverifiedEvidence, ...]:
        """Return a report of each GPU over one nonce, the 32 bytes of the binding (see the Protocol)."""
        try:
            library = ctypes.CDLL(self.library)
        except OSError:
            return ()
        answers: queue.SimpleQueue[Any] = queue.SimpleQueue()

        def work() -> None:
            try:
                answers.put(_read_all(library, binding.digest(32)))
            except (UnavailableError, _AbsentError) as error:
                answers.put(error)

        threading.Thread(target=work, name="nvml", daemon=True).start()  # a driver that hangs holds up nobody
        try:
            answer = answers.get(timeout=self.seconds)
        except queue.Empty:
            raise _failed(f"the driver did not answer within {self.seconds:.0f} s") from None
        if isinstance(answer, _AbsentError):
            return ()
        if isinstance(answer, UnavailableError):
            raise answer
        return tuple(answer)


def _read_all(library: Any, nonce: bytes) -> list[UnverifiedEvidence]:
    _call(library, "nvmlInit_v2")
    try:
        count = ctypes.c_uint()
        _call(library, "nvmlDeviceGetCount_v2", ctypes.byref(count))
        if count.value > MAX_DEVICES:
            raise _failed(f"there are {count.value} GPUs, {MAX_DEVICES} are allowed")
        return [_read_one(library, index, nonce) for index in range(count.value)]
    finally:
        library.nvmlShutdown()


def _read_one(library: Any, index: int, nonce: bytes) -> UnverifiedEvidence:
    device = ctypes.c_void_p()
    _call(library, "nvmlDeviceGetHandleByIndex_v2", ctypes.c_uint(index), ctypes.byref(device))
    report = _Report()
    ctypes.memmove(report.nonce, nonce, len(nonce))
    _call(library, "nvmlDeviceGetConfComputeGpuAttestationReport", device, ctypes.byref(report))
    certificate = _Certificate()
    _call(library, "nvmlDeviceGetConfComputeGpuCertificate", device, ctypes.byref(certificate))
    signed = _take(report.attestationReport, report.attestationReportSize, "report")
    chain = _take(certificate.attestationCertChain, certificate.attestationCertChainSize, "certificate chain")
    return UnverifiedEvidence("nvidia-gpu", signed, tuple(_read_chain(chain)))


def _call(library: Any, name: str, *arguments: Any) -> None:
    function = getattr(library, name, None)
    if function is None:
        raise _AbsentError
    code = function(*arguments)
    if code in _ABSENT:
        raise _AbsentError
    if code != _SUCCESS:
        raise _failed(f"{name} returned {code}")


def _take(buffer: Any, size: int, what: str) -> bytes:
    if not 0 < size <= len(buffer):
        raise _failed(f"the {what} has {size} bytes, 1 to {len(buffer)} are possible")
    return bytes(buffer[:size])


def _read_chain(pem: bytes) -> Iterator[bytes]:
    try:
        found = x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise _failed("the certificate chain is not PEM") from error
    if len(found) > MAX_CERTIFICATES:
        raise _failed(f"there are {len(found)} certificates, {MAX_CERTIFICATES} are allowed")
    return (item.public_bytes(Encoding.DER) for item in found)


def _failed(why: str) -> UnavailableError:
    return UnavailableError(Reason.EVIDENCE_MISSING, f"the GPU gives no evidence: {why}")
