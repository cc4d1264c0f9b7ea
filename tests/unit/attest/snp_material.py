"""Reports and certificates like AMD's, made by the tests' own authorities."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from sekisho.attest.evidence import UnverifiedEvidence
from sekisho.attest.verifiers.snp import SnpCollateral
from tests.unit.attest.authorities import Holder, issue, issue_authority, rsa_key, usage_of

CHIP = bytes(range(1, 65))
TURIN_CHIP = CHIP[:8]
CPUIDS = {"Milan": (0x19, 0x01, 0x01), "Genoa": (0x19, 0x11, 0x01), "Turin": (0x1A, 0x02, 0x01)}
COMPONENTS = {"bootloader": "3.1", "tee": "3.2", "snp": "3.3", "microcode": "3.8", "fmc": "3.9"}
PLACES = {
    "Turin": {"fmc": 0, "bootloader": 1, "tee": 2, "snp": 3, "microcode": 7},
    "Milan": {"bootloader": 0, "tee": 1, "snp": 6, "microcode": 7},
    "Genoa": {"bootloader": 0, "tee": 1, "snp": 6, "microcode": 7},
}
TCB = {"bootloader": 10, "tee": 1, "snp": 24, "microcode": 219, "fmc": 3}
PSS = {"pss": True, "hashed": hashes.SHA384()}


def oid(end: str) -> x509.ObjectIdentifier:
    return x509.ObjectIdentifier(f"1.3.6.1.4.1.3704.1.{end}")


def integer(value: int) -> bytes:
    return b"\x02\x01" + bytes([value]) if value < 128 else b"\x02\x02\0" + bytes([value])


def text(value: str) -> bytes:
    return b"\x16" + bytes([len(value)]) + value.encode()


def versions_of(product: str, **changes: int) -> dict[str, int]:
    return {name: (TCB | changes)[name] for name in PLACES[product]}


def tcb_bytes(product: str, versions: Mapping[str, int]) -> bytes:
    data = bytearray(8)
    for name, version in versions.items():
        data[PLACES[product][name]] = version
    return bytes(data)


@dataclass(frozen=True)
class Platform:
    """A chip with its chain of certificates."""

    product: str
    ark: Holder
    ask: Holder
    leaf: Holder

    def collateral(self, **more: Any) -> SnpCollateral:
        return SnpCollateral(**{"roots": (self.ark.der,)} | more)

    def evidence(self, report: bytes, *certificates: bytes) -> UnverifiedEvidence:
        return UnverifiedEvidence("snp", report, certificates or (self.leaf.der, self.ask.der, self.ark.der))


@functools.cache
def authorities(product: str, kind: str = "vcek") -> tuple[Holder, Holder]:
    ark = issue_authority(f"ARK-{product}", key=rsa_key(), **PSS)
    name = f"SEV-{product}" if kind == "vcek" else f"SEV-VLEK-{product}"
    ask = issue_authority(name, ark, key=rsa_key(2049), length=0, usage=usage_of("key_cert_sign"), **PSS)
    return ark, ask


def certified(product: str, kind: str = "vcek", **changes: int) -> dict[str, bytes]:
    """Return the extensions of a leaf by the end of their number."""
    fields = {"1": integer(int(product == "Turin")), "2": text(f"{product}-B0" if kind == "vcek" else product)}
    fields |= {COMPONENTS[name]: integer(value) for name, value in versions_of(product, **changes).items()}
    chip = TURIN_CHIP if product == "Turin" else CHIP
    return fields | ({"4": chip} if kind == "vcek" else {"5": text("example-cloud")})


def build_leaf(
    product: str = "Milan", kind: str = "vcek", *, fields: Mapping[str, bytes] | None = None, **more: Any
) -> Holder:
    _, ask = authorities(product, kind)
    extensions = [
        (x509.UnrecognizedExtension(oid(end), value), False)
        for end, value in (fields or certified(product, kind)).items()
    ]
    more = {"by": ask, "extensions": extensions, **PSS} | more
    return issue(more.pop("common", f"SEV-{kind.upper()}"), more.pop("by"), **more)


@functools.cache
def build_platform(product: str = "Milan", kind: str = "vcek") -> Platform:
    return Platform(product, *authorities(product, kind), build_leaf(product, kind))


def build_fields(product: str = "Milan", version: int = 3, kind: str = "vcek") -> dict[str, tuple[int, bytes]]:
    """Return the fields of a report: where each stands, and its bytes."""
    chip = TURIN_CHIP.ljust(64, b"\0") if product == "Turin" else CHIP
    current = tcb_bytes(product, versions_of(product, microcode=220))
    return {
        "version": (0x00, version.to_bytes(4, "little")),
        "guest_svn": (0x04, (7).to_bytes(4, "little")),
        "policy": (0x08, (0x3001F).to_bytes(8, "little")),
        "family_id": (0x10, b"F" * 16),
        "image_id": (0x20, b"I" * 16),
        "vmpl": (0x30, bytes(4)),
        "algorithm": (0x34, (1).to_bytes(4, "little")),
        "current_tcb": (0x38, current),
        "platform_info": (0x40, (0x25).to_bytes(8, "little")),
        "flags": (0x48, (0 if kind == "vcek" else 4).to_bytes(4, "little")),
        "report_data": (0x50, b"D" * 64),
        "measurement": (0x90, b"M" * 48),
        "host_data": (0xC0, b"H" * 32),
        "id_key_digest": (0xE0, b"K" * 48),
        "author_key_digest": (0x110, b"A" * 48),
        "report_id": (0x140, b"R" * 32),
        "report_id_ma": (0x160, b"\xff" * 32),
        "reported_tcb": (0x180, tcb_bytes(product, versions_of(product))),
        "cpuid": (0x188, bytes(CPUIDS[product]) if version >= 3 else bytes(3)),
        "chip_id": (0x1A0, chip),
        "committed_tcb": (0x1E0, tcb_bytes(product, versions_of(product))),
        "current_version": (0x1E8, bytes([21, 55, 1])),
        "committed_version": (0x1EC, bytes([20, 55, 1])),
        "launch_tcb": (0x1F0, current),
        "launch_mitigations": (0x1F8, (5 if version >= 5 else 0).to_bytes(8, "little")),
        "current_mitigations": (0x200, (7 if version >= 5 else 0).to_bytes(8, "little")),
    }  # fmt: skip


def sign_report(body: bytes, key: Any, *, algorithm: hashes.HashAlgorithm | None = None) -> bytes:
    """Put a signature under the first 672 bytes of a report."""
    r, s = decode_dss_signature(key.sign(body[:0x2A0], ec.ECDSA(algorithm or hashes.SHA384())))
    return body[:0x2A0] + r.to_bytes(72, "little") + s.to_bytes(72, "little") + bytes(368)


def build_report(platform: Platform | None = None, *, version: int = 3, kind: str = "vcek", **changes: bytes) -> bytes:
    """Build a signed report; `changes` replace whole fields, or set bytes at "at_<hex offset>"."""
    platform = platform or build_platform()
    body = bytearray(0x2A0)
    fields = build_fields(platform.product, version, kind)
    for name, value in changes.items():
        fields[name] = (int(name[3:], 16) if name.startswith("at_") else fields[name][0], value)
    for offset, data in fields.values():
        body[offset : offset + len(data)] = data
    return sign_report(bytes(body), platform.leaf.key)
