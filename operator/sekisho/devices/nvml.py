"""Evidence of NVIDIA GPUs in confidential mode, from the driver's library; structures as its nvml.h declares them."""

import ctypes
import logging
from typing import Any, Final

from sekisho.attest.evidence import UnverifiedEvidence
from sekisho.devices.asking import (
    MAX_DEVICES,
    TOTAL_SECONDS,
    AbsentError,
    ask_bounded,
    failed,
    read_chain,
    take_bytes,
)

LIBRARY: Final = "libnvidia-ml.so.1"
_WHAT: Final = "GPU"
_LOG: Final = logging.getLogger(__name__)
_SUCCESS, _NOT_SUPPORTED, _NO_DRIVER, _NO_DEVICE, _NO_FUNCTION = 0, 3, 9, 6, 13
_ABSENT: Final = frozenset({_NOT_SUPPORTED, _NO_DRIVER, _NO_DEVICE, _NO_FUNCTION})


class _State(ctypes.Structure):
    _fields_ = (("environment", ctypes.c_uint), ("ccFeature", ctypes.c_uint), ("devToolsMode", ctypes.c_uint))


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


def read_gpus(
    nonce: bytes, *, library: str = LIBRARY, seconds: float = TOTAL_SECONDS
) -> tuple[UnverifiedEvidence, ...]:
    """Return a report of each GPU over one nonce of 32 bytes; of none where one of them gives no evidence.

    None are there where there is no driver, no GPU, one that is not in confidential mode, or where the driver says that
    its memory is open to developers' tools.

    Raises:
        UnavailableError: EvidenceMissing; the driver is there and fails, or does not answer in time.
    """
    try:
        loaded = ctypes.CDLL(library)
    except OSError:
        return ()
    return ask_bounded(lambda: _read_all(loaded, nonce), (), seconds=seconds, what=_WHAT)


def _read_all(library: Any, nonce: bytes) -> tuple[UnverifiedEvidence, ...]:
    _call(library, "nvmlInit_v2")
    try:
        _check_state(library)
        count = ctypes.c_uint()
        _call(library, "nvmlDeviceGetCount_v2", ctypes.byref(count))
        if count.value > MAX_DEVICES:
            raise failed(_WHAT, f"there are {count.value} GPUs, {MAX_DEVICES} are allowed")
        return tuple(_read_one(library, index, nonce) for index in range(count.value))
    finally:
        library.nvmlShutdown()


def _check_state(library: Any) -> None:
    """Leave GPUs alone that are open to developers' tools: what they sign is genuine, and protects nothing.

    The reports differ too, but only reference manifests tell; a driver that knows no such state says nothing here.
    """
    state = _State()
    try:
        _call(library, "nvmlSystemGetConfComputeState", ctypes.byref(state))
    except AbsentError:
        return
    if state.devToolsMode:
        _LOG.warning("the GPUs are in the mode for developers' tools, and give no evidence that would count")
        raise AbsentError


def _read_one(library: Any, index: int, nonce: bytes) -> UnverifiedEvidence:
    device = ctypes.c_void_p()
    _call(library, "nvmlDeviceGetHandleByIndex_v2", ctypes.c_uint(index), ctypes.byref(device))
    report = _Report()
    ctypes.memmove(report.nonce, nonce, len(report.nonce))
    _call(library, "nvmlDeviceGetConfComputeGpuAttestationReport", device, ctypes.byref(report))
    certificate = _Certificate()
    _call(library, "nvmlDeviceGetConfComputeGpuCertificate", device, ctypes.byref(certificate))
    signed = take_bytes(report.attestationReport, report.attestationReportSize, what=_WHAT, part="report")
    chain = take_bytes(
        certificate.attestationCertChain, certificate.attestationCertChainSize, what=_WHAT, part="certificate chain"
    )
    return UnverifiedEvidence("nvidia-gpu", signed, read_chain(chain, what=_WHAT))


def _call(library: Any, name: str, *arguments: Any) -> None:
    function = getattr(library, name, None)
    if function is None:
        raise AbsentError
    code = function(*arguments)
    if code in _ABSENT:
        raise AbsentError
    if code != _SUCCESS:
        raise failed(_WHAT, f"{name} returned {code}")
