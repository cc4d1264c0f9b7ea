"""An API server that behaves, as far as node trust asks one: nodes, evidence policies, pods, tokens, over HTTP."""

import asyncio
import contextlib
import copy
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from sekisho.api.names import NODE_TRUST_PREFIX

NAMESPACE = "sekisho-system"
NODE_EXTRA = "authentication.kubernetes.io/node-name"


@dataclass
class ApiServer:
    """Nodes, evidence policies, pods and tokens over HTTP; each may be changed while it serves.

    Attributes:
        tokens: By token: what a TokenReview says of it.
        forbid: Whether patches are refused.
    """

    objects: dict[str, dict[str, dict[str, Any]]] = field(
        default_factory=lambda: {"nodes": {}, "evidencepolicies": {}, "pods": {}}
    )
    tokens: dict[str, dict[str, Any]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    forbid: bool = False
    version: int = 1
    url: str = ""
    _watchers: dict[str, set[asyncio.Queue[Any]]] = field(default_factory=dict)
    _past: list[tuple[str, int, dict[str, Any]]] = field(default_factory=list)

    @contextlib.asynccontextmanager
    async def serve(self) -> AsyncIterator["ApiServer"]:
        app = web.Application()
        app.router.add_post("/apis/authentication.k8s.io/v1/tokenreviews", self._review)
        app.router.add_get("/api/v1/{plural:nodes}", self._collection)
        app.router.add_get("/apis/inference.sekisho.dev/v1alpha1/{plural:evidencepolicies}", self._collection)
        app.router.add_get("/api/v1/namespaces/{namespace}/pods/{name}", self._pod)
        app.router.add_patch("/api/v1/nodes/{name}", self._patch)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            for queue in (queue for queues in self._watchers.values() for queue in queues):
                queue.put_nowait(None)
            await runner.cleanup()

    def put(self, plural: str, raw: Mapping[str, Any]) -> None:
        """Store an object and tell every watch."""
        self.version += 1
        stored = copy.deepcopy(dict(raw))
        stored["metadata"]["resourceVersion"] = str(self.version)
        name = stored["metadata"]["name"]
        kind = "MODIFIED" if name in self.objects[plural] else "ADDED"
        self.objects[plural][name] = stored
        self._tell(plural, {"type": kind, "object": stored})

    def remove(self, plural: str, name: str) -> None:
        """Remove an object and tell every watch."""
        self.version += 1
        gone = self.objects[plural].pop(name)
        meta = gone["metadata"] | {"resourceVersion": str(self.version)}
        self._tell(plural, {"type": "DELETED", "object": gone | {"metadata": meta}})

    def _tell(self, plural: str, event: dict[str, Any]) -> None:
        self._past.append((plural, self.version, event))
        for queue in self._watchers.get(plural, ()):
            queue.put_nowait(event)

    def add_node(self, name: str, **annotations: str) -> None:
        said = {f"{NODE_TRUST_PREFIX}{key.replace('_', '-')}": value for key, value in annotations.items()}
        meta = {"name": name, "uid": f"uid-{name}", "labels": {"zone": "a"}, "annotations": said}
        self.put("nodes", {"metadata": meta})

    def add_attester(self, node: str, **changes: Any) -> str:
        """Give the attester of a node a token, as a kubelet projects it; returns the token."""
        token = f"token-{node}-{len(self.tokens)}"
        known = {"namespace": NAMESPACE, "account": "sekisho-attester", "node": node, "audience": "sekisho-trust"}
        self.tokens[token] = known | changes
        return token

    def said(self, node: str) -> dict[str, str]:
        """Return what a Node says of its trust: labels and annotations below our prefix."""
        meta = self.objects["nodes"][node]["metadata"]
        both = {**(meta.get("labels") or {}), **(meta.get("annotations") or {})}
        return {key.removeprefix(NODE_TRUST_PREFIX): v for key, v in both.items() if key.startswith(NODE_TRUST_PREFIX)}

    async def _review(self, request: web.Request) -> web.Response:
        spec = (await request.json())["spec"]
        self.requests.append("TokenReview")
        known = self.tokens.get(spec["token"])
        if known is None or known["audience"] not in spec["audiences"]:
            return web.json_response({"status": {"authenticated": False}}, status=201)
        extra = {
            "authentication.kubernetes.io/pod-name": [f"attester-{known['node']}"],
            "authentication.kubernetes.io/pod-uid": [f"pod-uid-{known['node']}"],
        }
        if known.get("told", True):
            extra[NODE_EXTRA] = [known["node"]]
        user = {"username": f"system:serviceaccount:{known['namespace']}:{known['account']}", "extra": extra}
        status = {"authenticated": True, "audiences": [known["audience"]], "user": user}
        return web.json_response({"status": status}, status=201)

    async def _pod(self, request: web.Request) -> web.Response:
        self.requests.append("get pod")
        found = self.objects["pods"].get(request.match_info["name"])
        return web.json_response(found or {"message": "not found"}, status=200 if found else 404)

    async def _patch(self, request: web.Request) -> web.Response:
        name, body = request.match_info["name"], await request.json()
        self.requests.append(f"patch {name}")
        if self.forbid:
            return web.json_response({"message": "the policy says no"}, status=403)
        live = self.objects["nodes"].get(name)
        if live is None:
            return web.json_response({"message": "not found"}, status=404)
        meta = body["metadata"]
        if meta["uid"] != live["metadata"]["uid"]:
            return web.json_response({"message": "the UID in the precondition does not match"}, status=409)
        merged = copy.deepcopy(live)
        for part in ("labels", "annotations"):
            for key, value in (meta.get(part) or {}).items():
                if value is None:
                    merged["metadata"].setdefault(part, {}).pop(key, None)
                else:
                    merged["metadata"].setdefault(part, {})[key] = value
        self.put("nodes", merged)
        return web.json_response(self.objects["nodes"][name])

    async def _collection(self, request: web.Request) -> web.StreamResponse:
        plural = request.match_info["plural"]
        if "watch" in request.query:
            return await self._watch(request, plural)
        items = list(self.objects[plural].values())
        return web.json_response({"metadata": {"resourceVersion": str(self.version)}, "items": items})

    async def _watch(self, request: web.Request, plural: str) -> web.StreamResponse:
        response, queue = web.StreamResponse(), asyncio.Queue[Any]()
        since = int(request.query["resourceVersion"])
        for kind, version, event in self._past:
            if kind == plural and version > since:
                queue.put_nowait(event)
        self._watchers.setdefault(plural, set()).add(queue)
        await response.prepare(request)
        try:
            async with asyncio.timeout(float(request.query["timeoutSeconds"])):
                while (event := await queue.get()) is not None:
                    await response.write(json.dumps(event).encode() + b"\n")
        except TimeoutError:
            pass
        finally:
            self._watchers[plural].discard(queue)
        return response
