"""A quote of a TPM against a key that is trusted already: signature, values of PCRs, and the log that leads to them."""

import hashlib
import hmac
import json
import struct
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from sekisho.attest.certificates import SigningKey
from sekisho.attest.eventlog import LoggedEvent, parse_tcg_log, replay_pcrs
from sekisho.attest.evidence import UnverifiedEvidence
from sekisho.attest.signatures import ecdsa_holds
from sekisho.attest.verifiers.tpm_structures import (
    ECDSA,
    HASHES,
    RSASSA,
    Signature,
    UnverifiedQuote,
    parse_quote,
    parse_signature,
)
from sekisho.errors import Reason, RefusedError

MAX_PCR_BYTES: Final = 32 * 1024
PCRS: Final = "pcrs"
SIGNATURE: Final = "signature"
EVENT_LOG: Final = "eventLog"
_HASHERS: Final[Mapping[str, type[hashes.HashAlgorithm]]] = {
    "sha256": hashes.SHA256,
    "sha384": hashes.SHA384,
    "sha512": hashes.SHA512,
}
_SECURE_BOOT_PCR: Final = 7
_EV_SEPARATOR: Final = 0x00000004
_EV_EFI_VARIABLE_DRIVER_CONFIG: Final = 0x80000001
_GLOBAL_VARIABLE: Final = uuid.UUID("8be4df61-93ca-11d2-aa0d-00e098032b8c").bytes_le
_SECURE_BOOT: Final = "SecureBoot".encode("utf-16-le")
_VARIABLE_HEAD: Final = struct.Struct("<16sQQ")

Banks = Mapping[str, Mapping[int, bytes]]


@dataclass(frozen=True, slots=True)
class VerifiedQuote:
    """A quote that holds.

    Attributes:
        quote: What it says.
        registers: The quoted PCRs by name, sorted: "pcr7" in the bank of SHA-256, "sha384.pcr7" in others.
        pcr0: Whether PCR 0, where the firmware measures itself, was "measured", is "zero", or is "absent".
        facts: Further facts, unsorted.
    """

    quote: UnverifiedQuote
    registers: tuple[tuple[str, bytes], ...]
    pcr0: str
    facts: tuple[tuple[str, str], ...]


def verify_quote(evidence: UnverifiedEvidence, key: SigningKey) -> VerifiedQuote:
    """Verify the quote in `report` by a key, with its parts "signature", "pcrs" and, where it came along, "eventLog".

    Raises:
        RefusedError: EvidenceInvalid where something cannot be read, EvidenceUntrusted where the signature, the values
            of PCRs or the log do not belong to the quote.
    """
    quote, signature = parse_quote(evidence.report), parse_signature(evidence.part(SIGNATURE))
    if not _holds(key, signature, evidence.report):
        raise _untrusted("the signature under the TPM quote is not by its attestation key")
    banks = _select(quote, parse_pcrs(evidence.part(PCRS)))
    _check_digest(quote, banks, signature.algorithm)
    log = dict(evidence.extras).get(EVENT_LOG)
    events = () if log is None else parse_tcg_log(log)
    replayed = _replay(events, banks)
    return VerifiedQuote(
        quote=quote,
        registers=tuple(sorted(_name_registers(banks))),
        pcr0=_look_at_pcr0(banks),
        facts=(
            ("clock", str(quote.clock)),
            ("clock-safe", "true" if quote.safe else "false"),
            ("event-log", ",".join(f"pcr{index}" for index in replayed) or "absent"),
            ("firmware-version", f"{quote.firmware:016x}"),
            ("pcr0", _look_at_pcr0(banks)),
            ("reset-count", str(quote.reset_count)),
            ("restart-count", str(quote.restart_count)),
            ("secure-boot", _find_secure_boot(events, banks) if _SECURE_BOOT_PCR in replayed else "unknown"),
        ),
    )


def parse_pcrs(data: bytes) -> Banks:
    """Read values of PCRs from JSON, {"sha256": {"0": "…hex…"}}.

    Raises:
        RefusedError: EvidenceInvalid, naming what is wrong.
    """
    if len(data) > MAX_PCR_BYTES:
        raise _invalid(f"the values of PCRs have {len(data)} bytes, {MAX_PCR_BYTES} are allowed")
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _invalid("the values of PCRs are not JSON") from error
    if not isinstance(value, dict) or not set(HASHES.values()).issuperset(value):
        raise _invalid(f"the values of PCRs are not an object of {', '.join(HASHES.values())}")
    return {algorithm: _parse_bank(bank, algorithm) for algorithm, bank in value.items()}


def _parse_bank(bank: Any, algorithm: str) -> dict[int, bytes]:
    if not isinstance(bank, dict):
        raise _invalid(f"the {algorithm} bank of PCRs is not an object")
    size = hashlib.new(algorithm).digest_size
    known = {str(index): index for index in range(32)}
    values = {}
    for name, text in bank.items():
        if name not in known:
            raise _invalid(f"the {algorithm} bank of PCRs has one that is not numbered from 0 to 31")
        try:
            values[known[name]] = bytes.fromhex(text)
        except (TypeError, ValueError) as error:
            raise _invalid(f"the {algorithm} value of PCR {name} is not hex") from error
        if len(values[known[name]]) != size:
            raise _invalid(f"the {algorithm} value of PCR {name} has {len(values[known[name]])} bytes, not {size}")
    return values


def _select(quote: UnverifiedQuote, given: Banks) -> dict[str, dict[int, bytes]]:
    """Return the values that the quote speaks of, in its order; others count for nothing."""
    banks: dict[str, dict[int, bytes]] = {}
    for number, indices in quote.selection:
        if not indices:
            continue
        algorithm = HASHES[number]
        missing = [index for index in indices if index not in given.get(algorithm, {})]
        if missing:
            raise _invalid(f"the TPM quote is over the {algorithm} value of PCR {missing[0]}, which did not come along")
        banks[algorithm] = {index: given[algorithm][index] for index in indices}
    return banks


def _check_digest(quote: UnverifiedQuote, banks: Banks, algorithm: str) -> None:
    values = b"".join(value for bank in banks.values() for value in bank.values())
    if not hmac.compare_digest(hashlib.new(algorithm, values).digest(), quote.digest):
        raise _untrusted("the values of PCRs that came along are not those that the TPM quoted")


def _holds(key: SigningKey, signature: Signature, message: bytes) -> bool:
    algorithm = _HASHERS[signature.algorithm]()
    if isinstance(key, ec.EllipticCurvePublicKey):
        return signature.scheme == ECDSA and ecdsa_holds(key, signature.numbers, message, algorithm)
    return signature.scheme != ECDSA and _rsa_holds(key, signature, message, algorithm)


def _rsa_holds(key: rsa.RSAPublicKey, signature: Signature, message: bytes, algorithm: hashes.HashAlgorithm) -> bool:
    scheme: padding.AsymmetricPadding = padding.PKCS1v15()
    if signature.scheme != RSASSA:  # the TPM chooses the salt as long as the key allows, or as the hash: both are read
        scheme = padding.PSS(padding.MGF1(algorithm), padding.PSS.AUTO)
    try:
        key.verify(signature.value, message, scheme, algorithm)
    except InvalidSignature:
        return False
    return True


def _replay(events: Sequence[LoggedEvent], banks: Banks) -> list[int]:
    """Replay a log in every quoted bank; return the quoted PCRs that it leads to in all of them."""
    replayed: set[int] = set()
    for algorithm, bank in banks.items() if events else ():
        values = replay_pcrs(events, algorithm)
        for index, value in bank.items():
            if index in values and values[index] != value:
                raise _untrusted(f"the event log does not lead to the {algorithm} value of PCR {index} that was quoted")
        replayed.update(bank.keys() & values.keys())
    return sorted(replayed)


def _find_secure_boot(events: Sequence[LoggedEvent], banks: Banks) -> str:
    """Return what the firmware measured of Secure Boot before it gave control away: "true", "false" or "unknown"."""
    algorithm = next(name for name, bank in banks.items() if _SECURE_BOOT_PCR in bank)
    states = set()
    for event in events:
        if event.register != _SECURE_BOOT_PCR:
            continue
        if event.kind == _EV_SEPARATOR:
            break
        state = _read_secure_boot(event, algorithm)
        states |= {state} if state else set()
    return states.pop() if len(states) == 1 else "unknown"


def _read_secure_boot(event: LoggedEvent, algorithm: str) -> str:
    """Read UEFI_VARIABLE_DATA; empty where the event is about something else or its data is not what was measured."""
    if event.kind != _EV_EFI_VARIABLE_DRIVER_CONFIG or len(event.data) < _VARIABLE_HEAD.size:
        return ""
    guid, characters, size = _VARIABLE_HEAD.unpack_from(event.data)
    name, value = event.data[32 : 32 + 2 * characters], event.data[32 + 2 * characters :]
    if guid != _GLOBAL_VARIABLE or name != _SECURE_BOOT or len(value) != size:
        return ""
    if event.digest(algorithm) != hashlib.new(algorithm, event.data).digest():
        return ""
    return "true" if value == b"\1" else "false"


def _name_registers(banks: Banks) -> list[tuple[str, bytes]]:
    return [
        (f"pcr{index}" if algorithm == "sha256" else f"{algorithm}.pcr{index}", value)
        for algorithm, bank in banks.items()
        for index, value in bank.items()
    ]


def _look_at_pcr0(banks: Banks) -> str:
    """Tell whether the firmware measured itself; one bank that it left alone is enough for "zero"."""
    values = [bank[0] for bank in banks.values() if 0 in bank]
    return "absent" if not values else "measured" if all(any(value) for value in values) else "zero"


def _untrusted(message: str) -> RefusedError:
    return RefusedError(Reason.EVIDENCE_UNTRUSTED, message)


def _invalid(message: str) -> RefusedError:
    return RefusedError(Reason.EVIDENCE_INVALID, message)
