"""A TPM 2.0 that behaves, as far as attestation asks one: keys, PCRs, slots, sessions, and a maker with its root.

Written from the specification and not with the code it tests; held against a real software TPM by the same tests.
"""

import datetime as dt
import hashlib
import hmac
import secrets
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.x509.oid import NameOID, ObjectIdentifier

DER = serialization.Encoding.DER
NOW = dt.datetime.now(dt.UTC)
EK_CERTIFICATE = ObjectIdentifier("2.23.133.8.1")


@dataclass(frozen=True)
class Maker:
    """Who makes TPMs: a root, and certificates for endorsement keys."""

    name: str = "test maker"
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    @property
    def subject(self) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.name)])

    @property
    def root(self) -> bytes:
        builder = self._begin(self.subject, self.key.public_key()).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
        return builder.sign(self.key, hashes.SHA256()).public_bytes(DER)

    def authorise(self, other: "Maker") -> bytes:
        """Let another authority certify endorsement keys in our name."""
        builder = self._begin(other.subject, other.key.public_key()).add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        )
        return builder.sign(self.key, hashes.SHA256()).public_bytes(DER)

    def certify(self, public: ec.EllipticCurvePublicKey | rsa.RSAPublicKey, *, days: int = 3650) -> bytes:
        """Certify an endorsement key as makers do: an empty subject, the model in a critical alternative name."""
        is_rsa = isinstance(public, rsa.RSAPublicKey)
        model = x509.Name([x509.NameAttribute(ObjectIdentifier("2.23.133.2.2"), "simulated")])
        usage = x509.KeyUsage(
            digital_signature=False, content_commitment=False, key_encipherment=is_rsa, data_encipherment=False,
            key_agreement=not is_rsa, key_cert_sign=False, crl_sign=False, encipher_only=False, decipher_only=False,
        )  # fmt: skip
        builder = (
            self._begin(x509.Name([]), public, days=days)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DirectoryName(model)]), critical=True)
            .add_extension(x509.ExtendedKeyUsage([EK_CERTIFICATE]), critical=False)
        )
        return builder.sign(self.key, hashes.SHA256()).public_bytes(DER)

    def _begin(
        self, subject: x509.Name, public: ec.EllipticCurvePublicKey | rsa.RSAPublicKey, *, days: int = 3650
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.subject)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - dt.timedelta(days=1))
            .not_valid_after(NOW + dt.timedelta(days=days))
        )


class TpmError(Exception):
    """The answer is a code."""

    def __init__(self, code: int) -> None:
        super().__init__(f"{code:#x}")
        self.code = code


class Cursor:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, count: int) -> bytes:
        if self.at + count > len(self.data):
            raise TpmError(0x9A)  # TPM_RC_INSUFFICIENT
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def sized(self) -> bytes:
        return self.take(self.number(2))


def sized(data: bytes) -> bytes:
    return struct.pack(">H", len(data)) + data


def kdf(key: bytes, label: bytes, context: bytes, bits: int, algorithm: str = "sha256") -> bytes:
    message = struct.pack(">I", 1) + label + b"\0" + context + struct.pack(">I", bits)
    return hmac.new(key, message, algorithm).digest()[: bits // 8]


def decrypt_cfb(key: bytes, data: bytes) -> bytes:
    block = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305 - CFB is built from it
    last, plain = bytes(16), b""
    for at in range(0, len(data), 16):
        part = data[at : at + 16]
        plain += bytes(a ^ b for a, b in zip(part, block.update(last), strict=False))
        last = part
    return plain


POLICY = bytes.fromhex("837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa")
HIGH_POLICY = bytes.fromhex(
    "b26e7d28d11a50bc53d882bcf5fd3a1a074148bb35d3b4e4cb1c0ad9bde419cacb47ba09699646150f9fc000f3f80e12"
)
EK_HEADS = {
    "rsa": struct.pack(">HHI", 1, 0xB, 0x300B2) + sized(POLICY) + bytes.fromhex("000600800043 0010 0800 00000000"),
    "ecc": struct.pack(">HHI", 0x23, 0xB, 0x300B2) + sized(POLICY) + bytes.fromhex("000600800043 0010 0003 0010"),
    "rsa3072": struct.pack(">HHI", 1, 0xC, 0x300F2)
    + sized(HIGH_POLICY)
    + bytes.fromhex("000601000043 0010 0c00 00000000"),
    "ecc384": struct.pack(">HHI", 0x23, 0xC, 0x300F2)
    + sized(HIGH_POLICY)
    + bytes.fromhex("000601000043 0010 0004 0010"),
}
INDICES = {"rsa": 0x01C00002, "ecc": 0x01C0000A, "rsa3072": 0x01C0001C, "ecc384": 0x01C00016}
CURVES: dict[int, ec.EllipticCurve] = {32: ec.SECP256R1(), 48: ec.SECP384R1()}


def make_ek(kind: str) -> ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey:
    if kind.startswith("rsa"):
        return rsa.generate_private_key(public_exponent=65537, key_size=3072 if kind == "rsa3072" else 2048)
    return ec.generate_private_key(ec.SECP384R1() if kind == "ecc384" else ec.SECP256R1())


def name_of(area: bytes) -> bytes:
    return area[2:4] + hashlib.new("sha384" if area[3] == 0xC else "sha256", area).digest()


@dataclass
class SimulatedTpm:
    """One TPM.

    Attributes:
        kind: Of its endorsement key, "ecc", "ecc384", "rsa" or "rsa3072" (slow to make).
        certificate: What lies in its index; None where there is none.
        busy: How many commands are answered by TPM_RC_RETRY first.
    """

    maker: Maker
    kind: str = "ecc"
    certificate: bytes | None = b""
    pcrs: dict[int, bytes] = field(default_factory=lambda: {n: hashlib.sha256(b"%d" % n).digest() for n in range(24)})
    busy: int = 0
    slots: int = 3
    commands: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.ek = make_ek(self.kind)
        self.aks: dict[bytes, ec.EllipticCurvePrivateKey] = {}
        self.loaded: dict[int, tuple[bytes, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey]] = {}
        self.sessions: dict[int, bool] = {}
        if self.certificate == b"":
            self.certificate = self.maker.certify(self.ek.public_key())

    def execute(self, command: bytes) -> bytes:
        """Answer one command."""
        try:
            body = self._execute(Cursor(command))
        except TpmError as error:
            return struct.pack(">HII", 0x8001, 10, error.code)
        tag = struct.unpack(">H", command[:2])[0]
        return struct.pack(">HII", tag, 10 + len(body), 0) + body

    def _execute(self, cursor: Cursor) -> bytes:
        _, size, code = cursor.number(2), cursor.number(4), cursor.number(4)
        if size != len(cursor.data):
            raise TpmError(0x142)  # TPM_RC_COMMAND_SIZE
        self.commands.append(code)
        if self.busy:
            self.busy -= 1
            raise TpmError(0x922)
        known: dict[int, Callable[[Cursor], bytes]] = {
            0x131: self._create_primary, 0x158: self._quote, 0x165: self._flush, 0x17E: self._read_pcrs,
            0x169: self._nv_public, 0x14E: self._nv_read, 0x176: self._start_session, 0x151: self._policy_secret,
            0x147: self._activate,
        }  # fmt: skip
        if code not in known:
            raise TpmError(0x143)  # TPM_RC_COMMAND_CODE
        body = known[code](cursor)
        if cursor.at != len(cursor.data):
            raise TpmError(0x95)  # TPM_RC_SIZE
        return body

    def _authorise(self, cursor: Cursor, count: int) -> list[int]:
        area = Cursor(cursor.take(cursor.number(4)))
        found = []
        for _ in range(count):
            found.append(area.number(4))
            area.sized()
            area.number(1)
            if area.sized():
                raise TpmError(0x98E)
        return found

    @staticmethod
    def _seal(parameters: bytes, handles: bytes = b"", sessions: int = 1) -> bytes:
        answers = struct.pack(">HBH", 0, 1, 0) * sessions
        return handles + struct.pack(">I", len(parameters)) + parameters + answers

    def _create_primary(self, cursor: Cursor) -> bytes:
        if cursor.number(4) != 0x4000000B:
            raise TpmError(0x184)
        if self._authorise(cursor, 1) != [0x40000009]:
            raise TpmError(0x98E)
        cursor.sized()
        template = cursor.sized()
        cursor.sized()
        cursor.number(4)
        if len(self.loaded) >= self.slots:
            raise TpmError(0x902)
        area, key = self._derive(template)
        handle = next(h for h in range(0x80000000, 0x80000010) if h not in self.loaded)
        self.loaded[handle] = (area, key)
        name = name_of(area)
        ticket = struct.pack(">HI", 0x8021, 0x4000000B) + sized(bytes(32))
        parameters = sized(area) + sized(b"made") + sized(bytes(32)) + ticket + sized(name)
        return self._seal(parameters, struct.pack(">I", handle))

    def _derive(self, template: bytes) -> tuple[bytes, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey]:
        """Make the key that this TPM's seed gives for a template: the endorsement key, or a signing key on P-256."""
        head = EK_HEADS[self.kind]
        if template.startswith(head):
            return head + self._unique(self.ek), self.ek
        if template.startswith(tuple(EK_HEADS.values())):
            other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
            return EK_HEADS["rsa"] + self._unique(other), other
        if template[:4] != struct.pack(">HH", 0x23, 0xB) or len(template) < 86:
            raise TpmError(0x2D5)
        key = self.aks.setdefault(template, ec.generate_private_key(ec.SECP256R1()))
        return template[:-68] + self._unique(key), key

    @staticmethod
    def _unique(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
        if isinstance(key, rsa.RSAPrivateKey):
            return sized(key.public_key().public_numbers().n.to_bytes(key.key_size // 8, "big"))
        numbers, size = key.public_key().public_numbers(), key.key_size // 8
        return sized(numbers.x.to_bytes(size, "big")) + sized(numbers.y.to_bytes(size, "big"))

    def _find(self, handle: int) -> tuple[bytes, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey]:
        if handle not in self.loaded:
            raise TpmError(0x18B)
        return self.loaded[handle]

    def _quote(self, cursor: Cursor) -> bytes:
        area, key = self._find(cursor.number(4))
        self._authorise(cursor, 1)
        qualifying, _, selection = cursor.sized(), cursor.number(2), self._selection(cursor)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        attest = make_attest(area, qualifying, selection, self.pcrs)
        r, s = decode_dss_signature(key.sign(attest, ec.ECDSA(hashes.SHA256())))
        signature = struct.pack(">HH", 0x18, 0xB) + sized(r.to_bytes(32, "big")) + sized(s.to_bytes(32, "big"))
        return self._seal(sized(attest) + signature)

    @staticmethod
    def _selection(cursor: Cursor) -> list[int]:
        if (cursor.number(4), cursor.number(2), cursor.number(1)) != (1, 0xB, 3):
            raise TpmError(0x1C4)
        mask = int.from_bytes(cursor.take(3), "little")
        return [number for number in range(24) if mask >> number & 1]

    def _read_pcrs(self, cursor: Cursor) -> bytes:
        given = self._selection(cursor)[:8]
        values = b"".join(sized(self.pcrs[number]) for number in given)
        return struct.pack(">I", 7) + pack_selection(given) + struct.pack(">I", len(given)) + values

    def _nv(self, index: int) -> bytes:
        if index != INDICES[self.kind] or self.certificate is None:
            raise TpmError(0x18B)
        return self.certificate

    def _nv_public(self, cursor: Cursor) -> bytes:
        index = cursor.number(4)
        public = struct.pack(">IHIHH", index, 0xB, 0x62072001, 0, len(self._nv(index)))
        return sized(public) + sized(b"\x00\x0b" + hashlib.sha256(public).digest())

    def _nv_read(self, cursor: Cursor) -> bytes:
        _, index = cursor.number(4), cursor.number(4)
        self._authorise(cursor, 1)
        size, offset = cursor.number(2), cursor.number(2)
        return self._seal(sized(self._nv(index)[offset : offset + size]))

    def _start_session(self, cursor: Cursor) -> bytes:
        cursor.take(8)
        if len(cursor.sized()) < 16:
            raise TpmError(0x1D5)
        cursor.sized()
        cursor.take(5)
        handle = 0x03000000 + len(self.sessions)
        self.sessions[handle] = False
        return struct.pack(">I", handle) + sized(secrets.token_bytes(32))

    def _policy_secret(self, cursor: Cursor) -> bytes:
        _, session = cursor.number(4), cursor.number(4)
        self._authorise(cursor, 1)
        cursor.sized(), cursor.sized(), cursor.sized(), cursor.number(4)
        self.sessions[session] = True
        return self._seal(sized(b"") + struct.pack(">HI", 0x8023, 0x40000007) + sized(b""))

    def _activate(self, cursor: Cursor) -> bytes:
        area, _ = self._find(cursor.number(4))
        parent, endorsement = self._find(cursor.number(4))
        _, session = self._authorise(cursor, 2)
        has_password = bool(parent[7] & 0x40)  # userWithAuth
        if not (has_password and session == 0x40000009) and not self.sessions.pop(session, False):
            raise TpmError(0xA9D)  # TPM_RC_POLICY_FAIL
        algorithm, bits = ("sha384", 256) if parent[3] == 0xC else ("sha256", 128)
        blob, secret = Cursor(cursor.sized()), cursor.sized()
        mac, identity = blob.sized(), blob.data[blob.at :]
        name, size = name_of(area), hashlib.new(algorithm).digest_size
        seed = self._open_seed(endorsement, secret, algorithm)
        if len(seed) != size:
            raise TpmError(0x2D5)  # TPM_RC_SIZE
        wanted = hmac.new(kdf(seed, b"INTEGRITY", b"", 8 * size, algorithm), identity + name, algorithm).digest()
        if mac != wanted:
            raise TpmError(0x1DF)
        return self._seal(decrypt_cfb(kdf(seed, b"STORAGE", name, bits, algorithm), identity), sessions=2)

    @staticmethod
    def _open_seed(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, secret: bytes, algorithm: str) -> bytes:
        if isinstance(key, rsa.RSAPrivateKey):
            hashed = hashes.SHA384() if algorithm == "sha384" else hashes.SHA256()
            oaep = padding.OAEP(padding.MGF1(hashed), hashed, b"IDENTITY\0")
            try:
                return key.decrypt(secret, oaep)
            except ValueError as error:
                raise TpmError(0x2D5) from error
        point = Cursor(secret)
        x, y = point.sized(), point.sized()
        size = key.key_size // 8
        if (len(x), len(y)) != (size, size):
            raise TpmError(0x2D5)
        numbers = ec.EllipticCurvePublicNumbers(int.from_bytes(x, "big"), int.from_bytes(y, "big"), CURVES[size])
        shared = key.exchange(ec.ECDH(), numbers.public_key())
        mine = key.public_key().public_numbers().x.to_bytes(size, "big")
        return hashlib.new(algorithm, struct.pack(">I", 1) + shared + b"IDENTITY\0" + x + mine).digest()

    def _flush(self, cursor: Cursor) -> bytes:
        handle = cursor.number(4)
        if self.loaded.pop(handle, None) is None and self.sessions.pop(handle, None) is None:
            raise TpmError(0x1CB)
        return b""


def pack_selection(numbers: list[int]) -> bytes:
    mask = sum(1 << number for number in numbers)
    return struct.pack(">IHB", 1, 0xB, 3) + mask.to_bytes(3, "little")


def make_attest(area: bytes, qualifying: bytes, numbers: list[int], pcrs: dict[int, bytes]) -> bytes:
    """Spell the TPMS_ATTEST of a quote."""
    digest = hashlib.sha256(b"".join(pcrs[number] for number in numbers)).digest()
    signer = b"\x00\x0b" + hashlib.sha256(b"qualified" + area).digest()
    clock = struct.pack(">QIIB", 123456, 3, 0, 1) + struct.pack(">Q", 0x2020)
    head = b"\xffTCG" + struct.pack(">H", 0x8018) + sized(signer) + sized(qualifying)
    return head + clock + pack_selection(numbers) + sized(digest)


class SocketTpm:
    """A simulated TPM behind a Unix socket, one connection at a time, as swtpm serves it."""

    def __init__(self, path: Path, tpm: SimulatedTpm) -> None:
        self.path, self.tpm = path, tpm
        self._server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)

    def __enter__(self) -> "SocketTpm":
        self._server.bind(str(self.path))
        self._server.listen(16)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join(60)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            with connection:
                self._talk(connection)

    def _talk(self, connection: socket.socket) -> None:
        while header := connection.recv(10, socket.MSG_WAITALL):
            if len(header) < 10:
                return
            rest = connection.recv(int.from_bytes(header[2:6], "big") - 10, socket.MSG_WAITALL)
            connection.sendall(self.tpm.execute(header + rest))
