"""A trust controller that runs, beside an API server that behaves and nodes with simulated TPMs."""

import asyncio
import contextlib
import copy
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from opentelemetry.metrics import NoOpMeter

from sekisho.api.names import API_VERSION, NODE_TRUST_PREFIX
from sekisho.attester.attesting import NodeAttestation
from sekisho.attester.collecting import Hardware
from sekisho.attester.controller import TrustClient
from sekisho.attester.settings import AttesterSettings
from sekisho.attester.tpm import Tpm
from sekisho.kube.client import KubeClient
from sekisho.kube.credentials import Credentials
from sekisho.trust.process import RunningTrust, run_trust
from sekisho.trust.settings import TrustSettings
from tests.simulators.tpm.simulated import Maker, SimulatedTpm, SocketTpm
from tests.unit.depot.parts import build_keys

NAMESPACE = "sekisho-system"
POLICY = "nodes"
NODE_EXTRA = "authentication.kubernetes.io/node-name"


def spell_policy(tpm: SimulatedTpm, *registers: int) -> dict[str, Any]:
    """Spell an EvidencePolicy that wants some PCRs as this TPM has them."""
    values = [{"name": f"pcr{number}", "values": [tpm.pcrs[number].hex()]} for number in registers or (4,)]
    spec = {"anyOf": [{"name": "tpm", "evidence": [{"tee": "tpm", "registers": values}]}]}
    return {"apiVersion": API_VERSION, "kind": "EvidencePolicy", "metadata": {"name": POLICY}, "spec": spec}


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
        for queue in self._watchers.get(plural, ()):
            queue.put_nowait({"type": kind, "object": stored})

    def remove(self, plural: str, name: str) -> None:
        """Remove an object and tell every watch."""
        gone = self.objects[plural].pop(name)
        for queue in self._watchers.get(plural, ()):
            queue.put_nowait({"type": "DELETED", "object": gone})

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
        for raw in self.objects[plural].values():
            if int(raw["metadata"]["resourceVersion"]) > since:
                queue.put_nowait({"type": "MODIFIED", "object": raw})
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


def pem_of(*ders: bytes) -> str:
    return "".join(x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM).decode() for der in ders)


@dataclass
class House:
    """Everything at once."""

    folder: Path
    api: ApiServer
    maker: Maker
    tls: Any
    running: RunningTrust
    leads: list[bool]

    @contextlib.contextmanager
    def socket(self, tpm: SimulatedTpm, name: str) -> Iterator[Path]:
        path = self.folder / f"{name}.sock"
        path.unlink(missing_ok=True)
        with SocketTpm(path, tpm) as served:
            yield served.path

    @contextlib.asynccontextmanager
    async def attester(
        self, node: str, tpm: SimulatedTpm, *, token: str = "", pretends: str = ""
    ) -> AsyncIterator[NodeAttestation]:
        """Run the attester's side for a node; with `pretends` it speaks of another one."""
        file = self.folder / f"token-{node}"
        file.write_text(token or self.api.add_attester(node))
        settings = AttesterSettings(
            node=pretends or node,
            trust_host="127.0.0.1",
            trust_port=self.running.https_port,
            token_file=file,
            ca_file=self.tls.ca,
        )
        with self.socket(tpm, node) as path:
            async with TrustClient(settings) as client:
                yield NodeAttestation(settings.node, Hardware(Tpm(path)), client)


@contextlib.asynccontextmanager
async def open_house(folder: Path, **changes: Any) -> AsyncIterator[House]:
    """Run a trust controller for nodes n1 and n2 under the roots of one maker."""
    maker, leads = Maker(), [True]
    tls = build_keys(folder / "tls", "127.0.0.1", f"sekisho-trust.{NAMESPACE}.svc")
    collateral = folder / "collateral"
    collateral.mkdir()
    (collateral / "tpm-roots.pem").write_text(pem_of(maker.root))
    settings = TrustSettings(
        policy=POLICY, collateral_dir=collateral, tls_dir=folder / "tls", host="127.0.0.1", https_port=0, health_port=0,
        **changes,
    )  # fmt: skip
    async with ApiServer().serve() as api:
        api.add_node("n1")
        api.add_node("n2")
        async with (
            KubeClient(Credentials(api.url), process="test") as client,
            run_trust(settings, client, leads=lambda: leads[0], meter=NoOpMeter("test")) as running,
        ):
            house = House(folder, api, maker, tls, running, leads)
            await settle(lambda: len(running.nodes.all()) == 2)
            yield house


async def settle(is_so: Any, *, seconds: float = 5.0) -> None:
    """Wait until it is so."""
    async with asyncio.timeout(seconds):
        while not is_so():
            await asyncio.sleep(0.01)
