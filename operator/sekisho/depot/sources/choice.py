"""Which configured source a storage URI belongs to, and with what credentials."""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from sekisho.depot.settings import SourceEntry
from sekisho.errors import Reason, RefusedError

MAX_CREDENTIAL_BYTES: Final = 64 * 1024
SCHEMES: Final = ("oci", "https", "s3")


@dataclass(frozen=True, slots=True)
class Credential:
    """What a source is shown; never printed.

    Attributes:
        name: User name or access key id.
        secret: Password or secret key.
        token: Bearer or session token.
    """

    name: str = ""
    secret: str = field(default="", repr=False)
    token: str = field(default="", repr=False)

    def basic(self) -> str:
        """Return the value of a Basic Authorization header."""
        return "Basic " + base64.b64encode(f"{self.name}:{self.secret}".encode()).decode()


def choose_source(uri: str, entries: Sequence[SourceEntry], *, anonymous: bool, namespace: str) -> SourceEntry:
    """Return the entry with the longest prefix that `uri` lies below, where it is for a namespace.

    A URI above a source that is not for the namespace is refused too: it could be a folder that holds that one.

    Args:
        uri: A storage URI; see `check_uri`.
        entries: The configured sources.
        anonymous: Whether a URI without an entry may be read without credentials.
        namespace: Whose service or Model names the URI.

    Raises:
        RefusedError: StorageUriInvalid, or SourceNotAllowed with the next step.
    """
    check_uri(uri)
    fitting = [entry for entry in entries if _lies_below(uri, entry.prefix)]
    found = max(fitting, key=lambda entry: len(entry.prefix), default=None)
    beneath = [entry for entry in entries if _lies_below(entry.prefix, uri.rstrip("/"))]
    for entry in [*([found] if found is not None else []), *beneath]:
        if entry.namespaces is not None and namespace not in entry.namespaces:
            raise RefusedError(
                Reason.SOURCE_NOT_ALLOWED,
                f"{uri} is not for namespace {namespace}: the source {entry.prefix} names others; an administrator "
                "adds it to the namespaces of that source in depot.sources",
            )
    if found is not None:
        return found
    if anonymous:
        return SourceEntry(prefix=uri)
    known = ", ".join(entry.prefix for entry in entries[:8]) or "none"
    raise RefusedError(
        Reason.SOURCE_NOT_ALLOWED,
        f"{uri} is below no source of the depot (configured: {known}); an administrator adds it to depot.sources",
    )


def check_uri(uri: str) -> None:
    """Refuse a URI whose meaning could differ from what its prefix says.

    Raises:
        RefusedError: StorageUriInvalid.
    """
    try:
        parts = urlsplit(uri)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise RefusedError(Reason.STORAGE_URI_INVALID, "the storage URI cannot be parsed") from error
    wrong = ""
    if parts.scheme not in SCHEMES or not host:
        wrong = f"does not begin with one of {', '.join(f'{scheme}://' for scheme in SCHEMES)} and a host"
    elif "@" in parts.netloc:
        wrong = "carries a user name; credentials belong into a Secret that the depot mounts"
    elif parts.query or parts.fragment or "%" in uri or "\\" in uri:
        wrong = "has a query, a fragment or escaped characters; name the path plainly"
    elif any(part in {".", ".."} for part in parts.path.split("/")) or "//" in parts.path:
        wrong = "has empty or climbing parts in its path"
    if wrong:
        raise RefusedError(Reason.STORAGE_URI_INVALID, f"the storage URI {wrong}")


def read_credential(entry: SourceEntry, *, host: str) -> Credential | None:
    """Read the mounted Secret of a source; None for a source without one. Read for every fetch: Secrets rotate.

    Raises:
        RefusedError: CredentialsMissing, naming the Secret.
    """
    if entry.credentials_dir is None:
        return None
    folder = Path(entry.credentials_dir)
    values = {name: _read(folder / name) for name in _FILES}
    docker = values[".dockerconfigjson"] or values["config.json"]
    if docker:
        found = _parse_docker(docker, host)
        if found is not None:
            return found
    if values["token"]:
        return Credential(token=values["token"])
    name, secret = values["username"] or values["accessKeyId"], values["password"] or values["secretAccessKey"]
    if name and secret:
        return Credential(name, secret, values["sessionToken"])
    label = f'Secret "{entry.credentials_secret}"' if entry.credentials_secret else f"the Secret at {folder}"
    raise RefusedError(
        Reason.CREDENTIALS_MISSING,
        f"{label} for {entry.prefix} is missing or lacks username and password (or accessKeyId and secretAccessKey, "
        "token, or .dockerconfigjson); create it in the depot's namespace",
    )


_FILES: Final = (
    "username", "password", "accessKeyId", "secretAccessKey", "sessionToken", "token",
    ".dockerconfigjson", "config.json",
)  # fmt: skip


def _read(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(MAX_CREDENTIAL_BYTES).strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _parse_docker(text: str, host: str) -> Credential | None:
    try:
        entry = json.loads(text)["auths"][host]
        if "auth" in entry:
            name, _, secret = base64.b64decode(entry["auth"], validate=True).decode().partition(":")
        else:
            name, secret = str(entry["username"]), str(entry["password"])
    except (ValueError, KeyError, TypeError):
        return None
    return Credential(name, secret) if name and secret else None


def _lies_below(uri: str, prefix: str) -> bool:
    """Tell whether `prefix` ends at a border within `uri`: a host must not be taken for the start of another."""
    if not uri.startswith(prefix):
        return False
    rest = uri[len(prefix) :]
    return prefix.endswith("/") or not rest or rest[0] == "/" or (rest[0] in ":@" and "/" in prefix.partition("://")[2])
