"""Collateral as files: what each is, from when to when it is good, and all of it put together for the verifiers.

A file is called KIND.NAME.SUFFIX; the kind says what it is. A file that cannot be used is left out and told of: what it
would have vouched for is refused then. Nothing is fetched, and nothing is believed here but the pinned roots: verifiers
check every signature again, at the time of each verification.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from cryptography import x509

from sekisho.attest.certificates import Certificate, parse_named_certificate
from sekisho.attest.claims import Window
from sekisho.attest.jwk import parse_jwks
from sekisho.attest.manifests import ReferenceManifest, verify_manifest
from sekisho.attest.ocsp import parse_answer
from sekisho.attest.pem import parse_pem
from sekisho.attest.pins import PINS
from sekisho.attest.verifiers.nitro import NitroCollateral
from sekisho.attest.verifiers.nvidia import NvidiaCollateral
from sekisho.attest.verifiers.select import Collateral
from sekisho.attest.verifiers.snp import SnpCollateral
from sekisho.attest.verifiers.tdx_collateral import TdxCollateral, parse_statement
from sekisho.attest.verifiers.tdx_statements import parse_qe_identity, parse_tcb_info
from sekisho.attest.verifiers.tokens import TokenCollateral, TokenIssuer
from sekisho.errors import Reason, RefusedError

MAX_FILES: Final = 16_384
MAX_FILE_BYTES: Final = 8 << 20
MAX_TOTAL_BYTES: Final = 256 << 20
_MOST_IN_ONE: Final = 64
_NAME: Final = re.compile(r"([a-z]+-[a-z-]+)\.([A-Za-z0-9_-][A-Za-z0-9._-]{0,220})\.(der|pem|crl|json|xml)")
_VCEK: Final = re.compile(r"[0-9a-f]{16,128}-[0-9a-f]{16}")
_PEM: Final = b"-----BEGIN CERTIFICATE-----"
_ISSUER_FIELDS: Final = frozenset({"audiences", "issuer", "keys", "roots", "statuses", "subjects"})
_RIM: Final = "nvidia-rim"
_ISSUER: Final = "token-issuer"


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that a file brought.

    Attributes:
        window: From when to when its issuer says it is good; None where it says nothing.
    """

    file: str
    kind: str
    window: Window | None


@dataclass(frozen=True, slots=True)
class Problem:
    """A file that is left out, and why."""

    file: str
    message: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """All files of one moment."""

    collateral: Collateral
    items: tuple[Item, ...]
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class _Part:
    """What one file came to: the value for the verifiers, beside the item that tells of it."""

    item: Item
    name: str
    value: Any


def parse_collateral(files: Mapping[str, bytes], *, at: datetime, pins: Mapping[str, frozenset[str]] = PINS) -> Loaded:
    """Read every file; those whose name is none of ours are problems too.

    Args:
        files: By name.
        at: When; reference manifests are verified for this time.
        pins: Which roots count. What is shipped always goes by its own.
    """
    parts: list[_Part] = []
    problems: list[Problem] = []
    for file, data in sorted(files.items()):
        if file.startswith("intel-") and file.endswith(".pem") and f"{file[:-4]}.json" in files:
            continue  # the issuers of the statement beside it
        try:
            parts += _read(file, data, files, pins)
        except RefusedError as error:
            problems.append(Problem(file, error.message))
    manifests = _verify_manifests(parts, problems, at)
    items = tuple(part.item for part in parts if part.item.kind != _RIM) + tuple(item for item, _ in manifests)
    return Loaded(_assemble(parts, [manifest for _, manifest in manifests]), items, tuple(problems))


def _read(file: str, data: bytes, files: Mapping[str, bytes], pins: Mapping[str, frozenset[str]]) -> list[_Part]:
    found = _NAME.fullmatch(file)
    if found is None:
        raise _invalid("its name is not KIND.NAME.SUFFIX with a suffix of der, pem, crl, json or xml")
    kind, name = found[1], found[2]
    if len(data) > MAX_FILE_BYTES:
        raise _invalid(f"it has {len(data)} bytes, {MAX_FILE_BYTES} are allowed")
    maker, _, what = kind.partition("-")
    if kind == _ISSUER:
        return [_Part(Item(file, kind, None), name, _read_issuer(data))]
    if kind.endswith("-root") and kind.removesuffix("-root") in pins:
        return _read_roots(file, kind, data, pins[kind.removesuffix("-root")])
    if kind == "amd-ca":
        return _read_certificates(file, kind, data)
    if kind == "amd-vcek":
        return _read_vcek(file, name, data)
    if what == "crl" and maker in pins:
        return [_read_list(file, kind, data)]
    if kind in {"intel-tcb", "intel-qe"}:
        return [_read_statement(file, kind, data, files.get(f"{kind}.{name}.pem", b""))]
    if maker == "nvidia":
        return [_read_for_nvidia(file, kind, name, data)]
    raise _invalid(f"{kind} is no kind of collateral")


def _read_roots(file: str, kind: str, data: bytes, pins: frozenset[str]) -> list[_Part]:
    parts = _read_certificates(file, kind, data)
    for part in parts:
        digest = hashlib.sha256(part.value).hexdigest()
        if digest not in pins:
            raise _invalid(f"the root with digest {digest[:16]}… is none of its maker's that this version knows")
    return parts


def _read_certificates(file: str, kind: str, data: bytes) -> list[_Part]:
    ders = (
        parse_pem(data, "its certificates", most=_MOST_IN_ONE, reason=Reason.COLLATERAL_INVALID)
        if data.lstrip().startswith(_PEM)
        else (data,)
    )
    return [_Part(Item(file, kind, _parse(der).window), "", der) for der in ders]


def _parse(der: bytes) -> Certificate:
    return parse_named_certificate(der, Reason.COLLATERAL_INVALID, "a certificate in it")


def _read_vcek(file: str, name: str, data: bytes) -> list[_Part]:
    if not _VCEK.fullmatch(name):
        raise _invalid("a VCEK is called amd-vcek.CHIP-TCB.der, chip id and reported TCB in hexadecimal")
    return [_Part(part.item, name, part.value) for part in _read_certificates(file, "amd-vcek", data)[:1]]


def _read_list(file: str, kind: str, data: bytes) -> _Part:
    try:
        parsed = x509.load_der_x509_crl(data)
        begins, ends = parsed.last_update_utc, parsed.next_update_utc
    except (ValueError, TypeError) as error:
        raise _invalid("it is not an X.509 revocation list in DER") from error
    if ends is None:
        raise _invalid("the revocation list does not say when it ends")
    return _Part(Item(file, kind, Window(begins, ends)), "", data)


def _read_for_nvidia(file: str, kind: str, name: str, data: bytes) -> _Part:
    if kind == _RIM:
        return _Part(Item(file, kind, None), name, data)
    if kind != "nvidia-ocsp":
        raise _invalid(f"{kind} is no kind of collateral")
    answer = parse_answer(data)
    if answer.next_update_utc is None:
        raise _invalid("the OCSP answer does not say when it ends")
    return _Part(Item(file, kind, Window(answer.this_update_utc, answer.next_update_utc)), "", data)


def _read_statement(file: str, kind: str, data: bytes, issuers: bytes) -> _Part:
    if not issuers:
        raise _invalid(f"its issuers are missing: put their certificates beside it as {file[:-5]}.pem")
    statement = parse_statement(data, issuers)
    parsed = parse_tcb_info(statement.body) if kind == "intel-tcb" else parse_qe_identity(statement.body)
    return _Part(Item(file, kind, parsed.window), "", statement)


def _read_issuer(data: bytes) -> TokenIssuer:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _invalid("it is not JSON") from error
    if not isinstance(value, dict) or not _ISSUER_FIELDS.issuperset(value):
        raise _invalid(f"an issuer of tokens is an object of {', '.join(sorted(_ISSUER_FIELDS))}")
    if not isinstance(value.get("issuer"), str):
        raise _invalid("issuer is not text")
    keys, roots = value.get("keys"), _texts(value, "roots")
    statuses = frozenset(_texts(value, "statuses")) or TokenIssuer("").statuses
    if not keys and not roots:
        raise _invalid("an issuer of tokens has keys, a JSON Web Key Set, or roots, certificates in PEM")
    return TokenIssuer(
        issuer=value["issuer"],
        keys=parse_jwks(json.dumps(keys).encode()) if keys else (),
        roots=tuple(der for pem in roots for der in parse_pem(
            pem.encode(errors="replace"), "its roots", most=_MOST_IN_ONE, reason=Reason.COLLATERAL_INVALID)),
        subjects=tuple(_texts(value, "subjects")),
        audiences=tuple(_texts(value, "audiences")),
        statuses=statuses,
    )  # fmt: skip


def _texts(value: Mapping[str, Any], field: str) -> list[str]:
    items = value.get(field, [])
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise _invalid(f"{field} is not a list of texts")
    return items


def _verify_manifests(
    parts: Iterable[_Part], problems: list[Problem], at: datetime
) -> list[tuple[Item, ReferenceManifest]]:
    """Verify reference manifests, which only then are told of."""
    roots = [part.value for part in parts if part.item.kind == "nvidia-rim-root"]
    verified: list[tuple[Item, ReferenceManifest]] = []
    for part in parts:
        if part.item.kind == _RIM:
            try:
                manifest = verify_manifest(part.value, roots, at=at)
            except RefusedError as error:
                problems.append(Problem(part.item.file, error.message))
            else:
                verified.append((Item(part.item.file, _RIM, manifest.window), manifest))
    return verified


def _assemble(parts: Iterable[_Part], manifests: Iterable[ReferenceManifest]) -> Collateral:
    by_kind: dict[str, list[_Part]] = {}
    for part in parts:
        by_kind.setdefault(part.item.kind, []).append(part)

    def values(kind: str) -> tuple[Any, ...]:
        return tuple(part.value for part in by_kind.get(kind, ()))

    vceks = {part.name: part.value for part in by_kind.get("amd-vcek", ())}
    amd, intel, nvidia, aws = (values(f"{maker}-root") for maker in ("amd", "intel", "nvidia", "aws"))
    snp = SnpCollateral(amd, values("amd-ca"), values("amd-crl"), vceks) if amd else None
    tdx = TdxCollateral(intel, values("intel-crl"), values("intel-tcb"), values("intel-qe")) if intel else None
    issuers = values(_ISSUER)
    return Collateral(
        snp=snp,
        tdx=tdx,
        nvidia=NvidiaCollateral(nvidia, values("nvidia-crl"), tuple(manifests), values("nvidia-ocsp"))
        if nvidia
        else None,
        nitro=NitroCollateral(aws, values("aws-crl")) if aws else None,
        tokens=TokenCollateral(issuers) if issuers else None,
    )


def _invalid(message: str) -> RefusedError:
    return RefusedError(Reason.COLLATERAL_INVALID, message)
