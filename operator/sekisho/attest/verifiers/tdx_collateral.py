"""What a verification of quotes rests on beside the quote: roots, revocation lists, Intel's signed statements.

Nothing is fetched here: a store brings the bytes as Intel's service delivered them.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

from sekisho.attest.chains import Certificate, Chain, intersect, verify_chain
from sekisho.attest.claims import Window
from sekisho.attest.pem import parse_pem
from sekisho.attest.signatures import ecdsa_holds
from sekisho.attest.verifiers.tdx_pck import Platform
from sekisho.attest.verifiers.tdx_statements import (
    MAX_STATEMENT_BYTES,
    QeIdentity,
    TcbInfo,
    parse_qe_identity,
    parse_tcb_info,
)
from sekisho.errors import Reason, RefusedError

MAX_BUNDLE_BYTES: Final = 4 * 1024 * 1024
_SIGNER: Final = "Intel SGX TCB Signing"
_MAX_CERTIFICATES: Final = 3
_COLLATERAL: Final = frozenset({Reason.COLLATERAL_MISSING, Reason.COLLATERAL_INVALID, Reason.COLLATERAL_EXPIRED})
_HEAD: Final = re.compile(r'\s*\{\s*"(tcbInfo|enclaveIdentity)"\s*:\s*')
_TAIL: Final = re.compile(r'\s*,\s*"signature"\s*:\s*"([0-9a-fA-F]{128})"\s*\}\s*')


@dataclass(frozen=True, slots=True)
class Statement:
    """One of Intel's signed statements; unverified.

    Attributes:
        body: The JSON object that is signed, byte for byte as it was delivered.
        signature: r and s, 32 bytes each, highest byte first.
        certificates: DER, the signer's first.
    """

    body: bytes
    signature: bytes
    certificates: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class TdxCollateral:
    """What quotes of SGX and TDX are verified against.

    Attributes:
        roots: DER of the pinned roots: Intel's SGX root.
        crls: DER of the lists of the root and of the CAs for PCK certificates; without both nothing is accepted.
        tcb_infos: Of every FMSPC that may be seen, for TDX or SGX.
        qe_identities: Of the quoting enclaves.
    """

    roots: tuple[bytes, ...]
    crls: tuple[bytes, ...] = ()
    tcb_infos: tuple[Statement, ...] = ()
    qe_identities: tuple[Statement, ...] = ()


def parse_statement(document: bytes, certificates: bytes) -> Statement:
    """Take a statement apart as Intel's service delivers it: {"tcbInfo": …, "signature": …} or {"enclaveIdentity": …}.

    Args:
        document: The body of the answer.
        certificates: Its issuer chain in PEM, already freed from the percent encoding of the header.

    Raises:
        RefusedError: CollateralInvalid.
    """
    shape = 'a statement of Intel\'s is not {"tcbInfo" or "enclaveIdentity": …, "signature": 64 bytes}'
    text = document.decode("ascii", "replace")  # one character a byte, so that places are the same
    head = _HEAD.match(text)
    if len(document) > MAX_STATEMENT_BYTES or head is None:
        raise _invalid(shape)
    try:
        end = head.end() + len(_scan(text[head.end() :]))
    except (ValueError, RecursionError) as error:
        raise _invalid("a statement of Intel's is not JSON") from error
    tail = _TAIL.fullmatch(text, end)
    if tail is None:
        raise _invalid(shape)
    return Statement(document[head.end() : end], bytes.fromhex(tail[1]), _parse_issuers(certificates))


def parse_bundle(document: bytes, roots: Sequence[bytes]) -> TdxCollateral:
    """Parse the collateral of one quote in the JSON that DCAP's tools exchange (sgx_ql_qve_collateral_t).

    Binary fields are hexadecimal. The roots are the caller's: none is taken from the bundle.

    Raises:
        RefusedError: CollateralInvalid.
    """
    try:
        value = json.loads(document) if len(document) <= MAX_BUNDLE_BYTES else None
    except (ValueError, RecursionError) as error:
        raise _invalid("a bundle of collateral is not JSON") from error
    if not isinstance(value, dict):
        raise _invalid(f"a bundle of collateral is not an object of at most {MAX_BUNDLE_BYTES} bytes")
    return TdxCollateral(
        roots=tuple(roots),
        crls=(_take_octets(value, "root_ca_crl"), _take_octets(value, "pck_crl")),
        tcb_infos=(_take_statement(value, "tcb_info"),),
        qe_identities=(_take_statement(value, "qe_identity"),),
    )


def pick_tcb_info(collateral: TdxCollateral, platform: Platform, tee: str, *, at: datetime) -> tuple[TcbInfo, Window]:
    """Return the newest verified TCB information of a platform, and how long all that vouches for it is valid.

    Raises:
        RefusedError: CollateralMissing, CollateralInvalid, CollateralExpired; what chains of certificates raise.
    """
    spelling = platform.fmspc.hex().encode()
    found = [(parse_tcb_info(item.body), item) for item in collateral.tcb_infos if spelling in item.body.lower()]
    fitting = [
        (info, item)
        for info, item in found
        if (info.tee, info.fmspc, info.pce_id) == (tee, platform.fmspc, platform.pce_id)
    ]
    name = f"TCB information for {tee} on FMSPC {platform.fmspc.hex()} with PCEID {platform.pce_id.hex()}"
    if not fitting:
        raise RefusedError(Reason.COLLATERAL_MISSING, f"there is no {name}; import it from Intel's service")
    info, item = max(fitting, key=lambda pair: (pair[0].window.covers(at), pair[0].number, pair[0].window.not_before))
    return info, _verify(item, collateral, info.window, name, at=at)


def pick_qe_identity(collateral: TdxCollateral, tee: str, *, at: datetime) -> tuple[QeIdentity, Window]:
    """Return the newest verified identity of a quoting enclave, and how long all that vouches for it is valid.

    Raises:
        RefusedError: CollateralMissing, CollateralInvalid, CollateralExpired; what chains of certificates raise.
    """
    wanted = {"SGX": "QE", "TDX": "TD_QE"}[tee]
    found = [(parse_qe_identity(item.body), item) for item in collateral.qe_identities]
    fitting = [(identity, item) for identity, item in found if identity.name == wanted]
    name = f"identity {wanted} of the quoting enclave for {tee}"
    if not fitting:
        raise RefusedError(Reason.COLLATERAL_MISSING, f"there is no {name}; import it from Intel's service")
    identity, item = max(
        fitting, key=lambda pair: (pair[0].window.covers(at), pair[0].number, pair[0].window.not_before)
    )
    return identity, _verify(item, collateral, identity.window, name, at=at)


def verify_issued(certificates: Sequence[bytes], collateral: TdxCollateral, name: str, *, at: datetime) -> Chain:
    """Verify a chain of Intel's in which each issuer's revocation list is at hand.

    Raises:
        RefusedError: CollateralMissing without a list; what chains of certificates raise.
    """
    chain = verify_chain(certificates, collateral.roots, at=at, crls=collateral.crls)
    if not chain.revocation_checked:
        raise RefusedError(
            Reason.COLLATERAL_MISSING,
            f"there is no revocation list of every issuer of the {name}; import those of the root and the PCK CA",
        )
    return chain


def holds(certificate: Certificate, signature: bytes, message: bytes) -> bool:
    """Tell whether a raw P-256 signature over a message is by the key of a certificate."""
    key = certificate.key
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        return False
    return holds_raw(key, signature, message)


def holds_raw(key: ec.EllipticCurvePublicKey, signature: bytes, message: bytes) -> bool:
    """Tell whether a raw P-256 signature, r and s of 32 bytes each, is by a key."""
    numbers = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    return len(signature) == 64 and ecdsa_holds(key, numbers, message, SHA256())


def _verify(item: Statement, collateral: TdxCollateral, window: Window, name: str, *, at: datetime) -> Window:
    if not window.covers(at):
        raise RefusedError(
            Reason.COLLATERAL_EXPIRED,
            f"the {name} holds from {window.not_before:%Y-%m-%dT%H:%M:%SZ} to {window.not_after:%Y-%m-%dT%H:%M:%SZ},"
            f" it is {at:%Y-%m-%dT%H:%M:%SZ}; import it anew",
        )
    chain = _verify_signer(item.certificates, collateral, name, at=at)
    if not holds(chain.leaf, item.signature, item.body):
        raise _invalid(f"the signature of the {name} does not hold")
    return intersect([chain.window, window])


def _verify_signer(certificates: Sequence[bytes], collateral: TdxCollateral, name: str, *, at: datetime) -> Chain:
    """Verify who signed a statement; what would speak against evidence speaks against the collateral here."""
    try:
        chain = verify_issued(certificates, collateral, f"signer of the {name}", at=at)
    except RefusedError as error:
        if error.reason in _COLLATERAL:
            raise
        raise _invalid(f"the signer of the {name} is not to be trusted: {error.message}") from error
    if chain.leaf.common_name() != _SIGNER:
        raise _invalid(f'the {name} is signed by "{chain.leaf.who}", not by "{_SIGNER}"')
    return chain


def _scan(text: str) -> str:
    _, length = json.JSONDecoder().raw_decode(text)
    return text[:length]


def _take_statement(bundle: dict[str, Any], name: str) -> Statement:
    body = _take_text(bundle, name).encode(errors="replace")
    return Statement(
        body=body,
        signature=_take_octets(bundle, f"{name}_signature"),
        certificates=_parse_issuers(_take_text(bundle, f"{name}_issuer_chain").encode(errors="replace")),
    )


def _parse_issuers(pem: bytes) -> tuple[bytes, ...]:
    name = "the certificates of a statement's signer"
    return parse_pem(pem.removesuffix(b"\0"), name, most=_MAX_CERTIFICATES, reason=Reason.COLLATERAL_INVALID)


def _take_octets(bundle: dict[str, Any], name: str) -> bytes:
    text = _take_text(bundle, name)
    if len(text) % 2 or not set(text) <= set("0123456789abcdefABCDEF"):
        raise _invalid(f"a bundle of collateral has a field {name} that is not hexadecimal")
    return bytes.fromhex(text)


def _take_text(bundle: dict[str, Any], name: str) -> str:
    value = bundle.get(name)
    if not isinstance(value, str):
        raise _invalid(f"a bundle of collateral has no text {name}")
    return value


def _invalid(message: str) -> RefusedError:
    return RefusedError(Reason.COLLATERAL_INVALID, message)
