"""A token service as registries name it in their challenge: it knows one user and signs what a registry verifies."""

import base64
import contextlib
import threading
import time
import urllib.parse
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.x509 import load_pem_x509_certificate

from tests.unit.depot.parts import Keys

ISSUER, AUDIENCE = "tests", "registry-of-tests"


@dataclass
class TokenService:
    """One token service.

    Attributes:
        user: Who may push, and with what password; anybody may pull.
        asked: The scopes that were asked for, and by whom.
        babbles: Answers with something that is no token.
    """

    keys: Keys
    user: tuple[str, str] = ("owner", "right")
    url: str = ""
    babbles: bool = False
    asked: list[tuple[str, str]] = field(default_factory=list)

    def settings(self) -> dict[str, Any]:
        """Return what stands in the registry's configuration."""
        token = {"realm": self.url, "service": AUDIENCE, "issuer": ISSUER, "rootcertbundle": str(self.keys.ca)}
        return {"auth": {"token": token}}

    def issue(self, scopes: list[str], *, push: bool) -> str:
        rights = {"pull", "push"} if push else {"pull"}
        access = []
        for scope in scopes:
            kind, name, actions = scope.split(":")
            access.append({"type": kind, "name": name, "actions": sorted(rights & set(actions.split(",")))})
        certificate = load_pem_x509_certificate(self.keys.certificate.read_bytes())
        chain = [base64.b64encode(certificate.public_bytes(serialization.Encoding.DER)).decode()]
        now = int(time.time())
        claims = {
            "iss": ISSUER, "aud": AUDIENCE, "sub": self.user[0], "iat": now, "nbf": now - 5, "exp": now + 300,
            "jti": uuid.uuid4().hex, "access": access,
        }  # fmt: skip
        return jwt.encode(claims, self.keys.key.read_text(), algorithm="ES256", headers={"x5c": chain})


@contextlib.contextmanager
def run_token_service(keys: Keys) -> Iterator[TokenService]:
    """Run a token service whose tokens are signed by the certificate of `keys`."""
    service = TokenService(keys)

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
            scopes = query.get("scope", [])
            login = self.headers.get("Authorization", "").removeprefix("Basic ")
            user, _, password = base64.b64decode(login).decode().partition(":")
            service.asked.append((" ".join(scopes), user))
            known = (user, password) == service.user
            status, body = 200, f'{{"token": "{service.issue(scopes, push=known)}"}}'
            if login and not known:
                status, body = 401, "{}"
            elif service.babbles:
                body = '{"token": "a\\nb"}'
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        service.url = f"http://127.0.0.1:{server.server_address[1]}/token"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield service
        finally:
            server.shutdown()
            thread.join()
