"""Tokens of configured issuers (OpenID Connect): whose keys count, and who a verified token speaks of. Pure.

RFC 7519, RFC 7517; what a token must hold follows "OpenID Connect Core" section 2. Signatures are checked by PyJWT.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, Self

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from sekisho.api.meta import Name
from sekisho.api.problems import spell_problem
from sekisho.errors import Reason, RefusedError

ALGORITHMS: Final = ("RS256", "ES256", "EdDSA")
RESERVED: Final = frozenset({"system", "kubernetes", "apikey", "mtls"})
MAX_KEYS: Final = 64
MAX_ISSUERS: Final = 16
_MAX_GROUPS: Final = 256
_MAX_NAME: Final = 256
_LEEWAY_SECONDS: Final = 30
_FAR_SECONDS: Final = 1e15
_MIN_RSA_BITS: Final = 2048
_NEEDED: Final = ("exp", "iat", "iss", "aud", "sub")
_Claim = Annotated[str, Field(min_length=1, max_length=64)]


class IssuerSpec(BaseModel):
    """One issuer as an installation configures it."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)

    name: Name
    issuer: Annotated[str, Field(min_length=1, max_length=512)]
    audiences: Annotated[tuple[Annotated[str, Field(min_length=1, max_length=256)], ...], Field(min_length=1)]
    algorithms: Annotated[tuple[Literal["RS256", "ES256", "EdDSA"], ...], Field(min_length=1)] = ALGORITHMS
    username_claim: _Claim = "sub"
    groups_claim: _Claim = "groups"
    jwks: Mapping[str, Any] | None = None
    jwks_url: Annotated[str, Field(pattern=r"^https://[!-~]{1,500}$")] | None = None
    ca_file: str | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.name in RESERVED:
            raise ValueError(f'"{self.name}" is a name that others go by; choose another for the issuer')
        if (self.jwks is None) == (self.jwks_url is None):
            raise ValueError("an issuer has either jwks, its pinned keys, or jwksUrl, where they are fetched")
        return self


@dataclass(frozen=True, slots=True)
class TokenCaller:
    """Whom a verified token speaks of.

    Attributes:
        username: "issuer:" and the value of the username claim; no issuer can speak of another's users.
        claims: All that was signed.
        left_seconds: For how long the token is valid yet.
    """

    username: str
    uid: str
    groups: tuple[str, ...]
    claims: Mapping[str, Any]
    left_seconds: float


Keys = Mapping[str, jwt.PyJWK]


def parse_issuers(text: str) -> tuple[IssuerSpec, ...]:
    """Read the issuers of an installation, a JSON list.

    Raises:
        RefusedError: InvalidSpec; the message names the field, never a value.
    """
    try:
        raw = json.loads(text)
        if not isinstance(raw, list) or len(raw) > MAX_ISSUERS:
            raise RefusedError(Reason.INVALID_SPEC, f"issuers must be a list of at most {MAX_ISSUERS}")
        issuers = tuple(IssuerSpec.model_validate(item) for item in raw)
    except ValidationError as error:
        raise RefusedError(Reason.INVALID_SPEC, f"issuers: {spell_problem(error, otherwise='an issuer')}") from None
    except ValueError:
        raise RefusedError(Reason.INVALID_SPEC, "issuers cannot be read: they are not JSON") from None
    for what in ("name", "issuer"):
        values = [getattr(item, what) for item in issuers]
        if len(set(values)) < len(values):
            raise RefusedError(Reason.INVALID_SPEC, f"issuers: two of them have the same {what}")
    return issuers


def parse_keys(raw: Any) -> Keys:
    """Read a JWKS (RFC 7517); keys for other uses and of other algorithms are left out.

    Raises:
        RefusedError: CollateralInvalid: it is none, holds too many keys, a weak one, or none that can be used.
    """
    items = raw.get("keys") if isinstance(raw, Mapping) else None
    if not isinstance(items, list) or len(items) > MAX_KEYS:
        raise _bad_keys(f"a set of at most {MAX_KEYS} keys is needed")
    keys: dict[str, jwt.PyJWK] = {}
    for item in items:
        if not isinstance(item, Mapping) or item.get("use", "sig") != "sig" or "d" in item or item.get("k"):
            continue
        key = _parse_key(item)
        if key is not None:
            identifier = str(item.get("kid", ""))
            if identifier in keys:
                raise _bad_keys(f"two keys go by {identifier[:64]!r}")
            keys[identifier] = key
    if not keys:
        raise _bad_keys(f"none of its keys is a public one for {', '.join(ALGORITHMS)}")
    return keys


def _parse_key(item: Mapping[str, Any]) -> jwt.PyJWK | None:
    algorithm = {("EC", "P-256"): "ES256", ("OKP", "Ed25519"): "EdDSA"}.get(
        (str(item.get("kty")), str(item.get("crv"))), "RS256" if item.get("kty") == "RSA" else ""
    )
    if not algorithm or item.get("alg", algorithm) != algorithm:
        return None
    try:
        key = jwt.PyJWK(dict(item), algorithm)
    except (jwt.PyJWTError, ValueError, TypeError):
        return None
    if isinstance(key.key, RSAPublicKey) and key.key.key_size < _MIN_RSA_BITS:
        raise _bad_keys(f"a key has {key.key.key_size} bits, at least {_MIN_RSA_BITS} are needed")
    return key


def verify_token(token: str, issuer: IssuerSpec, keys: Keys, *, now: float) -> TokenCaller:
    """Verify a token that says it is of an issuer.

    Args:
        token: In JWS compact form.
        issuer: Whose it says it is.
        keys: The issuer's.
        now: Unix seconds.

    Raises:
        RefusedError: Unauthenticated, with why; nothing of the token is repeated.
    """
    try:
        header = jwt.get_unverified_header(token)
        key = _choose_key(header, issuer, keys)
        claims = jwt.decode(
            token, key, algorithms=[key.algorithm_name], issuer=issuer.issuer, audience=list(issuer.audiences),
            options={"require": list(_NEEDED), "verify_exp": False, "verify_iat": False, "verify_nbf": False},
        )  # fmt: skip
    except RefusedError:
        raise
    except jwt.PyJWTError as error:
        raise _stranger(issuer, _WHY.get(type(error), "it is not a token that it signed")) from None
    except (ValueError, TypeError, RecursionError):
        raise _stranger(issuer, "it cannot be read") from None
    left = _check_times(claims, issuer, now)
    name = claims.get(issuer.username_claim)
    if not isinstance(name, str) or not 0 < len(name) <= _MAX_NAME or not name.isprintable():
        raise _stranger(issuer, f'its claim "{issuer.username_claim}" is no name')
    groups = _read_groups(claims.get(issuer.groups_claim, ()), issuer)
    return TokenCaller(f"{issuer.name}:{name}", str(claims["sub"])[:_MAX_NAME], groups, claims, left)


_WHY: Final[Mapping[type[Exception], str]] = {
    jwt.InvalidAudienceError: "it is for another audience",
    jwt.InvalidIssuerError: "it is of another issuer",
    jwt.MissingRequiredClaimError: f"it lacks one of {', '.join(_NEEDED)}",
}


def _choose_key(header: Mapping[str, Any], issuer: IssuerSpec, keys: Keys) -> jwt.PyJWK:
    if header.get("alg") not in issuer.algorithms:
        raise _stranger(issuer, f"it must be signed by {' or '.join(issuer.algorithms)}")
    identifier = header.get("kid")
    only = next(iter(keys.values())) if len(keys) == 1 else None
    key = only if identifier is None else keys.get(str(identifier))
    if key is None:
        raise UnknownKeyError(issuer)
    if key.algorithm_name != header["alg"]:
        raise _stranger(issuer, "its key is for another algorithm")
    return key


class UnknownKeyError(RefusedError):
    """The token names a key that its issuer did not have when last asked."""

    def __init__(self, issuer: IssuerSpec) -> None:
        super().__init__(Reason.UNAUTHENTICATED, f'the token is not accepted: "{issuer.name}" has no key as it names')


def _check_times(claims: Mapping[str, Any], issuer: IssuerSpec, now: float) -> float:
    times = {name: claims.get(name) for name in ("exp", "iat", "nbf")}
    for name, value in times.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if value is not None and not (number and abs(value) <= _FAR_SECONDS):
            raise _stranger(issuer, f'its claim "{name}" is no time')
    left = float(times["exp"] or 0) + _LEEWAY_SECONDS - now
    if left <= 0:
        raise _stranger(issuer, "it has expired")
    begins = max(float(times["iat"] or 0), float(times["nbf"] or 0))
    if begins > now + _LEEWAY_SECONDS:
        raise _stranger(issuer, "it is not valid yet")
    return left


def _read_groups(value: Any, issuer: IssuerSpec) -> tuple[str, ...]:
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list | tuple) or len(items) > _MAX_GROUPS:
        raise _stranger(issuer, f'its claim "{issuer.groups_claim}" is no list of at most {_MAX_GROUPS} groups')
    if not all(isinstance(item, str) and 0 < len(item) <= _MAX_NAME and item.isprintable() for item in items):
        raise _stranger(issuer, f'its claim "{issuer.groups_claim}" holds what is no name')
    return tuple(f"{issuer.name}:{item}" for item in items)


def find_issuer(issuers: Iterable[IssuerSpec], said: Any) -> IssuerSpec | None:
    """Return the issuer that a token says it is of; nothing is verified by that."""
    return next((item for item in issuers if item.issuer == said), None)


def _stranger(issuer: IssuerSpec, why: str) -> RefusedError:
    return RefusedError(
        Reason.UNAUTHENTICATED, f'the token, which says that it is of "{issuer.name}", is not accepted: {why}'
    )


def _bad_keys(why: str) -> RefusedError:
    return RefusedError(Reason.COLLATERAL_INVALID, f"the keys of an issuer cannot be used: {why}")
