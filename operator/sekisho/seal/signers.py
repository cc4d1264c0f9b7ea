"""Whom a policy trusts to sign, and who of them made a signature; pure.

An unknown signature counts for nothing and spoils nothing; one trusted signer at least must have signed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sekisho.errors import Reason, RefusedError, Rejection, SekishoError
from sekisho.seal.certificates import (
    MAX_SUBJECTS,
    Authority,
    check_subject,
    explain_refusal,
    is_named,
    parse_chain,
    parse_roots,
)
from sekisho.seal.fields import WORD
from sekisho.seal.publickey import PublicKey, parse_public_key
from sekisho.seal.statement import Signature, encode_pae

MAX_SIGNERS: Final = 64
MAX_KEYS: Final = 16
MAX_AUTHORITIES: Final = 8
_MOST_TOLD: Final = 3


@dataclass(frozen=True, slots=True)
class Signer:
    """One whom a policy names; each of the keys, and each certificate that an authority vouches for, signs as it."""

    name: str
    keys: tuple[PublicKey, ...]
    authorities: tuple[Authority, ...]


@dataclass(frozen=True, slots=True)
class SignerText:
    """A signer as a policy spells it. One with several authorities is given as several items of the same name.

    Attributes:
        public_keys: PEM, one key each.
        certificates: PEM; the roots of one authority.
        subjects: Whose certificates of that authority count.
    """

    name: str
    public_keys: tuple[str, ...] = ()
    certificates: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()


def parse_signers(items: Sequence[SignerText]) -> tuple[Signer, ...]:
    """Read the signers of a policy.

    Raises:
        RefusedError: PolicyInvalid; a signer without key and authority, an authority without subjects, a key or root
            that cannot be used, or one that two signers share: a single signature would count for both.
    """
    signers: dict[str, Signer] = {}
    for item in items:
        fresh = _parse_signer(item)
        known = signers.get(item.name, Signer(item.name, (), ()))
        signers[item.name] = Signer(item.name, known.keys + fresh.keys, known.authorities + fresh.authorities)
    for signer in signers.values():
        if not signer.keys and not signer.authorities:
            raise _invalid(
                f'signer "{signer.name}" has neither a public key nor an authority, so nobody could sign as it'
            )
        if len(signer.keys) > MAX_KEYS or len(signer.authorities) > MAX_AUTHORITIES:
            raise _invalid(
                f'signer "{signer.name}" has {len(signer.keys)} keys and {len(signer.authorities)} authorities, '
                f"{MAX_KEYS} and {MAX_AUTHORITIES} are allowed"
            )
    if len(signers) > MAX_SIGNERS:
        raise _invalid(f"there are {len(signers)} signers, {MAX_SIGNERS} are allowed")
    _check_apart(tuple(signers.values()))
    return tuple(signers.values())


def read_signer_texts(value: object) -> tuple[SignerText, ...]:
    """Read a policy's `spec.signers` as it was parsed from YAML or JSON.

    Raises:
        RefusedError: PolicyInvalid; not the shape of the resource, a field unknown, a name twice.
    """
    items = _take_list(value, "signers")
    texts = tuple(text for place, item in enumerate(items) for text in _read_item(item, f"signers[{place}]"))
    names = [item.get("name") for item in items]
    if len(set(names)) < len(names):
        raise _invalid("two signers have the same name; give each its own")
    return texts


def find_signers(
    payload: bytes, signatures: Sequence[Signature], signers: Sequence[Signer], *, at: datetime
) -> frozenset[str]:
    """Find who signed a statement; a signature counts for the first signer of the policy that it fits.

    Raises:
        RefusedError: SignatureInvalid where a signature of a trusted key does not hold and no other does;
            SignerNotTrusted where nobody the policy trusts signed.
    """
    if not signers:
        raise RefusedError(Reason.SIGNER_NOT_TRUSTED, "the policy names no signers, so nobody's signature counts")
    message = encode_pae(payload)
    found = [_try_signature(message, signature, signers, at=at) for signature in signatures]
    names = frozenset(name for name in found if isinstance(name, str))
    if not names:
        raise _explain([problem for problem in found if isinstance(problem, Rejection)], signers)
    return names


def _try_signature(message: bytes, signature: Signature, signers: Sequence[Signer], *, at: datetime) -> str | Rejection:
    pinned = [(signer.name, key) for signer in signers for key in signer.keys]
    hinted = [name for name, key in pinned if key.key_id == signature.key_id]
    for name, key in sorted(pinned, key=lambda pair: pair[1].key_id != signature.key_id):
        if key.verifies(message, signature.value):
            return name
    if signature.certificates:
        return _try_certificates(message, signature, signers, at=at)
    if hinted:
        return Rejection(
            Reason.SIGNATURE_INVALID,
            f'the signature by key {signature.key_id} of "{hinted[0]}" does not hold: what it covers was changed',
        )
    return Rejection(Reason.SIGNER_NOT_TRUSTED, f"key {signature.key_id} is none of the policy's")


def _try_certificates(
    message: bytes, signature: Signature, signers: Sequence[Signer], *, at: datetime
) -> str | Rejection:
    chain = parse_chain(signature.certificates)
    if chain is None:
        return Rejection(Reason.SIGNATURE_INVALID, "a certificate beside the signature cannot be read or cannot sign")
    if not chain.key.verifies(message, signature.value):
        return Rejection(Reason.SIGNATURE_INVALID, "a signature does not hold for the certificate that came with it")
    told = f"the certificate of {chain.who} is of nobody whom an authority of the policy names"
    for signer in signers:
        for authority in signer.authorities:
            if is_named(chain, authority):
                told = explain_refusal(chain, authority, at=at)
                if not told:
                    return signer.name
    return Rejection(Reason.SIGNER_NOT_TRUSTED, told)


def _explain(problems: Sequence[Rejection], signers: Sequence[Signer]) -> SekishoError:
    invalid = [problem for problem in problems if problem.reason is Reason.SIGNATURE_INVALID]
    told = [problem.detail for problem in (invalid or problems)[:_MOST_TOLD]]
    names = ", ".join(signer.name for signer in signers)
    return RefusedError(
        (invalid or problems)[0].reason, f"{'; '.join(told)}; a signature by one of these is needed: {names[:256]}"
    )


def _parse_signer(item: SignerText) -> Signer:
    name = f'signer "{item.name[:64]}"'
    if not WORD.fullmatch(item.name):
        raise _invalid(f"{name} is not named by letters, digits, dash, dot and underscore")
    if len(item.public_keys) > MAX_KEYS or len(item.subjects) > MAX_SUBJECTS:
        raise _invalid(f"{name} has more than {MAX_KEYS} keys or {MAX_SUBJECTS} subjects")
    keys = tuple(
        parse_public_key(pem, name=f"{name}: public key {place}") for place, pem in enumerate(item.public_keys, start=1)
    )
    if not item.certificates and not item.subjects:
        return Signer(item.name, keys, ())
    if not item.certificates or not item.subjects:
        raise _invalid(f"{name} has an authority without certificates or without subjects; both are needed")
    roots = parse_roots("\n".join(item.certificates), name=f"{name}: certificates")
    subjects = tuple(check_subject(subject, name=f"{name}: subject") for subject in item.subjects)
    return Signer(item.name, keys, (Authority(roots, subjects),))


def _read_item(value: object, name: str) -> list[SignerText]:
    fields = _take_object(value, name, ("name", "publicKeys", "authorities"))
    signer = _take_text(fields.get("name"), f"{name}.name")
    texts = [SignerText(signer, _take_texts(fields.get("publicKeys", []), f"{name}.publicKeys"))]
    for place, item in enumerate(_take_list(fields.get("authorities", []), f"{name}.authorities")):
        where = f"{name}.authorities[{place}]"
        authority = _take_object(item, where, ("certificates", "subjects"))
        certificates = _take_texts(authority.get("certificates"), f"{where}.certificates")
        subjects = _take_texts(authority.get("subjects"), f"{where}.subjects")
        if not certificates or not subjects:
            raise _invalid(f"{where} lacks certificates or subjects; both are needed")
        texts.append(SignerText(signer, certificates=certificates, subjects=subjects))
    return texts


def _take_object(value: object, name: str, known: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _invalid(f"{name} is no object")
    for field in value:
        if field not in known:
            raise _invalid(f'{name} has the field "{str(field)[:64]}"; known are {", ".join(known)}')
    return value


def _take_list(value: object, name: str) -> list[Any]:
    if not isinstance(value, list) or len(value) > MAX_SIGNERS:
        raise _invalid(f"{name} is no list of at most {MAX_SIGNERS} items")
    return value


def _take_texts(value: object, name: str) -> tuple[str, ...]:
    return tuple(_take_text(item, name) for item in _take_list(value, name))


def _take_text(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise _invalid(f"{name} is no text")
    return value


def _check_apart(signers: Sequence[Signer]) -> None:
    owners: dict[object, str] = {}
    for signer in signers:
        marks: list[object] = [key.key_id for key in signer.keys]
        marks += [(root, subject) for one in signer.authorities for root in one.roots for subject in one.subjects]
        for mark in marks:
            other = owners.setdefault(mark, signer.name)
            if other != signer.name:
                raise _invalid(
                    f'signers "{other}" and "{signer.name}" share a key or a certificate\'s subject, so one signature '
                    f"would count for both; name one signer in both places of the policy instead"
                )


def _invalid(text: str) -> RefusedError:
    return RefusedError(Reason.POLICY_INVALID, text)
