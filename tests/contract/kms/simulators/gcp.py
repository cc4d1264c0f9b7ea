"""Google Cloud KMS over REST: bearer JWTs signed by the service account, checksums, versions and their states."""

import base64
import json
import os
import re
from dataclasses import dataclass, field
from typing import Any

import google_crc32c
import jwt
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.contract.kms.simulators.web import Reply, Request

RING = "projects/p/locations/europe-west3/keyRings/r"


class KmsError(Exception):
    def __init__(self, code: int, status: str) -> None:
        super().__init__(status)
        self.code = code
        self.status = status


@dataclass
class Version:
    secret: bytes
    state: str = "ENABLED"


@dataclass
class Key:
    name: str
    versions: list[Version] = field(default_factory=list)

    def rotate(self) -> None:
        self.versions.append(Version(os.urandom(32)))


class Gcp:
    def __init__(self, public_key: Any) -> None:
        self.public_key = public_key
        self.keys: dict[str, Key] = {}
        self.denied = False
        self.damaged = False

    def create(self, name: str) -> Key:
        key = self.keys[f"{RING}/cryptoKeys/{name}"] = Key(f"{RING}/cryptoKeys/{name}")
        key.rotate()
        return key

    def throttle(self) -> Reply:
        return _error(429, "RESOURCE_EXHAUSTED")

    def answer(self, request: Request) -> Reply:
        try:
            self._check_token(request)
            path, _, _ = request.path.partition("?")
            found = re.fullmatch(r"/v1/(projects/[^:]+?)(/cryptoKeyVersions)?(?::(encrypt|decrypt))?", path)
            assert found is not None, path
            if found[1] not in self.keys:
                raise KmsError(404, "NOT_FOUND")
            operation = found[3] or ("list" if found[2] else "get")
            body = getattr(self, f"do_{operation}")(self.keys[found[1]], request.json())
        except KmsError as error:
            return _error(error.code, error.status)
        return Reply(200, json.dumps(body).encode(), {"Content-Type": "application/json"})

    def do_get(self, key: Key, _: dict[str, Any]) -> dict[str, Any]:
        return {"name": key.name, "purpose": "ENCRYPT_DECRYPT", "primary": _shape(key, len(key.versions))}

    def do_list(self, key: Key, _: dict[str, Any]) -> dict[str, Any]:
        enabled = [n for n, version in enumerate(key.versions, start=1) if version.state == "ENABLED"]
        return {"cryptoKeyVersions": [_shape(key, n) for n in enabled]}

    def do_encrypt(self, key: Key, body: dict[str, Any]) -> dict[str, Any]:
        plaintext, aad = _checked(body, "plaintext"), _checked(body, "additionalAuthenticatedData")
        number = len(key.versions)
        _require_enabled(key.versions[-1])
        nonce = os.urandom(12)
        sealed = AESGCM(key.versions[-1].secret).encrypt(nonce, plaintext, aad)
        data = number.to_bytes(4, "big") + nonce + sealed
        return {
            "name": f"{key.name}/cryptoKeyVersions/{number}", "ciphertext": base64.b64encode(data).decode(),
            "ciphertextCrc32c": self._crc(data), "verifiedPlaintextCrc32c": True,
            "verifiedAdditionalAuthenticatedDataCrc32c": True,
        }  # fmt: skip

    def do_decrypt(self, key: Key, body: dict[str, Any]) -> dict[str, Any]:
        data, aad = _checked(body, "ciphertext"), _checked(body, "additionalAuthenticatedData")
        number = int.from_bytes(data[:4], "big")
        if not 1 <= number <= len(key.versions):
            raise KmsError(400, "INVALID_ARGUMENT")
        version = key.versions[number - 1]
        _require_enabled(version)
        try:
            plaintext = AESGCM(version.secret).decrypt(data[4:16], data[16:], aad)
        except (InvalidTag, ValueError):
            raise KmsError(400, "INVALID_ARGUMENT") from None
        return {"plaintext": base64.b64encode(plaintext).decode(), "plaintextCrc32c": self._crc(plaintext)}

    def _crc(self, data: bytes) -> str:
        return str(google_crc32c.value(data) ^ int(self.damaged))

    def _check_token(self, request: Request) -> None:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        try:
            jwt.decode(token, self.public_key, algorithms=["RS256"], options={"verify_aud": False})
        except jwt.PyJWTError:
            raise KmsError(401, "UNAUTHENTICATED") from None
        if self.denied:
            raise KmsError(403, "PERMISSION_DENIED")


def _checked(body: dict[str, Any], field_name: str) -> bytes:
    data = base64.b64decode(body[field_name])
    if int(body[f"{field_name}Crc32c"]) != google_crc32c.value(data):
        raise KmsError(400, "INVALID_ARGUMENT")
    return data


def _shape(key: Key, number: int) -> dict[str, str]:
    return {
        "name": f"{key.name}/cryptoKeyVersions/{number}", "state": key.versions[number - 1].state,
        "algorithm": "GOOGLE_SYMMETRIC_ENCRYPTION",
    }  # fmt: skip


def _require_enabled(version: Version) -> None:
    if version.state != "ENABLED":
        raise KmsError(400, "FAILED_PRECONDITION")


def _error(code: int, status: str) -> Reply:
    body = json.dumps({"error": {"code": code, "status": status, "message": "the words of the service"}}).encode()
    return Reply(code, body, {"Content-Type": "application/json"})
