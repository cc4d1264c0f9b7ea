"""A gateway with an API server before it and an engine behind it, all real processes' code over real sockets."""

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import aiohttp
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from prometheus_client import CollectorRegistry

from sekisho import telemetry
from sekisho.gateway.main import Gateway
from sekisho.gateway.settings import Settings
from sekisho.kube.credentials import Credentials
from tests.unit.gateway.api_server import ApiServer
from tests.unit.gateway.engine import Engine
from tests.unit.recording.reading import read_record

USER = "system:serviceaccount:legal:app"
MODEL = "legal/contract-review"
POLICY = {
    "unlabelled": "internal",
    "levels": [{"name": name} for name in ("public", "internal", "confidential", "restricted")],
    "compartments": [{"name": "gdpr"}, {"name": "my-number"}],
}


class Loopback:
    """Every Service is on loopback; notes which names were looked up."""

    def __init__(self) -> None:
        self.names: list[str] = []

    async def resolve(self, host: str, port: int) -> list[str]:
        self.names.append(host)
        return ["127.0.0.1"]


def write_certificate(folder: Path, *, name: str = "gateway") -> None:
    """Write a certificate for loopback that signs itself, and its key, as the mounted Secret has them."""
    folder.mkdir(parents=True, exist_ok=True)
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    alternative = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject).issuer_name(subject).public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5)).not_valid_after(now + timedelta(days=1))
        .add_extension(alternative, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    pem = serialization.Encoding.PEM
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "tls.crt").write_bytes(certificate.public_bytes(pem))
    (folder / "tls.key").write_bytes(key.private_bytes(pem, *plain))


def build_service(
    name: str = "contract-review",
    namespace: str = "legal",
    *,
    level: str = "confidential",
    compartments: tuple[str, ...] = ("gdpr",),
    unmet: Mapping[str, str] | None = None,
    spec: Mapping[str, Any] | None = None,
    site: str = "closed",
) -> dict[str, Any]:
    """Build an InferenceService as the operator leaves it."""
    conditions = [{"type": kind, "status": "True", "reason": "x", "message": ""} for kind in ("Isolated", "Ready")]
    if unmet:
        conditions = [item for item in conditions if item["type"] != unmet["type"]] + [dict(unmet)]
    return {
        "metadata": {"name": name, "namespace": namespace, "creationTimestamp": "2026-10-01T00:00:00Z"},
        "spec": dict(spec or {}),
        "status": {
            "class": {"level": level, "compartments": list(compartments)},
            "runtime": "llamacpp",
            "placement": {"site": site},
            "conditions": conditions,
        },
    }


def build_pod(
    service: Mapping[str, Any],
    name: str = "",
    *,
    address: str = "127.0.0.1",
    port: int,
    labels: Mapping[str, str] | None = None,
    conditions: Mapping[str, Mapping[str, Any] | None] | None = None,
) -> dict[str, Any]:
    """Build a pod of a service as operator, depot and kubelet leave it: ready, and isolated by a proof of just now.

    Labels and conditions that are given replace those; a condition that is None is not there.
    """
    meta, status = service["metadata"], service["status"]
    label = ".".join([status["class"]["level"], *sorted(status["class"]["compartments"])])
    now = datetime.now(UTC).isoformat(timespec="seconds")
    told: dict[str, Mapping[str, Any] | None] = {
        "Ready": {"status": "True"}, "sekisho.dev/isolated": {"status": "True", "lastProbeTime": now}
    }  # fmt: skip
    told |= conditions or {}
    name = name or f"{meta['name']}-predictor-0"
    own = {
        "sekisho.dev/service": meta["name"], "sekisho.dev/site": status["placement"]["site"],
        "sekisho.dev/classification": label,
    }  # fmt: skip
    engine = {"name": "engine", "ports": [{"name": "http", "containerPort": port}]}
    return {
        "metadata": {
            "name": name, "namespace": meta["namespace"], "uid": f"uid-{name}", "labels": own | dict(labels or {}),
        },
        "spec": {"nodeName": f"node-of-{name}", "containers": [engine]},
        "status": {
            "podIP": address,
            "conditions": [{"type": kind, **item} for kind, item in told.items() if item is not None],
        },
    }  # fmt: skip


@dataclass
class Answer:
    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def code(self) -> str:
        return str(self.json["error"]["code"])

    @property
    def message(self) -> str:
        return str(self.json["error"]["message"])


@dataclass(repr=False)  # asyncio spells what a fixture gave whenever it looks at signal handlers
class House:
    """What a test has in hand."""

    api: ApiServer
    engine: Engine
    gateway: Gateway
    session: aiohttp.ClientSession
    resolver: Loopback
    folder: Path
    trust: ssl.SSLContext
    registry: CollectorRegistry
    token: str

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.gateway.ports.https}"

    async def send(self, path: str, *, token: str | None = "", method: str = "POST", **how: Any) -> Answer:
        headers = dict(how.pop("headers", {}))
        if token is not None:
            headers.setdefault("Authorization", f"Bearer {token or self.token}")
        async with self.session.request(method, self.url + path, headers=headers, **how) as response:
            return Answer(response.status, dict(response.headers), await response.text())

    async def chat(self, body: Mapping[str, Any] | None = None, **how: Any) -> Answer:
        return await self.send("/v1/chat/completions", json=build_chat() if body is None else body, **how)

    async def ready(self) -> tuple[int, Any]:
        url = f"http://127.0.0.1:{self.gateway.ports.health}/readyz"
        async with self.session.get(url) as response:
            return response.status, await response.json()

    async def settle(self, is_so: Any, *, what: str) -> None:
        until = time.monotonic() + 60
        while True:
            found = is_so()
            if await found if asyncio.iscoroutine(found) else found:
                return
            assert time.monotonic() < until, f"waited 60 s for {what}"
            await asyncio.sleep(0.02)

    async def entries(self) -> list[dict[str, Any]]:
        """Return the record, once every relayed request has its end in it."""

        def read() -> list[dict[str, Any]]:
            return read_record(self.folder / "record")

        def is_complete() -> bool:
            relayed = {item["id"] for item in read() if item.get("decision") == "relayed"}
            return relayed == {item["id"] for item in read() if item["kind"] == "completion"}

        await self.settle(is_complete, what="every end to be recorded")
        return [item for item in read() if item["kind"] != "opened"]

    def metrics(self) -> str:
        return telemetry.render_metrics(self.registry).decode()


def build_chat(**fields: Any) -> dict[str, Any]:
    return {"model": MODEL, "messages": [{"role": "user", "content": "What is a class? 秘密"}], **fields}


def build_settings(folder: Path, **changed: Any) -> Settings:
    return Settings(
        bind="127.0.0.1",
        https_port=0,
        health_port=0,
        tls_dir=folder / "tls",
        record_dir=folder / "record",
        pod_name="gateway-0",
        drain_delay_seconds=0,
        drain_seconds=changed.pop("drain_seconds", 2),
        record_seconds=changed.pop("record_seconds", 60),  # a busy disk is not what these tests are about
        **changed,
    )


@asynccontextmanager
async def build_house(
    folder: Path,
    *,
    policy: Mapping[str, Any] = POLICY,
    service: Mapping[str, Any] | None = None,
    engine_port: int = 0,
    has_pod: bool = True,
    access: Sequence[Mapping[str, Any]] = (),
    models: Sequence[Mapping[str, Any]] = (),
    **changed: Any,
) -> AsyncIterator[House]:
    """Bring everything up: one caller who may use one model of class confidential+gdpr.

    With `engine_port` a real engine answers there in place of the simulator.
    """
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(ApiServer())
        engine = await stack.enter_async_context(Engine())
        api.put("classificationpolicies", {"metadata": {"name": "default"}, "spec": policy})
        api.put("runtimes", {"metadata": {"name": "llamacpp"}, "spec": {"metrics": {"dialect": "llamacpp"}}})
        for tier in ("Closed", "OwnCloud", "ManagedApi"):
            site = {"tier": tier, "jurisdiction": "JP", "models": models}
            api.put("sites", {"metadata": {"name": tier.lower()}, "spec": site})
        service = service or build_service()
        api.put("inferenceservices", service)
        if has_pod:
            api.put("pods", build_pod(service, port=engine_port or engine.port))
        for item in access:
            api.put("accesspolicies", item)
        api.grant(USER, "inferenceservices", "contract-review", "legal")
        api.grant(USER, "classificationlevels", "confidential")
        api.grant(USER, "compartments", "gdpr")
        write_certificate(folder / "tls")
        registry, resolver = CollectorRegistry(), Loopback()
        meter = telemetry.setup_metrics("gateway", registry=registry)
        gateway = await stack.enter_async_context(
            Gateway(build_settings(folder, **changed), Credentials(server=api.url), meter, resolver=resolver)
        )
        trust = ssl.create_default_context(cafile=str(folder / "tls/tls.crt"))
        session = await stack.enter_async_context(
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust, limit=0, force_close=False))
        )
        house = House(api, engine, gateway, session, resolver, folder, trust, registry, api.token(USER))

        async def is_ready() -> bool:
            return (await house.ready())[0] == 200

        await house.settle(is_ready, what="the gateway to be ready")
        yield house
