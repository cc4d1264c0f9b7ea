"""Ports for processes that are about to start."""

import secrets
import socket
from pathlib import Path

_FIRST = 20_000
# From here on the system takes ports for connections: by the time a process listens one of them may have it.
_LENT = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free_port() -> int:
    """Return a port of the loopback address that nothing has now, and no connection will be given.

    Raises:
        OSError: A hundred tries found none.
    """
    lent = int(_LENT.read_text().split()[0]) if _LENT.exists() else 32_768
    failure = OSError("no port is free")
    for _ in range(100):
        # Tests make plain random numbers repeat: several that run at once would ask for the same port.
        port = _FIRST + secrets.randbelow(max(1, lent - _FIRST))
        with socket.socket() as trial:
            try:
                trial.bind(("127.0.0.1", port))
            except OSError as error:
                failure = error
            else:
                return port
    raise failure
