"""Event logs of measured boot and their replay: what registers must hold if a log tells the whole truth.

A log is worth nothing by itself: whoever sends it may write what he likes. Only when its replay gives the registers
that hardware signed are its digests true; an event's data are true only as far as its digest covers them.

Formats: the crypto-agile log of the TCG PC Client Platform Firmware Profile (TPM boot logs, CCEL logs of trust domains)
and the JSON log of dstack's guests. Logs that know SHA-1 alone are refused: such registers prove nothing.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sekisho.attest.reader import Reader
from sekisho.errors import Reason, RefusedError

MAX_LOG_BYTES: Final = 512 * 1024
MAX_AREA_BYTES: Final = 4 * 1024 * 1024
MAX_EVENTS: Final = 8192
MAX_ALGORITHMS: Final = 8
MAX_REGISTER: Final = 23
RTMRS: Final = 4
RUNTIME_EVENT: Final = 0x08000001
_KEPT_PADDING: Final = 4096
_NAME: Final = "the event log"
_NO_ACTION: Final = 3
_SIGNATURE: Final = b"Spec ID Event03\0"
_LOCALITY: Final = b"StartupLocality\0"
# Algorithm identifiers of the TPM 2.0 library, and how long their digests are.
_ALGORITHMS: Final = {4: ("sha1", 20), 11: ("sha256", 32), 12: ("sha384", 48), 13: ("sha512", 64), 18: ("sm3", 32)}
_REPLAYED: Final = frozenset({"sha1", "sha256", "sha384", "sha512"})
_DYNAMIC: Final = range(17, 23)  # PCRs of a late launch start with all bits set
_DSTACK_FIELDS: Final = frozenset({"imr", "event_type", "digest", "event", "event_payload"})
_MAX_NAME: Final = 256


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """One event as a log tells it; unverified.

    Attributes:
        register: As the log numbers it: the PCR; in a CCEL log RTMR n is n + 1.
        kind: The TCG's event type.
        digests: By algorithm, named as hashlib names them, in the log's order.
        data: The event's own data.
        name: What a runtime event of dstack is called; its digest covers name and data. Empty for all others.
    """

    register: int
    kind: int
    digests: tuple[tuple[str, bytes], ...]
    data: bytes
    name: str = ""

    def digest(self, algorithm: str) -> bytes | None:
        """Return the digest of an algorithm; None where the log has none."""
        return dict(self.digests).get(algorithm)


def trim_padding(area: bytes) -> bytes:
    """Return a log without the padding that firmware fills its area with, often most of it.

    Some of it stays, for the last event may end in such bytes itself.
    """
    return area[: _find_padding(area) + _KEPT_PADDING]


def _find_padding(area: bytes) -> int:
    """Return where nothing but zeros, or nothing but ones, follows any more."""
    return min(len(area.rstrip(b"\0")), len(area.rstrip(b"\xff")))


def parse_tcg_log(log: bytes) -> tuple[LoggedEvent, ...]:
    """Parse a crypto-agile log of at most 512 KiB; padding of all zeros or all ones may follow it, up to 4 MiB in all.

    Raises:
        RefusedError: EvidenceInvalid, naming the first thing that is not as the profile says.
    """
    if len(log) > MAX_AREA_BYTES:
        raise _invalid(f"has {len(log)} bytes, {MAX_AREA_BYTES} allowed")
    end = _find_padding(log)
    if end > MAX_LOG_BYTES:
        raise _invalid(f"has {end} bytes before its padding, {MAX_LOG_BYTES} allowed")
    reader = Reader(log, _NAME)
    sizes = _read_header(reader)
    events: list[LoggedEvent] = []
    while reader.at < end:
        if len(events) == MAX_EVENTS:
            raise _invalid(f"has more than {MAX_EVENTS} events")
        events.append(_read_event(reader, sizes))
    return tuple(events)


def parse_dstack_log(log: bytes) -> tuple[LoggedEvent, ...]:
    """Parse the JSON log of a dstack guest; registers are numbered as in a CCEL log.

    The digest of a runtime event must be that of its type, name and payload, so these are true once the replay holds.

    Raises:
        RefusedError: EvidenceInvalid.
    """
    if len(log) > MAX_LOG_BYTES:
        raise _invalid(f"has {len(log)} bytes, {MAX_LOG_BYTES} allowed")
    try:
        items = json.loads(log)
    except (ValueError, RecursionError) as error:
        raise _invalid("is not JSON") from error
    if not isinstance(items, list) or len(items) > MAX_EVENTS:
        raise _invalid(f"is not a list of at most {MAX_EVENTS} events")
    return tuple(_take_event(item) for item in items)


def replay_pcrs(events: Sequence[LoggedEvent], algorithm: str) -> dict[int, bytes]:
    """Compute what each register must hold that the log speaks of.

    Args:
        events: As :func:`parse_tcg_log` returns them.
        algorithm: One of sha1, sha256, sha384, sha512.

    Raises:
        RefusedError: EvidenceInvalid; an event lacks a digest of the algorithm, or the algorithm is unknown.
    """
    if algorithm not in _REPLAYED:
        raise _invalid(f"cannot be replayed with {algorithm[:16]}")
    registers: dict[int, bytes] = {}
    size = hashlib.new(algorithm, usedforsecurity=False).digest_size
    for event in events:
        if event.kind == _NO_ACTION:
            _start_at_locality(registers, event, size)
            continue
        digest = event.digest(algorithm)
        if digest is None or len(digest) != size:
            raise _invalid(f"has an event of register {event.register} without a digest by {algorithm}")
        start = b"\xff" * size if event.register in _DYNAMIC else bytes(size)
        extended = registers.get(event.register, start) + digest
        registers[event.register] = hashlib.new(algorithm, extended, usedforsecurity=False).digest()
    return registers


def replay_rtmrs(events: Sequence[LoggedEvent]) -> tuple[tuple[str, bytes], ...]:
    """Compute what rtmr0 to rtmr3 of a trust domain must hold; zeros where the log does not speak of one.

    Raises:
        RefusedError: EvidenceInvalid; an event lacks a SHA-384 digest or belongs to no RTMR.
    """
    for event in events:
        if event.kind != _NO_ACTION and not 1 <= event.register <= RTMRS:
            raise _invalid(f"extends register {event.register}; a trust domain has 1 to {RTMRS}")
    held = replay_pcrs([event for event in events if event.kind != _NO_ACTION], "sha384")
    return tuple((f"rtmr{index}", held.get(index + 1, bytes(48))) for index in range(RTMRS))


def _read_header(reader: Reader) -> dict[int, int]:
    """Read the first record, which has the old format, and return the sizes of digests by algorithm."""
    reader.take(4)  # the register: 0 in TPM logs, 1 in some CCEL logs; nothing is extended
    kind = reader.number(4)
    reader.take(20)
    head = Reader(reader.take(reader.number(4)), f"{_NAME}'s first event")
    if kind != _NO_ACTION or head.take(16) != _SIGNATURE:
        raise _invalid("does not begin with a specification event; logs of SHA-1 alone are not accepted")
    head.take(8)  # platform class, version, errata, size of UINTN: nothing here depends on them
    count = head.number(4)
    if not 1 <= count <= MAX_ALGORITHMS:
        raise _invalid(f"names {count} algorithms, 1 to {MAX_ALGORITHMS} allowed")
    sizes = [(head.number(2), head.number(2)) for _ in range(count)]
    for identifier, size in sizes:
        if size != _ALGORITHMS.get(identifier, ("", size))[1] or not 0 < size <= 64:
            raise _invalid(f"gives algorithm {identifier} digests of {size} bytes")
    return dict(sizes)


def _read_event(reader: Reader, sizes: dict[int, int]) -> LoggedEvent:
    register, kind, count = reader.number(4), reader.number(4), reader.number(4)
    if register > MAX_REGISTER and kind != _NO_ACTION:
        raise _invalid(f"speaks of register {register}, the last is {MAX_REGISTER}")
    if count > len(sizes):
        raise _invalid(f"has an event with {count} digests, {len(sizes)} algorithms were named")
    digests: dict[str, bytes] = {}
    for _ in range(count):
        identifier = reader.number(2)
        if identifier not in sizes:
            raise _invalid(f"uses algorithm {identifier}, which it did not name")
        name = _ALGORITHMS.get(identifier, (f"0x{identifier:04x}", 0))[0]
        if name in digests:
            raise _invalid(f"has an event with two digests by {name}")
        digests[name] = reader.take(sizes[identifier])
    return LoggedEvent(register, kind, tuple(digests.items()), reader.take(reader.number(4)))


def _start_at_locality(registers: dict[int, bytes], event: LoggedEvent, size: int) -> None:
    """Set where PCR 0 starts, if the event says at which locality the TPM was started."""
    if event.register != 0 or not event.data.startswith(_LOCALITY) or len(event.data) != len(_LOCALITY) + 1:
        return
    if 0 in registers:
        raise _invalid("tells the locality of the start after PCR 0 was extended")
    registers[0] = bytes(size - 1) + event.data[-1:]


def _take_event(item: Any) -> LoggedEvent:
    if not isinstance(item, dict) or not _DSTACK_FIELDS.issubset(item):
        raise _invalid(f"has an event that is not an object with {', '.join(sorted(_DSTACK_FIELDS))}")
    register, kind, name = item["imr"], item["event_type"], item["event"]
    if type(register) is not int or not 0 <= register < RTMRS:
        raise _invalid(f"has an event whose imr is not 0 to {RTMRS - 1}")
    if type(kind) is not int or not 0 <= kind < 1 << 32:
        raise _invalid("has an event whose event_type is not a number of 32 bits")
    if not isinstance(name, str) or len(name) > _MAX_NAME:
        raise _invalid(f"has an event whose name is not text of at most {_MAX_NAME} characters")
    digest, payload = _unhex(item["digest"], "digest"), _unhex(item["event_payload"], "event_payload")
    if len(digest) != 48:
        raise _invalid(f"has an event whose digest has {len(digest)} bytes, not 48")
    if kind != RUNTIME_EVENT:
        return LoggedEvent(register + 1, kind, (("sha384", digest),), payload)
    if digest != digest_runtime_event(name, payload):
        raise _invalid(f"has an event {name!r} whose digest is not that of its name and payload")
    return LoggedEvent(register + 1, kind, (("sha384", digest),), payload, name)


def digest_runtime_event(name: str, payload: bytes) -> bytes:
    """Return the SHA-384 digest by which a dstack guest extends RTMR3."""
    parts = (RUNTIME_EVENT.to_bytes(4, "little"), name.encode("utf-8", "surrogatepass"), payload)
    return hashlib.sha384(b":".join(parts)).digest()


def _unhex(value: Any, what: str) -> bytes:
    if not isinstance(value, str) or len(value) % 2 or not set(value) <= set("0123456789abcdefABCDEF"):
        raise _invalid(f"has an event whose {what} is not hexadecimal")
    return bytes.fromhex(value)


def _invalid(what: str) -> RefusedError:
    return RefusedError(Reason.EVIDENCE_INVALID, f"{_NAME} {what}")
