"""Write signatures.json anew: `PYTHONPATH=operator:. python tests/vectors/seal/make_signatures.py` (same bytes)."""

import hashlib
import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from sekisho.seal.manifest import MANIFEST_NAME, digest_of
from sekisho.seal.statement import Envelope, Signature, encode_pae, encode_signatures
from sekisho.seal.trust import encode_approval_signature, encode_approval_statement
from tests.unit.seal.sealing import IDENTITY, seal
from tests.unit.seal.signing import NOW, ed25519_key, key_id_of, pem_of, sign, statement_of

OWNER, BOARD, STRANGER = (ed25519_key(word) for word in ("owner", "board", "stranger"))
APPROVED = {"role": "model-board", "by": "B. Chair", "at": "2026-11-29T11:00:00Z"}
AT = NOW.strftime("%Y-%m-%dT%H:%M:%SZ")
LATER = (NOW + timedelta(days=400)).strftime("%Y-%m-%dT%H:%M:%SZ")


def curve_key(word: str, curve: ec.EllipticCurve) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(int.from_bytes(hashlib.sha256(word.encode()).digest()), curve)


def sign_curve(key: ec.EllipticCurvePrivateKey, payload: bytes, certificates: tuple[bytes, ...] = ()) -> Signature:
    algorithm = hashes.SHA384() if key.curve.name == "secp384r1" else hashes.SHA256()
    value = key.sign(encode_pae(payload), ec.ECDSA(algorithm, deterministic_signing=True))
    return Signature(key_id=key_id_of(key), value=value, certificates=certificates)


def certify(name: str, key: Any, issuer: str, issuing: Any, *, ca: bool) -> bytes:
    usage = x509.KeyUsage(not ca, False, False, False, False, ca, ca, False, False)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name.from_rfc4514_string(name))
        .issuer_name(x509.Name.from_rfc4514_string(issuer))
        .public_key(key.public_key())
        .serial_number(len(name))
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=365))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(usage, critical=True)
    )
    if not ca:
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False)
    return builder.sign(issuing, hashes.SHA256(), ecdsa_deterministic=True).public_bytes(Encoding.DER)


def pem(der: bytes) -> str:
    return x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM).decode()


def build_refused(manifest: bytes, payload: bytes, chain: Signature) -> list[dict[str, Any]]:
    """List manifests and envelopes that must be refused, by the reason given, at the time given."""
    other = seal(identity=replace(IDENTITY, version=6)).blobs[MANIFEST_NAME]
    config = digest_of(b'{"layers":2}')[7:].encode()
    lying = payload.replace(config, b"0" * 64)
    approval = encode_approval_statement(digest_of(manifest), "model-release", "A. Owner", AT)
    good = sign(OWNER, payload)
    flipped = replace(good, value=bytes([good.value[0] ^ 1]) + good.value[1:])
    spelt = encode_signatures(Envelope(payload, (good,)))
    cases = [
        ("no signatures", manifest, None, "SignatureMissing", AT),
        ("another manifest", other, spelt, "SignatureInvalid", AT),
        ("a manifest that was cut", manifest[:-1], spelt, "SignatureInvalid", AT),
        ("a flipped bit", manifest, Envelope(payload, (flipped,)), "SignatureInvalid", AT),
        ("a stranger's key", manifest, Envelope(payload, (sign(STRANGER, payload),)), "SignerNotTrusted", AT),
        (
            "a stranger's key by another's id", manifest,
            Envelope(payload, (sign(STRANGER, payload, key_id=key_id_of(OWNER)),)), "SignatureInvalid", AT,
        ),
        ("another digest of plaintext", manifest, Envelope(lying, (sign(OWNER, lying),)), "SignatureInvalid", AT),
        ("an approval", manifest, Envelope(approval, (sign(OWNER, approval),)), "SignatureInvalid", AT),
        ("a certificate that expired", manifest, Envelope(payload, (chain,)), "SignerNotTrusted", LATER),
        (
            "a certificate without its issuer", manifest,
            Envelope(payload, (replace(chain, certificates=chain.certificates[:1]),)), "SignerNotTrusted", AT,
        ),
        ("a space after the envelope", manifest, spelt + b" ", "SealInvalid", AT),
        ("an unknown field", manifest, spelt[:-1] + b',"zzz":1}', "SealInvalid", AT),
    ]  # fmt: skip
    return [
        {
            "what": what,
            "manifest": data.decode(),
            "signatures": (encode_signatures(spelling) if isinstance(spelling, Envelope) else spelling or b"").decode(),
            "reason": reason,
            "at": at,
        }
        for what, data, spelling, reason, at in cases
    ]


def make() -> str:
    manifest = seal().blobs[MANIFEST_NAME]
    payload = statement_of(manifest)
    p256, p384 = curve_key("p256", ec.SECP256R1()), curve_key("p384", ec.SECP384R1())
    root_key, between_key, leaf_key = (curve_key(word, ec.SECP256R1()) for word in ("root", "between", "leaf"))
    root = certify("CN=root", root_key, "CN=root", root_key, ca=True)
    between = certify("CN=between", between_key, "CN=root", root_key, ca=True)
    leaf = certify("CN=release,O=Example", leaf_key, "CN=between", between_key, ca=False)
    chain = sign_curve(leaf_key, payload, (leaf, between))
    signatures = (sign(OWNER, payload), sign_curve(p256, payload), sign_curve(p384, payload), chain)
    approval = encode_approval_statement(digest_of(manifest), *APPROVED.values())
    vectors = {
        "at": AT,
        "ed25519PrivateKey": OWNER.private_bytes_raw().hex(),
        "signers": {
            "model-release": {"publicKeys": [pem_of(OWNER)]},
            "p256": {"publicKeys": [pem_of(p256)]},
            "p384": {"publicKeys": [pem_of(p384)]},
            "certified": {"certificates": [pem(root)], "subjects": ["CN=release,O=Example"]},
            "model-board": {"publicKeys": [pem_of(BOARD)]},
        },
        "manifest": manifest.decode(),
        "statement": payload.decode(),
        "signed": encode_pae(payload).decode(),
        "signatures": encode_signatures(Envelope(payload, signatures)).decode(),
        "signedBy": ["model-release", "p256", "p384", "certified"],
        "approval": APPROVED | {"signature": encode_approval_signature(sign(BOARD, approval))},
        "approvalStatement": approval.decode(),
        "refused": build_refused(manifest, payload, chain),
    }
    return json.dumps(vectors, indent=1) + "\n"


if __name__ == "__main__":
    (Path(__file__).parent / "signatures.json").write_text(make())
