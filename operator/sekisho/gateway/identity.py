"""Who asks, and what that caller may do; remembered for seconds only.

Who asks is answered by the API server for its own tokens, and for others by who was configured to vouch for them:
issuers of tokens, API keys, certificates. What they may do is answered by the API server for all. Whatever goes wrong
denies.
"""

import asyncio
import base64
import binascii
import hashlib
import json
import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from sekisho.access import apikeys
from sekisho.api.names import GATEWAY_AUDIENCE, GROUP, VERSION
from sekisho.classify.lattice import DataClass, Lattice
from sekisho.errors import Reason, RefusedError, SekishoError, UnavailableError
from sekisho.gateway.caching import BriefCache
from sekisho.gateway.decide import Ceiling, ServiceFacts, check_ceiling, levels_that_grant
from sekisho.gateway.issuers import IssuerSpec
from sekisho.gateway.peers import read_peer
from sekisho.gateway.vouching import Vouchers
from sekisho.kube.client import KubeClient

MAX_TOKEN: Final = 16 << 10
_VERB: Final = "use"
_SERVICES: Final = "inferenceservices"
_LEVELS: Final = "classificationlevels"
_COMPARTMENTS: Final = "compartments"


@dataclass(frozen=True, slots=True)
class IdentityLimits:
    """For how long, and for how many callers, answers are remembered, and how many are asked for at once.

    Attributes:
        max_reviews: Questions about rights that are asked at once.
        max_token_reviews: Tokens that the API server is asked about at once, whoever sent them.
        max_waiting_tokens: Tokens that may be or wait to be asked about; more are refused, so that strangers take
            neither the places of requests nor the turns of callers who are known.
    """

    token_seconds: float = 30.0
    refused_seconds: float = 5.0
    access_seconds: float = 10.0
    max_tokens: int = 10_000
    max_accesses: int = 50_000
    max_reviews: int = 16
    max_token_reviews: int = 8
    max_waiting_tokens: int = 64
    max_listed_reviews: int = 256


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, verified.

    Attributes:
        issuer: Who vouches for it: "kubernetes", "apikey", "mtls", or the name of a configured issuer.
        claims: Of its token, verified; not to be logged.
    """

    username: str
    uid: str
    groups: tuple[str, ...] = ()
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()
    issuer: str = "kubernetes"
    claims: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)
    _hash: int = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Compute the hash: every request looks up by it what its caller may do."""
        object.__setattr__(self, "_hash", hash((self.username, self.uid, self.groups, self.extra, self.issuer)))

    def __hash__(self) -> int:
        """Return the same for equal callers."""
        return self._hash


class _Question(NamedTuple):
    """One SubjectAccessReview; an empty name asks about all names, an empty namespace about all namespaces."""

    caller: Caller
    resource: str
    namespace: str
    name: str


class Identity:
    """Asks who vouches about callers, and the API server about their rights."""

    def __init__(self, client: KubeClient, limits: IdentityLimits, vouchers: Vouchers | None = None) -> None:
        self._client = client
        self._vouchers = vouchers
        self._limits = limits
        self._callers: BriefCache[bytes, Caller | None] = BriefCache(limits.max_tokens)
        self._access: BriefCache[_Question, bool] = BriefCache(limits.max_accesses)
        self._turns = asyncio.Semaphore(limits.max_reviews)
        self._token_turns = asyncio.Semaphore(limits.max_token_reviews)
        self._waiting_tokens = 0

    async def authenticate(self, header: str | None, peer: Mapping[str, Any] | None = None) -> Caller:
        """Return who asks, by a token or a key, or else by the certificate of the connection.

        Args:
            header: Value of the Authorization header.
            peer: The certificate that the connection was verified by, as `ssl` tells it.

        Raises:
            RefusedError: Unauthenticated: nothing, or nothing that is valid for this gateway.
            UnavailableError: Who vouches could not be asked.
        """
        if header is None and peer:
            _check_peer(peer)
            name = read_peer(peer)
            return Caller(name, name, issuer="mtls")
        scheme, _, token = (header or "").partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            raise RefusedError(
                Reason.UNAUTHENTICATED,
                f"a bearer token of audience {GATEWAY_AUDIENCE} is needed: kubectl create token NAME "
                f"--audience={GATEWAY_AUDIENCE}",
            )
        if token.startswith(apikeys.PREFIX):
            return self._find_key(token)
        key = hashlib.sha256(token.encode()).digest()
        verified = self._callers.known(key)
        # What a token says is read once while its verdict is remembered; what counts of it is asked every time.
        claims = verified.claims if verified is not None else _read_claims(token)
        issuer = self._vouchers.find_issuer(claims.get("iss")) if self._vouchers is not None else None
        left = _check_shape(claims) if issuer is None else 0.0
        caller = verified
        if caller is None and issuer is not None:
            caller = await self._callers.get(key, lambda: self._verify(token, issuer))
        elif caller is None:
            caller = await self._callers.get(key, lambda: self._review(token, left, claims))
        if caller is None:
            raise _stranger("it is not valid")
        return caller

    def _find_key(self, key: str) -> Caller:
        entry = self._vouchers.find_key(key) if self._vouchers is not None and apikeys.is_key(key) else None
        if entry is None:
            raise RefusedError(
                Reason.UNAUTHENTICATED, "the API key is not accepted: it is not one of this gateway, or has expired"
            )
        # Looked up every time: a key that was taken away counts no longer than its file.
        return Caller(f"apikey:{entry.name}", entry.name, entry.groups, issuer="apikey")

    async def _verify(self, token: str, issuer: IssuerSpec) -> tuple[Caller | None, float]:
        if self._vouchers is None:
            return None, 0.0
        found = await self._vouchers.verify(token, issuer)
        caller = Caller(found.username, found.uid, found.groups, issuer=issuer.name, claims=found.claims)
        return caller, min(self._limits.token_seconds, found.left_seconds)

    async def _review(self, token: str, left: float, claims: Mapping[str, Any]) -> tuple[Caller | None, float]:
        review = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token, "audiences": [GATEWAY_AUDIENCE]},
        }
        if self._waiting_tokens >= self._limits.max_waiting_tokens:
            raise UnavailableError(
                Reason.OVERLOADED,
                f"{self._waiting_tokens} tokens that are not known yet wait for the API server; try again shortly",
            )
        self._waiting_tokens += 1
        try:
            async with self._token_turns:
                answer = await self._ask(review)
        finally:
            self._waiting_tokens -= 1
        caller = _read_caller(answer.get("status") or {}, claims)
        limits = self._limits
        return caller, limits.refused_seconds if caller is None else min(limits.token_seconds, left)

    async def may_use(self, caller: Caller, namespace: str, name: str) -> bool:
        """Tell whether the caller may use a service, whether or not it exists."""
        question = _Question(caller, _SERVICES, namespace, name)
        known = self._access.known(question)
        return known if known is not None else await self._may(question)

    async def check_class(
        self, caller: Caller, lattice: Lattice, wanted: DataClass, *, because: str | None = None
    ) -> None:
        """Refuse a class above what the caller is granted: one level at least as high, and every compartment.

        Args:
            caller: Who asks.
            lattice: Of the policy in force.
            wanted: The class of the request.
            because: What was found that raised it, for the refusal.

        Raises:
            RefusedError: ClassAboveCeiling.
        """
        names = sorted(wanted.compartments)
        level = _Question(caller, _LEVELS, "", wanted.level)
        compartments = [_Question(caller, _COMPARTMENTS, "", name) for name in names]
        granted, *held = await self._may_all((level, *compartments))
        ceiling = Ceiling(
            wanted.level if granted else await self._find_level(caller, lattice, wanted),
            frozenset(name for name, right in zip(names, held, strict=True) if right),
        )
        check_ceiling(lattice, wanted, ceiling, because=because)

    async def _find_level(self, caller: Caller, lattice: Lattice, wanted: DataClass) -> str | None:
        """Return a higher level that is granted, or else the highest one below, for the advice."""
        higher = levels_that_grant(lattice, wanted)[1:]
        for names in (higher, lattice.levels[: wanted.rank]):
            rights = await self._may_all([_Question(caller, _LEVELS, "", name) for name in names])
            granted = [name for name, right in zip(names, rights, strict=True) if right]
            if granted:
                return granted[-1]
        return None

    async def list_usable(self, caller: Caller, services: Sequence[ServiceFacts]) -> tuple[list[ServiceFacts], bool]:
        """Return those the caller may use, and whether every one could be asked about within the limit."""
        if await self._may(_Question(caller, _SERVICES, "", "")):
            return list(services), True
        usable: list[ServiceFacts] = []
        left = self._limits.max_listed_reviews
        whole = await self._whole_namespaces(caller, sorted({item.namespace for item in services})[:left])
        left -= len(whole)
        asked = [item for item in services if not whole.get(item.namespace)]
        names = [_Question(caller, _SERVICES, item.namespace, item.name) for item in asked[: max(left, 0)]]
        rights = dict(zip(names, await self._may_all(names), strict=True))
        for item in services:
            single = rights.get(_Question(caller, _SERVICES, item.namespace, item.name))
            if whole.get(item.namespace) or single:
                usable.append(item)
        return usable, len(asked) <= max(left, 0)

    async def _whole_namespaces(self, caller: Caller, namespaces: Sequence[str]) -> Mapping[str, bool]:
        questions = [_Question(caller, _SERVICES, namespace, "") for namespace in namespaces]
        return dict(zip(namespaces, await self._may_all(questions), strict=True))

    async def _may(self, question: _Question) -> bool:
        return await self._access.get(question, lambda: self._review_access(question))

    async def _may_all(self, questions: Sequence[_Question]) -> Sequence[bool]:
        """Answer all questions, at the same time; where all answers are known, without a task for each."""
        known = [self._access.known(question) for question in questions]
        told = [right for right in known if right is not None]
        return told if len(told) == len(questions) else await asyncio.gather(*map(self._may, questions))

    async def _review_access(self, question: _Question) -> tuple[bool, float]:
        caller = question.caller
        attributes = {
            "group": GROUP, "version": VERSION, "resource": question.resource, "verb": _VERB,
            "namespace": question.namespace, "name": question.name,
        }  # fmt: skip
        spec: dict[str, Any] = {
            "user": caller.username, "uid": caller.uid, "groups": list(caller.groups),
            "extra": {key: list(values) for key, values in caller.extra}, "resourceAttributes": attributes,
        }  # fmt: skip
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
        async with self._turns:
            status = (await self._ask(review)).get("status") or {}
        allowed = status.get("allowed") is True and status.get("denied") is not True
        return allowed, self._limits.access_seconds

    async def _ask(self, review: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            return await self._client.create(review)
        except SekishoError as error:
            # What the API server says of a review may repeat it, and with it a token.
            raise UnavailableError(
                Reason.API_UNAVAILABLE, "the API server cannot say who you are or what you may do; try again"
            ) from error.__cause__


def _check_peer(certificate: Mapping[str, Any]) -> None:
    """Refuse a certificate that has ended: TLS asked once, when the connection was made, and that may be long ago."""
    ends = str(certificate["notAfter"])
    if ssl.cert_time_to_seconds(ends) <= time.time():
        raise RefusedError(
            Reason.UNAUTHENTICATED, f"the certificate of the connection ended at {ends}; connect with a newer one"
        )


def _stranger(why: str) -> RefusedError:
    return RefusedError(
        Reason.UNAUTHENTICATED, f"the token is not accepted: {why}; it must be one of audience {GATEWAY_AUDIENCE}"
    )


def _read_claims(token: str) -> Mapping[str, Any]:
    """Return what a token says; nothing is verified, it only tells whom to ask about it."""
    parts = token.split(".")
    if len(token) > MAX_TOKEN or len(parts) != 3 or not token.isascii():
        raise _stranger("it is not a token of a ServiceAccount")
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        claims = None
    if not isinstance(claims, Mapping):
        raise _stranger("it is not a token of a ServiceAccount")
    return claims


def _check_shape(claims: Mapping[str, Any]) -> float:
    """Return the seconds a token says it is valid for; refuse what no review could accept.

    Nothing here is verified. It only saves the API server from being asked about nonsense, and keeps an answer from
    being remembered for longer than the token lives.
    """
    try:
        audiences, expires = claims["aud"], float(claims["exp"])
    except (ValueError, KeyError, TypeError, OverflowError):
        raise _stranger("it is not a token of a ServiceAccount") from None
    if GATEWAY_AUDIENCE not in (audiences if isinstance(audiences, list) else [audiences]):
        raise _stranger("it is for another audience")
    left = expires - time.time()
    if not left > 0:
        raise _stranger("it has expired")
    return left


def _read_caller(status: Mapping[str, Any], claims: Mapping[str, Any]) -> Caller | None:
    if status.get("authenticated") is not True or GATEWAY_AUDIENCE not in (status.get("audiences") or ()):
        return None
    user = status.get("user") or {}
    username = str(user.get("username") or "")
    if not username or username == "system:anonymous":
        return None
    extra = {str(key): tuple(map(str, values)) for key, values in (user.get("extra") or {}).items()}
    return Caller(
        username=username,
        uid=str(user.get("uid") or ""),
        groups=tuple(map(str, user.get("groups") or ())),
        extra=tuple(sorted(extra.items())),
        claims=claims,
    )
