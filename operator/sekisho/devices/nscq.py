"""Evidence of NVSwitches, from NVIDIA's library NSCQ; types as its nscq_attestation.h declares them, version 2.

The library tells by calling back, once for each switch, with the name of the switch, a code, and the answer by value.
"""

import ctypes
from collections.abc import Callable, Sequence
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

LIBRARIES: Final = ("libnvidia-nscq.so.2", "libnvidia-nscq.so.1")
_WHAT: Final = "NVSwitch"
_MOUNT_DEVICES: Final = 1
_REPORTS: Final = b"/{nvswitch}/config/attestation_report"
_CERTIFICATES: Final = b"/{nvswitch}/config/certificate"
# Not implemented, nothing to be mounted, no driver that is supported, no driver.
_ABSENT: Final = frozenset({-1, -3, -6, -7})


class _Session(ctypes.Structure):
    _fields_ = (("rc", ctypes.c_int8), ("session", ctypes.c_void_p))


class _Uuid(ctypes.Structure):
    _fields_ = (("bytes", ctypes.c_uint8 * 16),)


class _Report(ctypes.Structure):
    _fields_ = (("size", ctypes.c_uint32), ("data", ctypes.c_uint8 * 0x2000))


class _Certificate(ctypes.Structure):
    _fields_ = (("data", ctypes.c_uint8 * 0x1400), ("size", ctypes.c_uint32))


def read_switches(
    nonce: bytes, *, libraries: Sequence[str] = LIBRARIES, seconds: float = TOTAL_SECONDS
) -> tuple[UnverifiedEvidence, ...]:
    """Return a report of each NVSwitch over one nonce of 32 bytes, by their names; none where there are none.

    Raises:
        UnavailableError: EvidenceMissing; the driver is there and fails, or does not answer in time.
    """
    loaded = next(filter(None, map(_load, libraries)), None)
    if loaded is None:
        return ()
    return ask_bounded(lambda: _read_all(loaded, nonce), (), seconds=seconds, what=_WHAT)


def _load(library: str) -> Any:
    try:
        return ctypes.CDLL(library)
    except OSError:
        return None


def _read_all(library: Any, nonce: bytes) -> tuple[UnverifiedEvidence, ...]:
    create = _find(library, "nscq_session_create", restype=_Session)
    opened = create(ctypes.c_uint32(_MOUNT_DEVICES))
    _check(opened.rc, "nscq_session_create")
    session = ctypes.c_void_p(opened.session)
    try:
        data = (ctypes.c_uint8 * len(nonce))(*nonce)
        set_input = _find(library, "nscq_session_set_input", restype=ctypes.c_int8)
        _check(set_input(session, ctypes.c_uint32(0), data, ctypes.c_uint32(len(nonce))), "nscq_session_set_input")
        reports = _observe(library, session, _REPORTS, _Report)
        chains = _observe(library, session, _CERTIFICATES, _Certificate)
    finally:
        _find(library, "nscq_session_destroy", restype=None)(session)
    if set(reports) != set(chains):
        raise failed(_WHAT, f"{len(reports)} switches gave a report, {len(chains)} a certificate chain")
    return tuple(
        UnverifiedEvidence("nvidia-switch", reports[name], read_chain(chains[name], what=_WHAT))
        for name in sorted(reports)
    )


def _observe(library: Any, session: Any, path: bytes, kind: type[Any]) -> dict[bytes, bytes]:
    """Ask every switch for one thing; by the switch's name."""
    told: dict[bytes, bytes] = {}
    problems: list[str] = []
    part = "report" if kind is _Report else "certificate chain"

    def tell(device: Any, code: int, answer: Any, _data: Any) -> None:
        # An exception would be lost here: the caller is a library in C.
        name = bytes(device.contents.bytes)
        if code < 0:
            problems.append(f"a switch answered {code} when asked for its {part}")
        elif not 0 < answer.size <= len(answer.data):
            problems.append(f"the {part} has {answer.size} bytes, 1 to {len(answer.data)} are possible")
        elif len(told) < MAX_DEVICES:
            told[name] = take_bytes(answer.data, answer.size, what=_WHAT, part=part)
        else:
            problems.append(f"there are more than {MAX_DEVICES} switches")

    callback = ctypes.CFUNCTYPE(None, ctypes.POINTER(_Uuid), ctypes.c_int8, kind, ctypes.c_void_p)(tell)
    observe = _find(library, "nscq_session_path_observe", restype=ctypes.c_int8)
    _check(observe(session, ctypes.c_char_p(path), callback, None, ctypes.c_uint32(0)), path.decode())
    if problems:
        raise failed(_WHAT, problems[0])
    return told


def _find(library: Any, name: str, *, restype: Any) -> Callable[..., Any]:
    function = getattr(library, name, None)
    if function is None:
        raise AbsentError
    function.restype = restype
    return function  # type: ignore[no-any-return]  # a function of the library


def _check(code: int, what: str) -> None:
    """Refuse errors; codes above zero are warnings."""
    if code in _ABSENT:
        raise AbsentError
    if code < 0:
        raise failed(_WHAT, f"{what} returned {code}")
