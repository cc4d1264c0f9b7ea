"""An API server that behaves, as far as the gateway asks one: reviews, lists and watches over HTTP on loopback."""

import asyncio
import base64
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

GROUP = "inference.sekisho.dev"
AUDIENCE = "sekisho-gateway"


def spell_token(name: str, *, audiences: tuple[str, ...] = (AUDIENCE,), seconds: float = 600) -> str:
    """Spell a token as ServiceAccount tokens are spelt; its signature is its name."""
    claims = {"aud": list(audiences), "exp": time.time() + seconds, "sub": name}
    parts = (json.dumps({"alg": "none"}).encode(), json.dumps(claims).encode(), name.encode())
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


@dataclass
class ApiServer:
    """Holds objects, tokens and rights; each may be changed while it serves."""

    objects: dict[str, dict[tuple[str, str], dict[str, Any]]] = field(
        default_factory=lambda: {
            "inferenceservices": {},
            "classificationpolicies": {},
            "runtimes": {},
            "sites": {},
            "accesspolicies": {},
            "nodes": {},
            "pods": {},
        }
    )
    tokens: dict[str, str] = field(default_factory=dict)
    rights: set[tuple[str, str, str, str]] = field(default_factory=set)
    reviews: list[str] = field(default_factory=list)
    down: bool = False
    deaf: bool = False
    refuses: int = 0
    held: asyncio.Event | None = None
    applied: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    version: int = 1
    url: str = ""
    _past: list[tuple[str, int, Any]] = field(default_factory=list)
    _watchers: dict[str, set[asyncio.Queue[Any]]] = field(default_factory=dict)
    _runner: web.AppRunner | None = None

    async def __aenter__(self) -> "ApiServer":
        app = web.Application()
        app.router.add_post("/apis/authentication.k8s.io/v1/tokenreviews", self._review_token)
        app.router.add_post("/apis/authorization.k8s.io/v1/subjectaccessreviews", self._review_access)
        app.router.add_get(f"/apis/{GROUP}/v1alpha1/{{plural}}", self._collection)
        app.router.add_get("/api/v1/{plural}", self._collection)
        app.router.add_patch(f"/apis/{GROUP}/v1alpha1/namespaces/{{namespace}}/{{plural}}/{{name}}/status", self._apply)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        for queue in (queue for queues in self._watchers.values() for queue in queues):
            queue.put_nowait(None)
        if self._runner is not None:
            await self._runner.cleanup()

    def token(self, username: str, **how: Any) -> str:
        """Make a token of a user."""
        token = spell_token(f"{username}-{len(self.tokens)}", **how)
        self.tokens[token] = username
        return token

    def grant(self, username: str, resource: str, name: str = "", namespace: str = "") -> None:
        """Grant "use"; an empty name or namespace stands for all."""
        self.rights.add((username, resource, namespace, name))

    def put(self, plural: str, raw: Mapping[str, Any]) -> None:
        """Store an object and tell every watch."""
        self.version += 1
        meta = dict(raw["metadata"]) | {"resourceVersion": str(self.version)}
        stored = dict(raw) | {"metadata": meta}
        key = meta.get("namespace", ""), meta["name"]
        kind = "MODIFIED" if key in self.objects[plural] else "ADDED"
        self.objects[plural][key] = stored
        self._tell(plural, {"type": kind, "object": stored})

    def remove(self, plural: str, name: str, namespace: str = "") -> None:
        """Remove an object and tell every watch."""
        self.version += 1
        gone = self.objects[plural].pop((namespace, name))
        meta = gone["metadata"] | {"resourceVersion": str(self.version)}
        self._tell(plural, {"type": "DELETED", "object": gone | {"metadata": meta}})

    def _tell(self, plural: str, event: Any) -> None:
        self._past.append((plural, self.version, event))
        for queue in self._watchers.get(plural, ()):
            queue.put_nowait(event)

    def _fail(self) -> web.Response | None:
        return web.json_response({"message": "etcd is away"}, status=500) if self.down else None

    async def _review_token(self, request: web.Request) -> web.Response:
        if failure := self._fail():
            return failure
        spec = (await request.json())["spec"]
        self.reviews.append("TokenReview")
        if self.held is not None:
            await self.held.wait()
        claims = json.loads(base64.urlsafe_b64decode(spec["token"].split(".")[1] + "=="))
        user, both = self.tokens.get(spec["token"]), sorted(set(claims["aud"]) & set(spec["audiences"]))
        good = user is not None and bool(both) and claims["exp"] > time.time()
        status: dict[str, Any] = {"authenticated": good}
        if good:
            info = {"username": user, "uid": f"uid-{user}", "groups": ["g"], "extra": {"k": ["v"]}}
            status |= {"user": info, "audiences": both}
        return web.json_response({"status": status}, status=201)

    async def _review_access(self, request: web.Request) -> web.Response:
        if failure := self._fail():
            return failure
        spec = (await request.json())["spec"]
        asked = spec["resourceAttributes"]
        self.reviews.append(f"{asked['resource']}/{asked['namespace']}/{asked['name']}")
        allowed = any(
            (user, resource) == (spec["user"], asked["resource"])
            and namespace in ("", asked["namespace"])
            and name in ("", asked["name"])
            for user, resource, namespace, name in self.rights
        )
        allowed = allowed and asked["verb"] == "use" and asked["group"] == GROUP
        return web.json_response({"status": {"allowed": allowed}}, status=201)

    async def _apply(self, request: web.Request) -> web.Response:
        """Apply a part of a status, as server-side apply does for one whose fields nobody else owns."""
        if failure := self._fail():
            return failure
        if self.refuses:
            return web.json_response({"message": "not your status"}, status=self.refuses)
        body, where = await request.json(), request.match_info
        self.applied.append((request.query["fieldManager"], body))
        stored = self.objects[where["plural"]].get((where["namespace"], where["name"]))
        if stored is None:
            return web.json_response({"message": "not found"}, status=404)
        if stored["metadata"].get("uid") != body["metadata"].get("uid"):
            return web.json_response({"message": "another uid"}, status=409)
        self.put(where["plural"], stored | {"status": stored["status"] | body["status"]})
        return web.json_response(self.objects[where["plural"]][where["namespace"], where["name"]])

    async def _collection(self, request: web.Request) -> web.StreamResponse:
        if self.deaf or self.down:
            return web.json_response({"message": "etcd is away"}, status=500)
        plural = request.match_info["plural"]
        if "watch" in request.query:
            return await self._watch(request, plural)
        meta = {"resourceVersion": str(self.version)}
        items = [item for item in self.objects[plural].values() if _is_asked_for(request, item)]
        return web.json_response({"metadata": meta, "items": items})

    async def _watch(self, request: web.Request, plural: str) -> web.StreamResponse:
        response = web.StreamResponse()
        queue: asyncio.Queue[Any] = asyncio.Queue()
        since = int(request.query["resourceVersion"])
        for kind, version, event in self._past:
            if kind == plural and version > since:
                queue.put_nowait(event)
        self._watchers.setdefault(plural, set()).add(queue)
        await response.prepare(request)
        try:
            async with asyncio.timeout(float(request.query["timeoutSeconds"])):
                while (event := await queue.get()) is not None:
                    if not _is_asked_for(request, event["object"]):
                        continue
                    await response.write(json.dumps(event).encode() + b"\n")
        except TimeoutError:
            pass
        finally:
            self._watchers[plural].discard(queue)
        return response


def _is_asked_for(request: web.Request, item: Mapping[str, Any]) -> bool:
    """Tell whether an object has the one label that is asked for; other selectors are not known here."""
    label = request.query.get("labelSelector")
    return label is None or label in (item["metadata"].get("labels") or {})
