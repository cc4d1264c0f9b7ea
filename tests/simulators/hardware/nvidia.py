"""GPUs and NVSwitches that sign SPDM measurements under a root of their own."""

import hashlib
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from cryptography import x509

from sekisho.attest.evidence import UnverifiedEvidence
from tests.simulators.hardware.authorities import Holder, build_holder
from tests.simulators.hardware.nitro import raw_signature

FIRMWARE = bytes(range(100, 148))
MEASUREMENTS = tuple(bytes([index]) * 48 for index in range(1, 5))
_SHA384 = x509.ObjectIdentifier("2.16.840.1.101.3.4.2.2")


def encode_der(tag: int, *parts: bytes) -> bytes:
    """Spell DER of a tag and its parts."""
    value = b"".join(parts)
    length = bytes([len(value)]) if len(value) < 128 else b"\x82" + len(value).to_bytes(2, "big")
    return bytes([tag]) + length + value


def encode_identity(*fwids: bytes) -> bytes:
    """Spell the extension that a boot ROM writes: a version and firmware identifiers."""
    oid = bytes.fromhex("0609608648016503040202")
    return encode_der(0x30, b"\x02\x01\x01", *(encode_der(0x30, oid, encode_der(0x04, each)) for each in fwids))


def encode_tcb_info(*fwids: bytes) -> bytes:
    """Spell the same in the form of the standard, as Blackwell has it."""
    oid = bytes.fromhex("0609608648016503040202")
    listed = (encode_der(0x30, oid, encode_der(0x04, each)) for each in fwids)
    head = ((0x80, b"NVIDIA"), (0x81, b"GB100 GSP"), (0x82, b"01"), (0x83, b"\1"), (0x84, b"\0"), (0x85, b"\0"))
    rest = ((0x87, b"\0\x80\0\0\1"), (0x88, b"\xc0"), (0x89, b"\0"))
    return encode_der(
        0x30, *(encode_der(*each) for each in head), encode_der(0xA6, *listed), *(encode_der(*each) for each in rest)
    )


HOPPER_DICE = ("2.23.133.5.4.1", encode_identity)
BLACKWELL_DICE = ("2.23.133.5.4.1.1", encode_tcb_info)


@dataclass(frozen=True, slots=True)
class Maker:
    """Who makes devices: a root and an authority below it.

    Attributes:
        window: `begin` and `end` of everything below the root, where they are not the usual ones.
    """

    root: Holder = field(default_factory=lambda: build_holder("Device Identity CA"))
    window: Mapping[str, datetime] = field(default_factory=dict)

    @classmethod
    def lasting(cls, window: Mapping[str, datetime]) -> "Maker":
        """Return a maker all of whose certificates are valid for as long."""
        return cls(build_holder("Device Identity CA", **window), window)

    def make(
        self, number: int, *, kind: str = "nvidia-gpu", fwids: Sequence[bytes] = (FIRMWARE,), **changes: Any
    ) -> "Device":
        """Make a device with an identity and a key for its firmware."""
        product = "GH100" if kind == "nvidia-gpu" else "LS_10"
        family = build_holder(f"{product} Identity", self.root, **self.window)
        serial = f"{'41' if kind == 'nvidia-gpu' else '50'}{number:016X}"
        identity = build_holder(f"{product} BROM", family, serial=changes.pop("serial", serial), **self.window)
        name = f"NVIDIA:{product}:{number:016X}".encode()
        other = x509.OtherName(x509.ObjectIdentifier("1.3.6.1.4.1.412.274.1"), encode_der(0x0C, name))
        extensions: list[tuple[x509.ExtensionType, bool]] = [(x509.SubjectAlternativeName([other]), False)]
        if fwids:
            oid, encode = changes.pop("dice", HOPPER_DICE)
            told = x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), encode(*fwids))
            extensions.append((told, False))
        options = {"extensions": extensions, "authority": False, **self.window} | changes
        return Device(number, kind, build_holder(f"{product} FMC", identity, **options), (identity, family, self.root))


@dataclass(frozen=True, slots=True)
class Device:
    """One device that answers requests for its measurements."""

    number: int
    kind: str
    leaf: Holder
    above: tuple[Holder, ...]

    @property
    def certificates(self) -> tuple[bytes, ...]:
        return (self.leaf.der, *(each.der for each in self.above))

    def fields(self, **changes: Any) -> dict[int, bytes]:
        """Return the opaque fields of the device; by number, as `f3=…`, they can be changed, or left out by None."""
        if self.kind == "nvidia-gpu":
            fields = {
                3: b"550.90.07\0", 6: bytes.fromhex("009f009601000000"), 11: b"\x55", 15: b"882\0\0", 17: b"1010\0",
                18: b"0200\0", 20: FIRMWARE, 21: b"\x55", 34: b"\1\0", 36: b"\0\0",
            }  # fmt: skip
        else:
            fields = {6: b"96.10.73.00.01", 22: self.number.to_bytes(8, "big"), 23: b"\xec\0", 24: b"\1\0", 25: b"\1\0"}
        for name, value in changes.items():
            fields[int(name[1:])] = value
        return {number: value for number, value in fields.items() if value is not None}

    def report(
        self,
        nonce: bytes,
        *,
        measurements: Sequence[bytes] = MEASUREMENTS,
        fields: Mapping[int, bytes] | None = None,
        tail: bytes = b"",
    ) -> bytes:
        """Return request and answer, signed."""
        blocks = b"".join(
            struct.pack("<BBHBH", index, 1, len(value) + 3, 1, len(value)) + value
            for index, value in enumerate(measurements, 1)
        )
        opaque = b"".join(
            struct.pack("<HH", number, len(value)) + value
            for number, value in (self.fields() if fields is None else fields).items()
        )
        signed = b"".join(
            (
                b"\x11\xe0\x01\xff" + nonce + b"\0",
                b"\x11\x60\x00\x00" + bytes([len(measurements)]) + len(blocks).to_bytes(3, "little") + blocks,
                hashlib.sha256(self.leaf.der + nonce).digest() + len(opaque).to_bytes(2, "little") + opaque,
            )
        )
        return signed + raw_signature(self.leaf.key, signed) + tail

    def evidence(self, nonce: bytes, **options: Any) -> UnverifiedEvidence:
        """Return evidence as it travels."""
        return UnverifiedEvidence(self.kind, self.report(nonce, **options), self.certificates)


def wire(gpus: Sequence[Device], switches: Sequence[Device]) -> tuple[dict[int, Any], dict[int, Any]]:
    """Return the opaque fields by which all GPUs see all switches and the other way round: `f22` and `f26`."""
    seen = b"".join(each.number.to_bytes(8, "little") for each in switches)
    ports = b"".join(each.number.to_bytes(8, "big") for each in gpus).ljust(64, b"\0") + bytes(64)
    return {22: seen + bytes(8)}, {26: ports}
