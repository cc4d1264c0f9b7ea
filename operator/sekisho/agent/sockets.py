"""Who talks to the engine: the pod's own table of TCP connections, which agent and engine share."""

import contextlib
import ipaddress
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_TABLES: Final = ("tcp", "tcp6")
_ESTABLISHED: Final = "01"
_MAX_BYTES: Final = 8 * 1024 * 1024
_CONNECT_SECONDS: Final = 1.0


def has_callers(port: int, *, tables: Path = Path("/proc/net")) -> bool:
    """Tell whether somebody outside the pod holds a connection to `port`; callers of models close theirs soon.

    What cannot be read counts as a caller: whoever waits for them waits no longer than it may.
    """
    read = False
    for name in _TABLES:
        with contextlib.suppress(OSError, ValueError):
            with (tables / name).open(encoding="ascii") as file:
                text = file.read(_MAX_BYTES)
            read = True
            if any(local == port and not _is_own(remote) for local, remote in _parse(text)):
                return True
    return not read


def is_listening(port: int, *, host: str = "127.0.0.1") -> bool:
    """Tell whether something in the pod takes connections at `port`; only a refusal says that nothing does."""
    with socket.socket() as sock:
        sock.settimeout(_CONNECT_SECONDS)
        try:
            sock.connect((host, port))
        except ConnectionRefusedError:
            return False
        except OSError:
            return True
    return True


def _parse(text: str) -> Iterator[tuple[int, str]]:
    """Read lines of proc(5) tcp: local port and remote address of each established connection."""
    for line in text.splitlines()[1:]:
        words = line.split()
        if len(words) > 3 and words[3] == _ESTABLISHED:
            yield int(words[1].rpartition(":")[2], 16), words[2].rpartition(":")[0]


def _is_own(remote: str) -> bool:
    """Tell whether an address, spelt as words of the machine's byte order, is one of the pod's loopback."""
    data = b"".join(struct.pack("=I", int(remote[i : i + 8], 16)) for i in range(0, len(remote), 8))
    address = ipaddress.ip_address(data)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback
