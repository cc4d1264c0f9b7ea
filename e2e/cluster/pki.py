"""Keys, certificates and kubeconfigs of one local cluster, valid for a month."""

import base64
import datetime as dt
import ipaddress
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from e2e.cluster.addressing import API_PORT, Addressing

LIFETIME = dt.timedelta(days=30)
CLOCK_SKEW = dt.timedelta(minutes=5)
COMPONENTS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "admin": ("test-cluster-admin", ("system:masters",)),
    "kcm": ("system:kube-controller-manager", ()),
    "scheduler": ("system:kube-scheduler", ()),
    "proxy": ("system:kube-proxy", ()),
    "kube-router": ("kube-router", ()),
}


@dataclass(frozen=True, slots=True)
class Subject:
    """Who a certificate speaks for, and as what."""

    name: str
    organizations: tuple[str, ...] = ()
    dns: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()

    @property
    def is_server(self) -> bool:
        return bool(self.dns or self.addresses)


class Authority:
    """A certificate authority whose key and certificate lie in a directory as NAME.key and NAME.crt."""

    def __init__(self, directory: Path, name: str) -> None:
        self.directory = directory
        self.name = name
        key = serialization.load_pem_private_key((directory / f"{name}.key").read_bytes(), password=None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        self._key = key
        self._certificate = x509.load_pem_x509_certificate((directory / f"{name}.crt").read_bytes())

    @classmethod
    def create(cls, directory: Path, name: str) -> "Authority":
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _x509_name(Subject(f"test-{name}"))
        usage = x509.KeyUsage(
            digital_signature=True, content_commitment=False, key_encipherment=True, data_encipherment=False,
            key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
        )  # fmt: skip
        certificate = (
            _builder(subject, subject, key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        _write(directory / f"{name}.key", _pem(key))
        _write(directory / f"{name}.crt", certificate.public_bytes(serialization.Encoding.PEM), mode=0o644)
        return cls(directory, name)

    def issue(self, file_name: str, subject: Subject) -> None:
        """Write FILE_NAME.key and FILE_NAME.crt: a server's where the subject has addresses, else a client's."""
        key = ec.generate_private_key(ec.SECP256R1())
        purpose = ExtendedKeyUsageOID.SERVER_AUTH if subject.is_server else ExtendedKeyUsageOID.CLIENT_AUTH
        builder = (
            _builder(_x509_name(subject), self._certificate.subject, key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        if subject.is_server:
            names: list[x509.GeneralName] = [x509.DNSName(name) for name in subject.dns]
            names += [x509.IPAddress(ipaddress.ip_address(address)) for address in subject.addresses]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        _write(self.directory / f"{file_name}.key", _pem(key))
        _write(self.directory / f"{file_name}.crt", certificate.public_bytes(serialization.Encoding.PEM), mode=0o644)


def create_cluster_pki(directory: Path, addressing: Addressing) -> None:
    """Write everything the control plane needs: authorities, certificates, kubeconfigs, the service-account key."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    root, front = Authority.create(directory, "ca"), Authority.create(directory, "front-proxy-ca")
    service = "kubernetes.default.svc"
    names = ("localhost", "kubernetes", "kubernetes.default", service, f"{service}.cluster.local")
    addresses = ("127.0.0.1", addressing.control_plane, addressing.api_service)
    root.issue("apiserver", Subject("kube-apiserver", dns=names, addresses=addresses))
    root.issue("apiserver-kubelet", Subject("kube-apiserver-kubelet-client", ("system:masters",)))
    front.issue("front-proxy", Subject("front-proxy-client"))
    for user, (name, organizations) in COMPONENTS.items():
        root.issue(user, Subject(name, organizations))
        write_kubeconfigs(directory, user, addressing)
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    _write(directory / "sa.key", _pem(key))
    _write(directory / "sa.pub", public, mode=0o644)


def create_node_pki(directory: Path, addressing: Addressing, index: int) -> None:
    """Write the certificates and kubeconfigs of node `n{index}`."""
    name, root = f"n{index}", Authority(directory, "ca")
    root.issue(f"kubelet-{name}", Subject(f"system:node:{name}", ("system:nodes",)))
    serving = Subject(
        f"system:node:{name}", ("system:nodes",), dns=(name,), addresses=(addressing.node_address(index),)
    )
    root.issue(f"kubelet-serving-{name}", serving)
    write_kubeconfigs(directory, f"kubelet-{name}", addressing)


def write_kubeconfigs(directory: Path, user: str, addressing: Addressing) -> None:
    """Write USER.kubeconfig for processes beside the API server and USER-lan.kubeconfig for those on nodes."""
    for suffix, address in (("", "127.0.0.1"), ("-lan", addressing.control_plane)):
        config = render_kubeconfig(directory, user, f"https://{address}:{API_PORT}")
        _write(directory / f"{user}{suffix}.kubeconfig", config.encode())


def render_kubeconfig(directory: Path, user: str, server: str, *, context: str = "test") -> str:
    """Return a kubeconfig (JSON, which is YAML) that carries its certificates within."""

    def encoded(file: str) -> str:
        return base64.b64encode((directory / file).read_bytes()).decode()

    return json.dumps({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": context,
        "clusters": [{
            "name": context, "cluster": {"server": server, "certificate-authority-data": encoded("ca.crt")},
        }],
        "users": [{
            "name": user,
            "user": {
                "client-certificate-data": encoded(f"{user}.crt"),
                "client-key-data": encoded(f"{user}.key"),
            },
        }],
        "contexts": [{"name": context, "context": {"cluster": context, "user": user}}],
    })  # fmt: skip


def _x509_name(subject: Subject) -> x509.Name:
    organizations: Sequence[x509.NameAttribute[str]] = [
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization) for organization in subject.organizations
    ]
    return x509.Name([*organizations, x509.NameAttribute(NameOID.COMMON_NAME, subject.name)])


def _builder(subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + LIFETIME)
    )


def _pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(file: Path, content: bytes, *, mode: int = 0o600) -> None:
    file.unlink(missing_ok=True)
    with os.fdopen(os.open(file, os.O_CREAT | os.O_WRONLY | os.O_EXCL, mode), "wb") as handle:
        handle.write(content)
