"""How we prove to OpenBao or Vault who we are: a token, the pod's ServiceAccount, or an AppRole, all from files."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

from sekisho.errors import Reason, RefusedError
from sekisho.kms import failures
from sekisho.kms.openbao_wire import KMS, Wire

_LEASE_SHARE: Final = 0.8
_MAX_TOKEN_CHARACTERS: Final = 16 * 1024


@dataclass(frozen=True, slots=True)
class TokenFile:
    """Use the token in a file, read anew for every request: an OpenBao agent keeps it fresh."""

    file: Path


@dataclass(frozen=True, slots=True)
class KubernetesLogin:
    """Log in with a ServiceAccount token; the auth methods `kubernetes` and `jwt` take the same request."""

    role: str
    jwt_file: Path
    mount: str = "kubernetes"


@dataclass(frozen=True, slots=True)
class AppRoleLogin:
    """Log in as an AppRole."""

    role_id_file: Path
    secret_id_file: Path
    mount: str = "approle"


Login: TypeAlias = TokenFile | KubernetesLogin | AppRoleLogin


@dataclass(frozen=True, slots=True)
class _Lease:
    token: str = field(repr=False)
    until: float


class Session:
    """Hold the token that requests carry; safe to use from several threads.

    Args:
        login: Where the proof comes from.
        clock: Monotonic seconds.
    """

    def __init__(self, login: Login, wire: Wire, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._login = login
        self._wire = wire
        self._clock = clock
        self._lock = threading.Lock()
        self._lease: _Lease | None = None

    def token(self) -> str:
        """Return a token, logging in where none is valid for long enough."""
        if isinstance(self._login, TokenFile):
            return failures.read_secret_file(KMS, self._login.file)
        with self._lock:
            if self._lease is None or self._clock() >= self._lease.until:
                self._lease = self._log_in(self._login)
            return self._lease.token

    def forget(self, token: str) -> bool:
        """Drop a token that was denied; tell whether another one can be had."""
        if isinstance(self._login, TokenFile):
            return False
        with self._lock:
            if self._lease is not None and self._lease.token == token:
                self._lease = None
        return True

    def _log_in(self, login: KubernetesLogin | AppRoleLogin) -> _Lease:
        asked_at = self._clock()
        answer = self._wire.call("POST", f"auth/{login.mount}/login", _read_proof(login))
        if answer.status >= 500:
            raise failures.unavailable(KMS, f"the login at auth/{login.mount} failed with status {answer.status}")
        if answer.status != 200:
            # it denies as well where it could not ask the API server about the token
            more = ", and that the API server answers it" if isinstance(login, KubernetesLogin) else ""
            text = (
                f"{KMS} denied the login at auth/{login.mount} (status {answer.status}); check role and policies{more}"
            )
            raise RefusedError(Reason.KEY_DENIED, text)
        auth: Any = answer.body.get("auth")
        token = auth.get("client_token") if isinstance(auth, dict) else None
        seconds = auth.get("lease_duration") if isinstance(auth, dict) else None
        if not isinstance(token, str) or not 0 < len(token) <= _MAX_TOKEN_CHARACTERS or not token.isprintable():
            raise failures.unavailable(KMS, "its answer to the login holds no token")
        return _Lease(token, asked_at + _LEASE_SHARE * (seconds if isinstance(seconds, int) else 0))


def _read_proof(login: KubernetesLogin | AppRoleLogin) -> dict[str, str]:
    if isinstance(login, KubernetesLogin):
        return {"role": login.role, "jwt": failures.read_secret_file(KMS, login.jwt_file)}
    return {
        "role_id": failures.read_secret_file(KMS, login.role_id_file),
        "secret_id": failures.read_secret_file(KMS, login.secret_id_file),
    }
