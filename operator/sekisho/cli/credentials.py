"""Who we are to a registry: docker's config.json and its credential helpers, as other OCI clients read them."""

import base64
import binascii
import json
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sekisho.cli.failures import refuse
from sekisho.errors import Reason

_MAX_CONFIG_BYTES: Final = 1024 * 1024
_HELPER: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_HELPER_SECONDS: Final = 30


@dataclass(frozen=True, slots=True)
class Login:
    """A user and a password for one registry; secret."""

    user: str
    password: str = field(repr=False)

    def basic(self) -> str:
        """Spell an Authorization header."""
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()


def find_login(host: str, environment: Mapping[str, str]) -> Login | None:
    """Find the login for a registry; None where nothing is configured for it.

    Raises:
        RefusedError: CredentialsMissing: the configuration or a helper cannot be read.
    """
    folder = environment.get("DOCKER_CONFIG") or str(Path(environment.get("HOME", "/")) / ".docker")
    place = Path(folder) / "config.json"
    if not place.is_file():
        return None
    try:
        config = json.loads(place.read_bytes()[:_MAX_CONFIG_BYTES])
    except (ValueError, RecursionError) as error:
        raise _missing(f"{place} is not JSON") from error
    if not isinstance(config, dict):
        raise _missing(f"{place} is not a JSON object")
    helper = _object(config.get("credHelpers")).get(host) or config.get("credsStore")
    auths = _object(config.get("auths"))
    entry = _object(auths.get(host) or auths.get(f"https://{host}"))
    if entry.get("auth"):
        return _decode(str(entry["auth"]), host)
    return _ask_helper(str(helper), host) if helper else None


def _ask_helper(helper: str, host: str) -> Login | None:
    if not _HELPER.fullmatch(helper):
        raise _missing("the credential helper has an unusual name")
    program = f"docker-credential-{helper}"
    try:
        answer = subprocess.run(
            [program, "get"], input=host.encode(), capture_output=True, timeout=_HELPER_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _missing(f"{program} cannot be run or does not answer in {_HELPER_SECONDS} s") from error
    if answer.returncode != 0:
        return None  # the helper knows nothing of this registry
    try:
        value = json.loads(answer.stdout)
        return Login(str(value["Username"]), str(value["Secret"]))
    except (ValueError, KeyError, TypeError) as error:
        raise _missing(f"{program} did not answer with a user and a secret") from error


def _decode(text: str, host: str) -> Login:
    try:
        user, colon, password = base64.b64decode(text, validate=True).decode().partition(":")
    except (binascii.Error, ValueError) as error:
        raise _missing(f"the entry for {host} in docker's config.json is not base64") from error
    if not colon:
        raise _missing(f"the entry for {host} in docker's config.json has no password")
    return Login(user, password)


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _missing(text: str) -> Exception:
    return refuse(f"{text}; run `docker login`, or repair the file", reason=Reason.CREDENTIALS_MISSING)
