"""Azure Key Vault over REST with its sign-in: an unasked request is challenged, the token is checked, RSA is real."""

import base64
import json
import os
import re
import secrets
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tests.contract.kms.simulators.keys import rsa_key
from tests.contract.kms.simulators.web import Reply, Request

TENANT = "11111111-2222-3333-4444-555555555555"
CLIENT = "66666666-7777-8888-9999-000000000000"
SECRET = "a-secret-of-tests"
_OAEP = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)


@dataclass
class Version:
    private: rsa.RSAPrivateKey
    created: int
    name: str = field(default_factory=lambda: os.urandom(16).hex())
    enabled: bool = True


@dataclass
class Key:
    label: str
    versions: list[Version] = field(default_factory=list)
    deleted: bool = False

    def rotate(self) -> None:
        private = rsa_key(self.label, len(self.versions) + 1)
        self.versions.append(Version(private, 1_700_000_000 + len(self.versions)))


class Azure:
    def __init__(self) -> None:
        self.keys: dict[str, Key] = {}
        self.tokens: set[str] = set()
        self.denied = False

    def create(self, name: str) -> Key:
        key = self.keys[name] = Key(name)
        key.rotate()
        return key

    def throttle(self) -> Reply:
        return _error(429, "Throttled")

    def answer(self, request: Request) -> Reply:
        path = request.path.partition("?")[0]
        if path.startswith(f"/{TENANT}/"):
            return self._sign_in(request, path)
        if request.headers.get("authorization", "").removeprefix("Bearer ") not in self.tokens:
            host = request.headers["host"]
            # the client wants the resource to be a parent domain of the vault's host
            text = f'Bearer authorization="https://{host}/{TENANT}", resource="https://{host.partition(".")[2]}"'
            return Reply(401, b"", {"WWW-Authenticate": text})
        if self.denied:
            return _error(403, "Forbidden", "ForbiddenByPolicy")
        return self._use(request, path)

    def _sign_in(self, request: Request, path: str) -> Reply:
        host = f"https://{request.headers['host']}/{TENANT}"
        if path.endswith("/openid-configuration"):
            return _json({"issuer": f"{host}/v2.0", "authorization_endpoint": f"{host}/oauth2/v2.0/authorize",
                          "token_endpoint": f"{host}/oauth2/v2.0/token"})  # fmt: skip
        words = request.body.decode()
        if f"client_id={CLIENT}" not in words or f"client_secret={SECRET}" not in words:
            return Reply(401, json.dumps({"error": "invalid_client"}).encode(), {"Content-Type": "application/json"})
        token = secrets.token_urlsafe()
        self.tokens.add(token)
        return _json({"token_type": "Bearer", "expires_in": 3600, "access_token": token})

    def _use(self, request: Request, path: str) -> Reply:
        found = re.fullmatch(r"/keys/([A-Za-z0-9-]+)/([0-9a-f]*|versions)(?:/(wrapkey|unwrapkey))?/?", path)
        assert found is not None, path
        name, word, operation = found.groups()
        key = self.keys.get(name)
        base = f"https://{request.headers['host']}/keys/{name}"
        if key is None or key.deleted:
            return _error(404, "KeyNotFound")
        if word == "versions":
            return _json({"value": [_shape(base, v) | {"kid": f"{base}/{v.name}"} for v in key.versions[::-1]]})
        version = next((v for v in key.versions if v.name == word), None)
        if version is None:
            return _error(404, "KeyNotFound")
        if not version.enabled:
            return _error(403, "Forbidden", "KeyDisabled")
        return self._operate(request, version, base, operation)

    def _operate(self, request: Request, version: Version, base: str, operation: str | None) -> Reply:
        if operation is None:
            numbers = version.private.public_key().public_numbers()
            jwk = {"kid": f"{base}/{version.name}", "kty": "RSA", "key_ops": ["wrapKey", "unwrapKey"],
                   "n": _spell(numbers.n.to_bytes(256, "big")), "e": _spell(b"\x01\x00\x01")}  # fmt: skip
            return _json({"key": jwk, **_shape(base, version)})
        body = request.json()
        value = base64.urlsafe_b64decode(body["value"] + "==")
        try:
            if operation == "unwrapkey":
                result = version.private.decrypt(value, _OAEP)
            else:
                result = version.private.public_key().encrypt(value, _OAEP)
        except ValueError:
            return _error(400, "BadParameter")
        return _json({"kid": f"{base}/{version.name}", "value": _spell(result)})


def _shape(base: str, version: Version) -> dict[str, Any]:
    created = {"created": version.created, "updated": version.created}
    return {"attributes": {"enabled": version.enabled, **created}}


def _spell(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _json(body: Any) -> Reply:
    return Reply(200, json.dumps(body).encode(), {"Content-Type": "application/json"})


def _error(status: int, code: str, inner: str = "") -> Reply:
    error: dict[str, Any] = {"code": code, "message": "the words of the service"}
    if inner:
        error["innererror"] = {"code": inner}
    return Reply(status, json.dumps({"error": error}).encode(), {"Content-Type": "application/json"})
