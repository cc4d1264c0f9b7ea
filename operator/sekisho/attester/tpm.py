"""What the node's TPM is asked for: who it is, its attestation key, quotes, the opening of credentials. Blocking.

Nothing stays loaded between two calls, nor on disk: keys come out of the endorsement seed, the same every time. Only
one call may run at a time; software TPMs have three slots.
"""

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sekisho.attest.tpm2 import commands
from sekisho.attest.tpm2.structures import AK_TEMPLATE, EK_KINDS, EndorsementKind
from sekisho.attest.tpm2.wire import PASSWORD
from sekisho.attester.transport import Channel, open_tpm
from sekisho.errors import Reason, RefusedError

QUOTED_PCRS: Final = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 14)
MAX_CERTIFICATE_BYTES: Final = 4096
_PCRS_AT_ONCE: Final = 8
_READS: Final = 3


@dataclass(frozen=True, slots=True)
class Endorsement:
    """Who a TPM is: the public area of its endorsement key, and the maker's certificate of it in DER."""

    kind: EndorsementKind
    public: bytes
    certificate: bytes


@dataclass(frozen=True, slots=True)
class PlatformQuote:
    """A quote, the key that signed it, and the values it speaks of."""

    attest: bytes
    signature: bytes
    public: bytes
    name: bytes
    pcrs: tuple[tuple[int, bytes], ...]


@dataclass(frozen=True, slots=True)
class Tpm:
    """The TPM at a path.

    Attributes:
        pcrs: What it quotes, of the SHA-256 bank.
        kinds: Of endorsement keys that are looked for, in that order.
    """

    path: Path
    pcrs: tuple[int, ...] = QUOTED_PCRS
    kinds: tuple[EndorsementKind, ...] = EK_KINDS

    def read_endorsement(self) -> Endorsement:
        """Make the endorsement key that the TPM has a certificate of, and read that.

        Raises:
            RefusedError: EvidenceMissing; it has no certificate of a key of a known kind, or refuses.
        """
        with open_tpm(self.path) as channel:
            for kind in self.kinds:
                certificate = _read_certificate(channel, kind)
                if certificate:
                    with _load(channel, kind.template) as key:
                        return Endorsement(kind, key.public, certificate)
        looked_at = ", ".join(f"{kind.certificate_index:#010x}" for kind in self.kinds)
        raise RefusedError(
            Reason.EVIDENCE_MISSING,
            f"the TPM at {self.path} holds no certificate of an endorsement key (looked at {looked_at}); have its "
            "maker's written there",
        )

    def read_attestation_key(self) -> commands.LoadedKey:
        """Return the attestation key; its handle is gone when this returns."""
        with open_tpm(self.path) as channel, _load(channel, AK_TEMPLATE) as key:
            return key

    def quote(self, qualifying: bytes) -> PlatformQuote:
        """Quote the PCRs for `qualifying`, 32 bytes.

        Raises:
            RefusedError: EvidenceMissing or EvidenceInvalid.
            UnavailableError: It is busy, or its PCRs change while they are read.
        """
        with open_tpm(self.path) as channel, _load(channel, AK_TEMPLATE) as key:
            before = self._read_pcrs(channel)
            for _ in range(_READS):
                quoted = commands.parse_quoted(channel.execute(commands.build_quote(key.handle, qualifying, self.pcrs)))
                after = self._read_pcrs(channel)
                if before == after:
                    values = tuple(sorted(after.items()))
                    return PlatformQuote(quoted.attest, quoted.signature, key.public, key.name, values)
                before = after
        raise RefusedError(Reason.EVIDENCE_MISSING, f"the PCRs of the TPM at {self.path} change while they are quoted")

    def activate(self, kind: EndorsementKind, *, blob: bytes, secret: bytes) -> bytes:
        """Open a credential that was made for the attestation key; returns the secret in it.

        Raises:
            RefusedError: EvidenceMissing; it was made for another key or another TPM.
        """
        with (
            open_tpm(self.path) as channel,
            _load(channel, AK_TEMPLATE) as attestation,
            _load(channel, kind.template) as endorsement,
            _authorise(channel, kind) as session,
        ):
            command = commands.build_activate(attestation.handle, endorsement.handle, session, blob=blob, secret=secret)
            return commands.parse_activated(channel.execute(command))

    def _read_pcrs(self, channel: Channel) -> dict[int, bytes]:
        values: dict[int, bytes] = {}
        wanted = list(self.pcrs)
        while wanted:
            found = commands.parse_pcrs(channel.execute(commands.build_pcr_read(wanted[:_PCRS_AT_ONCE])))
            if not found.keys() & set(wanted):
                raise RefusedError(
                    Reason.EVIDENCE_MISSING, f"the TPM at {self.path} has no SHA-256 bank of PCR {wanted[0]}"
                )
            values |= found
            wanted = [number for number in wanted if number not in values]
        return values


def _read_certificate(channel: Channel, kind: EndorsementKind) -> bytes:
    """Return the certificate of a kind of endorsement key; empty where there is none."""
    try:
        size = commands.parse_nv_size(channel.execute(commands.build_nv_read_public(kind.certificate_index)))
    except RefusedError:
        return b""
    data = b""
    while len(data) < min(size, MAX_CERTIFICATE_BYTES):
        wanted = min(commands.NV_CHUNK_BYTES, size - len(data))
        part = commands.parse_nv_data(
            channel.execute(commands.build_nv_read(kind.certificate_index, len(data), wanted))
        )
        if not part:
            break
        data += part
    return _cut_der(data)


def _cut_der(data: bytes) -> bytes:
    """Return the one DER structure at the beginning: makers fill the rest of an index up."""
    if len(data) < 4 or data[:2] != b"\x30\x82":
        return data
    return data[: 4 + int.from_bytes(data[2:4], "big")]


@contextmanager
def _load(channel: Channel, template: bytes) -> Iterator[commands.LoadedKey]:
    key = commands.parse_created(channel.execute(commands.build_create_primary(template)))
    try:
        yield key
    finally:
        commands.parse_done(channel.execute(commands.build_flush(key.handle)), "FlushContext")


@contextmanager
def _authorise(channel: Channel, kind: EndorsementKind) -> Iterator[int]:
    """Yield what lets an endorsement key open a credential: its own empty password, or a policy session."""
    if kind.by_password:
        yield PASSWORD
        return
    session = commands.parse_session(channel.execute(commands.build_start_policy(secrets.token_bytes(32))))
    try:
        commands.parse_done(channel.execute(commands.build_policy_secret(session)), "PolicySecret")
        yield session
    finally:
        # A session without "continue" ends with the command that used it; then this is refused, which is as good.
        channel.execute(commands.build_flush(session))


def spell_pcrs(values: Sequence[tuple[int, bytes]]) -> dict[str, dict[str, str]]:
    """Spell PCR values as evidence carries them."""
    return {"sha256": {str(number): value.hex() for number, value in values}}
