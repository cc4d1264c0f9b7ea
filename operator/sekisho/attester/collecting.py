"""All evidence that a node can give, made one piece after the other: a TPM does one thing at a time."""

import asyncio
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

from sekisho.attest.evidence import UnverifiedEvidence
from sekisho.attester.devices import Devices
from sekisho.attester.tpm import Endorsement, PlatformQuote, Tpm, spell_pcrs
from sekisho.attester.tsm import read_report
from sekisho.errors import Reason, RefusedError, UnavailableError

T = TypeVar("T")
_LOG: Final = logging.getLogger(__name__)
MAX_LOG_BYTES: Final = 256 * 1024
TPM_DIGEST: Final = 32
TSM_DIGEST: Final = 64
_WAITING: Final = 32


@dataclass(slots=True)
class Hardware:
    """What can sign on this node.

    Attributes:
        tpm: None where there is none.
        tsm: Root of configfs-tsm; None where there is none.
        event_log: The firmware's log of what it measured; it may be missing.
        devices: None where the node's devices are not asked; pods have their own asked by their agents.
    """

    tpm: Tpm | None
    tsm: Path | None = None
    event_log: Path | None = None
    devices: Devices | None = None
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    _waiting: int = 0

    async def sign(self, digest: bytes) -> list[UnverifiedEvidence]:
        """Have a digest signed by all that can: the TPM takes 32 bytes, a confidential virtual machine's firmware 64.

        Of 32 bytes the firmware signs the digest with 32 zero bytes behind it.

        Raises:
            RefusedError: EvidenceMissing; the node has nothing that signs so many bytes, or it refuses.
            UnavailableError: Too many wait, or the hardware is busy.
        """
        pieces: list[UnverifiedEvidence] = []
        if len(digest) == TPM_DIGEST and self.tpm is not None:
            tpm = self.tpm
            pieces.append(await self._in_turn(lambda: spell_quote(tpm.quote(digest), self._read_log())))
        if self.tsm is not None:
            tsm = self.tsm
            pieces.append(await self._in_turn(lambda: read_report(tsm, digest.ljust(TSM_DIGEST, b"\0"))))
        if not pieces:
            raise RefusedError(Reason.EVIDENCE_MISSING, f"this node has no hardware that signs {len(digest)} bytes")
        return pieces

    async def sign_for_node(self, digest: bytes) -> list[UnverifiedEvidence]:
        """Have 32 bytes signed by all that can, and by every device of the node.

        No pod gets evidence of devices by this way: which of them are its own is not known here.

        Raises:
            RefusedError: EvidenceMissing; as :meth:`sign`.
            UnavailableError: As :meth:`sign`; EvidenceMissing where a device is there and gave none.
        """
        pieces = await self.sign(digest)
        if self.devices is not None:
            devices = self.devices
            pieces += await self._in_turn(lambda: devices.read(digest))
        return pieces

    async def read_identity(self) -> tuple[Endorsement, bytes, bytes]:
        """Return who the TPM is, and the public area and the Name of its attestation key."""
        tpm = self._require_tpm()
        endorsement = await self._in_turn(tpm.read_endorsement)
        key = await self._in_turn(tpm.read_attestation_key)
        return endorsement, key.public, key.name

    async def activate(self, endorsement: Endorsement, *, blob: bytes, secret: bytes) -> bytes:
        """Open a credential by the TPM."""
        tpm = self._require_tpm()
        return await self._in_turn(lambda: tpm.activate(endorsement.kind, blob=blob, secret=secret))

    def _require_tpm(self) -> Tpm:
        if self.tpm is None:
            raise RefusedError(Reason.EVIDENCE_MISSING, "this node has no TPM to enrol")
        return self.tpm

    async def _in_turn(self, work: Callable[[], T]) -> T:
        if self._waiting >= _WAITING:
            raise UnavailableError(Reason.OVERLOADED, f"{self._waiting} requests wait for this node's hardware")
        self._waiting += 1
        try:
            async with self._turn:
                return await asyncio.to_thread(work)
        finally:
            self._waiting -= 1

    def _read_log(self) -> bytes:
        if self.event_log is None:
            return b""
        try:
            with self.event_log.open("rb") as file:
                data = file.read(MAX_LOG_BYTES + 1)
        except OSError as error:
            _LOG.debug("the event log cannot be read", extra={"detail": error.strerror})
            return b""
        if len(data) > MAX_LOG_BYTES:
            _LOG.warning("the event log is too long to be sent", extra={"bytes": len(data)})
            return b""
        return data


def spell_quote(quote: PlatformQuote, log: bytes) -> UnverifiedEvidence:
    """Spell a quote as evidence."""
    extras = {
        "akPublic": quote.public,
        "pcrs": json.dumps(spell_pcrs(quote.pcrs), sort_keys=True, separators=(",", ":")).encode(),
        "signature": quote.signature,
    }
    if log:
        extras["eventLog"] = log
    return UnverifiedEvidence("tpm", quote.attest, extras=tuple(sorted(extras.items())))
