"""Segments: where a file is cut, how each piece is sealed, and how it is opened or refused.

AES-256-GCM under a key of the file's own. The nonce carries the segment's place and whether it is the last, so a
segment that was moved, repeated or left out does not open. Tags stand apart in a table that the signed manifest
names, so ciphertext is as long as plaintext and every offset is equal.
"""

from collections.abc import Sequence
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.utils import Buffer

from sekisho.errors import Reason, RefusedError
from sekisho.seal.canonical import encode_canonical
from sekisho.seal.facts import FORMAT, KEY_BYTES, SALT_BYTES, SEGMENT_BYTES, TAG_BYTES, ModelIdentity
from sekisho.seal.keys import derive
from sekisho.seal.table import Segment, SegmentTable

__all__ = [
    "MAX_SEGMENTS",
    "NONCE_BYTES",
    "SEGMENT_BYTES",
    "TAG_BYTES",
    "Segment",
    "SegmentOpener",
    "SegmentSealer",
    "SegmentTable",
    "build_nonce",
    "cut_segments",
    "derive_file_key",
]

MAX_SEGMENTS: Final = 2**32
NONCE_BYTES: Final = 12


def cut_segments(size: int, boundaries: Sequence[int] = ()) -> tuple[int, ...]:
    """Cut a file of `size` bytes into segments; their lengths, in order.

    Whole pieces between boundaries are packed until the next would pass 4 MiB. A piece larger than that starts a
    segment of its own and is cut every 4 MiB; what is left of it is packed with the pieces after it.

    Args:
        size: Bytes of the whole file.
        boundaries: Ascending offsets where tensors begin or end; those outside the file count for nothing.

    Returns:
        At least one length. All are 1 to 4194304, but an empty file is one segment of length 0.
    """
    lengths: list[int] = []
    start = position = 0
    for end in (*sorted({offset for offset in boundaries if 0 < offset < size}), size):
        if end - start > SEGMENT_BYTES and position > start:
            lengths.append(position - start)
            start = position
        while end - start > SEGMENT_BYTES:
            lengths.append(SEGMENT_BYTES)
            start += SEGMENT_BYTES
        position = end
    if position > start:
        lengths.append(position - start)
    return tuple(lengths) or (0,)


def derive_file_key(data_key: bytes | bytearray, model: ModelIdentity, *, path: str, salt: bytes) -> bytes:
    """Derive the key of one file; it fits this model, version, class and path only.

    Args:
        data_key: 32 secret bytes.
        model: Name, version and class the file belongs to.
        path: Path of the plaintext, as in the manifest.
        salt: The file's own 32 random bytes; a file that is sealed anew gets a new salt, so no nonce is used twice.

    Raises:
        RefusedError: Salt or data key have not 32 bytes.
    """
    if len(salt) != SALT_BYTES:
        raise RefusedError(Reason.SEAL_INVALID, f'the salt of "{path}" has {len(salt)} bytes, {SALT_BYTES} are needed')
    info = {"class": model.data_class, "format": FORMAT, "model": model.name, "path": path, "version": model.version}
    return derive(data_key, salt=salt, info=encode_canonical(info), length=KEY_BYTES)


def build_nonce(index: int, *, last: bool) -> bytes:
    """Spell the nonce of a segment: 7 zero bytes, its place as u32 big-endian, 1 where it is the last."""
    return bytes(7) + index.to_bytes(4, "big") + bytes([last])


class SegmentSealer:
    """Seal the segments of one file, in any order, each exactly once; threads may share it.

    Args:
        key: The file's own 32 bytes, never used for another sealing.
        total: How many segments there will be.
    """

    __slots__ = ("_cipher", "_total", "_unused")

    def __init__(self, key: bytes, total: int) -> None:
        self._cipher, self._total = _open_cipher(key, total), total
        self._unused = set(range(total))

    def seal(self, index: int, plaintext: Buffer) -> tuple[bytes, bytes]:
        """Return ciphertext, as long as `plaintext`, and its 16-byte tag."""
        sealed = bytearray(memoryview(plaintext).nbytes + TAG_BYTES)
        self.seal_into(index, plaintext, sealed)
        return bytes(sealed[:-TAG_BYTES]), bytes(sealed[-TAG_BYTES:])

    def seal_into(self, index: int, plaintext: Buffer, dest: Buffer) -> None:
        """Write ciphertext and tag into `dest`, which is 16 bytes longer than `plaintext`.

        Raises:
            RefusedError: The segment was sealed before (the nonce would be used twice), or a length is wrong.
        """
        length = memoryview(plaintext).nbytes
        if length > SEGMENT_BYTES or memoryview(dest).nbytes != length + TAG_BYTES:
            raise RefusedError(
                Reason.SEAL_INVALID,
                f"segment {index} has {length} bytes and room for {memoryview(dest).nbytes}; "
                f"at most {SEGMENT_BYTES} and {TAG_BYTES} more are needed",
            )
        try:
            self._unused.remove(index)
        except KeyError as error:
            raise RefusedError(
                Reason.SEAL_INVALID,
                f"segment {index} of {self._total} was sealed before, or is no segment of this file",
            ) from error
        self._cipher.encrypt_into(build_nonce(index, last=index == self._total - 1), plaintext, None, dest)


class SegmentOpener:
    """Open the segments of one file, in any order; threads may share it.

    Args:
        key: The file's own 32 bytes.
        total: How many segments the file has, by the signed manifest.
        name: What the file is called in a refusal.
    """

    __slots__ = ("_cipher", "_name", "_total")

    def __init__(self, key: bytes | bytearray, total: int, *, name: str = "the file") -> None:
        self._cipher, self._total, self._name = _open_cipher(key, total), total, name

    def open(self, index: int, ciphertext: Buffer, tag: Buffer) -> bytes:
        """Return the plaintext of a segment.

        Raises:
            RefusedError: Anything about it differs from what was sealed.
        """
        if memoryview(tag).nbytes != TAG_BYTES:
            raise self._broken(index)
        return bytes(self._open(index, b"".join((ciphertext, tag))))

    def open_into(self, index: int, sealed: Buffer, dest: Buffer) -> int:
        """Write the plaintext of a segment into `dest` and return its length.

        Args:
            index: Place of the segment in its file, from 0.
            sealed: Ciphertext, then the 16-byte tag.
            dest: Exactly as long as the ciphertext. It must not be read by anyone before this returns: the cipher
                writes before it knows whether the tag holds. It is zeroed where it does not.

        Raises:
            RefusedError: Anything about it differs from what was sealed; `dest` holds nothing of it.
        """
        target = memoryview(dest).cast("B")
        try:
            nonce = self._nonce(index, memoryview(sealed).nbytes, room=target.nbytes)
            return self._cipher.decrypt_into(nonce, sealed, None, dest)
        except InvalidTag as error:
            target[:] = bytes(target.nbytes)
            raise self._broken(index) from error

    def _open(self, index: int, sealed: bytes) -> bytearray:
        dest = bytearray(max(0, len(sealed) - TAG_BYTES))
        self.open_into(index, sealed, dest)
        return dest

    def _nonce(self, index: int, length: int, *, room: int) -> bytes:
        if not 0 <= index < self._total or not TAG_BYTES <= length <= SEGMENT_BYTES + TAG_BYTES:
            raise self._broken(index)
        if length != room + TAG_BYTES:
            raise RefusedError(
                Reason.SEAL_BROKEN,
                f"segment {index} of {self._name} has {length - TAG_BYTES} bytes, {room} were to be filled",
            )
        return build_nonce(index, last=index == self._total - 1)

    def _broken(self, index: int) -> RefusedError:
        return RefusedError(
            Reason.SEAL_BROKEN,
            f"segment {index} of {self._total} of {self._name} does not open: it was changed, moved or cut, "
            "or belongs to another model, version, class, file or key",
        )


def _open_cipher(key: bytes | bytearray, total: int) -> AESGCM:
    if not 1 <= total <= MAX_SEGMENTS:
        raise RefusedError(Reason.SEAL_INVALID, f"a file has 1 to {MAX_SEGMENTS} segments, not {total}")
    if len(key) != KEY_BYTES:
        raise RefusedError(Reason.KEY_MISMATCH, f"the file key has {len(key)} bytes, {KEY_BYTES} are needed")
    return AESGCM(key)
