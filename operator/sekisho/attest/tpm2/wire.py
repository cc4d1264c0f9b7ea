"""TPM 2.0 on the wire (TCG TPM 2.0 Library, Part 1, clauses 18 to 20): big-endian numbers, sized buffers, headers.

Answers come from a device or a socket and are read within bounds: nothing is read past its end, nothing is left over.
"""

import struct
from dataclasses import dataclass
from typing import Final

from sekisho.errors import Reason, RefusedError, UnavailableError

MAX_MESSAGE_BYTES: Final = 4096
HEADER_BYTES: Final = 10
NO_SESSIONS: Final = 0x8001
SESSIONS: Final = 0x8002
PASSWORD: Final = 0x40000009  # TPM_RS_PW
NULL_HANDLE: Final = 0x40000007
ENDORSEMENT: Final = 0x4000000B

SHA256: Final = 0x000B
ALG_NULL: Final = 0x0010

# TPM_RC_TESTING, _YIELDED, _RETRY, _NV_RATE: the same command may succeed in a moment.
_LATER: Final = frozenset({0x90A, 0x908, 0x922, 0x920})
_KNOWN: Final = {
    0x100: "TPM_RC_INITIALIZE: it was not started up",
    0x101: "TPM_RC_FAILURE: it failed its self-test",
    0x120: "TPM_RC_DISABLED: it is disabled in the firmware",
    0x18B: "TPM_RC_HANDLE: no such object or index",
    0x28B: "TPM_RC_HANDLE: no such object or index",
    0x902: "TPM_RC_OBJECT_MEMORY: its slots for keys are taken",
    0x903: "TPM_RC_SESSION_MEMORY: its slots for sessions are taken",
    0x921: "TPM_RC_LOCKOUT: it is locked after wrong authorisations",
    0x98E: "TPM_RC_AUTH_FAIL: its endorsement hierarchy has a password, which must be empty",
    0x9A2: "TPM_RC_BAD_AUTH: its endorsement hierarchy has a password, which must be empty",
    0x1DF: "TPM_RC_INTEGRITY: the credential was made for another key",
    0x2DF: "TPM_RC_INTEGRITY: the credential was made for another key",
}


@dataclass(slots=True)
class Reader:
    """Reads a structure from its beginning to its end.

    Attributes:
        what: How refusals call it.
    """

    data: bytes
    what: str
    at: int = 0

    def take(self, count: int) -> bytes:
        """Return the next bytes.

        Raises:
            RefusedError: EvidenceInvalid; it ends before.
        """
        if count > len(self.data) - self.at:
            raise self.refuse(f"ends after {len(self.data)} bytes, {count} more were expected at {self.at}")
        self.at += count
        return self.data[self.at - count : self.at]

    def u8(self) -> int:
        """Read one byte as a number."""
        return self.take(1)[0]

    def u16(self) -> int:
        """Read a number of 2 bytes."""
        return int.from_bytes(self.take(2), "big")

    def u32(self) -> int:
        """Read a number of 4 bytes."""
        return int.from_bytes(self.take(4), "big")

    def sized(self, most: int = MAX_MESSAGE_BYTES) -> bytes:
        """Read a TPM2B: a length of 2 bytes, and so many bytes, `most` at most."""
        count = self.u16()
        if count > most:
            raise self.refuse(f"has a field of {count} bytes, {most} are allowed")
        return self.take(count)

    def end(self) -> None:
        """Check that nothing is left."""
        if self.at != len(self.data):
            raise self.refuse(f"goes on for {len(self.data) - self.at} bytes after its end")

    def refuse(self, why: str) -> RefusedError:
        """Return the refusal of the structure."""
        return RefusedError(Reason.EVIDENCE_INVALID, f"the {self.what} {why}")


def pack_sized(data: bytes) -> bytes:
    """Spell a TPM2B."""
    return struct.pack(">H", len(data)) + data


def pack_command(code: int, handles: tuple[int, ...], parameters: bytes, *, sessions: tuple[int, ...] = ()) -> bytes:
    """Spell a command.

    Args:
        code: TPM_CC.
        handles: The handle area.
        parameters: The parameter area.
        sessions: What authorises, one per handle that asks for it: PASSWORD, which is empty, or a policy session.
    """
    area = b"".join(struct.pack(">IHBH", session, 0, 0, 0) for session in sessions)
    body = b"".join(struct.pack(">I", handle) for handle in handles)
    body += (struct.pack(">I", len(area)) + area if sessions else b"") + parameters
    return struct.pack(">HII", SESSIONS if sessions else NO_SESSIONS, HEADER_BYTES + len(body), code) + body


def read_length(header: bytes) -> int:
    """Return the length of a whole answer, its header included.

    Raises:
        RefusedError: EvidenceInvalid; no answer is so short or so long.
    """
    reader = Reader(header, "header of the TPM's answer")
    reader.u16()
    length = reader.u32()
    if not HEADER_BYTES <= length <= MAX_MESSAGE_BYTES:
        raise reader.refuse(f"announces {length} bytes, {HEADER_BYTES} to {MAX_MESSAGE_BYTES} are allowed")
    return length


def is_busy(answer: bytes) -> bool:
    """Tell whether the TPM wants the same command again in a moment, as it does while it tests an algorithm."""
    return len(answer) == HEADER_BYTES and int.from_bytes(answer[6:], "big") in _LATER


def open_answer(answer: bytes, command: str) -> Reader:
    """Check an answer's header and return a reader at what follows it.

    Raises:
        RefusedError: EvidenceMissing where the TPM refused; EvidenceInvalid where it is no answer.
        UnavailableError: The TPM is busy.
    """
    reader = Reader(answer, f"answer to {command}")
    tag, length, code = reader.u16(), reader.u32(), reader.u32()
    if length != len(answer):
        raise reader.refuse(f"announces {length} bytes and has {len(answer)}")
    if code in _LATER:
        raise UnavailableError(Reason.EVIDENCE_MISSING, f"the TPM is busy with {command} (code {code:#x}); ask again")
    if code:
        told = _KNOWN.get(code, "see TPM 2.0 Library, Part 2, clause 6.6")
        raise RefusedError(Reason.EVIDENCE_MISSING, f"the TPM refused {command} with code {code:#x} ({told})")
    if tag not in {NO_SESSIONS, SESSIONS}:
        raise reader.refuse(f"has tag {tag:#06x}")
    return reader


def open_parameters(reader: Reader) -> Reader:
    """Return a reader of the parameters of an answer to a command with sessions; what authorises the answer is left.

    Every session here is a password or a policy without a key, so its part of the answer proves nothing.
    """
    return Reader(reader.take(reader.u32()), reader.what)
