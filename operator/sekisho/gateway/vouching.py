"""Who vouches for callers beside the API server: issuers with their keys, and API keys; read again when they change.

Files are mounted; keys of an issuer with a URL are fetched, kept on disk for a restart, and not used when too old.
"""

import asyncio
import json
import logging
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import aiohttp

from sekisho.access.apikeys import ApiKeys, KeyEntry, parse_api_keys
from sekisho.errors import Reason, RefusedError, SekishoError, UnavailableError
from sekisho.gateway.issuers import (
    IssuerSpec,
    Keys,
    TokenCaller,
    UnknownKeyError,
    find_issuer,
    parse_issuers,
    parse_keys,
    verify_token,
)
from sekisho.recording.logs import write_file

_log = logging.getLogger(__name__)
_LOOK_SECONDS: Final = 5.0
_MAX_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class VouchingTimes:
    """How often keys of issuers are fetched, and how old they may be.

    Attributes:
        again_seconds: Between two fetches at least, where a token names a key that is not known.
    """

    fetch_seconds: float = 300.0
    again_seconds: float = 10.0
    timeout_seconds: float = 5.0
    max_age_seconds: float = 86_400.0


@dataclass(slots=True)
class _Fetched:
    keys: Keys = field(default_factory=dict)
    at: float = float("-inf")
    tried_at: float = float("-inf")


class KeySource:
    """The keys of one issuer that has a URL.

    Args:
        issuer: The issuer.
        folder: Where the last good answer is kept.
        times: How often, how old.
        clock: Unix seconds.
    """

    def __init__(
        self, issuer: IssuerSpec, folder: Path, times: VouchingTimes, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._issuer = issuer
        self._place = folder / f"jwks-{issuer.name}.json"
        self._times = times
        self._clock = clock
        self._state = _Fetched()
        self._turn = asyncio.Lock()
        self._recall()

    async def keys(self) -> Keys:
        """Return the keys.

        Raises:
            UnavailableError: There are none, or none that is young enough.
        """
        if self._clock() - self._state.tried_at > self._times.fetch_seconds:
            await self.refresh()
        if self._clock() - self._state.at > self._times.max_age_seconds:
            raise UnavailableError(
                Reason.COLLATERAL_MISSING,
                f'the keys of issuer "{self._issuer.name}" could not be fetched for too long; its tokens are '
                "not accepted",
            )
        return self._state.keys

    async def refresh(self) -> bool:
        """Fetch anew, unless that was just tried; tell whether there is something new."""
        async with self._turn:
            if self._clock() - self._state.tried_at < self._times.again_seconds:
                return False
            self._state.tried_at = self._clock()
            try:
                text = await asyncio.wait_for(self._fetch(), self._times.timeout_seconds)
                self._state.keys = parse_keys(json.loads(text))
            except (aiohttp.ClientError, OSError, ValueError, TimeoutError, SekishoError) as error:
                told = error.message if isinstance(error, SekishoError) else type(error).__name__
                _log.warning("keys of an issuer cannot be fetched", extra={"issuer": self._issuer.name, "detail": told})
                return False
            self._state.at = self._clock()
            self._keep(text)
            return True

    async def _fetch(self) -> str:
        tls = ssl.create_default_context(cafile=self._issuer.ca_file)
        connector = aiohttp.TCPConnector(ssl=tls)
        async with (
            aiohttp.ClientSession(connector=connector, trust_env=True) as session,
            session.get(str(self._issuer.jwks_url), allow_redirects=False) as response,
        ):
            if response.status != 200:
                raise UnavailableError(Reason.COLLATERAL_MISSING, f"the answer has status {response.status}")
            body = await response.content.read(_MAX_BYTES + 1)
            while chunk := await response.content.read(_MAX_BYTES):
                body += chunk
                if len(body) > _MAX_BYTES:
                    break
            if len(body) > _MAX_BYTES:
                raise UnavailableError(Reason.COLLATERAL_INVALID, f"the answer has more than {_MAX_BYTES} bytes")
            return body.decode()

    def _keep(self, text: str) -> None:
        """Keep what was fetched; a disk that is full keeps nothing, and costs nothing but the next restart."""
        try:
            kept = {"at": self._state.at, "url": self._issuer.jwks_url, "keys": text}
            write_file(self._place, json.dumps(kept).encode())
        except OSError as error:
            _log.warning("keys of an issuer cannot be kept", extra={"detail": type(error).__name__})

    def _recall(self) -> None:
        try:
            kept = json.loads(self._place.read_text())
            if kept["url"] == self._issuer.jwks_url:
                self._state.keys, self._state.at = parse_keys(json.loads(kept["keys"])), min(kept["at"], self._clock())
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError, SekishoError):
            _log.warning("kept keys of an issuer cannot be read", extra={"issuer": self._issuer.name})


class Vouchers:
    """Everybody who vouches for callers.

    Args:
        issuers: File with the issuers; none where it is not there.
        api_keys: File with the digests of API keys; none where it is not there.
        folder: Where fetched keys are kept.
        times: How often keys are fetched, how old they may be.
        clock: Unix seconds.
    """

    def __init__(
        self, issuers: Path, api_keys: Path, folder: Path, *, times: VouchingTimes | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        self._files = issuers, api_keys
        self._folder = folder
        self._times = times or VouchingTimes()
        self._clock = clock
        self._seen: tuple[str | None, str | None] = None, None
        self._issuers: tuple[IssuerSpec, ...] = ()
        self._pinned: Mapping[str, Keys] = {}
        self._sources: Mapping[str, KeySource] = {}
        self._api_keys = ApiKeys({})

    def load(self) -> None:
        """Read the files if they changed; what cannot be read leaves what was read before in force.

        Raises:
            RefusedError: A file cannot be read; where there was none before, the gateway must not start.
        """
        found = _read(self._files[0]), _read(self._files[1])
        if found == self._seen:
            return
        issuers = parse_issuers(found[0]) if found[0] is not None else ()
        pinned = {item.name: parse_keys(item.jwks) for item in issuers if item.jwks is not None}
        api_keys = parse_api_keys(found[1]) if found[1] is not None else ApiKeys({})
        known = {item.name: item for item in self._issuers}
        self._sources = {
            item.name: self._sources[item.name]
            if known.get(item.name) == item
            else KeySource(item, self._folder, self._times, clock=self._clock)
            for item in issuers
            if item.jwks_url is not None
        }
        self._issuers, self._pinned, self._api_keys, self._seen = issuers, pinned, api_keys, found
        _log.info("who vouches for callers is read", extra={"issuers": len(issuers), "keys": len(api_keys.entries)})

    async def follow(self) -> None:
        """Read the files again as they change, until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            try:
                await asyncio.to_thread(self.load)
            except RefusedError as error:
                _log.error("who vouches for callers cannot be read; what was read before counts", extra={
                    "detail": error.message
                })  # fmt: skip

    def find_issuer(self, said: Any) -> IssuerSpec | None:
        """Return the issuer that a token says it is of."""
        return find_issuer(self._issuers, said)

    async def verify(self, token: str, issuer: IssuerSpec) -> TokenCaller:
        """Verify a token of an issuer.

        Raises:
            RefusedError: Unauthenticated.
            UnavailableError: The issuer's keys are not there.
        """
        source = self._sources.get(issuer.name)
        keys = await source.keys() if source is not None else self._pinned[issuer.name]
        try:
            return verify_token(token, issuer, keys, now=self._clock())
        except UnknownKeyError:
            if source is None or not await source.refresh():
                raise
            return verify_token(token, issuer, await source.keys(), now=self._clock())

    def find_key(self, key: str) -> KeyEntry | None:
        """Return the entry of an API key; None where there is none in force."""
        return self._api_keys.find(key, now=datetime.fromtimestamp(self._clock(), UTC))


def _read(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            data = file.read(4 * _MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RefusedError(Reason.INVALID_SPEC, f"{path.name} cannot be read: {error.strerror}") from None
    if len(data) > 4 * _MAX_BYTES:
        raise RefusedError(Reason.INVALID_SPEC, f"{path.name} has more than {4 * _MAX_BYTES} bytes")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise RefusedError(Reason.INVALID_SPEC, f"{path.name} is not UTF-8") from None
