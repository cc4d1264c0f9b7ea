"""The way to the trust controller: JSON over HTTPS, by the attester's own projected token."""

import asyncio
import json
import ssl
from collections.abc import Mapping
from typing import Any, Final, Self

import aiohttp

from sekisho.attester.settings import AttesterSettings
from sekisho.errors import Reason, RefusedError, UnavailableError

MAX_ANSWER_BYTES: Final = 64 * 1024
_SECONDS: Final = 30.0
_REASONS: Final = frozenset(Reason)


class TrustClient:
    """Asks the trust controller; use it as a context manager."""

    def __init__(self, settings: AttesterSettings) -> None:
        self._settings = settings
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=_SECONDS, sock_connect=5.0),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def ask(self, what: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Ask for one of enrol, activate, challenge, attest.

        Raises:
            RefusedError: What the controller refused, in its words.
            UnavailableError: It does not answer, or asks to come again.
        """
        if self._session is None:
            raise RuntimeError("the client is used outside its context")
        settings = self._settings
        url = f"https://{settings.trust_host}:{settings.trust_port}/v1/nodes/{what}"
        try:
            # Both files are replaced while we run: the token every few minutes, the authorities every few years.
            token = (await asyncio.to_thread(settings.token_file.read_text)).strip()
            context = await asyncio.to_thread(ssl.create_default_context, cafile=str(settings.ca_file))
            async with self._session.post(
                url,
                json=body,
                ssl=context,
                server_hostname=settings.trust_name,
                headers={"Authorization": f"Bearer {token}"},
            ) as response:
                data = await response.content.read(MAX_ANSWER_BYTES + 1)
                return _read_answer(response.status, data)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            message = f"the trust controller at {settings.trust_host} is not reachable ({type(error).__name__})"
            raise UnavailableError(Reason.API_UNAVAILABLE, message) from error


def _read_answer(status: int, data: bytes) -> dict[str, Any]:
    try:
        body = json.loads(data) if len(data) <= MAX_ANSWER_BYTES else None
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise UnavailableError(Reason.API_UNAVAILABLE, f"the trust controller answered {status} and nothing readable")
    if status == 200:
        return body
    named, message = str(body.get("reason", "")), str(body.get("message", ""))[:1024]
    reason = Reason(named) if named in _REASONS else Reason.API_UNAVAILABLE
    if status in {429, 503}:
        raise UnavailableError(reason, message)
    raise RefusedError(reason, message)
