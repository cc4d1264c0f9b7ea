"""A Nitro hypervisor that signs attestation documents under a root of its own."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384

from sekisho.attest.cbor import encode_cbor
from tests.simulators.hardware.authorities import NOW, Holder, build_holder

IMAGE = bytes(range(48))


@dataclass(frozen=True, slots=True)
class Hypervisor:
    """One instance of Nitro: a root, a zone below it, an instance below that, and the key of one enclave."""

    root: Holder = field(default_factory=lambda: build_holder("aws.nitro-enclaves"))
    moment: datetime = NOW

    def certify(self, **changes: Any) -> tuple[Holder, list[Holder]]:
        """Return the enclave's key and what is between it and the root, from the root down."""
        zone = build_holder("region.zone", self.root)
        instance = build_holder("i-0123456789abcdef0", zone)
        options: dict[str, Any] = {
            "begin": self.moment - timedelta(minutes=1),
            "end": self.moment + timedelta(hours=3),
            "authority": False,
        }
        return build_holder("i-0123456789abcdef0-enc01", instance, **options | changes), [self.root, zone, instance]

    def fields(self, leaf: Holder, bundle: list[Holder], **changes: Any) -> dict[str, Any]:
        """Return the fields of a document; a change to None leaves its field out."""
        fields: dict[str, Any] = {
            "module_id": "i-0123456789abcdef0-enc01",
            "digest": "SHA384",
            "timestamp": int(self.moment.timestamp() * 1000),
            "pcrs": {0: IMAGE, 1: bytes(48), 4: b"\4" * 48},
            "certificate": leaf.der,
            "cabundle": [each.der for each in bundle],
            "public_key": None,
            "user_data": b"bound",
            "nonce": None,
        }
        return {name: value for name, value in (fields | changes).items() if name not in changes or value is not ...}

    def attest(self, **changes: Any) -> bytes:
        """Return a document."""
        leaf, bundle = self.certify()
        return sign(leaf, encode_cbor(self.fields(leaf, bundle, **changes)))


def sign(holder: Holder, payload: bytes, *, header: Mapping[Any, Any] | None = None, tag: bytes = b"") -> bytes:
    """Sign a payload as COSE_Sign1."""
    protected = encode_cbor({1: -35} if header is None else header)
    signed = encode_cbor(["Signature1", protected, b"", payload])
    return tag + encode_cbor([protected, {}, payload, raw_signature(holder.key, signed)])


def raw_signature(key: ec.EllipticCurvePrivateKey, message: bytes) -> bytes:
    """Sign with SHA-384 and spell the signature as r and s of 48 bytes."""
    r, s = decode_dss_signature(key.sign(message, ec.ECDSA(SHA384())))
    return r.to_bytes(48, "big") + s.to_bytes(48, "big")


def later(hypervisor: Hypervisor, by: timedelta) -> Hypervisor:
    """Return the same hypervisor at another time."""
    return replace(hypervisor, moment=hypervisor.moment + by)
