"""A platform of Intel's that does not exist: it quotes trust domains and enclaves of any content, below its own root.

Nothing of the product accepts this root: a test must hand it over as collateral. Quotes are spelt as Intel's DCAP
Quoting Library API says (versions 3, 4, 5), certificates as the PCK profile says, statements as version 4 of the
Provisioning Certification Service says.

    platform = SimulatedTdx()
    evidence = platform.evidence(report_data, td_attributes=DEBUG)
    collateral = platform.collateral()
"""

import datetime as dt
import functools
import hashlib
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import NameOID

from sekisho.attest.evidence import UnverifiedEvidence
from sekisho.attest.verifiers.tdx_collateral import Statement, TdxCollateral

BEGAN: Final = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
ENDS: Final = dt.datetime(2045, 1, 1, tzinfo=dt.UTC)
ISSUED: Final = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
AT: Final = dt.datetime(2026, 6, 15, tzinfo=dt.UTC)
NEXT: Final = dt.datetime(2026, 7, 1, tzinfo=dt.UTC)
QE_VENDOR: Final = bytes.fromhex("939a7233f79c4ca9940a0db3957f0607")
DEBUG: Final = (1).to_bytes(8, "little")
PLAIN: Final = (1 << 28).to_bytes(8, "little")
QE_SIGNER: Final = hashlib.sha256(b"signer of quoting enclaves").digest()
ROOT, CA, SIGNER, PCK = (
    "Intel SGX Root CA",
    "Intel SGX PCK Platform CA",
    "Intel SGX TCB Signing",
    "Intel SGX PCK Certificate",
)
CA_SERIAL, SIGNER_SERIAL, PCK_SERIAL = 0x1001, 0x1002, 0x1003
_EXTENSION: Final = "1.2.840.113741.1.13.1"
_ARC: Final = bytes.fromhex("2a864886f84d010d01")


@dataclass(frozen=True)
class SimulatedTdx:
    """One platform, one trust domain or enclave on it, and what Intel states of both.

    Attributes:
        world: Another world has other authorities, called the same.
        body: Of version 5: 1 for an enclave, 2 for TDX 1.0, 3 for TDX 1.5.
        pck_extension: Replaces the extension of the PCK certificate.
        padding: What follows the quote.
    """

    world: str = "first"
    tee: str = "TDX"
    version: int = 4
    body: int = 2
    # The platform, as its PCK certificate says
    ppid: bytes = bytes(range(16))
    components: tuple[int, ...] = (3, 3, 2, 2, 4, 1, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0)
    pce_svn: int = 13
    pce_id: bytes = bytes(2)
    fmspc: bytes = bytes.fromhex("90c06f000000")
    kind: int = 1
    instance: bytes | None = bytes(range(16, 32))
    configuration: tuple[bool, ...] | None = (True, False, True)
    pck_extension: bytes | None = None
    pck_name: str = PCK
    # The trust domain
    tee_tcb_svn: bytes = bytes((6, 1, 3)) + bytes(13)
    mr_seam: bytes = b"\x5e" * 48
    mr_signer_seam: bytes = bytes(48)
    seam_attributes: bytes = bytes(8)
    td_attributes: bytes = PLAIN
    xfam: bytes = bytes.fromhex("e702060000000000")
    mr_td: bytes = b"\x7d" * 48
    mr_config_id: bytes = b"\xc0" * 48
    mr_owner: bytes = b"\x01" * 48
    mr_owner_config: bytes = b"\x02" * 48
    rtmrs: tuple[bytes, ...] = (b"\xa0" * 48, b"\xa1" * 48, b"\xa2" * 48, b"\xa3" * 48)
    report_data: bytes = bytes(range(64))
    tee_tcb_svn2: bytes = bytes((6, 1, 3)) + bytes(13)
    mr_service_td: bytes = bytes(48)
    # The enclave of an SGX quote
    enclave_attributes: bytes = bytes((0x05,)) + bytes(15)
    # The quoting enclave
    qe_attributes: bytes = bytes((0x15,)) + bytes(7) + bytes((0xE7,)) + bytes(7)
    qe_misc: bytes = bytes(4)
    qe_signer: bytes = QE_SIGNER
    qe_product: int = 2
    qe_svn: int = 4
    qe_data: bytes = bytes(range(32))
    # The quote
    key_type: int = 2
    vendor: bytes = QE_VENDOR
    tee_type: int | None = None
    certification: int = 5
    certificates: tuple[bytes, ...] = ()  # in the place of PCK, CA and root
    padding: bytes = b""
    window: tuple[dt.datetime, dt.datetime] = (BEGAN, ENDS)
    # Intel's statements and lists
    statement_window: tuple[dt.datetime, dt.datetime] = (ISSUED, NEXT)
    list_window: tuple[dt.datetime, dt.datetime] = (ISSUED, NEXT)
    signer_name: str = SIGNER
    revoked: tuple[int, ...] = ()
    tcb_changes: Mapping[str, Any] = field(default_factory=dict)
    qe_changes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def root(self) -> bytes:
        """Return the root, DER."""
        return self._certificate(ROOT, "root", ROOT, "root", 1, ca=True)

    @property
    def ca(self) -> bytes:
        """Return the CA for PCK certificates, DER."""
        return self._certificate(CA, "ca", ROOT, "root", CA_SERIAL, ca=True)

    @property
    def signer(self) -> bytes:
        """Return the certificate of who signs statements, DER."""
        return self._certificate(self.signer_name, "signer", ROOT, "root", SIGNER_SERIAL)

    @property
    def pck(self) -> bytes:
        """Return the PCK certificate, DER."""
        extension = self.extension() if self.pck_extension is None else self.pck_extension
        return self._certificate(self.pck_name, "pck", CA, "ca", PCK_SERIAL, extension=extension)

    def evidence(self, report_data: bytes | None = None, **changes: Any) -> UnverifiedEvidence:
        """Return a quote as evidence, with some fields of this platform changed."""
        if report_data is not None:
            changes["report_data"] = report_data
        return UnverifiedEvidence("tdx", replace(self, **changes).quote())

    def collateral(self, **changes: Any) -> TdxCollateral:
        """Return all that this platform's quotes are verified against, with some fields changed."""
        changed = replace(self, **changes)
        return TdxCollateral(
            roots=(changed.root,),
            crls=(changed.crl(ROOT, "root"), changed.crl(CA, "ca")),
            tcb_infos=(changed.state(changed.tcb_info()),),
            qe_identities=(changed.state(changed.qe_identity()),),
        )

    def extension(self) -> bytes:
        """Spell what the PCK certificate says of the platform."""
        components = [entry(b"\x02", index, number(svn)) for index, svn in enumerate(self.components, 1)]
        tcb = [
            *components,
            entry(b"\x02", 17, number(self.pce_svn)),
            entry(b"\x02", 18, octets(bytes(self.components))),
        ]
        entries = [
            entry(b"", 1, octets(self.ppid)),
            entry(b"", 2, tlv(0x30, b"".join(tcb))),
            entry(b"", 3, octets(self.pce_id)),
            entry(b"", 4, octets(self.fmspc)),
            entry(b"", 5, tlv(0x0A, bytes((self.kind,)))),
        ]
        if self.instance is not None:
            entries.append(entry(b"", 6, octets(self.instance)))
        if self.configuration is not None:
            told = [entry(b"\x07", index, truth(value)) for index, value in enumerate(self.configuration, 1)]
            entries.append(entry(b"", 7, tlv(0x30, b"".join(told))))
        return tlv(0x30, b"".join(entries))

    def tcb_info(self) -> dict[str, Any]:
        """Return TCB information that calls this kind of platform up to date."""
        module = {"mrsigner": "00" * 48, "attributes": "00" * 8, "attributesMask": "FF" * 8}
        value: dict[str, Any] = {
            "id": self.tee,
            "version": 3,
            "issueDate": spell(self.statement_window[0]),
            "nextUpdate": spell(self.statement_window[1]),
            "fmspc": "90C06F000000",
            "pceId": "0000",
            "tcbType": 0,
            "tcbEvaluationDataNumber": 17,
        }
        if self.tee == "TDX":
            value["tdxModule"] = module
            value["tdxModuleIdentities"] = [
                {"id": "TDX_03", **module, "tcbLevels": [svn_level(3)]},
                {"id": "TDX_01", **module, "tcbLevels": [svn_level(6), svn_level(4, "OutOfDate", "INTEL-SA-01036")]},
            ]
        value["tcbLevels"] = [
            level((3, 3, 2, 2, 4, 1, 0, 5), 13, (5, 0, 3), tee=self.tee),
            level((2, 2, 2, 2, 3, 1, 0, 5), 13, (5, 0, 2), "OutOfDate", "INTEL-SA-01079", tee=self.tee),
            level(
                (2, 2, 2, 2, 3, 1, 0, 5), 5, (5, 0, 2), "OutOfDate", "INTEL-SA-00837", "INTEL-SA-01079", tee=self.tee
            ),
        ]
        return {**value, **self.tcb_changes}

    def qe_identity(self) -> dict[str, Any]:
        """Return the identity of this platform's quoting enclave."""
        return {
            "id": "TD_QE" if self.tee == "TDX" else "QE",
            "version": 2,
            "issueDate": spell(self.statement_window[0]),
            "nextUpdate": spell(self.statement_window[1]),
            "tcbEvaluationDataNumber": 18,
            "miscselect": "00000000",
            "miscselectMask": "FFFFFFFF",
            "attributes": "11000000000000000000000000000000",
            "attributesMask": "FBFFFFFFFFFFFFFF0000000000000000",
            "mrsigner": QE_SIGNER.hex().upper(),
            "isvprodid": 2,
            "tcbLevels": [svn_level(4), svn_level(2, "OutOfDate", "INTEL-SA-00615")],
            **self.qe_changes,
        }

    def state(self, value: Mapping[str, Any]) -> Statement:
        """Sign a statement."""
        body = json.dumps(value, separators=(",", ":")).encode()
        return Statement(body, sign(f"{self.world} signer", body), (self.signer, self.root))

    def crl(self, name: str, role: str) -> bytes:
        """Return the revocation list of an authority, DER."""
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(named(name))
            .last_update(self.list_window[0])
            .next_update(self.list_window[1])
            .add_extension(x509.CRLNumber(1), critical=False)
            .add_extension(self._authority(role), critical=False)
        )
        for serial in self.revoked:
            item = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(self.list_window[0]).build()
            builder = builder.add_revoked_certificate(item)
        return builder.sign(make_key(f"{self.world} {role}"), hashes.SHA256(), ecdsa_deterministic=True).public_bytes(
            serialization.Encoding.DER
        )

    def quote(self) -> bytes:
        """Spell a quote."""
        signed = self.header() + self.quoted_body()
        key = raw_key(make_key(f"{self.world} attestation"))
        qe_report = self.qe_report(key)
        chain = (
            pem(*(self.certificates or (self.pck, self.ca, self.root))) + b"\0"
            if self.certification == 5
            else b"\x11" * 404
        )
        certificates = struct.pack("<HI", self.certification, len(chain)) + chain
        qe = qe_report + sign(f"{self.world} pck", qe_report)
        qe += struct.pack("<H", len(self.qe_data)) + self.qe_data + certificates
        if self.version > 3:
            qe = struct.pack("<HI", 6, len(qe)) + qe
        data = sign(f"{self.world} attestation", signed) + key + qe
        return signed + struct.pack("<I", len(data)) + data + self.padding

    def header(self) -> bytes:
        """Spell the header, 48 bytes."""
        tee = self.tee_type if self.tee_type is not None else {"SGX": 0, "TDX": 0x81}[self.tee]
        return struct.pack("<HHII", self.version, self.key_type, tee, 0) + self.vendor + bytes(20)

    def quoted_body(self) -> bytes:
        """Spell the report of the trust domain or enclave, in version 5 with what describes it."""
        if self.tee == "SGX":
            report = enclave(self.enclave_attributes, bytes(4), b"\x51" * 32, (7, 9), self.report_data)
        else:
            report = self._domain(extended=self.version == 5 and self.body == 3)
        if self.version < 5:
            return report
        return struct.pack("<HI", self.body if self.tee == "TDX" else 1, len(report)) + report

    def qe_report(self, key: bytes) -> bytes:
        """Spell the report of the quoting enclave, 384 bytes."""
        made = hashlib.sha256(key + self.qe_data).digest() + bytes(32)
        return enclave(self.qe_attributes, self.qe_misc, self.qe_signer, (self.qe_product, self.qe_svn), made)

    def _domain(self, *, extended: bool) -> bytes:
        parts = [
            self.tee_tcb_svn, self.mr_seam, self.mr_signer_seam, self.seam_attributes, self.td_attributes, self.xfam,
            self.mr_td, self.mr_config_id, self.mr_owner, self.mr_owner_config, *self.rtmrs, self.report_data,
        ]  # fmt: skip
        return b"".join(parts + [self.tee_tcb_svn2, self.mr_service_td] * extended)

    def _certificate(
        self, name: str, role: str, issuer: str, by: str, serial: int, *, ca: bool = False, extension: bytes = b""
    ) -> bytes:
        usage = dict.fromkeys(
            ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
             "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"), False,
        )  # fmt: skip
        usage.update({"key_cert_sign": True, "crl_sign": True} if ca else {"digital_signature": True})
        key = make_key(f"{self.world} {role}").public_key()
        builder = (
            x509.CertificateBuilder(named(issuer), named(name), key, serial, *self.window)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.KeyUsage(**usage), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(self._authority(by), critical=False)
        )
        if extension:
            oid = x509.ObjectIdentifier(_EXTENSION)
            builder = builder.add_extension(x509.UnrecognizedExtension(oid, extension), critical=False)
        signed = builder.sign(make_key(f"{self.world} {by}"), hashes.SHA256(), ecdsa_deterministic=True)
        return signed.public_bytes(serialization.Encoding.DER)

    def _authority(self, role: str) -> x509.AuthorityKeyIdentifier:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(make_key(f"{self.world} {role}").public_key())


@functools.cache
def make_key(role: str) -> ec.EllipticCurvePrivateKey:
    """Make the key of a role once a process."""
    del role
    return ec.generate_private_key(ec.SECP256R1())


def sign(role: str, message: bytes) -> bytes:
    """Sign by the key of a role; r and s, 32 bytes each."""
    r, s = decode_dss_signature(make_key(role).sign(message, ec.ECDSA(hashes.SHA256(), deterministic_signing=True)))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def raw_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return x and y of a key."""
    point = key.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    return point[1:]


def enclave(
    attributes: bytes, misc: bytes, signer: bytes, product_and_svn: tuple[int, int], report_data: bytes
) -> bytes:
    """Spell the report of an enclave, 384 bytes; reserved ones are not zero here, so that reading one shows."""
    head = b"\x03" * 16 + misc + b"\x81" * 28 + attributes + b"\xee" * 32 + b"\x82" * 32 + signer + b"\x83" * 32
    return head + b"\xcf" * 64 + struct.pack("<HH", *product_and_svn) + b"\x84" * 60 + report_data


def level(
    sgx: Sequence[int], pce: int, tdx: Sequence[int], status: str = "UpToDate", *advisories: str, tee: str = "TDX"
) -> dict[str, Any]:
    """Spell a TCB level; components that are not given are 0."""
    tcb: dict[str, Any] = {"sgxtcbcomponents": _components(sgx), "pcesvn": pce}
    if tee == "TDX":
        tcb["tdxtcbcomponents"] = _components(tdx)
    return _standing({"tcb": tcb}, status, advisories)


def svn_level(svn: int, status: str = "UpToDate", *advisories: str) -> dict[str, Any]:
    """Spell a level of a TDX module or quoting enclave."""
    return _standing({"tcb": {"isvsvn": svn}}, status, advisories)


def pem(*certificates: bytes) -> bytes:
    """Spell certificates in PEM."""
    loaded = map(x509.load_der_x509_certificate, certificates)
    return b"".join(each.public_bytes(serialization.Encoding.PEM) for each in loaded)


def spell(at: dt.datetime) -> str:
    """Spell a time as Intel's statements do."""
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


def named(name: str) -> x509.Name:
    """Return a name of Intel's."""
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, name),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Intel Corporation"),
            x509.NameAttribute(NameOID.COUNTRY_NAME, "US"),
        ]
    )


def tlv(tag: int, value: bytes) -> bytes:
    """Spell one DER value."""
    if len(value) < 0x80:
        return bytes((tag, len(value))) + value
    size = len(value).to_bytes((len(value).bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(size))) + size + value


def entry(branch: bytes, index: int, value: bytes) -> bytes:
    """Spell one entry of the PCK certificate's extension."""
    return tlv(0x30, tlv(0x06, _ARC + branch + bytes((index,))) + value)


def number(value: int) -> bytes:
    """Spell an INTEGER."""
    return tlv(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))


def octets(value: bytes) -> bytes:
    """Spell an OCTET STRING."""
    return tlv(0x04, value)


def truth(value: bool) -> bytes:
    """Spell a BOOLEAN."""
    return tlv(0x01, b"\xff" if value else b"\x00")


def _components(svns: Sequence[int]) -> list[dict[str, Any]]:
    return [{"svn": svn} for svn in [*svns, *[0] * (16 - len(svns))]]


def _standing(value: dict[str, Any], status: str, advisories: Sequence[str]) -> dict[str, Any]:
    told = {"advisoryIDs": list(advisories)} if advisories else {}
    return {**value, "tcbDate": "2024-11-13T00:00:00Z", "tcbStatus": status, **told}
