"""Read the opaque data that NVIDIA's devices add to their SPDM measurements: numbered fields, turned into text facts.

Numbers and spellings after nvtrust and NVIDIA's attestation SDK. Fields that nobody here knows are kept by their
number, so that a policy may speak of them.
"""

from collections.abc import Callable, Mapping
from typing import Final

from sekisho.attest.spdm import Cursor, refuse

MAX_FIELDS: Final = 64
FWID: Final = 20
DRIVER: Final = 3
VBIOS: Final = 6
_PDI_BYTES: Final = 8
_GPUS_OF_A_SWITCH: Final = 8
_FLAGS: Final[Mapping[int, str]] = {0: "SPT", 1: "MPT", 2: "PPCIE"}
_STATUS: Final[Mapping[bytes, str]] = {b"\xaa": "enabled", b"\x55": "disabled"}
_MAX_TEXT: Final = 64


def parse_fields(opaque: bytes) -> dict[int, bytes]:
    """Split opaque data into its fields by number: two bytes of number, two of length, the value.

    Raises:
        RefusedError: EvidenceInvalid; cut, more than 64 fields, or one that stands twice.
    """
    cursor, fields = Cursor(opaque), dict[int, bytes]()
    while cursor.left():
        number = cursor.number(2, "the number of an opaque field")
        value = cursor.take(cursor.number(2, "the length of an opaque field"), f"opaque field {number}")
        if number in fields or len(fields) == MAX_FIELDS:
            raise refuse(f"opaque field {number} stands twice, or there are more than {MAX_FIELDS}")
        fields[number] = value
    return fields


def describe_gpu(fields: Mapping[int, bytes]) -> dict[str, str]:
    """Spell the fields of a GPU as facts."""
    return _describe(fields, _GPU)


def describe_switch(fields: Mapping[int, bytes]) -> dict[str, str]:
    """Spell the fields of an NVSwitch as facts; some numbers mean other things than at a GPU."""
    return _describe(fields, _SWITCH)


def _describe(fields: Mapping[int, bytes], known: Mapping[int, tuple[str, Callable[[bytes], str]]]) -> dict[str, str]:
    facts: dict[str, str] = {}
    for number, value in fields.items():
        name, spell = known.get(number, (f"opaque-{number}", bytes.hex))
        facts[name] = spell(value)
    return facts


def _text(value: bytes) -> str:
    """Spell text that ends in zero bytes; what is not plain text is spelt as hexadecimal digits."""
    text = value.rstrip(b"\0").decode("ascii", "replace").strip()
    return text if len(text) <= _MAX_TEXT and text.isprintable() and text.isascii() else value.hex()


def _vbios(value: bytes) -> str:
    """Spell a GPU's VBIOS version: four bytes from the last to the first, and the fifth behind them."""
    if len(value) != 8:
        return _text(value)
    return ".".join(f"{byte:02x}" for byte in (*reversed(value[:4]), value[4]))


def _flag(value: bytes) -> str:
    number = int.from_bytes(value, "little")
    return _FLAGS.get(number, f"unknown-{value.hex()}")


def _status(value: bytes) -> str:
    return _STATUS.get(value, f"unknown-{value.hex()}")


def _number(value: bytes) -> str:
    return str(int.from_bytes(value[:8], "little"))


def _own_pdi(value: bytes) -> str:
    return value.hex()


def _switch_pdis(value: bytes) -> str:
    """Spell which switches a GPU's links lead to, each once; a GPU tells them with the last byte first."""
    return _names(value[::-1])


def _gpu_pdis(value: bytes) -> str:
    """Spell which GPUs a switch sees; after eight names its ports follow."""
    return _names(value[: _GPUS_OF_A_SWITCH * _PDI_BYTES])


def _names(value: bytes) -> str:
    if len(value) % _PDI_BYTES:
        raise refuse(f"a list of devices has {len(value)} bytes, not a multiple of {_PDI_BYTES}")
    names = {value[start : start + _PDI_BYTES].hex() for start in range(0, len(value), _PDI_BYTES)}
    return ",".join(sorted(names - {bytes(_PDI_BYTES).hex()}))


_SHARED: Final[Mapping[int, tuple[str, Callable[[bytes], str]]]] = {
    DRIVER: ("driver", _text),
    7: ("manufacturer", _text),
    8: ("tamper-detection", bytes.hex),
    12: ("measurement-counts", bytes.hex),
    14: ("board", bytes.hex),
    15: ("chip-sku", _text),
    16: ("chip-sku-modifier", _text),
    17: ("project", _text),
    18: ("project-sku", _text),
    19: ("project-sku-modifier", _text),
    FWID: ("fwid", bytes.hex),
    21: ("protected-pcie", _status),
    34: ("opaque-version", _number),
    35: ("chip", _text),
    36: ("mode", _flag),
}
_GPU: Final[Mapping[int, tuple[str, Callable[[bytes], str]]]] = {
    **_SHARED,
    VBIOS: ("vbios", _vbios),
    11: ("nvdec0", _status),
    22: ("switches", _switch_pdis),
}
_SWITCH: Final[Mapping[int, tuple[str, Callable[[bytes], str]]]] = {
    **_SHARED,
    VBIOS: ("vbios", _text),
    22: ("pdi", _own_pdi),
    23: ("disabled-ports", bytes.hex),
    24: ("position", _number),
    25: ("lock", bytes.hex),
    26: ("gpus", _gpu_pdis),
}
