"""Which addresses of key services are acceptable."""

import urllib.parse
from typing import Final

from sekisho.kms import failures

LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})


def check_endpoint(kms: str, endpoint: str) -> None:
    """Refuse an address that is neither empty, https, nor http on this machine.

    Raises:
        UnavailableError: Anything else: a token or a data key would travel in the clear.
    """
    if not endpoint:
        return
    url = urllib.parse.urlsplit(endpoint)
    if not url.hostname or (url.scheme != "https" and not (url.scheme == "http" and url.hostname in LOOPBACK)):
        raise failures.unavailable(kms, "its address must begin with https:// and name a host")
