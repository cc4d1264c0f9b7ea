"""The certificates of depot, gateway and release of keys, and the authority that signs them.

The authority's key never leaves its Secret in the system namespace. Only the leader writes, each write is bound to the
object that was read, and what is still good is never written again.
"""

import base64
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sekisho.api import names
from sekisho.kube.client import ABSENT, KubeClient
from sekisho.kube.resources import CONFIG_MAPS, SECRETS, Resource

_log = logging.getLogger(__name__)
CA_LIFE: Final = timedelta(days=3650)
LEAF_LIFE: Final = timedelta(days=90)
_SKEW: Final = timedelta(minutes=5)
SERVED: Final[Mapping[str, str]] = {
    names.DEPOT_SERVICE: names.DEPOT_TLS_SECRET,
    names.GATEWAY_SERVICE: names.GATEWAY_TLS_SECRET,
}


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key, and the authorities that a peer of it must trust."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False)
    bundle: tuple[x509.Certificate, ...] = ()

    def is_due(self, now: datetime) -> bool:
        """Tell whether less than a third of its life is left."""
        ends, begins = self.certificate.not_valid_after_utc, self.certificate.not_valid_before_utc
        return ends - now < (ends - begins) / 3


def create_authority(now: datetime, *, previous: tuple[x509.Certificate, ...] = ()) -> Pair:
    """Create an authority; certificates of earlier ones that are still valid stay in its bundle."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"sekisho CA {now:%Y-%m-%d}")])
    usage = x509.KeyUsage(
        digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    certificate = (
        _begin(name, name, key.public_key(), now, life=CA_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .sign(key, hashes.SHA256())
    )
    valid = tuple(item for item in previous if item.not_valid_after_utc > now)
    return Pair(certificate, key, (certificate, *valid))


def issue(authority: Pair, service: str, namespace: str, *, now: datetime) -> Pair:
    """Issue a serving certificate for a Service of a namespace."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{service}.{namespace}.svc"[:64])])
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    certificate = (
        _begin(subject, authority.certificate.subject, key.public_key(), now, life=LEAF_LIFE)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(n) for n in dns_names(service, namespace)]), False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(issuer, critical=False)
        .sign(authority.key, hashes.SHA256())
    )
    return Pair(certificate, key, authority.bundle)


def dns_names(service: str, namespace: str) -> list[str]:
    """Return every name under which a Service is reached."""
    return [
        service,
        f"{service}.{namespace}",
        f"{service}.{namespace}.svc",
        f"{service}.{namespace}.svc.cluster.local",
        "localhost",  # through `kubectl port-forward`
    ]


def _begin(
    subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey, now: datetime, *, life: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def is_good(leaf: Pair, authority: Pair, service: str, namespace: str, *, now: datetime) -> bool:
    """Tell whether a serving certificate is signed by the authority, names the Service, and lasts long enough."""
    try:
        leaf.certificate.verify_directly_issued_by(authority.certificate)
        named = leaf.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (InvalidSignature, ValueError, TypeError, x509.ExtensionNotFound):
        return False
    same_names = named.get_values_for_type(x509.DNSName) == dns_names(service, namespace)
    return same_names and not leaf.is_due(now) and leaf.bundle == authority.bundle


def encode(pair: Pair) -> dict[str, str]:
    """Return the data of the Secret that holds a pair."""
    key = pair.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    texts = {"tls.crt": _pem(pair.certificate), "tls.key": key.decode(), "ca.crt": join_bundle(pair)}
    return {name: base64.b64encode(text.encode()).decode() for name, text in texts.items()}


def decode(data: Mapping[str, str]) -> Pair | None:
    """Read the data of a Secret; None where it does not hold a usable pair."""
    try:
        pem = {name: base64.b64decode(data[name], validate=True) for name in ("tls.crt", "tls.key", "ca.crt")}
        certificate = x509.load_pem_x509_certificate(pem["tls.crt"])
        key = serialization.load_pem_private_key(pem["tls.key"], password=None)
        bundle = tuple(x509.load_pem_x509_certificates(pem["ca.crt"]))
    except (KeyError, ValueError, TypeError):
        return None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        return None
    return Pair(certificate, key, bundle)


def join_bundle(pair: Pair) -> str:
    """Return the authorities that peers must trust, as PEM."""
    return "".join(_pem(item) for item in pair.bundle)


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


class Certificates:
    """Keeps the authority, the serving certificates and the public bundle in the system namespace.

    Args:
        served: Names of Services, and for each of the Secret that its certificate is kept in.
    """

    def __init__(self, client: KubeClient, namespace: str, *, served: Mapping[str, str] = SERVED) -> None:
        self._client = client
        self._namespace = namespace
        self._served = served

    async def ensure(self, now: datetime | None = None) -> str:
        """Create or renew what is missing, broken or old; return the bundle that peers must trust, as PEM."""
        now = now or datetime.now(UTC)
        authority = await self._ensure_authority(now)
        for service, secret in self._served.items():
            await self._ensure_leaf(authority, service, secret, now=now)
        bundle = join_bundle(authority)
        live = await self._client.get(CONFIG_MAPS, names.CA_CONFIGMAP, namespace=self._namespace)
        if (live or {}).get("data", {}).get("ca.crt") != bundle:
            await self._write(CONFIG_MAPS, names.CA_CONFIGMAP, live, {"data": {"ca.crt": bundle}})
        return bundle

    async def _ensure_authority(self, now: datetime) -> Pair:
        live = await self._client.get(SECRETS, names.CA_SECRET, namespace=self._namespace)
        known = decode((live or {}).get("data") or {})
        if known is not None and known.bundle and not known.is_due(now):
            return known
        authority = create_authority(now, previous=known.bundle if known else ())
        await self._write(SECRETS, names.CA_SECRET, live, _secret(authority))
        return authority

    async def _ensure_leaf(self, authority: Pair, service: str, secret: str, *, now: datetime) -> None:
        live = await self._client.get(SECRETS, secret, namespace=self._namespace)
        known = decode((live or {}).get("data") or {})
        if known is None or not is_good(known, authority, service, self._namespace, now=now):
            await self._write(SECRETS, secret, live, _secret(issue(authority, service, self._namespace, now=now)))

    async def _write(
        self, resource: Resource, name: str, live: Mapping[str, Any] | None, content: Mapping[str, Any]
    ) -> None:
        """Write over what was read, and over nothing else: of two writers one fails and reads again."""
        meta = {"name": name, "namespace": self._namespace, "labels": {names.MANAGED_BY_LABEL: names.MANAGED_BY}}
        meta["resourceVersion"] = live["metadata"]["resourceVersion"] if live else ABSENT
        manifest = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": meta, **content}
        await self._client.apply(manifest)
        _log.info("certificates written", extra={"kind": resource.kind, "name_written": name})


def _secret(pair: Pair) -> dict[str, Any]:
    return {"type": "kubernetes.io/tls", "data": encode(pair)}
