"""AWS KMS as far as a client sees it: JSON 1.1, Signature Version 4, key states, encryption context, rotations."""

import base64
import hashlib
import hmac
import json
import os
import uuid
from dataclasses import dataclass, field
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.contract.kms.simulators.web import Reply, Request

ACCOUNT = "111122223333"
REGION = "eu-central-1"
ACCESS_KEY = "AKIDEXAMPLE"
SECRET_KEY = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"


class KmsError(Exception):
    def __init__(self, code: str, status: int = 400) -> None:
        super().__init__(code)
        self.code = code
        self.status = status


@dataclass
class Key:
    arn: str
    state: str = "Enabled"
    materials: dict[str, bytes] = field(default_factory=dict)

    def rotate(self) -> None:
        self.materials[uuid.uuid4().hex * 2] = os.urandom(32)


class Aws:
    def __init__(self) -> None:
        self.keys: dict[str, Key] = {}
        self.denied = False

    def create(self, alias: str) -> Key:
        key = Key(f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{uuid.uuid4()}")
        key.rotate()
        self.keys[f"alias/{alias}"] = self.keys[key.arn] = key
        return key

    def throttle(self) -> Reply:
        return _error("ThrottlingException", 400)

    def answer(self, request: Request) -> Reply:
        try:
            _check_signature(request)
            if self.denied:
                raise KmsError("AccessDeniedException")
            operation = request.headers["x-amz-target"].removeprefix("TrentService.")
            body = getattr(self, f"do_{operation}")(request.json())
        except KmsError as error:
            return _error(error.code, error.status)
        return Reply(200, json.dumps(body).encode(), {"Content-Type": "application/x-amz-json-1.1"})

    def do_DescribeKey(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        key = self._find(body["KeyId"])
        return {
            "KeyMetadata": {
                "KeyId": key.arn.rpartition("/")[2], "Arn": key.arn, "Enabled": key.state == "Enabled",
                "KeyState": key.state, "KeySpec": "SYMMETRIC_DEFAULT", "KeyUsage": "ENCRYPT_DECRYPT",
                "Origin": "AWS_KMS", "CurrentKeyMaterialId": list(key.materials)[-1],
            }
        }  # fmt: skip

    def do_ListKeyRotations(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        if "alias/" in body["KeyId"]:
            raise KmsError("InvalidArnException")
        key = self._find(body["KeyId"])
        newest = list(key.materials)[-1]
        rotations = [
            {
                "KeyId": key.arn,
                "KeyMaterialId": name,
                "KeyMaterialState": "CURRENT" if name == newest else "NON_CURRENT",
            }
            | ({"RotationDate": 1_700_000_000 + number} if number else {})
            for number, name in enumerate(key.materials)
        ]
        return {"Rotations": rotations[::-1], "Truncated": False}

    def do_Encrypt(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        key = self._usable(body["KeyId"])
        blob, _ = _encrypt(key, base64.b64decode(body["Plaintext"]), body.get("EncryptionContext"))
        return {"KeyId": key.arn, "CiphertextBlob": blob, "EncryptionAlgorithm": "SYMMETRIC_DEFAULT"}

    def do_Decrypt(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        key = self._usable(body["KeyId"])
        plaintext, material = self._decrypt(key, body["CiphertextBlob"], body.get("EncryptionContext"))
        return {"KeyId": key.arn, "Plaintext": base64.b64encode(plaintext).decode(), "KeyMaterialId": material}

    def do_ReEncrypt(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        source, key = self._usable(body["SourceKeyId"]), self._usable(body["DestinationKeyId"])
        plaintext, old = self._decrypt(source, body["CiphertextBlob"], body.get("SourceEncryptionContext"))
        blob, new = _encrypt(key, plaintext, body.get("DestinationEncryptionContext"))
        return {
            "CiphertextBlob": blob, "KeyId": key.arn, "SourceKeyId": source.arn, "SourceKeyMaterialId": old,
            "DestinationKeyMaterialId": new,
        }  # fmt: skip

    def _find(self, name: str) -> Key:
        if name not in self.keys:
            raise KmsError("NotFoundException")
        return self.keys[name]

    def _usable(self, name: str) -> Key:
        key = self._find(name)
        if key.state == "Disabled":
            raise KmsError("DisabledException")
        if key.state != "Enabled":
            raise KmsError("KMSInvalidStateException")
        return key

    def _decrypt(self, key: Key, blob: str, context: dict[str, str] | None) -> tuple[bytes, str]:
        data = base64.b64decode(blob)
        owner, material, sealed = data[:36].decode(errors="replace"), data[36:100].decode(errors="replace"), data[100:]
        if not any(known.arn.endswith(owner) for known in self.keys.values()):
            raise KmsError("InvalidCiphertextException")
        if not key.arn.endswith(owner):
            raise KmsError("IncorrectKeyException")
        try:
            plaintext = AESGCM(key.materials[material]).decrypt(sealed[:12], sealed[12:], _spell(context))
        except (InvalidTag, KeyError, ValueError):
            raise KmsError("InvalidCiphertextException") from None
        return plaintext, material


def _encrypt(key: Key, plaintext: bytes, context: dict[str, str] | None) -> tuple[str, str]:
    material = list(key.materials)[-1]
    nonce = os.urandom(12)
    sealed = AESGCM(key.materials[material]).encrypt(nonce, plaintext, _spell(context))
    return base64.b64encode(key.arn.rpartition("/")[2].encode() + material.encode() + nonce + sealed).decode(), material


def _spell(context: dict[str, str] | None) -> bytes:
    return json.dumps(context or {}, sort_keys=True).encode()


def _error(code: str, status: int) -> Reply:
    body = json.dumps({"__type": code, "message": "the words of the service"}).encode()
    return Reply(status, body, {"Content-Type": "application/x-amz-json-1.1"})


def _check_signature(request: Request) -> None:
    """Compute Signature Version 4 anew from what arrived."""
    words = request.headers.get("authorization", "").removeprefix("AWS4-HMAC-SHA256 ").split(", ")
    parts = dict(word.split("=", 1) for word in words if "=" in word)
    scope = parts.get("Credential", "//").split("/")
    if scope[0] != ACCESS_KEY:
        raise KmsError("UnrecognizedClientException")
    names = parts["SignedHeaders"].split(";")
    headers = "".join(f"{name}:{request.headers[name].strip()}\n" for name in names)
    canonical = "\n".join(
        [request.method, request.path, "", headers, ";".join(names), hashlib.sha256(request.body).hexdigest()]
    )
    at = request.headers["x-amz-date"]
    text = "\n".join(["AWS4-HMAC-SHA256", at, "/".join(scope[1:]), hashlib.sha256(canonical.encode()).hexdigest()])
    key = f"AWS4{SECRET_KEY}".encode()
    for word in scope[1:]:
        key = hmac.digest(key, word.encode(), "sha256")
    if not hmac.compare_digest(hmac.digest(key, text.encode(), "sha256").hex(), parts["Signature"]):
        raise KmsError("InvalidSignatureException")
