"""The API server as an auth method of OpenBao sees it: it reviews tokens, and only for who may ask."""

import json
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.contract.kms.simulators.keys import rsa_key
from tests.contract.kms.simulators.web import Reply, Request

ISSUER = "https://kubernetes.default.svc"
REVIEWER = "token-of-the-reviewer"


@dataclass
class Account:
    namespace: str
    name: str
    uid: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def user(self) -> str:
        return f"system:serviceaccount:{self.namespace}:{self.name}"


class ApiServer:
    """Knows its accounts and signs their tokens; whoever else signed one, or whose account is gone, is nobody."""

    def __init__(self) -> None:
        self.key = rsa_key("api server")
        self.accounts: dict[str, Account] = {}

    def create(self, namespace: str, name: str) -> Account:
        account = Account(namespace, name)
        self.accounts[account.user] = account
        return account

    def token(
        self, account: Account, *, audience: str = "bao", seconds: int = 600, key: rsa.RSAPrivateKey | None = None
    ) -> str:
        now = int(time.time())
        claims = {
            "iss": ISSUER, "sub": account.user, "aud": [audience], "iat": now, "nbf": now - 5, "exp": now + seconds,
            "kubernetes.io": {
                "namespace": account.namespace, "serviceaccount": {"name": account.name, "uid": account.uid}
            },
        }  # fmt: skip
        return jwt.encode(claims, key or self.key, "RS256")

    def throttle(self) -> Reply:
        return Reply(429, b"{}")

    def answer(self, request: Request) -> Reply:
        if request.headers.get("authorization") != f"Bearer {REVIEWER}":
            return _reply(403, {"kind": "Status", "status": "Failure", "reason": "Forbidden", "code": 403})
        if request.path != "/apis/authentication.k8s.io/v1/tokenreviews":
            return _reply(404, {"kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404})
        spec = request.json()["spec"]
        status = self._review(spec["token"], spec.get("audiences") or [ISSUER])
        return _reply(201, {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "status": status})

    def _review(self, token: str, audiences: list[str]) -> dict[str, Any]:
        try:
            claims = jwt.decode(token, self.key.public_key(), ["RS256"], audience=audiences, issuer=ISSUER)
        except jwt.InvalidTokenError as error:
            return {"authenticated": False, "error": str(error)}
        account = self.accounts.get(claims["sub"])
        if account is None or account.uid != claims["kubernetes.io"]["serviceaccount"]["uid"]:
            return {"authenticated": False, "error": "the account was deleted"}
        user = {"username": account.user, "uid": account.uid, "groups": ["system:serviceaccounts"]}
        return {"authenticated": True, "user": user, "audiences": audiences}


def _reply(status: int, body: dict[str, Any]) -> Reply:
    return Reply(status, json.dumps(body).encode(), {"Content-Type": "application/json"})
