"""One bench a key service: what a test must be able to do to the service behind the Protocol."""

import datetime as dt
import ipaddress
import json
import os
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pkcs11
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pkcs11 import Attribute, KeyType, MechanismFlag

from sekisho.errors import Reason
from sekisho.kms.service import KeyService
from tests.contract.kms.simulators.web import Reply, Request, Web

SOFTHSM = ("softhsm2", "libsofthsm2", "softhsm2-common")


@dataclass
class Bench:
    """A key service with one key and another one.

    Attributes:
        open: Opens it anew: open(minimum_version=2, timeout_seconds=0.3).
        rotate: Makes a new version of the key.
        disable: Takes the key out of use.
        delete: Schedules its deletion, or deletes it where the service knows no schedule.
        revoke: Makes the first version unusable at the service, where it can.
        deny: Takes our rights.
        web: Where its answers can be spoiled.
    """

    open: Callable[..., KeyService]
    key_id: str
    other_id: str
    missing_id: str
    rotate: Callable[[], object]
    disable: Callable[[], object]
    delete: Callable[[], object]
    deleted_reason: Reason
    deny: Callable[[], object] | None
    revoke: Callable[[], object] | None = None
    web: Web | None = None
    service: KeyService = field(init=False)

    def __post_init__(self) -> None:
        self.service = self.open()


class Bao:
    """The real server, reached by a forwarder so that a test can spoil what comes back."""

    def __init__(self, address: str, root: str, tls_address: str, ca_file: Path) -> None:
        self.address = address
        self.root = root
        self.tls_address = tls_address
        self.ca_file = ca_file

    def throttle(self) -> Reply:
        return Reply(429, b'{"errors":["request path rate limit quota exceeded"]}')

    def answer(self, request: Request) -> Reply:
        headers = {name: v for name, v in request.headers.items() if name.startswith("x-vault")}
        return self.send(request.method, request.path, request.body or None, headers)

    def send(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Reply:
        asked = urllib.request.Request(self.address + path, data=body, headers=headers, method=method)
        try:
            with urllib.request.urlopen(asked, timeout=60) as answer:
                return Reply(answer.status, answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return Reply(error.code, error.read())

    def admin(self, method: str, path: str, body: Any = None, *, namespace: str = "") -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"X-Vault-Token": self.root, **({"X-Vault-Namespace": namespace} if namespace else {})}
        reply = self.send(method, f"/v1/{path}", data, headers)
        assert reply.status < 300, (path, reply.status, reply.body)
        return json.loads(reply.body or b"{}")


def find_softhsm(folder: Path) -> Path:
    """Lay Debian's SoftHSM into a folder; the packages are cached where those of the images are."""
    place = str(Path(__file__).parents[3] / "inference-images")
    if place not in sys.path:
        sys.path.append(place)
    from imagebuild.debian import fetch_packages  # noqa: PLC0415 -- that folder is no package of this tree

    for package in fetch_packages(SOFTHSM).values():
        subprocess.run(["dpkg-deb", "-x", str(package), str(folder)], check=True)
    return folder


class Hsm:
    """A SoftHSM token."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.module = next(root.rglob("libsofthsm2.so"))
        self.pin_file = folder / "pin"
        self.pin_file.write_text("4711-secret\n")
        tokens = folder / "tokens"
        tokens.mkdir()
        conf = folder / "softhsm2.conf"
        conf.write_text(f"directories.tokendir = {tokens}\nobjectstore.backend = file\nlog.level = ERROR\n")
        os.environ["SOFTHSM2_CONF"] = str(conf)
        words = ["--init-token", "--free", "--label", "sekisho", "--so-pin", "0000", "--pin", "4711-secret"]
        util = next(root.rglob("softhsm2-util"))
        subprocess.run([str(util), "--module", str(self.module), *words], check=True, capture_output=True)

    def change(self, work: Callable[[Any], None]) -> None:
        token = pkcs11.lib(str(self.module)).get_token(token_label="sekisho")
        with token.open(rw=True, user_pin="4711-secret") as session:
            work(session)

    def generate(self, label: str, number: int, **more: Any) -> None:
        template = {
            Attribute.EXTRACTABLE: more.get("leaves", False),
            Attribute.SENSITIVE: not more.get("leaves", False),
        }
        template[Attribute.MODIFIABLE] = True
        self.change(
            lambda session: session.generate_key(
                KeyType.AES, 256, id=bytes([number]), label=label, store=True, template=template,
                capabilities=MechanismFlag.ENCRYPT | MechanismFlag.DECRYPT,
            )
        )  # fmt: skip

    def set(self, label: str, number: int | None, **values: bool) -> None:
        def work(session: Any) -> None:
            for key in list(session.get_objects({Attribute.LABEL: label})):
                if number is None or key[Attribute.ID] == bytes([number]):
                    for name, value in values.items():
                        key[Attribute[name]] = value
                    if not values:
                        key.destroy()

        self.change(work)


def fresh(word: str) -> str:
    return f"{word}-{uuid.uuid4().hex[:8]}"


def server_tls(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """Make a certificate for 127.0.0.1 and return the server's context and the roots."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "loopback")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=12))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    public, private = folder / "tls.crt", folder / "tls.key"
    public.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    kind = serialization.PrivateFormat.PKCS8
    private.write_bytes(key.private_bytes(serialization.Encoding.PEM, kind, serialization.NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(public, private)
    return context, public
