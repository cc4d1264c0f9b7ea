"""A chip of AMD's that does not exist: it signs SNP reports of any content, below roots of its own.

Nothing of the product accepts these roots: a test must hand them over as collateral. Chains, names and extensions are
spelt as AMD's key service spells them (VCEK Certificate and KDS Interface Specification, 57230); reports as the SEV-SNP
firmware ABI says (56860, table ATTESTATION_REPORT), versions 2 to 5.

    chip = SimulatedSnp("Genoa")
    evidence = chip.evidence(report_data, vmpl=0, policy=DEBUG_POLICY)
    SnpCollateral(roots=(chip.ark,), intermediates=(chip.ask,), crls=(chip.crl(),))
"""

import datetime as dt
import functools
import hashlib
import struct
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import NameOID

from sekisho.attest.evidence import UnverifiedEvidence

Product = Literal["Milan", "Genoa", "Turin"]
Signer = Literal["vcek", "vlek"]

REPORT_BYTES: Final = 0x4A0
SIGNED_BYTES: Final = 0x2A0
PLAIN_POLICY: Final = 0x30000
DEBUG_POLICY: Final = PLAIN_POLICY | 1 << 19
MIGRATABLE_POLICY: Final = PLAIN_POLICY | 1 << 18
BEGAN: Final = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
ENDS: Final = dt.datetime(2045, 1, 1, tzinfo=dt.UTC)
VCEK_BEGAN: Final = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
VCEK_ENDS: Final = dt.datetime(2031, 1, 1, tzinfo=dt.UTC)
CPUIDS: Final[dict[Product, tuple[int, int, int]]] = {
    "Milan": (0x19, 0x01, 1), "Genoa": (0x19, 0x11, 1), "Turin": (0x1A, 0x02, 1),
}  # fmt: skip
_OID = "1.3.6.1.4.1.3704.1"
# Of the certificate table that firmware hands to guests (GHCB specification, SNP extended guest request).
_TABLE: Final = {
    "vcek": "63da758d-e664-4564-adc5-f4b93be8accd",
    "vlek": "a8074bc2-a25a-483e-aae6-39c045a0b8a1",
    "ask": "4ab7b379-bbac-4fe4-a02f-05aef327c782",
    "ark": "c0b406a4-a803-4952-9743-3fb6014cd0ae",
}


@dataclass(frozen=True, slots=True)
class Tcb:
    """Security versions of one chip."""

    bootloader: int = 4
    tee: int = 1
    snp: int = 23
    microcode: int = 213
    fmc: int = 2

    def pack(self, product: Product) -> bytes:
        """Spell the eight bytes of a TCB_VERSION; Turin has another order, and one component more."""
        if product == "Turin":
            return bytes((self.fmc, self.bootloader, self.tee, self.snp, 0, 0, 0, self.microcode))
        return bytes((self.bootloader, self.tee, 0, 0, 0, 0, self.snp, self.microcode))


@functools.cache
def make_authority_key(role: str) -> rsa.RSAPrivateKey:
    """Make the 4096-bit key of "ark", "ask" or "asvk" once a process: it takes seconds."""
    del role
    return rsa.generate_private_key(65537, 4096)


_AUTHORITIES: Final[dict[tuple[str, str, str], bytes]] = {}


@dataclass
class SimulatedSnp:
    """One chip, with the authorities above it.

    Attributes:
        product: Which family.
        tcb: What the chip's VCEK is made for, and what reports say unless told otherwise.
        world: Chips of one world share their authorities; another world has other ones, called the same.
        seed: Another seed is another chip.
    """

    product: Product = "Milan"
    tcb: Tcb = Tcb()
    world: str = "first"
    seed: int = 0
    _key: ec.EllipticCurvePrivateKey = field(init=False, repr=False)
    _issued: dict[tuple[Any, ...], bytes] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP384R1())

    @property
    def chip_id(self) -> bytes:
        """Return the 64 bytes that reports carry; of Turin only eight are not zero."""
        chip = hashlib.sha512(f"{self.product} {self.world} {self.seed}".encode()).digest()
        return chip[:8] + bytes(56) if self.product == "Turin" else chip

    @property
    def ark(self) -> bytes:
        """Return the root, DER."""
        name = f"ARK-{self.product}"
        return self._authority(name, "ark", issuer=name, by="ark", serial=0x10000)

    @property
    def ask(self) -> bytes:
        """Return the intermediate that signs VCEKs, DER."""
        return self._authority(f"SEV-{self.product}", "ask", issuer=f"ARK-{self.product}", by="ark", serial=0x10001)

    @property
    def asvk(self) -> bytes:
        """Return the intermediate that signs VLEKs, DER."""
        name = f"SEV-VLEK-{self.product}"
        return self._authority(name, "asvk", issuer=f"ARK-{self.product}", by="ark", serial=0x10101)

    def vcek(self, *, tcb: Tcb | None = None, chip_id: bytes | None = None, **window: dt.datetime) -> bytes:
        """Return the certificate of the chip's key for a TCB, DER."""
        hwid = self.chip_id if chip_id is None else chip_id
        hwid = hwid[:8] if self.product == "Turin" else hwid
        extensions = [*self._extensions(tcb or self.tcb), (f"{_OID}.4", hwid)]
        return self._leaf("SEV-VCEK", f"SEV-{self.product}", "ask", extensions, **window)

    def vlek(self, *, tcb: Tcb | None = None, csp: str = "example", **window: dt.datetime) -> bytes:
        """Return the certificate of a key that a cloud provider loaded, DER: it names the provider, no chip."""
        extensions = [*self._extensions(tcb or self.tcb), (f"{_OID}.5", _ia5(csp))]
        return self._leaf("SEV-VLEK", f"SEV-VLEK-{self.product}", "asvk", extensions, **window)

    def chain(self, signer: Signer = "vcek", **certificate: Any) -> tuple[bytes, ...]:
        """Return leaf, intermediate and root."""
        if signer == "vlek":
            return self.vlek(**certificate), self.asvk, self.ark
        return self.vcek(**certificate), self.ask, self.ark

    def crl(self, *serials: int, issued_at: dt.datetime = VCEK_BEGAN, next_at: dt.datetime = VCEK_ENDS) -> bytes:
        """Return the root's list of revoked certificates, DER; 0x10001 is the ASK, 0x10101 the ASVK."""
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(_name(f"ARK-{self.product}"))
            .last_update(issued_at)
            .next_update(next_at)
            .add_extension(x509.CRLNumber(1), critical=False)
        )
        for serial in serials:
            revoked = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(issued_at).build()
            builder = builder.add_revoked_certificate(revoked)
        signed = builder.sign(self._authority_key("ark"), hashes.SHA384(), rsa_padding=_pss())
        return signed.public_bytes(serialization.Encoding.DER)

    def report(self, report_data: bytes = b"", *, version: int = 3, signer: Signer = "vcek", **fields: Any) -> bytes:
        """Sign a report.

        Args:
            report_data: Up to 64 bytes, padded with zeros.
            version: 2 to 5 as the ABI knows them; others are written all the same.
            signer: Whose key the report says that it was signed by.
            **fields: Any other field by its name in `_body`, TCBs as `Tcb` or eight bytes.
        """
        return self.sign(self._body(report_data, version, signer, fields))

    def sign(self, body: bytes) -> bytes:
        """Sign the 672 bytes of a report, whatever they say, and return the whole of 1184."""
        r, s = decode_dss_signature(self._key.sign(body, ec.ECDSA(hashes.SHA384())))
        signature = r.to_bytes(72, "little") + s.to_bytes(72, "little")
        return body + signature + bytes(REPORT_BYTES - SIGNED_BYTES - len(signature))

    def evidence(
        self, report_data: bytes = b"", *, signer: Signer = "vcek", certificates: Sequence[bytes] | None = None,
        **fields: Any,
    ) -> UnverifiedEvidence:  # fmt: skip
        """Return a report with its chain as one piece of evidence."""
        chain = self.chain(signer) if certificates is None else tuple(certificates)
        return UnverifiedEvidence("snp", self.report(report_data, signer=signer, **fields), chain)

    def certificate_table(self, signer: Signer = "vcek") -> bytes:
        """Return the chain as the hypervisor hands it to guests: what configfs shows as auxblob."""
        leaf, intermediate, root = self.chain(signer)
        return pack_certificate_table({signer: leaf, "ask": intermediate, "ark": root})

    def _body(self, report_data: bytes, version: int, signer: Signer, fields: dict[str, Any]) -> bytes:
        cpuid = CPUIDS[self.product] if version >= 3 else (0, 0, 0)
        values: dict[str, Any] = {
            "guest_svn": 0, "policy": PLAIN_POLICY, "family_id": bytes(16), "image_id": bytes(16), "vmpl": 0,
            "signature_algo": 1, "current_tcb": self.tcb, "platform_info": 0x25,
            "author_key_en": 0, "mask_chip_key": 0, "signing_key": 1 if signer == "vlek" else 0,
            "measurement": hashlib.sha384(b"a guest's image").digest(), "host_data": bytes(32),
            "id_key_digest": bytes(48), "author_key_digest": bytes(48), "report_id": hashlib.sha256(b"guest").digest(),
            "report_id_ma": b"\xff" * 32, "reported_tcb": self.tcb, "cpuid": cpuid, "chip_id": self.chip_id,
            "committed_tcb": self.tcb, "current_version": (40, 55, 1), "committed_version": (40, 55, 1),
            "launch_tcb": self.tcb, "launch_mit_vector": 0, "current_mit_vector": 0,
        }  # fmt: skip
        if unknown := set(fields) - set(values):
            raise ValueError(f"a report has no field {', '.join(sorted(unknown))}")
        values |= fields
        flags = values["author_key_en"] | values["mask_chip_key"] << 1 | values["signing_key"] << 2
        tcb = {name: self._tcb(values[name]) for name in ("current_tcb", "reported_tcb", "committed_tcb", "launch_tcb")}
        mitigations = (values["launch_mit_vector"], values["current_mit_vector"]) if version >= 5 else (0, 0)
        body = b"".join((
            struct.pack("<IIQ", version, values["guest_svn"], values["policy"]),
            values["family_id"], values["image_id"], struct.pack("<II", values["vmpl"], values["signature_algo"]),
            tcb["current_tcb"], struct.pack("<QII", values["platform_info"], flags, 0), report_data.ljust(64, b"\0"),
            values["measurement"], values["host_data"], values["id_key_digest"], values["author_key_digest"],
            values["report_id"], values["report_id_ma"], tcb["reported_tcb"], bytes(values["cpuid"]), bytes(21),
            values["chip_id"], tcb["committed_tcb"], bytes(values["current_version"]), b"\0",
            bytes(values["committed_version"]), b"\0", tcb["launch_tcb"], struct.pack("<QQ", *mitigations),
        ))  # fmt: skip
        return body.ljust(SIGNED_BYTES, b"\0")

    def _tcb(self, value: Tcb | bytes) -> bytes:
        return value.pack(self.product) if isinstance(value, Tcb) else value

    def _extensions(self, tcb: Tcb) -> list[tuple[str, bytes]]:
        turin = self.product == "Turin"
        name = self.product if turin else f"{self.product}-B0"
        numbers = {1: tcb.bootloader, 2: tcb.tee, 3: tcb.snp, 5: 0, 6: 0, 7: 0, 8: tcb.microcode}
        numbers |= {9: tcb.fmc} if turin else {4: 0}
        parts = [(f"{_OID}.3.{number}", _integer(value)) for number, value in sorted(numbers.items())]
        return [(f"{_OID}.1", _integer(1 if turin else 0)), (f"{_OID}.2", _ia5(name)), *parts]

    def _authority_key(self, role: str) -> rsa.RSAPrivateKey:
        return make_authority_key(f"{role} of {self.world}")

    def _authority(self, name: str, role: str, *, issuer: str, by: str, serial: int) -> bytes:
        """Issue a certificate once a world: as in the real one, all chips of a product have the same above them."""
        what = (self.product, self.world, role)
        if what not in _AUTHORITIES:
            _AUTHORITIES[what] = self._make_authority(name, role, issuer, by, serial)
        return _AUTHORITIES[what]

    def _make_authority(self, name: str, role: str, issuer: str, by: str, serial: int) -> bytes:
        key = self._authority_key(role).public_key()
        usage = x509.KeyUsage(False, False, False, False, False, True, role == "ark", False, False)
        above = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._authority_key(by).public_key())
        builder = (
            _builder(name, issuer, serial, BEGAN, ENDS)
            .public_key(key)
            .add_extension(x509.BasicConstraints(True, None if role == "ark" else 0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(above, critical=False)
        )
        return self._signed(builder, by)

    def _leaf(
        self, name: str, issuer: str, by: str, extensions: Sequence[tuple[str, bytes]], *,
        began: dt.datetime = VCEK_BEGAN, ends: dt.datetime = VCEK_ENDS,
    ) -> bytes:  # fmt: skip
        builder = _builder(name, issuer, 1, began, ends).public_key(self._key.public_key())
        for oid, value in extensions:
            extension = x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), value)
            builder = builder.add_extension(extension, critical=False)
        return self._once((name, tuple(extensions), began, ends), lambda: self._signed(builder, by))

    def _once(self, what: tuple[Any, ...], make: Callable[[], bytes]) -> bytes:
        """Issue a certificate once: signatures are random, and a chip has one certificate of a kind."""
        if what not in self._issued:
            self._issued[what] = make()
        return self._issued[what]

    def _signed(self, builder: x509.CertificateBuilder, by: str) -> bytes:
        signed = builder.sign(self._authority_key(by), hashes.SHA384(), rsa_padding=_pss())
        return signed.public_bytes(serialization.Encoding.DER)


def pack_certificate_table(entries: dict[str, bytes]) -> bytes:
    """Spell a certificate table: headers of 24 bytes, an empty one, then the certificates; keys as in `_TABLE`."""
    offset, headers, blobs = 24 * (len(entries) + 1), b"", b""
    for name, data in entries.items():
        headers += uuid.UUID(_TABLE[name]).bytes + struct.pack("<II", offset + len(blobs), len(data))
        blobs += data
    return headers + bytes(24) + blobs


def _builder(name: str, issuer: str, serial: int, began: dt.datetime, ends: dt.datetime) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(_name(name)).issuer_name(_name(issuer)).serial_number(serial)
        .not_valid_before(began).not_valid_after(ends)
    )  # fmt: skip


def _name(common: str) -> x509.Name:
    parts = {
        NameOID.ORGANIZATIONAL_UNIT_NAME: "Engineering", NameOID.COUNTRY_NAME: "US",
        NameOID.LOCALITY_NAME: "Santa Clara", NameOID.STATE_OR_PROVINCE_NAME: "CA",
        NameOID.ORGANIZATION_NAME: "Advanced Micro Devices", NameOID.COMMON_NAME: common,
    }  # fmt: skip
    return x509.Name([x509.NameAttribute(oid, text) for oid, text in parts.items()])


def _pss() -> padding.PSS:
    return padding.PSS(padding.MGF1(hashes.SHA384()), salt_length=48)


def _integer(value: int) -> bytes:
    data = value.to_bytes(value.bit_length() // 8 + 1, "big")
    return bytes((2, len(data))) + data


def _ia5(text: str) -> bytes:
    return bytes((0x16, len(text))) + text.encode("ascii")
