"""Callers known by the certificate of their connection, which TLS has verified against the configured roots. Pure."""

from collections.abc import Mapping
from typing import Any, Final

from sekisho.errors import Reason, RefusedError

PREFIX: Final = "mtls:"
_MAX_NAME: Final = 256


def read_peer(certificate: Mapping[str, Any]) -> str:
    """Return the username of a verified certificate: its one URI, or else its one common name.

    Args:
        certificate: As `ssl.SSLSocket.getpeercert` returns it.

    Raises:
        RefusedError: Unauthenticated: it names nobody, or more than one.
    """
    uris = [str(value) for kind, value in certificate.get("subjectAltName", ()) if kind == "URI"]
    names = [str(value) for part in certificate.get("subject", ()) for kind, value in part if kind == "commonName"]
    found = uris or names
    if len(found) != 1 or not 0 < len(found[0]) <= _MAX_NAME or not found[0].isprintable():
        raise RefusedError(
            Reason.UNAUTHENTICATED,
            f"the certificate of the connection names {len(found)} callers; it must have one URI (as SPIFFE does) or "
            "one common name",
        )
    return PREFIX + found[0]
