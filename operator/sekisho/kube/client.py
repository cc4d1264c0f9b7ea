"""A thin client of the Kubernetes API: bounded in time and size, paced, with errors in the product's words."""

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, Self

import aiohttp
from multidict import CIMultiDict

from sekisho.api.names import FIELD_MANAGER
from sekisho.errors import UnavailableError
from sekisho.kube.clocks import Clocks
from sekisho.kube.connections import Connections
from sekisho.kube.credentials import Credentials
from sekisho.kube.failures import ApiConflictError, ApiRefusedError, ApiTooLongError, ApiUnavailableError
from sekisho.kube.pace import TokenBucket
from sekisho.kube.resources import PODS, SECRETS, Resource, resource_of

Object = dict[str, Any]
Observer = Callable[[str, Resource, int, float], None]
PatchKind = Literal["apply", "merge", "strategic", "json"]
PATCH_TYPES: Final[Mapping[PatchKind, str]] = {
    "apply": "application/apply-patch+yaml",
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "json": "application/json-patch+json",
}
METADATA_ONLY: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_FEWER: Final = 8
# No stored object has it, so a request that carries it can create an object but never change one.
ABSENT: Final = "1"


@dataclass(frozen=True, slots=True)
class ClientLimits:
    """Bounds of one process' use of the API server."""

    qps: float = 200.0
    burst: int = 400
    connections: int = 32
    connect_seconds: float = 5.0
    request_seconds: float = 15.0
    max_response_bytes: int = 16 << 20  # an object has two or three MiB at most
    page_items: int = 500
    max_list_items: int = 500_000


@dataclass(frozen=True, slots=True)
class _Call:
    verb: str
    method: str
    resource: Resource
    path: str
    params: Mapping[str, str]
    body: bytes | None = None
    content_type: str = "application/json"
    accept: str = "application/json"


def _ignore(*_: object) -> None:
    pass


class KubeClient:
    """Talks to one API server. Use it as a context manager, in one event loop.

    Args:
        process: Which process asks; part of the User-Agent, so that audit logs tell.
        observe: Called after each request with verb, resource, status (0: no answer) and seconds.

    Attributes:
        clocks: How far the API server's clock is from this machine's.
    """

    def __init__(
        self,
        credentials: Credentials,
        *,
        process: str,
        limits: ClientLimits | None = None,
        observe: Observer = _ignore,
    ) -> None:
        self._credentials = credentials
        self._limits = limits or ClientLimits()
        self._user_agent = f"sekisho-{process}"
        self._observe = observe
        self._pace = TokenBucket(self._limits.qps, self._limits.burst)
        self._session: aiohttp.ClientSession | None = None
        self._ssl: ssl.SSLContext | bool = False
        self._retiring: dict[asyncio.Task[None], aiohttp.ClientSession] = {}
        self._connections = Connections()
        self.clocks = Clocks()

    async def __aenter__(self) -> Self:
        self._ssl = await asyncio.to_thread(self._credentials.build_ssl_context)
        self._session = self._open()
        return self

    def _open(self) -> aiohttp.ClientSession:
        limits = self._limits
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=limits.connections, ssl=self._ssl, keepalive_timeout=60, socket_factory=self._connections.make
            ),
            timeout=aiohttp.ClientTimeout(total=limits.request_seconds, sock_connect=limits.connect_seconds),
            headers={"User-Agent": self._user_agent},
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        )

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection."""
        session, self._session = self._session, None
        retiring, self._retiring = self._retiring, {}
        for task in retiring:
            task.cancel()
        for each in filter(None, (session, *retiring.values())):
            await each.close()
        await self._connections.end()

    def _replace(self, silent: aiohttp.ClientSession) -> None:
        """Leave every connection behind after one fell silent: its siblings are as dead, and each would cost a wait."""
        if self._session is not silent:
            return
        self._session = self._open()
        task = asyncio.create_task(self._retire(silent))
        self._retiring[task] = silent
        task.add_done_callback(lambda done: self._retiring.pop(done, None))

    async def _retire(self, session: aiohttp.ClientSession) -> None:
        await asyncio.sleep(self._limits.request_seconds)  # what is under way on it may still be answered
        await session.close()

    async def get(self, resource: Resource, name: str, *, namespace: str = "") -> Object | None:
        """Read one object; None where there is none."""
        try:
            return await self._send(_Call("get", "GET", resource, resource.path(namespace, name), {}))
        except ApiRefusedError as error:
            if error.status == 404:
                return None
            raise

    async def list_pages(
        self, resource: Resource, *, namespace: str = "", label_selector: str = "", field_selector: str = ""
    ) -> AsyncIterator[list[Object]]:
        """Yield a collection page by page; items come without `apiVersion` and `kind`, as the server sends them.

        Raises:
            UnavailableError: The list changed too much while it was read (begin again), or is longer than the limit.
        """
        params = {"labelSelector": label_selector, "fieldSelector": field_selector}
        count = 0
        async for page in self._pages(resource, resource.path(namespace), params):
            items = page.get("items") or []
            count += len(items)
            self._check_count(resource, count)
            yield items

    async def list_all(
        self, resource: Resource, *, namespace: str = "", label_selector: str = "", field_selector: str = ""
    ) -> list[Object]:
        """Read a whole collection; see `list_pages`."""
        pages = self.list_pages(
            resource, namespace=namespace, label_selector=label_selector, field_selector=field_selector
        )
        return [item async for page in pages for item in page]

    async def list_versions(
        self, resource: Resource, *, label_selector: str = ""
    ) -> tuple[dict[tuple[str, str], int], int]:
        """Read namespace, name and version of every object, nothing else of them, and the version of the list."""
        params = {"labelSelector": label_selector}
        found: dict[tuple[str, str], int] = {}
        at_version = 0
        async for page in self._pages(resource, resource.path(), params, accept=METADATA_ONLY):
            at_version = at_version or int(page["metadata"].get("resourceVersion") or 0)
            for item in page.get("items") or []:
                meta = item["metadata"]
                found[meta.get("namespace", ""), meta["name"]] = int(meta["resourceVersion"])
            self._check_count(resource, len(found))
        return found, at_version

    async def list_at(self, resource: Resource, *, label_selector: str = "") -> tuple[list[Object], str]:
        """Read a whole collection and the version from which to watch it."""
        found: list[Object] = []
        version = ""
        async for items, at in self.pages_at(resource, label_selector=label_selector):
            found += items
            version = at
        return found, version

    async def pages_at(
        self, resource: Resource, *, label_selector: str = ""
    ) -> AsyncIterator[tuple[list[Object], str]]:
        """Yield a collection page by page, each with the version from which to watch once all were read.

        Raises:
            ApiConflictError: Reading them took too long; begin again.
            UnavailableError: The list is longer than the limit.
        """
        count = 0
        async for page in self._pages(resource, resource.path(), {"labelSelector": label_selector}):
            items = page.get("items") or []
            count += len(items)
            self._check_count(resource, count)
            yield items, str(page["metadata"]["resourceVersion"])

    async def _pages(
        self, resource: Resource, path: str, selectors: Mapping[str, str], *, accept: str = "application/json"
    ) -> AsyncIterator[Object]:
        """Yield a collection as it comes, page by page; where one is too long to be read, with fewer items in it.

        Anybody can make objects of a mebibyte, some dozen of which are longer than an answer may be.
        """
        most, params = self._limits.page_items, {key: value for key, value in selectors.items() if value}
        while True:
            call = _Call("list", "GET", resource, path, {"limit": str(most), **params}, accept=accept)
            try:
                page = await self._send(call)
            except ApiTooLongError:
                if most == 1:
                    raise
                most = max(1, most // _FEWER)
                continue
            yield page
            token = page.get("metadata", {}).get("continue")
            if not token:
                return
            params["continue"] = token

    def _check_count(self, resource: Resource, count: int) -> None:
        if count > self._limits.max_list_items:
            raise ApiUnavailableError(
                f"there are more than {self._limits.max_list_items} {resource.full_name}; the limit is reached"
            )

    async def watch(
        self,
        resource: Resource,
        version: str,
        *,
        seconds: int = 300,
        quiet_seconds: float = 70,
        opened: Callable[[], None] = _ignore,
        label_selector: str = "",
    ) -> AsyncIterator[Object]:
        """Yield the events after `version`, bookmarks included; ends when the server ends the watch.

        Args:
            resource: The collection.
            version: Where to begin, from `list_at` or from the last event.
            seconds: When the server is asked to end it.
            quiet_seconds: A connection without a byte for so long counts as dead; servers send a bookmark each minute.
            opened: Called once the server has accepted the watch.
            label_selector: Of the objects that are shown; one that loses its labels shows as deleted.

        Raises:
            ApiConflictError: The version is too old; list again.
            ApiUnavailableError: The connection broke or fell silent.
        """
        if self._session is None:
            raise RuntimeError("the client is used outside its context")
        params = {
            "watch": "true",
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(seconds),
        } | ({"labelSelector": label_selector} if label_selector else {})
        headers = {"Accept": "application/json"}
        if token := self._credentials.read_token():
            headers["Authorization"] = f"Bearer {token}"
        limits, call = self._limits, _Call("watch", "GET", resource, resource.path(), params)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=limits.connect_seconds, sock_read=quiet_seconds)
        url = self._credentials.server + call.path
        try:
            async with self._session.get(url, params=params, headers=headers, timeout=timeout) as response:
                if response.status != 200:
                    if response.status == 401:
                        self._credentials.read_token(fresh=True)
                    raise _failure(call, response.status, response.headers, await self._read(response))
                self.clocks.compare(response.headers, now=time.time())
                opened()
                async for event in _events(response, limits.max_response_bytes):
                    yield event
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ApiUnavailableError(f"the watch of {resource.full_name} broke ({type(error).__name__})") from error

    async def apply(
        self, manifest: Mapping[str, Any], *, subresource: str = "", force: bool = True, manager: str = FIELD_MANAGER
    ) -> Object:
        """Apply a manifest on the server; return the object as it then stands.

        What `manager` applied before and leaves out now is removed, so two processes that write one object need two.
        `metadata.uid` in the manifest makes the call fail where another object has the name by now;
        `metadata.resourceVersion` ABSENT makes it fail where any object has it.

        Raises:
            ApiConflictError: The object is not the one that the manifest means.
        """
        resource, meta = resource_of(manifest), manifest["metadata"]
        path = resource.path(meta.get("namespace", ""), meta["name"], subresource)
        params = {"fieldManager": manager, "force": "true" if force else "false", "fieldValidation": "Ignore"}
        body = json.dumps(manifest, separators=(",", ":")).encode()
        return await self._send(_Call("apply", "PATCH", resource, path, params, body, PATCH_TYPES["apply"]))

    async def patch(
        self,
        resource: Resource,
        name: str,
        body: Mapping[str, Any] | list[Any],
        *,
        namespace: str = "",
        subresource: str = "",
        kind: PatchKind = "merge",
    ) -> Object:
        """Patch one object, or its `subresource` (a pod's conditions: "status", kind "strategic")."""
        path = resource.path(namespace, name, subresource)
        data = json.dumps(body, separators=(",", ":")).encode()
        return await self._send(
            _Call("patch", "PATCH", resource, path, {"fieldManager": FIELD_MANAGER}, data, PATCH_TYPES[kind])
        )

    async def create(self, manifest: Mapping[str, Any]) -> Object:
        """Create an object, or ask for a review; return the server's answer.

        Raises:
            ApiConflictError: The name is taken.
        """
        resource = resource_of(manifest)
        path = resource.path(manifest.get("metadata", {}).get("namespace", ""))
        body = json.dumps(manifest, separators=(",", ":")).encode()
        params = {"fieldManager": FIELD_MANAGER, "fieldValidation": "Ignore"}
        return await self._send(_Call("create", "POST", resource, path, params, body))

    async def replace(self, manifest: Mapping[str, Any]) -> Object:
        """Replace an object; with `metadata.resourceVersion` only while it still has that version."""
        resource, meta = resource_of(manifest), manifest["metadata"]
        path = resource.path(meta.get("namespace", ""), meta["name"])
        body = json.dumps(manifest, separators=(",", ":")).encode()
        return await self._send(_Call("update", "PUT", resource, path, {"fieldManager": FIELD_MANAGER}, body))

    async def delete(
        self, resource: Resource, name: str, *, namespace: str = "", uid: str, after_owned: bool = False
    ) -> bool:
        """Delete the object that has this `uid`; return False where it is gone already.

        With `after_owned` it stays, as one that is being deleted, until what it owns is gone.

        Raises:
            ApiConflictError: Another object has the name by now.
        """
        policy = "Foreground" if after_owned else "Background"
        body = json.dumps({"propagationPolicy": policy, "preconditions": {"uid": uid}}).encode()
        try:
            await self._send(_Call("delete", "DELETE", resource, resource.path(namespace, name), {}, body))
        except ApiRefusedError as error:
            if error.status == 404:
                return False
            raise
        return True

    async def evict(self, name: str, *, namespace: str, uid: str) -> bool:
        """Ask for the eviction of the pod that has this `uid`; return False where it is gone already.

        Raises:
            ApiUnavailableError: A disruption budget does not allow it now; try again.
            ApiConflictError: Another pod has the name by now.
        """
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": name, "namespace": namespace},
            "deleteOptions": {"preconditions": {"uid": uid}},
        }
        path = PODS.path(namespace, name, "eviction")
        try:
            await self._send(_Call("evict", "POST", PODS, path, {}, json.dumps(body).encode()))
        except ApiRefusedError as error:
            if error.status == 404:
                return False
            raise
        return True

    async def is_served(self, resource: Resource) -> bool:
        """Whether the API server knows the kind; CRDs may come later than we do."""
        group = f"/apis/{resource.group}/{resource.version}" if resource.group else f"/api/{resource.version}"
        try:
            answer = await self._send(_Call("discover", "GET", resource, group, {}))
        except ApiRefusedError as error:
            if error.status == 404:
                return False
            raise
        return any(item.get("name") == resource.plural for item in answer.get("resources", ()))

    async def _send(self, call: _Call) -> Object:
        await self._pace.take()
        status, headers, data = await self._exchange(call, fresh_token=False)
        if status == 401 and self._credentials.token_file is not None:
            status, headers, data = await self._exchange(call, fresh_token=True)
        if 200 <= status < 300:
            return _parse(data)
        raise _failure(call, status, headers, data)

    async def _exchange(self, call: _Call, *, fresh_token: bool) -> tuple[int, Mapping[str, str], bytes]:
        session = self._session
        if session is None:
            raise RuntimeError("the client is used outside its context")
        headers: CIMultiDict[str] = CIMultiDict(Accept=call.accept)
        if call.body is not None:
            headers["Content-Type"] = call.content_type
        if token := self._credentials.read_token(fresh=fresh_token):
            headers["Authorization"] = f"Bearer {token}"
        started, status = time.monotonic(), 0
        try:
            async with session.request(
                call.method, self._credentials.server + call.path, params=call.params, data=call.body, headers=headers
            ) as response:
                status = response.status
                self.clocks.compare(response.headers, now=time.time())
                return status, response.headers, await self._read(response)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            what = f"is not reachable ({type(error).__name__})"
            if isinstance(error, TimeoutError):
                self._replace(session)
                what = "did not answer in time"
            raise ApiUnavailableError(f"the API server {what} on {call.verb} {call.resource.full_name}") from error
        finally:
            self._observe(call.verb, call.resource, status, time.monotonic() - started)

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        limit = self._limits.max_response_bytes
        if (response.content_length or 0) <= limit and response.content_length is not None:
            return await response.read()
        data = bytearray()
        async for chunk in response.content.iter_any():
            data += chunk
            if len(data) > limit:
                break
        else:
            return bytes(data)
        response.close()
        raise ApiTooLongError(f"an answer of the API server is longer than {limit} bytes")


async def _events(response: aiohttp.ClientResponse, limit: int) -> AsyncIterator[Object]:
    """Yield one object a line; an ERROR event becomes the exception it stands for."""
    rest = bytearray()
    async for chunk in response.content.iter_any():
        rest += chunk
        if len(rest) > limit:
            raise ApiUnavailableError(f"an event of the API server is longer than {limit} bytes")
        *lines, rest = rest.split(b"\n")
        for line in filter(None, lines):
            event = _parse(bytes(line))
            if event.get("type") == "ERROR":
                raise ApiConflictError(str(event.get("object", {}).get("message", "the watch ended")))
            yield event


def _parse(data: bytes) -> Object:
    try:
        parsed = json.loads(data)
    except ValueError as error:
        raise ApiUnavailableError("the API server's answer is not JSON") from error
    if not isinstance(parsed, dict):
        raise ApiUnavailableError("the API server's answer is not an object")
    return parsed


def _failure(call: _Call, status: int, headers: Mapping[str, str], data: bytes) -> UnavailableError | ApiRefusedError:
    """Turn an error answer into an exception; what it says of a Secret stays out of it."""
    try:
        said = str(json.loads(data).get("message", ""))
    except (ValueError, AttributeError):
        said = ""
    if call.resource == SECRETS or not said:
        said = f"{call.verb} of {call.resource.full_name} was answered with status {status}"
    if status == 429 or status >= 500:
        return ApiUnavailableError(f"the API server fails for now: {said}", after_seconds=_retry_after(headers))
    if status in {409, 410, 412}:
        return ApiConflictError(said)
    return ApiRefusedError(said, status=status)


def _retry_after(headers: Mapping[str, str]) -> float:
    try:
        return min(60.0, max(0.0, float(headers.get("Retry-After", "0"))))
    except ValueError:
        return 0.0
