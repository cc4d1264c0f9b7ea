"""The few commands that attestation needs (TCG TPM 2.0 Library, Part 3), and what answers to them say."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sekisho.attest.tpm2.wire import (
    ALG_NULL,
    ENDORSEMENT,
    NULL_HANDLE,
    PASSWORD,
    SHA256,
    open_answer,
    open_parameters,
    pack_command,
    pack_sized,
)

PCRS: Final = 24
MAX_DIGEST: Final = 64
NV_CHUNK_BYTES: Final = 512
_STARTUP: Final = 0x144
_FLUSH: Final = 0x165
_CREATE_PRIMARY: Final = 0x131
_QUOTE: Final = 0x158
_PCR_READ: Final = 0x17E
_NV_READ_PUBLIC: Final = 0x169
_NV_READ: Final = 0x14E
_START_SESSION: Final = 0x176
_POLICY_SECRET: Final = 0x151
_ACTIVATE: Final = 0x147
_POLICY_SESSION: Final = 0x01


@dataclass(frozen=True, slots=True)
class LoadedKey:
    """A key that was made: its handle until it is flushed, its TPMT_PUBLIC, and its Name."""

    handle: int
    public: bytes
    name: bytes


@dataclass(frozen=True, slots=True)
class Quoted:
    """A quote: the TPMS_ATTEST that was signed, and the TPMT_SIGNATURE."""

    attest: bytes
    signature: bytes


def build_startup() -> bytes:
    """Build Startup(CLEAR); firmware does it on real machines."""
    return pack_command(_STARTUP, (), struct.pack(">H", 0))


def build_flush(handle: int) -> bytes:
    """Build FlushContext of a key or session."""
    return pack_command(_FLUSH, (), struct.pack(">I", handle))


def build_create_primary(template: bytes) -> bytes:
    """Build CreatePrimary in the endorsement hierarchy: the same template always gives the same key there."""
    no_secret = struct.pack(">HHH", 4, 0, 0)
    parameters = no_secret + pack_sized(template) + pack_sized(b"") + struct.pack(">I", 0)
    return pack_command(_CREATE_PRIMARY, (ENDORSEMENT,), parameters, sessions=(PASSWORD,))


def build_quote(key: int, qualifying: bytes, pcrs: Sequence[int]) -> bytes:
    """Build Quote of PCRs of the SHA-256 bank.

    Args:
        key: Handle of the attestation key.
        qualifying: What the quote is made for, 64 bytes at most.
        pcrs: Numbers from 0 to 23.
    """
    parameters = pack_sized(qualifying) + struct.pack(">H", ALG_NULL) + _select(pcrs)
    return pack_command(_QUOTE, (key,), parameters, sessions=(PASSWORD,))


def build_pcr_read(pcrs: Sequence[int]) -> bytes:
    """Build PCR_Read of the SHA-256 bank; a TPM answers at most eight at once."""
    return pack_command(_PCR_READ, (), _select(pcrs))


def build_nv_read_public(index: int) -> bytes:
    """Build NV_ReadPublic."""
    return pack_command(_NV_READ_PUBLIC, (index,), b"")


def build_nv_read(index: int, offset: int, size: int) -> bytes:
    """Build NV_Read of a part of an index that its own empty password opens."""
    return pack_command(_NV_READ, (index, index), struct.pack(">HH", size, offset), sessions=(PASSWORD,))


def build_start_policy(nonce: bytes) -> bytes:
    """Build StartAuthSession of a policy session without salt or binding; `nonce` has 16 to 32 random bytes."""
    parameters = pack_sized(nonce) + pack_sized(b"") + struct.pack(">BHH", _POLICY_SESSION, ALG_NULL, SHA256)
    return pack_command(_START_SESSION, (NULL_HANDLE, NULL_HANDLE), parameters)


def build_policy_secret(session: int) -> bytes:
    """Build PolicySecret of the endorsement hierarchy, whose password is empty."""
    parameters = pack_sized(b"") * 3 + struct.pack(">i", 0)
    return pack_command(_POLICY_SECRET, (ENDORSEMENT, session), parameters, sessions=(PASSWORD,))


def build_activate(attestation: int, endorsement: int, session: int, *, blob: bytes, secret: bytes) -> bytes:
    """Build ActivateCredential: the endorsement key opens what was made for the Name of the attestation key."""
    parameters = pack_sized(blob) + pack_sized(secret)
    return pack_command(_ACTIVATE, (attestation, endorsement), parameters, sessions=(PASSWORD, session))


def parse_done(answer: bytes, command: str) -> None:
    """Check an answer that says nothing but that it was done."""
    reader = open_answer(answer, command)
    if command == "PolicySecret":
        return  # a timeout and a ticket that nobody uses
    reader.end()


def parse_created(answer: bytes) -> LoadedKey:
    """Read the answer to CreatePrimary; the TPM's proof of creation is left."""
    reader = open_answer(answer, "CreatePrimary")
    handle = reader.u32()
    parameters = open_parameters(reader)
    public = parameters.sized(1024)
    parameters.sized(1024)  # creation data
    parameters.sized(MAX_DIGEST)  # its digest
    parameters.take(6)  # the ticket's tag and hierarchy
    parameters.sized(MAX_DIGEST)
    name = parameters.sized(MAX_DIGEST + 2)
    parameters.end()
    return LoadedKey(handle, public, name)


def parse_quoted(answer: bytes) -> Quoted:
    """Read the answer to Quote."""
    parameters = open_parameters(open_answer(answer, "Quote"))
    attest = parameters.sized(1024)
    return Quoted(attest, parameters.take(len(parameters.data) - parameters.at))


def parse_pcrs(answer: bytes) -> dict[int, bytes]:
    """Read the answer to PCR_Read: values by number, of those that the TPM chose to give at once."""
    reader = open_answer(answer, "PCR_Read")
    reader.u32()  # how often a PCR changed
    if (count := reader.u32()) != 1:
        raise reader.refuse(f"speaks of {count} banks, one was asked for")
    bank, size = reader.u16(), reader.u8()
    if bank != SHA256 or size != PCRS // 8:
        raise reader.refuse(f"speaks of bank {bank:#06x} with {size} bytes of selection, not of SHA-256 with 3")
    mask = int.from_bytes(reader.take(size), "little")
    numbers = [number for number in range(PCRS) if mask >> number & 1]
    if (count := reader.u32()) != len(numbers):
        raise reader.refuse(f"names {len(numbers)} PCRs and has {count} values")
    values = {number: reader.sized(32) for number in numbers}
    reader.end()
    return values


def parse_nv_size(answer: bytes) -> int:
    """Read from the answer to NV_ReadPublic how many bytes an index holds."""
    reader = open_answer(answer, "NV_ReadPublic")
    public = reader.sized(128)
    reader.sized(MAX_DIGEST + 2)
    reader.end()
    return int.from_bytes(public[-2:], "big")


def parse_nv_data(answer: bytes) -> bytes:
    """Read the answer to NV_Read."""
    parameters = open_parameters(open_answer(answer, "NV_Read"))
    data = parameters.sized(2048)
    parameters.end()
    return data


def parse_session(answer: bytes) -> int:
    """Read the handle in the answer to StartAuthSession."""
    reader = open_answer(answer, "StartAuthSession")
    handle = reader.u32()
    reader.sized(MAX_DIGEST)
    reader.end()
    return handle


def parse_activated(answer: bytes) -> bytes:
    """Read the secret in the answer to ActivateCredential."""
    parameters = open_parameters(open_answer(answer, "ActivateCredential"))
    secret = parameters.sized(MAX_DIGEST)
    parameters.end()
    return secret


def _select(pcrs: Sequence[int]) -> bytes:
    mask = sum(1 << number for number in set(pcrs) if 0 <= number < PCRS)
    return struct.pack(">IHB", 1, SHA256, PCRS // 8) + mask.to_bytes(PCRS // 8, "little")
