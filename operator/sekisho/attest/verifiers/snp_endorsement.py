"""What AMD's certificates say of a chip: "Versioned Chip Endorsement Key Certificate and KDS Interface" (AMD 57230)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

from sekisho.attest.certificates import MAX_HELD, Certificate
from sekisho.attest.verifiers.snp_report import CHIP_ID_BYTES
from sekisho.errors import Reason, RefusedError

TURIN: Final = "Turin"
PRODUCTS: Final = ("Milan", "Genoa", TURIN)
TURIN_ID_BYTES: Final = 8
_OID: Final = "1.3.6.1.4.1.3704.1."
_COMPONENT_OIDS: Final[Mapping[str, str]] = {
    "bootloader": "3.1",
    "tee": "3.2",
    "snp": "3.3",
    "microcode": "3.8",
    "fmc": "3.9",
}
_RESERVED_OIDS: Final = ("3.4", "3.5", "3.6", "3.7")
_STRUCT_VERSIONS: Final = (0, 1)
_INTEGER, _OCTETS, _TEXT = 0x02, 0x04, 0x16
# Where each component stands in the 8 bytes of a TCB_VERSION; the others are reserved.
_LAYOUT: Final[Mapping[str, int]] = {"bootloader": 0, "tee": 1, "snp": 6, "microcode": 7}
_LAYOUT_TURIN: Final[Mapping[str, int]] = {"fmc": 0, "bootloader": 1, "tee": 2, "snp": 3, "microcode": 7}


@dataclass(frozen=True, slots=True)
class Endorsement:
    """What the certificate of a signing key says.

    Attributes:
        kind: "vcek" or "vlek".
        product: "Milan", "Genoa" or "Turin".
        tcb: Security versions by component, sorted by name.
        hardware_id: Of the chip, 64 bytes, 8 for Turin; empty for a VLEK, which is loaded into many chips.
        csp_id: Whom a VLEK was given to; empty for a VCEK.
        key: What reports are signed with.
    """

    kind: str
    product: str
    tcb: tuple[tuple[str, int], ...]
    hardware_id: bytes
    csp_id: str
    key: EllipticCurvePublicKey = field(repr=False)


@lru_cache(MAX_HELD)
def parse_endorsement(leaf: Certificate) -> Endorsement:
    """Read what AMD certified; the certificate itself is not verified here.

    Raises:
        RefusedError: EvidenceInvalid; not a VCEK or VLEK, of an unknown product, or without what it must say.
    """
    kind = {"SEV-VCEK": "vcek", "SEV-VLEK": "vlek"}.get(leaf.common_name())
    if kind is None:
        raise _invalid(leaf, "is neither SEV-VCEK nor SEV-VLEK")
    if _integer(leaf, "1") not in _STRUCT_VERSIONS:
        raise _invalid(leaf, f"has structure version {_integer(leaf, '1')}; 0 and 1 are known")
    product = _text(leaf, "2").partition("-")[0]
    issuer = f"SEV-{product}" if kind == "vcek" else f"SEV-VLEK-{product}"
    if product not in PRODUCTS or leaf.issuer_common_name() != issuer:
        raise _invalid(leaf, f'is for product "{product}" and issued by "{leaf.issuer_common_name()}"')
    if not isinstance(leaf.key, EllipticCurvePublicKey) or leaf.key.curve.name != "secp384r1":
        raise _invalid(leaf, "has no key on P-384")
    return Endorsement(kind, product, _parse_tcb(leaf, product), *_parse_owner(leaf, kind, product), leaf.key)


@lru_cache(MAX_HELD)
def decode_tcb(data: bytes, product: str) -> tuple[tuple[str, int], ...]:
    """Read the 8 bytes of a TCB_VERSION by the layout of a product.

    Raises:
        RefusedError: EvidenceInvalid; a reserved byte is not zero.
    """
    layout = _layout(product)
    if any(value for index, value in enumerate(data) if index not in layout.values()):
        raise RefusedError(
            Reason.EVIDENCE_INVALID,
            f"the SNP report has TCB {data.hex()}, where reserved bytes of {product} are not zero",
        )
    return tuple(sorted((name, data[index]) for name, index in layout.items()))


def encode_tcb(tcb: tuple[tuple[str, int], ...], product: str) -> bytes:
    """Spell security versions as the 8 bytes that a report of the product has."""
    versions = {index: dict(tcb)[name] for name, index in _layout(product).items()}
    return bytes(versions.get(index, 0) for index in range(8))


def name_vcek(hardware_id: bytes, tcb: bytes) -> str:
    """Name a VCEK by what it belongs to: the chip, padded to 64 bytes, and the 8 bytes of the reported TCB, as hex."""
    return f"{hardware_id.ljust(CHIP_ID_BYTES, bytes(1)).hex()}-{tcb.hex()}"


def name_endorsement(endorsement: Endorsement) -> str:
    """Name a VCEK by what it says of itself; the same name as its reports have."""
    return name_vcek(endorsement.hardware_id, encode_tcb(endorsement.tcb, endorsement.product))


def _layout(product: str) -> Mapping[str, int]:
    return _LAYOUT_TURIN if product == TURIN else _LAYOUT


def _parse_tcb(leaf: Certificate, product: str) -> tuple[tuple[str, int], ...]:
    for oid in _RESERVED_OIDS:
        if leaf.extension(_OID + oid) is not None and _integer(leaf, oid) != 0:
            raise _invalid(leaf, f"has a security version {_OID}{oid} that is reserved")
    layout = _layout(product)
    if "fmc" not in layout and leaf.extension(_OID + _COMPONENT_OIDS["fmc"]) is not None:
        raise _invalid(leaf, f"has a security version fmc, which {product} has not")
    return tuple(sorted((name, _integer(leaf, _COMPONENT_OIDS[name])) for name in layout))


def _parse_owner(leaf: Certificate, kind: str, product: str) -> tuple[bytes, str]:
    if kind == "vlek":
        if leaf.extension(_OID + "4") is not None:
            raise _invalid(leaf, "names a chip, which a VLEK must not")
        return b"", _text(leaf, "5")
    if leaf.extension(_OID + "5") is not None:
        raise _invalid(leaf, "names a provider, which a VCEK must not")
    value, size = _value(leaf, "4"), TURIN_ID_BYTES if product == TURIN else CHIP_ID_BYTES
    if len(value) != size:  # older certificates carry the bytes as they are, newer ones as an OCTET STRING
        value = _unwrap(leaf, "4", _OCTETS)
    if len(value) != size or not any(value):
        raise _invalid(leaf, f"names no chip by {size} bytes")
    return value, ""


def _integer(leaf: Certificate, oid: str) -> int:
    value = _unwrap(leaf, oid, _INTEGER)
    number = int.from_bytes(value, "big", signed=True) if 1 <= len(value) <= 2 else -1
    if not 0 <= number <= 255 or (len(value) == 2 and number < 128):
        raise _invalid(leaf, f"has a security version {_OID}{oid} that is no INTEGER from 0 to 255")
    return number


def _text(leaf: Certificate, oid: str) -> str:
    value = _unwrap(leaf, oid, _TEXT)
    if not value or not value.isascii() or not value.decode("ascii").isprintable():
        raise _invalid(leaf, f"has an extension {_OID}{oid} that is no printable text")
    return value.decode("ascii")


def _unwrap(leaf: Certificate, oid: str, tag: int) -> bytes:
    """Take the content out of one short DER element."""
    value = _value(leaf, oid)
    if len(value) < 2 or value[0] != tag or value[1] > 127 or value[1] != len(value) - 2:
        raise _invalid(leaf, f"has an extension {_OID}{oid} that is not of its type")
    return value[2:]


def _value(leaf: Certificate, oid: str) -> bytes:
    value = leaf.extension(_OID + oid)
    if value is None:
        raise _invalid(leaf, f"lacks the extension {_OID}{oid}")
    return value


def _invalid(leaf: Certificate, what: str) -> RefusedError:
    return RefusedError(Reason.EVIDENCE_INVALID, f"the certificate of {leaf.who} {what}")
