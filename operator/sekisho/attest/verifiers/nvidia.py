"""Verify measurements of NVIDIA's GPUs and NVSwitches.

A device answers an SPDM request with its measurements, signed by a key that its boot ROM made for exactly this
firmware; the certificates lead by the ROM's identity to NVIDIA's root. Whether the measurements are good is said by
NVIDIA's reference manifests, where the collateral has some; without them a device is genuine, and what it runs is
unknown.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import ExtensionNotFound, OtherName, SubjectAlternativeName
from cryptography.x509.oid import NameOID

from sekisho.attest.binding import digest_bytes
from sekisho.attest.chains import Certificate, intersect, parse_certificate, verify_chain
from sekisho.attest.claims import Claims, TcbStatus, Tee
from sekisho.attest.dice import DICE_OIDS, find_fwids
from sekisho.attest.ecdsa import verify_ecdsa
from sekisho.attest.evidence import UnverifiedEvidence
from sekisho.attest.manifests import ReferenceManifest, match_manifests
from sekisho.attest.ocsp import check_ocsp
from sekisho.attest.opaque import DRIVER, FWID, VBIOS, describe_gpu, describe_switch, parse_fields
from sekisho.attest.spdm import parse_spdm
from sekisho.errors import Reason, RefusedError

SIGNATURE_BYTES: Final = 96
_DEVICE_NAME: Final = "1.3.6.1.4.1.412.274.1"  # DMTF: manufacturer, product and serial number
_PDI_DIGITS: Final = 16


@dataclass(frozen=True, slots=True)
class NvidiaCollateral:
    """What measurements of devices are held against.

    Attributes:
        roots: NVIDIA's device root certificates as pinned, DER.
        crls: Revocation lists, DER; they count for the issuers they name.
        manifests: Reference manifests that were verified. With some, a device must have the measurements of those for
            its versions, and says "matched" in its fact "measurements"; without, "unchecked".
        ocsp: Answers of OCSP responders, DER; those about certificates of the chain count.
    """

    roots: tuple[bytes, ...]
    crls: tuple[bytes, ...] = ()
    manifests: tuple[ReferenceManifest, ...] = ()
    ocsp: tuple[bytes, ...] = ()


def verify_nvidia(evidence: UnverifiedEvidence, collateral: NvidiaCollateral, *, at: datetime) -> Claims:
    """Verify the report of one GPU or NVSwitch; `evidence.kind` says which.

    The claims are bound to the nonce of the request. `chip_id` is the serial number of the identity that the device got
    when it was made; registers are the measurements by SPDM index, "m001" and on.

    Raises:
        RefusedError: EvidenceInvalid, EvidenceUntrusted, EvidenceRevoked, or what the collateral lacks.
    """
    report = parse_spdm(evidence.report, signature_bytes=SIGNATURE_BYTES)
    fields = parse_fields(report.opaque)
    name = "the GPU report" if evidence.kind == "nvidia-gpu" else "the NVSwitch report"
    _check_kind(evidence.kind, fields)
    chain = verify_chain(evidence.certificates, collateral.roots, at=at, crls=collateral.crls)
    below = _below_roots(evidence.certificates, collateral.roots)
    windows, answered = check_ocsp(below, collateral.roots, collateral.ocsp, at=at)
    verify_ecdsa(chain.leaf.key, report.signature, report.signed, name=name)
    _check_firmware(chain.leaf, fields.get(FWID), name)
    facts = describe_gpu(fields) if evidence.kind == "nvidia-gpu" else describe_switch(fields)
    identity = _identify(evidence.certificates, chain.leaf)
    _check_own_name(facts, identity)
    facts = {**_describe_device(chain.leaf, identity), **facts}
    registers = {f"m{block.index:03}": block.value for block in report.blocks}
    if collateral.manifests:
        match_manifests(registers, facts, collateral.manifests, at=at)
    facts["measurements"] = "matched" if collateral.manifests else "unchecked"
    complete = chain.revocation_checked or {each.who for each in below} <= answered
    facts["revocation"] = "checked" if complete else "unchecked"
    return Claims(
        tee=Tee.NVIDIA_GPU if evidence.kind == "nvidia-gpu" else Tee.NVIDIA_SWITCH,
        debug=False,
        tcb_status=TcbStatus.UNKNOWN,
        measurement=b"",
        bound_data=report.nonce,
        chip_id=identity,
        evidence_digest=digest_bytes(report.signed),
        window=intersect((chain.window, *windows)),
        registers=tuple(sorted(registers.items())),
        facts=tuple(sorted(facts.items())),
    )


def _below_roots(certificates: Sequence[bytes], roots: Sequence[bytes]) -> list[Certificate]:
    """Return the certificates of a verified chain below the first pinned one."""
    end = next((index for index, der in enumerate(certificates) if der in roots), len(certificates))
    return [parse_certificate(der) for der in certificates[:end]]


def _check_kind(kind: str, fields: dict[int, bytes]) -> None:
    """Refuse a switch that poses as a GPU and the other way round: only GPUs have a driver, and all have one."""
    if VBIOS not in fields:
        raise RefusedError(Reason.EVIDENCE_INVALID, f"{kind} evidence does not tell the version of its VBIOS")
    if (DRIVER in fields) != (kind == "nvidia-gpu"):
        has = "tells" if DRIVER in fields else "does not tell"
        raise RefusedError(
            Reason.EVIDENCE_INVALID, f"{kind} evidence {has} the version of a driver; GPUs do, NVSwitches do not"
        )


def _check_firmware(leaf: Certificate, told: bytes | None, name: str) -> None:
    """Hold the firmware that the report tells against the firmware that the boot ROM certified."""
    if told is None:
        return
    certified = _list_firmware(leaf)
    if told not in certified:
        raise RefusedError(
            Reason.EVIDENCE_UNTRUSTED,
            f"{name} tells firmware {told.hex()[:16]}…, its certificate is for "
            f"{', '.join(f'{each.hex()[:16]}…' for each in certified) or 'none'}",
        )


def _list_firmware(leaf: Certificate) -> tuple[bytes, ...]:
    """Return the firmware that the boot ROM certified; an identifier of zeros is a place that none was loaded to."""
    values = filter(None, map(leaf.extension, DICE_OIDS))
    return tuple(each for value in values for each in find_fwids(value) if any(each))


def _identify(certificates: Sequence[bytes], leaf: Certificate) -> bytes:
    """Name the device by its identity, which stands above the key of this firmware and outlives it."""
    identity = parse_certificate(certificates[1]) if len(certificates) > 1 else leaf
    serials = identity.parsed.subject.get_attributes_for_oid(NameOID.SERIAL_NUMBER)
    try:
        number = bytes.fromhex(str(serials[0].value)) if len(serials) == 1 else b""
    except ValueError:
        number = b""
    return number or _key_digest(identity)


def _check_own_name(facts: dict[str, str], identity: bytes) -> None:
    """Hold the name that a switch gives itself against the one it was certified with."""
    own = facts.get("pdi")
    if own is not None and not identity.hex().endswith(own):
        raise RefusedError(
            Reason.EVIDENCE_UNTRUSTED, f"the NVSwitch names itself {own}, its certificate names {identity.hex()}"
        )


def _describe_device(leaf: Certificate, identity: bytes) -> dict[str, str]:
    facts = {"key": _key_digest(leaf).hex(), "pdi": identity.hex()[-_PDI_DIGITS:]}
    firmware = _list_firmware(leaf)
    if firmware:
        facts["fwid"] = firmware[-1].hex()
    name = _device_name(leaf)
    return {**facts, "device": name} if name else facts


def _device_name(leaf: Certificate) -> str:
    try:
        names = leaf.parsed.extensions.get_extension_for_class(SubjectAlternativeName).value
    except ExtensionNotFound:
        return ""
    values = [
        name.value for name in names if isinstance(name, OtherName) and name.type_id.dotted_string == _DEVICE_NAME
    ]
    text = values[0][2:].decode("ascii", "replace") if len(values) == 1 else ""
    return text if text.isprintable() else ""


def _key_digest(certificate: Certificate) -> bytes:
    return hashlib.sha256(certificate.key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
