"""A guest of Confidential Containers as its own components behave: it spells evidence, and opens answers.

Origin of the shapes: guest-components `attestation-agent/kbs_protocol` and `attestation-agent/attester`, virtee/sev.
"""

import base64
import hashlib
import json
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap

CURVES: dict[str, ec.EllipticCurve] = {"P-256": ec.SECP256R1(), "P-521": ec.SECP521R1()}


class Guest:
    """Holds the key that answers are encrypted to."""

    def __init__(self, kind: str = "P-256") -> None:
        self.key: Any = (
            rsa.generate_private_key(65537, 2048) if kind == "RSA" else ec.generate_private_key(CURVES[kind])
        )
        self.kind = kind

    def jwk(self) -> dict[str, str]:
        numbers = self.key.public_key().public_numbers()
        if self.kind == "RSA":
            return {"kty": "RSA", "alg": "RSA-OAEP-256", "n": spell(numbers.n, 256), "e": spell(numbers.e, 3)}
        size = 32 if self.kind == "P-256" else 66
        key = {"x": spell(numbers.x, size), "y": spell(numbers.y, size)}
        return {"kty": "EC", "crv": self.kind, "alg": "ECDH-ES+A256KW", **key}

    def device_data(self, nonce: str, algorithm: str = "sha384") -> bytes:
        return hash_canonical({"nonce": nonce, "tee-pubkey": self.jwk()}, algorithm)

    def primary_data(self, nonce: str, additional: str = "", algorithm: str = "sha384") -> bytes:
        data = {"tee-pubkey": self.jwk(), "nonce": nonce, "additional-evidence": additional}
        return hash_canonical(data, algorithm)

    def attestation(self, nonce: str, primary: Any, additional: str = "", **changes: Any) -> dict[str, Any]:
        """Return the body of `POST /kbs/v0/attest`."""
        return {
            "init-data": None,
            "runtime-data": {"nonce": nonce, "tee-pubkey": self.jwk()},
            "tee-evidence": {"primary_evidence": primary, "additional_evidence": additional},
        } | changes

    def open(self, answer: dict[str, str]) -> bytes:
        """Open an answer as guests do: the header is read, and spelt again for what is authenticated."""
        header = json.loads(unspell(answer["protected"]))
        order = ("alg", "enc", *sorted(name for name in header if name not in ("alg", "enc")))
        again = json.dumps({name: header[name] for name in order}, separators=(",", ":"))
        aad = base64.urlsafe_b64encode(again.encode()).rstrip(b"=")
        content_key = self.unwrap(header, unspell(answer["encrypted_key"]))
        sealed = unspell(answer["ciphertext"]) + unspell(answer["tag"])
        return AESGCM(content_key).decrypt(unspell(answer["iv"]), sealed, aad)

    def unwrap(self, header: dict[str, Any], wrapped: bytes) -> bytes:
        assert header["enc"] == "A256GCM"
        if self.kind == "RSA":
            assert header["alg"] == "RSA-OAEP-256"
            return bytes(self.key.decrypt(wrapped, padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)))
        assert header["alg"] == "ECDH-ES+A256KW"
        epk = header["epk"]
        assert (epk["crv"], epk["kty"]) == (self.kind, "EC")
        x, y = (int.from_bytes(unspell(epk[name]), "big") for name in ("x", "y"))
        peer = ec.EllipticCurvePublicNumbers(x, y, CURVES[self.kind]).public_key()
        return aes_key_unwrap(derive(self.key.exchange(ec.ECDH(), peer), "ECDH-ES+A256KW", 32), wrapped)


def derive(shared: bytes, algorithm: str, size: int, first: bytes = b"", second: bytes = b"") -> bytes:
    """Derive a key of at most 32 bytes by Concat KDF (RFC 7518, section 4.6.2), by hand."""

    def measured(data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + data

    other = measured(algorithm.encode()) + measured(first) + measured(second) + (size * 8).to_bytes(4, "big")
    return hashlib.sha256((1).to_bytes(4, "big") + shared + other).digest()[:size]


def spell(number: int, size: int) -> str:
    return base64.urlsafe_b64encode(number.to_bytes(size, "big")).rstrip(b"=").decode()


def unspell(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def hash_canonical(value: Any, algorithm: str) -> bytes:
    """Hash JSON as RFC 8785 spells it; sorted by hand, so that the broker's own spelling is held against another."""
    return hashlib.new(algorithm, canonical(value).encode()).digest()


def canonical(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ",".join(f"{canonical(name)}:{canonical(value[name])}" for name in sorted(value)) + "}"
    assert isinstance(value, str)
    escapes = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r", "\b": "\\b", "\f": "\\f"}
    signs = (escapes.get(sign) or (f"\\u{ord(sign):04x}" if ord(sign) < 32 else sign) for sign in value)
    return '"' + "".join(signs) + '"'


def snp_fields(report: bytes) -> dict[str, Any]:
    """Take an SNP report apart into the named numbers that virtee/sev's serde form has."""
    version = int.from_bytes(report[:4], "little")
    family = report[0x188] if version >= 3 else (0x1A if not any(report[0x1A8:0x1E0]) else 0)

    def tcb(place: int) -> dict[str, Any]:
        raw = report[place : place + 8]
        if family >= 0x1A:
            return {"fmc": raw[0], "bootloader": raw[1], "tee": raw[2], "snp": raw[3], "microcode": raw[7]}
        return {"fmc": None, "bootloader": raw[0], "tee": raw[1], "snp": raw[6], "microcode": raw[7]}

    def number(place: int, size: int) -> int:
        return int.from_bytes(report[place : place + size], "little")

    def block(place: int, size: int) -> list[int]:
        return list(report[place : place + size])

    def release(place: int) -> dict[str, int]:
        return {"build": report[place], "minor": report[place + 1], "major": report[place + 2]}

    return {
        "version": version, "guest_svn": number(4, 4), "policy": number(8, 8), "family_id": block(16, 16),
        "image_id": block(32, 16), "vmpl": number(48, 4), "sig_algo": number(52, 4), "current_tcb": tcb(56),
        "plat_info": number(64, 8), "key_info": number(72, 4), "report_data": block(80, 64),
        "measurement": block(144, 48), "host_data": block(192, 32), "id_key_digest": block(224, 48),
        "author_key_digest": block(272, 48), "report_id": block(320, 32), "report_id_ma": block(352, 32),
        "reported_tcb": tcb(384),
        "cpuid_fam_id": report[392] if version >= 3 else None, "cpuid_mod_id": report[393] if version >= 3 else None,
        "cpuid_step": report[394] if version >= 3 else None, "chip_id": block(416, 64), "committed_tcb": tcb(480),
        "current": release(488), "committed": release(492), "launch_tcb": tcb(496),
        "launch_mit_vector": number(504, 8) if version >= 5 else None,
        "current_mit_vector": number(512, 8) if version >= 5 else None,
        "signature": {"r": block(672, 72), "s": block(744, 72)},
    }  # fmt: skip


def snp_evidence(report: bytes, certificates: dict[str, bytes]) -> dict[str, Any]:
    """Spell a report and certificates by type as the SNP attester does."""
    table = [{"cert_type": kind, "data": list(der)} for kind, der in certificates.items()]
    return {"attestation_report": snp_fields(report), "cert_chain": table or None}
