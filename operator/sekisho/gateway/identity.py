"""Who asks, and what that caller may do: both answered by the API server, both remembered for seconds only.

Whatever goes wrong on the way denies.
"""

import asyncio
import base64
import binascii
import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sekisho.api.names import GATEWAY_AUDIENCE, GROUP, VERSION
from sekisho.classify.lattice import DataClass, Lattice
from sekisho.errors import Reason, RefusedError, SekishoError, UnavailableError
from sekisho.gateway.caching import BriefCache
from sekisho.gateway.decide import Ceiling, ServiceFacts, check_ceiling, levels_that_grant
from sekisho.kube.client import KubeClient

MAX_TOKEN: Final = 16 << 10
_VERB: Final = "use"
_SERVICES: Final = "inferenceservices"
_LEVELS: Final = "classificationlevels"
_COMPARTMENTS: Final = "compartments"


@dataclass(frozen=True, slots=True)
class IdentityLimits:
    """For how long, and for how many callers, answers are remembered."""

    token_seconds: float = 30.0
    refused_seconds: float = 5.0
    access_seconds: float = 10.0
    max_tokens: int = 10_000
    max_accesses: int = 50_000
    max_reviews: int = 16
    max_listed_reviews: int = 256


@dataclass(frozen=True, slots=True)
class Caller:
    """Whom the API server knows the bearer of a token as."""

    username: str
    uid: str
    groups: tuple[str, ...]
    extra: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True)
class _Question:
    """One SubjectAccessReview; an empty name asks about all names, an empty namespace about all namespaces."""

    caller: Caller
    resource: str
    namespace: str
    name: str


class Identity:
    """Asks the API server about tokens and rights."""

    def __init__(self, client: KubeClient, limits: IdentityLimits) -> None:
        self._client = client
        self._limits = limits
        self._callers: BriefCache[bytes, Caller | None] = BriefCache(limits.max_tokens)
        self._access: BriefCache[_Question, bool] = BriefCache(limits.max_accesses)
        self._turns = asyncio.Semaphore(limits.max_reviews)

    async def authenticate(self, header: str | None) -> Caller:
        """Return who sent the value of an Authorization header.

        Raises:
            RefusedError: Unauthenticated: no token, or none that is valid for this gateway.
            UnavailableError: The API server could not be asked.
        """
        scheme, _, token = (header or "").partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            raise RefusedError(
                Reason.UNAUTHENTICATED,
                f"a bearer token of audience {GATEWAY_AUDIENCE} is needed: kubectl create token NAME "
                f"--audience={GATEWAY_AUDIENCE}",
            )
        left = _check_shape(token)
        key = hashlib.sha256(token.encode()).digest()
        caller = await self._callers.get(key, lambda: self._review(token, left))
        if caller is None:
            raise _stranger("it is not valid")
        return caller

    async def _review(self, token: str, left: float) -> tuple[Caller | None, float]:
        review = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token, "audiences": [GATEWAY_AUDIENCE]},
        }
        async with self._turns:
            answer = await self._ask(review)
        caller = _read_caller(answer.get("status") or {})
        limits = self._limits
        return caller, limits.refused_seconds if caller is None else min(limits.token_seconds, left)

    async def may_use(self, caller: Caller, namespace: str, name: str) -> bool:
        """Tell whether the caller may use a service, whether or not it exists."""
        return await self._may(_Question(caller, _SERVICES, namespace, name))

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
        granted, *held = await asyncio.gather(*map(self._may, (level, *compartments)))
        ceiling = Ceiling(
            wanted.level if granted else await self._find_level(caller, lattice, wanted),
            frozenset(name for name, right in zip(names, held, strict=True) if right),
        )
        check_ceiling(lattice, wanted, ceiling, because=because)

    async def _find_level(self, caller: Caller, lattice: Lattice, wanted: DataClass) -> str | None:
        """Return a higher level that is granted, or else the highest one below, for the advice."""
        higher = levels_that_grant(lattice, wanted)[1:]
        for names in (higher, lattice.levels[: wanted.rank]):
            rights = await asyncio.gather(*(self._may(_Question(caller, _LEVELS, "", name)) for name in names))
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
        rights = dict(zip(names, await asyncio.gather(*map(self._may, names)), strict=True))
        for item in services:
            single = rights.get(_Question(caller, _SERVICES, item.namespace, item.name))
            if whole.get(item.namespace) or single:
                usable.append(item)
        return usable, len(asked) <= max(left, 0)

    async def _whole_namespaces(self, caller: Caller, namespaces: Sequence[str]) -> Mapping[str, bool]:
        questions = [_Question(caller, _SERVICES, namespace, "") for namespace in namespaces]
        return dict(zip(namespaces, await asyncio.gather(*map(self._may, questions)), strict=True))

    async def _may(self, question: _Question) -> bool:
        return await self._access.get(question, lambda: self._review_access(question))

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


def _stranger(why: str) -> RefusedError:
    return RefusedError(
        Reason.UNAUTHENTICATED, f"the token is not accepted: {why}; it must be one of audience {GATEWAY_AUDIENCE}"
    )


def _check_shape(token: str) -> float:
    """Return the seconds a token says it is valid for; refuse what no review could accept.

    Nothing here is verified. It only saves the API server from being asked about nonsense, and keeps an answer from
    being remembered for longer than the token lives.
    """
    parts = token.split(".")
    if len(token) > MAX_TOKEN or len(parts) != 3 or not token.isascii():
        raise _stranger("it is not a token of a ServiceAccount")
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        audiences, expires = claims["aud"], float(claims["exp"])
    except (ValueError, KeyError, TypeError, binascii.Error, RecursionError):
        raise _stranger("it is not a token of a ServiceAccount") from None
    if GATEWAY_AUDIENCE not in (audiences if isinstance(audiences, list) else [audiences]):
        raise _stranger("it is for another audience")
    left = expires - time.time()
    if not left > 0:
        raise _stranger("it has expired")
    return left


def _read_caller(status: Mapping[str, Any]) -> Caller | None:
    if status.get("authenticated") is not True or GATEWAY_AUDIENCE not in (status.get("audiences") or ()):
        return None
    user = status.get("user") or {}
    username = str(user.get("username") or "")
    if not username or username == "system:anonymous":
        return None
    extra = {str(key): tuple(map(str, values)) for key, values in (user.get("extra") or {}).items()}
    return Caller(
        username, str(user.get("uid") or ""), tuple(map(str, user.get("groups") or ())), tuple(sorted(extra.items()))
    )
