"""Hand the keys of single files from the agent to the engine beside it, over a socket in memory-backed storage.

One JSON object for each connection, then the end; an engine that starts anew asks anew. The engine never has the data
key: the keys of the files it loads open nothing else, and the digest beside them says which manifest the agent has
verified.
"""

import base64
import contextlib
import os
import socket
import stat
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sekisho.errors import Reason, RefusedError, UnavailableError
from sekisho.loader.opening import SealedModel, open_model
from sekisho.seal.canonical import encode_canonical, parse_canonical
from sekisho.seal.facts import KEY_BYTES, MANIFEST_NAME, MAX_FILES, MAX_MANIFEST_BYTES
from sekisho.seal.fields import DIGEST, Fields
from sekisho.seal.manifest import digest_of, parse_manifest

FORMAT: Final = "sekisho-handover-v1"
MAX_BYTES: Final = 16 * 1024 * 1024
WEIGHTS_SUFFIX: Final = ".safetensors"
_NAME: Final = "what was handed over"
_CHUNK_BYTES: Final = 64 * 1024
_POLL_SECONDS: Final = 0.1
_ANSWER_SECONDS: Final = 10.0
# The agent may have to ask for the key first, with evidence, which it bounds by minutes.
_WAITS_SECONDS: Final = 120.0
_LOOK_SECONDS: Final = 0.25
_CREDENTIALS: Final = struct.Struct("3i")


@dataclass(slots=True)
class Handover:
    """What an engine needs to open the files that it loads.

    Attributes:
        manifest_digest: Of the manifest that was verified.
        keys: File keys by path, secret, 32 bytes each.
    """

    manifest_digest: str
    keys: dict[str, bytearray] = field(repr=False)

    def wipe(self) -> None:
        """Overwrite the keys and forget them."""
        for key in self.keys.values():
            key[:] = bytes(len(key))
        self.keys.clear()

    def encode(self) -> bytearray:
        """Spell it for the socket; wipe the bytes after use."""
        keys = {path: base64.b64encode(key).decode() for path, key in self.keys.items()}
        return bytearray(encode_canonical({"format": FORMAT, "keys": keys, "manifestDigest": self.manifest_digest}))

    @classmethod
    def parse(cls, data: bytes) -> "Handover":
        """Read it strictly.

        Raises:
            RefusedError: Any other spelling, a digest that is none, no key, one of another length, too many.
        """
        value = parse_canonical(data, name=_NAME, max_bytes=MAX_BYTES)
        fields = Fields.of(value, name=_NAME, known=("format", "keys", "manifestDigest"))
        if fields.text("format") != FORMAT:
            raise fields.refuse("format", f'is not "{FORMAT}"; agent and engine must be of one version')
        keys = value["keys"]
        if not isinstance(keys, dict) or not 1 <= len(keys) <= MAX_FILES:
            raise fields.refuse("keys", f"are not an object with 1 to {MAX_FILES} keys")
        return cls(fields.text("manifestDigest", pattern=DIGEST), {path: _read_key(keys, path) for path in keys})


def stays_sealed(path: str) -> bool:
    """Tell whether a file of a sealed model is left to an engine that decrypts by itself."""
    return path.endswith(WEIGHTS_SUFFIX)


def is_handed_over(path: str) -> bool:
    """Tell whether an engine gets the key of a file: of those at the top, as vLLM looks into no folder below."""
    return stays_sealed(path) and "/" not in path


def hand_over_on_demand(
    place: Path, bring: Callable[[], Handover | None], *, is_over: Callable[[], bool], user: int | None = None
) -> None:
    """Give keys to each process that connects, brought anew for each and wiped at once, until `is_over`.

    Args:
        place: As for `serve_file_keys`.
        bring: Gets the keys, within a minute or two; None where they cannot be had now: the connection is closed
            without a word, and the engine connects again.
        is_over: Asked several times a second, and once more before anything is sent.
        user: As for `serve_file_keys`.

    Raises:
        RefusedError: Something else than a socket is at `place`.
    """
    allowed = os.getuid() if user is None else user
    with _listening(place) as listener:
        listener.settimeout(_LOOK_SECONDS)
        while not is_over():
            with contextlib.suppress(OSError):  # nobody came, or went away
                connection, _ = listener.accept()
                with connection:
                    if _is_allowed(connection, allowed) and (handover := bring()) is not None:
                        _send(connection, handover, unless=is_over)


def _send(connection: socket.socket, handover: Handover, *, unless: Callable[[], bool]) -> None:
    try:
        if unless():
            return
        data = handover.encode()
        try:
            connection.settimeout(_ANSWER_SECONDS)
            connection.sendall(data)
        finally:
            data[:] = bytes(len(data))
    finally:
        handover.wipe()


def serve_file_keys(place: Path, handover: Handover, *, times: int = 1, seconds: float, user: int | None = None) -> int:
    """Give the keys to whoever connects, and wipe them: after `times` connections, at the latest after `seconds`.

    Args:
        place: Where the socket will be; its folder must be memory-backed and shared by agent and engine alone. A socket
            that an earlier agent left there is replaced.
        handover: Is wiped at the end, whatever happens.
        times: How many processes of the engine load weights: one a rank.
        seconds: How long to wait for all of them.
        user: The only user that is answered; this process' own unless told otherwise.

    Returns:
        How many were answered.

    Raises:
        RefusedError: Something else than a socket is at `place`.
    """
    allowed, until, answered = os.getuid() if user is None else user, time.monotonic() + seconds, 0
    try:
        with _listening(place) as listener:
            while answered < times and (left := until - time.monotonic()) > 0:
                listener.settimeout(left)
                with contextlib.suppress(OSError):  # nobody came in time, or went away
                    answered += _answer(listener, handover, allowed)
    finally:
        handover.wipe()
    return answered


def fetch_file_keys(place: Path, *, seconds: float) -> Handover:
    """Get the keys from the agent; wait for it where it is not there yet.

    Raises:
        UnavailableError: Nobody handed anything over in time.
        RefusedError: What was handed over is not spelt as it must be.
    """
    until = time.monotonic() + seconds
    while True:
        data = bytearray()
        try:
            _receive(place, data)
            if data:
                return Handover.parse(bytes(data))
        except OSError:
            pass  # not there yet, or not for this user
        finally:
            data[:] = bytes(len(data))
        if time.monotonic() >= until:
            raise UnavailableError(
                Reason.WEIGHTS_PENDING,
                f"no keys were handed over at {place} within {seconds:g} s; the agent's log tells what it waits for",
            )
        time.sleep(_POLL_SECONDS)


def open_handed_over(folder: Path, handover: Handover) -> SealedModel:
    """Open a sealed folder with what the agent handed over.

    Raises:
        RefusedError: Its manifest is not the one that the agent has verified, or the folder is not as that says.
    """
    try:
        with (folder / MANIFEST_NAME).open("rb") as file:
            data = file.read(MAX_MANIFEST_BYTES + 1)
    except OSError as error:
        raise RefusedError(
            Reason.SEAL_BROKEN, f"{folder / MANIFEST_NAME} cannot be read: {error.strerror}; fetch the model again"
        ) from error
    if (found := digest_of(data)) != handover.manifest_digest:
        raise RefusedError(
            Reason.SEAL_BROKEN,
            f"{MANIFEST_NAME} has digest {found}, the one that was verified has {handover.manifest_digest}",
        )
    return open_model(folder, parse_manifest(data), {path: bytes(key) for path, key in handover.keys.items()})


@contextmanager
def _listening(place: Path) -> Iterator[socket.socket]:
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(place.lstat().st_mode):
            raise RefusedError(Reason.INVALID_SPEC, f"{place} is there and is no socket; name another place")
        place.unlink()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        # Only its owner can connect, from the first moment on: the socket gets its mode before it listens.
        listener.bind(str(place))
        try:
            place.chmod(0o600)
            listener.listen(8)
            yield listener
        finally:
            place.unlink(missing_ok=True)


def _answer(listener: socket.socket, handover: Handover, allowed: int) -> bool:
    connection, _ = listener.accept()
    with connection:
        connection.settimeout(_ANSWER_SECONDS)
        if not _is_allowed(connection, allowed):
            return False
        data = handover.encode()
        try:
            connection.sendall(data)
        finally:
            data[:] = bytes(len(data))
    return True


def _is_allowed(connection: socket.socket, user: int) -> bool:
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return bool(_CREDENTIALS.unpack(credentials)[1] == user)


def _receive(place: Path, into: bytearray) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_WAITS_SECONDS)
        connection.connect(str(place))
        while chunk := connection.recv(_CHUNK_BYTES):
            into += chunk
            if len(into) > MAX_BYTES:
                raise RefusedError(Reason.SEAL_INVALID, f"{_NAME} has more than {MAX_BYTES} bytes")


def _read_key(keys: dict[str, Any], path: str) -> bytearray:
    key = Fields(f"{_NAME}.keys", keys).base64(path, most=KEY_BYTES)
    if len(key) != KEY_BYTES:
        raise RefusedError(
            Reason.KEY_MISMATCH, f'the key handed over for "{path[:128]}" has {len(key)} bytes, {KEY_BYTES} are needed'
        )
    return bytearray(key)
