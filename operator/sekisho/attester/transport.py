"""The way to a TPM: a character device of the kernel, or the Unix socket of a software TPM. Blocking."""

import os
import select
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol

from sekisho.attest.tpm2.wire import HEADER_BYTES, MAX_MESSAGE_BYTES, is_busy, read_length
from sekisho.errors import Reason, RefusedError, UnavailableError

# The slowest command, making an RSA key, takes some chips a minute.
ANSWER_SECONDS: Final = 90.0
_CONNECT_SECONDS: Final = 5.0
_TRIES: Final = 40
_PAUSE_SECONDS: Final = 0.05


class Channel(Protocol):
    """An open way to a TPM."""

    def execute(self, command: bytes) -> bytes:
        """Send one command and return the answer.

        Raises:
            UnavailableError: EvidenceMissing; the TPM does not answer.
        """
        ...


@contextmanager
def open_tpm(path: Path) -> Iterator[Channel]:
    """Open the TPM at a path, for as long as the context is open.

    Through a device with a resource manager (/dev/tpmrm0) whatever was loaded is gone when it is closed.

    Raises:
        RefusedError: EvidenceMissing; there is none.
        UnavailableError: EvidenceMissing; it cannot be opened now.
    """
    try:
        if not stat.S_ISSOCK(path.stat().st_mode):
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                yield _Patient(_Device(descriptor, path))
            finally:
                os.close(descriptor)
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_CONNECT_SECONDS)
            connection.connect(str(path))
            connection.settimeout(ANSWER_SECONDS)
            yield _Patient(_Socket(connection, path))
    except FileNotFoundError as error:
        raise RefusedError(Reason.EVIDENCE_MISSING, f"there is no TPM at {path}") from error
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise UnavailableError(Reason.EVIDENCE_MISSING, f"the TPM at {path} cannot be used: {why}") from error


class _Patient:
    """Asks again where the TPM is busy: by its own word the same command will do in a moment."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def execute(self, command: bytes) -> bytes:
        for _ in range(_TRIES):
            answer = self._channel.execute(command)
            if not is_busy(answer):
                break
            time.sleep(_PAUSE_SECONDS)
        return answer


class _Device:
    """A device takes a command by one write and gives its answer by one read."""

    def __init__(self, descriptor: int, path: Path) -> None:
        self._descriptor, self._path = descriptor, path

    def execute(self, command: bytes) -> bytes:
        if os.write(self._descriptor, command) != len(command):
            raise _silent(self._path, "took a part of a command")
        ready, _, _ = select.select([self._descriptor], [], [], ANSWER_SECONDS)
        if not ready:
            raise _silent(self._path, f"did not answer within {ANSWER_SECONDS:.0f} s")
        return os.read(self._descriptor, MAX_MESSAGE_BYTES)


class _Socket:
    def __init__(self, connection: socket.socket, path: Path) -> None:
        self._connection, self._path = connection, path

    def execute(self, command: bytes) -> bytes:
        self._connection.sendall(command)
        header = self._read(HEADER_BYTES)
        return header + self._read(read_length(header) - HEADER_BYTES)

    def _read(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count:
            chunk = self._connection.recv(count - len(data))
            if not chunk:
                raise _silent(self._path, "hung up in the middle of an answer")
            data += chunk
        return bytes(data)


def _silent(path: Path, what: str) -> UnavailableError:
    return UnavailableError(Reason.EVIDENCE_MISSING, f"the TPM at {path} {what}")
