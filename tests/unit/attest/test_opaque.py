"""Opaque fields of devices: each once, within their bytes, and told as text."""

import struct

import pytest
from hypothesis import given, settings

from sekisho.attest.opaque import describe_gpu, describe_switch, parse_fields
from sekisho.errors import Reason, RefusedError
from tests.unit.fuzz import attempt, changed


def spell(*fields: tuple[int, bytes]) -> bytes:
    return b"".join(struct.pack("<HH", number, len(value)) + value for number, value in fields)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\3", "the number of an opaque field of 2 bytes at byte 0 passes the end of 1"),
        (b"\3\0\1", "the length of an opaque field of 2 bytes at byte 2 passes the end of 3"),
        (b"\3\0\2\0x", "opaque field 3 of 2 bytes at byte 4 passes the end of 5"),
        (spell((3, b"a"), (3, b"b")), "opaque field 3 stands twice, or there are more than 64"),
        (spell(*((number, b"") for number in range(65))), "opaque field 64 stands twice, or there are more than 64"),
    ],
)
def test_fields_that_cannot_be_told_apart_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(RefusedError) as caught:
        parse_fields(data)
    assert caught.value.reason is Reason.EVIDENCE_INVALID
    assert message in caught.value.message


@pytest.mark.parametrize("describe", [describe_gpu, describe_switch])
def test_a_list_of_devices_has_whole_names(describe: object) -> None:
    with pytest.raises(RefusedError, match="a list of devices has 9 bytes, not a multiple of 8"):
        describe({22: bytes(9)} if describe is describe_gpu else {26: bytes(9)})  # type: ignore[operator]


@pytest.mark.parametrize(
    ("number", "value", "name", "text"),
    [
        (3, b"550.90.07\0", "driver", "550.90.07"),
        (3, b"\xff\xfe", "driver", "fffe"),
        (3, b"a" * 65, "driver", "61" * 65),
        (3, b"a" * 64, "driver", "a" * 64),
        (3, b"550x\0", "driver", "550x"),
        (34, bytes(8) + b"\1", "opaque-version", "0"),
        (3, b"a\nb", "driver", "610a62"),
        (6, bytes.fromhex("009f009601000000"), "vbios", "96.00.9f.00.01"),
        (6, b"96.10", "vbios", "96.10"),
        (11, b"\x55", "nvdec0", "disabled"),
        (11, b"\x01", "nvdec0", "unknown-01"),
        (21, b"\xaa", "protected-pcie", "enabled"),
        (22, bytes.fromhex("77e911d843b7533a") * 2 + bytes(8), "switches", "3a53b743d811e977"),
        (34, b"\1\0", "opaque-version", "1"),
        (36, b"\0\0", "mode", "SPT"),
        (36, b"\1\0", "mode", "MPT"),
        (36, b"\2\0", "mode", "PPCIE"),
        (36, b"\3\0", "mode", "unknown-0300"),
        (999, b"\1\2", "opaque-999", "0102"),
    ],
)
def test_fields_of_a_gpu_are_told(number: int, value: bytes, name: str, text: str) -> None:
    assert describe_gpu({number: value}) == {name: text}


@pytest.mark.parametrize(
    ("number", "value", "name", "text"),
    [
        (6, b"96.10.73.00.01", "vbios", "96.10.73.00.01"),
        (22, bytes.fromhex("3a53b743d811e977"), "pdi", "3a53b743d811e977"),
        (26, b"b" * 8 + b"a" * 8 + bytes(48) + b"ports", "gpus", f"{'61' * 8},{'62' * 8}"),
        (24, b"\2\0", "position", "2"),
    ],
)
def test_fields_of_a_switch_are_told(number: int, value: bytes, name: str, text: str) -> None:
    assert describe_switch({number: value}) == {name: text}


@pytest.mark.parametrize("describe", [describe_gpu, describe_switch])
def test_what_both_kinds_tell_has_the_numbers_of_the_devices(describe: object) -> None:
    texts = {
        3: "driver", 7: "manufacturer", 15: "chip-sku", 16: "chip-sku-modifier", 17: "project", 18: "project-sku",
        19: "project-sku-modifier", 35: "chip",
    }  # fmt: skip
    hexadecimal = {8: "tamper-detection", 12: "measurement-counts", 14: "board", 20: "fwid"}
    told = describe(dict.fromkeys(texts, b"A1\0") | dict.fromkeys(hexadecimal, b"A1"))  # type: ignore[operator]
    assert told == dict.fromkeys(texts.values(), "A1") | dict.fromkeys(hexadecimal.values(), "4131")


def test_what_a_switch_alone_tells_has_the_numbers_of_switches() -> None:
    assert describe_switch({23: b"A1", 25: b"\1"}) == {"disabled-ports": "4131", "lock": "01"}


@given(changed(spell((3, b"550.90.07\0"), (6, bytes(8)), (22, bytes(16)), (36, b"\0\0"))))
@settings(max_examples=200, deadline=None)
def test_changed_fields_are_read_or_refused(data: bytes) -> None:
    attempt(lambda: describe_gpu(parse_fields(data)))
