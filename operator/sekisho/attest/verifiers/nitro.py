"""Verify attestation documents of AWS Nitro Enclaves.

A document is a COSE_Sign1 (RFC 9052) with ES384 over a CBOR map, signed by a certificate that lives for hours and
leads, by the document's own bundle, to AWS's root. After "Nitro Enclaves Attestation Process" (aws-nitro-enclaves-nsm-
api).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from sekisho.attest.binding import digest_bytes
from sekisho.attest.cbor import CborValue, encode_cbor, parse_cbor
from sekisho.attest.chains import Chain, verify_chain
from sekisho.attest.claims import Claims, TcbStatus, Tee
from sekisho.attest.ecdsa import verify_ecdsa
from sekisho.attest.evidence import UnverifiedEvidence
from sekisho.errors import Reason, RefusedError

MAX_DOCUMENT_BYTES: Final = 32 * 1024
_ES384: Final = -35
_TAG_SIGN1: Final = b"\xd2"
_PCR_SIZES: Final = frozenset({32, 48, 64})
_MAX_PCRS: Final = 32
_MAX_CERTIFICATE: Final = 1024
_MAX_BUNDLE: Final = 8
_MAX_KEY: Final = 1024
_MAX_DATA: Final = 512
_LATEST_MS: Final = 253_402_300_799_000  # the end of the year 9999


@dataclass(frozen=True, slots=True)
class NitroCollateral:
    """What documents of Nitro are held against.

    Attributes:
        roots: AWS's root certificates as pinned, DER.
        crls: Revocation lists, DER; they count for the issuers they name.
    """

    roots: tuple[bytes, ...]
    crls: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class NitroDocument:
    """An attestation document as it was spelt; unverified.

    Attributes:
        module: Instance and enclave: "i-0123456789abcdef0-enc0123456789abcdef".
        at: When the hypervisor made it.
        pcrs: Registers by index; those the enclave locked.
        certificates: The signer's first, the root of the bundle last.
        user_data, nonce, public_key: What the enclave asked to have signed; empty where it gave none.
    """

    module: str
    at: datetime
    pcrs: tuple[tuple[int, bytes], ...]
    certificates: tuple[bytes, ...]
    user_data: bytes
    nonce: bytes
    public_key: bytes


def verify_nitro(evidence: UnverifiedEvidence, collateral: NitroCollateral, *, at: datetime) -> Claims:
    """Verify a document and say what it claims.

    Its measurement is PCR0, the image of the enclave; an enclave in debug mode has nothing but zeros there. It is bound
    to `user_data`, or to `nonce` where there is no user data.

    Raises:
        RefusedError: EvidenceInvalid, EvidenceUntrusted, EvidenceRevoked, or what the collateral lacks.
    """
    protected, payload, signature = _parse_sign1(evidence.report)
    document = parse_document(payload)
    chain = verify_chain(document.certificates, collateral.roots, at=at, crls=collateral.crls)
    signed = encode_cbor(["Signature1", protected, b"", payload])
    verify_ecdsa(chain.leaf.key, signature, signed, name="the Nitro document")
    return _claim(document, chain, signed)


def parse_document(payload: bytes) -> NitroDocument:
    """Parse the signed map of a document.

    Raises:
        RefusedError: EvidenceInvalid, naming the first field that is not as the specification wants it.
    """
    fields = parse_cbor(payload, name="the Nitro document")
    if not isinstance(fields, Mapping):
        raise _invalid("its payload is not a map")
    if fields.get("digest") != "SHA384":
        raise _invalid("its digest is not SHA384")
    module, moment = fields.get("module_id"), fields.get("timestamp")
    if not isinstance(module, str) or not 0 < len(module) <= 256 or not module.isprintable():
        raise _invalid("module_id is not a printable name of 1 to 256 characters")
    if not isinstance(moment, int) or isinstance(moment, bool) or not 0 < moment <= _LATEST_MS:
        raise _invalid("timestamp is not a number of milliseconds")
    return NitroDocument(
        module=module,
        at=datetime.fromtimestamp(moment // 1000, UTC),
        pcrs=_take_pcrs(fields.get("pcrs")),
        certificates=_take_certificates(fields.get("certificate"), fields.get("cabundle")),
        user_data=_take_optional(fields, "user_data", _MAX_DATA),
        nonce=_take_optional(fields, "nonce", _MAX_DATA),
        public_key=_take_optional(fields, "public_key", _MAX_KEY),
    )


def _parse_sign1(data: bytes) -> tuple[bytes, bytes, bytes]:
    """Return protected header, payload and signature; the tag of COSE_Sign1 may stand before them."""
    if len(data) > MAX_DOCUMENT_BYTES:
        raise _invalid(f"it has {len(data)} bytes, {MAX_DOCUMENT_BYTES} allowed")
    parts = parse_cbor(data.removeprefix(_TAG_SIGN1), name="the Nitro document")
    if not isinstance(parts, list) or len(parts) != 4:
        raise _invalid("it is not a COSE_Sign1 of four parts")
    protected, unprotected, payload, signature = parts
    if not (isinstance(protected, bytes) and isinstance(payload, bytes) and isinstance(signature, bytes)):
        raise _invalid("a part of its COSE_Sign1 is not a string of bytes")
    if unprotected != {} or parse_cbor(protected, name="the header of the Nitro document") != {1: _ES384}:
        raise _invalid("its header does not say ES384 and nothing else")
    return protected, payload, signature


def _take_pcrs(value: CborValue) -> tuple[tuple[int, bytes], ...]:
    if not isinstance(value, Mapping) or not 0 < len(value) <= _MAX_PCRS:
        raise _invalid(f"pcrs are not a map of 1 to {_MAX_PCRS} registers")
    pcrs: list[tuple[int, bytes]] = []
    for index, digest in value.items():
        if not isinstance(index, int) or not 0 <= index < _MAX_PCRS:
            raise _invalid(f"a PCR has an index that is not 0 to {_MAX_PCRS - 1}")
        if not isinstance(digest, bytes) or len(digest) not in _PCR_SIZES:
            raise _invalid(f"PCR{index} has not 32, 48 or 64 bytes")
        pcrs.append((index, digest))
    if 0 not in value:
        raise _invalid("PCR0, the image of the enclave, is missing")
    return tuple(sorted(pcrs))


def _take_certificates(leaf: CborValue, bundle: CborValue) -> tuple[bytes, ...]:
    if not isinstance(bundle, Sequence) or not 0 < len(bundle) <= _MAX_BUNDLE:
        raise _invalid(f"cabundle is not a list of 1 to {_MAX_BUNDLE} certificates")
    certificates: list[bytes] = []
    for der in (leaf, *reversed(bundle)):
        if not isinstance(der, bytes) or not 0 < len(der) <= _MAX_CERTIFICATE:
            raise _invalid(f"a certificate has not 1 to {_MAX_CERTIFICATE} bytes")
        certificates.append(der)
    return tuple(certificates)


def _take_optional(fields: Mapping[int | str, CborValue], name: str, most: int) -> bytes:
    value = fields.get(name)
    if value is None:
        return b""
    if not isinstance(value, bytes) or len(value) > most:
        raise _invalid(f"{name} is not a string of at most {most} bytes")
    return value


def _claim(document: NitroDocument, chain: Chain, signed: bytes) -> Claims:
    measurement = document.pcrs[0][1]
    instance, _, enclave = document.module.rpartition("-enc")
    facts = {
        "enclave": enclave,
        "instance": instance,
        "module": document.module,
        "nonce": document.nonce.hex(),
        "public-key": digest_bytes(document.public_key) if document.public_key else "",
        "timestamp": f"{document.at:%Y-%m-%dT%H:%M:%SZ}",
    }
    return Claims(
        tee=Tee.NITRO,
        debug=not any(measurement),
        tcb_status=TcbStatus.UNKNOWN,
        measurement=measurement,
        bound_data=document.user_data or document.nonce,
        chip_id=None,
        evidence_digest=digest_bytes(signed),
        window=chain.window,
        registers=tuple(sorted((f"pcr{index}", digest) for index, digest in document.pcrs)),
        facts=tuple(sorted(facts.items())),
    )


def _invalid(what: str) -> RefusedError:
    return RefusedError(Reason.EVIDENCE_INVALID, f"the Nitro document cannot be used: {what}")
