"""Read what a PCK certificate says of its platform: Intel's extension 1.2.840.113741.1.13.1.

Layout: Intel SGX PCK Certificate and Certificate Revocation List Profile Specification, section 1.3.5.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sekisho.errors import Reason, RefusedError

EXTENSION: Final = "1.2.840.113741.1.13.1"
_MAX_BYTES: Final = 4096
_ARC: Final = bytes.fromhex("2a864886f84d010d01")  # 1.2.840.113741.1.13.1
_BOOLEAN: Final = 0x01
_INTEGER: Final = 0x02
_OCTETS: Final = 0x04
_OID: Final = 0x06
_ENUMERATED: Final = 0x0A
_SEQUENCE: Final = 0x30
_KINDS: Final = ("standard", "scalable", "scalable-with-integrity")
_CONFIGURATION: Final = ("dynamic-platform", "cached-keys", "smt-enabled")


@dataclass(frozen=True, slots=True)
class Platform:
    """What Intel certified of a platform.

    Attributes:
        ppid: 16 bytes that name the platform; they stay the same over boots, updates and resets.
        components: The 16 SVNs of which CPUSVN consists.
        pce_svn: Of the provisioning certification enclave.
        pce_id: 2 bytes.
        fmspc: 6 bytes: family, model, stepping, platform, custom SKU; which TCB information applies.
        kind: One of standard, scalable, scalable-with-integrity.
        instance: 16 bytes of a platform with several packages, new after each reset of it; empty where absent.
        configuration: Of such a platform: dynamic-platform, cached-keys, smt-enabled, as far as it was told.
    """

    ppid: bytes
    components: tuple[int, ...]
    pce_svn: int
    pce_id: bytes
    fmspc: bytes
    kind: str
    instance: bytes
    configuration: tuple[tuple[str, bool], ...]


def parse_platform(extension: bytes) -> Platform:
    """Parse the extension's value.

    Raises:
        RefusedError: EvidenceInvalid; something is missing, or spelt otherwise than the profile says.
    """
    if len(extension) > _MAX_BYTES:
        raise _invalid(f"has {len(extension)} bytes, {_MAX_BYTES} allowed")
    values = _take_entries(_take_whole(extension, _SEQUENCE), _ARC)
    tcb = _take_entries(_pick(values, 2, _SEQUENCE), _ARC + b"\x02")
    kind = int.from_bytes(_pick(values, 5, _ENUMERATED), "big")
    if kind >= len(_KINDS):
        raise _invalid(f"says SGX type {kind}")
    return Platform(
        ppid=_take_octets(values, 1, 16),
        components=tuple(_take_number(tcb, index, most=0xFF) for index in range(1, 17)),
        pce_svn=_take_number(tcb, 17, most=0xFFFF),
        pce_id=_take_octets(values, 3, 2),
        fmspc=_take_octets(values, 4, 6),
        kind=_KINDS[kind],
        instance=_take_octets(values, 6, 16) if 6 in values else b"",
        configuration=_take_configuration(values),
    )


_Values = Mapping[int, tuple[int, bytes]]


def _take_configuration(values: _Values) -> tuple[tuple[str, bool], ...]:
    if 7 not in values:
        return ()
    told = _take_entries(_pick(values, 7, _SEQUENCE), _ARC + b"\x07")
    return tuple((name, _take_truth(told, index)) for index, name in enumerate(_CONFIGURATION, 1) if index in told)


def _take_entries(sequence: bytes, arc: bytes) -> _Values:
    """Return what a sequence of (object identifier, value) holds, by the last number of the identifier."""
    entries: dict[int, tuple[int, bytes]] = {}
    while sequence:
        tag, entry, sequence = _take(sequence)
        if tag != _SEQUENCE:
            raise _invalid("has an entry that is no sequence")
        tag, name, entry = _take(entry)
        if tag != _OID or name[:-1] != arc or name[-1] in entries:
            raise _invalid("has an entry with an identifier that is not its own, or a second time")
        tag, value, entry = _take(entry)
        if entry:
            raise _invalid("has an entry of more than two parts")
        entries[name[-1]] = (tag, value)
    return entries


def _take_whole(data: bytes, wanted: int) -> bytes:
    tag, value, rest = _take(data)
    if tag != wanted or rest:
        raise _invalid("is not one sequence")
    return value


def _take(data: bytes) -> tuple[int, bytes, bytes]:
    """Take one DER value of definite, shortest length: tag, content, what follows."""
    if len(data) < 2:
        raise _invalid("ends within a value")
    size, start = data[1], 2
    if size & 0x80:
        start += size & 0x7F
        size = int.from_bytes(data[2:start], "big")
        if not 2 < start <= 4 or size < 0x80 or size >> 8 * (start - 3) == 0:
            raise _invalid("has a length that is not DER")
    if len(data) < start + size:
        raise _invalid("ends within a value")
    return data[0], data[start : start + size], data[start + size :]


def _pick(values: _Values, index: int, wanted: int) -> bytes:
    tag, value = values.get(index, (0, b""))
    if tag != wanted or not value:
        raise _invalid(f"has no entry {index} of the type that it must have")
    return value


def _take_octets(values: _Values, index: int, size: int) -> bytes:
    value = _pick(values, index, _OCTETS)
    if len(value) != size:
        raise _invalid(f"has {len(value)} bytes in entry {index}, not {size}")
    return value


def _take_number(values: _Values, index: int, *, most: int) -> int:
    number = int.from_bytes(_pick(values, index, _INTEGER), "big", signed=True)
    if not 0 <= number <= most:
        raise _invalid(f"has {number} in entry {index}, 0 to {most} are possible")
    return number


def _take_truth(values: _Values, index: int) -> bool:
    value = _pick(values, index, _BOOLEAN)
    if value not in (b"\x00", b"\xff"):
        raise _invalid(f"has neither true nor false in entry {index}")
    return value == b"\xff"


def _invalid(what: str) -> RefusedError:
    return RefusedError(Reason.EVIDENCE_INVALID, f"the PCK certificate's extension {what}")
